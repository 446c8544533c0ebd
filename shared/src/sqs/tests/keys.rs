//! The keys that producers choose, bodies that cannot be compared, and the retention of message records.

use super::*;

/// A pointer from its text.
fn at(pointer: &str) -> Pointer {
    Pointer::new(pointer).unwrap()
}

fn keyed_by(key: KeySource) -> (Queue<TestStore>, MemoryStore) {
    let (queue, memory) = world([]);
    (Queue { key, ..queue }, memory)
}

#[tokio::test]
async fn a_key_may_be_any_text_of_any_length() {
    let long = "k".repeat(10_000);
    for key in ["Bestellung № 17 für Müller", "注文-42", "a\tb\nc", &long] {
        let (queue, memory) = world([]);
        let body = serde_json::json!({ "id": key }).to_string();
        for id in ["m-1", "m-2"] {
            assert_eq!(returned(&queue, vec![message(id, &body)]).await, [""; 0], "{key}");
        }
        assert_eq!(memory.applied(&serde_json::json!(key).to_string()), 1, "{key}");
    }
}

#[tokio::test]
async fn a_body_with_a_member_twice_is_returned_and_does_not_run() {
    for body in [
        r#"{"id":1,"id":2}"#,
        r#"{"id":1,"\u0069d":1}"#,
        r#"{"id":1,"amount":5,"amount":500}"#,
        r#"{"id":1,"items":[{"price":1,"price":2}]}"#,
    ] {
        let (queue, memory) = world([]);
        assert_eq!(returned(&queue, vec![message("m", body), message("n", r#"{"id":3}"#)]).await, ["m"], "{body}");
        assert_eq!(["1", "2", "3"].map(|id| memory.applied(id)), [0, 0, 1], "{body}");
    }
}

/// The key is elsewhere, but the handler would read the body, which is just as ambiguous.
#[tokio::test]
async fn a_body_with_a_member_twice_is_returned_also_if_the_key_is_an_attribute() {
    let (queue, memory) = keyed_by(KeySource::attribute("key"));
    let mut ambiguous = message("m", r#"{"id":1,"id":2}"#);
    let mut attribute = aws_lambda_events::event::sqs::SqsMessageAttribute::default();
    attribute.string_value = Some("k".to_owned());
    ambiguous.message_attributes.insert("key".to_owned(), attribute);
    assert_eq!(returned(&queue, vec![ambiguous]).await, ["m"]);
    assert_eq!(memory.applied("2"), 0);
}

#[tokio::test]
async fn a_body_without_a_value_that_is_compared_is_returned_and_never_equal_to_another() {
    let (mut queue, memory) = world([]);
    let mistyped = Selection::of(at("/id")).and(at("/amuont"));
    queue.operation = queue.operation.compare(Compare::Selected(mistyped));
    assert_eq!(returned(&queue, vec![message("m-1", r#"{"id":1,"amount":5}"#)]).await, ["m-1"]);
    assert_eq!(returned(&queue, vec![message("m-2", r#"{"id":1,"amount":500}"#)]).await, ["m-2"]);
    assert_eq!(memory.applied("1"), 0);
}

#[tokio::test]
async fn what_a_program_writes_for_no_value_is_no_key() {
    for key in ["undefined", "null", "None", "NaN", "[object Object]", "nil", "\"\""] {
        let (queue, memory) = world([]);
        let body = serde_json::json!({ "id": key }).to_string();
        assert_eq!(returned(&queue, vec![message("m", &body)]).await, ["m"], "{key}");
        assert_eq!(memory.applied(&serde_json::json!(key).to_string()), 0, "{key}");
    }
}

/// A message may stay in its queue for two weeks, and in the dead-letter queue for two more.
#[tokio::test]
async fn a_message_that_is_redriven_after_four_weeks_does_not_run_again_by_default() {
    let (memory, clock) = (MemoryStore::new(), SetClock::default());
    let engine = Engine::builder(FaultyStore::new(memory.clone(), [])).clock(clock.clone()).build();
    let queue = |operation| {
        Queue::new(engine.clone(), operation, Principal::new("producer").unwrap(), KeySource::pointer(at("/id")))
    };
    let by_default = queue(Operation::new("ledger", "post"));
    let said = queue(Operation::new("other", "post").retention(Duration::from_secs(60)));
    for days in [0, 1, 28] {
        clock.0.store(days * 24 * 60 * 60 * 1000, Ordering::SeqCst);
        assert_eq!(returned(&by_default, vec![message("m", r#"{"id":1}"#)]).await, [""; 0]);
        assert_eq!(returned(&said, vec![message("m", r#"{"id":2}"#)]).await, [""; 0]);
    }
    assert_eq!(memory.applied("1"), 1);
    assert_eq!(memory.applied("2"), 3, "an explicit retention counts");
}

/// SNS puts the payload into a string, in an envelope that differs each time it is published.
#[tokio::test]
async fn a_payload_that_is_published_again_takes_effect_once_in_whatever_envelope() {
    let in_message = |pointer: &str| at("/Message").in_string(pointer).unwrap();
    let (mut queue, memory) = keyed_by(KeySource::pointer(in_message("/id")));
    queue.operation = queue.operation.compare(Compare::Selected(Selection::of(in_message(""))));
    let sent = |id: &str, message: &str| {
        let envelope = serde_json::json!({
            "Type": "Notification", "MessageId": id, "Message": message, "Timestamp": format!("2026-01-01T00:00:0{id}Z"),
        });
        super::message(id, &envelope.to_string())
    };
    let post = |attempt: Attempt<Effect>, _: Message<'_>| {
        attempt.add_effect(Effect::named("posted"));
        async { Verdict::Success(()) }
    };
    for (messages, expected) in [
        (vec![sent("1", r#"{"id":"o-1","amount":5}"#)], &[][..]),
        (vec![sent("2", r#"{"amount":5,"id":"o-1"}"#)], &[]),
        (vec![sent("3", r#"{"id":"o-1","amount":6}"#), sent("4", "text"), sent("5", "{}")], &["3", "4", "5"]),
    ] {
        let event = batch(messages);
        let response = queue.handle(&event, in_ten_seconds(&queue), post).await.unwrap();
        assert_eq!(ids(response), expected);
    }
    assert_eq!(memory.applied("posted"), 1);
}

/// The reason is in the message's log line, without any of its content.
#[test]
fn each_reason_for_which_a_message_is_refused_says_what_is_wrong() {
    let (queue, _) = world([]);
    let selection = Selection::of(at("/id")).and(at("/amount"));
    let queue = Queue { operation: queue.operation.clone().compare(Compare::Selected(selection)), ..queue };
    for (body, reason) in [
        ("secret", "the body is not JSON: "),
        (r#"{"amount":5}"#, "the body has no member /id"),
        (r#"{"id":{"secret":1},"amount":5}"#, "the member /id is neither a string nor an integer"),
        (r#"{"id":"undefined","amount":5}"#, "the key is undefined, a placeholder for a missing value"),
        (r#"{"id":"secret","id":"secret","amount":5}"#, "the body has a member twice, so it is ambiguous"),
        (r#"{"id":"secret"}"#, "the body has no value at /amount, by which it is compared"),
    ] {
        let event = batch(vec![message("m", body)]);
        let summary = format!("{:?}", first(&queue, &event).ready.err().unwrap());
        assert!(summary.contains(reason) && !summary.contains("secret"), "{body}: {summary}");
    }
}
