//! The budget of round trips: the number of requests to DynamoDB that each case may make, with the real function on the
//! real Runtime API.

use std::path::Path;

use bench::cases::Case;
use bench::stage::Stage;
use bench::subject::{self, Subject};
use fault_proxy::Fault;

fn ours() -> Subject {
    subject::at(Path::new(env!("CARGO_BIN_EXE_ours")), true).expect("built for this test")
}

/// The number of requests per invocation. The stage checks the answers.
async fn requests(case: Case) -> u64 {
    const INVOCATIONS: usize = 3;
    let mut stage = Stage::prepare(&ours(), case, INVOCATIONS).await.expect("prepared");
    let turn = stage.turn(INVOCATIONS).await.expect("answered as the case demands");
    let (requests, invocations) = (turn.traffic.requests, INVOCATIONS as u64);
    assert_eq!(requests % invocations, 0, "{case}: {:?}", stage.database().proxy.operations());
    requests / invocations
}

#[tokio::test(flavor = "multi_thread")]
async fn a_first_run_makes_two_requests_effects_included() {
    assert_eq!(requests(Case::FirstRun).await, 2);
    assert_eq!(requests(Case::FirstRunWithEffect).await, 2);
    assert_eq!(requests(Case::Failed).await, 2);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_first_run_in_single_write_makes_one_request_effects_included() {
    assert_eq!(requests(Case::SingleWrite).await, 1);
    assert_eq!(requests(Case::SingleWriteWithEffect).await, 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_duplicate_makes_one_request_in_another_sandbox() {
    assert_eq!(requests(Case::ReplayElsewhere).await, 1);
    assert_eq!(requests(Case::InProgress).await, 1);
    assert_eq!(requests(Case::Mismatch).await, 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_batch_makes_one_request_for_each_message_the_first_time_and_again() {
    assert_eq!(requests(Case::Batch10).await, 10);
    assert_eq!(requests(Case::Batch10Replay).await, 10);
}

/// The reply to the claim is lost: the SDK retries, and the claim is recognised.
#[tokio::test(flavor = "multi_thread")]
async fn a_lost_reply_costs_one_request_more_and_no_second_run() {
    for lost in [1, 2] {
        let mut stage = Stage::prepare(&ours(), Case::FirstRun, 1).await.expect("prepared");
        stage.database().proxy.plan(vec![Fault::LoseReply; lost]);
        let turn = stage.turn(1).await.expect("answered as the case demands");
        assert_eq!(turn.traffic.requests, 2 + lost as u64);
    }
}
#[tokio::test(flavor = "multi_thread")]
async fn a_replay_makes_no_request_in_the_sandbox_that_settled_it() {
    assert_eq!(requests(Case::ReplayHere).await, 0);
}
