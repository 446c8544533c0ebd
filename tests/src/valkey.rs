//! Checks whether there is a Valkey or Redis server for the local stack.

use std::path::Path;

use crate::packages::not_run;
use crate::process::on_path;
use crate::workspace;

/// Whether `--store valkey` finds a server. If not, the test prints that it did not run, or fails on a build server.
pub fn is_installed(test: &str) -> bool {
    let in_wheel = || Path::new(&workspace()).join("target/valkey/requirements.txt").is_file();
    if in_wheel() || ["valkey-server", "redis-server"].iter().any(|program| on_path(program).is_some()) {
        return true;
    }
    let _: Option<()> = not_run(test, "valkey-server (.ci/venv valkey) or redis-server (Debian's package)");
    false
}
