//! The application of a mutant to the inputs and outputs of a machine.

use idempotency::protocol::machine::{Input, Machine, Purpose, Ran, Reply};
use idempotency::protocol::{
    Condition, EpochS, OwnerToken, Record, RecordVersion, Response, State, Status, Write, release,
};

use super::clock::{self, Reading};
use super::state::{Guard, Put, Waits, World};
use super::{Model, Mutant};

impl Model {
    /// The input that a machine gets, and the record that it takes for another one, if any: the next write is then
    /// conditioned on that record.
    pub(super) fn as_received(
        &self,
        world: &World,
        index: usize,
        input: Input,
        reading: Reading,
    ) -> (Input, Option<Record>) {
        match input {
            Input::Written(Reply::Refused(Some(found))) => {
                let found = self.as_found_out(world, index, *found);
                let (found, mistaken) = self.as_seen(world, index, found, reading);
                (Input::Written(Reply::Refused(found.map(Box::new))), mistaken)
            }
            Input::Read(Some(found)) => {
                let (found, mistaken) = self.as_seen(world, index, *found, reading);
                (Input::Read(found.map(Box::new)), mistaken)
            }
            // The abandon that follows becomes a release.
            Input::Ran(Ran::NotExecuted) if self.is(Mutant::ReleaseOverUncertain) => {
                let held = world.actors[index].machine.as_deref().filter(|machine| machine.follows_uncertain());
                (input, held.and_then(Machine::held).cloned())
            }
            Input::Rejected(_) if self.is(Mutant::RejectionTakenAsDone) => (Input::Written(Reply::Applied), None),
            input => (input, None),
        }
    }

    fn as_seen(
        &self,
        world: &World,
        index: usize,
        mut found: Record,
        reading: Reading,
    ) -> (Option<Record>, Option<Record>) {
        let real = found.clone();
        if self.is(Mutant::FingerprintIgnored) {
            found.fingerprint = self.asks(index, Some(&found));
        }
        if self.is(Mutant::TimeToLiveTrusted) {
            clock::extend(&mut found);
        }
        let is_late = reading == Reading::Late;
        let (vanishes, runs_again) = match found.state {
            State::Processing(_) if is_late => (self.is(Mutant::ClaimExpires), self.is(Mutant::LeaseOverRunsAgain)),
            State::Unknown(None) => (self.is(Mutant::UnknownExpires), self.is(Mutant::UnknownRunsAgain)),
            State::Unknown(Some(_)) => (false, is_late && self.is(Mutant::UnknownRunsAgain)),
            State::Processing(_) | State::Released { .. } | State::Success(_) | State::Failed(_) => (false, false),
        };
        if vanishes {
            return (None, Some(real));
        }
        if runs_again {
            let expiration = clock::now(world.era, Reading::Early).seconds().plus(clock::RETENTION);
            found.state = State::Released { expiration };
            return (Some(found), Some(real));
        }
        (Some(found), None)
    }

    /// The record that a call finds when it checks whether an earlier write took effect.
    fn as_found_out(&self, world: &World, index: usize, mut found: Record) -> Record {
        let Waits::Reply { earlier: Some((earlier, _)), .. } = &world.actors[index].waits else { return found };
        match (earlier.write.made(&found), self.made(&earlier.write, &found)) {
            (true, false) => found.ended_by = Some(OwnerToken([255; 16])),
            (false, true) => found = earlier.write.record.clone(),
            (true, true) | (false, false) => {}
        }
        found
    }

