//! The effect of a step: on the machine of each call, and on the network, store and provider.

use std::sync::Arc;

use idempotency::protocol::machine::{self, Input, Machine, Proof, Purpose, Ran, Reply, Terms, Wait};
use idempotency::protocol::{
    ClaimRequest, Condition, EpochMs, Fingerprint, LeaseLimit, OwnerToken, Record, Resolution, Response, Settled,
    State, TransactionId, Uncertain, Write,
};

use super::clock::{self, Reading, now};
use super::shared::Shared;
use super::state::{
    Ask, Entry, Guard, Message, Put, SHORT, Waits, World, begins, is_long, owner, transaction, whole_answer,
    without_its_answer,
};
use super::{Action, Ending, Event, Model, Mutant, Promise, Role, WaitsFor};

/// The result of passing an input to a machine.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Came {
    /// The call continues.
    On,
    /// The call ended, and its last write took effect.
    Done,
    /// The call ended in another way.
    Ended,
}

impl Model {
    pub(super) fn step(&self, world: &mut World, action: Action) {
        match action {
            Action::Call(actor, reading) => self.call(world, actor, reading),
            Action::Run(actor, ending) => self.run(world, actor, ending),
            Action::Renew(actor) => {
                self.input(world, actor, Input::Renew, Reading::Early);
            }
            Action::Look(actor) => self.look(world, actor),
            Action::Overlook(actor) => self.leave_unknown(world, actor),
            Action::Prevent(actor) => self.prevent(world, actor),
            Action::Wait(actor, reading) => {
                self.input(world, actor, Input::Elapsed, reading);
                let found = world.record.as_deref().cloned().map(Box::new);
                self.input(world, actor, Input::Read(found), reading);
                if matches!(world.actors[actor].waits, Waits::Reply { .. }) {
                    self.occurs(Event::WaitedAndTookOver);
                }
            }
            Action::LookUp(actor, version, reading) => {
                let found = version.map(|version| Box::new(Record::clone(&world.versions[version])));
                if version.is_none_or(|version| version + 1 < world.versions.len()) {
                    self.occurs(Event::LookedUpOlder);
                }
                self.input(world, actor, Input::Read(found), reading);
                if world.actors[actor].machine.is_none() {
                    self.occurs(Event::LookedUp);
                }
            }
            Action::ReadParts(actor) => self.read_parts(world, actor),
            Action::Deliver { message, reply, again, declined, reading } => {
                let message = if again { world.network[message].clone() } else { world.network.remove(message) };
                world.faults -= u8::from(again || reply != world.is_awaited(&message));
                match &message.ask {
                    Ask::Put(put) => self.deliver_put(world, &message, put, reply, reading),
                    Ask::Charge(id, life) => self.deliver_charge(world, &message, *id, *life, reply, declined),
                }
            }
            Action::Reject(message) => self.reject(world, message),
            Action::GiveUp(actor) => self.give_up(world, actor),
            Action::Crash(actor) => {
                world.faults -= 1;
                world.actors[actor].machine = None;
                world.actors[actor].waits = Waits::Nothing;
                world.actors[actor].remembered = None;
            }
            Action::Forget => {
                let ids = world.provider.iter().map(|(id, _)| *id);
                let current = world.record.as_ref().map(|record| transaction(record.transaction));
                world.forgotten = ids.chain(current).fold(0, |forgotten, id| forgotten | (1 << id));
                // No request or process is that old.
                world.network.clear();
                for actor in &mut world.actors {
                    (actor.machine, actor.waits) = (None, Waits::Nothing);
                }
            }
            Action::Retention => {
                world.era += 1;
                // No request is in transit for that long. A charge at the provider may be.
                world.network.retain(|message| matches!(message.ask, Ask::Charge(..)));
            }
            Action::Sweep => (world.record, world.parts) = (None, None),
        }
    }

    // --- the call of an actor

