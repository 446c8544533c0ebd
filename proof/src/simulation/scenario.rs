//! The scenarios: the work of each process in a schedule.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use futures::future::{BoxFuture, FutureExt, join_all};
use idempotency::engine::Clock;
use idempotency::lock::Fenced;
use idempotency::protocol::{
    EpochMs, Fingerprint, Key, Principal, Record, Resolution, State, Status, Subject, TransactionId, Uncertain,
};
use idempotency::reconcile::{Evidence, Operations, Resolver};
use idempotency::store::memory::Effect;
use idempotency::{Attempt, Call, Engine, Error, Operation, Outcome, RecordLock, Verdict};
use parking_lot::Mutex;
use strum::VariantArray;

use super::Breakage;
use super::process::process;
use super::provider::{Entry, Provider, TOMBSTONES_WITHIN};
use super::random_source::{RandomSource, SeededEntropy};
use super::store::RemoteStore;
use crate::backend::{BEGIN, Backend};
use crate::oracle::Oracle;

/// The scenario of a schedule.
#[derive(Clone, Copy, Debug, PartialEq, Eq, VariantArray)]
pub enum Scenario {
    /// Transactional effects; a retry reconciles.
    Transactional,
    /// Transactional effects, declared repeatable.
    Repeatable,
    /// An external effect, and a transactional one with the answer; a retry, a reconciler and an operator look for
    /// evidence.
    External,
    /// An external effect, declared repeatable.
    ExternalRepeatable,
    /// Single-write mode.
    SingleWrite,
    /// Single-write mode, concurrently with claims that are released.
    SingleWriteBesideClaims,
    /// A lock.
    Lock,
}

impl Scenario {
    const fn is_external(self) -> bool {
        matches!(self, Self::External | Self::ExternalRepeatable)
    }
}

const TIMEOUT: Duration = Duration::from_secs(10);
const EFFECT: &str = "effect";

/// The maximum error of a clock, in milliseconds.
const SKEW_MS: u64 = 600_000;

struct World {
    scenario: Scenario,
    random: Arc<RandomSource>,
    kept: Backend,
    /// Every version of the record that was stored.
    versions: Arc<Mutex<Vec<Record>>>,
    provider: Provider,
    oracle: Oracle,
    breakage: Option<Breakage>,
    runs: AtomicU64,
    /// The time limit of a run.
    run_within: Duration,
    started: tokio::time::Instant,
    /// The first final answer, and the body of its request.
    answer: Mutex<Option<(u8, Resolution, u64)>>,
    fences: Mutex<Vec<u64>>,
}

pub(super) async fn run(seed: u64, kept: Backend, oracle: Oracle, breakage: Option<Breakage>) {
    let random = Arc::new(RandomSource::new(seed));
    let world = World {
        scenario: Scenario::VARIANTS[random.pick(Scenario::VARIANTS.len())],
        kept,
        versions: Arc::default(),
        provider: Provider::new(Arc::clone(&random)),
        oracle,
        breakage,
        runs: AtomicU64::new(0),
        run_within: if random.once_in(2) { TIMEOUT } else { Duration::from_secs(1) },
        started: tokio::time::Instant::now(),
        answer: Mutex::default(),
        fences: Mutex::default(),
        random,
    };
    world.oracle.log(format!("{:?}", world.scenario));
    world.run_with_faults().await;
    world.run_without_faults().await;
}

/// A worker's clock.
struct SkewedClock {
    started: tokio::time::Instant,
    skew: Duration,
}

impl Clock for SkewedClock {
    fn now(&self) -> EpochMs {
        BEGIN.plus(self.started.elapsed()).plus(self.skew)
    }
}

impl World {
    /// Runs all processes concurrently, with faults of every kind.
    async fn run_with_faults(&self) {
        let mut workers: Vec<BoxFuture<'_, ()>> = Vec::new();
        let bodies = if self.random.once_in(3) { 2 } else { 1 };
        for number in 0..2 + self.random.pick(3) {
            workers.push(match self.scenario {
                Scenario::Lock => self.holder().boxed(),
                Scenario::SingleWriteBesideClaims if number % 2 == 0 => self.caller(0).boxed(),
                Scenario::SingleWrite | Scenario::SingleWriteBesideClaims => {
                    self.single_writer(self.random.pick(bodies) as u8).boxed()
                }
                _ => self.caller(self.random.pick(bodies) as u8).boxed(),
            });
        }
        if matches!(self.scenario, Scenario::Transactional | Scenario::External) {
            workers.push(self.reconciler(true).boxed());
            workers.push(self.reconciler(false).boxed());
        }
        join_all(workers).await;
    }

