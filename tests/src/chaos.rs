//! The application under fire: its processes are killed and frozen, what they say to DynamoDB is lost, repeated and
//! late, and the whole stack dies and starts again on its data. Clients go on until each of their requests has a final
//! answer.
//!
//! The judge looks at what the provider charged, what the ledger shows and what each client heard; never at a record.

mod client;
mod faults;
mod kill_point;
mod killer;
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
use faults::Weather;
use killer::Killer;
use tally::Toll;

/// How much is to happen, at least.
#[derive(Clone, Copy, Debug)]
pub struct Plan {
    /// How many processes are killed.
    pub kills: u64,
    /// How many of them at each named point.
    pub at_each_point: u64,
    /// How many are frozen for longer than their lease, and go on.
    pub freezes: u64,
    /// How often the whole stack is killed and started again.
    pub restarts: u64,
    /// What chance follows from. Processes and sockets are real, so a seed does not repeat a run.
    pub seed: u64,
}

/// What happened.
#[derive(Clone, Debug)]
pub struct Tally {
    /// Processes killed that waited for an event or were handling one.
    pub kills: u64,
    /// Those of them that were handling one.
    pub at_work: u64,
    /// Those of these that were killed at a named point: before the write arrived, or after it took effect.
    pub points: BTreeMap<String, u64>,
    /// Processes frozen for longer than their lease.
    pub freezes: u64,
    /// Requests to DynamoDB that were lost, repeated or late.
    pub losses: u64,
    /// Late owners that were fenced, as the functions' logs say.
    pub fenced: u64,
    /// Events that were cut short by the end of their process, as the stack's log says; the provider killed some, too.
    pub cut_short: u64,
    /// Payments that were asked for, each until its answer was final.
    pub payments: usize,
    /// Requests that this took.
    pub requests: u64,
    /// Seconds of that.
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

/// Lets it happen, tells how far it is, and checks what came of it.
///
/// # Panics
/// If a promise was broken.
pub async fn run(plan: Plan, mut tell: impl FnMut(&str) + Send) -> Tally {
    let (started, folder) = (Instant::now(), Folder::new(plan.seed));
    let (clients, toll) = (Arc::new(Clients::new(plan.seed)), Toll::default());
    let (mut losses, mut fenced, mut cut_short) = (0, 0, 0);
    for round in 0..=plan.restarts {
        let is_last = round == plan.restarts;
        let share = |total: u64| total * (round + 1) / (plan.restarts + 1);
        let mut city = City::start(&folder, plan, round, &toll).await;
        clients.serve_from(&city.stack).await;
        let working = tokio::spawn(Arc::clone(&clients).work());
        let enough = || !is_last || (toll.counts().are_everywhere(plan.at_each_point) && fenced + city.fenced() > 0);
        let killer = Killer::new(&city.stack, plan.seed + round, toll.clone());
        tokio::select! {
            () = killer.rage(share(plan.kills), share(plan.freezes), enough) => {}
            () = reconcile(&city.stack) => {}
            () = report(&toll, &mut tell) => {}
        }
        if is_last {
            toll.end();
            clients.stop_asking();
            working.await.expect("every client gets its final answers");
            judge(&city.stack, &clients).await;
        } else {
            working.abort();
            tokio::task::block_in_place(|| city.stack.kill());
        }
        losses += city.losses.load(Ordering::Relaxed);
        fenced += city.fenced();
        cut_short += city.stack.count("Runtime exited with error: signal: killed");
    }
    let (payments, requests) = clients.count();
    let counts = toll.counts();
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

/// Runs the reconciler again and again.
async fn reconcile(stack: &Stack) {
    loop {
        // It is killed like others: what it answers does not matter.
        drop(stack.local(Method::POST, "reconcile").send().await);
        tokio::time::sleep(Duration::from_secs(5)).await;
    }
}

/// Tells every second how far it is.
async fn report(toll: &Toll, tell: &mut (impl FnMut(&str) + Send)) {
    loop {
        tokio::time::sleep(Duration::from_secs(1)).await;
        let progress = toll.counts().progress();
        tell(&progress);
    }
}

/// A stack behind a proxy with bad weather.
struct City {
    stack: Stack,
    losses: Arc<AtomicU64>,
}

impl City {
    async fn start(folder: &Folder, plan: Plan, round: u64, toll: &Toll) -> Self {
        let port = free_port();
        let proxy = Proxy::start(([127, 0, 0, 1], port).into()).await.expect("a free port");
        let stack = short_leases().data(&folder.0).behind(&proxy.url(), port).start().await;
        let losses = Arc::default();
        proxy.follow(Weather {
            losses: Arc::clone(&losses),
            toll: toll.clone(),
            goal: plan.at_each_point,
            rng: fastrand::Rng::with_seed(plan.seed + round),
            doomed: HashMap::new(),
        });
        Self { stack, losses }
    }

    fn fenced(&self) -> u64 {
        self.stack.count("a late owner was fenced")
    }
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
    // What was held back on its way to the provider arrives: it must be refused, or be known already.
    let late = stack.local(Method::POST, "provider/deliver").send().await;
    assert!(late.is_ok_and(|response| response.status().is_success()));
    let charges = stack.charges().await;
    let charged =
        |payment: &Payment| charges.iter().filter(|charge| charge["amount"].as_u64() == Some(payment.amount)).count();
    let judge = &stack.auditor().await;
    let payments = clients.payments();
    futures::stream::iter(&payments)
        .for_each_concurrent(8, |payment| async move {
            assert_eq!(charged(payment), usize::from(payment.succeeded()), "charges for {payment:?}");
            if payment.succeeded() {
                assert_eq!(judge.balance(&payment.account, "EUR", 1).await, payment.amount as i64, "{payment:?}");
            } else {
                let account = judge.get(&format!("/accounts/{}", payment.account)).await;
                assert_eq!(account.status, 404, "nothing was posted: {payment:?} {account:?}");
            }
        })
        .await;
    let succeeded = payments.iter().filter(|payment| payment.succeeded()).count();
    assert_eq!(charges.len(), succeeded, "nothing else was charged");
}

/// Functions with leases of a few seconds, and room for sandboxes that are frozen.
fn short_leases() -> Setup {
    Setup::brief()
        .parameter("ReconcilerTimeoutSeconds", 14)
        .parameter("LedgerVisibilitySeconds", 4)
        .parameter("ScanIntervalSeconds", 0)
        .option("sandboxes", 96)
        .option("overtime", 20)
}

/// The data of a stack; removed at the end, unless a promise was broken.
struct Folder(PathBuf);

impl Folder {
    fn new(seed: u64) -> Self {
        let folder = std::env::temp_dir().join(format!("chaos-{seed}-{}", std::process::id()));
        std::fs::create_dir_all(&folder).expect("writable");
        Self(folder)
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
