//! Records in another store than the effects, which are in DynamoDB.

use std::time::Duration;

use aws_sdk_dynamodb::Client;
use aws_sdk_dynamodb::types::{
    AttributeValue, Put, ReturnValuesOnConditionCheckFailure::AllOld, TransactWriteItem, Update,
};
use idempotency::engine::{Claimed, Clock, EffectRefusal, SystemClock};
use idempotency::protocol::{EpochMs, Fingerprinter, Key, Principal, Resolution, Subject, TransactionId, Uncertain};
use idempotency::reconcile::{OnlyTransactionalEffects, Operations, Reconciled};
use idempotency::store::dynamodb::{Item, Recognise, RecordsElsewhere};
use idempotency::store::fault::{Fault, FaultyStore};
use idempotency::store::memory::MemoryStore;
use idempotency::store::{Store, conformance};
use idempotency::{Attempt, Call, Engine, Error, Operation, Outcome, Verdict};
use tests::dynamodb::{Database, RECORDS, effect, key};

/// Effects whose items have the transaction id, and notes of attempts.
#[derive(Clone, Debug)]
struct Marked;

impl Recognise for Marked {
    fn wrote(&self, transaction: TransactionId, found: &Item) -> bool {
        found.get("transaction") == Some(&AttributeValue::S(transaction.to_string()))
    }

    fn is_of_attempt(&self, effect: &TransactWriteItem) -> bool {
        effect.put().is_some_and(|put| put.item().contains_key("note"))
    }
}

type Elsewhere = RecordsElsewhere<FaultyStore<MemoryStore>, Marked>;

struct World {
    _database: Database,
    client: Client,
    memory: MemoryStore,
}

impl World {
    async fn start() -> Self {
        let database = Database::start().await;
        let client = database.client().await;
        Self { _database: database, client, memory: MemoryStore::new() }
    }

    /// A process whose writes of records meet these faults, at a time that is ahead.
    fn process(&self, faults: impl IntoIterator<Item = Fault>, ahead: Duration) -> Engine<Elsewhere> {
        let records = FaultyStore::new(self.memory.clone(), faults);
        let store = RecordsElsewhere::new(records, self.client.clone(), Marked);
        Engine::builder(store).clock(Ahead(ahead)).build()
    }

    async fn item(&self, id: &str) -> Option<Item> {
        let get = self.client.get_item().table_name(RECORDS).set_key(Some(key(id))).consistent_read(true);
        get.send().await.expect("readable").item
    }

    /// How often the counter was moved.
    async fn count(&self) -> u64 {
        let item = self.item("counter").await.unwrap_or_default();
        item.get("count").map_or(0, |count| count.as_n().expect("a number").parse().expect("a number"))
    }
}

struct Ahead(Duration);

impl Clock for Ahead {
    fn now(&self) -> EpochMs {
        SystemClock.now().plus(self.0)
    }
}

fn call(engine: &Engine<Elsewhere>, body: &str) -> Call {
    Call::new(
        Operation::new("test", "POST /payments").uncertain(Uncertain::Repeat { within: Duration::from_secs(3600) }),
        Principal::new("alice").expect("valid"),
        Key::new("k-1").expect("valid"),
        Fingerprinter::new().bytes(body.as_bytes()).finish(),
        engine.now().plus(Duration::from_secs(10)),
    )
}

/// A relative update, which nothing but the insert next to it keeps from being repeated.
fn moved() -> TransactWriteItem {
    let update = Update::builder()
        .table_name(RECORDS)
        .set_key(Some(key("counter")))
        .update_expression("SET #count = if_not_exists(#count, :zero) + :one")
        .expression_attribute_names("#count", "count")
        .expression_attribute_values(":zero", AttributeValue::N("0".into()))
        .expression_attribute_values(":one", AttributeValue::N("1".into()));
    TransactWriteItem::builder().update(update.build().expect("complete")).build()
}

fn insert(id: &str, attribute: &str, value: String) -> TransactWriteItem {
    let mut item = key(id);
    item.insert(attribute.to_owned(), AttributeValue::S(value));
    let put = Put::builder()
        .table_name(RECORDS)
        .set_item(Some(item))
        .condition_expression("attribute_not_exists(id)")
        .return_values_on_condition_check_failure(AllOld);
    TransactWriteItem::builder().put(put.build().expect("complete")).build()
}

