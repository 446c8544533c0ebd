mod orders;

use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, Ordering};

use serde_json::{Value, json};

use super::*;
use crate::engine::tests::{EFFECT, TIMEOUT, World};
use crate::protocol::{OwnerToken, Record, RecordId, State, Uncertain};
use crate::reconcile::Evidence;
use crate::reconcile::tests::OtherSide;
use crate::store::fault::{Fault, FaultyStore};
use crate::store::memory::MemoryStore;
use crate::{Call, Operation, Outcome, Verdict};

/// A sender that keeps the follow-ups.
#[derive(Default)]
struct Outbox {
    sent: Mutex<Vec<FollowUp>>,
    is_down: AtomicBool,
}

impl Outbox {
    fn take(&self) -> Vec<FollowUp> {
        std::mem::take(&mut *self.sent.lock().unwrap())
    }
}

impl Sender for Outbox {
    async fn send(&self, follow_ups: &[FollowUp]) -> Result<(), BoxError> {
        if self.is_down.load(Ordering::SeqCst) {
            return Err("no service".into());
        }
        self.sent.lock().unwrap().extend_from_slice(follow_ups);
        Ok(())
    }
}

struct Follower<'w> {
    world: &'w World,
    outbox: Outbox,
    provider: OtherSide,
}

type Handled = Result<FollowUpResponse, FollowUpError>;

impl<'w> Follower<'w> {
    fn new(world: &'w World, evidence: Evidence<u64>) -> Self {
        Self { world, outbox: Outbox::default(), provider: OtherSide::says(evidence) }
    }

    fn follow_ups(&self) -> FollowUps<FaultyStore<MemoryStore>, &Outbox> {
        let operations = Operations::new().with(Operation::new("test", "POST /payments"), |_| true);
        FollowUps::new(self.world.engine.clone(), operations, &self.outbox)
    }

    async fn handle(&self, event: FollowUpEvent, time: Duration) -> Handled {
        let deadline = self.world.engine.now().plus(time);
        self.follow_ups().handle(event, deadline, None, &self.provider).await
    }

    /// The response to a batch: the sequence numbers from which it must be redelivered.
    async fn changes(&self, changes: Vec<Value>) -> Vec<Option<String>> {
        let handled = self.handle(FollowUpEvent::Changes(changes), TIME).await;
        let Ok(FollowUpResponse::Changes(response)) = handled else { panic!("{handled:?}") };
        response.batch_item_failures.into_iter().map(|failure| failure.item_identifier).collect()
    }

    async fn sent(&self, sent: Vec<FollowUp>) -> FollowUpReport {
        let handled = self.handle(FollowUpEvent::FollowUps(sent), TIME).await;
        let Ok(FollowUpResponse::FollowUps(report)) = handled else { panic!("{handled:?}") };
        report
    }
}

const TIME: Duration = Duration::from_secs(60);

fn named(record: &Record, name: &str) -> Record {
    Record { id: RecordId::from_stored(format!("{}{name}", RecordId::PREFIX)), ..record.clone() }
}

fn call(world: &World) -> Call {
    world.call(Uncertain::Reconcile, "a")
}

/// A world with a claim whose process dies with it.
async fn claimed(plan: impl IntoIterator<Item = Fault>) -> (Arc<World>, Record) {
    let world = World::new(plan);
    let record = world.claim(&call(&world)).await.record().clone();
    (world, record)
}

async fn stored(world: &World) -> Record {
    world.record(&call(world)).await.expect("a record")
}