    /// The write that a machine sends.
    pub(super) fn as_sent(
        &self,
        world: &World,
        index: usize,
        machine: &Machine,
        (mut put, purpose): (Put, Purpose),
        before: &Waits,
        mistaken: Option<Record>,
    ) -> Put {
        let takes_over = purpose == Purpose::Claim && put.write.follows_uncertain();
        let vacant = matches!(put.write.condition, Condition::Vacant { .. });
        let owned = matches!(put.write.condition, Condition::Owned { .. });
        let unconditional = match purpose {
            Purpose::Claim if takes_over => self.is(Mutant::TakeoverWithoutCondition),
            Purpose::Claim => vacant && self.is(Mutant::ClaimWithoutCondition),
            Purpose::Commit => self.is(Mutant::CommitWithoutOwner),
            Purpose::Release => self.is(Mutant::ReleaseWithoutOwner),
            Purpose::Abandon => self.is(Mutant::AbandonWithoutOwner),
            Purpose::Settle | Purpose::SettleAlone => self.is(Mutant::SingleWriteWithoutCondition),
            Purpose::Mark | Purpose::Restart | Purpose::Renew | Purpose::Reopen | Purpose::GiveUp => false,
        };
        let unconditional = unconditional || (vacant && self.settings.looks_up && self.is(Mutant::LookUpTrusted));
        if unconditional || (owned && self.reconciles(index) && self.is(Mutant::ReconcilerWithoutClaim)) {
            put.guard = Guard::None;
        }
        if takes_over && self.is(Mutant::TakeoverByStatusAlone) {
            put.guard = Guard::Status;
        }
        if vacant && self.is(Mutant::TimeToLiveTrusted) {
            put.write.condition = Condition::Vacant { now: EpochS(0) };
        }
        if takes_over && self.is(Mutant::AttemptDoesNotGrow) {
            put.write.record.attempt -= 1;
        }
        if takes_over && self.is(Mutant::TransactionPerAttempt) {
            put.write.record.transaction = machine.request().transaction;
        }
        let finds_out = matches!(before, Waits::Reply { put, .. } if put.write.record.settled().is_some());
        match (purpose, mistaken) {
            (Purpose::Abandon, Some(_)) => release_instead(world, machine, &mut put),
            (Purpose::Abandon, None) if finds_out && self.is(Mutant::LostCommitReleased) => {
                release_instead(world, machine, &mut put);
            }
            (_, Some(real)) => put.write.condition = Condition::Unchanged(RecordVersion::of(&real)),
            (_, None) => {}
        }
        if purpose == Purpose::Release && self.is(Mutant::LockExpires) {
            let expiration = clock::now(world.era, Reading::Early).seconds().plus(clock::RETENTION);
            put.write.record.state = State::Released { expiration };
            clock::simplify(&mut put.write.record);
        }
        put
    }

    /// Whether a write counts as the one that made the found record.
    pub(super) fn made(&self, write: &Write, found: &Record) -> bool {
        let same_attempt = found.transaction == write.record.transaction && found.attempt == write.record.attempt;
        let claims = [found, &write.record].map(|record| record.state.status() == Status::Processing);
        let answers = [found, &write.record].map(|record| record.settled().is_some());
        let in_parts = matches!(found.settled(), Some((_, settled)) if matches!(settled.response, Response::Parts(_)));
        !self.is(Mutant::LostReplyTakenForConflict)
            && (write.made(found)
                || (self.is(Mutant::ForeignClaimTakenForOwn) && claims == [true; 2] && same_attempt)
                || (self.is(Mutant::ForeignAnswerTakenForOwn) && answers == [true; 2])
                || (self.is(Mutant::AnswerOfAsManyPartsTakenForOwn)
                    && answers == [true; 2]
                    && in_parts
                    && same_attempt
                    && found.fingerprint == write.record.fingerprint))
    }
}

/// A mutant releases what the machine abandons.
fn release_instead(world: &World, machine: &Machine, put: &mut Put) {
    let Some(held) = machine.held() else { return };
    let now = clock::now(world.era, Reading::Early);
    let expiration = now.seconds().plus(clock::RETENTION);
    let Write { mut record, condition } = release(held.clone(), machine.request().owner, expiration, now);
    clock::simplify(&mut record);
    put.write = Write { record, condition };
}
