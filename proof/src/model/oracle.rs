//! The oracle: counts effects, charges and answers independently of the records, and compares them with the promises.

use idempotency::protocol::machine::{self, End};
use idempotency::protocol::{Record, Resolution, State};

use super::clock::{self, Reading};
use super::shared::Shared;
use super::state::{Put, Waits, World, begins, owner, transaction, whole_answer};
use super::step::Came;
use super::{Event, Model, Mutant, Promise};

impl Model {
    /// Records that a write takes effect.
    pub(super) fn apply(&self, world: &mut World, index: usize, put: &Put) {
        let now = clock::now(world.era, Reading::Early);
        let found = world.record.clone().filter(|found| !found.has_expired(now));
        // A write conditioned on the version that was read begins a claim, or ends another call's. A call that was
        // fenced without knowing that it held a claim may claim again.
        let own_bit = 1 << put.owner;
        if begins(&put.write) {
            world.counts.ended &= !own_bit;
        }
        let late = world.counts.ended & own_bit != 0;
        self.breaks_if(world, late, Promise::LateOwnersChangeNothing);
        if let Some(found) = &found {
            self.observe_change(world, index, found, put);
        }
        if let Some(other) = found.as_deref().and_then(owner).filter(|other| *other != put.owner) {
            world.counts.ended |= 1 << other;
        }
        if !begins(&put.write) && owner(&put.write.record) != Some(put.owner) {
            world.counts.ended |= own_bit;
        }
        let life = clock::life(&put.write.record);
        if put.effect && !self.is(Mutant::EffectsBesideTheRecord) {
            world.counts.effects[life] += 1;
        }
        if life > 0 {
            self.occurs(Event::SecondLife);
        }
        self.store(world, &put.write.record);
    }

    fn observe_change(&self, world: &mut World, index: usize, found: &Shared<Record>, put: &Put) {
        let record = &put.write.record;
        let other_holds = owner(found).is_some_and(|owner| owner != put.owner);
        self.breaks_if(world, found.settled().is_some(), Promise::WhatIsSettledStays);
        let stays_unknown = matches!(record.state, State::Unknown(_));
        let runs_again = match found.state {
            State::Unknown(_) => !put.evidence,
            State::Processing(_) => other_holds,
            State::Released { .. } | State::Success(_) | State::Failed(_) => false,
        };
        let undeclared = !self.settings.repeatable && runs_again && !stays_unknown;
        self.breaks_if(world, undeclared, Promise::NothingRunsAgainWithoutEvidence);
        let released = matches!(found.state, State::Released { .. });
        let foreign = !released && self.asks(index, Some(found)) != found.fingerprint;
        self.breaks_if(world, foreign, Promise::OtherRequestsAlterNothing);
        let another = owner(record).is_some() && owner(record) != owner(found);
        let grows = record.attempt > found.attempt || (!another && record.attempt == found.attempt);
        self.breaks_if(world, !grows, Promise::TheAttemptGrows);
        let changed = record.transaction != found.transaction && !put.evidence;
        self.breaks_if(world, changed, Promise::TheTransactionStays);
        match (&found.state, &record.state) {
            (State::Released { .. }, _) => self.occurs(Event::BegunAfterRelease),
            (_, State::Released { .. }) if put.evidence => self.occurs(Event::Reopened),
            (_, State::Unknown(Some(_))) => self.occurs(Event::HeldAsUnknown),
            (State::Processing(_), State::Processing(_)) if !other_holds => self.occurs(Event::Renewed),
            (_, State::Processing(_)) if !put.evidence => self.occurs(Event::Takeover),
            _ => {}
        }
    }

    /// Records an event of a machine.
    pub(super) fn observe(&self, world: &mut World, event: &machine::Event, before: &Waits) {
        let (machine::Event::Fenced(_), Waits::Reply { put, .. }) = (event, before) else { return };
        if self.is(Mutant::LateOwnerAnswersItself)
            && let Some((resolution, answer)) = whole_answer(&put.write.record)
        {
            self.observe_answer(world, clock::life(&put.write.record), resolution, answer);
        }
    }

