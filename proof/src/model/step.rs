//! What happens in a step: the engine's control flow around the real protocol, and the judge beside it.

use idempotency::protocol::{
    self, ClaimRequest, Decision, EpochMs, Holder, OwnerToken, Resolution, TransactionId, Uncertain, decide,
};

use super::item::{self, Guard, Item, Put, Reading, Standing};
use super::state::{Ask, Claim, Entry, Message, Purpose, Stage, Wait, World};
use super::{Action, Event, Model, Mutant, Promise, Ran, Role};

/// What the store answers, as `store::Written`.
enum Written {
    Applied,
    Recognised,
    Refused(Option<Item>),
}

/// One call of one actor.
#[derive(Clone, Copy)]
struct Who {
    actor: usize,
    call: u8,
}

impl Who {
    /// A number of its own, from 1.
    fn number(self) -> u8 {
        self.actor as u8 * 4 + self.call
    }
}

impl Model {
    pub(super) fn step(&self, world: &mut World, action: Action) {
        match action {
            Action::Call(actor) => {
                world.actors[actor].calls += 1;
                let found = match self.settings.players[actor].role {
                    Role::Caller | Role::SingleWrite => None,
                    Role::Reconciler | Role::Operator => world.record,
                };
                world.actors[actor].stage = Stage::Looking(found);
            }
            Action::Decide { actor, late } => self.decide(world, who(world, actor), late),
            Action::Run(actor, ran) => self.run(world, who(world, actor), ran),
            Action::Look(actor) => self.look(world, who(world, actor)),
            Action::Overlook(actor) => self.left_unknown(world, who(world, actor)),
            Action::Prevent(actor) => self.prevent(world, who(world, actor)),
            Action::Forget => {
                let ids = world.provider.iter().map(|(id, _)| *id).chain(world.record.map(|record| record.transaction));
                world.forgotten = ids.fold(0, |forgotten, id| forgotten | (1 << id));
                // Neither a request nor a process is as old as that.
                world.network.clear();
                world.actors.iter_mut().for_each(|actor| actor.stage = Stage::Idle);
            }
            Action::Deliver { message, reply, again, declined } => {
                let message = if again { world.network[message].clone() } else { world.network.remove(message) };
                let waited = reply || !self.waits(world, &message);
                world.faults -= u8::from(again || !waited);
                match message.ask {
                    Ask::Put(put) => self.deliver_put(world, who_sent(&message), put, reply),
                    Ask::Charge(id, life) => self.deliver_charge(world, who_sent(&message), id, life, reply, declined),
                }
            }
            Action::GiveUp(actor) => self.give_up(world, who(world, actor)),
            Action::Crash(actor) => {
                world.faults -= 1;
                world.actors[actor].stage = Stage::Idle;
            }
            Action::Retention => {
                world.era += 1;
                // No request is on its way for that long. A charge at the other side might be.
                world.network.retain(|message| matches!(message.ask, Ask::Charge(..)));
            }
            Action::Sweep => world.record = None,
        }
    }

    fn waits(&self, world: &World, message: &Message) -> bool {
        let actor = &world.actors[usize::from(message.actor)];
        actor.calls == message.call
            && match (&actor.stage, &message.ask) {
                (Stage::Waiting(wait), Ask::Put(put)) => wait.put == *put,
                (Stage::Charging(claim), Ask::Charge(id, _)) => claim.item.transaction == *id,
                _ => false,
            }
    }

    // --- what the engine does

