//! One sandbox: a process of a subject on its Runtime API, one invocation at a time.

use std::path::Path;
use std::process::Stdio;
use std::time::{Duration, Instant, SystemTime};

use anyhow::{Context, Result, bail};
use axum::body::Bytes;
use runtime_api::{Call, Dispatch, Payload, RuntimeApi};
use serde_json::Value;
use tokio::process::{Child, Command};
use tokio::sync::oneshot;

use crate::database::{Database, EFFECTS, RECORDS};
use crate::process::Process;
use crate::subject::{Mode, Subject};
use crate::tls::SYSTEMS_BUNDLES;

/// The time limit for every step.
const TIME_LIMIT: Duration = Duration::from_secs(60);

/// The time-out of the function, which is longer than any measurement, so that a held claim stays held.
const TIMEOUT: Duration = Duration::from_secs(15 * 60);

/// A running sandbox. Dropping it kills the process.
pub struct Sandbox {
    name: String,
    child: Child,
    api: RuntimeApi,
    ready: oneshot::Sender<Dispatch>,
    /// The time from spawning the process to its first call of the Runtime API.
    pub first_poll: Duration,
    started: Instant,
    invocations: u64,
}

/// The response of a function, and how long it took.
#[derive(Debug)]
pub struct Answer {
    /// The payload, or the error object.
    pub payload: Bytes,
    /// The time from handing out the event to the answer.
    pub duration: Duration,
    /// The time from spawning the process to the answer.
    pub since_start: Duration,
}

impl Answer {
    /// The status of an API Gateway answer; `None` for another payload, such as an error.
    #[must_use]
    pub fn status(&self) -> Option<u64> {
        serde_json::from_slice::<Value>(&self.payload).ok()?["statusCode"].as_u64()
    }
}

impl Sandbox {
    /// Starts a process and waits until it polls for an invocation.
    ///
    /// # Errors
    /// When it cannot be started, or ends or fails before it polls.
    pub async fn start(subject: &Subject, mode: Mode, database: &Database) -> Result<Self> {
        let mut api = RuntimeApi::start("bench").await?;
        let mut command = command(subject, mode, database)?;
        let started = Instant::now();
        let mut child = command
            .env("AWS_LAMBDA_RUNTIME_API", api.address.to_string())
            .spawn()
            .with_context(|| format!("cannot start {}", subject.name))?;
        let (polled, ready) = next(&subject.name, &mut child, &mut api).await?;
        let first_poll = polled - started;
        Ok(Self { name: subject.name.clone(), child, api, ready, first_poll, started, invocations: 0 })
    }

    /// Invokes the function, and waits until it is ready for the next invocation.
    ///
    /// # Errors
    /// When the process ends or does not answer.
    pub async fn invoke(&mut self, event: Bytes) -> Result<Answer> {
        let sent = Instant::now();
        self.send(event)?;
        let (answered, payload, known) = match self.call().await? {
            Call::Response { at, payload: Payload::Whole(payload), known, .. }
            | Call::Error { at, payload, known, .. } => (at, payload, known),
            other => bail!("{}: unexpected {other:?}", self.name),
        };
        let _ = known.send(true);
        (_, self.ready) = next(&self.name, &mut self.child, &mut self.api).await?;
        Ok(Answer { payload, duration: answered - sent, since_start: answered - self.started })
    }

    /// Hands out an event without waiting for an answer, for an event that gets none.
    ///
    /// # Errors
    /// When the process is gone.
    pub fn send(&mut self, event: Bytes) -> Result<()> {
        self.invocations += 1;
        let dispatch = Dispatch {
            request: format!("8476a536-e9f4-11e8-9739-{:012x}", self.invocations),
            payload: event,
            deadline: SystemTime::now() + TIMEOUT,
            function_arn: "arn:aws:lambda:eu-central-1:000000000000:function:bench".to_owned(),
            trace: "Root=1-5bef4de7-ad49b0e87f6ef6c87fc2e700;Parent=9a9197af755a6419".to_owned(),
        };
        let ready = std::mem::replace(&mut self.ready, oneshot::channel().0);
        ready.send(dispatch).ok().with_context(|| format!("{} is gone", self.name))
    }

