//! Clients that call once and never retry, the stream of the records' table, and the function that follows up their
//! open claims: with sandboxes that die, batches that are cut anywhere, a shard that is redelivered, and follow-ups
//! that are lost, delivered twice or late.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use aws_sdk_dynamodb::types::TransactWriteItem;
use futures::future::{BoxFuture, FutureExt};
use idempotency::engine::Clock;
use idempotency::follow_up::{FollowUpEvent, FollowUpResponse, FollowUps, Sender, change};
use idempotency::protocol::{EpochMs, FollowUp, Record, Status, TransactionId};
use idempotency::reconcile::{Evidence, Operations, Reconciled, Resolver};
use idempotency::store::BoxError;
use idempotency::{Attempt, Call, Verdict};
use parking_lot::{Mutex, MutexGuard};

use super::network::{Kind, Process};
use super::receipt::Receipt;
use super::table::effect;
use super::{Breakage, Scenario, World, sandbox};
use crate::fault::{Fault, Reply};

struct GivenUp<'a> {
    world: &'a World,
    bank: Bank,
    scheduler: Scheduler,
    /// The place in the stream before which everything is done.
    checkpoint: Mutex<usize>,
}

/// An event of the follow-up function.
enum Delivery {
    /// The versions from one place of the stream up to before another.
    Batch { first: usize, end: usize },
    /// The schedule with this number.
    Schedule(usize),
}

/// The time limit of a follow-up invocation: more than its reserve.
const TIME: Duration = Duration::from_secs(60);

/// The prefix of the effects' names.
const PAID: &str = "paid";

pub(super) async fn run(world: &World) {
    let (bank, scheduler) = (Bank::default(), Scheduler::default());
    let given_up = GivenUp { world, bank, scheduler, checkpoint: Mutex::new(0) };
    let mut players: Vec<BoxFuture<'_, ()>> = Vec::new();
    players.extend((0..given_up.clients()).map(|number| given_up.client(number).boxed()));
    players.extend((0..2).map(|_| given_up.follower(world.size(1, 8)).boxed()));
    world.network.run(players).await;
    world.network.stop_faults();
    given_up.check();
    given_up.come_to_rest().await;
    given_up.count();
}

