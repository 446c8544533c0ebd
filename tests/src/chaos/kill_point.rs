//! The writes of the protocol, as the proxy sees them: named points at which a process can be killed.

use fault_proxy::{Moment, Request};

use super::function::Function;

/// The effect of a write on a record.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Step {
    /// Begins an attempt without a record, or over a released one.
    Claim,
    /// Takes over the record of another owner.
    Takeover,
    /// Settles with an outcome.
    Commit,
    /// Settles without a claim.
    SingleWrite,
    /// Nothing was executed.
    Release,
    /// The outcome is unknown.
    Abandon,
    /// Settles by evidence, or runs again after evidence.
    Reconcile,
    /// Writes the effects of a record that is on Valkey.
    Effects,
}

impl Step {
    /// All steps, with records in DynamoDB.
    pub(super) const ALL: [Self; 7] =
        [Self::Claim, Self::Takeover, Self::Commit, Self::SingleWrite, Self::Release, Self::Abandon, Self::Reconcile];

    /// All steps that reach DynamoDB, with records on Valkey.
    pub(super) const OF_EFFECTS: [Self; 1] = [Self::Effects];

    /// The step of this request, if it writes a record. In a transaction the record is the first item.
    pub(super) fn of(request: &Request) -> Option<Self> {
        let request = request.json();
        let first = &request["TransactItems"][0];
        if first.is_object() && first["Put"]["Item"]["id"].is_null() {
            return Some(Self::Effects);
        }
        let in_transaction = &request["TransactItems"][0]["Put"];
        let put = if in_transaction.is_object() { in_transaction } else { &request };
        let (record, values) = (&put["Item"], &put["ExpressionAttributeValues"]);
        let (status, is_held) = (record["status"]["S"].as_str()?, record["owner"].is_object());
        match (status, values[":owner"].is_object(), is_held) {
            ("SUCCESS" | "FAILED", true, _) => Some(Self::Commit),
            ("PROCESSING", true, true) => Some(Self::Reconcile),
            ("PROCESSING", true, false) => Some(Self::Release),
            ("UNKNOWN", true, _) => Some(Self::Abandon),
            ("SUCCESS" | "FAILED", false, _) => Some(Self::SingleWrite),
            ("PROCESSING", false, _) if values[":seen_owner"].is_null() => Some(Self::Claim),
            ("PROCESSING" | "UNKNOWN", false, _) => Some(Self::Takeover),
            _ => None,
        }
    }

    /// The step, if this function made the request.
    pub(super) fn by(self, function: Function) -> Self {
        match (self, function) {
            (Self::Commit, Function::Reconciler) => Self::Reconcile,
            (step, Function::PaymentsApi | Function::LedgerWorker | Function::Reconciler) => step,
        }
    }
}

/// A step, before its request arrives or between its effect and its reply.
pub(super) type Point = (Step, Moment);

/// All points of these steps.
pub(super) fn points(steps: &[Step]) -> impl Iterator<Item = Point> {
    steps.iter().copied().flat_map(|step| MOMENTS.map(|moment| (step, moment)))
}