    fn call(&self, world: &mut World, index: usize, reading: Reading) {
        let actor = &mut world.actors[index];
        (actor.calls, actor.draws, actor.evidence) = (actor.calls + 1, 0, false);
        let wait = match self.settings.waits {
            WaitsFor::Nothing => Wait::No,
            WaitsFor::SomeTime => Wait::Until(clock::wait_until(world.era)),
            WaitsFor::TheLease => Wait::ForLease { by: clock::lease(world.era) },
        };
        let terms = Terms {
            retention: clock::RETENTION,
            start_by: EpochMs(u64::MAX),
            write_by: self.write_by(world, index),
            wait,
        };
        let (request, now) = (self.request(world, index), now(world.era, reading));
        let machine = match self.role(index) {
            Role::Caller if self.settings.callers_reconcile => Machine::resolving_call(request, terms),
            Role::Caller => Machine::call(request, terms),
            Role::SingleWrite => Machine::single_write(request, terms),
            Role::Reconciler | Role::Operator => {
                let Some(found) = world.record.clone() else { return };
                Machine::reconciliation(request, terms, &found, now)
            }
            Role::Holder => Machine::lock(request, terms, now),
        };
        let looks_up = self.settings.looks_up && self.calls(index);
        let machine = if looks_up { machine.looking_up() } else { machine };
        self.proceed(world, index, machine, reading, None);
    }

    /// The latest time for a write without a claim. A call that holds a record or reconciles an open one does not
    /// depend on any expiration.
    fn write_by(&self, world: &World, index: usize) -> EpochMs {
        let depends = self.calls(index) && !self.is(Mutant::CallsOutliveTheRetention);
        if depends { clock::forgotten(world.era) } else { EpochMs(u64::MAX) }
    }

    /// Passes an input to an actor's machine.
    fn input(&self, world: &mut World, index: usize, input: Input, reading: Reading) -> Came {
        let Some(mut machine) = world.actors[index].machine.as_deref().cloned() else { return Came::On };
        let (input, mistaken) = self.as_received(world, index, input, reading);
        machine.handle(input, now(world.era, reading));
        self.proceed(world, index, machine, reading, mistaken)
    }

    /// Performs a machine's actions, up to one that involves the network or the provider.
    fn proceed(
        &self,
        world: &mut World,
        index: usize,
        mut machine: Machine,
        reading: Reading,
        mistaken: Option<Record>,
    ) -> Came {
        let before = std::mem::replace(&mut world.actors[index].waits, Waits::Nothing);
        let mut is_fenced = false;
        loop {
            machine.simplify(clock::simplify);
            for event in machine.take_events() {
                is_fenced |= matches!(event, machine::Event::Fenced(_));
                self.observe(world, &event, &before);
            }
            let input = match machine.poll() {
                machine::Action::Recall(_) => Input::Recalled(self.recalled(world, index)),
                machine::Action::Draw => {
                    world.actors[index].draws += 1;
                    Input::Token(self.token(world, index))
                }
                machine::Action::Write { write, purpose } => {
                    let write = write.clone();
                    return self.send(world, index, machine, (write, purpose), before, mistaken);
                }
                machine::Action::Run(record) => {
                    world.actors[index].evidence = false;
                    if self.role(index) == Role::Holder && begins_a_claim(&before) {
                        self.observe_fence(world, record.attempt);
                    }
                    break;
                }
                machine::Action::Done(end) => {
                    let end = end.clone();
                    world.actors[index].machine = None;
                    return self.observe_end(world, index, &end, is_fenced, &before);
                }
                machine::Action::ReadParts(record, _) => {
                    self.expect_unexpired(world, record, Mutant::TimeToLiveTrusted);
                    world.actors[index].waits = Waits::Parts;
                    break;
                }
                machine::Action::LookUp(_)
                | machine::Action::Wait { .. }
                | machine::Action::Read(_)
                | machine::Action::Resolve(_) => break,
            };
            machine.handle(input, now(world.era, reading));
        }
        world.actors[index].machine = Some(Shared::new(machine));
        Came::On
    }

