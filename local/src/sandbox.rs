//! One sandbox: a process of the function, its Runtime API, and the task that owns its state.
//!
//! The life of a sandbox (AWS, "Understanding the Lambda execution environment lifecycle"): it initialises until it
//! polls for an invocation, waits, serves, and polls again. The end of the process ends the sandbox, and an invocation
//! in progress fails at that moment.

use std::{
    collections::BTreeMap,
    future::Future,
    os::unix::process::ExitStatusExt,
    path::PathBuf,
    pin::Pin,
    process::{ExitStatus, Stdio},
    sync::{Arc, OnceLock},
    time::{Duration, Instant, SystemTime},
};

use nix::{sys::signal::Signal, unistd::Pid};
use parking_lot::Mutex;
use runtime_api::{Call, Dispatch, Payload};
use serde::Serialize;
use tokio::{
    io::{AsyncBufReadExt, AsyncRead, BufReader},
    process::{Child, Command},
    sync::{mpsc, oneshot},
};
use tokio_util::sync::CancellationToken;

use crate::{
    activity::{Place, Tone},
    invocation::{Failure, Invocation, Invocations},
    listener,
    logs::{LogStream, Logs},
    metrics::Series,
    output::Output,
    provider::{KillCaller, Provider},
    template,
};

/// AWS, "Lambda execution environment lifecycle": the Init phase is limited to 10 seconds.
const INITIALIZATION: Duration = Duration::from_secs(10);

/// The time between SIGTERM and SIGKILL (AWS, same page, "Shutdown phase").
const SHUTDOWN: Duration = Duration::from_millis(500);

/// The state that the sandboxes of a version of a function share.
pub(crate) struct Shared {
    pub(crate) definition: Arc<Definition>,
    pub(crate) invocations: Invocations,
    /// The version is no longer used.
    pub(crate) stop: CancellationToken,
}

/// How a function is run.
pub(crate) struct Definition {
    pub(crate) settings: template::Function,
    pub(crate) program: PathBuf,
    pub(crate) arn: String,
    pub(crate) environment: BTreeMap<String, String>,
    pub(crate) process_group: i32,
    /// Whether a route of the API leads to it.
    pub(crate) behind_api: bool,
    /// The maximum number of sandboxes.
    pub(crate) concurrency: usize,
    /// How long a sandbox is left running beyond its time-out.
    pub(crate) overtime: Duration,
    /// Each sandbox reaches the provider at an address of its own, so that the provider knows which process called.
    pub(crate) provider: Provider,
    /// What it prints goes there as well.
    pub(crate) logs: Logs,
    pub(crate) output: Output,
}

impl Definition {
    /// An invocation begins.
    fn begins(&self) {
        let (from, to) = match Place::of(&self.settings) {
            Place::Worker => (Place::Queue, Place::Worker),
            place => (Place::Gateway, place),
        };
        // Only those that come from there: not a schedule's or a stream's.
        if to == Place::Worker || self.behind_api {
            self.output.activity().step(from, to, Tone::Normal);
        }
    }

    /// A metric that Lambda has of a function.
    fn count(&self, name: &str, value: f64) {
        let series = Series::new("AWS/Lambda", name, &[("FunctionName", &self.settings.name)]);
        self.output.metrics().put(series, value);
    }
}

/// A handle to a sandbox.
#[derive(Debug, Clone, Default)]
pub(crate) struct Handle {
    kill: CancellationToken,
    /// It has polled for an invocation.
    polled: CancellationToken,
    /// Why it could not start.
    failure: Arc<OnceLock<String>>,
    /// The process is gone and reaped.
    ended: CancellationToken,
    state: Arc<Mutex<State>>,
}

/// A sandbox, as `GET /_local/functions` shows it.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize)]
pub(crate) struct State {
    /// Its number, as it is in the access key of its requests to AWS: `sandboxNUMBER`.
    sandbox: u16,
    process: Option<u32>,
    #[serde(rename = "doing")]
    phase: Phase,
    frozen: bool,
}

impl State {
    /// The id of its process.
    pub(crate) const fn process(&self) -> Option<u32> {
        self.process
    }

    pub(crate) const fn is_frozen(&self) -> bool {
        self.frozen
    }
}

#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
enum Phase {
    /// It has not polled for an invocation yet.
    #[default]
    Starting,
    Waiting,
    Serving,
}

