mod envelopes;
mod faults;
mod keys;
mod settled;
mod shapes;

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};

use aws_lambda_events::event::sqs::SqsMessage;
use futures::FutureExt;
use futures::future::BoxFuture;

use super::*;
use crate::engine::tests::SetClock;
use crate::engine::{Claimed, Verdict};
use crate::protocol::{Compare, Document, InvalidJson, Selection};
use crate::store::BoxError;
use crate::store::fault::{Fault, FaultyStore};
use crate::store::memory::{Effect, MemoryStore};

type TestStore = FaultyStore<MemoryStore>;

fn world(plan: impl IntoIterator<Item = Fault>) -> (Queue<TestStore>, MemoryStore) {
    let memory = MemoryStore::new();
    let engine = Engine::builder(FaultyStore::new(memory.clone(), plan)).build();
    let operation = Operation::new("ledger", "post");
    let key = KeySource::pointer(Pointer::new("/id").unwrap());
    let queue = Queue::new(engine, operation, Principal::new("producer").unwrap(), key);
    (queue, memory)
}

fn in_mode(single_write: bool, plan: impl IntoIterator<Item = Fault>) -> (Queue<TestStore>, MemoryStore) {
    if single_write { in_single_write(plan) } else { world(plan) }
}

fn in_single_write(plan: impl IntoIterator<Item = Fault>) -> (Queue<TestStore>, MemoryStore) {
    let (queue, memory) = world(plan);
    (queue.single_write(), memory)
}

fn message(id: &str, body: &str) -> SqsMessage {
    let mut message = SqsMessage::default();
    message.message_id = Some(id.to_owned());
    message.body = Some(body.to_owned());
    message
}

fn batch(messages: Vec<SqsMessage>) -> SqsBatch {
    let mut event = aws_lambda_events::event::sqs::SqsEvent::default();
    event.records = messages;
    event.into()
}

fn in_ten_seconds(queue: &Queue<TestStore>) -> EpochMs {
    queue.engine.now().plus(Duration::from_secs(10))
}

/// The first message of a batch, as it is parsed before anything runs.
fn first<'e>(queue: &Queue<TestStore>, event: &'e SqsBatch) -> lane::Delivery<'e, ()> {
    let run = Run { queue, event, deadline: in_ten_seconds(queue), handler: handle };
    run.deliveries().unwrap().remove(0)
}

/// Does what the `do` member of a test message requests.
async fn handle(attempt: Attempt<Effect>, message: Message<'_>) -> Verdict<()> {
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
    let response = queue.handle(&batch(messages), in_ten_seconds(queue), handle).await.unwrap();
    let mut ids = ids(response);
    ids.sort();
    ids
}

fn ids(response: SqsBatchResponse) -> Vec<String> {
    response.batch_item_failures.into_iter().map(|failure| failure.item_identifier).collect()
}

