//! Calls with one key, each with its real control flow: claim, run, commit, takeover, reconciliation, single write.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use aws_sdk_dynamodb::types::TransactWriteItem;
use futures::future::{BoxFuture, FutureExt};
use idempotency::engine::UnreadableAnswer;
use idempotency::protocol::{Resolution, Status, TransactionId, Uncertain};
use idempotency::reconcile::{OnlyTransactionalEffects, Operations, Reconciled};
use idempotency::store::Store;
use idempotency::{Attempt, Call, DynamoDbStore, Engine, Error, Operation, Outcome, Verdict};
use parking_lot::Mutex;

use super::network::Process;
use super::receipt::{PART_BYTES, Receipt};
use super::sandbox::{self, REPEAT, Remote, Tokens, deadline};
use super::table::effect;
use super::wire::{Items, client};
use super::{Scenario, World};
use crate::fault::Fault;

const EFFECT: &str = "paid";

struct Calls<'a> {
    world: &'a World,
    /// The items of long answers.
    items: Items,
    runs: AtomicU64,
    /// Whether no more faults occur.
    is_faultless: AtomicBool,
    /// The final answers by transaction: if records expire, there may be several.
    answers: Mutex<BTreeMap<TransactionId, (Resolution, Receipt)>>,
}

pub(super) async fn run(world: &World) {
    let items = Items::new(world.oracle.clone(), world.breakage);
    let (runs, is_faultless, answers) = (AtomicU64::new(0), AtomicBool::new(false), Mutex::default());
    let calls = Calls { world, items, runs, is_faultless, answers };
    if world.scenario == Scenario::LongAnswersExpire && !world.is_large {
        world.network.run(vec![calls.caller(0).boxed()]).await;
    }
    if world.scenario == Scenario::LongAnswersInSingleWrite {
        world.network.run(vec![calls.release().boxed()]).await;
    }
    let mut players: Vec<BoxFuture<'_, ()>> = Vec::new();
    let (callers, has_reconciler) = match world.scenario {
        Scenario::ThreeCallers => (3, false),
        Scenario::TwoCallersBesideAReconciler => (2, true),
        scenario => (world.size(2, 3), scenario == Scenario::Reconciled && world.is_large),
    };
    players.extend((0..callers).map(|number| calls.caller(number).boxed()));
    if has_reconciler {
        players.push(calls.reconciler().boxed());
    }
    world.network.run(players).await;
    world.network.stop_faults();
    calls.is_faultless.store(true, Ordering::Relaxed);
    world.network.pass_time();
    for number in 0..2 {
        world.network.run(vec![calls.caller(number).boxed()]).await;
    }
    calls.count();
}