    /// Every request in transit arrives. Then no more faults occur, and every caller gets an answer.
    async fn run_without_faults(&self) {
        self.random.stop_faults();
        tokio::time::sleep(Duration::from_secs(8 * 60 * 60)).await;
        if self.scenario == Scenario::Lock {
            let lock = self.lock(&self.engine());
            let held = lock.acquire(None).await;
            return self.oracle.expect(matches!(held, Ok(Some(_))), "the lock is free in the end");
        }
        let (engine, is_lost) = (self.engine(), self.is_lost().await);
        let mut answered = false;
        for body in [0, 1, 0] {
            answered |= self.receive(body, &self.call(&engine, body).await);
        }
        self.oracle.expect(answered || is_lost, "in the end there is an answer, or it can no longer be known");
        self.count();
    }

    /// Whether the outcome is unknown and the provider shows nothing, at a time when it may have forgotten its charge.
    async fn is_lost(&self) -> bool {
        let call = self.a_call(&self.engine(), 0);
        let Ok(Some(record)) = self.kept.read(&call.record_id()) else { return false };
        let is_uncertain = match record.state {
            State::Processing(_) | State::Unknown(_) => true,
            State::Released { .. } | State::Success(_) | State::Failed(_) => false,
        };
        self.scenario.is_external() && is_uncertain && self.provider.shows_nothing(record.transaction)
    }

    fn count(&self) {
        let (applied, charges) = (self.kept.applied(EFFECT), self.provider.charges());
        self.oracle.expect(applied <= 1, "G1: transactional effects at most once");
        self.oracle.expect(charges <= 1, "G8: external effects at most once");
        match self.answer.lock().map(|(_, resolution, _)| resolution) {
            Some(Resolution::Success) => {
                self.oracle.expect(applied == 1, "a success has its effect");
                let charged = charges == u64::from(self.scenario.is_external());
                self.oracle.expect(charged, "a success has its charge");
            }
            Some(Resolution::Failed) => {
                self.oracle.expect(applied == 0 && charges == 0, "a failure has no effect");
            }
            None => {}
        }
    }

    // --- the actors

    async fn caller(&self, body: u8) {
        let mut engine = self.engine();
        for _ in 0..1 + self.random.pick(3) {
            tokio::time::sleep(self.random.below_ms(20_000)).await;
            match process(&self.random, self.call(&engine, body)).await {
                Some(outcome) => _ = self.receive(body, &outcome),
                None => {
                    self.oracle.log("died".into());
                    engine = self.engine();
                }
            }
        }
    }

    async fn single_writer(&self, body: u8) {
        let engine = self.engine();
        for _ in 0..1 + self.random.pick(3) {
            tokio::time::sleep(self.random.below_ms(2000)).await;
            match process(&self.random, self.single_write(&engine, body)).await {
                Some(outcome) => _ = self.receive(body, &outcome),
                None => self.oracle.log("died".to_owned()),
            }
        }
    }

    /// A reconciler that uses a record read some time ago, as from an index or a scan.
    async fn reconciler(&self, may_prevent: bool) {
        let engine = self.engine();
        for _ in 0..1 + self.random.pick(2) {
            tokio::time::sleep(self.random.below_ms(60_000)).await;
            let call = self.a_call(&engine, 0);
            let Ok(Some(record)) = self.kept.read(&call.record_id()) else { continue };
            tokio::time::sleep(self.random.below_ms(5000)).await;
            if matches!(record.state.status(), Status::Processing | Status::Unknown) {
                let operations = Operations::new().with(self.operation(), |_| true);
                let resolver = Evidences { world: self, may_prevent };
                let deadline = engine.now().plus(TIMEOUT);
                let reconciled = engine.reconcile(&record, &operations, deadline, None, &resolver);
                drop(process(&self.random, reconciled).await);
            }
        }
    }