/// The effects of an attempt: those of its transaction, and a note of its own.
fn effects(attempt: &Attempt<TransactWriteItem>) -> Vec<TransactWriteItem> {
    let transaction = attempt.transaction().to_string();
    let note = insert(&format!("note {}", attempt.number()), "note", "seen".into());
    vec![moved(), insert("payment", "transaction", transaction), note]
}

async fn pay(engine: &Engine<Elsewhere>, body: &str) -> Result<Outcome<u64>, Error> {
    let run = |attempt: Attempt<TransactWriteItem>| async move {
        attempt.add_effects(effects(&attempt));
        Verdict::Success(attempt.number())
    };
    engine.run(&call(engine, body), run).await
}

/// Without crashes, it is a store like any other.
#[tokio::test(flavor = "multi_thread")]
async fn the_store_of_records_elsewhere_conforms() {
    let world = World::start().await;
    let store = RecordsElsewhere::new(world.memory.clone(), world.client.clone(), Marked);
    conformance::all(store.clone(), effect).await;
    conformance::watermarks::all(store.clone(), effect).await;
    conformance::unsettled::all(store).await;
}

/// A process that dies between the two writes: the record stays claimed, its effects are there.
#[tokio::test(flavor = "multi_thread")]
async fn effects_whose_record_was_not_settled_are_recognised_and_not_applied_again() {
    for commit in [Fault::Refuse, Fault::LoseRequest] {
        let world = World::start().await;
        let dies = world.process([Fault::None, commit, Fault::LoseRequest, Fault::LoseRequest], Duration::ZERO);
        let died = pay(&dies, "a").await;
        assert!(matches!(died, Err(Error::NotRecorded { .. })), "{died:?}");
        assert_eq!(world.count().await, 1, "they were written first");

        let later = world.process([], Duration::from_secs(60));
        let outcome = pay(&later, "a").await.expect("an outcome");
        assert!(matches!(&outcome, Outcome::Executed(answered) if answered.answer == 2), "{outcome:?}");
        assert_eq!(world.count().await, 1);
        for note in ["note 1", "note 2"] {
            assert!(world.item(note).await.is_some(), "{note}: what is about the attempt is written for each");
        }
        let replay = pay(&world.process([], Duration::from_secs(60)), "a").await.expect("an outcome");
        assert!(matches!(&replay, Outcome::Replayed(answered) if answered.answer == 2), "{replay:?}");
        assert_eq!(world.count().await, 1);
    }
}

/// A note that is refused is one of this attempt: those of the transaction stand, and are not repeated.
#[tokio::test(flavor = "multi_thread")]
async fn a_refused_effect_of_an_attempt_leaves_the_outcome_unknown_and_repeats_nothing() {
    let world = World::start().await;
    let dies = world.process([Fault::None, Fault::LoseRequest, Fault::LoseRequest, Fault::LoseRequest], Duration::ZERO);
    assert!(matches!(pay(&dies, "a").await, Err(Error::NotRecorded { .. })));
    let foreign = insert("note 2", "note", "another's".into()).put().expect("a put").item().clone();
    world.client.put_item().table_name(RECORDS).set_item(Some(foreign)).send().await.expect("writable");

    let outcome = pay(&world.process([], Duration::from_secs(60)), "a").await.expect("an outcome");
    assert!(matches!(outcome, Outcome::Unknown { .. }), "{outcome:?}");
    assert_eq!(world.count().await, 1);
}