    /// The operating system's figures of the process.
    ///
    /// # Errors
    /// When it has ended.
    pub fn process(&self) -> Result<Process> {
        Process::of(self.child.id().context("ended")?)
    }

    async fn call(&mut self) -> Result<Call> {
        call(&self.name, &mut self.child, &mut self.api).await
    }
}

async fn next(name: &str, child: &mut Child, api: &mut RuntimeApi) -> Result<(Instant, oneshot::Sender<Dispatch>)> {
    match call(name, child, api).await? {
        Call::Next { at, reply } => Ok((at, reply)),
        Call::InitializationError(error) => bail!("{name} cannot start: {}", String::from_utf8_lossy(&error)),
        other @ (Call::Response { .. } | Call::Error { .. }) => bail!("{name}: unexpected {other:?}"),
    }
}

async fn call(name: &str, child: &mut Child, api: &mut RuntimeApi) -> Result<Call> {
    tokio::select! {
        call = api.calls.recv() => call.with_context(|| format!("the Runtime API of {name} ended")),
        status = child.wait() => bail!("{name} ended: {}", status?),
        () = tokio::time::sleep(TIME_LIMIT) => bail!("{name} did not call the Runtime API for {} s", TIME_LIMIT.as_secs()),
    }
}

fn command(subject: &Subject, mode: Mode, database: &Database) -> Result<Command> {
    let (program, arguments) = subject.command.split_first().context("a subject without a command")?;
    let mut command = Command::new(program);
    command
        .args(arguments)
        .current_dir(&subject.folder)
        .env_clear()
        // Lambda's variables, and `PATH` for the interpreters.
        .env("PATH", std::env::var_os("PATH").unwrap_or_default())
        .env("AWS_REGION", "eu-central-1")
        .env("AWS_DEFAULT_REGION", "eu-central-1")
        .env("AWS_ACCESS_KEY_ID", "local")
        .env("AWS_SECRET_ACCESS_KEY", "local")
        .env("AWS_LAMBDA_FUNCTION_NAME", "bench")
        .env("AWS_LAMBDA_FUNCTION_VERSION", "$LATEST")
        .env("AWS_LAMBDA_FUNCTION_MEMORY_SIZE", "1024")
        .env("AWS_LAMBDA_INITIALIZATION_TYPE", "on-demand")
        .env("LAMBDA_TASK_ROOT", &subject.folder)
        .env("AWS_ENDPOINT_URL_DYNAMODB", database.url())
        .env("RECORDS_TABLE", RECORDS)
        .env("METRICS_NAMESPACE", "bench")
        .env("EFFECTS_TABLE", EFFECTS)
        .env("MODE", mode.as_str())
        .env("NODE_NO_WARNINGS", "1")
        .env("PYTHONDONTWRITEBYTECODE", "1")
        .stdin(Stdio::null())
        // The logs of the functions are not part of the measurement.
        .stdout(Stdio::null())
        .stderr(Stdio::inherit())
        .kill_on_drop(true);
    if let Some(certificates) = database.certificates() {
        // The variables' names in Rust, Python and Node.js.
        command
            .env("SSL_CERT_FILE", certificates.bundle())
            .env("AWS_CA_BUNDLE", certificates.bundle())
            .env("NODE_EXTRA_CA_CERTS", certificates.authority());
    } else if let Some(file) = SYSTEMS_BUNDLES.iter().find(|file| Path::new(file).is_file()) {
        // Without this the Rust subjects would read each certificate from a separate file, as they do not on Lambda.
        command.env("SSL_CERT_FILE", file);
    }
    Ok(command)
}
