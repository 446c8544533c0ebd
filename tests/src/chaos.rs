//! Chaos tests of the application: its processes are killed and frozen, its requests to DynamoDB are lost, repeated and
//! delayed, and the whole stack is killed and starts again on its data. Clients repeat each request until its answer is
//! final.
//!
//! At the end the provider's charges and the ledger must match the clients' answers. The records themselves are not
//! checked.

mod client;
mod faults;
mod function;
mod kill_point;
mod killer;
pub mod silent;
mod tally;

use std::collections::{BTreeMap, HashMap};
use std::fmt;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use futures::StreamExt;
use reqwest::Method;

use fault_proxy::Proxy;

use crate::local_stack::{Setup, Stack};
use crate::process::free_port;
use crate::wait::eventually;

pub use client::{Clients, Payment};
use faults::Faults;
use kill_point::Step;
use killer::Killer;
use tally::KillTally;

/// The size of a run, as minimums.
#[derive(Clone, Copy, Debug)]
pub struct Plan {
    /// Whether records are on a Valkey server, and effects in DynamoDB.
    pub valkey: bool,
    /// Processes to kill.
    pub kills: u64,
    /// The number of these kills at each named point.
    pub at_each_point: u64,
    /// Processes to freeze for longer than their lease.
    pub freezes: u64,
    /// Restarts of the whole stack after it was killed.
    pub restarts: u64,
    /// The seed of random choices. Processes and sockets are real, so a seed does not repeat a run.
    pub seed: u64,
}

/// The result of a run.
#[derive(Clone, Debug)]
pub struct Tally {
    /// Processes killed while they waited for an event or handled one.
    pub kills: u64,
    /// The number of these that handled one.
    pub at_work: u64,
    /// The number of these that were killed at each named point: before the write arrived, or after it took effect.
    pub points: BTreeMap<String, u64>,
    /// Processes frozen for longer than their lease.
    pub freezes: u64,
    /// Requests to DynamoDB that were lost, repeated or delayed.
    pub losses: u64,
    /// Late owners that were fenced, according to the functions' logs.
    pub fenced: u64,
    /// Events whose process ended before it answered, according to the stack's log; the provider also killed some.
    pub cut_short: u64,
    /// Payments with a final answer.
    pub payments: usize,
    /// Requests for these payments.
    pub requests: u64,
    /// The duration of the run in seconds.
    pub seconds: u64,
}

impl fmt::Display for Tally {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { kills, at_work, points, freezes, losses, fenced, cut_short, payments, requests, seconds } = self;
        write!(out, "{kills} kills, {at_work} in the middle of an event, {cut_short} events cut short, ")?;
        write!(out, "{freezes} freezes, {fenced} late owners fenced, {losses} losses, {payments} payments, ")?;
        write!(out, "{requests} requests, {seconds} s, at named points {points:?}")
    }
}

/// Runs the plan, reports its progress, and checks the result.
///
/// # Panics
/// If a promise was broken.
pub async fn run(plan: Plan, mut progress: impl FnMut(&str) + Send) -> Tally {
    let (started, folder) = (Instant::now(), Folder::new(plan.seed));
    let (clients, tally) =
        (Arc::new(Clients::new(plan.seed)), KillTally::of(if plan.valkey { &Step::OF_EFFECTS } else { &Step::ALL }));
    let (mut losses, mut fenced, mut cut_short) = (0, 0, 0);
    for round in 0..=plan.restarts {
        let is_last = round == plan.restarts;
        let share = |total: u64| total * (round + 1) / (plan.restarts + 1);
        // Before its last start, the stack is killed with what is frozen.
        let freezes = if is_last { plan.freezes } else { 0 };
        let mut environment = Environment::start(&folder, Plan { freezes, ..plan }, round, &tally).await;
        clients.serve_from(&environment.stack).await;
        let working = tokio::spawn(Arc::clone(&clients).work());
        let enough =
            || !is_last || (tally.counts().are_everywhere(plan.at_each_point) && fenced + environment.fenced() > 0);
        let killer = Killer::new(&environment.stack, plan.seed + round, tally.clone());
        tokio::select! {
            () = killer.run(share(plan.kills), freezes, enough) => {}
            () = reconcile(&environment.stack) => {}
            () = report(&tally, &mut progress) => {}
        }
        if is_last {
            tally.end();
            clients.stop();
            working.await.expect("every client gets its final answers");
            check(&environment.stack, &clients).await;
        } else {
            working.abort();
            tokio::task::block_in_place(|| environment.stack.kill());
        }
        losses += environment.losses.load(Ordering::Relaxed);
        fenced += environment.fenced();
        cut_short += environment.stack.count("Runtime exited with error: signal: killed");
    }
    let (payments, requests) = clients.count();
    let counts = tally.counts();
    Tally {
        kills: counts.kills,
        at_work: counts.at_work,
        points: counts.by_point(),
        freezes: counts.freezes,
        losses,
        fenced,
        cut_short,
        payments,
        requests,
        seconds: started.elapsed().as_secs(),
    }
}

