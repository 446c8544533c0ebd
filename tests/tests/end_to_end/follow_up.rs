//! What a dead sandbox or a silent client leaves behind is settled from the stream of the records' table, without a run
//! of the schedule.

use std::time::{Duration, Instant};

use reqwest::Method;
use serde_json::{Value, json};
use tests::local_stack::{Setup, Stack, payment};
use tests::wait::eventually;

/// The lease of a payment: the five seconds of its run, and a margin.
const LEASE: Duration = Duration::from_secs(7);

async fn get(stack: &Stack, path: &str) -> Value {
    stack.local(Method::GET, path).send().await.expect("answers").json().await.expect("JSON")
}

async fn schedules(stack: &Stack) -> usize {
    get(stack, "one-time-schedules").await.as_array().expect("a list").len()
}

/// Waits until the mapping has delivered this many changes.
async fn delivered(stack: &Stack, changes: u64) {
    eventually("the changes are delivered", || async {
        let seen = get(stack, "mappings").await;
        (seen["ReconcilerClaims"]["delivered"].as_u64() >= Some(changes)).then_some(())
    })
    .await;
}

async fn rewind(stack: &Stack) {
    let answer = stack.local(Method::POST, "mappings/ReconcilerClaims/rewind").send().await.expect("answers");
    assert!(answer.status().is_success(), "{answer:?}");
}

/// With the settings of the template: a window of a minute, and the schedule's five minutes.
#[tokio::test(flavor = "multi_thread")]
async fn killed_after_the_charge_and_the_client_gone_it_is_charged_recorded_and_posted_within_the_lease_and_90_s() {
    let stack = Setup::deployed().start().await;
    let ann = stack.user("ann").await;
    let body = payment("acct-1", "pm_kill_after_charge");
    let started = Instant::now();
    assert!(ann.pay("key-1", &body).await.status >= 500);
    let auditor = stack.auditor().await;
    let posted = async {
        while auditor.get("/accounts/acct-1").await.json()["balances"][0]["balance"] != 1999 {
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
    };
    tokio::time::timeout(LEASE + Duration::from_secs(90), posted).await.expect("posted in time");
    println!("posted after {:?}", started.elapsed());
    assert_eq!(stack.charges().await.len(), 1);
    let answer = ann.pay("key-1", &body).await;
    assert_eq!((answer.status, answer.is_replay()), (201, true), "recorded: {answer:?}");
    assert_eq!(stack.count("\"reconciled\""), 0, "the schedule had no part in it");
}

#[tokio::test(flavor = "multi_thread")]
async fn whatever_becomes_of_a_request_it_is_settled_without_anybody_asking() {
    let stack = Setup::brief().followed_up_at_once().start().await;
    let ann = stack.user("ann").await;
    for (number, (method, charged)) in [
        ("pm_kill_after_charge", true),
        ("pm_kill_before_charge", false),
        ("pm_timeout_after_charge", true),
        ("pm_timeout_before_charge", false),
    ]
    .into_iter()
    .enumerate()
    {
        let account = format!("acct-{number}");
        assert!(ann.pay(&format!("key-{number}"), &payment(&account, method)).await.status >= 500, "{method}");
        if charged {
            assert_eq!(ann.balance(&account, "EUR", 1).await, 1999, "{method}");
        }
    }
    let metric = "\"FollowedUp\"";
    eventually("each was followed up", || async { (stack.count("\"prevented\\\":1") >= 2).then_some(()) }).await;
    assert!(stack.count(metric) > 0, "and counted");
    assert_eq!(stack.charges().await.len(), 2);
    eventually("nothing waits", || async { (schedules(&stack).await == 0).then_some(()) }).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_request_that_is_settled_in_its_window_leaves_nothing_to_follow_up() {
    let stack = Setup::brief().parameter("FollowUpWindowSeconds", 5).start().await;
    let ann = stack.user("ann").await;
    let paid =
        (0..10).map(|number| {
            let ann = &ann;
            async move {
                ann.pay(&format!("key-{number}"), &payment(&format!("acct-{number}"), "pm_card_visa")).await.status
            }
        });
    assert_eq!(futures::future::join_all(paid).await, [201; 10]);
    assert_eq!(ann.pay("invalid", &json!({ "account": "acct-1" })).await.status, 400);
    // Claim and outcome of each; the postings, in single-write mode, are filtered out.
    delivered(&stack, 22).await;
    let seen = get(&stack, "mappings").await["ReconcilerClaims"].clone();
    assert_eq!(
        (&seen["delivered"], &seen["failed_batches"], schedules(&stack).await),
        (&json!(22), &json!(0), 0),
        "{seen}"
    );
    stack.logged("followed up").await;
    assert_eq!(stack.count("followed up"), stack.count("\\\"sent\\\":0"), "nothing was sent");
}

/// A follow-up is only a hint: without it, and with it twice, each effect is there once.
#[tokio::test(flavor = "multi_thread")]
async fn a_lost_follow_up_and_a_shard_that_is_delivered_again_do_no_harm() {
    let stack = Setup::brief().followed_up_at_once().start().await;
    let ann = stack.user("ann").await;
    assert!(ann.pay("key-1", &payment("acct-1", "pm_kill_after_charge")).await.status >= 500);
    eventually("it waits for the end of its lease", || async { (schedules(&stack).await == 1).then_some(()) }).await;
    let lost = stack.local(Method::POST, "one-time-schedules/lose").send().await.expect("answers");
    assert_eq!(lost.json::<Value>().await.expect("JSON"), json!({ "lost": 1 }));
    tokio::time::sleep(LEASE).await;
    assert_eq!(ann.get("/accounts/acct-1").await.status, 404, "nobody has looked");

    rewind(&stack).await;
    assert_eq!(ann.balance("acct-1", "EUR", 1).await, 1999);
    for round in 1..=2 {
        let before = get(&stack, "mappings").await["ReconcilerClaims"]["delivered"].as_u64().expect("a number");
        rewind(&stack).await;
        delivered(&stack, before + 2).await;
        assert_eq!((stack.charges().await.len(), schedules(&stack).await), (1, 0), "delivered again, {round}");
    }
    assert_eq!(ann.balance("acct-1", "EUR", 1).await, 1999);
}
