//! The HTTP contract: every case of the conformance package, against the fixture on the local stack.

use std::collections::BTreeSet;

use http_conformance::{Client, Operation, Options, Principals, Tier, cases, run};
use tests::local_stack::{Setup, payment};

use crate::stacks::SHARED;

/// How many cases run at the same time; most of them wait for a lease to end.
const JOBS: usize = 8;

#[tokio::test(flavor = "multi_thread")]
async fn the_fixture_passes_every_case() {
    // Two sandboxes for each case, or a duplicate would wait until the first request has ended. The deletion of expired
    // items is delayed, as it may be on AWS: expired records are still stored.
    let setup = Setup::fixture().option("time-to-live-sweep", 3600).option("sandboxes", 2 * JOBS);
    let stack = setup.start().await;
    let principals = Principals::TokenUrl(format!("{}/_local/token?sub={{principal}}", stack.base()));
    let client = Client::new(stack.base(), principals).expect("a client");
    let tiers = vec![Tier::Draft, Tier::Profile];
    let options = Options { tiers, only: None, lacks: BTreeSet::new(), jobs: JOBS };
    let report = run(client, cases().expect("valid"), &options, |_, _, _| {}).await;
    assert!(report.is_complete(), "{}\n{}", report.table(), report.summary());
}

#[tokio::test(flavor = "multi_thread")]
async fn the_payments_api_passes_every_case_that_any_api_can_be_checked_with() {
    let stack = SHARED.stack().await;
    let principals = Principals::TokenUrl(format!("{}/_local/token?sub={}", stack.base(), stack.own("ann")));
    let client = Client::new(stack.base(), principals).expect("a client");
    let account = stack.own("acct-1");
    let operation =
        Operation::new("POST /payments", &payment(&account, "pm_card_visa").to_string()).expect("an operation");
    client.accepts(&operation).await.expect("the body is valid");
    let (tiers, cases) = (vec![Tier::Operation], operation.cases().expect("valid"));
    let options = Options { tiers, only: None, lacks: BTreeSet::new(), jobs: JOBS };
    let report = run(client, cases, &options, |_, _, _| {}).await;
    assert!(report.is_complete(), "{}\n{}", report.table(), report.summary());
    // One each to try the body, of the four cases that are executed, and the second key's.
    assert_eq!(stack.charges().await.len(), 6);
}
