//! The end of a claim: commit, release or abandon, and the results of these writes.

use std::sync::Arc;

use super::acquire::{hold, replay};
use super::stage::{Claim, Stage};
use super::{EffectRefusal, End, Event, Failure, FencedClaim, Machine, Mode, Proof, Ran, Reply};
use crate::protocol::{
    Decision, EpochMs, Record, Resolution, Settled, State, TransactionId, Write, abandon, begin_settled, decide,
    extend, release, reopen, restart, settle,
};

impl Machine {
    pub(super) fn ran(&mut self, claim: Box<Claim>, ran: Ran, now: EpochMs) -> Stage {
        self.too_late = matches!(ran, Ran::NotBegun);
        match ran {
            Ran::Settled(resolution, settled) => self.commit(claim, resolution, settled, false, now),
            // This attempt knows nothing about the effects of an earlier one. A lock is never settled, so it is never
            // uncertain.
            Ran::NotExecuted | Ran::NotBegun if claim.follows_uncertain && !self.is_lock() => {
                self.abandon(claim, false, now)
            }
            Ran::NotExecuted | Ran::NotBegun => {
                let release = release(claim.record.clone(), self.request.owner, self.expiration(now), now);
                Stage::Releasing { claim, release: Box::new(release), again: false }
            }
            Ran::Unknown => self.abandon(claim, false, now),
        }
    }

    pub(super) fn resolved(&mut self, claim: Box<Claim>, proof: Proof, now: EpochMs) -> Stage {
        match (proof, self.mode) {
            (Proof::Settled(resolution, settled), _) => self.commit(claim, resolution, settled, true, now),
            (Proof::Prevented(transaction), Mode::Reconcile) => self.reopen(claim, transaction, now),
            (Proof::Prevented(transaction), Mode::Claim { .. } | Mode::SingleWrite | Mode::Lock) => {
                self.restart(claim, transaction, now)
            }
            (Proof::Unclear, _) => self.abandon(claim, true, now),
        }
    }

    // --- commit

    fn commit(
        &self,
        claim: Box<Claim>,
        resolution: Resolution,
        settled: Settled,
        by_evidence: bool,
        now: EpochMs,
    ) -> Stage {
        let commit = Box::new(settle(claim.record.clone(), self.request.owner, resolution, settled, now));
        Stage::Committing { claim, commit, by_evidence }
    }

    pub(super) fn committed(
        &mut self,
        claim: Box<Claim>,
        commit: Box<Write>,
        by_evidence: bool,
        reply: Reply,
        now: EpochMs,
    ) -> Stage {
        match reply {
            Reply::Applied | Reply::Recognised => self.took_effect(*commit, by_evidence),
            Reply::Refused(found) => {
                let resolution = commit.record.settled().map(|(resolution, _)| resolution);
                self.fenced(*claim, found, resolution, by_evidence, now)
            }
            Reply::EffectRefused(index, _) => {
                self.events.push(Event::EffectRefused(index));
                self.find_out(claim, commit, by_evidence, now)
            }
            Reply::NotApplied | Reply::Lost => {
                self.events.push(Event::CommitUnanswered);
                self.find_out(claim, commit, by_evidence, now)
            }
        }
    }

    /// The rejected write with the short form of its answer. The outcome is still recorded; only the text of the answer
    /// is lost.
    pub(super) fn shorten(&mut self, mut rejected: Box<Write>, short: Vec<u8>) -> Box<Write> {
        if let State::Success(settled) | State::Failed(settled) = &mut rejected.record.state {
            settled.response = short.into();
        }
        self.events.push(Event::AnswerShortened);
        rejected
    }

    /// Abandons the claim after a write that may or may not have taken effect; the result of the abandon shows which.
    fn find_out(&self, claim: Box<Claim>, made: Box<Write>, by_evidence: bool, now: EpochMs) -> Stage {
        let abandon = Box::new(abandon(claim.record.clone(), self.request.owner, now));
        Stage::FindingOut { claim, made, abandon, by_evidence }
    }

    pub(super) fn found_out(
        &mut self,
        claim: Box<Claim>,
        made: Box<Write>,
        by_evidence: bool,
        reply: Reply,
        now: EpochMs,
    ) -> Stage {
        match (reply, made.record.settled()) {
            (Reply::Refused(Some(found)), _) if made.made(&found) => self.took_effect(*made, by_evidence),
            (Reply::Refused(found), Some((resolution, _))) => {
                self.fenced(*claim, found, Some(resolution), by_evidence, now)
            }
            (Reply::Refused(_), None) => self.reopened_too_late(),
            (reply @ (Reply::Applied | Reply::Recognised), _) => self.abandoned(*claim, by_evidence, reply, now),
            (reply @ (Reply::EffectRefused(..) | Reply::NotApplied | Reply::Lost), _) => {
                self.abandoned(*claim, by_evidence, reply, now)
            }
        }
    }

