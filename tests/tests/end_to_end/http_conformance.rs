//! The HTTP contract: every case of the conformance package, against the fixture on the local stack.

use std::collections::BTreeSet;

use http_conformance::{Client, Options, Principals, Tier, cases, run};
use tests::local_stack::Setup;
use tests::workspace;

/// How many cases run at the same time; most of them wait for a lease to end.
const JOBS: usize = 16;

#[tokio::test(flavor = "multi_thread")]
async fn the_fixture_passes_every_case() {
    // The deletion of expired items is delayed, as it may be on AWS: expired records are still stored.
    let setup = Setup::application(&workspace().join("tests/fixture/template.yaml"));
    let stack = setup.option("time-to-live-sweep", 3600).option("sandboxes", JOBS).start().await;
    let principals = Principals::TokenUrl(format!("{}/_local/token?sub={{principal}}", stack.base()));
    let client = Client::new(stack.base(), principals).expect("a client");
    let tiers = vec![Tier::Draft, Tier::Profile];
    let options = Options { tiers, only: None, lacks: BTreeSet::new(), jobs: JOBS };
    let report = run(client, cases().expect("valid"), &options, |_, _, _| {}).await;
    assert!(report.is_complete(), "{}\n{}", report.table(), report.summary());
}
