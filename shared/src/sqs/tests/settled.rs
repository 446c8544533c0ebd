//! The settlement of messages other than by their verdict: by evidence, and by the settings for groups and batches.

use super::*;
use crate::engine::Evidence;
use crate::protocol::Record;
use crate::reconcile::OnlyTransactionalEffects;
use crate::sqs::InGroup;

/// A resolver with fixed evidence about any transaction.
struct Says(fn() -> Evidence<()>);

impl Resolver<Effect, ()> for Says {
    async fn resolve(&self, _: &Record, attempt: Attempt<Effect>) -> Evidence<()> {
        attempt.add_effect(Effect::named("asked"));
        (self.0)()
    }
}

#[tokio::test]
async fn a_message_whose_outcome_is_unknown_is_settled_by_evidence_when_it_comes_again() {
    for (says, again, ran, asked) in [
        (None, ["m"].as_slice(), 1, 0),
        (Some(Says(|| Evidence::Happened(()))), &[], 1, 1),
        (Some(Says(|| Evidence::Refused(()))), &["m"], 1, 1),
        (Some(Says(|| Evidence::Unclear("no reply".into()))), &["m"], 1, 0),
        (Some(Says(|| Evidence::Prevented)), &[], 2, 0),
    ] {
        let (queue, memory) = world([]);
        let queue = match says {
            Some(says) => queue.resolver(says),
            None => queue,
        };
        let runs = AtomicUsize::new(0);
        let handler = |_, _| match runs.fetch_add(1, Ordering::SeqCst) {
            0 => std::future::ready(Err("the connection broke")),
            _ => std::future::ready(Ok(())),
        };
        let event = batch(vec![message("m", r#"{"id":1}"#)]);
        let mut returned = Vec::new();
        for _ in 0..2 {
            let response = queue.handle(&event, in_ten_seconds(&queue), handler).await.unwrap();
            returned = ids(response);
        }
        assert_eq!(returned, again);
        assert_eq!((runs.load(Ordering::SeqCst), memory.applied("asked")), (ran, asked));
    }
}

#[tokio::test]
async fn what_has_only_transactional_effects_runs_again_after_an_error_and_takes_effect_once() {
    let (queue, memory) = world([]);
    let queue = queue.resolver(OnlyTransactionalEffects);
    let runs = AtomicUsize::new(0);
    let handler = |attempt: Attempt<Effect>, _| {
        attempt.add_effect(Effect::named("posted"));
        std::future::ready(if runs.fetch_add(1, Ordering::SeqCst) == 0 { Err("timed out") } else { Ok(()) })
    };
    let event = batch(vec![message("m", r#"{"id":1}"#)]);
    for expected in [1, 0, 0] {
        let response = queue.handle(&event, in_ten_seconds(&queue), handler).await.unwrap();
        assert_eq!(response.batch_item_failures.len(), expected);
    }
    assert_eq!((runs.load(Ordering::SeqCst), memory.applied("posted")), (2, 1));
}

#[tokio::test]
async fn a_group_goes_on_after_a_returned_message_only_where_that_is_declared() {
    for (in_group, expected, ran) in
        [(InGroup::ReturnRest, ["a-1", "a-2"].as_slice(), 0), (InGroup::GoOn, ["a-1"].as_slice(), 1)]
    {
        let (queue, memory) = world([]);
        let queue = queue.single_write().in_group(in_group);
        let messages = vec![grouped("a", "a-1", r#"{"id":1,"do":"panic"}"#), grouped("a", "a-2", r#"{"id":2}"#)];
        assert_eq!(returned(&queue, messages).await, expected);
        assert_eq!(memory.applied("2"), ran);
    }
}

#[tokio::test]
async fn a_batch_of_which_all_is_returned_fails_only_where_that_is_declared() {
    let failing = || message("m-1", r#"{"id":1,"do":"not execute"}"#);
    let (queue, _) = world([]);
    let raising = queue.clone().fail_if_all_returned();
    let handled =
        async |queue: &Queue<TestStore>, messages| queue.handle(&batch(messages), in_ten_seconds(queue), handle).await;
    assert_eq!(handled(&raising, vec![failing()]).await.unwrap_err(), BatchFailed::AllReturned);
    let response = handled(&queue, vec![failing()]).await.unwrap();
    assert_eq!(response.batch_item_failures.len(), 1);
    let some = handled(&raising, vec![failing(), message("m-2", r#"{"id":2}"#)]).await.unwrap();
    assert_eq!(some.batch_item_failures.len(), 1, "not all");
    assert!(handled(&raising, Vec::new()).await.unwrap().batch_item_failures.is_empty(), "an empty batch");
}