    fn send(
        &self,
        world: &mut World,
        index: usize,
        machine: Machine,
        (write, purpose): (Write, Purpose),
        before: Waits,
        mistaken: Option<Record>,
    ) -> Came {
        if self.is(Mutant::ReconcilerWithoutClaim) && purpose == Purpose::Claim && self.reconciles(index) {
            let mut machine = machine;
            machine.handle(Input::Written(Reply::Applied), now(world.era, Reading::Early));
            return self.proceed(world, index, machine, Reading::Early, None);
        }
        let effect = purpose.carries_effects() && matches!(write.record.state, State::Success(_));
        let owner = machine.request().owner.0[0];
        let evidence = world.actors[index].evidence;
        let put = Put { write, owner, effect, evidence, guard: Guard::Condition };
        let put = Shared::new(self.as_sent(world, index, &machine, (put, purpose), &before, mistaken));
        if self.is(Mutant::AnswerBeforeCommit)
            && purpose == Purpose::Commit
            && let Some((resolution, answer)) = whole_answer(&put.write.record)
        {
            self.observe_answer(world, clock::life(&put.write.record), resolution, answer);
        }
        let earlier = match before {
            Waits::Reply { put, applied, .. } if purpose == Purpose::Abandon => Some((put, applied)),
            Waits::Reply { .. } | Waits::Nothing | Waits::Charge | Waits::Parts => None,
        };
        let ask = Ask::Put(put.clone());
        world.send(Message { actor: index as u8, call: world.actors[index].calls, ask });
        world.actors[index].waits = Waits::Reply { put, applied: false, earlier };
        world.actors[index].machine = Some(Shared::new(machine));
        Came::On
    }

    fn recalled(&self, world: &World, index: usize) -> Option<Arc<Record>> {
        let mut record = Record::clone(world.actors[index].remembered.as_deref()?);
        if self.is(Mutant::RememberedForAnotherRequest) {
            record.fingerprint = fingerprint(self.settings.players[index].body);
        }
        if self.is(Mutant::RememberedForEver) {
            clock::extend(&mut record);
        }
        Some(Arc::new(record))
    }

    fn run(&self, world: &mut World, index: usize, ending: Ending) {
        let answer = number(index, world.actors[index].calls);
        match ending {
            Ending::Charges => {
                let Some(record) = held(world, index) else { return };
                let ask = Ask::Charge(transaction(record.transaction), clock::life(&record) as u8);
                world.send(Message { actor: index as u8, call: world.actors[index].calls, ask });
                world.actors[index].waits = Waits::Charge;
            }
            Ending::Success => self.settle(world, index, Resolution::Success, answer),
            Ending::Failed => self.settle(world, index, Resolution::Failed, answer),
            Ending::NotExecuted => self.ran(world, index, Ran::NotExecuted),
            Ending::NotBegun => self.ran(world, index, Ran::NotBegun),
            Ending::Unknown => self.unknown(world, index),
        }
    }

    fn settle(&self, world: &mut World, index: usize, resolution: Resolution, answer: u8) {
        self.ran(world, index, Ran::Settled(resolution, settled(world.era, answer)));
    }

    fn ran(&self, world: &mut World, index: usize, ran: Ran) {
        self.input(world, index, Input::Ran(ran), Reading::Early);
    }

    /// Handles a missing reply of the provider.
    fn unknown(&self, world: &mut World, index: usize) {
        if self.is(Mutant::TimeoutStoredAsFailed) {
            self.settle(world, index, Resolution::Failed, number(index, world.actors[index].calls));
        } else if self.is(Mutant::TimeoutReleased) {
            self.ran(world, index, Ran::NotExecuted);
        } else if self.is(Mutant::LateFailureDeletesTheRecord) {
            (world.record, world.actors[index].machine) = (None, None);
            world.actors[index].waits = Waits::Nothing;
        } else {
            self.ran(world, index, Ran::Unknown);
        }
    }

    fn read_parts(&self, world: &mut World, index: usize) {
        let Some(machine::Action::ReadParts(record, _)) = world.actors[index].machine.as_deref().map(Machine::poll)
        else {
            return;
        };
        let own = |(written_with, _): &(TransactionId, u8)| {
            *written_with == record.transaction || self.is(Mutant::PartsOfAnotherRecord)
        };
        let parts = world.parts.filter(own).map(|(_, answer)| vec![answer]);
        if parts.is_none() {
            self.occurs(Event::AnswerGone);
        }
        self.input(world, index, Input::Parts(parts), Reading::Early);
    }