#[tokio::test(start_paused = true)]
async fn a_claim_that_dies_is_followed_up_once_its_lease_is_over_and_not_before() {
    let (world, claim) = claimed([]).await;
    let follower = Follower::new(&world, Evidence::Happened(7));
    assert_eq!(follower.changes(vec![change(1, &claim)]).await, []);
    let sent = follower.outbox.take();
    let lease = claim.holder().expect("held").lease;
    assert_eq!((sent.len(), sent[0].due > lease, stored(&world).await), (1, true, claim), "nothing is written yet");

    // Delivered too early, for example by a clock that is ahead.
    let report = follower.sent(sent.clone()).await;
    let again = vec![FollowUp { due: sent[0].due.plus(Duration::from_millis(1)), ..sent[0].clone() }];
    assert_eq!((report, follower.outbox.take()), (FollowUpReport { sent: 1, ..Default::default() }, again));

    tokio::time::advance(TIMEOUT * 2).await;
    let report = follower.sent(sent.clone()).await;
    assert_eq!(report, FollowUpReport { happened: 1, ..Default::default() });
    assert_eq!((world.memory.applied(EFFECT), follower.outbox.take()), (1, vec![]));

    // A duplicate of the follow-up, and one for a deleted record.
    let gone = FollowUp { record: RecordId::from_stored("idempotency:gone".into()), ..sent[0].clone() };
    let report = follower.sent(vec![sent[0].clone(), gone]).await;
    assert_eq!((report, world.memory.applied(EFFECT)), (FollowUpReport { over: 2, ..Default::default() }, 1));
}

#[tokio::test(start_paused = true)]
async fn what_a_batch_settles_or_releases_leaves_nothing_to_do_in_whatever_it_contains_besides() {
    let (world, claim) = claimed([]).await;
    let settled = {
        let world = World::new([]);
        let run = async |_: crate::Attempt<crate::store::memory::Effect>| Verdict::Success(1_u64);
        assert!(matches!(world.engine.run(&call(&world), run).await, Ok(Outcome::Executed(_))));
        stored(&world).await
    };
    let released = Record { state: State::Released { expiration: crate::protocol::EpochS(9) }, ..settled.clone() };
    let foreign = Record { operation: "POST /orders".into(), ..claim.clone() };
    let mut removed = change(9, &named(&claim, "removed"));
    removed["dynamodb"].as_object_mut().expect("an object").remove("NewImage");
    let mut unreadable = change(10, &named(&claim, "unreadable"));
    unreadable["dynamodb"]["NewImage"]["attempt"] = json!({ "S": "x" });
    let part = json!({ "dynamodb": {
        "SequenceNumber": "11", "Keys": { "id": { "S": "idempotency:long#1" } }, "NewImage": { "response": { "B": "AA==" } },
    } });
    let lock = json!({ "dynamodb": {
        "SequenceNumber": "12", "Keys": { "id": { "S": "lock:reconciler" } }, "NewImage": { "status": { "S": "PROCESSING" } },
    } });
    let batch = vec![
        change(1, &named(&claim, "a")),
        change(2, &named(&claim, "b")),
        change(3, &named(&settled, "a")),
        change(4, &named(&released, "b")),
        change(5, &named(&settled, "single write")),
        change(6, &named(&foreign, "foreign")),
        change(7, &named(&claim, "open")),
        change(8, &named(&claim, "removed")),
        removed,
        unreadable,
        part,
        lock,
    ];
    let follower = Follower::new(&world, Evidence::Happened(7));
    assert_eq!(follower.changes(batch).await, []);
    let sent: Vec<_> = follower.outbox.take().into_iter().map(|sent| sent.record.as_str().to_owned()).collect();
    assert_eq!(sent, ["idempotency:open"]);
}

#[tokio::test(start_paused = true)]
async fn a_claim_whose_lease_is_over_when_its_batch_comes_is_reconciled_at_once() {
    let (world, claim) = claimed([]).await;
    tokio::time::advance(TIMEOUT * 2).await;
    let follower = Follower::new(&world, Evidence::Happened(7));
    // Twice, because a redelivered shard must change nothing.
    for _ in 0..2 {
        assert_eq!(follower.changes(vec![change(1, &claim)]).await, []);
        assert_eq!((world.memory.applied(EFFECT), follower.outbox.take()), (1, vec![]));
    }
}

#[tokio::test(start_paused = true)]
async fn what_stays_unclear_is_found_again_by_the_version_that_the_look_has_written() {
    let (world, claim) = claimed([]).await;
    tokio::time::advance(TIMEOUT * 2).await;
    let follower = Follower::new(&world, Evidence::Unclear("not found".into()));
    let mut intervals = Vec::new();
    let mut change_of = claim;
    for number in 1..=8 {
        assert_eq!(follower.changes(vec![change(number, &change_of)]).await, []);
        let unknown = stored(&world).await;
        assert_eq!(unknown.state, State::Unknown(None), "looked up, and written");
        assert_eq!(follower.outbox.take(), [], "the stream leads to the next look");
        follower.changes(vec![change(number + 100, &unknown)]).await;
        let sent = follower.outbox.take();
        intervals.push(sent[0].due.since(world.engine.now()).as_secs());
        tokio::time::advance(sent[0].due.since(world.engine.now())).await;
        change_of = unknown;
    }
    assert!(intervals.is_sorted() && intervals[0] >= 15 && intervals[7] > 300, "{intervals:?}");
}

