//! Errors that an embedded database never returns: conflicting transactions, throttling, transactions in progress.

use std::time::{Duration, Instant};

use aws_lambda_events::event::sqs::{SqsEvent, SqsMessage};
use aws_sdk_dynamodb::types::{AttributeValue, TransactWriteItem, Update};
use fault_proxy::{Fault, Refusal};
use idempotency::protocol::{Fingerprinter, Key, Pointer, Principal};
use idempotency::sqs::{Contention, KeySource, Message, SqsBatch};
use idempotency::{Attempt, Call, DynamoDbStore, Engine, Error, Operation, Outcome, Queue, Verdict};
use tests::dynamodb::{Database, RECORDS, effect, key};

/// The duration of a transaction in one Region.
const TRANSACTION: Duration = Duration::from_millis(8);

/// An entry that is written once, and the balance that it moves.
fn posting(entry: &str, account: &str) -> [TransactWriteItem; 2] {
    let update = Update::builder()
        .table_name(RECORDS)
        .set_key(Some(key(format!("balance:{account}"))))
        .update_expression("SET balance = if_not_exists(balance, :zero) + :one")
        .expression_attribute_values(":zero", AttributeValue::N("0".into()))
        .expression_attribute_values(":one", AttributeValue::N("1".into()));
    let update = update.build().expect("complete");
    [effect(entry), TransactWriteItem::builder().update(update).build()]
}

async fn balance(database: &Database, account: &str) -> u64 {
    let found = database.client().await.get_item().table_name(RECORDS).set_key(Some(key(format!("balance:{account}"))));
    let item = found.consistent_read(true).send().await.expect("readable").item.unwrap_or_default();
    item.get("balance").map_or(0, |value| value.as_n().expect("a number").parse().expect("a number"))
}

async fn engine(database: &Database) -> Engine<DynamoDbStore> {
    Engine::builder(DynamoDbStore::new(database.client().await, RECORDS)).build()
}

fn call(engine: &Engine<DynamoDbStore>, id: &str, time: Duration) -> Call {
    Call::new(
        Operation::new("contention", "post"),
        Principal::new("tests").expect("valid"),
        Key::new(id).expect("valid"),
        Fingerprinter::new().finish(),
        engine.now().plus(time),
    )
}

async fn post(attempt: Attempt<TransactWriteItem>, id: String) -> Verdict<()> {
    attempt.add_effects(posting(&id, "a"));
    Verdict::Success(())
}

#[tokio::test(flavor = "multi_thread")]
async fn conflicts_throttling_and_transactions_in_progress_are_waited_for() {
    let database = Database::start().await;
    let engine = engine(&database).await;
    for refusal in [Refusal::Cancelled, Refusal::InProgress, Refusal::Throttled] {
        // More in a row than retries for a fixed second would survive; the SDK retries some of them itself.
        let id = format!("{refusal:?}");
        database.proxy.plan([Fault::Refuse(refusal); 14]);
        let call = call(&engine, &id, Duration::from_secs(20));
        let outcome = engine.run_single_write(&call, |attempt| post(attempt, id.clone())).await;
        assert!(matches!(outcome, Ok(Outcome::Executed(_))), "{refusal:?}: {outcome:?}");
    }
    for refusal in [Refusal::Conflict, Refusal::Throttled] {
        let id = format!("claimed {refusal:?}");
        database.proxy.plan([Fault::Refuse(refusal); 3]);
        let call = call(&engine, &id, Duration::from_secs(20));
        let outcome = engine.run(&call, |attempt| post(attempt, id.clone())).await;
        assert!(matches!(outcome, Ok(Outcome::Executed(_))), "{refusal:?}: {outcome:?}");
    }
    assert_eq!(balance(&database, "a").await, 5);
}

