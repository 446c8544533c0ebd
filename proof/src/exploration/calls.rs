//! Calls of one key, each with its control flow as it is: claim, run, commit, takeover, reconcile, one trip.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use aws_sdk_dynamodb::types::TransactWriteItem;
use futures::future::{BoxFuture, FutureExt};
use idempotency::protocol::{Finding, Fingerprint, Key, Principal, Record, Status, Uncertain};
use idempotency::reconcile::{Evidence, Resolver};
use idempotency::{Attempt, Call, Engine, Error, Operation, Outcome, Verdict};

use super::choice::Trouble;
use super::sandbox::{Remote, deadline};
use super::table::effect;
use super::{Scenario, World};

const EFFECT: &str = "paid";

struct Calls<'a> {
    world: &'a World,
    runs: AtomicU64,
    heard: Mutex<Option<(Finding, u64)>>,
}

pub(super) async fn run(world: &World) {
    let calls = Calls { world, runs: AtomicU64::new(0), heard: Mutex::default() };
    let mut players: Vec<BoxFuture<'_, ()>> = Vec::new();
    for number in 0..world.size(2, 3) {
        players.push(calls.caller(number).boxed());
    }
    if world.scenario == Scenario::Reconciled && world.size(0, 1) == 1 {
        players.push(calls.reconciler().boxed());
    }
    world.network.run(players).await;
    world.network.calm_down();
    world.network.pass_time();
    for number in 0..2 {
        world.network.run(vec![calls.caller(number).boxed()]).await;
    }
    calls.count();
}

impl Calls<'_> {
    async fn caller(&self, number: usize) {
        for _ in 0..self.world.size(1, 2) {
            let process = self.world.begin().await;
            let engine = self.world.engine(&process);
            match process.live(self.call(&engine, number)).await {
                Some(outcome) => self.hear(&outcome),
                None => self.world.judge.note("a process died"),
            }
        }
    }

    async fn call(&self, engine: &Engine<Remote>, number: usize) -> Result<Outcome<u64>, Error> {
        let call = self.a_call();
        match self.world.scenario {
            Scenario::OneTrip => engine.run_in_one_trip(&call, |attempt| self.work(attempt)).await,
            Scenario::OneTripBesideClaims if number % 2 == 1 => {
                engine.run_in_one_trip(&call, |attempt| self.work(attempt)).await
            }
            Scenario::Repeated => engine.run(&call, |attempt| self.work(attempt)).await,
            _ => engine.run_or_reconcile(&call, |attempt| self.work(attempt), &Prevented).await,
        }
    }

    async fn work(&self, attempt: Attempt<TransactWriteItem>) -> Verdict<u64> {
        let number = self.runs.fetch_add(1, Ordering::Relaxed);
        if self.world.network.strikes(Trouble::Fails) {
            return Verdict::NotExecuted(number);
        }
        attempt.add_effect(effect(EFFECT));
        Verdict::Success(number)
    }

    /// Works on what it saw a while ago.
    async fn reconciler(&self) {
        let process = self.world.begin().await;
        let engine = self.world.engine(&process);
        let Ok(Some(record)) = self.world.table.read(&self.a_call().record_id()) else { return };
        process.turn().await;
        if matches!(record.state.status(), Status::Processing | Status::Unknown) {
            let operation = self.operation();
            let reconciled = engine.reconcile(&record, &operation, deadline(&self.world.network), None, &Prevented);
            drop(process.live(reconciled).await);
        }
    }

    fn hear(&self, outcome: &Result<Outcome<u64>, Error>) {
        let judge = &self.world.judge;
        judge.tell(format!("heard {outcome:?}"));
        let (Ok(Outcome::Executed(answered)) | Ok(Outcome::Replayed(answered))) = outcome else { return };
        let mut heard = self.heard.lock().unwrap_or_else(PoisonError::into_inner);
        let first = *heard.get_or_insert((answered.finding, answered.answer));
        judge.expect(first == (answered.finding, answered.answer), "G2: two final answers");
        let applied = judge.count_applied() == 1;
        judge.expect(answered.finding == Finding::Failed || applied, "what was executed has its effect");
    }

    fn count(&self) {
        let judge = &self.world.judge;
        judge.expect(judge.count_applied() <= 1, "G1: inside effects at most once");
        let heard = self.heard.lock().unwrap_or_else(PoisonError::into_inner);
        judge.expect(heard.is_some(), "in the end there is an answer");
    }

    fn operation(&self) -> Operation {
        let uncertain = match self.world.scenario {
            Scenario::Repeated => Uncertain::Repeat { within: Duration::from_secs(24 * 60 * 60) },
            _ => Uncertain::Reconcile,
        };
        Operation::new("exploration", "explored").uncertain(uncertain)
    }

    fn a_call(&self) -> Call {
        let (principal, key) = (Principal::new("somebody").expect("valid"), Key::new("key").expect("valid"));
        let fingerprint = Fingerprint::from_bytes([1; Fingerprint::BYTES]);
        Call::new(self.operation(), principal, key, fingerprint, deadline(&self.world.network))
    }
}

/// All effects are inside: whoever holds the record has fenced every earlier commit.
struct Prevented;

impl Resolver<TransactWriteItem, u64> for Prevented {
    async fn resolve(&self, _: &Record, _: Attempt<TransactWriteItem>) -> Evidence<u64> {
        Evidence::Prevented
    }
}