/// Another transaction's item in the way is no proof that ours was applied.
#[tokio::test(flavor = "multi_thread")]
async fn an_item_of_another_transaction_is_not_taken_for_our_own() {
    let world = World::start().await;
    let other = insert("payment", "transaction", "another".into());
    let put = other.put().expect("a put").item().clone();
    world.client.put_item().table_name(RECORDS).set_item(Some(put)).send().await.expect("writable");
    let outcome = pay(&world.process([], Duration::ZERO), "a").await.expect("an outcome");
    assert!(matches!(outcome, Outcome::Unknown { .. }), "{outcome:?}");
    assert_eq!(world.count().await, 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_late_owner_a_duplicate_and_another_request_write_no_effects() {
    let world = World::start().await;
    let frozen = world.process([], Duration::ZERO);
    let Ok(Claimed::Acquired(late)) = frozen.claim(&call(&frozen, "a")).await else { panic!("must acquire") };
    let later = world.process([], Duration::from_secs(60));
    assert!(matches!(pay(&later, "a").await, Ok(Outcome::Executed(_))));
    let too_late = late.commit(Resolution::Success, 1_u64, vec![moved()]).await.expect("an outcome");
    assert!(matches!(&too_late, Outcome::Replayed(answered) if answered.answer == 2), "{too_late:?}");

    let elsewhere = world.process([], Duration::from_secs(60));
    let run = |attempt: Attempt<TransactWriteItem>| async move {
        attempt.add_effect(moved());
        Verdict::Success(7_u64)
    };
    let duplicate = elsewhere.run_single_write(&call(&elsewhere, "a"), run).await;
    assert!(matches!(duplicate, Ok(Outcome::Replayed(_))), "{duplicate:?}");
    let mismatch = elsewhere.run_single_write(&call(&elsewhere, "b"), run).await;
    assert!(matches!(mismatch, Ok(Outcome::Mismatch)), "{mismatch:?}");
    assert_eq!(world.count().await, 1);
}

/// Without a claim, the guard of the first effect says that it was applied before.
#[tokio::test(flavor = "multi_thread")]
async fn in_single_write_mode_the_guard_of_an_effect_settles_what_was_applied_before() {
    let world = World::start().await;
    let post = async |engine: &Engine<Elsewhere>| {
        let run = |attempt: Attempt<TransactWriteItem>| async move {
            attempt.add_guarded_effect(insert("entry", "event", "e-1".into()), |found| match found {
                Some(found) if found.get("event") == Some(&AttributeValue::S("e-1".into())) => {
                    EffectRefusal::AppliedBefore
                }
                _ => EffectRefusal::Conflict,
            });
            attempt.add_effect(moved());
            Verdict::Success(())
        };
        engine.run_single_write(&call(engine, "a"), run).await
    };
    let died = post(&world.process([Fault::LoseRequest, Fault::LoseRequest], Duration::ZERO)).await;
    assert!(matches!(died, Err(Error::NotRecorded { .. })), "{died:?}");
    let again = post(&world.process([], Duration::ZERO)).await;
    assert!(matches!(again, Ok(Outcome::Executed(_))), "{again:?}");
    let third = post(&world.process([], Duration::ZERO)).await;
    assert!(matches!(third, Ok(Outcome::Replayed(_))), "{third:?}");
    assert_eq!(world.count().await, 1);
}

/// What was written before the record could be is no proof that nothing happened.
#[tokio::test(flavor = "multi_thread")]
async fn that_effects_are_transactional_proves_nothing_where_the_record_is_elsewhere() {
    let world = World::start().await;
    let subject = Subject::new("{}").expect("valid");
    let dies = world.process([Fault::None, Fault::Refuse, Fault::LoseRequest, Fault::LoseRequest], Duration::ZERO);
    let call = call(&dies, "a").about(Some(subject));
    let run = |attempt: Attempt<TransactWriteItem>| async move {
        attempt.add_effects(effects(&attempt));
        Verdict::Success(attempt.number())
    };
    let died = dies.run(&call, run).await;
    assert!(matches!(died, Err(Error::NotRecorded { .. })), "{died:?}");
    let record = world.memory.read(&call.record_id()).await.expect("readable").expect("it is claimed");
    let later = world.process([], Duration::from_secs(60));
    let operations = Operations::new().with(Operation::new("test", "POST /payments"), |_| true);
    let deadline = later.now().plus(Duration::from_secs(10));
    let reconciled = later.reconcile::<u64>(&record, &operations, deadline, None, &OnlyTransactionalEffects).await;
    assert!(matches!(reconciled, Ok(Reconciled::Unclear)), "{reconciled:?}");
    assert_eq!(world.count().await, 1);
}
