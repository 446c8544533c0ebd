//! Errors that an embedded database never returns: conflicting transactions, throttling, transactions in progress.

use std::time::{Duration, Instant};

use aws_lambda_events::event::sqs::{SqsEvent, SqsMessage};
use aws_sdk_dynamodb::types::{AttributeValue, TransactWriteItem, Update};
use fault_proxy::{Fault, PartitionLimits, Refusal};
use idempotency::engine::Claimed;
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

/// By how much less than at their full size the storm, its sandboxes and the partition are: 5,000 duplicates a second
/// over 50 sandboxes, in a partition of 1,000 write and 3,000 read units a second.
const SCALE: f64 = 25.0;

/// Sandboxes of the storm, each of which gets a hundred duplicates a second.
const SANDBOXES: usize = 2;

/// A storm of duplicates of one running call for three seconds, with first runs of other keys beside it.
struct Storm {
    duplicates: usize,
    throttled: u64,
    /// Write units that the duplicates cost.
    write_units: f64,
    /// The latencies of first runs in the same partition, ascending.
    others: Vec<Duration>,
}

async fn storm(cache_bytes: usize) -> Storm {
    let database = Database::start().await;
    database.proxy.set_latency(Duration::from_millis(5));
    let engine = async || {
        let store = DynamoDbStore::new(database.client().await, RECORDS);
        Engine::builder(store).cache_bytes(cache_bytes).build()
    };
    let owner = engine().await;
    let running = call(&owner, "running", Duration::from_secs(60));
    let Ok(Claimed::Acquired(_held)) = owner.claim(&running).await else { panic!("must acquire") };
    database.proxy.limit_partitions(PartitionLimits::ONE.scaled_down(SCALE));
    let before = database.proxy.traffic();
    let mut duplicates = tokio::task::JoinSet::new();
    for _ in 0..SANDBOXES {
        let engine = engine().await;
        // A sandbox serves one request at a time.
        duplicates.spawn(async move {
            let (started, mut count) = (Instant::now(), 0);
            let mut turn = tokio::time::interval(Duration::from_millis(10));
            while started.elapsed() < Duration::from_secs(3) {
                turn.tick().await;
                let duplicate = call(&engine, "running", Duration::from_secs(4));
                // Refused by the record or, when its partition is too hot, not answered at all.
                let outcome = engine.run(&duplicate, |_| async { Verdict::Success(()) }).await;
                assert!(matches!(outcome, Ok(Outcome::InProgress { .. }) | Err(_)), "{outcome:?}");
                count += 1;
            }
            count
        });
    }
    let mut others = Vec::new();
    for number in 0..12 {
        tokio::time::sleep(Duration::from_millis(200)).await;
        let started = Instant::now();
        let other = call(&owner, &format!("other {number}"), Duration::from_secs(10));
        let outcome = owner.run(&other, |_| async { Verdict::Success(()) }).await;
        assert!(matches!(outcome, Ok(Outcome::Executed(_))), "{outcome:?}");
        others.push(started.elapsed());
    }
    let duplicates = duplicates.join_all().await.into_iter().sum();
    others.sort_unstable();
    // Each of the others is claimed and committed with a write unit.
    let write_units = (database.proxy.traffic() - before).write_units - 2.0 * 12.0;
    Storm { duplicates, throttled: database.proxy.throttled(), write_units, others }
}

/// Whatever the duplicates cost, they must not take the partition from other keys.
#[tokio::test(flavor = "multi_thread")]
async fn a_storm_of_duplicates_of_a_running_call_leaves_its_partition_to_other_keys() {
    for (name, cache_bytes) in [("nothing remembered", 0), ("a second remembered", 1 << 20)] {
        let Storm { duplicates, throttled, write_units, others } = storm(cache_bytes).await;
        let (median, longest) = (others[others.len() / 2], others[others.len() - 1]);
        println!(
            "{name}: {duplicates} duplicates, {throttled} requests throttled, {write_units} write units; \
             others: median {median:?}, longest {longest:?}"
        );
        if cache_bytes == 0 {
            assert!(throttled > 0, "the proxy does throttle");
        } else {
            assert_eq!(throttled, 0, "no key's request was refused");
            // One refused write for each sandbox and second, and one for what is in between.
            assert!(write_units <= (SANDBOXES * 5) as f64, "{write_units} write units");
            assert!(duplicates > 100, "there was a storm: {duplicates}");
        }
    }
}

