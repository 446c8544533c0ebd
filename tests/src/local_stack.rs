//! The local stack as a user starts it: the real binary, on free ports, one for each test.

use std::io::{BufRead, BufReader};
use std::path::PathBuf;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Mutex, OnceLock, PoisonError};
use std::time::{Duration, Instant};

use reqwest::{Client, Method, RequestBuilder, Response};
use serde_json::{Value, json};

/// How long something that must happen may take on a busy machine.
pub const PATIENCE: Duration = Duration::from_secs(60);

/// Of the template: a message that was not settled comes again after 4 s and is given up after two tries, and each run of
/// the reconciler looks for abandoned requests. As deployed, it is a minute, five tries, and once an hour.
pub const IMPATIENT: [(&str, &str); 4] = [
    ("VisibilityTimeout: 60", "VisibilityTimeout: 4"),
    ("Timeout: 10", "Timeout: 4"),
    ("maxReceiveCount: 5", "maxReceiveCount: 2"),
    ("Default: 3600", "Default: 0"),
];

/// A running stack. Dropping it stops it, as Ctrl-C does.
pub struct Stack {
    process: Child,
    base: String,
    client: Client,
    log: Arc<Mutex<Vec<String>>>,
}

impl Stack {
    /// Starts a stack in memory.
    pub async fn start() -> Self {
        Self::start_with(&[]).await
    }

    /// Starts a stack in memory, of the [`IMPATIENT`] template.
    pub async fn start_impatient() -> Self {
        Self::start_changed(&IMPATIENT).await
    }

    /// Starts a stack in memory that reconciles only when it is told to, so that what is UNKNOWN stays so.
    pub async fn start_unreconciled() -> Self {
        Self::start_changed(&[("Default: rate(1 minute)", "Default: rate(30 days)")]).await
    }

    /// Starts a stack in memory, of the template with these texts replaced.
    ///
    /// # Panics
    /// If the template does not have one of the texts.
    pub async fn start_changed(replacements: &[(&str, &str)]) -> Self {
        Self::start_changed_with(replacements, &[]).await
    }

    /// The same, whose functions reach its DynamoDB through the endpoint of a proxy. The port is the one behind that.
    ///
    /// # Panics
    /// If the template does not have one of the texts.
    pub async fn start_behind(endpoint: &str, port: u16, replacements: &[(&str, &str)]) -> Self {
        let arguments = ["--dynamodb-port", &port.to_string(), "--dynamodb-endpoint", endpoint];
        Self::start_changed_with(replacements, &arguments).await
    }

    async fn start_changed_with(replacements: &[(&str, &str)], arguments: &[&str]) -> Self {
        static NUMBER: AtomicU32 = AtomicU32::new(0);
        let template = std::fs::read_to_string(workspace().join("template.yaml")).expect("readable");
        let changed = replacements.iter().fold(template, |template, (from, to)| {
            assert!(template.contains(from), "the template has `{from}`");
            template.replace(from, to)
        });
        let changed = changed.replace("CodeUri: functions", &format!("CodeUri: {}/functions", workspace().display()));
        let number = NUMBER.fetch_add(1, Ordering::SeqCst);
        let file = std::env::temp_dir().join(format!("changed-{}-{number}.yaml", std::process::id()));
        std::fs::write(&file, changed).expect("writable");
        let template = ["--template", file.to_str().expect("UTF-8")];
        let stack = Self::start_with(&[&template[..], arguments].concat()).await;
        std::fs::remove_file(file).expect("was there");
        stack
    }

    /// Starts a stack with further arguments.
    pub async fn start_with(arguments: &[&str]) -> Self {
        let arguments: Vec<String> = arguments.iter().map(|argument| (*argument).to_owned()).collect();
        tokio::task::spawn_blocking(move || Self::launch(&arguments)).await.expect("the stack starts")
    }