impl GivenUp<'_> {
    const fn clients(&self) -> u64 {
        self.world.size(1, 4)
    }

    /// A client that calls once, whatever the answer.
    async fn client(&self, number: u64) {
        let process = self.world.begin().await;
        let engine = self.world.engine(&process);
        let call = self.call(number);
        let outcome = process.live(engine.run(&call, |attempt| self.pay(&process, number, attempt))).await;
        self.world.oracle.log(format!("{number} received {outcome:?}"));
        if outcome.is_none() {
            self.world.oracle.note("a process died");
        }
    }

    async fn pay(&self, process: &Process, number: u64, attempt: Attempt<TransactWriteItem>) -> Verdict<Receipt> {
        let receipt = Receipt { number, is_long: false };
        match self.bank.charge(process, attempt.transaction(), number).await {
            Reply::Answer(true) => {
                attempt.add_effect(effect(&format!("{PAID} {number}")));
                Verdict::Success(receipt)
            }
            Reply::Answer(false) | Reply::Silence => Verdict::Unknown("no charge, or no answer".into()),
            Reply::Refused => Verdict::NotExecuted(receipt),
        }
    }

    async fn follower(&self, rounds: usize) {
        for _ in 0..rounds {
            let process = self.world.network.process();
            process.turn().await;
            let Some(delivery) = self.receive() else { continue };
            let handled = process.live(self.handle(&process, &delivery)).await;
            self.settle(&delivery, handled);
            self.check();
        }
    }

    /// The next delivery: a batch of the stream, or a schedule.
    fn receive(&self) -> Option<Delivery> {
        let network = &self.world.network;
        let (mut first, end) = (*self.checkpoint.lock(), self.world.table.versions().len());
        if first > 0 && network.occurs(Fault::Redeliver) {
            self.world.oracle.note("a shard was delivered again");
            first = network.choices(|choices| choices.pick(first));
        }
        let waiting = self.scheduler.waiting(self.earliest());
        let batches = usize::from(first < end);
        let count = batches + waiting.len();
        let taken = (count > 0).then(|| network.choices(|choices| choices.pick(count)))?;
        match taken.checked_sub(batches) {
            None => {
                // If all orders are run, a batch has all changes so far.
                let left = self.world.size(1, end - first);
                let end = end - network.choices(|choices| choices.pick(left));
                Some(Delivery::Batch { first, end })
            }
            Some(place) => self.invoked(waiting[place]),
        }
    }

    /// The end of the time in which schedules are delivered. In random orders they may come early, because a clock was
    /// ahead.
    fn earliest(&self) -> EpochMs {
        let is_ahead = self.world.is_large && self.world.network.occurs(Fault::Late);
        if is_ahead || self.time_passes_by_itself() { EpochMs(u64::MAX) } else { self.world.network.now() }
    }

    /// Whether time passes only because the next schedule is awaited, which leaves fewer orders if all are run.
    fn time_passes_by_itself(&self) -> bool {
        !self.world.is_large && self.world.scenario == Scenario::GivenUp
    }

    /// The invocation of a schedule, which may be lost or repeated later.
    fn invoked(&self, schedule: usize) -> Option<Delivery> {
        if self.time_passes_by_itself() {
            self.world.network.pass_time();
        }
        if self.world.network.occurs(Fault::LoseRequest) {
            self.world.oracle.note("a follow-up was lost");
            self.scheduler.end(schedule, State::Lost);
            return None;
        }
        if self.world.network.occurs(Fault::Duplicate) {
            self.world.oracle.note("a follow-up came twice");
            self.scheduler.double(schedule);
        }
        Some(Delivery::Schedule(schedule))
    }

    /// The checkpoint after a batch. `Err` if Lambda delivers the event again.
    async fn handle(&self, process: &Process, delivery: &Delivery) -> Result<Option<usize>, ()> {
        let event = match delivery {
            Delivery::Batch { first, end } => FollowUpEvent::Changes(self.changes(*first, *end)),
            Delivery::Schedule(schedule) => FollowUpEvent::FollowUps(self.scheduler.follow_ups(*schedule)),
        };
        let sender = Schedules { process, scheduler: &self.scheduler, breakage: self.world.breakage };
        let follow_ups = FollowUps::new(self.world.engine(process), self.operations(), sender);
        let resolver = Cancel { process, bank: &self.bank };
        let handled = follow_ups.handle(event, self.world.network.now().plus(TIME), None, &resolver).await;
        self.world.oracle.log(format!("followed up: {handled:?}"));
        match handled {
            Ok(FollowUpResponse::Changes(response)) => {
                let failed = response.batch_item_failures.first().and_then(|failure| failure.item_identifier.clone());
                Ok(failed.map(|number| number.parse().expect("a number of ours")))
            }
            Ok(FollowUpResponse::FollowUps(_)) => Ok(None),
            Err(_) => Err(()),
        }
    }

    /// The changes that pass the mapping's filter.
    fn changes(&self, first: usize, end: usize) -> Vec<serde_json::Value> {
        let versions = self.world.table.versions();
        let is_new = |place: usize| versions[..place].iter().all(|earlier| earlier.id != versions[place].id);
        let passes = |place: &usize| !(self.world.is(Breakage::ClaimsFilteredOut) && is_new(*place));
        (first..end).filter(passes).map(|place| change(place as u64, &versions[place])).collect()
    }

    fn settle(&self, delivery: &Delivery, handled: Option<Result<Option<usize>, ()>>) {
        match (delivery, handled) {
            (_, None) => self.world.oracle.note("a process died"),
            (_, Some(Err(()))) => self.world.oracle.note("a follow-up failed and comes again"),
            (Delivery::Schedule(schedule), Some(Ok(_))) => self.scheduler.end(*schedule, State::Done),
            (Delivery::Batch { end, .. }, Some(Ok(failed))) => {
                let done = match failed {
                    Some(_) if self.world.is(Breakage::ResponseAlwaysEmpty) => *end,
                    Some(failed) if self.world.is(Breakage::CheckpointPastTheFailed) => failed + 1,
                    Some(failed) => failed,
                    None => *end,
                };
                let mut checkpoint = self.checkpoint.lock();
                *checkpoint = done.max(*checkpoint);
            }
        }
    }

    /// Checks that each claim is settled, on its way through the stream, or followed up. A claim whose follow-up was
    /// lost must be listed as UNKNOWN or found by the scan.
    fn check(&self) {
        for record in self.open() {
            let is_left = !self.is_in_the_stream(&record) && !self.scheduler.has(&record, State::Waiting);
            let is_lost = self.scheduler.has(&record, State::Lost);
            self.world.oracle.expect(!is_left || is_lost, "a claim is neither settled nor followed up nor lost");
            if is_left && record.state.status() == Status::Unknown {
                self.world.oracle.note("a lost follow-up is listed as UNKNOWN");
            }
        }
    }

    fn is_in_the_stream(&self, record: &Record) -> bool {
        let undelivered = *self.checkpoint.lock();
        self.world.table.versions().iter().skip(undelivered).any(|version| version == record)
    }

    /// The records that are not settled.
    fn open(&self) -> Vec<Record> {
        let records = (0..self.clients()).filter_map(|number| self.record(number));
        records.filter(|record| FollowUp::of(record).is_some()).collect()
    }

    fn record(&self, number: u64) -> Option<Record> {
        self.world.table.read(&self.call(number).record_id()).expect("in memory")
    }

    /// Lets time pass and everything arrive: follow-ups settle all claims except the lost ones, and the backstop
    /// settles those.
    async fn come_to_rest(&self) {
        for _ in 0..20 {
            self.world.network.pass_time();
            while *self.checkpoint.lock() < self.world.table.versions().len()
                || !self.scheduler.waiting(self.world.network.now()).is_empty()
            {
                self.world.network.run(vec![self.follower(1).boxed()]).await;
                if self.world.network.is_endless() {
                    return;
                }
            }
        }
        for record in self.open() {
            self.world.oracle.expect(self.scheduler.has(&record, State::Lost), "a follow-up settles each open claim");
            self.world.network.run(vec![self.find(&record).boxed()]).await;
        }
    }

    /// The reconciler's backstop finds a record in the index or by the scan.
    async fn find(&self, record: &Record) {
        let process = self.world.network.process();
        let (engine, operations) = (self.world.engine(&process), self.operations());
        let by = self.world.network.now().plus(TIME);
        let resolver = Cancel { process: &process, bank: &self.bank };
        match engine.reconcile(record, &operations, by, None, &resolver).await {
            Ok(Reconciled::Happened | Reconciled::Prevented) => self.world.oracle.note("the backstop settled a claim"),
            other => self.world.oracle.expect(false, &format!("the backstop does not settle: {other:?}")),
        }
    }

    fn count(&self) {
        let oracle = &self.world.oracle;
        oracle.expect(self.open().is_empty(), "in the end each claim is settled or released");
        let (posted, charged) = (oracle.numbers(PAID), self.bank.charged());
        for number in 0..self.clients() {
            let [posted, charged] = [&posted, &charged].map(|all| all.iter().filter(|one| **one == number).count());
            oracle.expect(charged <= 1, "G8: charged twice");
            oracle.expect(posted == charged, "G1: each charge is posted once, and nothing else is");
        }
    }

    fn operations(&self) -> Operations {
        Operations::new().with(sandbox::operation(), |_| true)
    }

    fn call(&self, number: u64) -> Call {
        sandbox::call(sandbox::operation(), &number.to_string(), &self.world.network)
    }
}

