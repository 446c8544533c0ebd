//! Clients that ask once and never again, whatever the answer: what becomes of their payments is the stack's own business.
//!
//! Their functions are killed by the provider, right before or after the charge, and at random. At the end each charge is in
//! the ledger once, and nothing is left to settle.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use futures::StreamExt;
use reqwest::Method;
use serde_json::{Value, json};

use super::short_leases;
use crate::local_stack::{Stack, User};

/// Payments in progress at a time.
const CLIENTS: usize = 24;

/// Payment methods, each as likely as the number of times it is listed.
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

/// Between two rounds of kills at random.
const KILLS_EVERY: Duration = Duration::from_secs(3);

/// How long the last payment may take until it is posted.
const TIME_LIMIT: Duration = Duration::from_secs(180);

/// What a run has seen.
#[derive(Clone, Copy, Debug, Default)]
pub struct Silence {
    /// Requests, one for each payment.
    pub payments: u64,
    /// Processes that died while they handled one.
    pub kills: u64,
    /// Charges.
    pub charges: usize,
    /// The time from the last request until everything was posted.
    pub last: Duration,
}

/// Pays until this many processes were killed, and checks that every charge is posted.
///
/// # Panics
/// If a charge is not in the ledger exactly once, or a payment is there without a charge.
pub async fn run(kills: u64, seed: u64) -> Silence {
    // No search, and no run of the schedule: only follow-ups settle.
    let setup = short_leases().parameter("ReconcileSchedule", "rate(30 days)");
    let stack = setup.parameter("ScanIntervalSeconds", 604_800).start().await;
    let ann = stack.user("ann").await;
    let paying = async {
        let mut number = 0;
        while killed(&stack) < kills {
            let some: Vec<u64> = (number..number + 4 * CLIENTS as u64).collect();
            number += some.len() as u64;
            futures::stream::iter(some).for_each_concurrent(CLIENTS, |number| pay(&ann, number, seed)).await;
        }
        number
    };
    let payments = tokio::select! {
        payments = paying => payments,
        () = kill_at_random(&stack, seed) => unreachable!("it goes on for ever"),
    };
    let kills = killed(&stack);
    let last = until_posted(&stack).await;
    Silence { payments, kills, charges: stack.charges().await.len(), last }
}

fn killed(stack: &Stack) -> u64 {
    stack.count("Runtime exited with error: signal: killed")
}

async fn pay(ann: &User<'_>, number: u64, seed: u64) {
    let mut rng = fastrand::Rng::with_seed(seed ^ number);
    let method = METHODS[rng.usize(0..METHODS.len())];
    let body =
        json!({ "account": account(number), "amount": 1000 + number, "currency": "EUR", "payment_method": method });
    let request = ann.request(Method::POST, "/payments").header("idempotency-key", format!("key-{number}"));
    // Some do not even wait for the answer.
    let patience = if rng.bool() { Duration::from_secs(30) } else { Duration::from_millis(rng.u64(50..2000)) };
    drop(request.json(&body).timeout(patience).send().await);
}

fn account(number: u64) -> String {
    format!("acct-{number}")
}

/// Of the API, and of the reconciler while it follows up.
async fn kill_at_random(stack: &Stack, seed: u64) {
    let mut rng = fastrand::Rng::with_seed(seed);
    loop {
        tokio::time::sleep(KILLS_EVERY).await;
        let function = if rng.u8(0..4) == 0 { "Reconciler" } else { "PaymentsApi" };
        drop(stack.local(Method::POST, &format!("functions/{function}/kill")).send().await);
    }
}

/// Waits until the ledger has every charge once; returns how long that took.
async fn until_posted(stack: &Stack) -> Duration {
    let started = Instant::now();
    let auditor = &stack.auditor().await;
    // A hint may be killed with its reconciler; Lambda repeats it, and the stream leads to those that it had taken over.
    let mut open: BTreeMap<String, Value> = BTreeMap::new();
    loop {
        for charge in stack.charges().await {
            let account = charge["metadata"]["account"].as_str().expect("an account").to_owned();
            assert!(open.insert(account, charge["amount"].clone()).is_none(), "charged twice: {charge}");
        }
        let left: Vec<String> = futures::stream::iter(open.clone())
            .map(|(account, amount)| async move {
                let answer = auditor.get(&format!("/accounts/{account}")).await;
                let balance = &answer.json()["balances"][0];
                let posted = balance["balance"] == amount && balance["entries"] == 1;
                assert!(posted || answer.status == 404, "{account} has {amount} and not {balance}");
                (!posted).then_some(account)
            })
            .buffer_unordered(8)
            .filter_map(std::future::ready)
            .collect()
            .await;
        if left.is_empty() {
            return started.elapsed();
        }
        assert!(started.elapsed() < TIME_LIMIT, "still not posted: {left:?}\n{}", stack.log());
        open.clear();
        tokio::time::sleep(Duration::from_millis(500)).await;
    }
}
