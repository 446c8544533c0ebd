//! Property test with clients that call once and give up, interleaved with the stream and the follow-ups: batches are
//! cut anywhere and redelivered, follow-ups are lost, duplicated or late, and writes fail. In every order, each effect
//! is applied exactly when the bank has charged, and every record that is not settled is still open, so that the
//! stream, the index or a scan leads to it.

use std::collections::BTreeSet;
use std::sync::Arc;

use proptest::prelude::*;

use super::*;
use crate::Attempt;
use crate::engine::tests::altered::Altered;
use crate::engine::tests::{TokioClock, call_to};
use crate::engine::{Claimed, SystemEntropy};
use crate::protocol::Write;
use crate::store::memory::Effect;
use crate::store::{Store, Written};

/// The external system: the charged transactions, and how many of the next lookups are unclear.
#[derive(Default)]
struct Bank {
    charged: Mutex<BTreeSet<String>>,
    unclear: Mutex<u8>,
}

impl Resolver<Effect, u64> for Bank {
    async fn resolve(&self, record: &Record, attempt: Attempt<Effect>) -> Evidence<u64> {
        let mut unclear = self.unclear.lock().unwrap();
        if *unclear > 0 {
            *unclear -= 1;
            return Evidence::Unclear("down".into());
        }
        let id = record.id.as_str().to_owned();
        match self.charged.lock().unwrap().contains(&id) {
            true => {
                attempt.add_effect(Effect::named(id));
                Evidence::Happened(1)
            }
            false => Evidence::Prevented,
        }
    }
}

#[derive(Clone, Copy, Debug)]
enum Ending {
    Succeeds,
    Releases,
    Unknown { charged: bool },
    Dies { charged: bool },
}

#[derive(Clone, Debug)]
enum Step {
    Asks(Ending),
    Waits(u64),
    /// Delivers this many more changes of the stream.
    Delivers(usize),
    /// The shard is redelivered from its beginning.
    Rewinds,
    /// The follow-ups are delivered this many times; 0 if they are lost.
    Sends(usize),
    Unclear(u8),
    SenderDown(bool),
}

fn any_step() -> impl Strategy<Value = Step> {
    let ending = prop_oneof![
        Just(Ending::Succeeds),
        Just(Ending::Releases),
        any::<bool>().prop_map(|charged| Ending::Unknown { charged }),
        any::<bool>().prop_map(|charged| Ending::Dies { charged }),
    ];
    prop_oneof![
        4 => ending.prop_map(Step::Asks),
        2 => (0_u64..120).prop_map(Step::Waits),
        4 => (1_usize..6).prop_map(Step::Delivers),
        1 => Just(Step::Rewinds),
        3 => (0_usize..3).prop_map(Step::Sends),
        1 => (1_u8..4).prop_map(Step::Unclear),
        1 => any::<bool>().prop_map(Step::SenderDown),
    ]
}

struct Town {
    memory: MemoryStore,
    /// The stream of its records: their versions, in the order of the writes.
    stream: Arc<Mutex<Vec<Record>>>,
    engine: Engine<FaultyStore<Altered>>,
    bank: Bank,
    outbox: Outbox,
    calls: Vec<Call>,
    /// How much of the stream was delivered.
    place: usize,
}

impl Town {
    fn new(faults: Vec<Fault>) -> Self {
        let (memory, stream) = (MemoryStore::new(), Arc::<Mutex<Vec<Record>>>::default());
        let streams = {
            let stream = Arc::clone(&stream);
            move |write: &Write, written| {
                if written == Written::Applied {
                    stream.lock().unwrap().push(write.record.clone());
                }
                Ok(written)
            }
        };
        let faulty = FaultyStore::new(Altered::new(memory.clone(), streams), faults);
        let engine = Engine::builder_with(faulty, TokioClock::start(), SystemEntropy).build();
        let (bank, outbox) = (Bank::default(), Outbox::default());
        Self { memory, stream, engine, bank, outbox, calls: Vec::new(), place: 0 }
    }

    async fn take(&mut self, step: Step) {
        match step {
            Step::Asks(ending) => self.asks(ending).await,
            Step::Waits(seconds) => tokio::time::advance(Duration::from_secs(seconds)).await,
            Step::Delivers(count) => self.deliver(count).await,
            Step::Rewinds => self.place = 0,
            Step::Sends(times) => self.send(times).await,
            Step::Unclear(times) => *self.bank.unclear.lock().unwrap() = times,
            Step::SenderDown(is_down) => self.outbox.is_down.store(is_down, Ordering::SeqCst),
        }
    }