    /// Records the end of a call, and returns whether its last write took effect.
    pub(super) fn observe_end(
        &self,
        world: &mut World,
        index: usize,
        end: &End,
        is_fenced: bool,
        before: &Waits,
    ) -> Came {
        match end {
            End::Executed(record, resolution) => {
                let fresh = transaction(record.transaction) % 2 == 1;
                if record.attempt > 1 && *resolution == Resolution::Success && fresh {
                    self.occurs(Event::RestartedAndSettled);
                }
                if let Some((resolution, answer)) = whole_answer(record) {
                    self.observe_answer(world, clock::life(record), resolution, answer);
                }
                self.remember(world, record);
                return Came::Done;
            }
            End::Replayed(record, _) => {
                self.occurs(if is_fenced { Event::FencedAndReplayed } else { Event::Replayed });
                if *before != Waits::Parts {
                    self.expect_unexpired(world, record, Mutant::TimeToLiveTrusted);
                }
                self.observe_replay(world, index, record);
                self.remember(world, record);
            }
            End::Recalled(record, _) => {
                self.occurs(Event::Recalled);
                self.expect_unexpired(world, record, Mutant::RememberedForEver);
                self.observe_replay(world, index, record);
            }
            End::Mismatch => {
                self.occurs(Event::Mismatch);
                if self.is(Mutant::MismatchDeletesTheRecord) {
                    world.record = None;
                }
            }
            End::InProgress(_) => {
                self.occurs(Event::InProgress);
                if self.is(Mutant::DuplicateDeletesTheRecord) {
                    world.record = None;
                }
            }
            End::Unknown(_) => self.occurs(Event::LeftUnknown),
            End::Reopened => return Came::Done,
            End::NotExecuted | End::Contended | End::Conflict | End::NotOpen | End::Failed(_) => {}
        }
        Came::Ended
    }

    /// Adds a settled record to the cache of the process, in which all calls run.
    fn remember(&self, world: &mut World, record: &Record) {
        if self.settings.remembers {
            let remembered = Shared::new(record.clone());
            world.actors.iter_mut().for_each(|actor| actor.remembered = Some(remembered.clone()));
        }
    }

    /// Expects that a replayed record has not expired. A mutant may have postponed its expiration.
    pub(super) fn expect_unexpired(&self, world: &mut World, replayed: &Record, put_off_by: Mutant) {
        let mut record = replayed.clone();
        if self.is(put_off_by) {
            clock::shorten(&mut record);
        }
        let expired = record.has_expired(clock::now(world.era, Reading::Early));
        self.breaks_if(world, expired, Promise::WhatIsExpiredIsNotReplayed);
    }

    /// Records that a caller gets an earlier call's answer.
    fn observe_replay(&self, world: &mut World, index: usize, record: &Record) {
        if let Some(stored) = world.record.clone().filter(|stored| stored.transaction == record.transaction) {
            let foreign = self.asks(index, Some(&stored)) != stored.fingerprint;
            self.breaks_if(world, foreign, Promise::OtherRequestsAreNotAnswered);
        }
        if let Some((resolution, answer)) = whole_answer(record) {
            self.observe_answer(world, clock::life(record), resolution, answer);
        }
    }

    /// Records that a caller gets a final answer.
    pub(super) fn observe_answer(&self, world: &mut World, life: usize, resolution: Resolution, answer: u8) {
        let recorded = world.record.as_ref().filter(|record| clock::life(record) == life);
        let is_current = usize::from(world.era) == life;
        let early = recorded.map_or(is_current, |_| world.answer() != Some((resolution, answer)));
        self.breaks_if(world, early, Promise::NoAnswerBeforeTheCommit);
        let first = *world.counts.answers[life].get_or_insert((resolution, answer));
        self.breaks_if(world, first != (resolution, answer), Promise::OneAnswer);
    }

    /// Records that a lock is acquired.
    pub(super) fn observe_fence(&self, world: &mut World, fence: u64) {
        let bit = 1 << fence;
        self.breaks_if(world, world.counts.fences & bit != 0, Promise::NoFenceTwice);
        let higher = world.counts.fences >> fence != 0;
        self.breaks_if(world, higher, Promise::FencesGrow);
        world.counts.fences |= bit;
    }

    /// Records that a promise is broken, if it is.
    pub(super) fn breaks_if(&self, world: &mut World, broken: bool, promise: Promise) {
        if broken {
            world.counts.broken |= promise.bit();
        }
    }
}
