//! Messages with an unexpected shape.

use serde_json::{Value, json};

use super::*;

fn delivered(id: &str, group: &str) -> Value {
    json!({
        "messageId": id, "receiptHandle": "r", "body": format!("{{\"id\":\"{id}\"}}"), "md5OfBody": "m",
        "attributes": {"ApproximateReceiveCount": "1", "MessageGroupId": group},
        "messageAttributes": {}, "eventSource": "aws:sqs", "awsRegion": "eu-central-1",
        "eventSourceARN": "arn:aws:sqs:eu-central-1:123456789012:Ledger",
    })
}

/// Invalid values, each at its path.
fn shapes() -> Vec<(&'static str, Value)> {
    let attribute = |value: Value| json!({ "a": value });
    vec![
        ("messageAttributes", attribute(json!({"binaryValue": "no base64!", "dataType": "Binary"}))),
        ("messageAttributes", attribute(json!({"stringValue": 5, "dataType": "Number"}))),
        ("messageAttributes", attribute(json!({"stringListValues": null, "dataType": "String"}))),
        ("messageAttributes", attribute(json!("text"))),
        ("messageAttributes", json!([])),
        ("attributes", json!({"ApproximateReceiveCount": 1, "MessageGroupId": "g"})),
        ("body", json!({"id": "two"})),
        ("awsRegion", json!(5)),
    ]
}

async fn returned(queue: &Queue<TestStore>, messages: Vec<Value>) -> Vec<String> {
    let event = serde_json::from_value(json!({ "Records": messages })).unwrap();
    ids(queue.handle(&event, in_ten_seconds(queue), handle).await.unwrap())
}

#[tokio::test]
async fn a_message_that_cannot_be_read_is_returned_alone() {
    for (member, value) in shapes() {
        let (queue, memory) = world([]);
        let mut messages: Vec<_> = ["one", "two", "three"].map(|id| delivered(id, "g")).into();
        messages[1][member] = value.clone();
        assert_eq!(returned(&queue, messages).await, ["two"], "{member}: {value}");
        let applied = ["one", "two", "three"].map(|id| memory.applied(&format!("{id:?}")));
        assert_eq!(applied, [1, 0, 1], "{member}: {value}");
    }
}

#[tokio::test]
async fn a_message_of_a_group_that_cannot_be_read_keeps_back_the_rest_of_its_group_and_no_other() {
    for (member, value) in shapes() {
        let (queue, memory) = world([]);
        let sent = [("a1", "g"), ("b1", "h"), ("a2", "g"), ("b2", "h"), ("a3", "g")];
        let mut messages: Vec<_> = sent.map(|(id, group)| delivered(id, group)).into();
        messages[2][member] = value.clone();
        for message in &mut messages {
            message["eventSourceARN"] = json!("arn:aws:sqs:eu-central-1:123456789012:Ledger.fifo");
        }
        assert_eq!(returned(&queue, messages).await, ["a2", "a3"], "{member}: {value}");
        let applied = sent.map(|(id, _)| memory.applied(&format!("{id:?}")));
        assert_eq!(applied, [1, 1, 0, 1, 0], "{member}: {value}");
    }
}

#[tokio::test]
async fn what_cannot_be_read_is_said_without_what_it_says() {
    let (value, secret) = (json!({"messageId": "m", "body": ["a secret"]}), "a secret");
    let error = crate::envelope::read::<SqsMessage>(&value).unwrap_err().to_string();
    assert!(error.contains("body") && !error.contains(secret), "{error}");
}