/// Runs the reconciler every five seconds.
async fn reconcile(stack: &Stack) {
    loop {
        // The reconciler is killed like other functions, so its answer does not matter.
        drop(stack.local(Method::POST, "reconcile").send().await);
        tokio::time::sleep(Duration::from_secs(5)).await;
    }
}

/// Reports the progress every second.
async fn report(tally: &KillTally, progress: &mut (impl FnMut(&str) + Send)) {
    loop {
        tokio::time::sleep(Duration::from_secs(1)).await;
        let counts = tally.counts().progress();
        progress(&counts);
    }
}

/// A stack behind a fault-injecting proxy.
struct Environment {
    stack: Stack,
    losses: Arc<AtomicU64>,
}

impl Environment {
    async fn start(folder: &Folder, plan: Plan, round: u64, tally: &KillTally) -> Self {
        let port = free_port();
        let proxy = Proxy::start(([127, 0, 0, 1], port).into()).await.expect("a free port");
        let setup = if plan.valkey { short_leases().option("store", "valkey") } else { short_leases() };
        let stack = setup.data(&folder.0).behind(&proxy.url(), port).start().await;
        let losses = Arc::default();
        proxy.follow(Faults {
            losses: Arc::clone(&losses),
            tally: tally.clone(),
            kills: plan.kills,
            goal: plan.at_each_point,
            freezes: plan.freezes,
            rng: fastrand::Rng::with_seed(plan.seed + round),
            pending_kills: HashMap::new(),
        });
        Self { stack, losses }
    }

    fn fenced(&self) -> u64 {
        self.stack.count("a late owner was fenced")
    }
}

/// Checks that charges and ledger match the answers that the clients received.
async fn check(stack: &Stack, clients: &Clients) {
    // A message whose worker was killed too often is in the dead-letter queue: not lost (G9).
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
    // Delayed requests to the provider arrive: each must be refused or be a repetition.
    let late = stack.local(Method::POST, "provider/deliver").send().await;
    assert!(late.is_ok_and(|response| response.status().is_success()));
    let charges = stack.charges().await;
    let charged =
        |payment: &Payment| charges.iter().filter(|charge| charge["amount"].as_u64() == Some(payment.amount)).count();
    let auditor = &stack.auditor().await;
    let payments = clients.payments();
    futures::stream::iter(&payments)
        .for_each_concurrent(8, |payment| async move {
            assert_eq!(charged(payment), usize::from(payment.succeeded()), "charges for {payment:?}");
            if payment.succeeded() {
                assert_eq!(auditor.balance(&payment.account, "EUR", 1).await, payment.amount as i64, "{payment:?}");
            } else {
                let account = auditor.get(&format!("/accounts/{}", payment.account)).await;
                assert_eq!(account.status, 404, "nothing was posted: {payment:?} {account:?}");
            }
        })
        .await;
    let succeeded = payments.iter().filter(|payment| payment.succeeded()).count();
    assert_eq!(charges.len(), succeeded, "nothing else was charged");
}

/// Settings with leases of a few seconds, and enough concurrency for frozen sandboxes.
fn short_leases() -> Setup {
    Setup::brief()
        .parameter("ReconcilerTimeoutSeconds", 14)
        .parameter("LedgerVisibilitySeconds", 4)
        .parameter("ScanIntervalSeconds", 0)
        .followed_up_at_once()
        .option("sandboxes", 96)
        .option("overtime", 20)
}

/// The data of a stack; removed at the end, unless a promise was broken.
struct Folder(PathBuf);

impl Folder {
    fn new(seed: u64) -> Self {
        // Several plans of one process may have the same seed.
        let folder = tempfile::Builder::new().prefix(&format!("chaos-{seed}-")).tempdir().expect("writable");
        Self(folder.keep())
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        if std::thread::panicking() {
            eprintln!("the data is kept in {}", self.0.display());
        } else {
            drop(std::fs::remove_dir_all(&self.0));
        }
    }
}
