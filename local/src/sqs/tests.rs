use std::{
    collections::HashMap,
    time::{Duration, Instant},
};

use axum::{
    body::{Body, to_bytes},
    http::Request,
};
use rustack_sqs_model::{
    input::{ReceiveMessageInput, SendMessageInput},
    types::Message,
};
use serde_json::{Value, json};
use tower::ServiceExt;

use super::*;
use crate::{
    storage::Storage,
    template::{Deployment, Queue, Redrive},
};

fn settings(name: &str) -> Queue {
    Queue {
        name: name.to_owned(),
        fifo: name.ends_with(".fifo"),
        content_based_deduplication: true,
        deduplicated_by_group: false,
        visibility: Duration::from_secs(30),
        retention: Duration::from_secs(3600),
        delay: Duration::ZERO,
        receive_wait: Duration::ZERO,
        maximum_message_size: 1024,
        redrive: None,
    }
}

fn open(queues: &[Queue]) -> Queues {
    Queues::open(Storage::open(None).expect("storage"), Deployment::default(), queues).expect("queues")
}

fn message(body: &str, group: Option<&str>) -> SendMessageInput {
    SendMessageInput {
        message_body: body.to_owned(),
        message_group_id: group.map(str::to_owned),
        ..SendMessageInput::default()
    }
}

async fn receive(queues: &Queues, name: &str, visibility: i32) -> Vec<Message> {
    let input = ReceiveMessageInput {
        max_number_of_messages: Some(10),
        visibility_timeout: Some(visibility),
        ..ReceiveMessageInput::default()
    };
    queues.receive(name, &input, Duration::ZERO).await.expect("messages")
}

fn bodies(messages: &[Message]) -> Vec<&str> {
    messages.iter().filter_map(|message| message.body.as_deref()).collect()
}

fn receipt(message: &Message) -> &str {
    message.receipt_handle.as_deref().expect("a receipt")
}

#[tokio::test]
async fn a_received_message_is_invisible_until_it_is_given_back() {
    let queues = open(&[settings("Q")]);
    queues.send("Q", message("m", None)).expect("sent");
    let first = receive(&queues, "Q", 30).await;
    assert_eq!(bodies(&first), ["m"]);
    assert!(receive(&queues, "Q", 30).await.is_empty());
    queues.change_visibility("Q", receipt(&first[0]), 0).expect("given back");
    let second = receive(&queues, "Q", 30).await;
    assert_eq!(second[0].attributes["ApproximateReceiveCount"], "2");
    queues.delete("Q", receipt(&first[0])).expect("an older receipt is no error");
    assert_eq!(queues.contents("Q").expect("contents").in_flight, 1, "but it deletes nothing");
    queues.delete("Q", receipt(&second[0])).expect("deleted");
    assert!(queues.contents("Q").expect("contents").messages.is_empty());
}

#[tokio::test]
async fn a_long_poll_hears_of_a_message_at_once_and_of_one_that_becomes_visible() {
    let queues = open(&[settings("Q")]);
    let input = ReceiveMessageInput { visibility_timeout: Some(1), ..ReceiveMessageInput::default() };
    let poll = || queues.receive("Q", &input, Duration::from_secs(10));
    let start = Instant::now();
    let (received, _) = tokio::join!(poll(), async { queues.send("Q", message("m", None)) });
    assert_eq!(bodies(&received.expect("messages")), ["m"]);
    assert!(start.elapsed() < Duration::from_millis(900));
    assert_eq!(bodies(&poll().await.expect("messages")), ["m"]);
    assert!(start.elapsed() < Duration::from_secs(5));
}

#[tokio::test]
async fn a_message_received_too_often_is_a_dead_letter_with_its_own_id() {
    let redrive =
        Redrive { dead_letter_target_arn: "arn:aws:sqs:us-east-1:000000000000:Dead".to_owned(), max_receive_count: 1 };
    let queues = open(&[Queue { redrive: Some(redrive), ..settings("Q") }, settings("Dead")]);
    let sent = queues.send("Q", message("m", None)).expect("sent");
    receive(&queues, "Q", 0).await;
    assert!(receive(&queues, "Q", 0).await.is_empty());
    let dead = receive(&queues, "Dead", 0).await;
    assert_eq!(dead[0].message_id, sent.message_id);
    assert_eq!(dead[0].attributes["DeadLetterQueueSourceArn"], "arn:aws:sqs:us-east-1:000000000000:Q");
    assert_eq!(queues.redrive("Dead").expect("redriven"), 1);
    let back = receive(&queues, "Q", 0).await;
    assert_ne!(back[0].message_id, sent.message_id);
    assert_eq!(back[0].attributes["ApproximateReceiveCount"], "1");
}