    async fn holder(&self) {
        let lock = self.lock(&self.engine());
        for _ in 0..2 + self.random.pick(3) {
            tokio::time::sleep(self.random.below_ms(20_000)).await;
            let work = async {
                let Ok(Some(mut held)) = lock.acquire(None).await else { return };
                self.receive_fence(held.fence().get());
                tokio::time::sleep(self.random.below_ms(15_000)).await;
                if self.random.once_in(3) {
                    match held.renew().await {
                        Ok(Some(renewed)) => held = renewed,
                        Ok(None) | Err(_) => return,
                    }
                }
                // The lease ends in any case.
                drop(held.release().await);
            };
            process(&self.random, work).await;
        }
    }

    // --- their work

    async fn call(&self, engine: &Engine<RemoteStore>, body: u8) -> Result<Outcome<u64>, Error> {
        let call = self.a_call(engine, body);
        match self.scenario {
            Scenario::SingleWrite => self.single_write(engine, body).await,
            // In the end nobody repeats a request that the provider may have forgotten.
            Scenario::Repeatable | Scenario::ExternalRepeatable
                if self.random.once_in(2) && !self.random.is_faultless() =>
            {
                engine.run(&call, |attempt| self.work(attempt, body)).await
            }
            _ => {
                let resolver = Evidences { world: self, may_prevent: true };
                engine.run_or_reconcile(&call, |attempt| self.work(attempt, body), &resolver).await
            }
        }
    }

    async fn single_write(&self, engine: &Engine<RemoteStore>, body: u8) -> Result<Outcome<u64>, Error> {
        let run = async |attempt: Attempt<Effect>| {
            attempt.add_effect(Effect::named(EFFECT));
            Verdict::Success(self.runs.fetch_add(1, Ordering::Relaxed))
        };
        engine.run_single_write(&self.a_call(engine, body), run).await
    }

    async fn work(&self, attempt: Attempt<Effect>, body: u8) -> Verdict<u64> {
        tokio::time::sleep(self.random.below_ms(200)).await;
        let number = self.runs.fetch_add(1, Ordering::Relaxed);
        let chance = if self.random.is_faultless() { usize::MAX } else { self.random.pick(10) };
        if chance == 0 {
            return Verdict::NotExecuted(number);
        }
        if !self.scenario.is_external() {
            return match chance {
                1 => Verdict::Failed(number),
                2 => Verdict::Unknown("planned".into()),
                _ => {
                    attempt.add_effect(Effect::named(EFFECT));
                    Verdict::Success(number)
                }
            };
        }
        match self.provider.charge(self.transaction(&attempt), body).await {
            Ok(Entry::Charged(charge)) => {
                attempt.add_effect(Effect::named(EFFECT));
                Verdict::Success(charge)
            }
            Ok(Entry::Declined) => Verdict::Failed(0),
            Ok(Entry::Tombstone) => Verdict::Unknown("the transaction id is taken".into()),
            Err(_) if self.breakage == Some(Breakage::SilenceIsRefused) => Verdict::Failed(0),
            Err(_) if self.breakage == Some(Breakage::SilenceIsNotExecuted) => Verdict::NotExecuted(number),
            Err(_) => Verdict::Unknown("no answer".into()),
        }
    }

    fn transaction(&self, attempt: &Attempt<Effect>) -> TransactionId {
        let mut bytes = attempt.transaction().uuid().into_bytes();
        if self.breakage == Some(Breakage::ChargesUnderTheAttempt) {
            bytes[0] ^= attempt.number() as u8;
        }
        TransactionId::from_bytes(bytes)
    }

    /// Whether it is a final answer.
    fn receive(&self, body: u8, outcome: &Result<Outcome<u64>, Error>) -> bool {
        self.oracle.log(match outcome {
            Ok(outcome) => format!("{body}: {outcome:?}"),
            Err(error) => format!("{body}: {error}"),
        });
        let (Ok(Outcome::Executed(answered)) | Ok(Outcome::Replayed(answered))) = outcome else { return false };
        let answer = (body, answered.resolution, answered.answer);
        let first = *self.answer.lock().get_or_insert(answer);
        self.oracle.expect(first == answer, &format!("G2: {first:?} was answered, and then {answer:?}"));
        if answered.resolution == Resolution::Success {
            self.oracle.expect(self.kept.applied(EFFECT) == 1, "what was executed has its effect");
            let own = !self.scenario.is_external() || Provider::is_for(answered.answer, body);
            self.oracle.expect(own, "G6: another request was charged for than was answered");
        }
        true
    }