    fn launch(arguments: &[String]) -> Self {
        let mut process = Command::new(binary())
            .args(["--port", "0"])
            .args(arguments)
            .current_dir(workspace())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .expect("the binary runs");
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
        // What comes later is read as well, or the process would block on a full pipe.
        std::thread::spawn(move || output.for_each(drop));
        let stack = Self { process, base: base.clone().unwrap_or_default(), client: Client::new(), log };
        assert!(base.is_some(), "the stack did not become ready:\n{}", stack.log());
        stack
    }

    /// The URL of the API.
    pub fn base(&self) -> &str {
        &self.base
    }

    /// The process id of the stack.
    pub fn process(&self) -> u32 {
        self.process.id()
    }

    /// What the stack and its functions have logged.
    pub fn log(&self) -> String {
        self.log.lock().unwrap_or_else(PoisonError::into_inner).join("\n")
    }

    /// How many lines of the log say this.
    pub fn count(&self, text: &str) -> u64 {
        let log = self.log.lock().unwrap_or_else(PoisonError::into_inner);
        log.iter().filter(|line| line.contains(text)).count() as u64
    }

    /// Stops the stack as Ctrl-C does.
    pub fn interrupt(&mut self) -> ExitStatus {
        signal(self.process.id(), "INT");
        self.process.wait().expect("ends")
    }

    /// Kills the stack without a chance to clean up.
    pub fn kill(&mut self) {
        self.process.kill().expect("can be killed");
        self.process.wait().expect("ends");
    }

    /// Somebody who may call the API.
    pub async fn user(&self, name: &str) -> User<'_> {
        self.user_with(name, &[]).await
    }

    /// Somebody whose token has further claims, each of them a text.
    pub async fn user_with(&self, name: &str, claims: &[(&str, &str)]) -> User<'_> {
        let claims: String = claims.iter().map(|(name, value)| format!("&{name}={value}")).collect();
        let token = self.local(Method::GET, &format!("token?sub={name}{claims}")).send().await.expect("answers");
        User { stack: self, token: token.text().await.expect("a token") }
    }

    /// Somebody who may read all accounts.
    pub async fn auditor(&self) -> User<'_> {
        self.user_with("auditor", &[("role", "accounts:read")]).await
    }

    /// A request to `/_local/`.
    pub fn local(&self, method: Method, path: &str) -> RequestBuilder {
        self.client.request(method, format!("{}/_local/{path}", self.base))
    }

    /// What the provider really charged.
    pub async fn charges(&self) -> Vec<Value> {
        let response = self.local(Method::GET, "charges").send().await.expect("answers");
        response.json().await.expect("a list")
    }

    /// Runs the reconciler, and answers with what it did.
    pub async fn reconcile(&self) -> Value {
        eventually("the reconciler runs", || async {
            let response = self.local(Method::POST, "reconcile").send().await.expect("answers");
            assert!(response.status().is_success(), "{response:?}");
            let report: Value = response.json().await.expect("a report");
            // The schedule's own run may be at work.
            (report["held_elsewhere"] == false).then_some(report)
        })
        .await
    }

    /// Begins or ends an outage of the payment provider.
    pub async fn provider(&self, mode: &str) {
        let response = self.local(Method::POST, &format!("provider?mode={mode}")).send().await.expect("answers");
        assert!(response.status().is_success(), "{response:?}");
    }

    /// Puts copies of a message into a queue.
    pub async fn put(&self, queue: &str, copies: usize, body: impl Into<String>) {
        let request = self.local(Method::POST, &format!("queues/{queue}?copies={copies}")).body(body.into());
        let response = request.send().await.expect("answers");
        assert!(response.status().is_success(), "{response:?}");
    }

    /// Puts a message of a group into a FIFO queue; its id.
    pub async fn put_in_group(&self, queue: &str, group: &str, body: impl Into<String>) -> String {
        let request = self.local(Method::POST, &format!("queues/{queue}")).header("x-group", group).body(body.into());
        let sent: Value = request.send().await.expect("answers").json().await.expect("the message's id");
        sent["message_ids"][0].as_str().expect("an id").to_owned()
    }

    /// Appends a record to a topic.
    pub async fn append(&self, topic: &str, key: &str, body: impl Into<String>) {
        let request = self.local(Method::POST, &format!("streams/{topic}")).header("x-key", key).body(body.into());
        let response = request.send().await.expect("answers");
        assert!(response.status().is_success(), "{response:?}");
    }

    /// Kills every sandbox of a function.
    pub async fn kill_function(&self, function: &str) {
        let kill = self.local(Method::POST, &format!("functions/{function}/kill")).send().await;
        assert!(kill.expect("answers").status().is_success());
    }

    /// What is in a queue.
    pub async fn queue(&self, queue: &str) -> Value {
        let response = self.local(Method::GET, &format!("queues/{queue}")).send().await.expect("answers");
        response.json().await.expect("the contents")
    }

    /// Waits until nothing is in a queue any more: every message has been settled or has moved on.
    pub async fn until_empty(&self, queue: &str) {
        eventually(&format!("{queue} is empty"), || async {
            let contents = self.queue(queue).await;
            let counts = ["visible", "in_flight", "delayed"].map(|member| contents[member].as_u64());
            counts.iter().all(|count| *count == Some(0)).then_some(())
        })
        .await;
    }
}