    /// The engine's `take` and `run_single_write`, from a look at the record to the next write.
    fn decide(&self, world: &mut World, who: Who, late: bool) {
        let Stage::Looking(found) = world.actors[who.actor].stage.clone() else { return };
        let role = self.settings.players[who.actor].role;
        let reading = Reading { era: world.era, late };
        let request = self.request(world, who, found.as_ref());
        if let Some(begin) = self.mistaken_for_vacant(&request, found, reading) {
            return self.begin(world, who, begin);
        }
        let seen = found.map(|found| self.as_seen(found, reading)).map(|found| found.record());
        match decide(seen.as_ref(), &self.as_asked(&request, found.as_ref()), reading.now()) {
            Decision::Begin(_) if matches!(role, Role::Reconciler | Role::Operator) => self.idle(world, who),
            Decision::Begin(write) => {
                let takeover = write.follows_uncertain();
                self.begin(world, who, self.begun(Put::of(&write), &request, found.filter(|_| takeover)));
            }
            Decision::Acquired(record) => {
                let claim = Claim { item: Item::of(record), follows_uncertain: record.attempt > 1 };
                self.claimed(world, who, claim);
            }
            Decision::Reconcile(takeover) => self.take_over(world, who, takeover, found),
            Decision::Replay(_, resolution, settled) => {
                if let Some(found) = found {
                    self.occurs(Event::Replayed);
                    self.replay(world, who, &found, resolution, item::answer(settled));
                }
                self.idle(world, who);
            }
            Decision::Mismatch => {
                self.occurs(Event::Mismatch);
                if self.is(Mutant::MismatchDeletesTheRecord) {
                    world.record = None;
                }
                self.idle(world, who);
            }
            Decision::InProgress(_) => {
                self.occurs(Event::InProgress);
                if self.is(Mutant::DuplicateDeletesTheRecord) {
                    world.record = None;
                }
                self.idle(world, who);
            }
        }
    }

    fn begin(&self, world: &mut World, who: Who, put: Put) {
        match self.settings.players[who.actor].role {
            Role::SingleWrite => {
                let settled = item::settled(who.number(), world.era);
                let item = put.item.rewritten(|begin| protocol::begin_settled(begin, Resolution::Success, settled));
                let mut put = Put { item, ..put }.with_effect(true);
                if self.is(Mutant::SingleWriteWithoutCondition) {
                    put.guard = Guard::None;
                }
                self.write(world, who, put, Purpose::SingleWrite);
            }
            Role::Caller | Role::Reconciler | Role::Operator => self.write(world, who, put, Purpose::Claim),
        }
    }

    fn take_over(&self, world: &mut World, who: Who, takeover: protocol::Write, found: Option<Item>) {
        let role = self.settings.players[who.actor].role;
        let holds = match role {
            Role::Caller => self.settings.callers_reconcile,
            Role::SingleWrite => false,
            Role::Reconciler | Role::Operator => true,
        };
        if self.is(Mutant::ReconcilerWithoutClaim)
            && let (Role::Reconciler | Role::Operator, Some(item)) = (role, found)
        {
            world.actors[who.actor].stage = Stage::Asking(Claim { item, follows_uncertain: true });
        } else if holds {
            let mut put = Put::of(&takeover);
            self.loosen_takeover(&mut put, found);
            self.write(world, who, put, Purpose::Claim);
        } else if found.is_some_and(|found| found.state == Standing::Unknown(None)) {
            self.occurs(Event::LeftUnknown);
            self.idle(world, who);
        } else {
            self.write(world, who, Put::of(&protocol::mark_unknown(takeover)), Purpose::Mark);
        }
    }

    fn claimed(&self, world: &mut World, who: Who, claim: Claim) {
        world.actors[who.actor].stage = match claim.item.state {
            Standing::Unknown(_) => Stage::Asking(claim),
            Standing::Processing(_) | Standing::Released(_) | Standing::Success(..) | Standing::Failed(..) => {
                Stage::Running(claim)
            }
        };
    }

    /// The engine's `run_claimed`.
    fn run(&self, world: &mut World, who: Who, ran: Ran) {
        let Stage::Running(claim) = world.actors[who.actor].stage else { return };
        match ran {
            Ran::Charges => {
                let ask = Ask::Charge(claim.item.transaction, claim.item.life);
                world.send(Message { actor: who.actor as u8, call: who.call, ask });
                world.actors[who.actor].stage = Stage::Charging(claim);
            }
            Ran::Success => self.commit(world, who, claim, Resolution::Success, who.number(), false),
            Ran::Failed => self.commit(world, who, claim, Resolution::Failed, who.number(), false),
            Ran::NotExecuted if claim.follows_uncertain && !self.is(Mutant::ReleaseOverUncertain) => {
                self.abandon(world, who, claim);
            }
            Ran::NotExecuted => self.release(world, who, claim),
            Ran::Unknown => self.unknown(world, who, claim),
        }
    }