    /// Stops waiting for a reply.
    fn give_up(&self, world: &mut World, index: usize) {
        let actor = &world.actors[index];
        world.faults -= u8::from(world.network.iter().any(|message| world.is_awaited_by(message, index)));
        let reply = match (&actor.waits, actor.machine.as_deref().map(Machine::poll)) {
            (Waits::Charge, _) => return self.unknown(world, index),
            (_, Some(machine::Action::Write { purpose: Purpose::Commit, .. }))
                if self.is(Mutant::LostCommitTakenAsDone) =>
            {
                Reply::Applied
            }
            _ => Reply::Lost,
        };
        self.input(world, index, Input::Written(reply), Reading::Early);
    }

    // --- the resolver

    /// Looks for an entry at the provider: an entry is evidence, a missing entry is not.
    fn look(&self, world: &mut World, index: usize) {
        let Some(record) = held(world, index) else { return };
        let id = transaction(record.transaction);
        if !self.settings.has_external_effects() {
            // All effects are transactional: holding the record fences every earlier commit.
            return self.prevented(world, index);
        }
        match world.entry(id) {
            Some(Entry::Charged) if self.is(Mutant::HappenedTakenAsRefused) => {
                self.prove(world, index, Resolution::Failed, id);
            }
            Some(Entry::Charged) => {
                self.occurs(Event::Happened);
                self.prove(world, index, Resolution::Success, id);
            }
            Some(Entry::Declined) => {
                self.occurs(Event::Refused);
                self.prove(world, index, Resolution::Failed, id);
            }
            Some(Entry::Tombstone) => self.prevented(world, index),
            None if self.is(Mutant::NotFoundTakenAsFailed) => self.prove(world, index, Resolution::Failed, id),
            None if self.is(Mutant::NotFoundTakenAsHappened) => self.prove(world, index, Resolution::Success, id),
            None if self.is(Mutant::NotFoundTakenAsPrevented) => self.prevented(world, index),
            None => self.leave_unknown(world, index),
        }
    }

    /// Creates a tombstone if a resolver found nothing. It is evidence as long as the provider remembers whether the id
    /// was used.
    fn prevent(&self, world: &mut World, index: usize) {
        let Some(record) = held(world, index) else { return };
        let id = transaction(record.transaction);
        if !self.settings.has_external_effects() {
            return self.look(world, index);
        }
        if world.has_forgotten(id) && !self.is(Mutant::TombstoneBeyondTheMemory) {
            self.occurs(Event::BeyondTheMemory);
            return self.leave_unknown(world, index);
        }
        match world.entry(id) {
            None => {
                world.remember(id, Entry::Tombstone);
                self.prevented(world, index);
            }
            Some(Entry::Tombstone) => self.prevented(world, index),
            // The provider behaves as if the id had never been used.
            Some(Entry::Charged | Entry::Declined) if world.has_forgotten(id) => self.prevented(world, index),
            Some(Entry::Charged | Entry::Declined) => self.leave_unknown(world, index),
        }
    }

    fn prove(&self, world: &mut World, index: usize, resolution: Resolution, answer: u8) {
        self.resolve(world, index, Proof::Settled(resolution, settled(world.era, answer)));
    }

    fn prevented(&self, world: &mut World, index: usize) {
        let Some(record) = held(world, index) else { return };
        let fresh = transaction_id(number(index, world.actors[index].calls) * 2 + 1);
        let same = self.is(Mutant::RestartUnderTheSameTransaction);
        self.resolve(world, index, Proof::Prevented(if same { record.transaction } else { fresh }));
    }

    fn leave_unknown(&self, world: &mut World, index: usize) {
        self.occurs(Event::LeftUnknown);
        self.resolve(world, index, Proof::Unclear);
    }

    fn resolve(&self, world: &mut World, index: usize, proof: Proof) {
        world.actors[index].evidence = proof != Proof::Unclear;
        self.input(world, index, Input::Evidence(proof), Reading::Early);
    }

    // --- the store and the provider

