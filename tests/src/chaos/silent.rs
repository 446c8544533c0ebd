//! Clients that call once and never retry, whatever the answer: the stack alone must settle their payments.
//!
//! Their functions are killed by the provider, right before or after the charge, and at random. At the end each charge
//! is in the ledger once, and nothing is left to settle.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use futures::StreamExt;
use reqwest::Method;
use serde_json::{Value, json};

use super::short_leases;
use crate::local_stack::{Stack, User};

/// Payments in progress at a time. Many wait for a time-out, which must not delay the kills.
const CLIENTS: usize = 64;

/// Payment methods; the probability of each is proportional to how often it is listed.
const METHODS: [&str; 8] = [
    "pm_card_visa",
    "pm_card_visa",
    "pm_kill_after_charge",
    "pm_kill_after_charge",
    "pm_kill_after_charge",
    "pm_kill_before_charge",
    "pm_timeout_after_charge",
    "pm_slow_1500",
];

/// The interval between two rounds of random kills.
const KILLS_EVERY: Duration = Duration::from_secs(3);

/// How long the last payment may take until it is posted, plus one second for every 5 kills.
const TIME_LIMIT: Duration = Duration::from_secs(180);

/// The text in the stack's log for an event whose process was killed.
const KILLED: &str = "Runtime exited with error: signal: killed";

/// The figures of a run.
#[derive(Clone, Copy, Debug, Default)]
pub struct Silence {
    /// Requests, one for each payment.
    pub payments: u64,
    /// Processes that died while they handled an event.
    pub kills: u64,
    /// Charges.
    pub charges: usize,
    /// The number of killed processes that were following up.
    pub reconcilers: usize,
    /// Dead letters that were redelivered.
    pub dead_letters: u64,
    /// The time from the first request to the last kill.
    pub paying: Duration,
    /// The time from then until everything was posted.
    pub last: Duration,
}

impl fmt::Display for Silence {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { payments, kills, charges, reconcilers, dead_letters, paying, last } = self;
        write!(
            out,
            "{kills} kills, {reconcilers} of them while following up, {payments} payments, {charges} charges, \
             {dead_letters} dead letters, "
        )?;
        write!(out, "{} s, and {} s until all were posted", paying.as_secs(), last.as_secs())
    }
}

/// Pays until this many processes were killed, and checks that every charge is posted.
///
/// # Panics
/// If a charge is not in the ledger exactly once, or the ledger has a payment without a charge.
pub async fn run(kills: u64, seed: u64) -> Silence {
    // Neither the scan nor the schedule runs: only follow-ups settle payments. As many sandboxes as the operations
    // guide advises: each claim of a dead sandbox is due within the same few seconds.
    let setup = short_leases().parameter("ReconcileSchedule", "rate(30 days)").parameter("ReconcilerConcurrency", 8);
    let stack = setup.parameter("ScanIntervalSeconds", 604_800).start().await;
    let ann = stack.user("ann").await;
    let (started, next, enough) = (Instant::now(), AtomicU64::new(0), AtomicBool::new(false));
    let client = async || {
        while !enough.load(Ordering::Relaxed) {
            pay(&ann, next.fetch_add(1, Ordering::Relaxed), seed).await;
        }
    };
    let paying = futures::future::join_all((0..CLIENTS).map(|_| client()));
    let killing = async {
        kill_at_random(&stack, kills, seed).await;
        enough.store(true, Ordering::Relaxed);
    };
    futures::future::join(paying, killing).await;
    let paying = started.elapsed();
    let (last, runbooks) = until_posted(&stack, kills).await;
    Silence {
        payments: next.into_inner(),
        kills: killed(&stack),
        charges: stack.charges().await.len(),
        reconcilers: stack.log().lines().filter(|line| line.contains("Reconciler: ") && line.contains(KILLED)).count(),
        dead_letters: runbooks.delivered.len() as u64 + runbooks.redriven,
        paying,
        last,
    }
}

fn killed(stack: &Stack) -> u64 {
    stack.count(KILLED)
}

async fn pay(ann: &User<'_>, number: u64, seed: u64) {
    let mut rng = fastrand::Rng::with_seed(seed ^ number);
    let method = METHODS[rng.usize(0..METHODS.len())];
    let body =
        json!({ "account": account(number), "amount": 1000 + number, "currency": "EUR", "payment_method": method });
    let request = ann.request(Method::POST, "/payments").header("idempotency-key", format!("key-{number}"));
    // Some do not even wait for the answer.
    let timeout = if rng.bool() { Duration::from_secs(30) } else { Duration::from_millis(rng.u64(50..2000)) };
    drop(request.json(&body).timeout(timeout).send().await);
}