#[tokio::test]
async fn a_fifo_group_with_a_message_in_flight_is_blocked_and_others_are_not() {
    let queues = open(&[settings("Q.fifo")]);
    for (body, group) in [("a1", "a"), ("a2", "a"), ("b1", "b")] {
        queues.send("Q.fifo", message(body, Some(group))).expect("sent");
    }
    let one = ReceiveMessageInput { max_number_of_messages: Some(1), ..ReceiveMessageInput::default() };
    let first = queues.receive("Q.fifo", &one, Duration::ZERO).await.expect("messages");
    assert_eq!(bodies(&first), ["a1"]);
    assert_eq!(bodies(&receive(&queues, "Q.fifo", 30).await), ["b1"]);
    queues.delete("Q.fifo", receipt(&first[0])).expect("deleted");
    assert_eq!(bodies(&receive(&queues, "Q.fifo", 30).await), ["a2"]);
}

#[tokio::test]
async fn a_fifo_queue_takes_equal_messages_once() {
    let queues = open(&[settings("Q.fifo")]);
    let first = queues.send("Q.fifo", message("m", Some("a"))).expect("sent");
    let second = queues.send("Q.fifo", message("m", Some("a"))).expect("sent");
    assert_eq!((first.message_id, first.sequence_number), (second.message_id, second.sequence_number));
    assert_eq!(queues.contents("Q.fifo").expect("contents").visible, 1);
    assert!(queues.send("Q.fifo", message("m", None)).is_err(), "a group is required");
}

#[tokio::test]
async fn what_was_in_flight_is_visible_again_after_a_restart() {
    let storage = Storage::open(None).expect("storage");
    let restart = || Queues::open(storage.clone(), Deployment::default(), &[settings("Q")]).expect("queues");
    let queues = restart();
    queues.send("Q", message("m", None)).expect("sent");
    assert_eq!(receive(&queues, "Q", 30).await.len(), 1);
    assert_eq!(receive(&restart(), "Q", 30).await.len(), 1);
}

async fn call(queues: &Queues, operation: &str, body: Value) -> (u16, Value) {
    let request = Request::post("/")
        .header("x-amz-target", format!("AmazonSQS.{operation}"))
        .body(Body::from(body.to_string()))
        .expect("a request");
    let response = router(&queues).oneshot(request).await.expect("infallible");
    let status = response.status().as_u16();
    (status, serde_json::from_slice(&to_bytes(response.into_body(), usize::MAX).await.expect("a body")).expect("JSON"))
}

#[tokio::test]
async fn the_protocol_speaks_of_the_same_queues() {
    let queues = open(&[settings("Q")]);
    let (_, url) = call(&queues, "GetQueueUrl", json!({ "QueueName": "Q" })).await;
    let url = &url["QueueUrl"];
    let attributes = HashMap::from([("kind", json!({ "DataType": "String", "StringValue": "x" }))]);
    let entries =
        json!([{ "Id": "1", "MessageBody": "a", "MessageAttributes": attributes }, { "Id": "2", "MessageBody": "" }]);
    let (_, sent) = call(&queues, "SendMessageBatch", json!({ "QueueUrl": url, "Entries": entries })).await;
    assert_eq!((&sent["Successful"][0]["Id"], &sent["Failed"][0]["Id"]), (&json!("1"), &json!("2")));
    let (_, received) = call(
        &queues,
        "ReceiveMessage",
        json!({ "QueueUrl": url, "MessageAttributeNames": ["All"], "MessageSystemAttributeNames": ["SentTimestamp"] }),
    )
    .await;
    let message = &received["Messages"][0];
    assert_eq!(message["MessageAttributes"]["kind"]["StringValue"], "x");
    assert_eq!(message["Attributes"].as_object().map(serde_json::Map::len), Some(1));
    let (_, counts) = call(&queues, "GetQueueAttributes", json!({ "QueueUrl": url, "AttributeNames": ["All"] })).await;
    assert_eq!(counts["Attributes"]["ApproximateNumberOfMessagesNotVisible"], "1");
    let (status, _) =
        call(&queues, "DeleteMessage", json!({ "QueueUrl": url, "ReceiptHandle": message["ReceiptHandle"] })).await;
    assert_eq!(status, 200);
    let (status, error) =
        call(&queues, "SendMessage", json!({ "QueueUrl": "http://127.0.0.1/0/Nowhere", "MessageBody": "a" })).await;
    assert_eq!((status, &error["__type"]), (400, &json!("AWS.SimpleQueueService.NonExistentQueue")));
}