#[tokio::test]
async fn a_message_that_is_delivered_again_takes_effect_once_in_both_modes() {
    for single_write in [false, true] {
        let (queue, memory) = in_mode(single_write, []);
        // The producer's retry has another message id.
        for id in ["m-1", "m-1", "m-2"] {
            assert_eq!(returned(&queue, vec![message(id, r#"{"id":1}"#)]).await, [""; 0]);
        }
        assert_eq!(memory.applied("1"), 1);
    }
}

#[tokio::test]
async fn a_message_that_the_queue_delivers_again_is_looked_up_before_anything_is_written() {
    for single_write in [false, true] {
        // A first delivery's writes are counted; further ones would be refused.
        let writes = if single_write { 1 } else { 2 };
        let (queue, memory) = in_mode(single_write, [vec![Fault::None; writes], vec![Fault::Refuse; 9]].concat());
        assert_eq!(returned(&queue, vec![message("m-1", r#"{"id":1}"#)]).await, [""; 0]);
        let elsewhere = Engine::builder(queue.engine.store().clone()).build();
        let queue = Queue { engine: elsewhere, ..queue };
        let received = |count: &str| {
            let mut message = message("m-1", r#"{"id":1}"#);
            message.attributes.insert("ApproximateReceiveCount".to_owned(), count.to_owned());
            message
        };
        for count in ["1", "0", "", "two"] {
            let returned = returned(&queue, vec![received(count)]).await;
            assert_eq!(returned, ["m-1"], "{count:?} is no redelivery, so it writes");
        }
        assert_eq!(returned(&queue, vec![received("2")]).await, [""; 0], "a redelivery needs no write");
        assert_eq!(memory.applied("1"), 1);
    }
}

#[tokio::test]
async fn only_what_failed_is_returned_and_the_rest_of_its_batch_is_done() {
    for single_write in [false, true] {
        let (queue, memory) = in_mode(single_write, []);
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
    assert_eq!(returned(&queue.on_failure(OnFailure::Discard), failing()).await, [""; 0]);
    assert_eq!(memory.applied("1"), 1);
}

#[tokio::test]
async fn another_body_under_a_used_key_is_returned_and_does_not_run() {
    let (queue, memory) = world([]);
    returned(&queue, vec![message("m-1", r#"{"id":1}"#)]).await;
    assert_eq!(returned(&queue, vec![message("m-2", r#"{"id":1,"other":true}"#)]).await, ["m-2"]);
    assert_eq!(memory.applied("1"), 1);
}

/// The member is the trace, which a producer's retry changes.
#[tokio::test]
async fn a_member_that_is_not_compared_makes_no_mismatch() {
    let (mut queue, memory) = world([]);
    let compared = Selection::of(Pointer::new("/id").unwrap()).and(Pointer::new("/amount").unwrap());
    queue.operation = queue.operation.compare(Compare::Selected(compared));
    for trace in 1..=2 {
        let body = format!("{{\"id\":1,\"amount\":5,\"traceparent\":\"{trace}\"}}");
        assert_eq!(returned(&queue, vec![message("m", &body)]).await, [""; 0]);
    }
    assert_eq!(returned(&queue, vec![message("other", r#"{"id":1,"amount":6}"#)]).await, ["other"]);
    assert_eq!(memory.applied("1"), 1);
}

#[tokio::test]
async fn a_message_whose_write_was_lost_comes_again_and_takes_effect_once() {
    for fault in [Fault::Refuse, Fault::LoseRequest, Fault::LoseReply] {
        let (queue, memory) = in_single_write([fault]);
        assert_eq!(returned(&queue, vec![message("m", r#"{"id":1}"#)]).await, ["m"]);
        assert_eq!(returned(&queue, vec![message("m", r#"{"id":1}"#)]).await, [""; 0]);
        assert_eq!(memory.applied("1"), 1, "{fault:?}");
    }
}

#[tokio::test]
async fn messages_without_time_are_returned_unbegun() {
    let (queue, memory) = world([]);
    let now = queue.engine.now();
    let response = queue.handle(&batch(vec![message("m", r#"{"id":1}"#)]), now, handle).await.unwrap();
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
        let response = queue.handle(&batch(messages), in_ten_seconds(&queue), handle).await;
        assert_eq!(response.unwrap_err(), BatchFailed::NoMessageId);
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
    let response = queue.handle(&batch(messages), in_ten_seconds(&queue), handler).await.unwrap();
    assert!(response.batch_item_failures.is_empty());
    assert_eq!(most.load(Ordering::SeqCst), 3);
}

/// Other tasks of the runtime, such as the store's connections, run between the starts of messages.
#[tokio::test]
async fn a_batch_begins_in_turns_of_the_runtime() {
    let (queue, _) = in_single_write([]);
    let queue = queue.concurrency(100);
    let begun = Arc::new(AtomicUsize::new(0));
    let look = tokio::spawn({
        let begun = begun.clone();
        async move {
            let mut seen = vec![begun.load(Ordering::SeqCst)];
            while seen.last() != Some(&12) {
                tokio::task::yield_now().await;
                seen.push(begun.load(Ordering::SeqCst));
            }
            seen.dedup();
            seen
        }
    });
    let messages = (0..12).map(|id| message(&format!("m-{id}"), &format!("{{\"id\":{id}}}"))).collect();
    let handler = |_, _| {
        begun.fetch_add(1, Ordering::SeqCst);
        std::future::ready(Verdict::Success(()))
    };
    queue.handle(&batch(messages), in_ten_seconds(&queue), handler).await.unwrap();
    assert_eq!(look.await.unwrap(), [5, 10, 12]);
}

/// A message of a FIFO queue's group.
fn grouped(group: &str, id: &str, body: &str) -> SqsMessage {
    let mut message = message(id, body);
    message.attributes.insert("MessageGroupId".to_owned(), group.to_owned());
    message.event_source_arn = Some("arn:aws:sqs:eu-central-1:123456789012:Ledger.fifo".to_owned());
    message
}

/// A handler that records which ids ran, and otherwise does the same as [`handle`].
fn noted<'a>(ran: &'a Mutex<Vec<String>>) -> impl Fn(Attempt<Effect>, Message<'a>) -> BoxFuture<'a, Verdict<()>> {
    move |attempt, message| {
        ran.lock().unwrap().push(message.message_id.clone().unwrap());
        async move {
            tokio::task::yield_now().await;
            handle(attempt, message).await
        }
        .boxed()
    }
}

async fn returned_and_ran(queue: &Queue<TestStore>, messages: Vec<SqsMessage>) -> (Vec<String>, Vec<String>) {
    let (event, ran) = (batch(messages), Mutex::default());
    let response = queue.handle(&event, in_ten_seconds(queue), noted(&ran)).await.unwrap();
    (ids(response), ran.into_inner().unwrap())
}

#[tokio::test]
async fn equal_messages_of_one_batch_share_the_outcome_of_the_first_without_another_trip() {
    for (body, is_returned, applied) in [
        (r#"{"id":1}"#, false, 1),
        (r#"{"id":1,"do":"fail"}"#, true, 1),
        (r#"{"id":1,"do":"not execute"}"#, true, 0),
        (r#"{"id":1,"do":"panic"}"#, true, 0),
    ] {
        // Every write after the first would fail.
        let (queue, memory) = in_single_write([Fault::None].into_iter().chain([Fault::Refuse; 12]));
        let ids: Vec<_> = (0..10).map(|index| format!("m-{index}")).collect();
        let (returned, ran) = returned_and_ran(&queue, ids.iter().map(|id| message(id, body)).collect()).await;
        assert_eq!(returned, if is_returned { ids } else { Vec::new() }, "{body}");
        assert_eq!((ran, memory.applied("1")), (vec!["m-0".to_owned()], applied), "{body}");
    }
}

#[tokio::test]
async fn another_body_under_a_key_of_the_same_batch_is_a_mismatch_and_not_a_duplicate() {
    let (queue, memory) = world([]);
    let messages = vec![message("m-1", r#"{"id":1}"#), message("m-2", r#"{"id":1,"other":true}"#)];
    assert_eq!(returned(&queue.single_write(), messages).await, ["m-2"]);
    assert_eq!(memory.applied("1"), 1);
}

#[tokio::test]
async fn messages_that_contend_run_one_after_another_by_rank_and_the_others_beside_them() {
    let (queue, _) = in_single_write([]);
    let queue = queue.concurrency(100).contention(|message| {
        let body: serde_json::Value = serde_json::from_str(message.body.as_deref().unwrap()).unwrap();
        let on = body["on"].as_array().unwrap().iter().filter_map(serde_json::Value::as_str);
        on.fold(Contention::none(), Contention::on).rank(body["rank"].as_u64().unwrap())
    });
    let contending = |id: u64, on: &[&str], rank: u64| {
        message(&format!("m-{id}"), &serde_json::json!({"id": id, "on": on, "rank": rank}).to_string())
    };
    // 1 and 2 share no name, but 3 shares one with each of them.
    let messages = vec![
        contending(1, &["a"], 3),
        contending(2, &["b"], 2),
        contending(3, &["a", "b"], 1),
        contending(4, &[], 0),
        contending(5, &["c"], 9),
    ];
    let (running, most) = (Arc::new(Mutex::new(0)), Arc::new(Mutex::new(0)));
    let order = Arc::new(Mutex::new(Vec::new()));
    let handler = |_, message: Message<'_>| {
        let (running, most, order) = (running.clone(), most.clone(), order.clone());
        let id = message.message_id.clone().unwrap();
        async move {
            let contends = ["m-1", "m-2", "m-3"].contains(&id.as_str());
            if contends {
                *running.lock().unwrap() += 1;
                let now = *running.lock().unwrap();
                let mut most = most.lock().unwrap();
                *most = now.max(*most);
                order.lock().unwrap().push(id);
            }
            tokio::task::yield_now().await;
            if contends {
                *running.lock().unwrap() -= 1;
            }
            Verdict::Success(())
        }
    };
    let response = queue.handle(&batch(messages), in_ten_seconds(&queue), handler).await.unwrap();
    assert!(response.batch_item_failures.is_empty());
    assert_eq!((*most.lock().unwrap(), order.lock().unwrap().join(" ")), (1, "m-3 m-2 m-1".to_owned()));
}

#[tokio::test]
async fn a_panic_over_what_a_message_contends_for_returns_no_other_message() {
    let (queue, memory) = world([]);
    let queue = queue.contention(|message| {
        assert_ne!(message.message_id.as_deref(), Some("m-1"), "planned");
        Contention::none()
    });
    let messages = vec![message("m-1", r#"{"id":1}"#), message("m-2", r#"{"id":2}"#)];
    assert_eq!(returned(&queue, messages).await, [""; 0]);
    assert_eq!((memory.applied("1"), memory.applied("2")), (1, 1));
}

#[tokio::test]
async fn each_message_is_read_once_for_contention_and_handler() {
    let read = Arc::new(Mutex::new(Vec::new()));
    for single_write in [false, true] {
        let (queue, memory) = in_mode(single_write, []);
        let reads = Arc::clone(&read);
        let queue = queue.reading(move |message: &Received<'_>| {
            reads.lock().unwrap().push(message.message_id.clone().unwrap());
            message.document().map(Document::canonical).map_err(Clone::clone)
        });
        let queue = queue.contention(|message| {
            let content = message.content().as_ref().unwrap();
            Contention::none().on("all").rank(if content == br#"{"id":2}"# { 0 } else { 1 })
        });
        let messages = vec![message("m-1", r#"{"id": 1}"#), message("m-2", r#"{ "id":2 }"#), message("m-3", "no JSON")];
        let ran = Mutex::new(Vec::new());
        let handler = |attempt: Attempt<Effect>, message: Message<'_, Result<Vec<u8>, InvalidJson>>| {
            let content = String::from_utf8(message.content().clone().unwrap()).unwrap();
            attempt.add_effect(Effect::named(content.clone()));
            ran.lock().unwrap().push(content);
            std::future::ready(Verdict::Success(()))
        };
        let response = queue.handle(&batch(messages), queue.engine.now().plus(Duration::from_secs(10)), handler).await;
        assert_eq!(ids(response.unwrap()), ["m-3"]);
        assert_eq!(*ran.lock().unwrap(), [r#"{"id":2}"#, r#"{"id":1}"#], "by rank");
        assert_eq!((memory.applied(r#"{"id":1}"#), memory.applied(r#"{"id":2}"#)), (1, 1));
        assert_eq!(std::mem::take(&mut *read.lock().unwrap()), ["m-1", "m-2"], "one without a key is not read");
    }
}

#[tokio::test]
async fn a_panic_over_the_reading_of_a_message_returns_that_message_alone() {
    let (queue, memory) = world([]);
    let queue =
        queue.single_write().reading(|message| assert_ne!(message.message_id.as_deref(), Some("m-1"), "planned"));
    let messages = vec![message("m-1", r#"{"id":1}"#), message("m-2", r#"{"id":2}"#)];
    assert_eq!(returned(&queue, messages).await, ["m-1"]);
    assert_eq!((memory.applied("1"), memory.applied("2")), (0, 1));
}

#[tokio::test]
async fn on_a_fifo_queue_the_rest_of_a_failed_messages_group_is_returned_in_order_and_other_groups_go_on() {
    for failure in ["panic", "fail", "not execute"] {
        let (queue, memory) = in_single_write([]);
        let messages = vec![
            grouped("a", "a-1", r#"{"id":1}"#),
            grouped("b", "b-1", r#"{"id":2}"#),
            grouped("a", "a-2", &format!(r#"{{"id":3,"do":"{failure}"}}"#)),
            grouped("a", "a-3", r#"{"id":4}"#),
            grouped("b", "b-2", r#"{"id":5}"#),
            grouped("a", "a-4", "not JSON"),
        ];
        let (returned, ran) = returned_and_ran(&queue, messages).await;
        assert_eq!(returned, ["a-2", "a-3", "a-4"], "{failure}");
        assert!(!ran.contains(&"a-3".to_owned()), "{ran:?}");
        assert_eq!(["1", "2", "4", "5"].map(|id| memory.applied(id)), [1, 1, 0, 1]);
    }
}

#[tokio::test]
async fn on_a_fifo_queue_each_group_runs_in_order_and_groups_run_at_the_same_time() {
    let (queue, _) = in_single_write([]);
    let messages = (0..12).map(|id| grouped(["a", "b", "c"][id % 3], &format!("{id:02}"), &format!("{{\"id\":{id}}}")));
    let (returned, ran) = returned_and_ran(&queue, messages.collect()).await;
    assert_eq!(returned, [""; 0]);
    for group in 0..3 {
        let of_group: Vec<_> = ran.iter().filter(|id| id.parse::<usize>().unwrap() % 3 == group).collect();
        assert!(of_group.is_sorted() && of_group.len() == 4, "{ran:?}");
    }
    assert_eq!(ran[..3], ["00", "01", "02"], "all groups have begun before one goes on");
}

/// Records its calls, and fails if configured to.
#[derive(Clone, Default)]
struct Noted {
    asked: Arc<Mutex<Vec<(String, Duration)>>>,
    fails: bool,
}

impl Visibility for Noted {
    fn set<'a>(&'a self, message: &'a SqsMessage, after: Duration) -> BoxFuture<'a, Result<(), BoxError>> {
        self.asked.lock().unwrap().push((message.message_id.clone().unwrap(), after));
        let answer = if self.fails { Err("AccessDenied".into()) } else { Ok(()) };
        async move { answer }.boxed()
    }
}

#[tokio::test]
async fn a_message_in_progress_elsewhere_is_returned_and_hidden_until_the_lease_is_over() {
    for fails in [false, true] {
        let (queue, memory) = world([]);
        let noted = Noted { fails, ..Noted::default() };
        let queue = queue.visibility(noted.clone());
        let event = batch(vec![grouped("g", "m", r#"{"id":1}"#)]);
        let elsewhere = first(&queue, &event).ready.unwrap().0;
        let Ok(Claimed::Acquired(_claim)) = queue.engine.claim(&elsewhere).await else { panic!("must acquire") };

        let messages = vec![
            grouped("g", "m", r#"{"id":1}"#),
            grouped("g", "after it", r#"{"id":2}"#),
            grouped("h", "other", r#"{"id":3}"#),
        ];
        let (returned, _) = returned_and_ran(&queue, messages).await;
        assert_eq!(returned, ["m", "after it"]);
        let asked = noted.asked.lock().unwrap().clone();
        let [(first, rest), (second, _)] = asked.as_slice() else { panic!("{asked:?}") };
        assert_eq!((first.as_str(), second.as_str()), ("m", "after it"), "its group comes when it comes");
        assert!(Duration::from_secs(9) < *rest && *rest <= Duration::from_secs(11), "{rest:?}");
        assert_eq!((memory.applied("1"), memory.applied("3")), (0, 1));
    }
}

#[tokio::test]
async fn by_message_id_a_second_delivery_is_a_duplicate_and_a_second_send_is_not() {
    let (queue, memory) = world([]);
    let queue = Queue { key: KeySource::message_id_which_every_send_and_redrive_changes(), ..queue };
    for id in ["m-1", "m-1", "m-2"] {
        assert_eq!(returned(&queue, vec![message(id, r#"{"id":1}"#)]).await, [""; 0]);
    }
    assert_eq!(memory.applied("1"), 2);
}

#[tokio::test]
async fn what_was_not_begun_when_time_runs_out_is_returned() {
    let (memory, clock) = (MemoryStore::new(), SetClock::default());
    let engine = Engine::builder(FaultyStore::new(memory.clone(), [])).clock(clock.clone()).build();
    let (queue, _) = world([]);
    let queue = Queue { engine, ..queue }.concurrency(1);
    let messages = (0..4).map(|id| message(&format!("m-{id}"), &format!("{{\"id\":{id}}}"))).collect();
    let handler = |attempt, message| {
        clock.0.fetch_add(150, Ordering::SeqCst);
        handle(attempt, message)
    };
    // The margin is a quarter of 400 ms, so that after two messages of 150 ms it has begun.
    let response = queue.handle(&batch(messages), EpochMs(400), handler).await.unwrap();
    assert_eq!(ids(response), ["m-2", "m-3"]);
    assert_eq!(["0", "1", "2", "3"].map(|id| memory.applied(id)), [1, 1, 0, 0]);
}