impl Drop for Stack {
    fn drop(&mut self) {
        if std::thread::panicking() {
            eprintln!("--- log of the stack\n{}", self.log());
        }
        if matches!(self.process.try_wait(), Ok(None)) {
            signal(self.process.id(), "INT");
            let _ = self.process.wait();
        }
    }
}

/// A caller with a token.
pub struct User<'a> {
    stack: &'a Stack,
    token: String,
}

impl User<'_> {
    /// A request to the API.
    pub fn request(&self, method: Method, path: &str) -> RequestBuilder {
        self.stack.client.request(method, format!("{}{path}", self.stack.base)).bearer_auth(&self.token)
    }

    /// Sends a request to pay, or to refund, under a key.
    pub async fn post(&self, path: &str, key: &str, body: &Value) -> Answer {
        let request = self.request(Method::POST, path).header("idempotency-key", key).json(body);
        Answer::of(request.send().await.expect("answers")).await
    }

    /// Pays.
    pub async fn pay(&self, key: &str, body: &Value) -> Answer {
        self.post("/payments", key, body).await
    }

    /// Pays as a patient client does: repeats the same request, after Retry-After, until the answer is final.
    pub async fn pay_until_final(&self, key: &str, body: &Value) -> Answer {
        self.post_until_final("/payments", key, body).await
    }

    /// Pays or refunds likewise.
    pub async fn post_until_final(&self, path: &str, key: &str, body: &Value) -> Answer {
        let started = Instant::now();
        loop {
            let answer = self.post(path, key, body).await;
            let retryable = answer.status >= 500 || answer.json()["retryable"] == json!(true);
            if !retryable {
                return answer;
            }
            assert!(started.elapsed() < PATIENCE, "no final answer: {answer:?}\n{}", self.stack.log());
            let seconds = answer.header("retry-after").and_then(|text| text.parse().ok()).unwrap_or(1);
            tokio::time::sleep(Duration::from_secs(seconds)).await;
        }
    }

    /// Reads.
    pub async fn get(&self, path: &str) -> Answer {
        Answer::of(self.request(Method::GET, path).send().await.expect("answers")).await
    }

    /// The balance of an account in a currency, whoever owns it, once it has that many entries.
    pub async fn balance(&self, account: &str, currency: &str, entries: u64) -> i64 {
        let auditor = &self.stack.auditor().await;
        eventually(&format!("{account} has {entries} entries in {currency}"), || async {
            let account = auditor.get(&format!("/accounts/{account}")).await.json();
            let mut balances = account["balances"].as_array().cloned().unwrap_or_default().into_iter();
            let balance = balances.find(|balance| balance["currency"] == currency)?;
            if balance["entries"] == entries { balance["balance"].as_i64() } else { None }
        })
        .await
    }
}

