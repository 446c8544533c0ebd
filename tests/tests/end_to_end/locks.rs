//! Locks, and what they protect: a late holder's guarded writes are refused by DynamoDB.

use std::time::Duration;

use aws_sdk_dynamodb::error::ProvideErrorMetadata;
use aws_sdk_dynamodb::types::{AttributeValue, TransactWriteItem};
use idempotency::lock::{Fence, Fenced, RecordLock, conformance, guard, guarded_put};
use tests::dynamodb::{RECORDS, effect, key};
use tests::world::World;

/// What the tests protect.
const PROTECTED: &str = "protected";

#[tokio::test(flavor = "multi_thread")]
async fn a_record_lock_conforms() {
    let world = World::start().await;
    let lock = |name| std::future::ready(RecordLock::new(world.elsewhere(), name, Duration::from_secs(60)));
    conformance::all(lock).await;
    conformance::fences_grow(lock).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_late_holder_writes_nothing_of_a_guarded_transaction() {
    let world = World::start().await;
    let lock = RecordLock::new(world.elsewhere(), "guarded", Duration::from_millis(50));
    let late = lock.acquire(None).await.expect("answers").expect("free");
    write(&world, &late, "first").await.expect("it holds the lock");
    write(&world, &late, "second").await.expect("it still holds the lock");
    tokio::time::sleep(Duration::from_millis(60)).await;
    let held = lock.acquire(None).await.expect("answers").expect("its lease is over");
    write(&world, &late, "third").await.expect("nobody with a higher fence has written yet");
    write(&world, &held, "fourth").await.expect("it holds the lock");
    let refused = write(&world, &late, "fifth").await.expect_err("it is late");
    assert_eq!(refused.as_deref(), Some("TransactionCanceledException"));
    assert!(!world.applied("fifth").await, "the write next to the guard is refused with it");
    assert_eq!(world.number(PROTECTED, "fence").await, held.fence().get());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_guarded_put_is_refused_to_a_late_holder_and_returns_what_is_there() {
    let world = World::start().await;
    for stored in [None, Some(AttributeValue::S("7".to_owned())), Some(AttributeValue::N("7".to_owned()))] {
        let item = world.client.put_item().table_name(RECORDS).set_item(Some(key(PROTECTED)));
        let item = stored.iter().fold(item, |item, fence| item.item("fence", fence.clone()));
        item.send().await.expect("writable");
        put(&world, 7, "first").await.expect("no fence, none that is a number, or its own");
        put(&world, 8, "second").await.expect("a higher one");
        let found = put(&world, 7, "late").await.expect_err("a lower one").expect("the item is returned");
        assert_eq!(found["value"], AttributeValue::S("second".to_owned()));
    }
}

/// A write of a holder, with a guard in its transaction. The error's code, if it was refused.
async fn write(world: &World, held: &impl Fenced, name: &str) -> Result<(), Option<String>> {
    transact(world, vec![guard(RECORDS, key(PROTECTED), held), effect(name)]).await
}

async fn transact(world: &World, writes: Vec<TransactWriteItem>) -> Result<(), Option<String>> {
    let written = world.client.transact_write_items().set_transact_items(Some(writes)).send().await;
    written.map(drop).map_err(|error| error.code().map(str::to_owned))
}

/// A holder with this fence.
struct Numbered(u64);

impl Fenced for Numbered {
    const ATTRIBUTE: &'static str = "fence";

    fn fence(&self) -> Fence {
        Fence::new(self.0)
    }
}

/// A put by a holder with this fence. The stored item, if it was refused.
async fn put(world: &World, fence: u64, value: &str) -> Result<(), Option<tests::world::Item>> {
    let put = world.client.put_item().table_name(RECORDS).set_item(Some(key(PROTECTED)));
    let put = put.item("value", AttributeValue::S(value.to_owned()));
    let Err(error) = guarded_put(put, &Numbered(fence)).send().await else { return Ok(()) };
    match error.into_service_error() {
        aws_sdk_dynamodb::operation::put_item::PutItemError::ConditionalCheckFailedException(refused) => {
            Err(refused.item)
        }
        other => panic!("{other:?}"),
    }
}