/// The external system, which deduplicates by the transaction id. A clone is another handle.
#[derive(Clone, Default)]
struct Bank(Arc<Mutex<BTreeMap<TransactionId, Entry>>>);

#[derive(Clone, Copy, PartialEq, Eq)]
enum Entry {
    /// Charged, for the call with this number.
    Charged(u64),
    /// A later charge is refused.
    Cancelled,
}

impl Bank {
    /// Whether it is charged.
    async fn charge(&self, process: &Process, transaction: TransactionId, number: u64) -> Reply<bool> {
        let bank = self.clone();
        let charge = move || matches!(bank.entry(transaction, Entry::Charged(number)), Entry::Charged(_));
        process.send(Kind::Write, charge).await
    }

    /// Whether it was charged; if not, a later charge is prevented.
    async fn cancel(&self, process: &Process, transaction: TransactionId) -> Reply<Option<u64>> {
        let bank = self.clone();
        let cancel = move || match bank.entry(transaction, Entry::Cancelled) {
            Entry::Charged(number) => Some(number),
            Entry::Cancelled => None,
        };
        process.send(Kind::Write, cancel).await
    }

    /// The first entry under a transaction id stays.
    fn entry(&self, transaction: TransactionId, entry: Entry) -> Entry {
        *self.0.lock().entry(transaction).or_insert(entry)
    }

