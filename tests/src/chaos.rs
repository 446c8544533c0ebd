//! The application under fire: its processes are killed and frozen, what they say to DynamoDB is lost, repeated and
//! late, and the whole stack dies and starts again on its data. Clients go on until each of their requests has a final
//! answer.
//!
//! The judge looks at what the provider charged, what the ledger shows and what each client heard; never at a record.

mod client;
mod killer;

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

use crate::proxy::{Loss, Proxy};
use crate::stack::{Stack, eventually, workspace};

pub use client::{Clients, Payment};
use killer::Killer;

/// How much is to happen.
#[derive(Clone, Copy, Debug)]
pub struct Plan {
    /// How many processes are killed.
    pub kills: u64,
    /// How many are frozen for longer than their lease, and go on.
    pub freezes: u64,
    /// How often the whole stack is killed and started again.
    pub restarts: u64,
    /// What chance follows from. Processes and sockets are real, so a seed does not repeat a run.
    pub seed: u64,
}

/// What happened.
#[derive(Clone, Copy, Debug, Default)]
pub struct Tally {
    /// Processes killed.
    pub kills: u64,
    /// Processes frozen for longer than their lease.
    pub freezes: u64,
    /// Requests to DynamoDB that were lost, repeated or late.
    pub losses: u64,
    /// Late owners that were fenced, as the functions' logs say.
    pub fenced: u64,
    /// Payments that were asked for, each until its answer was final.
    pub payments: usize,
    /// Requests that this took.
    pub requests: u64,
    /// Seconds of that.
    pub seconds: u64,
}

impl std::fmt::Display for Tally {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Self { kills, freezes, losses, fenced, payments, requests, seconds } = self;
        write!(out, "{kills} kills, {freezes} freezes, {fenced} late owners fenced, {losses} losses, ")?;
        write!(out, "{payments} payments, {requests} requests, {seconds} s")
    }
}

/// Lets it happen, then checks what came of it.
///
/// # Panics
/// If a promise was broken.
pub async fn run(plan: Plan) -> Tally {
    let started = Instant::now();
    let folder = Folder::new(plan.seed);
    let clients = Arc::new(Clients::new(plan.seed));
    let mut tally = Tally::default();
    let rounds = plan.restarts + 1;
    for round in 0..rounds {
        let last = round + 1 == rounds;
        let share = |total: u64| total / rounds + if last { total % rounds } else { 0 };
        let mut city = City::start(&folder, plan.seed + round).await;
        clients.serve_from(&city.stack).await;
        let working = tokio::spawn(Arc::clone(&clients).work());
        let killer = Killer::new(city.stack.process(), plan.seed + round);
        killer.rage(share(plan.kills), share(plan.freezes), &mut tally).await;
        if last {
            clients.stop_asking();
            working.await.expect("every client gets its final answers");
            judge(&city.stack, &clients).await;
        } else {
            working.abort();
            tokio::task::block_in_place(|| city.stack.kill());
        }
        tally.losses += city.losses();
        tally.fenced += city.stack.log().matches("a late owner was fenced").count() as u64;
    }
    let (payments, requests) = clients.count();
    Tally { payments, requests, seconds: started.elapsed().as_secs(), ..tally }
}

/// A stack behind a proxy with bad weather.
struct City {
    stack: Stack,
    losses: Arc<std::sync::atomic::AtomicU64>,
}

impl City {
    async fn start(folder: &Folder, seed: u64) -> Self {
        let port = free_port();
        let proxy = Proxy::start(([127, 0, 0, 1], port).into()).await;
        let losses = Arc::new(std::sync::atomic::AtomicU64::new(0));
        let counter = Arc::clone(&losses);
        let mut rng = fastrand::Rng::with_seed(seed);
        proxy.weather(Box::new(move || {
            let loss = match rng.u8(0..100) {
                0..2 => Loss::Request,
                2..5 => Loss::Reply,
                5..7 => Loss::Repeat,
                7..9 => Loss::Delay(Duration::from_millis(rng.u64(0..300))),
                _ => return Loss::None,
            };
            counter.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
            loss
        }));
        let endpoint = format!("http://{}", proxy.address());
        let (data, template) = (folder.path("data"), folder.template());
        let arguments = ["--data", &data, "--template", &template, "--dynamodb-endpoint", &endpoint];
        let port = port.to_string();
        let stack =
            Stack::start_with(&[&arguments[..], &["--dynamodb-port", &port, "--overtime", "10"]].concat()).await;
        Self { stack, losses }
    }

