//! The local stack on a broker with Kafka's protocol: what the stand-in of a topic cannot show.

use std::time::Duration;

use krafka::admin::{CreateTopicsOptions, NewTopic};
use krafka::consumer::{AutoOffsetReset, ConsumerRecord};
use krafka::{Kafka, Record};
use reqwest::Method;
use serde_json::{Value, json};
use tests::kafka::Broker;
use tests::local_stack::{Setup, Stack};

const TOPIC: &str = "terminal-sales";
const FAILED: &str = "terminal-sales-failed";

/// A broker, a stack on it, and a client of the broker.
struct World {
    stack: Stack,
    kafka: Kafka,
    _broker: Broker,
}

impl World {
    async fn start(test: &'static str, retries: u32) -> Option<Self> {
        let broker = Broker::start(test).await?;
        let setup = Setup::brief().parameter("StreamRetryAttempts", retries).option("kafka", broker.address());
        let stack = setup.start().await;
        let kafka = Kafka::builder(broker.address()).connect().await.expect("a broker");
        Some(Self { stack, kafka, _broker: broker })
    }

    /// All records of a topic, up to this number.
    async fn records(&self, topic: &str, number: usize) -> Vec<ConsumerRecord> {
        let consumer = self
            .kafka
            .consumer_without_group()
            .auto_offset_reset(AutoOffsetReset::Earliest)
            .build()
            .await
            .expect("built");
        consumer.assign(topic, vec![0, 1, 2]).await.expect("three partitions");
        let mut records = Vec::new();
        while records.len() < number {
            let polled = tokio::time::timeout(Duration::from_secs(60), consumer.poll(Duration::from_secs(60))).await;
            records.extend(polled.expect("in time").expect("readable"));
        }
        consumer.close().await.expect("closed");
        records
    }
}

fn sale(sequence: u64, account: &str, amount: u64) -> String {
    let sale = json!({
        "type": "terminal.sale", "terminal": account, "sequence": sequence,
        "account": account, "amount": amount, "currency": "EUR",
    });
    sale.to_string()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_record_that_is_given_up_keeps_its_key_its_missing_value_and_its_headers() {
    let test = "a_record_that_is_given_up_keeps_its_key_its_missing_value_and_its_headers";
    let Some(world) = World::start(test, 1).await else { return };
    // A tombstone is no sale, so the function refuses it until it goes to the topic for failed records.
    let tombstone = world
        .stack
        .local(Method::POST, &format!("streams/{TOPIC}?tombstone=true"))
        .header("x-key", "till-1")
        .header("x-header-base64-bytes", "AP+A")
        .header("x-header-repeated", "one")
        .header("x-header-repeated", "two");
    assert!(tombstone.send().await.expect("answers").status().is_success());
    let records = world.records(FAILED, 1).await;
    let record = &records[0];
    assert!(record.is_tombstone(), "{record:?}");
    assert_eq!(record.key.as_deref(), Some(b"till-1".as_slice()));
    let headers: Vec<(&str, &[u8])> =
        record.headers.iter().map(|(name, value)| (name.as_str(), value.as_deref().expect("a value"))).collect();
    assert_eq!(headers, [("bytes", [0, 255, 128].as_slice()), ("repeated", b"one"), ("repeated", b"two")]);
}

#[tokio::test(flavor = "multi_thread")]
async fn markers_of_transactions_are_gaps_and_what_was_aborted_is_not_delivered() {
    let test = "markers_of_transactions_are_gaps_and_what_was_aborted_is_not_delivered";
    // noida-db delivers nothing more to a member that reads while a transaction is aborted, so the stack begins
    // afterwards.
    let Some(broker) = Broker::start(test).await else { return };
    let kafka = Kafka::builder(broker.address()).connect().await.expect("a broker");
    create(&kafka, 3).await;
    let producer = kafka.producer().build_transactional("terminals").await.expect("a producer");
    for (sequence, commits) in [(1, true), (2, false), (2, true), (3, false), (3, true)] {
        producer.begin().expect("begins");
        // What is aborted has another amount.
        let amount = if commits { 10 } else { 1000 };
        let record = Record::new(TOPIC, sale(sequence, "acct-1", amount)).key("till-1").partition(0);
        drop(producer.send(record).await.expect("acknowledged"));
        match commits {
            true => producer.commit().await.expect("committed"),
            false => producer.abort().await.expect("aborted"),
        }
    }
    let setup = Setup::brief().parameter("StreamRetryAttempts", 1).option("kafka", broker.address());
    let stack = setup.start().await;
    let auditor = stack.auditor().await;
    assert_eq!(auditor.balance("acct-1", "EUR", 3).await, 30);
    let topic = stack.local(Method::GET, &format!("streams/{TOPIC}")).send().await.expect("answers");
    let partition = topic.json::<Value>().await.expect("the topic")["partitions"][0].clone();
    assert_eq!(partition["values"].as_array().expect("a list").len(), 3, "{partition}");
    assert_eq!(partition["end"], 10, "five records and five markers");
    assert_eq!(stack.count("gives up"), 0);
}

async fn create(kafka: &Kafka, partitions: i32) {
    let topic = NewTopic::new(TOPIC, partitions, -1).expect("valid");
    let created = kafka.admin().create_topics([topic], CreateTopicsOptions::default()).await.expect("answers");
    created.into_values().collect::<krafka::Result<()>>().expect("created");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_topic_with_other_partitions_is_read_as_it_is() {
    let test = "a_topic_with_other_partitions_is_read_as_it_is";
    let Some(broker) = Broker::start(test).await else { return };
    let kafka = Kafka::builder(broker.address()).connect().await.expect("a broker");
    create(&kafka, 5).await;
    let stack = Setup::brief().option("kafka", broker.address()).start().await;
    let auditor = stack.auditor().await;
    let accounts: Vec<String> = (0..10).map(|number| format!("acct-{number}")).collect();
    for account in &accounts {
        stack.append(TOPIC, account, sale(1, account, 10)).await;
    }
    for account in &accounts {
        assert_eq!(auditor.balance(account, "EUR", 1).await, 10);
    }
}
