//! The sequence gate and versioned items on an embedded DynamoDB.

use std::num::NonZeroU64;
use std::time::Duration;

use aws_sdk_dynamodb::types::{AttributeValue, TransactWriteItem};
use fault_proxy::{Fault, Refusal};
use idempotency::protocol::{Fingerprinter, Key, Principal};
use idempotency::sequence::{Entry, Gap, SequenceGate, Step, decide};
use idempotency::versioned::{VersionedError, VersionedTable};
use idempotency::{Attempt, Call, Error, Operation, Outcome, Verdict};
use tests::dynamodb::{RECORDS, effect, key};
use tests::world::{Item, World};

/// The messages that these tests run in a world.
trait Sequenced {
    /// One message of a stream, with an effect of its own name.
    async fn pass(&self, key_of_message: &str, stream: &str, number: u64, gap: Gap) -> Result<Outcome<()>, Error> {
        self.pass_content("the same", key_of_message, stream, number, gap).await
    }

    /// The same with other content.
    async fn pass_content(
        &self,
        content: &str,
        key_of_message: &str,
        stream: &str,
        number: u64,
        gap: Gap,
    ) -> Result<Outcome<()>, Error>;

    async fn set_mark(&self, stream: &str, mark: u64);
    async fn mark(&self, stream: &str) -> Option<String>;
}

impl Sequenced for World {
    async fn pass_content(
        &self,
        content: &str,
        key_of_message: &str,
        stream: &str,
        number: u64,
        gap: Gap,
    ) -> Result<Outcome<()>, Error> {
        let call = Call::new(
            Operation::new("sequences", "post"),
            Principal::new("tests").expect("valid"),
            Key::new(key_of_message).expect("valid"),
            Fingerprinter::new().finish(),
            self.engine.now().plus(Duration::from_secs(10)),
        );
        let gate = SequenceGate::new(RECORDS, gap);
        let run = |attempt: Attempt<TransactWriteItem>| {
            let content = Fingerprinter::new().bytes(content.as_bytes()).finish();
            let entry = Entry::new(key(entry_of(stream, number)), content);
            gate.pass(&attempt, key(stream), NonZeroU64::new(number).expect("from 1"), entry);
            attempt.add_effect(effect(key_of_message));
            async { Verdict::Success(()) }
        };
        self.engine.run_single_write(&call, run).await
    }

    async fn set_mark(&self, stream: &str, mark: u64) {
        let mut item = key(stream);
        item.insert("sequence".to_owned(), AttributeValue::N(mark.to_string()));
        self.client.put_item().table_name(RECORDS).set_item(Some(item)).send().await.expect("written");
    }

    async fn mark(&self, stream: &str) -> Option<String> {
        Some(self.item(stream).await?.get("sequence")?.as_n().expect("a number").clone())
    }
}

fn entry_of(stream: &str, number: u64) -> String {
    format!("entry:{stream}:{number}")
}