pub(super) const MOMENTS: [Moment; 2] = [Moment::Before, Moment::After];

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use aws_sdk_dynamodb::types::{AttributeValue, TransactWriteItem};
    use idempotency::engine::{Clock, SystemClock};
    use idempotency::protocol::watermark::Watermark;
    use idempotency::protocol::{EpochMs, Fingerprinter, Key, Principal, Record};
    use idempotency::reconcile::{Evidence, Resolver};
    use idempotency::store::Store;
    use idempotency::store::watermarks::Watermarks;
    use idempotency::versioned::VersionedTable;
    use idempotency::{Attempt, Call, DynamoDbStore, Engine, Operation, Uncertain, Verdict};

    use super::*;
    use crate::dynamodb::{Database, RECORDS, effect, key};
    use fault_proxy::Recorder;

    const HOUR: Duration = Duration::from_secs(3600);

    /// A clock that does not advance.
    struct Still(EpochMs);

    impl Clock for Still {
        fn now(&self) -> EpochMs {
            self.0
        }
    }

    struct Prevented;

    impl Resolver<TransactWriteItem, ()> for Prevented {
        async fn resolve(&self, _: &Record, _: Attempt<TransactWriteItem>) -> Evidence<()> {
            Evidence::Prevented
        }
    }

    /// The library on a database, and the proxy's view of its requests.
    struct World {
        database: Database,
        recorder: Recorder<Option<Step>>,
        now: EpochMs,
    }

    impl World {
        async fn start() -> Self {
            let (database, recorder) = (Database::start().await, Recorder::new(Step::of));
            database.proxy.follow(recorder.clone());
            Self { database, recorder, now: SystemClock.now() }
        }

        async fn store(&self) -> DynamoDbStore {
            DynamoDbStore::new(self.database.client().await, RECORDS)
        }

        async fn engine(&self) -> Engine<DynamoDbStore> {
            Engine::builder(self.store().await).clock(Still(self.now)).build()
        }

        fn call(&self, uncertain: Uncertain) -> Call {
            let (principal, key) = (Principal::new("somebody").expect("valid"), Key::new("key").expect("valid"));
            let operation = Operation::new("points", "pay").uncertain(uncertain);
            let fingerprint = Fingerprinter::new().bytes(b"request").finish();
            Call::new(operation, principal, key, fingerprint, self.now.plus(Duration::from_secs(10)))
        }

        /// A claim whose owner died an hour ago.
        async fn left_behind(&mut self) {
            drop(self.engine().await.claim(&self.call(Uncertain::Reconcile)).await.expect("claimed"));
            assert_eq!(self.recorder.take(), [Some(Step::Claim)]);
            self.now = self.now.plus(HOUR);
        }

        async fn run(&self, uncertain: Uncertain, verdict: Verdict<()>) -> Vec<Option<Step>> {
            let ran = self.engine().await.run(&self.call(uncertain), |_| std::future::ready(verdict.clone())).await;
            ran.expect("answered");
            self.recorder.take()
        }
    }

    const REPEAT: Uncertain = Uncertain::Repeat { within: Duration::from_secs(24 * 3600) };

    #[tokio::test]
    async fn a_claim_and_each_of_its_ends_have_their_points() {
        for (verdict, end) in [
            (Verdict::Success(()), Step::Commit),
            (Verdict::Failed(()), Step::Commit),
            (Verdict::NotExecuted(()), Step::Release),
            (Verdict::Unknown("no reply".into()), Step::Abandon),
        ] {
            let steps = World::start().await.run(Uncertain::Reconcile, verdict).await;
            assert_eq!(steps, [Some(Step::Claim), Some(end)]);
        }
    }

    #[tokio::test]
    async fn with_effects_they_have_the_same_points() {
        let world = World::start().await;
        let (engine, call) = (world.engine().await, world.call(Uncertain::Reconcile));
        let pay = |attempt: Attempt<TransactWriteItem>| {
            attempt.add_effect(effect(attempt.transaction().to_string()));
            std::future::ready(Verdict::Success(()))
        };
        engine.run(&call, pay).await.expect("answered");
        assert_eq!(world.recorder.take(), [Some(Step::Claim), Some(Step::Commit)]);

        let world = World::start().await;
        world.engine().await.run_single_write(&call, pay).await.expect("answered");
        assert_eq!(world.recorder.take(), [Some(Step::SingleWrite)]);
        world.engine().await.run_single_write(&call, pay).await.expect("answered");
        assert_eq!(world.recorder.take(), [Some(Step::SingleWrite)], "a duplicate is refused at this step");
    }

    #[tokio::test]
    async fn what_was_released_is_claimed_or_taken_over_again() {
        let world = World::start().await;
        world.run(REPEAT, Verdict::NotExecuted(())).await;
        let steps = world.run(REPEAT, Verdict::Success(())).await;
        assert_eq!(steps, [Some(Step::Claim), Some(Step::Claim), Some(Step::Commit)]);
    }

    #[tokio::test]
    async fn a_takeover_has_its_point_whether_it_runs_or_marks() {
        let mut world = World::start().await;
        world.left_behind().await;
        let steps = world.run(REPEAT, Verdict::Success(())).await;
        assert_eq!(steps, [Some(Step::Claim), Some(Step::Takeover), Some(Step::Commit)]);

        let mut world = World::start().await;
        world.left_behind().await;
        let steps = world.run(Uncertain::Reconcile, Verdict::Success(())).await;
        assert_eq!(steps, [Some(Step::Claim), Some(Step::Takeover)]);
    }

    #[tokio::test]
    async fn a_reconciliation_has_its_point_by_a_retry_and_by_the_reconciler() {
        let mut world = World::start().await;
        world.left_behind().await;
        let (engine, call) = (world.engine().await, world.call(Uncertain::Reconcile));
        let run = |_| std::future::ready(Verdict::Success(()));
        engine.run_or_reconcile(&call, run, &Prevented).await.expect("answered");
        let expected = [Step::Claim, Step::Takeover, Step::Reconcile, Step::Commit];
        assert_eq!(world.recorder.take(), expected.map(Some));

        let settled = Step::Commit;
        assert_eq!(settled.by(Function::Reconciler), Step::Reconcile);
        assert_eq!(settled.by(Function::PaymentsApi), Step::Commit);
    }

    #[tokio::test]
    async fn what_writes_no_record_is_no_point() {
        let world = World::start().await;
        let (client, store) = (world.database.client().await, world.store().await);
        store.read(&world.call(REPEAT).record_id()).await.expect("readable");
        let transaction = client.transact_write_items().transact_items(effect("beside")).send().await;
        transaction.expect("written");
        store.advance("watermark", &Watermark::after(None, &[], world.now), Vec::new(), HOUR).await.expect("moved");
        assert_eq!(world.recorder.take(), [None, None, None]);

        let versioned = VersionedTable::new(client, RECORDS);
        let stored = versioned.update(key("versioned"), |item| {
            item.insert("status".to_owned(), AttributeValue::S("open".to_owned()));
        });
        stored.await.expect("stored");
        assert_eq!(world.recorder.take(), [None, None]);
    }
}
