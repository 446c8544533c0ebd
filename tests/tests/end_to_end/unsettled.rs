//! Finding open records: UNKNOWN ones by the index, abandoned and expired ones by a scan.

use std::collections::BTreeSet;
use std::ops::Deref;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use aws_sdk_dynamodb::types::{AttributeValue, TransactWriteItem};
use idempotency::engine::{Claimed, Clock, SystemClock};
use idempotency::protocol::{EpochMs, Fingerprinter, Key, Principal, Record, RecordId, Subject};
use idempotency::store::unsettled::{ScanPlace, Scanned, Unsettled};
use idempotency::{Call, Operation, Outcome, RecordLock, Verdict};
use tests::dynamodb::RECORDS;
use tests::world::World;

/// A clock that a test sets.
#[derive(Clone)]
struct Hand(Arc<AtomicU64>);

impl Clock for Hand {
    fn now(&self) -> EpochMs {
        EpochMs(self.0.load(Ordering::SeqCst))
    }
}

impl Hand {
    fn advance(&self, duration: Duration) {
        self.0.fetch_add(u64::try_from(duration.as_millis()).expect("short"), Ordering::SeqCst);
    }
}

const TIMEOUT: Duration = Duration::from_secs(10);

/// A world whose clock the test sets.
struct Timed {
    clock: Hand,
    world: World,
}

impl Deref for Timed {
    type Target = World;

    fn deref(&self) -> &World {
        &self.world
    }
}

impl Timed {
    async fn start() -> Self {
        // Starts at the real time, because the table deletes by its own clock.
        let clock = Hand(Arc::new(AtomicU64::new(SystemClock.now().0)));
        Self { world: World::with_clock(clock.clone()).await, clock }
    }

    fn call(&self, key: &str) -> Call {
        Call::new(
            Operation::new("test", "POST /payments").retention(Duration::from_secs(60)),
            Principal::new("alice").expect("valid"),
            Key::new(key).expect("valid"),
            Fingerprinter::new().finish(),
            self.engine.now().plus(TIMEOUT),
        )
        .about(Subject::new(key))
    }

    async fn ends_with(&self, key: &str, verdict: Verdict<u64>) -> Outcome<u64> {
        let run = async |_: idempotency::Attempt<TransactWriteItem>| verdict;
        self.engine.run(&self.call(key), run).await.expect("an outcome")
    }

    async fn dies(&self, key: &str) {
        let Ok(Claimed::Acquired(_)) = self.engine.claim(&self.call(key)).await else { panic!("must acquire") };
    }

    /// Scans the whole table in two segments, a few items at a time.
    async fn scanned(&self) -> Scanned {
        let mut all = Scanned::default();
        for segment in 0..2 {
            let mut place = ScanPlace { segment, segments: 2, after: None };
            loop {
                let part = self.store.scan(&place, self.engine.now(), 3).await.expect("readable");
                assert!(part.read <= 3);
                all.read += part.read;
                all.abandoned.extend(part.abandoned);
                all.expired_present += part.expired_present;
                let ends = [all.oldest_expiration, part.oldest_expiration];
                all.oldest_expiration = ends.into_iter().flatten().min();
                place.after = part.after;
                if place.after.is_none() {
                    break;
                }
            }
        }
        all
    }
}

fn subjects(records: &[Record]) -> Vec<&str> {
    records.iter().map(|record| record.subject.as_ref().expect("given").as_str()).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn unknown_records_are_listed_oldest_first_page_by_page_and_settled_ones_are_not() {
    let world = Timed::start().await;
    let names: Vec<String> = (0..50).map(|number| format!("key-{number:02}")).collect();
    for (number, name) in names.iter().enumerate() {
        world.ends_with(name, Verdict::Unknown("no answer".into())).await;
        world.ends_with(&format!("settled-{number}"), Verdict::Success(1)).await;
        // Several with the same start time, too.
        if number % 3 == 0 {
            world.clock.advance(Duration::from_millis(1));
        }
    }
    for limit in [1, 7, 50, 1000] {
        let (mut after, mut listed) = (None, Vec::new());
        loop {
            let page = world.store.unknown(limit, after.as_ref()).await.expect("readable");
            assert!(page.records.len() <= limit);
            listed.extend(page.records);
            after = page.next;
            if after.is_none() {
                break;
            }
        }
        assert!(listed.is_sorted_by_key(|record| record.created), "oldest first");
        let found: BTreeSet<_> = subjects(&listed).into_iter().collect();
        assert_eq!((listed.len(), found), (50, names.iter().map(String::as_str).collect()), "each once, by {limit}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_record_that_cannot_be_read_hides_no_other() {
    let world = Timed::start().await;
    for name in ["key-1", "key-2"] {
        world.ends_with(name, Verdict::Unknown("no answer".into())).await;
    }
    let broken = RecordId::new("test", &Principal::new("alice").expect("valid"), &Key::new("key-1").expect("valid"));
    let change =
        world.client.update_item().table_name(RECORDS).key("id", AttributeValue::S(broken.as_str().to_owned()));
    change.update_expression("REMOVE attempt").send().await.expect("writable");
    let page = world.store.unknown(10, None).await.expect("readable");
    assert_eq!(subjects(&page.records), ["key-2"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_scan_finds_the_abandoned_and_the_expired_and_nothing_else() {
    let world = Timed::start().await;
    world.ends_with("expired", Verdict::Success(1)).await;
    world.ends_with("released", Verdict::NotExecuted(1)).await;
    // A long answer has parts next to its record; together they count as one expired record.
    let long: String = (0..50_000_u32).map(|number| format!("{:x}", number.wrapping_mul(2_654_435_761))).collect();
    let answered = world.engine.run(&world.call("long"), async |_| Verdict::Success(long.clone())).await;
    assert!(matches!(answered, Ok(Outcome::Executed(_))), "{answered:?}");
    let expiration = world.engine.now().seconds().plus(Duration::from_secs(60));
    for name in ["dead-1", "dead-2", "dead-3"] {
        world.dies(name).await;
    }
    world.ends_with("unknown", Verdict::Unknown("no answer".into())).await;
    // A process with a lock died, and the table has items of another application.
    let lock = RecordLock::new(world.engine.clone(), "reconciler", Duration::from_secs(1));
    let _held = lock.acquire(None).await.expect("reachable").expect("free");
    let foreign = world.client.put_item().table_name(RECORDS).item("id", AttributeValue::S("other#1".into()));
    let foreign = foreign.item("status", AttributeValue::S("PROCESSING".into()));
    foreign.item("expiration", AttributeValue::N("1".into())).send().await.expect("writable");
    world.clock.advance(Duration::from_secs(61));
    world.dies("running").await;
    world.ends_with("settled", Verdict::Success(1)).await;

    let scanned = world.scanned().await;
    let found: BTreeSet<_> = subjects(&scanned.abandoned).into_iter().collect();
    assert_eq!(found, BTreeSet::from(["dead-1", "dead-2", "dead-3"]));
    assert_eq!((scanned.expired_present, scanned.oldest_expiration), (3, Some(expiration)));
    assert_eq!(scanned.read, 12, "a part of the long answer among them");
}