/// What was answered.
#[derive(Clone, Debug)]
pub struct Answer {
    /// The status.
    pub status: u16,
    headers: reqwest::header::HeaderMap,
    /// The body.
    pub body: Vec<u8>,
}

impl Answer {
    /// Reads a response to its end.
    pub async fn of(response: Response) -> Self {
        Self::read(response).await.expect("a body")
    }

    /// Reads a response to its end, if it has one.
    ///
    /// # Errors
    /// If the connection broke before.
    pub async fn read(response: Response) -> reqwest::Result<Self> {
        let (status, headers) = (response.status().as_u16(), response.headers().clone());
        Ok(Self { status, headers, body: response.bytes().await?.to_vec() })
    }

    /// The names of its headers.
    pub fn header_names(&self) -> impl Iterator<Item = &str> {
        self.headers.keys().map(reqwest::header::HeaderName::as_str)
    }

    /// A header.
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.get(name).and_then(|value| value.to_str().ok())
    }

    /// Whether it is marked as a replay.
    pub fn is_replay(&self) -> bool {
        self.header("idempotency-replayed") == Some("true")
    }

    /// The body as JSON, or null.
    pub fn json(&self) -> Value {
        serde_json::from_slice(&self.body).unwrap_or_default()
    }

    /// The body as text.
    pub fn text(&self) -> String {
        String::from_utf8_lossy(&self.body).into_owned()
    }

    /// Status and code of a problem.
    pub fn problem(&self) -> String {
        format!("{} {}", self.status, self.json()["code"].as_str().unwrap_or("-"))
    }
}

/// A payment of 1,999 minor units in EUR.
pub fn payment(account: &str, payment_method: &str) -> Value {
    json!({ "account": account, "amount": 1999, "currency": "EUR", "payment_method": payment_method })
}

/// Looks again and again until something is there.
///
/// # Panics
/// If it is not there in time.
pub async fn eventually<T, F: Future<Output = Option<T>>>(what: &str, look: impl Fn() -> F) -> T {
    let started = Instant::now();
    loop {
        if let Some(found) = look().await {
            return found;
        }
        assert!(started.elapsed() < PATIENCE, "still not: {what}");
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}

/// Free a moment ago. A proxy must know the port of what is behind it before that starts.
pub fn free_port() -> u16 {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").expect("a free port");
    listener.local_addr().expect("bound").port()
}

/// Sends a signal to a process.
pub fn signal(process: u32, name: &str) {
    let sent = Command::new("kill").arg(format!("-{name}")).arg(process.to_string()).status();
    assert!(sent.is_ok_and(|status| status.success()), "SIG{name} for {process}");
}

/// The root of the workspace.
pub fn workspace() -> PathBuf {
    let mut folder = PathBuf::from(env!("CARGO_MANIFEST_DIR"));
    folder.pop();
    folder
}

/// Builds the stack once, as `cargo run -p local` does. It builds the functions by itself.
fn binary() -> &'static PathBuf {
    static BINARY: OnceLock<PathBuf> = OnceLock::new();
    BINARY.get_or_init(|| {
        let mut build = Command::new(env!("CARGO"));
        build.args(["build", "--package", "local"]).current_dir(workspace());
        if !cfg!(debug_assertions) {
            build.arg("--release");
        }
        assert!(build.status().is_ok_and(|status| status.success()), "cargo build --package local");
        // A test runs as target/debug/deps/NAME-HASH, a program as target/debug/NAME.
        let this = std::env::current_exe().expect("known");
        let folder = this.parent().expect("in a folder");
        let profile = if folder.ends_with("deps") { folder.parent().expect("in the target directory") } else { folder };
        profile.join("local")
    })
}