/// How the postings of one account are arranged.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Ledger {
    /// One balance in each posting's transaction; messages in any order.
    Balance,
    /// The same; the messages of a batch in a lane.
    BalanceInLanes,
    /// The same; a FIFO queue with the account as its group, one batch of ten at a time.
    BalanceInFifo,
    /// Sixteen parts of the balance, which a reader sums up.
    SixteenParts,
    /// Entries only. The table's stream folds them into the balance, once for each batch.
    EntriesOnly,
}

impl Ledger {
    const ALL: [Self; 5] =
        [Self::Balance, Self::BalanceInLanes, Self::BalanceInFifo, Self::SixteenParts, Self::EntriesOnly];

    fn effects(self, id: &str, number: usize) -> Vec<TransactWriteItem> {
        let [entry, balance] = match self {
            Self::Balance | Self::BalanceInLanes | Self::BalanceInFifo | Self::EntriesOnly => posting(id, "hot"),
            Self::SixteenParts => posting(id, &format!("hot {}", number % 16)),
        };
        match self {
            Self::EntriesOnly => vec![entry],
            Self::Balance | Self::BalanceInLanes | Self::BalanceInFifo | Self::SixteenParts => vec![entry, balance],
        }
    }
}

/// The worst case of a ledger: every message is for one account. The figures of `docs/scale.md`.
#[tokio::test(flavor = "multi_thread")]
async fn a_hot_account_is_posted_to_in_every_arrangement_and_each_has_its_price() {
    println!("| arrangement | messages | requests | cancelled | write units for each | took |");
    for ledger in Ledger::ALL {
        let database = Database::start().await;
        database.proxy.contend(TRANSACTION);
        database.proxy.limit_partitions(PartitionLimits { partitions: 64, ..PartitionLimits::ONE });
        let (before, started) = (database.proxy.traffic(), Instant::now());
        let batches = if ledger == Ledger::BalanceInFifo { 1 } else { 4 };
        let mut tasks = tokio::task::JoinSet::new();
        for batch in 0..batches {
            let mut queue = queue(&database).await;
            if ledger != Ledger::Balance && ledger != Ledger::EntriesOnly && ledger != Ledger::SixteenParts {
                queue = queue.contention(|_| Contention::none().on("account hot"));
            }
            tasks.spawn(async move {
                let deadline = queue_deadline();
                let event = hundred(batch);
                let post = |attempt: Attempt<TransactWriteItem>, message: Message<'_>| {
                    let number = message.text().len() + message.text().bytes().map(usize::from).sum::<usize>();
                    attempt.add_effects(ledger.effects(message.text(), number));
                    async { Verdict::Success(()) }
                };
                queue.handle(&event, deadline, post).await.expect("a response").batch_item_failures.len()
            });
        }
        let returned: usize = tasks.join_all().await.into_iter().sum();
        assert_eq!(returned, 0, "{ledger:?}");
        let traffic = database.proxy.traffic() - before;
        let (messages, cancelled, took) = (100 * batches, database.proxy.conflicts(), started.elapsed());
        println!(
            "| {ledger:?} | {messages} | {} | {cancelled} | {:.1} | {:.1} s |",
            traffic.requests + cancelled,
            traffic.write_units / messages as f64,
            took.as_secs_f64()
        );
        match ledger {
            Ledger::Balance => assert!(cancelled > 0, "the proxy does contend"),
            Ledger::BalanceInFifo | Ledger::EntriesOnly => assert_eq!(cancelled, 0, "{ledger:?}"),
            Ledger::BalanceInLanes | Ledger::SixteenParts => {}
        }
        let sum = match ledger {
            Ledger::SixteenParts => {
                let parts = (0..16).map(async |part| balance(&database, &format!("hot {part}")).await);
                futures::future::join_all(parts).await.into_iter().sum()
            }
            Ledger::EntriesOnly => 0,
            Ledger::Balance | Ledger::BalanceInLanes | Ledger::BalanceInFifo => balance(&database, "hot").await,
        };
        let expected = if ledger == Ledger::EntriesOnly { 0 } else { messages as u64 };
        assert_eq!(sum, expected, "{ledger:?}: each message once");
    }
}

fn queue_deadline() -> idempotency::protocol::EpochMs {
    let now = std::time::SystemTime::UNIX_EPOCH.elapsed().expect("after 1970");
    idempotency::protocol::EpochMs(now.as_millis() as u64 + 60_000)
}