    fn deliver_put(&self, world: &mut World, message: &Message, put: &Shared<Put>, reply: bool, reading: Reading) {
        let (found, index) = (world.record.clone(), usize::from(message.actor));
        if self.is(Mutant::EffectsBesideTheRecord) && put.effect {
            world.counts.effects[clock::life(&put.write.record)] += 1;
        }
        let holds = holds(put, found.as_deref());
        if holds {
            self.apply(world, index, put);
        } else if found.as_deref().and_then(owner) != Some(put.owner) {
            self.occurs(Event::LateWriteRefused);
        }
        let actor = &mut world.actors[index];
        let Waits::Reply { put: awaited, applied, earlier } = &mut actor.waits else { return };
        if actor.calls != message.call {
            return;
        }
        if let Some((_, applied)) = earlier.as_mut().filter(|(earlier, _)| earlier == put) {
            *applied |= holds;
        }
        if awaited != put {
            return;
        }
        *applied |= holds;
        if !reply {
            return;
        }
        let (applied, earlier) = (*applied, earlier.clone());
        let is_stored = |put: &Put| found.as_deref().is_some_and(|found| *found == self.stored(&put.write.record));
        let stored = is_stored(put);
        let answer = match found.as_deref() {
            _ if holds => Reply::Applied,
            Some(found) if self.made(&put.write, found) => {
                self.occurs(Event::Recognised);
                self.breaks_if(world, !applied && !stored, Promise::ForeignWritesAreNotTakenForOwn);
                Reply::Recognised
            }
            found => {
                self.breaks_if(world, applied && stored, Promise::OwnWritesAreRecognised);
                Reply::Refused(found.cloned().map(Box::new))
            }
        };
        let is_refused = matches!(answer, Reply::Refused(_));
        let came = self.input(world, index, Input::Written(answer), reading);
        if let (true, Some((earlier, applied))) = (is_refused, earlier) {
            let stored = is_stored(&earlier);
            match came {
                Came::Done => {
                    self.occurs(Event::FoundOut);
                    self.breaks_if(world, !applied && !stored, Promise::ForeignWritesAreNotTakenForOwn);
                }
                Came::On | Came::Ended => self.breaks_if(world, applied && stored, Promise::OwnWritesAreRecognised),
            }
        }
    }

    fn reject(&self, world: &mut World, message: usize) {
        world.faults -= 1;
        let message = world.network.remove(message);
        let Ask::Put(put) = &message.ask else { return };
        let Some((_, answer)) = whole_answer(&put.write.record) else { return };
        self.occurs(Event::AnswerShortened);
        self.input(world, usize::from(message.actor), Input::Rejected(vec![answer | SHORT]), Reading::Early);
    }

    /// The record in the form in which this model's store keeps it.
    pub(super) fn stored(&self, record: &Record) -> Record {
        match self.settings.long_answers && is_long(record) {
            true => without_its_answer(record),
            false => record.clone(),
        }
    }

    pub(super) fn store(&self, world: &mut World, record: &Record) {
        if self.settings.long_answers
            && is_long(record)
            && let Some((_, answer)) = whole_answer(record)
        {
            world.parts = Some((record.transaction, answer));
        }
        let stored = Shared::new(self.stored(record));
        if self.settings.looks_up {
            world.versions.push(stored.clone());
        }
        world.record = Some(stored);
    }

    fn deliver_charge(&self, world: &mut World, message: &Message, id: u8, life: u8, reply: bool, declined: bool) {
        let entry = match world.entry(id) {
            Some(Entry::Tombstone) => {
                self.occurs(Event::LateChargeRefused);
                Entry::Tombstone
            }
            Some(entry) => {
                self.occurs(Event::ChargeDeduplicated);
                entry
            }
            None if declined => Entry::Declined,
            None => {
                world.counts.charges[usize::from(life)] += 1;
                Entry::Charged
            }
        };
        if world.entry(id).is_none() {
            world.remember(id, entry);
        }
        let index = usize::from(message.actor);
        if !reply || world.actors[index].waits != Waits::Charge {
            return;
        }
        match entry {
            Entry::Charged => self.settle(world, index, Resolution::Success, id),
            Entry::Declined => self.settle(world, index, Resolution::Failed, id),
            Entry::Tombstone => self.ran(world, index, Ran::Unknown),
        }
    }

    // --- requests