    /// The other side did not say what it did.
    fn unknown(&self, world: &mut World, who: Who, claim: Claim) {
        if self.is(Mutant::TimeoutStoredAsFailed) {
            self.commit(world, who, claim, Resolution::Failed, who.number(), false);
        } else if self.is(Mutant::TimeoutReleased) {
            self.release(world, who, claim);
        } else if self.is(Mutant::LateFailureDeletesTheRecord) {
            world.record = None;
            self.idle(world, who);
        } else {
            self.abandon(world, who, claim);
        }
    }

    /// A resolver that found nothing takes the id. That is evidence while the other side remembers whether it was used.
    fn prevent(&self, world: &mut World, who: Who) {
        let Stage::Asking(claim) = world.actors[who.actor].stage else { return };
        let id = claim.item.transaction;
        if !self.settings.is_outside() {
            return self.look(world, who);
        }
        if world.has_forgotten(id) && !self.is(Mutant::TombstoneBeyondTheMemory) {
            self.occurs(Event::BeyondTheMemory);
            return self.left_unknown(world, who);
        }
        match world.entry(id) {
            None => {
                world.remember(id, Entry::Tombstone);
                self.prevented(world, who, claim);
            }
            Some(Entry::Tombstone) => self.prevented(world, who, claim),
            // As if it had never been used.
            Some(Entry::Charged | Entry::Declined) if world.has_forgotten(id) => self.prevented(world, who, claim),
            Some(Entry::Charged | Entry::Declined) => self.left_unknown(world, who),
        }
    }

    fn left_unknown(&self, world: &mut World, who: Who) {
        let Stage::Asking(claim) = world.actors[who.actor].stage else { return };
        self.occurs(Event::LeftUnknown);
        self.abandon(world, who, claim);
    }

    /// A resolver: what the other side has is evidence; what it does not have is none.
    fn look(&self, world: &mut World, who: Who) {
        let Stage::Asking(claim) = world.actors[who.actor].stage else { return };
        let id = claim.item.transaction;
        if !self.settings.is_outside() {
            // All effects are inside: whoever holds the record has fenced every earlier commit.
            return self.prevented(world, who, claim);
        }
        match world.entry(id) {
            Some(Entry::Charged) if self.is(Mutant::HappenedTakenAsRefused) => {
                self.commit(world, who, claim, Resolution::Failed, id, true);
            }
            Some(Entry::Charged) => {
                self.occurs(Event::Happened);
                self.commit(world, who, claim, Resolution::Success, id, true);
            }
            Some(Entry::Declined) => {
                self.occurs(Event::Refused);
                self.commit(world, who, claim, Resolution::Failed, id, true);
            }
            Some(Entry::Tombstone) => self.prevented(world, who, claim),
            None if self.is(Mutant::NotFoundTakenAsFailed) => {
                self.commit(world, who, claim, Resolution::Failed, id, true);
            }
            None if self.is(Mutant::NotFoundTakenAsHappened) => {
                self.commit(world, who, claim, Resolution::Success, id, true);
            }
            None if self.is(Mutant::NotFoundTakenAsPrevented) => self.prevented(world, who, claim),
            None => self.left_unknown(world, who),
        }
    }