#[tokio::test(start_paused = true)]
async fn a_follow_up_that_cannot_be_sent_is_delivered_again_from_the_first_open_change_on() {
    let (world, claim) = claimed([]).await;
    let follower = Follower::new(&world, Evidence::Happened(7));
    follower.outbox.is_down.store(true, Ordering::SeqCst);
    let batch = || vec![change(9, &named(&claim, "a")), change(10, &named(&claim, "b")), change(11, &claim)];
    assert_eq!(follower.changes(batch()).await, [Some("9".to_owned())], "by number, not by text");
    let sent = FollowUp::of(&claim).expect("open");
    let handled = follower.handle(FollowUpEvent::FollowUps(vec![sent]), TIME).await;
    assert!(matches!(handled, Err(FollowUpError::NotSent(_))), "{handled:?}");
    follower.outbox.is_down.store(false, Ordering::SeqCst);
    assert_eq!(follower.changes(batch()).await, []);
    assert_eq!(follower.outbox.take().len(), 3);
}

#[tokio::test(start_paused = true)]
async fn without_an_answer_of_the_store_or_without_time_it_is_looked_at_later_and_at_last_given_up() {
    let (world, claim) = claimed([]).await;
    tokio::time::advance(TIMEOUT * 2).await;
    let follower = Follower::new(&world, Evidence::Happened(7));
    let due = FollowUp::of(&claim).expect("open");
    let late = Duration::from_secs(11);
    let handled = follower.handle(FollowUpEvent::FollowUps(vec![due.clone()]), late).await;
    assert!(matches!(handled, Ok(FollowUpResponse::FollowUps(FollowUpReport { sent: 1, .. }))), "{handled:?}");
    assert_eq!(follower.outbox.take()[0].failures, 0, "a lack of time is not a failure of the store");

    let (broken, claim) = claimed([Fault::None].into_iter().chain([Fault::Refuse; 40])).await;
    let due = FollowUp::of(&claim).expect("open");
    tokio::time::advance(TIMEOUT * 2).await;
    let follower = Follower::new(&broken, Evidence::Happened(7));
    let report = follower.sent(vec![due.clone()]).await;
    let sent = follower.outbox.take();
    assert_eq!((report.sent, sent[0].failures, sent[0].due > broken.engine.now()), (1, 1, true));
    let handled = follower.handle(FollowUpEvent::FollowUps(vec![FollowUp { failures: 32, ..due }]), TIME).await;
    assert!(matches!(handled, Err(FollowUpError::GivenUp(1))), "{handled:?}");
    assert_eq!(follower.outbox.take(), []);
}

#[tokio::test(start_paused = true)]
async fn a_change_without_a_number_could_not_be_reported_so_nothing_is_done() {
    let (world, claim) = claimed([]).await;
    let mut nameless = change(1, &claim);
    nameless["dynamodb"]["SequenceNumber"] = json!("");
    let follower = Follower::new(&world, Evidence::Happened(7));
    let handled = follower.handle(FollowUpEvent::Changes(vec![nameless]), TIME).await;
    assert!(matches!(handled, Err(FollowUpError::NoSequenceNumber(_))), "{handled:?}");
}

#[tokio::test(start_paused = true)]
async fn a_follow_up_of_another_version_touches_nothing() {
    let (world, claim) = claimed([]).await;
    tokio::time::advance(TIMEOUT * 2).await;
    let follower = Follower::new(&world, Evidence::Happened(7));
    let other = FollowUp { version: Some(OwnerToken([0; 16])), ..FollowUp::of(&claim).expect("open") };
    assert_eq!(follower.sent(vec![other]).await, FollowUpReport { over: 1, ..Default::default() });
    assert_eq!(stored(&world).await, claim);
}