    /// A holder of the lock gets a fencing token.
    fn receive_fence(&self, fence: u64) {
        self.oracle.log(format!("fence {fence}"));
        let mut fences = self.fences.lock();
        self.oracle.expect(!fences.contains(&fence), &format!("two holders of the lock have the fence {fence}"));
        fences.push(fence);
    }

    // --- their engines and calls

    fn engine(&self) -> Engine<RemoteStore> {
        let store = RemoteStore {
            kept: self.kept.clone(),
            versions: Arc::clone(&self.versions),
            random: Arc::clone(&self.random),
            oracle: self.oracle.clone(),
            breakage: self.breakage,
        };
        Engine::builder(store)
            .clock(SkewedClock { started: self.started, skew: self.random.below_ms(SKEW_MS) })
            .entropy(SeededEntropy(Arc::clone(&self.random)))
            .cache_bytes(if self.random.once_in(2) { 0 } else { 1 << 20 })
            .metrics(self.oracle.clone())
            .build()
    }

    fn lock(&self, engine: &Engine<RemoteStore>) -> RecordLock<RemoteStore> {
        RecordLock::new(engine.clone(), "lock", TIMEOUT)
    }

    fn operation(&self) -> Operation {
        let uncertain = match self.scenario {
            Scenario::Repeatable => Uncertain::Repeat { within: Duration::from_secs(24 * 60 * 60) },
            Scenario::ExternalRepeatable => Uncertain::Repeat { within: TOMBSTONES_WITHIN },
            _ => Uncertain::Reconcile,
        };
        Operation::new("simulation", "simulated").uncertain(uncertain).run_within(self.run_within)
    }

    fn a_call(&self, engine: &Engine<RemoteStore>, body: u8) -> Call {
        let (principal, key) = (Principal::new("somebody").expect("valid"), Key::new("key").expect("valid"));
        let fingerprint = Fingerprint::from_bytes([body; Fingerprint::BYTES]);
        let call = Call::new(self.operation(), principal, key, fingerprint, engine.now().plus(TIMEOUT))
            .about(Subject::new("of the simulation"))
            .redelivered(self.random.once_in(2));
        match self.random.pick(4) {
            0 => call.wait(self.random.below_ms(10_000)),
            1 => call.wait_for_lease(TIMEOUT),
            _ => call,
        }
    }
}

/// A resolver that queries the provider.
struct Evidences<'a> {
    world: &'a World,
    may_prevent: bool,
}

impl Evidences<'_> {
    /// Whether the provider certainly still remembers the requests under the record's transaction id.
    fn is_remembered(&self, record: &Record, attempt: &Attempt<Effect>) -> bool {
        self.world.breakage == Some(Breakage::TombstoneBeyondTheMemory)
            || record.transaction.made().is_some_and(|made| attempt.now() < made.plus(TOMBSTONES_WITHIN))
    }
}

impl Resolver<Effect, u64> for Evidences<'_> {
    async fn resolve(&self, record: &Record, attempt: Attempt<Effect>) -> Evidence<u64> {
        if !self.world.scenario.is_external() {
            // All effects are transactional: holding the record fences every earlier commit.
            return Evidence::Prevented;
        }
        let provider = &self.world.provider;
        let found = match provider.look(record.transaction).await {
            Ok(None) if self.world.breakage == Some(Breakage::NotFoundIsRefused) => Ok(Some(Entry::Declined)),
            Ok(None) if self.world.breakage == Some(Breakage::NotFoundIsPrevented) => Ok(Some(Entry::Tombstone)),
            Ok(None) if !self.is_remembered(record, &attempt) => Ok(None),
            Ok(None) if self.may_prevent => provider.prevent(record.transaction).await.map(Some),
            found => found,
        };
        match found {
            Ok(Some(Entry::Charged(charge))) => {
                attempt.add_effect(Effect::named(EFFECT));
                Evidence::Happened(charge)
            }
            Ok(Some(Entry::Declined)) => Evidence::Refused(0),
            Ok(Some(Entry::Tombstone)) => Evidence::Prevented,
            Ok(None) => Evidence::Unclear("not found".into()),
            Err(_) => Evidence::Unclear("no answer".into()),
        }
    }
}
