//! The settings of a stack.

use std::fmt::Display;
use std::path::Path;
use std::process::Command;
use std::sync::Arc;

use super::{Running, Stack, programs};
use crate::workspace;

/// The template's parameters and the stack's options that differ from the defaults.
#[derive(Clone, Debug)]
pub struct Setup {
    arguments: Vec<String>,
    functions: Functions,
    /// Whether functions start on demand: hundreds of stacks start, and each test uses only some functions.
    on_demand: bool,
}

/// The functions whose programs a stack runs.
#[derive(Clone, Copy, Debug)]
enum Functions {
    Application,
    Fixture,
}

impl Setup {
    /// The application in memory, with the template's defaults.
    pub const fn deployed() -> Self {
        Self { arguments: Vec::new(), functions: Functions::Application, on_demand: true }
    }

    /// Functions time out after 4 s, so that a dead owner's lease ends after 5 s, and a duplicate has no time to wait
    /// for its end.
    pub fn brief() -> Self {
        let timeouts = ["ApiTimeoutSeconds", "WorkerTimeoutSeconds", "StreamTimeoutSeconds"];
        timeouts.into_iter().fold(Self::deployed(), |setup, name| setup.parameter(name, 4))
    }

    /// In addition, a message that was not settled is redelivered after 4 s and given up after two receives, and each
    /// run of the reconciler looks for abandoned requests; nothing is followed up before. The deployed values are a
    /// minute, five receives, and once a day.
    pub fn impatient() -> Self {
        Self::brief()
            .parameter("LedgerVisibilitySeconds", 4)
            .parameter("LedgerMaxReceiveCount", 2)
            .parameter("ScanIntervalSeconds", 0)
            .parameter("FollowUpState", "STOPPED")
    }

    /// The reconciler runs only when a test requests it, so that an UNKNOWN record stays UNKNOWN.
    pub fn reconciled_on_demand(self) -> Self {
        self.parameter("ReconcileSchedule", "rate(30 days)").parameter("FollowUpState", "STOPPED")
    }

    /// The records' stream is read immediately, not in windows of a minute.
    pub fn followed_up_at_once(self) -> Self {
        self.parameter("FollowUpWindowSeconds", 1)
    }

    /// Sets a parameter of the template.
    pub fn parameter(self, name: &str, value: impl Display) -> Self {
        self.option("parameter", format!("{name}={value}"))
    }

    /// Sets an option of the stack.
    pub fn option(mut self, name: &str, value: impl Display) -> Self {
        self.arguments.extend([format!("--{name}"), value.to_string()]);
        self
    }

    /// Keeps the data in a folder.
    pub fn data(self, folder: &Path) -> Self {
        self.option("data", folder.display())
    }

    /// The functions reach DynamoDB through a proxy at this endpoint, which expects DynamoDB at this port.
    pub fn behind(self, endpoint: &str, port: u16) -> Self {
        self.option("dynamodb-endpoint", endpoint).option("dynamodb-port", port)
    }

    /// The application with a changed template.
    pub fn template(self, file: &Path) -> Self {
        self.option("template", file.display())
    }

    /// The fixture instead of the application.
    pub fn fixture() -> Self {
        let template = workspace().join("tests/fixture/template.yaml");
        Self { functions: Functions::Fixture, ..Self::deployed() }.template(&template)
    }

    /// Each function starts before the stack is ready, as for users.
    pub fn started(self) -> Self {
        Self { on_demand: false, ..self }
    }

    /// Starts a stack for one test.
    pub async fn start(self) -> Stack {
        Stack::new(Arc::new(self.launch().await), String::new())
    }

    pub(super) async fn launch(self) -> Running {
        tokio::task::spawn_blocking(move || Running::launch(self.command())).await.expect("the stack starts")
    }

    /// The command that starts it.
    pub fn command(&self) -> Command {
        let functions = match self.functions {
            Functions::Application => programs::application(),
            Functions::Fixture => programs::fixture(),
        };
        let mut command = Command::new(programs::stack());
        command
            .args(["--port", "0", "--log", "json", "--built"])
            .arg(functions)
            .arg("--signing-key")
            .arg(programs::signing_key())
            .args(self.on_demand.then_some("--on-demand"))
            .args(&self.arguments)
            .current_dir(workspace());
        command
    }
}