    /// Ends the call after a write that settles or reopens the record took effect.
    fn took_effect(&mut self, write: Write, by_evidence: bool) -> Stage {
        let Some((resolution, _)) = write.record.settled() else {
            self.events.push(Event::Prevented);
            return Stage::Done(End::Reopened);
        };
        if by_evidence {
            self.events.push(Event::Resolved(resolution));
        }
        Stage::Done(End::Executed(Arc::new(write.record), resolution))
    }

    // --- release and abandon

    pub(super) fn released(&mut self, claim: Box<Claim>, release: Box<Write>, again: bool, reply: Reply) -> Stage {
        match reply {
            Reply::Applied | Reply::Recognised | Reply::EffectRefused(..) => self.ends(End::NotExecuted),
            // The call that took over the record decides now. This one executed nothing, so there is nothing to audit.
            Reply::Refused(_) => {
                if !self.is_lock() {
                    self.events.push(Event::ReleasedTooLate);
                }
                self.ends(End::NotExecuted)
            }
            // Otherwise the key would be blocked until the lease ends.
            Reply::Lost if !again => Stage::Releasing { claim, release, again: true },
            Reply::NotApplied | Reply::Lost if self.is_lock() => self.failed(Failure::StoreUnavailable),
            Reply::NotApplied | Reply::Lost => self.failed(Failure::NotRecorded(claim.record.transaction)),
        }
    }

    fn abandon(&self, claim: Box<Claim>, by_evidence: bool, now: EpochMs) -> Stage {
        let abandon = Box::new(abandon(claim.record.clone(), self.request.owner, now));
        Stage::Abandoning { claim, abandon, by_evidence }
    }

    pub(super) fn abandoned(&mut self, claim: Claim, by_evidence: bool, reply: Reply, now: EpochMs) -> Stage {
        match reply {
            Reply::Applied | Reply::Recognised => {
                self.events.push(Event::EnteredUnknown);
                self.unknown(&claim, by_evidence)
            }
            Reply::Refused(found) => self.fenced(claim, found, None, by_evidence, now),
            Reply::EffectRefused(..) => self.unknown(&claim, by_evidence),
            Reply::NotApplied | Reply::Lost => self.failed(Failure::NotRecorded(claim.record.transaction)),
        }
    }

    fn unknown(&mut self, claim: &Claim, by_evidence: bool) -> Stage {
        if by_evidence {
            self.events.push(Event::NotResolved);
        }
        self.ends(End::Unknown(claim.record.transaction))
    }

    /// Handles a claim that was taken over: the answer is the record's, never this call's own.
    fn fenced(
        &mut self,
        claim: Claim,
        found: Option<Box<Record>>,
        resolution: Option<Resolution>,
        by_evidence: bool,
        now: EpochMs,
    ) -> Stage {
        let transaction = claim.record.transaction;
        let fenced = FencedClaim { late: claim.record, found: found.as_deref().cloned(), resolution };
        self.events.push(Event::Fenced(Box::new(fenced)));
        if by_evidence {
            self.events.push(Event::NotResolved);
        }
        let unknown = End::Unknown(transaction);
        let Some(found) = found.filter(|found| found.transaction == transaction) else { return self.ends(unknown) };
        match decide(Some(&found), &self.request, now) {
            Decision::Replay(_, resolution, _) if !self.too_late => replay(found, resolution, true),
            Decision::InProgress(lease) => self.ends(End::InProgress(lease.since(now))),
            Decision::Replay(..)
            | Decision::Begin(_)
            | Decision::Acquired(_)
            | Decision::Mismatch
            | Decision::Reconcile(_) => self.ends(unknown),
        }
    }

    // --- after evidence that it was prevented

    /// Continues with a run. This write carries no effects: its condition still holds after it, so a retry of the
    /// request would apply them twice.
    fn restart(&self, claim: Box<Claim>, transaction: TransactionId, now: EpochMs) -> Stage {
        let holder = self.request.holder(now);
        let restart = Box::new(restart(claim.record.clone(), holder, transaction, now));
        Stage::Restarting { claim, restart }
    }