impl Calls<'_> {
    async fn caller(&self, number: usize) {
        for _ in 0..self.world.size(1, 2) {
            // With long answers one of the processes begins at once, because the SDK is slow.
            let process = match number {
                0 if self.world.scenario.has_long_answers() => self.world.network.process(),
                _ => self.world.begin().await,
            };
            let outcome = match self.world.scenario.has_long_answers() {
                true => process.live(self.call(&self.engine_of_long_answers(&process), number)).await,
                false => {
                    let store = Remote::new(&self.world.table, &process, self.world.breakage);
                    let tokens = store.tokens.clone();
                    let engine = sandbox::engine(store, &process, &self.world.oracle, &self.world.random);
                    let outcome = process.live(self.call(&engine, number)).await;
                    self.hold_nothing(outcome.as_ref(), &tokens);
                    outcome
                }
            };
            match outcome {
                Some(outcome) => self.receive(&outcome),
                None => self.world.oracle.note("a process died"),
            }
        }
    }

    async fn call<S>(&self, engine: &Engine<S>, number: usize) -> Result<Outcome<Receipt>, Error>
    where
        S: Store<Effect = TransactWriteItem>,
    {
        let call = self.a_call();
        match self.world.scenario {
            // The first call may have left its claim, and single-write mode does not run over a claim.
            Scenario::LongAnswersInSingleWrite if self.is_faultless.load(Ordering::Relaxed) => {
                engine.run_or_reconcile(&call, |attempt| self.work(attempt), &OnlyTransactionalEffects).await
            }
            Scenario::SingleWrite | Scenario::LongAnswersInSingleWrite => {
                engine.run_single_write(&call, |attempt| self.work(attempt)).await
            }
            Scenario::SingleWriteBesideClaims if number % 2 == 1 => {
                engine.run_single_write(&call, |attempt| self.work(attempt)).await
            }
            scenario if scenario.is_repeatable() => engine.run(&call, |attempt| self.work(attempt)).await,
            _ => engine.run_or_reconcile(&call, |attempt| self.work(attempt), &OnlyTransactionalEffects).await,
        }
    }

    /// A first call that executes nothing. The others continue under its transaction id.
    async fn release(&self) {
        let process = self.world.network.process();
        let engine = self.engine_of_long_answers(&process);
        let run = |_| async { Verdict::NotExecuted(Receipt { number: 0, is_long: false }) };
        process.live(engine.run(&self.a_call(), run)).await;
    }

    async fn work(&self, attempt: Attempt<TransactWriteItem>) -> Verdict<Receipt> {
        let number = self.runs.fetch_add(1, Ordering::Relaxed);
        let number = match self.world.scenario {
            // Answers of equally many parts, which differ only in content.
            Scenario::LongAnswersInSingleWrite => 2 * number,
            _ => number,
        };
        let receipt = Receipt { number, is_long: self.world.scenario.has_long_answers() };
        if self.world.network.occurs(Fault::FailHandler) {
            return Verdict::NotExecuted(receipt);
        }
        attempt.add_effect(effect(EFFECT));
        Verdict::Success(receipt)
    }

    /// A reconciler that uses a record read some time ago.
    async fn reconciler(&self) {
        let process = self.world.network.process();
        process.turn().await;
        let engine = self.world.engine(&process);
        let Ok(Some(record)) = self.world.table.read(&self.a_call().record_id()) else { return };
        process.turn().await;
        if matches!(record.state.status(), Status::Processing | Status::Unknown) {
            let operations = Operations::new().with(self.operation(), |_| true);
            let (by, resolver) = (deadline(&self.world.network), OnlyTransactionalEffects);
            let reconciled = engine.reconcile::<Receipt>(&record, &operations, by, None, &resolver);
            match process.live(reconciled).await {
                Some(Ok(Reconciled::Prevented)) => self.world.oracle.note("a reconciler was in time"),
                Some(Ok(Reconciled::NotOpen)) => self.world.oracle.note("a reconciler was too late"),
                Some(Ok(Reconciled::Foreign)) => {
                    self.world.oracle.expect(false, "a record of ours is taken for foreign")
                }
                Some(Ok(Reconciled::Happened | Reconciled::Refused | Reconciled::Unclear) | Err(_)) | None => {}
            }
        }
    }

    /// Checks that a caller whose error was that nothing ran does not find its own claim still running when it retries.
    /// With more than one fault, or no time left, the claim cannot always be given up.
    fn hold_nothing(&self, outcome: Option<&Result<Outcome<Receipt>, Error>>, tokens: &Tokens) {
        let nothing_ran = matches!(outcome, Some(Err(Error::StoreUnavailable(_) | Error::DeadlineAtHand { .. })));
        if !nothing_ran || self.world.is_large || self.world.network.times() > 0 {
            return;
        }
        self.world.oracle.note("a call ran nothing");
        let held = self.world.table.read(&self.a_call().record_id()).ok().flatten();
        self.world.oracle.expect(held.is_none_or(|held| !tokens.hold(&held)), "a key is blocked by what did not run");
    }

    fn receive(&self, outcome: &Result<Outcome<Receipt>, Error>) {
        let oracle = &self.world.oracle;
        oracle.log(format!("received {outcome:?}"));
        let answered = match outcome {
            Ok(Outcome::Executed(answered) | Outcome::Replayed(answered)) => answered,
            Err(Error::UnreadableAnswer { source, .. }) => return self.miss(source),
            Ok(Outcome::NotExecuted(_) | Outcome::InProgress { .. } | Outcome::Unknown { .. }) => return,
            Ok(Outcome::Mismatch | Outcome::Conflict) | Err(_) => return,
        };
        let answer = (answered.resolution, answered.answer);
        let mut answers = self.answers.lock();
        let first = *answers.entry(answered.transaction).or_insert(answer);
        oracle.expect(first == answer && answers.len() <= self.lives(), "G2: two final answers");
        let applied = oracle.count_applied() >= answers.len();
        oracle.expect(answered.resolution == Resolution::Failed || applied, "what was executed has its effect");
    }

    /// Checks an answer that was found but gone when it was read: its record must have expired, and the answer is never
    /// incomplete in another way.
    fn miss(&self, why: &UnreadableAnswer) {
        let oracle = &self.world.oracle;
        let is_incomplete = matches!(why, UnreadableAnswer::Incomplete);
        oracle.expect(is_incomplete, "G2: an answer was cut, or mixed with another");
        oracle.expect(oracle.count_applied() > 1, "G2: an answer is lost that has not expired");
        oracle.note("an answer expired while it was read");
    }

    fn count(&self) {
        let oracle = &self.world.oracle;
        oracle.expect(oracle.count_applied() <= self.lives(), "G1: transactional effects at most once");
        let answers = self.answers.lock();
        oracle.expect(!answers.is_empty(), "in the end there is an answer");
    }

    /// The maximum number of lives of the key: how often it can have begun again after an expiration.
    fn lives(&self) -> usize {
        if self.world.scenario == Scenario::LongAnswersExpire { 1 + self.world.network.times() } else { 1 }
    }

    fn engine_of_long_answers(&self, process: &Process) -> Engine<DynamoDbStore> {
        let store = DynamoDbStore::new(client(process, &self.items), "Table").with_part_bytes(PART_BYTES);
        sandbox::engine(store, process, &self.world.oracle, &self.world.random)
    }

    fn operation(&self) -> Operation {
        let is_repeatable = self.world.scenario.is_repeatable();
        let operation = sandbox::operation().uncertain(if is_repeatable { REPEAT } else { Uncertain::Reconcile });
        match self.world.scenario {
            Scenario::Waiting => operation.run_within(Duration::from_secs(1)),
            // Answers expire in scenarios in which time passes.
            Scenario::LongAnswersExpire => operation.retention(Duration::from_secs(1800)),
            _ => operation,
        }
    }

    fn a_call(&self) -> Call {
        let call = sandbox::call(self.operation(), "key", &self.world.network);
        match self.world.scenario {
            Scenario::Waiting => call.wait_for_lease(Duration::from_secs(10)),
            _ => call,
        }
    }
}