/// The expression and the function must interpret every mark alike.
#[tokio::test(flavor = "multi_thread")]
async fn the_gates_condition_and_its_decision_agree_on_every_mark_and_number() {
    let world = World::start().await;
    for gap in [Gap::Hold, Gap::Accept] {
        for mark in [None, Some(1), Some(2), Some(3), Some(9), Some(u64::MAX)] {
            for number in [1, 2, 3, 4, 9, 10, 11, u64::MAX] {
                let name = format!("{gap:?} {mark:?} {number}");
                if let Some(mark) = mark {
                    world.set_mark(&name, mark).await;
                }
                let outcome = world.pass(&name, &name, number, gap).await.expect("an outcome");
                let step = decide(mark, NonZeroU64::new(number).expect("from 1"));
                let (moves, settles) = match (step, gap) {
                    (Step::Next, _) | (Step::Gap, Gap::Accept) => (true, true),
                    (Step::Duplicate, _) => (false, true),
                    (Step::Gap, Gap::Hold) => (false, false),
                };
                assert_eq!(matches!(outcome, Outcome::Executed(_)), settles, "{name}: {outcome:?}");
                assert_eq!(matches!(outcome, Outcome::NotExecuted(())), !settles, "{name}: {outcome:?}");
                assert_eq!(world.item(&format!("effect:{name}")).await.is_some(), moves, "{name}");
                let expected = if moves { Some(number) } else { mark };
                assert_eq!(world.mark(&name).await, expected.map(|mark| mark.to_string()), "{name}");
            }
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_held_message_posts_once_after_the_missing_one_and_all_that_were_applied_are_duplicates() {
    let world = World::start().await;
    let executed = |outcome: &Result<Outcome<()>, Error>| matches!(outcome, Ok(Outcome::Executed(_)));
    let held = |outcome: &Result<Outcome<()>, Error>| matches!(outcome, Ok(Outcome::NotExecuted(())));
    assert!(executed(&world.pass("m-1", "s", 1, Gap::Hold).await));
    assert!(held(&world.pass("m-3", "s", 3, Gap::Hold).await));
    assert!(held(&world.pass("m-3", "s", 3, Gap::Hold).await), "nothing is recorded of a held message");
    assert!(executed(&world.pass("m-2", "s", 2, Gap::Hold).await));
    let (requests, third) = world.requests(world.pass("m-3", "s", 3, Gap::Hold)).await;
    assert!(executed(&third) && requests == 1, "a message in sequence is one request: {requests}");
    let (requests, again) = world.requests(world.pass("m-3", "s", 3, Gap::Hold)).await;
    assert!(matches!(again, Ok(Outcome::Replayed(_))) && requests == 0, "from the cache: {again:?}");
    // Another key, as if the record had expired: the mark still covers it.
    assert!(executed(&world.pass("m-3 again", "s", 3, Gap::Hold).await), "settled without its effects");
    assert!(world.item("effect:m-3 again").await.is_none());
    assert_eq!(world.mark("s").await.as_deref(), Some("3"));
}

#[tokio::test(flavor = "multi_thread")]
async fn other_content_under_a_used_number_stays_a_conflict_and_the_same_content_is_a_duplicate() {
    for gap in [Gap::Hold, Gap::Accept] {
        let world = World::start().await;
        let posted = async |message: &str| world.item(&format!("effect:{message}")).await.is_some();
        for number in 1..=3 {
            let first = world.pass_content("5.00", &format!("m-{number}"), "s", number, gap).await;
            assert!(matches!(first, Ok(Outcome::Executed(_))), "{first:?}");
        }
        for number in 1..=3 {
            let other = format!("other {number}");
            for _ in 0..2 {
                let conflict = world.pass_content("7.00", &other, "s", number, gap).await;
                assert!(matches!(conflict, Ok(Outcome::Conflict)), "nothing is recorded of it: {conflict:?}");
            }
            let again = world.pass_content("5.00", &format!("again {number}"), "s", number, gap).await;
            assert!(matches!(again, Ok(Outcome::Executed(_))), "settled without its effects: {again:?}");
            assert!(!posted(&other).await && !posted(&format!("again {number}")).await);
        }
        assert_eq!(world.mark("s").await.as_deref(), Some("3"));
        // An entry of an older version has no digest: only the number decides.
        let entry = world.client.put_item().table_name(RECORDS).set_item(Some(key(entry_of("s", 2))));
        entry.send().await.expect("written");
        let old = world.pass_content("7.00", "of an old entry", "s", 2, gap).await;
        assert!(matches!(old, Ok(Outcome::Executed(_))) && !posted("of an old entry").await, "{old:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_number_that_came_too_early_is_not_used_by_that() {
    let world = World::start().await;
    let early = world.pass_content("5.00", "early", "s", 2, Gap::Hold).await;
    assert!(matches!(early, Ok(Outcome::NotExecuted(()))), "{early:?}");
    world.pass("first", "s", 1, Gap::Hold).await.expect("an outcome");
    let corrected = world.pass_content("7.00", "corrected", "s", 2, Gap::Hold).await;
    assert!(matches!(corrected, Ok(Outcome::Executed(_))), "{corrected:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_lost_reply_is_neither_a_duplicate_nor_a_gap() {
    let world = World::start().await;
    for (number, losses) in
        [(1, vec![Fault::LoseReply]), (2, vec![Fault::LoseRequest, Fault::LoseReply]), (3, vec![Fault::LoseReply; 3])]
    {
        world.database.proxy.plan(losses);
        let outcome = world.pass(&format!("m-{number}"), "s", number, Gap::Hold).await;
        assert!(matches!(outcome, Ok(Outcome::Executed(_))), "{outcome:?}");
        assert!(world.item(&format!("effect:m-{number}")).await.is_some());
    }
    assert_eq!(world.mark("s").await.as_deref(), Some("3"));
}

fn count(item: &Item) -> u64 {
    item.get("count").map_or(0, |value| value.as_n().expect("a number").parse().expect("a number"))
}

fn one_more(item: &mut Item) {
    let next = count(item) + 1;
    item.insert("count".to_owned(), AttributeValue::N(next.to_string()));
}

#[tokio::test(flavor = "multi_thread")]
async fn no_update_of_a_versioned_item_is_lost_among_many_at_once() {
    let world = World::start().await;
    let table = VersionedTable::new(world.client.clone(), RECORDS).attempts(200);
    let mut tasks = tokio::task::JoinSet::new();
    for _ in 0..20 {
        let table = table.clone();
        tasks.spawn(async move { table.update(key("v"), one_more).await.expect("updates") });
    }
    tasks.join_all().await;
    let loaded = table.load(key("v")).await.expect("readable");
    assert_eq!((count(&loaded.item), loaded.version()), (20, 20));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_versioned_update_whose_reply_was_lost_is_applied_once() {
    let world = World::start().await;
    let table = VersionedTable::new(world.client.clone(), RECORDS);
    for expected in 1..=3 {
        world.database.proxy.plan([Fault::None, Fault::LoseReply, Fault::LoseReply]);
        let stored = table.update(key("v"), one_more).await.expect("updates");
        assert_eq!((count(&stored.item), stored.version()), (expected, expected));
    }
    assert_eq!(count(&table.load(key("v")).await.expect("readable").item), 3);
}

/// The SDK does not retry such a conflict. The first reply is lost, so the condition of the retried put fails.
#[tokio::test(flavor = "multi_thread")]
async fn a_versioned_update_is_made_once_where_transactions_are_in_the_way() {
    let world = World::start().await;
    let table = VersionedTable::new(world.client.clone(), RECORDS);
    let conflict = Fault::Refuse(Refusal::Conflict);
    for (expected, plan) in [
        (1, vec![Fault::None, conflict, conflict, conflict]),
        (2, vec![Fault::None, Fault::LoseReply, conflict, conflict]),
    ] {
        world.database.proxy.plan(plan);
        let stored = table.update(key("v"), one_more).await.expect("updates");
        assert_eq!((count(&stored.item), stored.version()), (expected, expected));
    }
    assert_eq!(count(&table.load(key("v")).await.expect("readable").item), 2);
}

/// The reply to our write is lost, and others write the item before the SDK retries it.
#[tokio::test(flavor = "multi_thread")]
async fn a_versioned_update_recognises_its_store_under_those_of_others() {
    let world = World::start().await;
    let table = VersionedTable::new(world.client.clone(), RECORDS);
    table.update(key("v"), one_more).await.expect("updates");
    let before = world.database.proxy.requests();
    world.database.proxy.plan([Fault::None, Fault::LoseReply, Fault::Delay(Duration::from_millis(500))]);
    let ours = table.update(key("v"), one_more);
    let others = async {
        while world.database.proxy.requests() < before + 3 {
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
        for _ in 0..3 {
            table.update(key("v"), one_more).await.expect("updates");
        }
    };
    let (ours, ()) = tokio::join!(ours, others);
    assert_eq!(count(&ours.expect("updates").item), 5);
    assert_eq!(count(&table.load(key("v")).await.expect("readable").item), 5, "each of the five once");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_update_that_always_loses_ends_and_writes_nothing() {
    let world = World::start().await;
    let table = VersionedTable::new(world.client.clone(), RECORDS).attempts(3);
    let blocked = tokio::runtime::Handle::current();
    // Another client writes the item between each load and store.
    let rival = VersionedTable::new(world.client.clone(), RECORDS);
    let update = table.update(key("v"), |item| {
        tokio::task::block_in_place(|| blocked.block_on(rival.update(key("v"), one_more))).expect("updates");
        item.insert("mine".to_owned(), AttributeValue::Bool(true));
    });
    assert!(matches!(update.await, Err(VersionedError::Contended { attempts: 3 })));
    let loaded = rival.load(key("v")).await.expect("readable");
    assert_eq!((count(&loaded.item), loaded.item.contains_key("mine")), (3, false));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_versioned_item_as_an_effect_is_refused_once_somebody_else_has_stored_it() {
    let world = World::start().await;
    let table = VersionedTable::new(world.client.clone(), RECORDS);
    let loaded = table.load(key("v")).await.expect("readable");
    let commit = |effect: TransactWriteItem| world.client.transact_write_items().transact_items(effect).send();
    let effect = |mut versioned: idempotency::versioned::Versioned| {
        one_more(&mut versioned.item);
        table.effect(versioned).expect("an effect")
    };
    commit(effect(loaded.clone())).await.expect("nobody was faster");
    assert!(commit(effect(loaded)).await.is_err(), "the version has moved on");
    let loaded = table.load(key("v")).await.expect("readable");
    assert_eq!((count(&loaded.item), loaded.version()), (1, 1));
    commit(effect(loaded)).await.expect("the version is the one that was loaded");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_item_without_a_version_is_left_alone() {
    let world = World::start().await;
    world.set_mark("foreign", 7).await;
    let table = VersionedTable::new(world.client.clone(), RECORDS);
    assert!(matches!(table.update(key("foreign"), one_more).await, Err(VersionedError::NotVersioned)));
    assert_eq!(world.mark("foreign").await.as_deref(), Some("7"));
}

#[tokio::test(flavor = "multi_thread")]
async fn an_item_without_a_version_is_adopted_and_no_update_of_it_is_lost() {
    let world = World::start().await;
    let table = VersionedTable::new(world.client.clone(), RECORDS).adopting().attempts(200);
    let put = |count: u64| {
        let mut item = key("old");
        item.insert("count".to_owned(), AttributeValue::N(count.to_string()));
        world.client.put_item().table_name(RECORDS).set_item(Some(item)).send()
    };
    put(7).await.expect("stored");
    let loaded = table.load(key("old")).await.expect("readable");
    assert_eq!((count(&loaded.item), loaded.version()), (7, 0));
    // A writer that knows no versions is faster: what was loaded must not overwrite it.
    put(8).await.expect("stored");
    let stale = world.client.transact_write_items().transact_items(table.effect(loaded).expect("an effect"));
    assert!(stale.send().await.is_err());
    let mut tasks = tokio::task::JoinSet::new();
    for _ in 0..10 {
        let table = table.clone();
        tasks.spawn(async move { table.update(key("old"), one_more).await.expect("updates") });
    }
    tasks.join_all().await;
    let loaded = table.load(key("old")).await.expect("readable");
    assert_eq!((count(&loaded.item), loaded.version()), (18, 10));
}
