//! The local stack as a user runs it: the real program, on free ports.

mod answer;
mod programs;
mod setup;
mod shared;
mod user;

use std::io::{BufRead, BufReader};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use reqwest::{Client, Method, RequestBuilder};
use serde_json::Value;

use crate::process::signal;
use crate::wait::eventually;

pub use answer::Answer;
pub use programs::program;
pub use setup::Setup;
pub use shared::Shared;
pub use user::{User, payment};

/// A running stack. The last value that uses it stops it, as Ctrl-C does.
pub struct Stack {
    running: Arc<Running>,
    client: Client,
    /// The suffix of this test's names, if other tests use the stack as well.
    suffix: String,
}

/// The stack's process.
struct Running {
    process: Mutex<Child>,
    base: String,
    log: Arc<Mutex<Vec<String>>>,
}

impl Stack {
    /// Starts a stack in memory whose functions time out soon.
    pub async fn start() -> Self {
        Setup::brief().start().await
    }

    fn new(running: Arc<Running>, suffix: String) -> Self {
        // The test needs its own client, because a client's connections end with the runtime of the test that opened
        // them.
        Self { running, client: Client::new(), suffix }
    }

    /// The URL of the API.
    pub fn base(&self) -> &str {
        &self.running.base
    }

    /// The process id of the stack.
    pub fn process(&self) -> u32 {
        self.running.process().id()
    }

    /// The log of the stack and its functions.
    pub fn log(&self) -> String {
        self.running.log().join("\n")
    }

    /// How many lines of the log contain a text.
    pub fn count(&self, text: &str) -> u64 {
        self.running.log().iter().filter(|line| line.contains(text)).count() as u64
    }

    /// Waits until a line of the log contains a text, because an answer may arrive before its line.
    pub async fn logged(&self, text: &str) {
        eventually(text, || async { (self.count(text) > 0).then_some(()) }).await;
    }

    /// Stops the stack as Ctrl-C does.
    pub fn interrupt(&mut self) -> ExitStatus {
        let mut process = self.running.process();
        signal(process.id(), "INT");
        process.wait().expect("ends")
    }

    /// Kills the stack without a chance to clean up.
    pub fn kill(&mut self) {
        let mut process = self.running.process();
        process.kill().expect("can be killed");
        process.wait().expect("ends");
    }

    /// A name that no other test on this stack uses.
    pub fn own(&self, name: &str) -> String {
        format!("{name}{}", self.suffix)
    }