impl Handle {
    pub(crate) fn state(&self) -> State {
        *self.state.lock()
    }

    /// SIGKILL, now.
    pub(crate) fn kill(&self) {
        self.kill.cancel();
    }

    /// SIGSTOP or SIGCONT, as Lambda freezes a sandbox between invocations, but at any moment.
    pub(crate) fn set_frozen(&self, frozen: bool) {
        let mut state = self.state.lock();
        let Some(process) = state.process.and_then(|process| i32::try_from(process).ok()) else { return };
        let sent =
            nix::sys::signal::kill(Pid::from_raw(process), if frozen { Signal::SIGSTOP } else { Signal::SIGCONT });
        state.frozen = frozen && sent.is_ok();
    }

    /// Returns when it can serve.
    ///
    /// # Errors
    /// When it ends before.
    pub(crate) async fn started(&self) -> anyhow::Result<()> {
        tokio::select! {
            biased;
            () = self.polled.cancelled() => Ok(()),
            () = self.ended.cancelled() => {
                let reason = self.failure.get().map_or("it was stopped", String::as_str);
                anyhow::bail!("the function cannot start: {reason}; what it printed is above")
            }
        }
    }

    /// Returns when the process is gone and reaped.
    pub(crate) async fn ended(&self) {
        self.ended.cancelled().await;
    }

    pub(crate) fn set_ended(&self) {
        self.ended.cancel();
    }

    fn set(&self, state: State) {
        *self.state.lock() = state;
    }

    fn set_phase(&self, phase: Phase) {
        self.state.lock().phase = phase;
    }

    /// The first reason is the cause of those after it.
    fn set_failure(&self, reason: String) {
        let _ = self.failure.set(reason);
    }
}

impl KillCaller for Handle {
    fn kill_caller(&self) -> Pin<Box<dyn Future<Output = ()> + Send + '_>> {
        self.kill();
        Box::pin(self.ended())
    }
}

/// The phase in which the sandbox ended.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum End {
    /// Waiting for an invocation: it was a good sandbox, and another should take its place.
    Idle,
    /// Starting or serving.
    Working,
}

struct Sandbox<'s> {
    shared: &'s Shared,
    child: Child,
    calls: mpsc::Receiver<Call>,
    handle: Handle,
    /// Ends the servers that belong to this sandbox.
    _servers: tokio_util::sync::DropGuard,
}

enum Event {
    Call(Call),
    Ended(ExitStatus),
}

pub(crate) async fn run(shared: &Shared, handle: Handle) -> End {
    match start(shared, &handle).await {
        Ok(sandbox) => sandbox.live().await,
        Err(error) => {
            tracing::error!("{}: cannot start: {error:#}", shared.definition.settings.name);
            handle.set_failure(format!("{error:#}"));
            shared.invocations.fail_waiting(Failure::error("Runtime.InvalidEntrypoint", &format!("{error:#}")));
            End::Working
        }
    }
}

async fn start<'s>(shared: &'s Shared, handle: &Handle) -> anyhow::Result<Sandbox<'s>> {
    let definition = &shared.definition;
    let name = &definition.settings.name;
    let (listener, address) = listener::bind(0).await?;
    let (sender, calls) = mpsc::channel(8);
    let servers = CancellationToken::new();
    tokio::spawn(listener::serve_machine(
        listener,
        runtime_api::router(name, sender),
        servers.clone().cancelled_owned(),
    ));
    let mut environment = definition.environment.clone();
    environment.insert("AWS_LAMBDA_RUNTIME_API".to_owned(), address.to_string());
    environment.insert("AWS_ACCESS_KEY_ID".to_owned(), format!("sandbox{}", address.port()));
    definition.provider.serve_sandbox(&mut environment, Arc::new(handle.clone()), servers.clone()).await?;

    let mut child = command(definition, environment).spawn()?;
    let stream = definition.logs.open(&definition.settings.log_group).map(|stream| (definition.logs.clone(), stream));
    forward(definition, child.stdout.take(), stream.clone());
    forward(definition, child.stderr.take(), stream);
    handle.set(State { sandbox: address.port(), process: child.id(), phase: Phase::Starting, frozen: false });
    Ok(Sandbox { shared, child, calls, handle: handle.clone(), _servers: servers.drop_guard() })
}