#[tokio::test(flavor = "multi_thread")]
async fn contention_that_does_not_end_is_given_up_before_the_deadline_and_nothing_was_written() {
    let database = Database::start().await;
    let engine = engine(&database).await;
    database.proxy.plan([Fault::Refuse(Refusal::Cancelled); 10_000]);
    let (started, time) = (Instant::now(), Duration::from_secs(5));
    let call = call(&engine, "k", time);
    let outcome = engine.run_single_write(&call, |attempt| post(attempt, "k".into())).await;
    assert!(matches!(outcome, Err(Error::NotRecorded { .. })), "{outcome:?}");
    let took = started.elapsed();
    assert!(Duration::from_secs(2) < took && took < time, "longer than a second, within the deadline: {took:?}");
    database.proxy.plan([]);
    assert_eq!(balance(&database, "a").await, 0);
}

/// A throttled retry of a write that was applied and whose reply was lost.
#[tokio::test(flavor = "multi_thread")]
async fn a_lost_reply_is_recognised_behind_any_refusal() {
    let database = Database::start().await;
    let engine = engine(&database).await;
    for refusal in [Refusal::Cancelled, Refusal::InProgress, Refusal::Throttled] {
        let id = format!("{refusal:?}");
        database.proxy.plan([Fault::LoseReply].into_iter().chain([Fault::Refuse(refusal); 5]));
        let call = call(&engine, &id, Duration::from_secs(20));
        let outcome = engine.run_single_write(&call, |attempt| post(attempt, id.clone())).await;
        assert!(matches!(outcome, Ok(Outcome::Executed(_))), "{refusal:?}: {outcome:?}");
    }
    assert_eq!(balance(&database, "a").await, 3);
}

/// A hundred messages for one account, delivered as one batch.
fn hundred(batch: usize) -> SqsBatch {
    let mut event = SqsEvent::default();
    event.records = (0..100)
        .map(|number| {
            let mut message = SqsMessage::default();
            message.message_id = Some(format!("m-{number}"));
            message.body = Some(format!("{{\"id\":\"{batch}-{number}\"}}"));
            message
        })
        .collect();
    event.into()
}

async fn queue(database: &Database) -> Queue<DynamoDbStore> {
    let operation = Operation::new("contention", "post");
    let principal = Principal::new("tests").expect("valid");
    let key = KeySource::pointer(Pointer::new("/id").expect("valid"));
    Queue::new(engine(database).await, operation, principal, key).single_write()
}

/// Handles a batch; returns how many messages are returned.
async fn handle(queue: Queue<DynamoDbStore>, batch: usize) -> usize {
    let deadline = idempotency::protocol::EpochMs(
        std::time::SystemTime::UNIX_EPOCH.elapsed().expect("after 1970").as_millis() as u64 + 30_000,
    );
    let event = hundred(batch);
    let post = |attempt, message: Message<'_>| post(attempt, message.text().to_owned());
    let response = queue.handle(&event, deadline, post);
    response.await.expect("a response").batch_item_failures.len()
}

/// The claims of `docs/cost.md` about hot accounts.
#[tokio::test(flavor = "multi_thread")]
async fn a_batch_of_a_hundred_messages_on_one_account_finishes_and_in_lanes_without_a_conflict() {
    for (name, in_lanes, batches) in
        [("one batch in lanes", true, 1), ("one batch without", false, 1), ("four batches in lanes", true, 4)]
    {
        let database = Database::start().await;
        database.proxy.contend(TRANSACTION);
        let mut tasks = tokio::task::JoinSet::new();
        let (before, started) = (database.proxy.requests(), Instant::now());
        for batch in 0..batches {
            let mut queue = queue(&database).await;
            if in_lanes {
                queue = queue.contention(|_| Contention::none().on("account a"));
            }
            tasks.spawn(handle(queue, batch));
        }
        let returned: usize = tasks.join_all().await.into_iter().sum();
        let (requests, conflicts) = (database.proxy.requests() - before, database.proxy.conflicts());
        println!("{name}: {requests} requests, {conflicts} cancelled, {:?}", started.elapsed());
        assert_eq!((returned, balance(&database, "a").await), (0, 100 * batches as u64), "{name}");
        if in_lanes && batches == 1 {
            assert_eq!((requests, conflicts), (100, 0), "{name}");
        } else {
            assert!(conflicts > 0, "{name}: the proxy does contend");
        }
    }
}