    /// A caller of the API. On a shared stack each test has its own callers.
    pub async fn user(&self, name: &str) -> User<'_> {
        self.user_with(name, &[]).await
    }

    /// A caller whose token has further claims, each of them a text.
    pub async fn user_with(&self, name: &str, claims: &[(&str, &str)]) -> User<'_> {
        let claims: String = claims.iter().map(|(name, value)| format!("&{name}={value}")).collect();
        let path = format!("token?sub={}{claims}", self.own(name));
        let token = self.local(Method::GET, &path).send().await.expect("answers");
        User { stack: self, token: token.text().await.expect("a token") }
    }

    /// A caller who may read all accounts.
    pub async fn auditor(&self) -> User<'_> {
        self.user_with("auditor", &[("role", "accounts:read")]).await
    }

    /// A request to `/_local/`.
    pub fn local(&self, method: Method, path: &str) -> RequestBuilder {
        self.client.request(method, format!("{}/_local/{path}", self.base()))
    }

    /// The provider's actual charges; on a shared stack, only those for accounts of this test.
    pub async fn charges(&self) -> Vec<Value> {
        let response = self.local(Method::GET, "charges").send().await.expect("answers");
        let mut charges: Vec<Value> = response.json().await.expect("a list");
        charges.retain(|charge| charge["metadata"]["account"].as_str().unwrap_or_default().ends_with(&self.suffix));
        charges
    }

    /// Runs the reconciler. Returns its report.
    pub async fn reconcile(&self) -> Value {
        eventually("the reconciler runs", || async {
            let response = self.local(Method::POST, "reconcile").send().await.expect("answers");
            let status = response.status();
            assert!(status.is_success(), "{status} {}", response.text().await.unwrap_or_default());
            let report: Value = response.json().await.expect("a report");
            // A scheduled run may be in progress.
            (report["held_elsewhere"] == false).then_some(report)
        })
        .await
    }

    /// Begins or ends an outage of the payment provider.
    pub async fn provider(&self, mode: &str) {
        self.post(&format!("provider?mode={mode}")).await;
    }

    /// Delivers the delayed requests to the provider. Returns the result of each.
    pub async fn deliver(&self) -> Vec<Value> {
        self.post("provider/deliver").await.as_array().expect("a list").clone()
    }

    /// Puts copies of a message into a queue.
    pub async fn put(&self, queue: &str, copies: usize, body: impl Into<String>) {
        let request = self.local(Method::POST, &format!("queues/{queue}?copies={copies}")).body(body.into());
        let response = request.send().await.expect("answers");
        let status = response.status();
        assert!(status.is_success(), "{status} {}", response.text().await.unwrap_or_default());
    }

    /// Puts a message of a group into a FIFO queue. Returns its id.
    pub async fn put_in_group(&self, queue: &str, group: &str, body: impl Into<String>) -> String {
        let request = self.local(Method::POST, &format!("queues/{queue}")).header("x-group", group).body(body.into());
        let sent: Value = request.send().await.expect("answers").json().await.expect("the message's id");
        sent["message_ids"][0].as_str().expect("an id").to_owned()
    }

    /// Redrives the dead letters to their queue. Returns their number.
    pub async fn redrive(&self, dead_letters: &str) -> u64 {
        self.post(&format!("queues/{dead_letters}/redrive")).await["moved"].as_u64().expect("a number")
    }

    /// Appends a record to a topic.
    pub async fn append(&self, topic: &str, key: &str, body: impl Into<String>) {
        let request = self.local(Method::POST, &format!("streams/{topic}")).header("x-key", key).body(body.into());
        let response = request.send().await.expect("answers");
        let status = response.status();
        assert!(status.is_success(), "{status} {}", response.text().await.unwrap_or_default());
    }

    /// Kills every sandbox of a function.
    pub async fn kill_function(&self, function: &str) {
        self.post(&format!("functions/{function}/kill")).await;
    }

    /// The contents of a queue.
    pub async fn queue(&self, queue: &str) -> Value {
        let response = self.local(Method::GET, &format!("queues/{queue}")).send().await.expect("answers");
        response.json().await.expect("the contents")
    }

    /// Waits until a queue is empty: every message has been settled or has moved on.
    pub async fn until_empty(&self, queue: &str) {
        eventually(&format!("{queue} is empty"), || async {
            let contents = self.queue(queue).await;
            let counts = ["visible", "in_flight", "delayed"].map(|member| contents[member].as_u64());
            counts.iter().all(|count| *count == Some(0)).then_some(())
        })
        .await;
    }

    async fn post(&self, path: &str) -> Value {
        let response = self.local(Method::POST, path).send().await.expect("answers");
        assert!(response.status().is_success(), "{path}: {response:?}");
        response.json().await.unwrap_or_default()
    }
}

impl Drop for Stack {
    fn drop(&mut self) {
        if std::thread::panicking() {
            eprintln!("--- log of the stack\n{}", self.log());
        }
    }
}

impl Running {
    fn launch(mut command: Command) -> Self {
        let mut process = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().expect("the stack's program");
        let log = Arc::new(Mutex::new(Vec::new()));
        let errors = BufReader::new(process.stderr.take().expect("piped"));
        std::thread::spawn({
            let log = Arc::clone(&log);
            move || {
                for line in errors.lines().map_while(Result::ok) {
                    log.lock().unwrap_or_else(PoisonError::into_inner).push(line);
                }
            }
        });
        let mut output = BufReader::new(process.stdout.take().expect("piped")).lines().map_while(Result::ok);
        let base = output.find_map(|line| line.strip_prefix("ready ").map(str::to_owned));
        // Later output is also read; otherwise the process would block on a full pipe.
        std::thread::spawn(move || output.for_each(drop));
        let running = Self { process: Mutex::new(process), base: base.clone().unwrap_or_default(), log };
        assert!(base.is_some(), "the stack did not become ready:\n{}", running.log().join("\n"));
        running
    }

    fn process(&self) -> MutexGuard<'_, Child> {
        self.process.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn log(&self) -> MutexGuard<'_, Vec<String>> {
        self.log.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        let mut process = self.process();
        if matches!(process.try_wait(), Ok(None)) {
            signal(process.id(), "INT");
            // The second signal does not wait for requests in progress. It is a different one, because two equal
            // signals could be merged.
            signal(process.id(), "TERM");
            let _ = process.wait();
        }
    }
}
