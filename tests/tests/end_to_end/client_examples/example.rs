//! A client example, as a program.

use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::sync::OnceLock;

use tests::packages::{self, shown};
use tests::workspace;
use tokio::process::Command;

/// The token that the examples send to a scripted API.
pub(super) const TOKEN: &str = "a-token";

/// An example, ready to run.
#[derive(Clone, Debug)]
pub(super) struct Example {
    pub(super) name: &'static str,
    program: OsString,
    file: PathBuf,
    /// What makes the program write down its pauses instead of making them.
    no_pauses: Vec<(&'static str, OsString)>,
}

impl Example {
    /// All of them with `SOAK_ALL`, otherwise the one that needs no packages. `None` if they cannot be installed.
    pub(super) fn all() -> &'static [fn() -> Option<Self>] {
        if cfg!(soak_all) { &[Self::curl, Self::python, Self::typescript] } else { &[Self::curl] }
    }

    pub(super) fn curl() -> Option<Self> {
        let path = std::env::var_os("PATH").unwrap_or_default();
        let path = std::env::join_paths(std::iter::once(no_pauses()).chain(std::env::split_paths(&path)));
        Some(Self {
            name: "pay.sh",
            program: "sh".into(),
            file: source("pay.sh"),
            no_pauses: vec![("PATH", path.expect("a path"))],
        })
    }

    pub(super) fn python() -> Option<Self> {
        let program = packages::python("the test of pay.py", "docs/clients")?.into();
        Some(Self {
            name: "pay.py",
            program,
            file: source("pay.py"),
            no_pauses: vec![("PYTHONPATH", no_pauses().into())],
        })
    }

    /// Compiled, because not every Node can read TypeScript.
    pub(super) fn typescript() -> Option<Self> {
        static COMPILED: OnceLock<Option<PathBuf>> = OnceLock::new();
        let file = COMPILED.get_or_init(|| {
            let folder = packages::node("the test of pay.ts", "docs/clients")?;
            std::fs::copy(source("pay.ts"), folder.join("pay.ts")).expect("can be copied");
            let mut compiler = std::process::Command::new("node");
            compiler.arg("node_modules/typescript/bin/tsc").current_dir(&folder);
            compiler.args(["--strict", "--erasableSyntaxOnly", "--skipLibCheck", "pay.ts"]);
            compiler.args(["--target", "es2022", "--module", "nodenext"]);
            let output = compiler.output().expect("runs");
            assert!(output.status.success(), "{}", shown(&output));
            Some(folder.join("pay.js"))
        });
        let mut option = OsString::from("--import=");
        option.push(no_pauses().join("timers.mjs"));
        Some(Self {
            name: "pay.ts",
            program: "node".into(),
            file: file.clone()?,
            no_pauses: vec![("NODE_OPTIONS", option)],
        })
    }

    /// The example with another time-out of a request, of one second; the copy is next to the original's packages.
    pub(super) fn impatient(&self, folder: &Path) -> Self {
        let text = std::fs::read_to_string(&self.file).expect("readable");
        let settings = ["TIMEOUT_S = 35", "timeout_s=35"];
        let [setting] = settings.into_iter().filter(|setting| text.contains(setting)).collect::<Vec<_>>()[..] else {
            panic!("{}: the time-out is set in one place", self.name)
        };
        let name = self.file.file_name().expect("a file");
        let file = match self.file.extension() {
            Some(extension) if extension == "js" => self.file.with_file_name("impatient.js"),
            _ => folder.join(name),
        };
        std::fs::write(&file, text.replace(setting, &setting.replace("35", "1"))).expect("writable");
        Self { file, ..self.clone() }
    }

    /// Runs as a user runs it.
    pub(super) fn command(&self, url: &str, token: &str, order: &str, body: &str) -> Command {
        let mut command = Command::new(&self.program);
        command.arg(&self.file).args([url, order, body]).env("TOKEN", token);
        // A group of its own, as in a terminal: a signal reaches the programs that it started.
        command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped()).process_group(0).kill_on_drop(true);
        command
    }

    /// The same without pauses, which it writes into a file.
    pub(super) fn without_pauses(&self, url: &str, order: &str, body: &str, pauses: &Path) -> Command {
        let mut command = self.command(url, TOKEN, order, body);
        command.envs(self.no_pauses.iter().map(|(name, value)| (name, value))).env("PAUSES", pauses);
        command
    }
}

fn source(name: &str) -> PathBuf {
    workspace().join("docs/clients").join(name)
}

fn no_pauses() -> PathBuf {
    workspace().join("tests/no-pauses")
}