    fn prevented(&self, world: &mut World, who: Who, claim: Claim) {
        let (now, record) = (now(world), claim.item.record());
        let mut transaction = TransactionId::from_bytes([who.number() * 2 + 1; 16]);
        if self.is(Mutant::RestartUnderTheSameTransaction) {
            transaction = record.transaction;
        }
        let owner = self.token(who);
        let (write, purpose) = match self.settings.players[who.actor].role {
            Role::Reconciler | Role::Operator => {
                let expiration = item::expiration(world.era);
                (protocol::reopen(record, owner, transaction, expiration, now), Purpose::Reopen)
            }
            Role::Caller | Role::SingleWrite => {
                let holder = Holder { owner, lease: item::lease(world.era) };
                (protocol::restart(record, holder, transaction, now), Purpose::Restart)
            }
        };
        let mut put = Put::of(&write).by_evidence();
        if self.is(Mutant::ReconcilerWithoutClaim) {
            put.guard = Guard::None;
        }
        self.write(world, who, put, purpose);
    }

    fn commit(&self, world: &mut World, who: Who, claim: Claim, resolution: Resolution, answer: u8, evidence: bool) {
        let settled = item::settled(answer, world.era);
        let write = protocol::settle(claim.item.record(), self.token(who), resolution, settled, now(world));
        let mut put = Put { evidence, ..Put::of(&write) }.with_effect(resolution == Resolution::Success);
        if self.is(Mutant::CommitWithoutOwner) || (evidence && self.is(Mutant::ReconcilerWithoutClaim)) {
            put.guard = Guard::None;
        }
        if self.is(Mutant::AnswerBeforeCommit) {
            self.tell(world, put.item.life, resolution, answer);
        }
        self.write(world, who, put, Purpose::Commit(claim));
    }

    fn release(&self, world: &mut World, who: Who, claim: Claim) {
        let expiration = item::expiration(world.era);
        let write = protocol::release(claim.item.record(), self.token(who), expiration, now(world));
        let mut put = Put::of(&write);
        if self.is(Mutant::ReleaseWithoutOwner) {
            put.guard = Guard::None;
        }
        self.write(world, who, put, Purpose::Release(claim));
    }

    fn abandon(&self, world: &mut World, who: Who, claim: Claim) {
        let put = self.abandoning(world, who, claim);
        self.write(world, who, put, Purpose::Abandon(claim));
    }

    fn abandoning(&self, world: &World, who: Who, claim: Claim) -> Put {
        let mut put = Put::of(&protocol::abandon(claim.item.record(), self.token(who), now(world)));
        if self.is(Mutant::AbandonWithoutOwner) {
            put.guard = Guard::None;
        }
        put
    }

    /// What the engine does when a write is not answered.
    fn give_up(&self, world: &mut World, who: Who) {
        world.faults -= u8::from(self.is_awaited(world, who));
        match world.actors[who.actor].stage.clone() {
            Stage::Charging(claim) => self.unknown(world, who, claim),
            Stage::Waiting(Wait { put, purpose: Purpose::Commit(claim), applied }) => {
                if self.is(Mutant::LostCommitTakenAsDone) {
                    if let Some((resolution, answer)) = put.item.state.answer() {
                        self.executed(world, &put.item, resolution, answer);
                    }
                    self.idle(world, who);
                } else if self.is(Mutant::LostCommitReleased) {
                    self.release(world, who, claim);
                } else {
                    let abandon = self.abandoning(world, who, claim);
                    self.write(world, who, abandon, Purpose::FindOut(claim, put, applied));
                }
            }
            Stage::Waiting(Wait { put, purpose: Purpose::Claim | Purpose::Restart, .. }) => {
                match put.given_up(item::expiration(world.era), now(world)) {
                    Some(end) => self.write(world, who, end, Purpose::GiveUp),
                    None => self.idle(world, who),
                }
            }
            Stage::Waiting(_) => self.idle(world, who),
            Stage::Idle | Stage::Looking(_) | Stage::Running(_) | Stage::Asking(_) => {}
        }
    }

    fn is_awaited(&self, world: &World, who: Who) -> bool {
        world.network.iter().any(|message| usize::from(message.actor) == who.actor && self.waits(world, message))
    }