    /// One client calls once with one key and never retries.
    async fn asks(&mut self, ending: Ending) {
        let (operation, deadline) = (Operation::new("test", "POST /payments"), self.engine.now().plus(TIMEOUT));
        let call = call_to(operation, "", deadline).with_key(&format!("k-{}", self.calls.len()));
        self.calls.push(call.clone());
        let id = call.record_id().as_str().to_owned();
        let charges = |charged: bool| {
            if charged {
                self.bank.charged.lock().unwrap().insert(id.clone());
            }
        };
        if let Ending::Dies { charged } = ending {
            if let Ok(Claimed::Acquired(_claim)) = self.engine.claim(&call).await {
                charges(charged);
            }
            return;
        }
        let run = async |attempt: Attempt<Effect>| match ending {
            Ending::Succeeds => {
                charges(true);
                attempt.add_effect(Effect::named(id.clone()));
                Verdict::Success(1_u64)
            }
            Ending::Releases => Verdict::NotExecuted(1),
            Ending::Unknown { charged } | Ending::Dies { charged } => {
                charges(charged);
                Verdict::Unknown("no answer".into())
            }
        };
        // The result does not matter: a write may have failed.
        drop(self.engine.run(&call, run).await);
    }

    async fn deliver(&mut self, count: usize) {
        let batch: Vec<Record> = {
            let stream = self.stream.lock().unwrap();
            stream.iter().skip(self.place).take(count).cloned().collect()
        };
        if batch.is_empty() {
            return;
        }
        let first = self.place;
        let changes = batch.iter().enumerate().map(|(index, record)| change((first + index) as u64, record)).collect();
        let handled = self.handle(FollowUpEvent::Changes(changes)).await;
        let Ok(FollowUpResponse::Changes(response)) = handled else { panic!("{handled:?}") };
        let again = response.batch_item_failures.first().and_then(|failure| failure.item_identifier.clone());
        self.place = again.map_or(first + batch.len(), |number| number.parse().expect("a number of ours"));
    }

    async fn send(&self, times: usize) {
        let follow_ups = self.outbox.take();
        for _ in 0..times {
            // Lambda repeats a failed invocation, or it is lost.
            drop(self.handle(FollowUpEvent::FollowUps(follow_ups.clone())).await);
        }
    }

    async fn handle(&self, event: FollowUpEvent) -> Handled {
        let operations = Operations::new().with(Operation::new("test", "POST /payments"), |_| true);
        let follow_ups = FollowUps::new(self.engine.clone(), operations, &self.outbox);
        follow_ups.handle(event, self.engine.now().plus(TIME), None, &self.bank).await
    }

    async fn record(&self, call: &Call) -> Option<Record> {
        self.memory.read(&call.record_id()).await.unwrap()
    }

    /// Checks the invariants that must hold at every moment.
    async fn check(&self) {
        for call in &self.calls {
            let id = call.record_id().as_str().to_owned();
            let (applied, charged) = (self.memory.applied(&id), self.bank.charged.lock().unwrap().contains(&id));
            assert!(applied <= u64::from(charged), "applied {applied} times: {id}");
            let Some(record) = self.record(call).await else { continue };
            let last = self.stream.lock().unwrap().iter().rfind(|seen| seen.id == record.id).cloned();
            assert_eq!(last, Some(record.clone()), "the stream ends with what is stored");
            match &record.state {
                State::Success(_) => assert_eq!(applied, 1, "settled with its effect"),
                State::Failed(_) => panic!("the bank refuses nothing: {record:?}"),
                State::Released { .. } => assert!(!charged, "released though it was charged: {record:?}"),
                State::Processing(_) | State::Unknown(_) => assert!(FollowUp::of(&record).is_some()),
            }
        }
    }

    /// Delivers the stream to its end and every sent follow-up, until nothing changes.
    async fn comes_to_rest(&mut self) {
        self.outbox.is_down.store(false, Ordering::SeqCst);
        // The stream leads to lost follow-ups again; on AWS, for a day.
        self.place = 0;
        for _ in 0..60 {
            tokio::time::advance(Duration::from_secs(3600)).await;
            self.deliver(usize::MAX).await;
            self.send(1).await;
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 256, ..ProptestConfig::default() })]

    #[test]
    fn in_every_order_a_claim_is_settled_followed_up_or_listed_and_at_last_settled(
        steps in prop::collection::vec(any_step(), 1..30), faults in prop::collection::vec(Fault::any(6), 0..40),
    ) {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_time().start_paused(true).build().unwrap();
        runtime.block_on(async {
            let mut town = Town::new(faults);
            for step in steps {
                town.take(step).await;
                town.check().await;
            }
            town.comes_to_rest().await;
            town.check().await;
            for call in &town.calls {
                let id = call.record_id().as_str().to_owned();
                let charged = town.bank.charged.lock().unwrap().contains(&id);
                let record = town.record(call).await;
                assert_eq!(town.memory.applied(&id), u64::from(charged), "{record:?}");
                let is_open = record.as_ref().is_some_and(|record| FollowUp::of(record).is_some());
                assert!(!is_open, "nobody settled it: {record:?}");
            }
        });
    }
}
