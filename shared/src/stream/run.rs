//! A run of records: their effects and the watermark's move in one transaction.

use super::partition::Partition;
use super::watermark::{Seen, Watermark};
use crate::engine::{Effects, Refusal};
use crate::metrics::Metric;
use crate::protocol::EpochMs;
use crate::store::watermarks::{Advanced, MAX_BYTES, MAX_EFFECTS, Watermarks};
use crate::store::{RefusedEffect, Store};

/// Records that were run and are not committed yet.
pub(super) struct Run<S: Store> {
    records: Vec<Ran<S::Effect>>,
}

struct Ran<E> {
    index: usize,
    seen: Seen,
    effects: Effects<E>,
}

/// There is no room for a record's effects in the transaction.
pub(super) struct Full;

/// What became of a run.
pub(super) enum Committed {
    /// All of it is done; the watermark is this.
    All(Option<Watermark>),
    /// The record at this index and all after it are to come again; what was before it is done.
    Until(usize),
    /// Somebody else moved the watermark, to here; the first record that is not known to be done has this index.
    Changed(Option<Watermark>, usize),
}

impl<S: Store> Default for Run<S> {
    fn default() -> Self {
        Self { records: Vec::new() }
    }
}

impl<S: Watermarks> Run<S> {
    /// Adds a record, unless its effects are too many or write an item that others in the run write. A run takes its
    /// first record whatever it is.
    pub(super) fn add(&mut self, index: usize, seen: Seen, effects: Effects<S::Effect>) -> Result<(), Full> {
        if !self.records.is_empty() && (!self.has_room(&effects) || self.collides(&effects)) {
            return Err(Full);
        }
        self.records.push(Ran { index, seen, effects });
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

    /// The place in the run of the record with this effect, counted over all.
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
    /// Commits a run: whole if possible, in parts if the service does not take it whole, up to the record that it
    /// refuses.
    pub(super) async fn commit(
        &self,
        mut run: Run<S>,
        mut watermark: Option<Watermark>,
        deadline: EpochMs,
    ) -> Committed {
        let mut stopped = None;
        let mut part = run.records.len();
        while let Some(first) = run.records.first().map(|record| record.index) {
            part = part.clamp(1, run.records.len());
            let now = self.stream.engine.time();
            let seen: Vec<Seen> = run.records[..part].iter().map(|record| record.seen.clone()).collect();
            let effects = run.records[..part].iter().flat_map(|record| record.effects.effects.iter().cloned());
            let next = Watermark::after(watermark.as_ref(), &seen, now);
            let patience = self.stream.engine.patience(deadline);
            let store = self.stream.engine.store();
            match store.advance(&self.id, &next, effects.collect(), patience).await {
                Ok(Advanced::Applied) => {
                    run.records.drain(..part);
                    watermark = Some(next);
                    part = run.records.len();
                }
                Ok(Advanced::Refused(found)) => return Committed::Changed(found, first),
                Ok(Advanced::EffectRefused(refused)) => match self.read(&mut run, &refused) {
                    Repair::Again => {}
                    Repair::Stop(index) => {
                        stopped = Some(index);
                        run.records.retain(|record| record.index < index);
                        part = run.records.len();
                    }
                },
                Ok(Advanced::Rejected(error)) if part == 1 => {
                    tracing::error!(watermark = self.id, error = &error as &dyn std::error::Error, "rejected effects");
                    return Committed::Until(first);
                }
                Ok(Advanced::Rejected(_)) => part /= 2,
                Err(error) => {
                    tracing::error!(watermark = self.id, error = &error as &dyn std::error::Error, "could not commit");
                    self.count(Metric::StoreError);
                    return Committed::Until(first);
                }
            }
        }
        stopped.map_or(Committed::All(watermark), Committed::Until)
    }

    /// What a refused effect means for its record.
    fn read(&self, run: &mut Run<S>, refused: &RefusedEffect) -> Repair {
        let Some((place, own_index)) = run.owner(refused.index) else {
            return Repair::Stop(run.records.first().map_or(0, |record| record.index));
        };
        let record = &mut run.records[place];
        match record.effects.read(&RefusedEffect { index: own_index, found: refused.found.clone() }) {
            Refusal::AppliedBefore => {
                self.count(Metric::DuplicateSkipped);
                record.effects = Effects::none();
                Repair::Again
            }
            Refusal::NotYet => {
                self.count(Metric::GapHeld);
                Repair::Stop(record.index)
            }
            Refusal::Unexpected => {
                tracing::error!(watermark = self.id, position = %record.seen.position, "an effect's condition failed");
                Repair::Stop(record.index)
            }
        }
    }
}

/// How to go on after a refused effect.
enum Repair {
    /// Without that record's effects.
    Again,
    /// Without the record at this index and those after it.
    Stop(usize),
}