    /// What the engine does with the store's answer.
    fn reply(&self, world: &mut World, who: Who, wait: Wait, written: Written) {
        let put = wait.put;
        match (wait.purpose, written) {
            (Purpose::Claim, Written::Applied | Written::Recognised) => {
                let claim = Claim { item: put.item, follows_uncertain: put.follows_uncertain() };
                self.claimed(world, who, claim);
            }
            (Purpose::Restart, Written::Applied | Written::Recognised) => {
                self.claimed(world, who, Claim { item: put.item, follows_uncertain: false });
            }
            (Purpose::Claim, Written::Refused(_)) if matches!(self.role(who), Role::Reconciler | Role::Operator) => {
                self.idle(world, who);
            }
            (Purpose::Claim | Purpose::SingleWrite | Purpose::Mark, Written::Refused(found)) => {
                world.actors[who.actor].stage = Stage::Looking(found);
            }
            (Purpose::SingleWrite | Purpose::Commit(_), Written::Applied | Written::Recognised) => {
                if let Some((resolution, answer)) = put.item.state.answer() {
                    self.executed(world, &put.item, resolution, answer);
                }
                self.idle(world, who);
            }
            (Purpose::Commit(claim), Written::Refused(found)) => {
                if self.is(Mutant::LateOwnerAnswersItself)
                    && let Some((resolution, answer)) = put.item.state.answer()
                {
                    self.executed(world, &put.item, resolution, answer);
                }
                self.fenced(world, who, claim, found);
            }
            (Purpose::FindOut(claim, commit, applied), Written::Refused(found)) => {
                self.find_out(world, who, claim, commit, applied, found);
            }
            (Purpose::Abandon(claim), Written::Refused(found)) => self.fenced(world, who, claim, found),
            (
                Purpose::Mark
                | Purpose::Abandon(_)
                | Purpose::FindOut(..)
                | Purpose::Reopen
                | Purpose::Release(_)
                | Purpose::GiveUp,
                Written::Applied | Written::Recognised,
            )
            | (Purpose::Restart | Purpose::Reopen | Purpose::Release(_) | Purpose::GiveUp, Written::Refused(_)) => {
                self.idle(world, who);
            }
        }
    }

    /// The engine's `commit_lost`.
    fn find_out(&self, world: &mut World, who: Who, claim: Claim, commit: Put, applied: bool, found: Option<Item>) {
        match found.filter(|found| self.made(&commit, found)) {
            Some(found) => {
                self.breaks_if(world, !applied && found != commit.item, Promise::ForeignWritesAreNotTakenForOwn);
                if let Some((resolution, answer)) = commit.item.state.answer() {
                    self.occurs(Event::FoundOut);
                    self.executed(world, &commit.item, resolution, answer);
                }
                self.idle(world, who);
            }
            None => {
                self.breaks_if(world, applied && found == Some(commit.item), Promise::OwnWritesAreRecognised);
                self.fenced(world, who, claim, found);
            }
        }
    }

    /// The engine's `fenced`.
    fn fenced(&self, world: &mut World, who: Who, claim: Claim, found: Option<Item>) {
        if let Some(found) = found.filter(|found| found.transaction == claim.item.transaction) {
            let request = self.request(world, who, Some(&claim.item));
            let now = Reading { era: world.era, late: false }.now();
            if let Decision::Replay(_, resolution, settled) = decide(Some(&found.record()), &request, now) {
                self.occurs(Event::FencedAndReplayed);
                self.replay(world, who, &found, resolution, item::answer(settled));
            }
        }
        self.idle(world, who);
    }

    fn executed(&self, world: &mut World, item: &Item, resolution: Resolution, answer: u8) {
        if item.attempt > 1 && resolution == Resolution::Success && item.transaction % 2 == 1 {
            self.occurs(Event::RestartedAndSettled);
        }
        self.tell(world, item.life, resolution, answer);
    }

    fn replay(&self, world: &mut World, who: Who, found: &Item, resolution: Resolution, answer: u8) {
        self.breaks_if(world, found.has_expired(world.era), Promise::WhatIsExpiredIsNotReplayed);
        let foreign = self.asks(who, Some(found)) != found.body;
        self.breaks_if(world, foreign, Promise::OtherRequestsAreNotAnswered);
        self.tell(world, found.life, resolution, answer);
    }