    pub(super) fn role(&self, index: usize) -> Role {
        self.settings.players[index].role
    }

    fn calls(&self, index: usize) -> bool {
        matches!(self.role(index), Role::Caller | Role::SingleWrite)
    }

    pub(super) fn reconciles(&self, index: usize) -> bool {
        matches!(self.role(index), Role::Reconciler | Role::Operator)
    }

    /// The fingerprint of an actor's call; a reconciliation uses the recorded one.
    pub(super) fn asks(&self, index: usize, found: Option<&Record>) -> Fingerprint {
        match (self.reconciles(index), found) {
            (true, Some(found)) => found.fingerprint,
            (true, None) | (false, _) => fingerprint(self.settings.players[index].body),
        }
    }

    fn request(&self, world: &World, index: usize) -> ClaimRequest {
        let repeats = self.settings.repeatable && !self.reconciles(index);
        let repeat = Uncertain::Repeat { within: std::time::Duration::MAX };
        ClaimRequest {
            id: super::ID.clone(),
            operation: "".into(),
            principal: None,
            subject: None,
            invocation: None,
            trace: None,
            fingerprint: self.asks(index, world.record.as_deref()),
            owner: self.token(world, index),
            transaction: transaction_id(number(index, world.actors[index].calls) * 2),
            lease: LeaseLimit { at_most: clock::LEASE, by: clock::lease(world.era) },
            uncertain: if repeats { repeat } else { Uncertain::Reconcile },
        }
    }

    /// A different token for each claim.
    fn token(&self, world: &World, index: usize) -> OwnerToken {
        let (calls, draws) = match self.is(Mutant::OwnerTokenReused) {
            true => (1, 0),
            false => (world.actors[index].calls, world.actors[index].draws),
        };
        OwnerToken([number(index, calls) * 8 + draws; 16])
    }
}

/// The global number of a call, from 1.
fn number(index: usize, call: u8) -> u8 {
    index as u8 * 4 + call
}

fn fingerprint(body: u8) -> Fingerprint {
    Fingerprint::from_bytes([body; Fingerprint::BYTES])
}

fn transaction_id(number: u8) -> TransactionId {
    TransactionId::from_bytes([number; 16])
}

fn settled(era: u8, answer: u8) -> Settled {
    let expiration = now(era, Reading::Early).seconds().plus(clock::RETENTION);
    Settled { response: Response::Whole(vec![answer]), expiration }
}

fn held(world: &World, index: usize) -> Option<Record> {
    match world.actors[index].machine.as_deref()?.poll() {
        machine::Action::Run(record) | machine::Action::Resolve(record) => Some(record.clone()),
        _ => None,
    }
}

fn begins_a_claim(before: &Waits) -> bool {
    match before {
        Waits::Reply { put, .. } => begins(&put.write),
        Waits::Nothing | Waits::Charge | Waits::Parts => false,
    }
}

pub(super) fn holds(put: &Put, found: Option<&Record>) -> bool {
    match put.guard {
        Guard::Condition => put.write.condition.holds(found),
        Guard::None => true,
        Guard::Status => found.is_some_and(|found| match (&found.state, &put.write.condition) {
            (State::Processing(_) | State::Unknown(_), Condition::Unchanged(seen)) => {
                seen.status == found.state.status()
            }
            _ => false,
        }),
    }
}

impl World {
    /// Whether an actor waits for the reply to a message.
    pub(super) fn is_awaited(&self, message: &Message) -> bool {
        self.is_awaited_by(message, usize::from(message.actor))
    }

    pub(super) fn is_awaited_by(&self, message: &Message, index: usize) -> bool {
        let actor = &self.actors[index];
        (usize::from(message.actor), message.call) == (index, actor.calls)
            && match (&actor.waits, &message.ask) {
                (Waits::Reply { put: awaited, .. }, Ask::Put(put)) => awaited == put,
                (Waits::Charge, Ask::Charge(id, _)) => {
                    held(self, index).is_some_and(|held| transaction(held.transaction) == *id)
                }
                (Waits::Reply { .. }, Ask::Charge(..)) | (Waits::Charge | Waits::Parts | Waits::Nothing, _) => false,
            }
    }
}
