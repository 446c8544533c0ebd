//! Starting, stopping and restarting.

use std::process::Command;

use tests::local_stack::{Setup, Stack, payment};
use tests::wait::eventually;

/// All descendants of a process.
fn descendants(process: u32) -> Vec<u32> {
    let output = Command::new("ps").args(["-A", "-o", "pid=,ppid="]).output().expect("ps runs");
    let output = String::from_utf8_lossy(&output.stdout).into_owned();
    let pairs: Vec<(u32, u32)> = output
        .lines()
        .filter_map(|line| {
            let mut ids = line.split_whitespace().filter_map(|id| id.parse().ok());
            Some((ids.next()?, ids.next()?))
        })
        .collect();
    let mut found = vec![process];
    let mut next = 0;
    while let Some(parent) = found.get(next).copied() {
        found.extend(pairs.iter().filter(|(_, of)| *of == parent).map(|(id, _)| id));
        next += 1;
    }
    found.split_off(1)
}

/// A zombie does not count: it has ended but has not been waited for.
fn is_running(process: u32) -> bool {
    let output = Command::new("ps").args(["-o", "stat=", "-p", &process.to_string()]).output().expect("ps runs");
    let state = String::from_utf8_lossy(&output.stdout).trim().to_owned();
    !state.is_empty() && !state.starts_with('Z')
}

#[tokio::test(flavor = "multi_thread")]
async fn an_interrupt_stops_every_process_that_was_started() {
    let mut stack = Stack::start().await;
    let ann = stack.user("ann").await;
    ann.pay("key-1", &payment("acct-1", "pm_card_visa")).await;
    ann.balance("acct-1", "EUR", 1).await;
    drop(ann);
    let functions = descendants(stack.process());
    assert!(functions.len() >= 2, "a sandbox of each function runs: {functions:?}");
    let status = tokio::task::block_in_place(|| stack.interrupt());
    assert!(status.success(), "{status}");
    let left: Vec<_> = functions.into_iter().filter(|process| is_running(*process)).collect();
    assert!(left.is_empty(), "still running: {left:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn functions_do_not_outlive_a_stack_that_was_killed() {
    let mut stack = Stack::start().await;
    stack.user("ann").await.pay("key-1", &payment("acct-1", "pm_card_visa")).await;
    let functions = descendants(stack.process());
    assert!(!functions.is_empty());
    tokio::task::block_in_place(|| stack.kill());
    let gone = || async { functions.iter().all(|process| !is_running(*process)).then_some(()) };
    eventually("every function has ended", gone).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn with_data_a_restart_finds_records_payments_and_the_ledger() {
    let folder = tempfile::tempdir().expect("a folder");
    let body = payment("acct-1", "pm_card_visa");
    let mut stack = Setup::brief().data(folder.path()).start().await;
    let ann = stack.user("ann").await;
    let first = ann.pay("key-1", &body).await;
    assert_eq!(first.status, 201, "{first:?}");
    ann.balance("acct-1", "EUR", 1).await;
    drop(ann);
    assert!(tokio::task::block_in_place(|| stack.interrupt()).success());

    let stack = Setup::brief().data(folder.path()).start().await;
    let ann = stack.user("ann").await;
    let again = ann.pay("key-1", &body).await;
    assert!(again.is_replay());
    assert_eq!((again.status, &again.body), (201, &first.body));
    assert_eq!(ann.get(first.header("location").expect("a location")).await.json(), first.json());
    assert_eq!(stack.charges().await.len(), 1);
    stack.until_empty("LedgerQueue").await;
    assert_eq!(ann.balance("acct-1", "EUR", 1).await, 1999);
}

/// The stack is killed right after the answer, so that the event is between the table's stream and the ledger.
#[tokio::test(flavor = "multi_thread")]
async fn with_data_an_unfinished_outbox_is_delivered_after_a_crash() {
    let folder = tempfile::tempdir().expect("a folder");
    let mut locations = Vec::new();
    for round in 0..3 {
        let mut stack = Setup::brief().data(folder.path()).start().await;
        let ann = stack.user("ann").await;
        let paid = ann.pay(&format!("key-{round}"), &payment("acct-1", "pm_card_visa")).await;
        assert_eq!(paid.status, 201, "{paid:?}");
        locations.push(paid.header("location").expect("a location").to_owned());
        drop(ann);
        tokio::task::block_in_place(|| stack.kill());
    }
    let stack = Setup::brief().data(folder.path()).start().await;
    let ann = stack.user("ann").await;
    assert_eq!(ann.balance("acct-1", "EUR", 3).await, 3 * 1999);
    stack.until_empty("LedgerQueue").await;
    assert_eq!(ann.balance("acct-1", "EUR", 3).await, 3 * 1999);
    assert_eq!(stack.charges().await.len(), 3);
    for location in locations {
        assert_eq!(ann.get(&location).await.status, 200);
    }
}