fn account(number: u64) -> String {
    format!("acct-{number}")
}

/// Kills the API, and the reconciler while it follows up, until this many events were cut short. The provider kills
/// most of the processes.
async fn kill_at_random(stack: &Stack, kills: u64, seed: u64) {
    let mut rng = fastrand::Rng::with_seed(seed);
    while killed(stack) < kills {
        tokio::time::sleep(KILLS_EVERY).await;
        let function = if rng.u8(0..4) == 0 { "Reconciler" } else { "PaymentsApi" };
        drop(stack.local(Method::POST, &format!("functions/{function}/kill")).send().await);
    }
}

/// Waits until the ledger has every charge once. Returns how long that took, and the runbook actions that were needed.
async fn until_posted(stack: &Stack, kills: u64) -> (Duration, Runbooks) {
    let (started, limit) = (Instant::now(), TIME_LIMIT + Duration::from_secs(kills / 5));
    // A follow-up may be lost when its reconciler is killed: Lambda repeats it, and the stream leads to the records
    // that the reconciler had taken over.
    let (mut posted, mut runbooks) = (BTreeMap::new(), Runbooks::default());
    loop {
        let charges = charges(stack).await;
        let open = charges.iter().filter(|(account, _)| !posted.contains_key(*account));
        let now = ledger(stack, open).await;
        posted.extend(now.into_iter().filter(|(_, is_posted)| *is_posted));
        let left: Vec<_> = charges.keys().filter(|account| !posted.contains_key(*account)).collect();
        if left.is_empty() {
            // Once more: nothing was posted a second time in the meantime.
            let all = ledger(stack, &charges).await;
            assert!(all.values().all(|is_posted| *is_posted), "{all:?}");
            return (started.elapsed(), runbooks);
        }
        runbooks.follow(stack).await;
        assert!(started.elapsed() < limit, "still not posted: {left:?}, {runbooks:?}\n{}", stack.log());
        tokio::time::sleep(Duration::from_millis(500)).await;
    }
}

/// The actions of an operator on dead letters, according to the runbooks of their alarms.
#[derive(Debug, Default)]
struct Runbooks {
    /// Follow-ups whose processes died three times, and which were redelivered.
    delivered: BTreeSet<String>,
    /// The number of messages that timed out too often and were redriven.
    redriven: u64,
}

impl Runbooks {
    async fn follow(&mut self, stack: &Stack) {
        let letters = stack.queue("FollowUpDeadLetters").await;
        for letter in letters["bodies"].as_array().expect("a list").iter().filter_map(Value::as_str) {
            if self.delivered.contains(letter) {
                continue;
            }
            let document: Value = serde_json::from_str(letter).expect("a dead letter is JSON");
            let payload = document.get("requestPayload").unwrap_or(&document);
            let invoked = stack.local(Method::POST, "functions/Reconciler/invoke").json(payload).send().await;
            if invoked.is_ok_and(|answer| answer.status().is_success()) {
                self.delivered.insert(letter.to_owned());
            }
        }
        self.redriven += stack.redrive("LedgerDeadLetters").await;
    }
}

/// The amount charged to each account: there is one payment to each.
async fn charges(stack: &Stack) -> BTreeMap<String, Value> {
    let mut charges = BTreeMap::new();
    for charge in stack.charges().await {
        let account = charge["metadata"]["account"].as_str().expect("an account").to_owned();
        assert!(charges.insert(account, charge["amount"].clone()).is_none(), "charged twice: {charge}");
    }
    charges
}

/// Whether each of these charges is in the ledger: once, or not at all yet.
async fn ledger<'c>(
    stack: &Stack,
    charges: impl IntoIterator<Item = (&'c String, &'c Value)>,
) -> BTreeMap<String, bool> {
    let auditor = &stack.auditor().await;
    futures::stream::iter(charges)
        .map(|(account, amount)| async move {
            let answer = auditor.get(&format!("/accounts/{account}")).await;
            let balance = &answer.json()["balances"][0];
            let is_posted = balance["balance"] == *amount && balance["entries"] == 1;
            // A read may fail because of the remaining overload of the payments.
            let is_open = answer.status == 404 || answer.status >= 500;
            assert!(is_posted || is_open, "{account} has {amount} and not {balance}: {answer:?}");
            (account.clone(), is_posted)
        })
        .buffer_unordered(8)
        .collect()
        .await
}