    fn write(&self, world: &mut World, who: Who, put: Put, purpose: Purpose) {
        world.send(Message { actor: who.actor as u8, call: who.call, ask: Ask::Put(put) });
        world.actors[who.actor].stage = Stage::Waiting(Wait { put, purpose, applied: false });
    }

    fn idle(&self, world: &mut World, who: Who) {
        world.actors[who.actor].stage = Stage::Idle;
    }

    // --- what the store and the other side do

    fn deliver_put(&self, world: &mut World, who: Who, put: Put, reply: bool) {
        let found = world.record;
        if self.is(Mutant::EffectsBesideTheRecord) && put.effect {
            world.judge.effects[usize::from(put.item.life)] += 1;
        }
        let holds = put.holds(found.as_ref());
        if holds {
            self.apply(world, who, put);
        } else if found.and_then(|found| found.owner()) != Some(self.token(who).0[0]) {
            self.occurs(Event::LateWriteRefused);
        }
        let actor = &mut world.actors[who.actor];
        let Stage::Waiting(wait) = &mut actor.stage else { return };
        if actor.calls != who.call {
            return;
        }
        if let Purpose::FindOut(_, commit, applied) = &mut wait.purpose
            && *commit == put
        {
            *applied |= holds;
        }
        if wait.put != put {
            return;
        }
        wait.applied |= holds;
        if !reply {
            return;
        }
        let wait = wait.clone();
        let written = match found {
            _ if holds => Written::Applied,
            Some(found) if self.made(&put, &found) => {
                self.occurs(Event::Recognised);
                self.breaks_if(world, !wait.applied && found != put.item, Promise::ForeignWritesAreNotTakenForOwn);
                Written::Recognised
            }
            found => {
                let own = wait.applied && found == Some(put.item);
                self.breaks_if(world, own, Promise::OwnWritesAreRecognised);
                Written::Refused(found)
            }
        };
        self.reply(world, who, wait, written);
    }

