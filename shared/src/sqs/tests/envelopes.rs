//! Messages in envelopes, and messages that are deserialized into a type.

use aws_lambda_events::event::sqs::SqsMessageAttribute;
use serde_json::{Value, json};

use super::*;
use crate::sqs::Envelope;

/// A message as SNS delivers it without raw delivery; each publication differs.
fn published(publication: &str, message: &Value) -> String {
    let attributes = json!({"idempotency-key": {"Type": "String", "Value": message["id"].to_string()}});
    json!({
        "Type": "Notification", "MessageId": publication, "TopicArn": "arn:aws:sns:eu-central-1:123456789012:Orders",
        "Message": message.to_string(), "Timestamp": publication, "MessageAttributes": attributes,
    })
    .to_string()
}

async fn apply_text(attempt: Attempt<Effect>, message: Message<'_>) -> Verdict<()> {
    attempt.add_effect(Effect::named(message.text()));
    Verdict::Success(())
}

async fn apply_object(attempt: Attempt<Effect>, message: Message<'_>) -> Verdict<()> {
    let document = message.document().unwrap();
    attempt.add_effect(Effect::named(document.text_at(&Pointer::new("/s3/object/key").unwrap()).unwrap()));
    Verdict::Success(())
}

#[tokio::test]
async fn a_message_that_is_published_twice_runs_once_whatever_its_envelopes_say() {
    let keys = [
        KeySource::pointer(Pointer::new("/id").unwrap()),
        KeySource::attribute("idempotency-key"),
        KeySource::function(|message| Some(message.text().to_owned())),
    ];
    for key in keys {
        let (queue, memory) = world([]);
        let queue = Queue { key, ..queue }.envelope(Envelope::Sns);
        let ran = AtomicUsize::new(0);
        let handler = |attempt: Attempt<Effect>, message: Message<'_>| {
            ran.fetch_add(1, Ordering::SeqCst);
            attempt.add_effect(Effect::named(message.text()));
            std::future::ready(Verdict::Success(()))
        };
        for publication in ["p-1", "p-2"] {
            let event = batch(vec![message(publication, &published(publication, &json!({"id": 7})))]);
            let response = queue.handle(&event, in_ten_seconds(&queue), handler).await.unwrap();
            assert!(response.batch_item_failures.is_empty());
        }
        assert_eq!((ran.load(Ordering::SeqCst), memory.applied(r#"{"id":7}"#)), (1, 1));
    }
}

#[tokio::test]
async fn a_message_in_two_envelopes_is_unwrapped_from_the_outside_in() {
    let (queue, memory) = world([]);
    let queue = Queue { key: KeySource::s3_event(), ..queue }.envelope(Envelope::Sns).envelope(Envelope::S3);
    let notification = |sequencer: &str| {
        let object = json!({"key": "in/a.csv", "sequencer": sequencer});
        json!({"Records": [{"eventName": "ObjectCreated:Put", "s3": {"bucket": {"name": "b"}, "object": object}}]})
    };
    let test = json!({"Service": "Amazon S3", "Event": "s3:TestEvent"});
    let messages =
        [("m-1", notification("01")), ("m-2", notification("01")), ("m-3", notification("02")), ("m-4", test)];
    let event = batch(messages.iter().map(|(id, body)| message(id, &published(id, body))).collect());
    let response = queue.handle(&event, in_ten_seconds(&queue), apply_object).await.unwrap();
    assert!(response.batch_item_failures.is_empty(), "the test of S3 is no message, and is deleted");
    assert_eq!(memory.applied("in/a.csv"), 2, "the object was written twice, and the first event came twice");
}

#[tokio::test]
async fn a_message_that_is_not_in_its_envelope_is_returned_alone() {
    let (queue, memory) = world([]);
    let queue = queue.envelope(Envelope::Sns);
    let messages = vec![message("raw", r#"{"id":1}"#), message("wrapped", &published("p", &json!({"id": 2})))];
    let response = queue.handle(&batch(messages), in_ten_seconds(&queue), apply_text).await.unwrap();
    assert_eq!((ids(response), memory.applied(r#"{"id":2}"#)), (vec!["raw".to_owned()], 1));
}

#[tokio::test]
async fn the_id_of_an_event_in_its_envelope_can_be_the_key() {
    let (queue, memory) = world([]);
    let key = KeySource::envelope(Pointer::new("/id").unwrap());
    let queue = Queue { key, ..queue }.envelope(Envelope::EventBridge);
    let event = |id: &str| json!({"id": id, "detail-type": "order", "detail": {"id": "o"}}).to_string();
    let messages = [("m-1", "e-1"), ("m-2", "e-1"), ("m-3", "e-2")].map(|(id, of)| message(id, &event(of)));
    let response = queue.handle(&batch(messages.into()), in_ten_seconds(&queue), apply_text).await.unwrap();
    assert!(response.batch_item_failures.is_empty());
    assert_eq!(memory.applied(r#"{"id":"o"}"#), 2);
}

#[derive(serde::Deserialize)]
struct Order {
    id: u64,
    quantity: String,
}

#[derive(Debug, thiserror::Error)]
#[error("no stock")]
struct NoStock;

async fn ship(attempt: Attempt<Effect>, order: Message<'_, Order>) -> Result<Verdict<()>, BoxError> {
    let Order { id, quantity } = order.content();
    let quantity: u32 = quantity.parse()?;
    if quantity == 0 {
        return Err(NoStock.into());
    }
    attempt.add_effect(Effect::named(format!("{id}: {quantity}")));
    Ok(if quantity > 100 { Verdict::Failed(()) } else { Verdict::Success(()) })
}

#[tokio::test]
async fn a_typed_message_of_another_form_is_returned_unrun_and_an_error_in_a_handler_returns_its_message() {
    let (queue, memory) = in_single_write([]);
    let queue = queue.typed::<Order>();
    let bodies = [
        r#"{"id":1,"quantity":"2"}"#,
        r#"{"id":2,"quantity":3}"#,
        r#"{"id":3}"#,
        r#"{"id":4,"quantity":"many"}"#,
        r#"{"id":5,"quantity":"0"}"#,
        r#"{"id":6,"quantity":"101"}"#,
    ];
    let messages = bodies.iter().enumerate().map(|(index, body)| message(&format!("m-{}", index + 1), body)).collect();
    let response =
        queue.handle(&batch(messages), queue.engine.now().plus(Duration::from_secs(10)), ship).await.unwrap();
    assert_eq!(ids(response), ["m-2", "m-3", "m-4", "m-5", "m-6"]);
    assert_eq!(memory.applied("1: 2"), 1);
}

#[tokio::test]
async fn the_deduplication_id_of_a_fifo_queue_can_be_the_key() {
    let (queue, memory) = world([]);
    let queue = Queue { key: KeySource::deduplication_id(), ..queue };
    let sent = |id: &str, deduplication: Option<&str>| {
        let mut message = grouped("g", id, r#"{"id":1}"#);
        let id = deduplication.map(|id| ("MessageDeduplicationId".to_owned(), id.to_owned()));
        message.attributes.extend(id);
        message
    };
    let messages = vec![sent("m-1", Some("d-1")), sent("m-2", Some("d-1")), sent("m-3", Some("d-2"))];
    assert_eq!(returned(&queue, messages).await, [""; 0]);
    assert_eq!(memory.applied("1"), 2);
    // The trace of a message attribute does not count, because any sender may set it.
    let mut attribute = SqsMessageAttribute::default();
    attribute.string_value = Some("d-3".into());
    let mut other = sent("m-4", None);
    other.message_attributes.insert("MessageDeduplicationId".into(), attribute);
    assert_eq!(returned(&queue, vec![other]).await, ["m-4"]);
}