fn command(definition: &Definition, environment: BTreeMap<String, String>) -> Command {
    let mut command = Command::new(&definition.program);
    command
        .current_dir(&definition.settings.code)
        .env_clear()
        .envs(environment)
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .process_group(definition.process_group)
        .kill_on_drop(true);
    command
}

/// Line by line, so that the logs of several processes do not mix within a line.
fn forward(
    definition: &Definition,
    printed: Option<impl AsyncRead + Unpin + Send + 'static>,
    stream: Option<(Logs, LogStream)>,
) {
    let Some(printed) = printed else { return };
    let (output, settings) = (definition.output.clone(), definition.settings.clone());
    tokio::spawn(async move {
        let mut lines = BufReader::new(printed).split(b'\n');
        while let Ok(Some(line)) = lines.next_segment().await {
            let line = String::from_utf8_lossy(&line).into_owned();
            // First into the stream: whoever has seen a line knows that it is on its way to subscribers.
            if let Some((logs, stream)) = &stream {
                stream.print(logs, line.clone());
            }
            output.printed(&settings, &line);
        }
    });
}

impl Sandbox<'_> {
    fn settings(&self) -> &template::Function {
        &self.shared.definition.settings
    }

    async fn live(mut self) -> End {
        let mut polls_by = Instant::now() + INITIALIZATION;
        let mut serving_before = false;
        loop {
            let Some(next) = self.ready(polls_by).await else {
                if !serving_before && !self.handle.kill.is_cancelled() {
                    self.shared.invocations.fail_waiting(Failure::error(
                        "Runtime.ExitError",
                        "Error: Runtime exited during initialization",
                    ));
                }
                return End::Working;
            };
            serving_before = true;
            self.handle.polled.cancel();
            self.handle.set_phase(Phase::Waiting);
            let Some((next, invocation)) = self.wait(next).await else { return End::Idle };
            self.handle.set_phase(Phase::Serving);
            self.shared.definition.begins();
            let deadline = Instant::now() + self.settings().timeout + self.shared.definition.overtime;
            let alive = self.serve(next, invocation, deadline).await;
            self.shared.invocations.finished();
            if !alive {
                return End::Working;
            }
            polls_by = deadline;
        }
    }

    /// Until the runtime polls for an invocation. `None`: the process is gone.
    async fn ready(&mut self, polls_by: Instant) -> Option<oneshot::Sender<Dispatch>> {
        loop {
            let event = tokio::select! {
                event = self.event() => event,
                () = tokio::time::sleep_until(polls_by.into()) => {
                    tracing::warn!("{}: the process did not poll for an invocation in time and is killed", self.settings().name);
                    self.handle.set_failure("it did not poll for an invocation in time".to_owned());
                    self.end().await;
                    return None;
                }
            };
            match event {
                Event::Call(Call::Next { reply, .. }) => return Some(reply),
                Event::Call(Call::InitializationError(payload)) => {
                    let failure = Failure::Error(payload);
                    self.handle.set_failure(failure.message());
                    self.shared.invocations.fail_waiting(failure);
                }
                Event::Call(Call::Response { known, .. } | Call::Error { known, .. }) => drop(known.send(false)),
                Event::Ended(status) => {
                    tracing::debug!("{}: the process ended ({status})", self.settings().name);
                    self.handle.set_failure(format!("it ended {}", reason(status)));
                    return None;
                }
            }
        }
    }

    /// Until there is an invocation. `None`: the process is gone, and no invocation was taken.
    async fn wait(&mut self, mut next: oneshot::Sender<Dispatch>) -> Option<(oneshot::Sender<Dispatch>, Invocation)> {
        let shared = self.shared;
        loop {
            tokio::select! {
                // In this order: a process that is dead by now must not be handed an invocation.
                biased;
                event = self.event() => match event {
                    // The runtime reconnected.
                    Event::Call(Call::Next { reply, .. }) => next = reply,
                    Event::Call(Call::Response { known, .. } | Call::Error { known, .. }) => drop(known.send(false)),
                    Event::Call(Call::InitializationError(_)) => {}
                    Event::Ended(_) => return None,
                },
                invocation = shared.invocations.take(), if !next.is_closed() => return Some((next, invocation)),
            }
        }
    }

    /// One invocation, from dispatch to answer. Whether the sandbox lives on.
    async fn serve(&mut self, next: oneshot::Sender<Dispatch>, invocation: Invocation, deadline: Instant) -> bool {
        let Invocation { request, payload, reply } = invocation;
        let timeout = self.settings().timeout;
        let started = Instant::now();
        let _ = next.send(self.dispatch(&request, payload));
        let (outcome, alive) = loop {
            let event = tokio::select! {
                event = self.event() => event,
                () = tokio::time::sleep_until(deadline.into()) => {
                    self.end().await;
                    break (Err(Failure::timed_out(&request, timeout)), false);
                }
            };
            match event {
                Event::Call(Call::Response { request: answered, payload, known, .. }) if answered == request => {
                    let _ = known.send(true);
                    break (
                        match payload {
                            Payload::Whole(payload) => Ok(payload),
                            Payload::TooLarge => Err(Failure::error(
                                "Function.ResponseSizeTooLarge",
                                "Response payload size exceeded maximum allowed payload size (6291556 bytes).",
                            )),
                        },
                        true,
                    );
                }
                Event::Call(Call::Error { request: answered, payload, known, .. }) if answered == request => {
                    let _ = known.send(true);
                    break (Err(Failure::Error(payload)), true);
                }
                Event::Call(Call::Response { known, .. } | Call::Error { known, .. }) => drop(known.send(false)),
                // A runtime that asks for the next invocation before it answered this one gets none.
                Event::Call(Call::Next { .. } | Call::InitializationError(_)) => {}
                Event::Ended(status) => {
                    break (
                        Err(Failure::error(
                            "Runtime.ExitError",
                            &format!("InvocationId: {request} Error: Runtime exited {}", reason(status)),
                        )),
                        false,
                    );
                }
            }
        };
        self.report(&request, started.elapsed(), outcome.as_ref().err());
        let _ = reply.send(outcome);
        alive
    }

    fn dispatch(&self, request: &str, payload: axum::body::Bytes) -> Dispatch {
        Dispatch {
            request: request.to_owned(),
            payload,
            deadline: SystemTime::now() + self.settings().timeout,
            function_arn: self.shared.definition.arn.clone(),
            trace: runtime_api::trace(),
        }
    }

    fn report(&self, request: &str, duration: Duration, failure: Option<&Failure>) {
        let name = &self.settings().name;
        self.shared.definition.count("Invocations", 1.0);
        self.shared.definition.count("Errors", if failure.is_some() { 1.0 } else { 0.0 });
        match failure {
            None => tracing::debug!("{name}: {request} took {} ms", duration.as_millis()),
            Some(failure) => {
                tracing::warn!("{name}: {request} failed after {} ms: {}", duration.as_millis(), failure.message())
            }
        }
    }

    /// The next event. Calls of the process come before its end: it may respond and exit.
    async fn event(&mut self) -> Event {
        tokio::select! {
            biased;
            () = self.handle.kill.cancelled() => Event::Ended(self.end().await),
            () = self.shared.stop.cancelled() => Event::Ended(self.terminate().await),
            Some(call) = self.calls.recv() => Event::Call(call),
            status = self.child.wait() => Event::Ended(status.unwrap_or_default()),
        }
    }

    async fn end(&mut self) -> ExitStatus {
        // Fails only for a process that has ended already.
        let _ = self.child.kill().await;
        self.child.wait().await.unwrap_or_default()
    }

    async fn terminate(&mut self) -> ExitStatus {
        if let Some(id) = self.child.id().and_then(|id| i32::try_from(id).ok()) {
            let _ = nix::sys::signal::kill(Pid::from_raw(id), Signal::SIGTERM);
        }
        match tokio::time::timeout(SHUTDOWN, self.child.wait()).await {
            Ok(status) => status.unwrap_or_default(),
            Err(_) => self.end().await,
        }
    }
}

fn reason(status: ExitStatus) -> String {
    match (status.signal().and_then(|signal| Signal::try_from(signal).ok()), status.code()) {
        (Some(Signal::SIGKILL), _) => "with error: signal: killed".to_owned(),
        (Some(signal), _) => format!("with error: signal: {signal}"),
        (None, Some(0)) => "without providing a reason".to_owned(),
        (None, code) => format!("with error: exit status {}", code.unwrap_or_default()),
    }
}