    fn deliver_charge(&self, world: &mut World, who: Who, id: u8, life: u8, reply: bool, declined: bool) {
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
                world.judge.charges[usize::from(life)] += 1;
                Entry::Charged
            }
        };
        if world.entry(id).is_none() {
            world.remember(id, entry);
        }
        let Stage::Charging(claim) = world.actors[who.actor].stage else { return };
        if !reply {
            return;
        }
        match entry {
            Entry::Charged => self.commit(world, who, claim, Resolution::Success, id, false),
            Entry::Declined => self.commit(world, who, claim, Resolution::Failed, id, false),
            Entry::Tombstone => self.abandon(world, who, claim),
        }
    }

    // --- what the judge does

    fn apply(&self, world: &mut World, who: Who, put: Put) {
        let found = world.record.filter(|found| !found.has_expired(world.era));
        // What is conditioned on what was seen begins a claim, or ends one of somebody else. A call that was fenced
        // without knowing that it had claimed may do so again.
        let begins = matches!(put.guard, Guard::Vacant(_) | Guard::Unchanged(_));
        let own_bit = 1 << who.number();
        if begins {
            world.judge.ended &= !own_bit;
        }
        let late = world.judge.ended & own_bit != 0;
        self.breaks_if(world, late, Promise::LateOwnersChangeNothing);
        if let Some(found) = found {
            self.judge_change(world, who, &found, &put);
        }
        let own = self.token(who).0[0];
        if let Some(other) = found.and_then(|found| found.owner()).filter(|owner| *owner != own) {
            world.judge.ended |= 1 << other;
        }
        if !begins && put.item.owner() != Some(own) {
            world.judge.ended |= own_bit;
        }
        if put.effect && !self.is(Mutant::EffectsBesideTheRecord) {
            world.judge.effects[usize::from(put.item.life)] += 1;
        }
        if put.item.life > 0 {
            self.occurs(Event::SecondLife);
        }
        world.record = Some(put.item);
    }

    fn judge_change(&self, world: &mut World, who: Who, found: &Item, put: &Put) {
        let own = self.token(who).0[0];
        let other_holds = found.owner().is_some_and(|owner| owner != own);
        self.breaks_if(world, found.state.answer().is_some(), Promise::WhatIsSettledStays);
        let stays_unknown = matches!(put.item.state, Standing::Unknown(_));
        let runs_again = match found.state {
            Standing::Unknown(_) => !put.evidence,
            Standing::Processing(_) => other_holds,
            Standing::Released(_) | Standing::Success(..) | Standing::Failed(..) => false,
        };
        let undeclared = !self.settings.repeatable && runs_again && !stays_unknown;
        self.breaks_if(world, undeclared, Promise::NothingRunsAgainWithoutEvidence);
        let released = matches!(found.state, Standing::Released(_));
        let foreign = !released && self.asks(who, Some(found)) != found.body;
        self.breaks_if(world, foreign, Promise::OtherRequestsAlterNothing);
        let another = put.item.owner().is_some() && put.item.owner() != found.owner();
        let grows = put.item.attempt > found.attempt || (!another && put.item.attempt == found.attempt);
        self.breaks_if(world, !grows, Promise::TheAttemptGrows);
        let changed = put.item.transaction != found.transaction && !put.evidence;
        self.breaks_if(world, changed, Promise::TheTransactionStays);
        match (found.state, put.item.state) {
            (Standing::Released(_), _) => self.occurs(Event::BegunAfterRelease),
            (_, Standing::Released(_)) if put.evidence => self.occurs(Event::Reopened),
            (_, Standing::Unknown(Some(_))) => self.occurs(Event::HeldAsUnknown),
            (_, Standing::Processing(_)) if !put.evidence => self.occurs(Event::Takeover),
            _ => {}
        }
    }

    fn tell(&self, world: &mut World, life: u8, resolution: Resolution, answer: u8) {
        let recorded = world.record.filter(|record| record.life == life);
        let early = recorded.map_or(world.era == life, |record| record.state.answer() != Some((resolution, answer)));
        self.breaks_if(world, early, Promise::NoAnswerBeforeTheCommit);
        let first = *world.judge.answers[usize::from(life)].get_or_insert((resolution, answer));
        self.breaks_if(world, first != (resolution, answer), Promise::OneAnswer);
    }

    fn breaks_if(&self, world: &mut World, broken: bool, promise: Promise) {
        if broken {
            world.judge.broken |= promise.bit();
        }
    }

    // --- where mutants differ

    fn token(&self, who: Who) -> OwnerToken {
        let call = if self.is(Mutant::OwnerTokenReused) { 1 } else { who.call };
        OwnerToken([Who { call, ..who }.number(); 16])
    }

    fn role(&self, who: Who) -> Role {
        self.settings.players[who.actor].role
    }

    /// What this call asks for; a reconciliation asks for what is recorded.
    fn asks(&self, who: Who, found: Option<&Item>) -> u8 {
        match self.role(who) {
            Role::Caller | Role::SingleWrite => self.settings.players[who.actor].body,
            Role::Reconciler | Role::Operator => found.map_or(0, |found| found.body),
        }
    }

    fn request(&self, world: &World, who: Who, found: Option<&Item>) -> ClaimRequest {
        let repeat = Uncertain::Repeat { within: std::time::Duration::MAX };
        let uncertain = match self.role(who) {
            Role::Caller | Role::SingleWrite if self.settings.repeatable => repeat,
            Role::Caller | Role::SingleWrite | Role::Reconciler | Role::Operator => Uncertain::Reconcile,
        };
        item::request(self.token(who).0[0], who.number() * 2, self.asks(who, found), world.era, uncertain)
    }

    fn as_asked(&self, request: &ClaimRequest, found: Option<&Item>) -> ClaimRequest {
        let mut request = request.clone();
        let Some(found) = found else { return request };
        if self.is(Mutant::FingerprintIgnored) {
            request.fingerprint = found.record().fingerprint;
        }
        let over = match found.state {
            Standing::Processing(_) => self.is(Mutant::LeaseOverRunsAgain),
            Standing::Unknown(_) => self.is(Mutant::UnknownRunsAgain),
            Standing::Released(_) | Standing::Success(..) | Standing::Failed(..) => false,
        };
        if over {
            request.uncertain = Uncertain::Repeat { within: std::time::Duration::MAX };
        }
        request
    }

    fn as_seen(&self, found: Item, reading: Reading) -> Item {
        if !self.is(Mutant::TimeToLiveTrusted) {
            return found;
        }
        let later = reading.era + 1;
        let state = match found.state {
            Standing::Released(_) => Standing::Released(later),
            Standing::Success(answer, _) => Standing::Success(answer, later),
            Standing::Failed(answer, _) => Standing::Failed(answer, later),
            state @ (Standing::Processing(_) | Standing::Unknown(_)) => state,
        };
        Item { state, ..found }
    }

    fn mistaken_for_vacant(&self, request: &ClaimRequest, found: Option<Item>, reading: Reading) -> Option<Put> {
        let found = found?;
        let mistaken = match found.state {
            Standing::Processing(_) => self.is(Mutant::ClaimExpires) && reading.late,
            Standing::Unknown(None) => self.is(Mutant::UnknownExpires),
            Standing::Unknown(Some(_)) | Standing::Released(_) | Standing::Success(..) | Standing::Failed(..) => false,
        };
        if !mistaken {
            return None;
        }
        let Decision::Begin(write) = decide(None, request, reading.now()) else { return None };
        Some(Put { guard: Guard::Unchanged(found), ..Put::of(&write) })
    }

    fn begun(&self, mut put: Put, request: &ClaimRequest, taken_over: Option<Item>) -> Put {
        if self.is(Mutant::ClaimWithoutCondition) && matches!(put.guard, Guard::Vacant(_)) {
            put.guard = Guard::None;
        }
        if taken_over.is_some() {
            if self.is(Mutant::TransactionPerAttempt) {
                put.item.transaction = request.transaction.uuid().as_bytes()[0];
            }
            self.loosen_takeover(&mut put, taken_over);
        }
        put
    }

    fn loosen_takeover(&self, put: &mut Put, found: Option<Item>) {
        if self.is(Mutant::AttemptDoesNotGrow) {
            put.item.attempt -= 1;
        }
        if self.is(Mutant::TakeoverWithoutCondition) {
            put.guard = Guard::None;
        }
        if self.is(Mutant::TakeoverByStatusAlone) {
            put.guard = Guard::Unknown(found.is_some_and(|found| matches!(found.state, Standing::Unknown(_))));
        }
    }

    fn made(&self, put: &Put, found: &Item) -> bool {
        let foreign_claim = matches!((found.state, put.item.state), (Standing::Processing(_), Standing::Processing(_)));
        let same_attempt = found.transaction == put.item.transaction && found.attempt == put.item.attempt;
        let foreign_answer = found.state.answer().is_some() && put.item.state.answer().is_some();
        !self.is(Mutant::LostReplyTakenForConflict)
            && (put.made(found)
                || (self.is(Mutant::ForeignClaimTakenForOwn) && foreign_claim && same_attempt)
                || (self.is(Mutant::ForeignAnswerTakenForOwn) && foreign_answer)
                || (self.is(Mutant::AnswerOfAsManyPartsTakenForOwn)
                    && foreign_answer
                    && same_attempt
                    && found.body == put.item.body))
    }
}

fn who(world: &World, actor: usize) -> Who {
    Who { actor, call: world.actors[actor].calls }
}

fn who_sent(message: &Message) -> Who {
    Who { actor: usize::from(message.actor), call: message.call }
}

/// A time for what only people read.
fn now(world: &World) -> EpochMs {
    Reading { era: world.era, late: false }.now()
}
