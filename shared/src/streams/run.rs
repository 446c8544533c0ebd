//! A run of records: their effects and the watermark's move in one transaction.

use derive_where::derive_where;

use super::partition::{Delivery, Partition, Stopped};
use crate::engine::{EffectRefusal, Effects};
use crate::protocol::watermark::{RecordDigest, Watermark};
use crate::store::watermarks::{Advanced, MAX_BYTES, MAX_EFFECTS, Watermarks};
use crate::store::{ItemOf, RefusedEffect, Store, StoreError, TransactionalEffect};
use crate::telemetry::metrics::Metric;
use crate::telemetry::request_log::{LogOutcome, LogSummary};
use crate::telemetry::span::Span;

/// Records that ran but are not committed yet.
#[derive_where(Default)]
pub(super) struct Run<S: Store> {
    records: Vec<Ran<S::Effect>>,
}

struct Ran<E: TransactionalEffect> {
    index: usize,
    seen: RecordDigest,
    effects: Effects<E>,
    /// The outcome to log once the record is done.
    outcome: LogOutcome,
}

/// The transaction has no room for a record's effects.
pub(super) struct Full;

/// The result of committing a run.
pub(super) struct Commit {
    /// The current watermark.
    pub(super) moved: Option<Watermark>,
    pub(super) ended: Committed,
}

/// The part of a run that is committed.
pub(super) enum Committed {
    /// The whole run.
    All,
    /// Everything before this record.
    Until(Stopped),
    /// Another process moved the watermark; the first record that may not be done has this index.
    Changed(usize),
}

impl<S: Watermarks> Run<S> {
    /// Adds a record, unless its effects are too many or write an item that the run already writes. The first record is
    /// always accepted.
    pub(super) fn add(&mut self, index: usize, seen: RecordDigest, effects: Effects<S::Effect>) -> Result<(), Full> {
        if !self.records.is_empty() && (!self.has_room(&effects) || self.collides(&effects)) {
            return Err(Full);
        }
        self.records.push(Ran { index, seen, effects, outcome: LogOutcome::Executed });
        Ok(())
    }

    fn has_room(&self, effects: &Effects<S::Effect>) -> bool {
        let all = || self.records.iter().map(|record| &record.effects).chain([effects]).flat_map(|one| &one.effects);
        all().count() <= MAX_EFFECTS && all().map(S::bytes).sum::<usize>() <= MAX_BYTES
    }

    fn collides(&self, effects: &Effects<S::Effect>) -> bool {
        let mut earlier = self.records.iter().flat_map(|record| &record.effects.effects);
        earlier.any(|one| effects.effects.iter().any(|other| S::collide(one, other)))
    }

    /// The record that added this effect, with the effect's index among that record's own. `effect` counts over the
    /// whole run.
    fn owner(&self, mut effect: usize) -> Option<(usize, usize)> {
        for (place, record) in self.records.iter().enumerate() {
            let count = record.effects.effects.len();
            if effect < count {
                return Some((place, effect));
            }
            effect -= count;
        }
        None
    }
}

impl<S: Watermarks<Effect: Clone>> Partition<'_, S> {
    /// Commits a run: as a whole if possible, in parts if the service does not accept the whole, or only up to the
    /// record whose effect is refused.
    pub(super) async fn commit(
        &self,
        mut run: Run<S>,
        mut watermark: Option<Watermark>,
        delivery: &Delivery<'_>,
    ) -> Commit {
        let engine = &self.stream.engine;
        let mut stopped = None;
        let mut part = run.records.len();
        while let Some(first) = run.records.first().map(|record| record.index) {
            part = part.clamp(1, run.records.len());
            let began = engine.now();
            let seen: Vec<RecordDigest> = run.records[..part].iter().map(|record| record.seen.clone()).collect();
            let effects = run.records[..part].iter().flat_map(|record| record.effects.effects.iter().cloned());
            let next = Watermark::after(watermark.as_ref(), &seen, began);
            let retry_budget = engine.retry_budget(delivery.deadline);
            let advance = engine.store().advance(&self.id, &next, effects.collect(), retry_budget);
            let advanced = Span::step("commit").of(advance).await;
            let took = engine.took(Metric::CommitMs, self.stream.operation.name(), began);
            let until = |summary| Committed::Until(Stopped { index: first, summary });
            let ended = match advanced {
                Ok(Advanced::Applied) => {
                    for record in run.records.drain(..part) {
                        self.done(delivery, record.index, Some(&next), LogSummary::new(record.outcome), took);
                    }
                    watermark = Some(next);
                    part = run.records.len();
                    continue;
                }
                Ok(Advanced::Refused(found)) => {
                    watermark = found;
                    Committed::Changed(first)
                }
                Ok(Advanced::EffectRefused(refused)) => {
                    if let Repair::Stop(stop) = self.read(&mut run, &refused) {
                        run.records.retain(|record| record.index < stop.index);
                        part = run.records.len();
                        stopped = Some(stop);
                    }
                    continue;
                }
                // The store does not accept these effects together.
                Err(StoreError::Rejected(_)) if part > 1 => {
                    part /= 2;
                    continue;
                }
                Err(error) => {
                    self.count(Metric::StoreError);
                    until(LogSummary::failed(LogOutcome::Error, &error))
                }
            };
            return Commit { moved: watermark, ended };
        }
        Commit { moved: watermark, ended: stopped.map_or(Committed::All, Committed::Until) }
    }

    /// Interprets a refused effect for its record.
    fn read(&self, run: &mut Run<S>, refused: &RefusedEffect<ItemOf<S>>) -> Repair {
        let unexpected = |index| Stopped { index, summary: LogSummary::failed(LogOutcome::Error, &UnexpectedRefusal) };
        let Some((place, own_index)) = run.owner(refused.index) else {
            return Repair::Stop(unexpected(run.records.first().map_or(0, |record| record.index)));
        };
        let record = &mut run.records[place];
        match record.effects.read(&RefusedEffect { index: own_index, found: refused.found.clone() }) {
            EffectRefusal::AppliedBefore => {
                self.count(Metric::DuplicateSkipped);
                (record.effects, record.outcome) = (Effects::none(), LogOutcome::Duplicate);
                Repair::Again
            }
            EffectRefusal::NotYet => {
                self.count(Metric::GapHeld);
                Repair::Stop(Stopped { index: record.index, summary: LogSummary::new(LogOutcome::NotExecuted) })
            }
            EffectRefusal::Conflict => {
                self.count(Metric::SequenceConflict);
                Repair::Stop(Stopped { index: record.index, summary: LogSummary::new(LogOutcome::Conflict) })
            }
            EffectRefusal::Unexpected => Repair::Stop(unexpected(record.index)),
        }
    }
}

/// How to continue after a refused effect.
enum Repair {
    /// Without that record's effects.
    Again,
    /// Without this record and those after it.
    Stop(Stopped),
}

/// The condition of an effect did not hold, and the effect has no interpretation for that.
#[derive(Debug, thiserror::Error)]
#[error("the condition of an effect did not hold")]
struct UnexpectedRefusal;
