//! Acquisition of a claim: read, decide, write, and read again if another call was faster.

use std::sync::Arc;

use super::stage::{Claim, Stage};
use super::{End, Event, Failure, Machine, Mode, Reply};
use crate::protocol::decision::next_attempt;
use crate::protocol::{
    Condition, Decision, EpochMs, Record, Resolution, Response, State, Status, Write, decide, give_up, mark_unknown,
    release,
};

impl Machine {
    /// Answers from this process's memory if possible. A record that was in progress may have been settled since, so it
    /// is looked up first, which costs less than a refused claim and saves write capacity of the partition.
    pub(super) fn recalled(&mut self, found: Option<Arc<Record>>, now: EpochMs) -> Stage {
        match self.answer_from_older(found.as_ref(), now, End::Recalled) {
            Some(Stage::Done(End::InProgress(_))) => Stage::LookingUp,
            Some(stage) => stage,
            None if self.looks_up => Stage::LookingUp,
            None => self.look(None, now),
        }
    }

    /// Answers from an eventually consistent read if possible.
    pub(super) fn looked_up(&mut self, found: Option<Arc<Record>>, now: EpochMs) -> Stage {
        self.answer_from_older(found.as_ref(), now, End::Replayed).unwrap_or_else(|| self.look(None, now))
    }

    /// Answers from a version that may have been replaced, if the answer is still right. A settled record does not
    /// change, so its replay and its mismatch are final. "In progress" may be out of date, but nothing runs because of
    /// it, and the caller retries, or waits and reads. Everything else may have changed, and is left to the write.
    fn answer_from_older(
        &self,
        found: Option<&Arc<Record>>,
        now: EpochMs,
        replayed: fn(Arc<Record>, Resolution) -> End,
    ) -> Option<Stage> {
        let record = found?;
        match decide(Some(record), &self.request, now) {
            Decision::Replay(_, resolution, settled) if settled.is_whole() => {
                Some(Stage::Done(replayed(Arc::clone(record), resolution)))
            }
            Decision::Replay(found, resolution, _) => Some(replay(Box::new(found.clone()), resolution, false)),
            Decision::Mismatch => record.settled().map(|_| Stage::Done(End::Mismatch)),
            Decision::InProgress(lease) => Some(self.in_progress(lease, now)),
            Decision::Begin(_) | Decision::Acquired(_) | Decision::Reconcile(_) => None,
        }
    }

    /// Decides what to do about the found record.
    pub(super) fn look(&mut self, found: Option<&Record>, now: EpochMs) -> Stage {
        if self.rounds_left == 0 {
            return Stage::Done(End::Contended);
        }
        self.rounds_left -= 1;
        match (decide(found, &self.request, now), self.mode) {
            (Decision::Begin(begin), Mode::SingleWrite) => Stage::Beginning(Box::new(begin)),
            (Decision::Begin(claim), Mode::Claim { .. } | Mode::Lock) => self.claim(claim, now),
            (Decision::Reconcile(claim), Mode::Claim { resolves: true } | Mode::Reconcile) => self.claim(claim, now),
            (Decision::Reconcile(takeover), Mode::Claim { resolves: false } | Mode::SingleWrite) => mark(takeover),
            (Decision::Acquired(record), Mode::Claim { .. } | Mode::Lock) => {
                hold(Claim { record: record.clone(), follows_uncertain: record.attempt > 1 })
            }
            (Decision::Acquired(_), Mode::SingleWrite) => Stage::Done(End::Contended),
            (Decision::Mismatch, Mode::Claim { .. } | Mode::SingleWrite) => Stage::Done(End::Mismatch),
            (Decision::Replay(record, resolution, _), Mode::Claim { .. } | Mode::SingleWrite) => {
                replay(Box::new(record.clone()), resolution, false)
            }
            (Decision::InProgress(lease), Mode::Claim { .. } | Mode::SingleWrite) => self.in_progress(lease, now),
            (Decision::InProgress(lease), Mode::Lock) => self.take_over_from_clock_ahead(found, lease, now),
            // A lock is never settled, and all its requests are equal. Only an open record is reconciled.
            (Decision::Reconcile(_), Mode::Lock)
            | (Decision::Begin(_) | Decision::Acquired(_) | Decision::InProgress(_), Mode::Reconcile)
            | (Decision::Mismatch | Decision::Replay(..), Mode::Reconcile | Mode::Lock) => Stage::Done(End::NotOpen),
        }
    }

    /// Takes over a lock whose lease only a wrong clock can have written. Such a lease would block the lock for as long
    /// as that clock is ahead. The fence stops its holder.
    fn take_over_from_clock_ahead(&mut self, found: Option<&Record>, lease: EpochMs, now: EpochMs) -> Stage {
        let ahead = lease.since(self.request.lease.end(now));
        match found.filter(|_| ahead > self.request.lease.at_most) {
            Some(found) => {
                self.events.push(Event::LeaseIgnored(ahead));
                self.claim(next_attempt(found, &self.request, now), now)
            }
            None => Stage::Done(End::NotOpen),
        }
    }

    fn claim(&self, claim: Write, now: EpochMs) -> Stage {
        match (now < self.terms.start_by, now < self.terms.write_by) {
            (true, true) => Stage::Claiming(Box::new(claim)),
            (false, _) => Stage::Done(End::Failed(Failure::DeadlineAtHand)),
            (true, false) => Stage::Done(End::Failed(Failure::Outlived)),
        }
    }