    pub(super) fn restarted(&mut self, claim: Claim, restart: Box<Write>, reply: Reply, now: EpochMs) -> Stage {
        match reply {
            Reply::Applied | Reply::Recognised => {
                self.events.push(Event::Prevented);
                hold(Claim { record: restart.record, follows_uncertain: false })
            }
            Reply::Refused(found) => self.fenced(claim, found, None, true, now),
            Reply::EffectRefused(..) => self.unknown(&claim, true),
            // The call holds the record in either case, and runs nothing under it.
            Reply::NotApplied | Reply::Lost => self.give_up(*restart, now),
        }
    }

    /// Releases the record, for a later call to begin.
    fn reopen(&self, claim: Box<Claim>, transaction: TransactionId, now: EpochMs) -> Stage {
        let (record, expiration) = (claim.record.clone(), self.expiration(now));
        let reopen = Box::new(reopen(record, self.request.owner, transaction, expiration, now));
        Stage::Reopening { claim, reopen }
    }

    pub(super) fn reopened(&mut self, claim: Box<Claim>, reopen: Box<Write>, reply: Reply, now: EpochMs) -> Stage {
        match reply {
            Reply::Applied | Reply::Recognised => self.took_effect(*reopen, true),
            Reply::Refused(_) => self.reopened_too_late(),
            Reply::EffectRefused(index, _) => {
                self.events.push(Event::EffectRefused(index));
                self.find_out(claim, reopen, true, now)
            }
            // If the write took effect, the abandon is refused; otherwise the record can be reconciled again.
            Reply::NotApplied | Reply::Lost => {
                Stage::GivingUp(Box::new(abandon(claim.record, self.request.owner, now)))
            }
        }
    }

    fn reopened_too_late(&mut self) -> Stage {
        self.events.extend([Event::ReleasedTooLate, Event::NotResolved]);
        Stage::Done(End::NotOpen)
    }

    // --- without a claim

    pub(super) fn ran_unclaimed(&self, begin: Write, ran: Ran, now: EpochMs) -> Stage {
        match ran {
            Ran::Settled(resolution, settled) => {
                let settle = Box::new(begin_settled(begin, resolution, settled));
                self.settling(settle, true, now)
            }
            Ran::NotExecuted | Ran::NotBegun => Stage::Done(End::NotExecuted),
            Ran::Unknown => Stage::Done(End::Failed(Failure::NothingHappened)),
        }
    }

    /// Writes, unless the call has taken so long that the records that other calls settled since its start may have
    /// expired.
    pub(super) fn settling(&self, settle: Box<Write>, with_effects: bool, now: EpochMs) -> Stage {
        match now < self.terms.write_by {
            true => Stage::Settling { settle, with_effects },
            false => Stage::Done(End::Failed(Failure::Outlived)),
        }
    }

    pub(super) fn settled(&mut self, settle: Box<Write>, with_effects: bool, reply: Reply) -> Stage {
        match reply {
            Reply::Applied | Reply::Recognised => self.took_effect(*settle, false),
            Reply::Refused(found) => Stage::Drawing(found),
            // Writes once more, without the effects, so that the record answers the next duplicate.
            Reply::EffectRefused(_, EffectRefusal::AppliedBefore) if with_effects => {
                Stage::Settling { settle, with_effects: false }
            }
            Reply::EffectRefused(_, EffectRefusal::NotYet) => Stage::Done(End::NotExecuted),
            Reply::EffectRefused(_, EffectRefusal::Conflict) => Stage::Done(End::Conflict),
            Reply::EffectRefused(index, EffectRefusal::AppliedBefore | EffectRefusal::Unexpected) => {
                Stage::Done(End::Failed(Failure::EffectRefused(index)))
            }
            Reply::NotApplied | Reply::Lost => {
                Stage::Done(End::Failed(Failure::NotRecorded(settle.record.transaction)))
            }
        }
    }

    // --- of a lock

    pub(super) fn renew(&mut self, claim: Box<Claim>, now: EpochMs) -> Stage {
        let holder = self.request.holder(now);
        let extend = Box::new(extend(claim.record.clone(), holder, now));
        Stage::Renewing { claim, extend }
    }

    pub(super) fn renewed(&self, claim: Claim, extend: Box<Write>, reply: Reply, now: EpochMs) -> Stage {
        match reply {
            Reply::Applied | Reply::Recognised => Stage::Held(Box::new(Claim { record: extend.record, ..claim })),
            Reply::Refused(_) | Reply::EffectRefused(..) => Stage::Done(End::NotOpen),
            Reply::NotApplied | Reply::Lost => {
                let end = release(claim.record, self.request.owner, self.expiration(now), now);
                Stage::GivingUp(Box::new(end))
            }
        }
    }

    fn is_lock(&self) -> bool {
        matches!(self.mode, Mode::Lock)
    }
}