    fn charged(&self) -> Vec<u64> {
        let entries = self.0.lock();
        let charged = entries.values().filter_map(|entry| match entry {
            Entry::Charged(number) => Some(*number),
            Entry::Cancelled => None,
        });
        charged.collect()
    }
}

/// A resolver that cancels the charge at the bank, unless the bank has charged.
struct Cancel<'a> {
    process: &'a Process,
    bank: &'a Bank,
}

impl Resolver<TransactWriteItem, Receipt> for Cancel<'_> {
    async fn resolve(&self, record: &Record, attempt: Attempt<TransactWriteItem>) -> Evidence<Receipt> {
        match self.bank.cancel(self.process, record.transaction).await {
            Reply::Answer(Some(number)) => {
                attempt.add_effect(effect(&format!("{PAID} {number}")));
                Evidence::Happened(Receipt { number, is_long: false })
            }
            Reply::Answer(None) => Evidence::Prevented,
            Reply::Refused | Reply::Silence => Evidence::Unclear("no answer".into()),
        }
    }
}

/// The service for one-time schedules. A clone is another handle.
#[derive(Clone, Default)]
struct Scheduler(Arc<Mutex<Vec<Schedule>>>);

struct Schedule {
    follow_ups: Vec<FollowUp>,
    state: State,
    /// How many more times it is delivered.
    times: usize,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    Waiting,
    Done,
    /// It was not delivered, which an alarm reports.
    Lost,
}

impl Scheduler {
    /// Creates a schedule; equal follow-ups share one.
    fn create(&self, follow_ups: &[FollowUp]) {
        let mut schedules = self.schedules();
        let is_own = |other: &Schedule| other.state == State::Waiting && other.follow_ups == follow_ups;
        if !schedules.iter().any(is_own) {
            schedules.push(Schedule { follow_ups: follow_ups.to_vec(), state: State::Waiting, times: 1 });
        }
    }

    /// The schedules whose follow-ups are due by this time.
    fn waiting(&self, by: EpochMs) -> Vec<usize> {
        let schedules = self.schedules();
        let is_due = |schedule: &Schedule| schedule.follow_ups.iter().all(|follow_up| follow_up.due <= by);
        let waiting =
            schedules.iter().enumerate().filter(|(_, schedule)| schedule.state == State::Waiting && is_due(schedule));
        waiting.map(|(place, _)| place).collect()
    }

    fn follow_ups(&self, schedule: usize) -> Vec<FollowUp> {
        self.schedules()[schedule].follow_ups.clone()
    }

    fn double(&self, schedule: usize) {
        self.schedules()[schedule].times += 1;
    }

    fn end(&self, schedule: usize, state: State) {
        let schedule = &mut self.schedules()[schedule];
        schedule.times = schedule.times.saturating_sub(1);
        if schedule.times == 0 && schedule.state == State::Waiting {
            schedule.state = state;
        }
    }

    /// Whether there is a follow-up of this version in this state.
    fn has(&self, record: &Record, state: State) -> bool {
        let version = FollowUp::of(record).map(|current| current.version);
        let is_of = |other: &FollowUp| other.record == record.id && version.as_ref() == Some(&other.version);
        self.schedules().iter().any(|schedule| schedule.state == state && schedule.follow_ups.iter().any(is_of))
    }

    fn schedules(&self) -> MutexGuard<'_, Vec<Schedule>> {
        self.0.lock()
    }
}

/// The scheduler, as a process reaches it.
struct Schedules<'a> {
    process: &'a Process,
    scheduler: &'a Scheduler,
    breakage: Option<Breakage>,
}

impl Sender for Schedules<'_> {
    async fn send(&self, follow_ups: &[FollowUp]) -> Result<(), BoxError> {
        let mut sent = follow_ups.to_vec();
        if self.breakage == Some(Breakage::FollowUpsDropped) {
            sent.truncate(sent.len() - 1);
        }
        let scheduler = self.scheduler.clone();
        match self.process.send(Kind::Write, move || scheduler.create(&sent)).await {
            Reply::Answer(()) => Ok(()),
            Reply::Refused | Reply::Silence if self.breakage == Some(Breakage::SilenceTakenForDone) => Ok(()),
            Reply::Refused | Reply::Silence => Err("no answer".into()),
        }
    }
}