    fn losses(&self) -> u64 {
        self.losses.load(std::sync::atomic::Ordering::Relaxed)
    }
}

/// Free a moment ago; the stack must know it before it starts, because the proxy does.
fn free_port() -> u16 {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").expect("a free port");
    listener.local_addr().expect("bound").port()
}

/// What really happened fits what the clients heard.
async fn judge(stack: &Stack, clients: &Clients) {
    // What died too often waits in the dead-letter queue: not lost (G9).
    eventually("the ledger queue is empty, and so is its dead-letter queue", || async {
        let dead = stack.queue("LedgerDeadLetters").await;
        if dead["visible"].as_u64() != Some(0) {
            let redrive = stack.local(reqwest::Method::POST, "queues/LedgerDeadLetters/redrive").send().await;
            assert!(redrive.is_ok_and(|response| response.status().is_success()));
            return None;
        }
        stack.until_empty("LedgerQueue").await;
        (stack.queue("LedgerDeadLetters").await["visible"].as_u64() == Some(0)).then_some(())
    })
    .await;
    let charges = stack.charges().await;
    let judge = stack.user("judge").await;
    for payment in clients.payments() {
        let charged = charges.iter().filter(|charge| charge["amount"].as_u64() == Some(payment.amount)).count();
        let succeeded = payment.status == 201;
        assert_eq!(charged, usize::from(succeeded), "charges for {payment:?}");
        let expected = if succeeded { payment.amount as i64 } else { 0 };
        if succeeded {
            assert_eq!(judge.balance(&payment.account, "EUR", 1).await, expected, "{payment:?}");
        } else {
            let account = judge.get(&format!("/accounts/{}", payment.account)).await;
            let balances = account.json()["balances"].as_array().map_or(0, Vec::len);
            assert_eq!(balances, 0, "{payment:?}");
        }
    }
    let succeeded = clients.payments().iter().filter(|payment| payment.status == 201).count();
    assert_eq!(charges.len(), succeeded, "nothing else was charged");
}

/// The data of a stack, and its template; removed at the end, unless something was broken.
struct Folder(PathBuf);

impl Folder {
    fn new(seed: u64) -> Self {
        let folder = std::env::temp_dir().join(format!("chaos-{seed}-{}", std::process::id()));
        std::fs::create_dir_all(folder.join("data")).expect("writable");
        Self(folder)
    }

    fn path(&self, name: &str) -> String {
        self.0.join(name).to_str().expect("UTF-8").to_owned()
    }

    /// The application's template, with leases of a few seconds, and room for sandboxes that stand still.
    fn template(&self) -> String {
        let template = std::fs::read_to_string(workspace().join("template.yaml")).expect("readable");
        let functions = format!("CodeUri: {}/functions", workspace().display());
        let reserved =
            "      ReservedConcurrentExecutions: !If [IsApiReserved, !Ref ApiConcurrency, !Ref AWS::NoValue]\n";
        assert!(template.contains(reserved), "the template has {reserved}");
        let impatient = template
            .replace(reserved, "")
            .replace("VisibilityTimeout: 60", "VisibilityTimeout: 4")
            .replace("      Timeout: 10\n", "      Timeout: 4\n      ReservedConcurrentExecutions: 16\n")
            .replace("Default: 3600", "Default: 0")
            .replace("CodeUri: functions", &functions);
        let file: &Path = &self.0.join("template.yaml");
        std::fs::write(file, impatient).expect("writable");
        self.path("template.yaml")
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        if std::thread::panicking() {
            eprintln!("kept for a look: {}", self.0.display());
        } else {
            drop(std::fs::remove_dir_all(&self.0));
        }
    }
}
