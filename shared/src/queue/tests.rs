use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use super::*;
use crate::store::fault::{Fault, FaultyStore};
use crate::store::memory::{Effect, MemoryStore};

type TestStore = FaultyStore<MemoryStore>;

fn world(plan: impl IntoIterator<Item = Fault>) -> (Queue<TestStore>, MemoryStore) {
    let memory = MemoryStore::new();
    let engine = Engine::builder(FaultyStore::new(memory.clone(), plan)).build();
    let operation = Operation::new("ledger", "post").retention(LONGEST_RETENTION);
    let queue = Queue::new(engine, operation, Principal::new("producer").unwrap(), KeySource::pointer("/id"));
    (queue, memory)
}

fn message(id: &str, body: &str) -> SqsMessage {
    let mut message = SqsMessage::default();
    message.message_id = Some(id.to_owned());
    message.body = Some(body.to_owned());
    message
}

fn batch(messages: Vec<SqsMessage>) -> SqsEvent {
    let mut event = SqsEvent::default();
    event.records = messages;
    event
}

fn in_ten_seconds(queue: &Queue<TestStore>) -> EpochMs {
    queue.engine.time().plus(Duration::from_secs(10))
}

/// What the tests' messages ask for, by their member `do`.
async fn handle(attempt: Attempt<Effect>, message: SqsMessage) -> Verdict<()> {
    let body: serde_json::Value = serde_json::from_str(message.body.as_deref().unwrap()).unwrap();
    attempt.add_effect(Effect::named(body["id"].to_string()));
    match body["do"].as_str().unwrap_or_default() {
        "panic" => panic!("planned"),
        "fail" => Verdict::Failed(()),
        "not execute" => Verdict::NotExecuted(()),
        _ => Verdict::Success(()),
    }
}

async fn returned(queue: &Queue<TestStore>, messages: Vec<SqsMessage>) -> Vec<String> {
    let response = queue.handle(batch(messages), in_ten_seconds(queue), handle).await.unwrap();
    let mut ids: Vec<_> = response.batch_item_failures.into_iter().map(|failure| failure.item_identifier).collect();
    ids.sort();
    ids
}

#[tokio::test]
async fn a_message_that_is_delivered_again_takes_effect_once_in_both_modes() {
    for one_trip in [false, true] {
        let (queue, memory) = world([]);
        let queue = if one_trip { queue.one_trip() } else { queue };
        // The producer's retry has another message id.
        for id in ["m-1", "m-1", "m-2"] {
            assert_eq!(returned(&queue, vec![message(id, r#"{"id":1}"#)]).await, [""; 0]);
        }
        assert_eq!(memory.applied("1"), 1);
    }
}

#[tokio::test]
async fn equal_messages_of_one_batch_take_effect_once() {
    let (queue, memory) = world([]);
    let queue = queue.one_trip();
    let equal = (0..10).map(|index| message(&format!("m-{index}"), r#"{"id":1}"#)).collect();
    assert_eq!(returned(&queue, equal).await, [""; 0]);
    assert_eq!(memory.applied("1"), 1);
}

#[tokio::test]
async fn only_what_failed_is_returned_and_the_rest_of_its_batch_is_done() {
    for one_trip in [false, true] {
        let (queue, memory) = world([]);
        let queue = if one_trip { queue.one_trip() } else { queue };
        let messages = vec![
            message("poison", "not JSON"),
            message("keyless", "{}"),
            message("panics", r#"{"id":1,"do":"panic"}"#),
            message("not executed", r#"{"id":2,"do":"not execute"}"#),
            message("failed", r#"{"id":3,"do":"fail"}"#),
            message("good", r#"{"id":4}"#),
        ];
        assert_eq!(returned(&queue, messages).await, ["failed", "keyless", "not executed", "panics", "poison"]);
        assert_eq!(["1", "2", "3", "4"].map(|id| memory.applied(id)), [0, 0, 1, 1]);
    }
}

#[tokio::test]
async fn a_message_that_failed_for_good_does_not_run_again_and_is_dropped_by_choice() {
    let (queue, memory) = world([]);
    let failing = || vec![message("m", r#"{"id":1,"do":"fail"}"#)];
    for _ in 0..3 {
        assert_eq!(returned(&queue, failing()).await, ["m"]);
    }
    assert_eq!(memory.applied("1"), 1);
    assert_eq!(returned(&queue.failed(Failed::Drop), failing()).await, [""; 0]);
    assert_eq!(memory.applied("1"), 1);
}

#[tokio::test]
async fn another_body_under_a_used_key_is_returned_and_does_not_run() {
    let (queue, memory) = world([]);
    returned(&queue, vec![message("m-1", r#"{"id":1}"#)]).await;
    assert_eq!(returned(&queue, vec![message("m-2", r#"{"id":1,"other":true}"#)]).await, ["m-2"]);
    assert_eq!(memory.applied("1"), 1);
}

#[tokio::test]
async fn a_message_whose_write_was_lost_comes_again_and_takes_effect_once() {
    for fault in [Fault::Refuse, Fault::LoseRequest, Fault::LoseReply] {
        let (queue, memory) = world([fault]);
        let queue = queue.one_trip();
        assert_eq!(returned(&queue, vec![message("m", r#"{"id":1}"#)]).await, ["m"]);
        assert_eq!(returned(&queue, vec![message("m", r#"{"id":1}"#)]).await, [""; 0]);
        assert_eq!(memory.applied("1"), 1, "{fault:?}");
    }
}

#[tokio::test]
async fn messages_without_time_are_returned_unbegun() {
    let (queue, memory) = world([]);
    let soon = queue.engine.time().plus(Duration::from_secs(1));
    let response = queue.handle(batch(vec![message("m", r#"{"id":1}"#)]), soon, handle).await.unwrap();
    assert_eq!(response.batch_item_failures.len(), 1);
    assert_eq!(memory.applied("1"), 0);
}

#[tokio::test]
async fn a_message_without_an_id_fails_the_whole_batch() {
    let (queue, memory) = world([]);
    let mut nameless = message("", r#"{"id":1}"#);
    for id in [None, Some(String::new())] {
        nameless.message_id = id;
        let messages = vec![message("m", r#"{"id":2}"#), nameless.clone()];
        let response = queue.handle(batch(messages), in_ten_seconds(&queue), handle).await;
        assert_eq!(response.unwrap_err(), NoMessageId);
    }
    assert_eq!((memory.applied("1"), memory.applied("2")), (0, 0));
}

#[tokio::test]
async fn no_more_messages_run_at_a_time_than_allowed() {
    let (queue, _) = world([]);
    let queue = queue.concurrency(3);
    let (running, most) = (Arc::new(AtomicUsize::new(0)), Arc::new(AtomicUsize::new(0)));
    let messages = (0..20).map(|id| message(&format!("m-{id}"), &format!("{{\"id\":{id}}}"))).collect();
    let handler = |_, _| {
        let (running, most) = (running.clone(), most.clone());
        async move {
            most.fetch_max(running.fetch_add(1, Ordering::SeqCst) + 1, Ordering::SeqCst);
            tokio::task::yield_now().await;
            running.fetch_sub(1, Ordering::SeqCst);
            Verdict::Success(())
        }
    };
    let response = queue.handle(batch(messages), in_ten_seconds(&queue), handler).await.unwrap();
    assert!(response.batch_item_failures.is_empty());
    assert_eq!(most.load(Ordering::SeqCst), 3);
}