    fn in_progress(&self, lease: EpochMs, now: EpochMs) -> Stage {
        match self.mode {
            Mode::Claim { .. } => self.wait(lease, now),
            Mode::SingleWrite | Mode::Reconcile | Mode::Lock => Stage::Done(End::InProgress(lease.since(now))),
        }
    }

    fn wait(&self, lease: EpochMs, now: EpochMs) -> Stage {
        match self.terms.wait.until(lease, now) {
            Some(until) => Stage::Waiting { until },
            None => Stage::Done(End::InProgress(lease.since(now))),
        }
    }

    /// Called after a pause: keeps waiting while the other call runs. A read costs a fraction of a refused claim.
    pub(super) fn looked_again(&mut self, found: Option<&Record>, now: EpochMs) -> Stage {
        match decide(found, &self.request, now) {
            Decision::InProgress(lease) => self.wait(lease, now),
            Decision::Begin(_)
            | Decision::Acquired(_)
            | Decision::Mismatch
            | Decision::Replay(..)
            | Decision::Reconcile(_) => self.look(found, now),
        }
    }

    pub(super) fn marked(&mut self, mark: &Write, reply: Reply, now: EpochMs) -> Stage {
        match reply {
            Reply::Applied | Reply::Recognised => {
                self.events.push(Event::EnteredUnknown);
                Stage::Done(End::Unknown(mark.record.transaction))
            }
            Reply::Refused(found) => self.look(found.as_deref(), now),
            Reply::EffectRefused(index, _) => Stage::Done(End::Failed(Failure::EffectRefused(index))),
            Reply::NotApplied | Reply::Lost => Stage::Done(End::Failed(Failure::StoreUnavailable)),
        }
    }

    pub(super) fn claimed(&mut self, claim: Box<Write>, reply: Reply, now: EpochMs) -> Stage {
        match (reply, self.mode) {
            (Reply::Applied | Reply::Recognised, mode) => {
                let follows_uncertain = claim.follows_uncertain();
                if follows_uncertain && matches!(mode, Mode::Claim { .. }) {
                    self.events.push(Event::TookOver);
                }
                hold(Claim { record: claim.record, follows_uncertain })
            }
            (Reply::Refused(_) | Reply::EffectRefused(..), Mode::Reconcile) => Stage::Done(End::NotOpen),
            (Reply::Refused(found), _) => self.look(found.as_deref(), now),
            (Reply::EffectRefused(index, _), _) => Stage::Done(End::Failed(Failure::EffectRefused(index))),
            (Reply::NotApplied, _) => Stage::Done(End::Failed(Failure::StoreUnavailable)),
            (Reply::Lost, _) => self.give_up(*claim, now),
        }
    }

    /// Handles the lost reply to a claim. The caller gets an error that nothing ran, and retries, so the claim is given
    /// up as far as possible.
    pub(super) fn give_up(&self, claim: Write, now: EpochMs) -> Stage {
        let end = match self.mode {
            Mode::Lock => Some(release(claim.record, self.request.owner, self.expiration(now), now)),
            Mode::Claim { .. } | Mode::SingleWrite | Mode::Reconcile => give_up(claim, self.expiration(now), now),
        };
        match end {
            Some(end) => Stage::GivingUp(Box::new(end)),
            None => Stage::Done(End::Failed(Failure::StoreUnavailable)),
        }
    }
}

pub(super) fn hold(claim: Claim) -> Stage {
    match claim.record.state.status() {
        Status::Unknown => Stage::Resolving(Box::new(claim)),
        Status::Processing | Status::Success | Status::Failed => Stage::Held(Box::new(claim)),
    }
}

/// Answers from a settled record; a long answer is read first.
pub(super) fn replay(record: Box<Record>, resolution: Resolution, after_run: bool) -> Stage {
    match record.settled().map(|(_, settled)| &settled.response) {
        Some(Response::Parts(parts)) => Stage::Fetching { parts: *parts, record, resolution, after_run },
        Some(Response::Whole(_)) | None => Stage::Done(End::Replayed(Arc::from(record), resolution)),
    }
}

pub(super) fn fetched(mut record: Box<Record>, resolution: Resolution, whole: Option<Vec<u8>>) -> Stage {
    match (&mut record.state, whole) {
        (State::Success(settled) | State::Failed(settled), Some(whole)) => {
            settled.response = whole.into();
            Stage::Done(End::Replayed(Arc::from(record), resolution))
        }
        (
            State::Success(_) | State::Failed(_) | State::Processing(_) | State::Released { .. } | State::Unknown(_),
            _,
        ) => Stage::Done(End::Failed(Failure::AnswerIncomplete(record.transaction))),
    }
}

pub(super) fn not_fetched(record: &Record, after_run: bool) -> Stage {
    Stage::Done(End::Failed(match after_run {
        true => Failure::NotRecorded(record.transaction),
        false => Failure::StoreUnavailable,
    }))
}

/// Marks an uncertain record as UNKNOWN, unless it already is. Nothing runs without evidence.
fn mark(takeover: Write) -> Stage {
    match is_marked(&takeover.condition) {
        true => Stage::Done(End::Unknown(takeover.record.transaction)),
        false => Stage::Marking(Box::new(mark_unknown(takeover))),
    }
}

/// Whether the record that the takeover found is already UNKNOWN and has no holder.
fn is_marked(condition: &Condition) -> bool {
    match condition {
        Condition::Unchanged(seen) => seen.status == Status::Unknown && seen.owner.is_none(),
        Condition::Vacant { .. } | Condition::Owned { .. } => false,
    }
}
