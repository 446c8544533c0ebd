//! Checks whether there is a Valkey or Redis server for the local stack.

use std::path::Path;

use crate::packages::not_run;
use crate::workspace;

/// Whether `--store valkey` finds a server. If not, the test prints that it did not run, or fails on a build server.
pub fn is_installed(test: &str) -> bool {
    let on_path = |program: &str| {
        let path = std::env::var_os("PATH").unwrap_or_default();
        std::env::split_paths(&path).any(|folder| folder.join(program).is_file())
    };
    let in_wheel = || Path::new(&workspace()).join("target/valkey/requirements.txt").is_file();
    if in_wheel() || on_path("valkey-server") || on_path("redis-server") {
        return true;
    }
    let _: Option<()> = not_run(test, "valkey-server (.ci/venv valkey) or redis-server (Debian's package)");
    false
}
