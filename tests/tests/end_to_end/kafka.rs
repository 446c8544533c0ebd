//! The local stack on a broker with Kafka's protocol: what the stand-in of a topic cannot show.

use std::time::Duration;

use krafka::admin::{CreateTopicsOptions, NewTopic};
use krafka::consumer::{AutoOffsetReset, Consumer, ConsumerRecord, PartitionAssignmentStrategy};
use krafka::{Kafka, Record};
use reqwest::Method;
use serde_json::{Value, json};
use tests::kafka::Broker;
use tests::local_stack::{Setup, Stack};
use tests::process::signal;
use tests::wait::eventually;

const TOPIC: &str = "terminal-sales";
const FAILED: &str = "terminal-sales-failed";
const FUNCTION: &str = "TerminalStream";

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

    /// Another member of the function's group.
    async fn rival(&self) -> Consumer {
        let rival = self
            .kafka
            .consumer(function_name(&self.stack).await)
            .auto_offset_reset(AutoOffsetReset::Earliest)
            .enable_auto_commit(false)
            .partition_assignment_strategy(PartitionAssignmentStrategy::CooperativeSticky)
            .build()
            .await
            .expect("built");
        rival.subscribe([TOPIC]).await.expect("subscribed");
        rival
    }
}

/// The function's name, which is that of its group.
async fn function_name(stack: &Stack) -> String {
    let topic = stack.local(Method::GET, &format!("streams/{TOPIC}")).send().await.expect("answers");
    let topic: Value = topic.json().await.expect("the topic");
    let positions = topic["partitions"][0]["positions"].as_object().expect("an object").clone();
    positions.keys().next().expect("one function").clone()
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
    let Some(world) = World::start(test, 1).await else { return };
    let producer = world.kafka.producer().build_transactional("terminals").await.expect("a producer");
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
    let auditor = world.stack.auditor().await;
    assert_eq!(auditor.balance("acct-1", "EUR", 3).await, 30);
    let topic = world.stack.local(Method::GET, &format!("streams/{TOPIC}")).send().await.expect("answers");
    let partition = topic.json::<Value>().await.expect("the topic")["partitions"][0].clone();
    assert_eq!(partition["values"].as_array().expect("a list").len(), 3, "{partition}");
    assert_eq!(partition["end"], 10, "five records and five markers");
    assert_eq!(world.stack.count("gives up"), 0);
}

/// The function is frozen while it handles a batch. Meanwhile other members join the group, get partitions and leave again.
#[tokio::test(flavor = "multi_thread")]
async fn partitions_taken_away_while_a_batch_runs_come_again_and_post_once() {
    let test = "partitions_taken_away_while_a_batch_runs_come_again_and_post_once";
    let Some(world) = World::start(test, 15).await else { return };
    let stack = &world.stack;
    let auditor = stack.auditor().await;
    let mut accounts: Vec<String> = (0..12).map(|number| format!("acct-{number}")).collect();
    append(stack, &accounts, 1).await;
    for account in &accounts {
        assert_eq!(auditor.balance(account, "EUR", 1).await, 10);
    }
    // Which partitions move is the group's choice, and one of the batch must be among them.
    let is_shown = || stack.count("they are not committed and come again") > 0;
    for entries in (2..12).take_while(|_| !is_shown()) {
        let processes = processes(stack).await;
        processes.iter().for_each(|process| signal(*process, "STOP"));
        accounts.rotate_left(1);
        append(stack, &accounts, entries).await;
        eventually("the function has a batch", || async { is_busy(stack).await.then_some(()) }).await;
        let before = stack.count("was taken away");
        let rivals = [world.rival().await, world.rival().await];
        eventually("the other members have partitions", || async {
            for rival in &rivals {
                // An error in the middle of a rebalance passes.
                drop(rival.poll(Duration::from_millis(50)).await);
            }
            (stack.count("was taken away") > before).then_some(())
        })
        .await;
        for process in processes {
            // It may have been killed at its time-out.
            let _ = std::process::Command::new("kill").args(["-CONT", &process.to_string()]).status();
        }
        for rival in &rivals {
            rival.close().await.expect("closed");
        }
        for account in &accounts {
            assert_eq!(auditor.balance(account, "EUR", entries).await, 10 * i64::try_from(entries).expect("small"));
        }
    }
    assert!(is_shown(), "a batch was handled after its partition was taken away");
    assert_eq!(stack.count("gives up"), 0);
}

/// A sale of each account, in this order.
async fn append(stack: &Stack, accounts: &[String], sequence: u64) {
    for account in accounts {
        stack.append(TOPIC, account, sale(sequence, account, 10)).await;
    }
}

async fn sandboxes(stack: &Stack) -> Vec<Value> {
    let functions = stack.local(Method::GET, "functions").send().await.expect("answers");
    functions.json::<Value>().await.expect("all functions")[FUNCTION].as_array().expect("a list").clone()
}

async fn processes(stack: &Stack) -> Vec<u32> {
    let processes = sandboxes(stack).await.into_iter().filter_map(|sandbox| sandbox["process"].as_u64());
    processes.map(|process| u32::try_from(process).expect("a process id")).collect()
}

async fn is_busy(stack: &Stack) -> bool {
    sandboxes(stack).await.iter().any(|sandbox| sandbox["doing"] == "serving")
}

#[tokio::test(flavor = "multi_thread")]
async fn a_topic_with_other_partitions_is_read_as_it_is() {
    let test = "a_topic_with_other_partitions_is_read_as_it_is";
    let Some(broker) = Broker::start(test).await else { return };
    let kafka = Kafka::builder(broker.address()).connect().await.expect("a broker");
    let admin = kafka.admin();
    let topic = NewTopic::new(TOPIC, 5, -1).expect("valid");
    let created = admin.create_topics([topic], CreateTopicsOptions::default()).await.expect("answers");
    created.into_values().collect::<krafka::Result<()>>().expect("created");
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
