//! The watermark of a partition: the position up to which its records are done.
//!
//! **Duplicate, or another record at an old position?** Both have a position at or below the watermark. A duplicate
//! must be skipped. However, a topic that was deleted and recreated restarts its offsets, and skipping those records
//! would silently lose them. The watermark therefore keeps *witnesses*, in constant space: positions, and digests of
//! the records that ran there. A record at the position of a witness but with another digest is [evidently another
//! record](Step::Regression). The same holds for its whole batch, because one batch of a partition never mixes records
//! from before and after a re-creation.
//!
//! The witnesses are
//!
//! * the first record that ever ran, whose position a recreated topic delivers first;
//! * records at positions each about twice as far as the one before, so that a recreated topic whose first records are
//!   not delivered (retention has removed them, or the mapping starts at the latest) soon reaches a witness;
//! * the last records of the latest runs: a batch that Lambda redelivers begins within the batch that it could not
//!   checkpoint, and the last record of that batch is one of these. The watermark's own position is always a witness.
//!
//! Timestamps are no evidence: they come from producers, whose clocks may be wrong. A record that the mapping gave up,
//! and that is redelivered after later records ran, has never run. Its timestamp may be newer than all of theirs, and
//! still it is no regression. A duplicate always has the same digest, so it causes no false alarm.
//!
//! A recreated topic is **not detected** in these cases:
//!
//! * A whole batch lies below the watermark and reaches no witness: the first records that ever ran were behind the
//!   start of the old topic, and the new topic has not reached that position yet; or the batch falls between two
//!   witnesses.
//! * Its first records ran before a batch of the old topic ended, and its next records are at none of that batch's
//!   witnesses.
//! * Its records at the witnesses' positions are identical, including their timestamps.
//!
//! If you delete a topic, give its successor a new generation. One false alarm is possible: a change to Lambda's
//! encoding of records (a schema registry that is added to the mapping) changes their digests, so that a duplicate
//! looks like another record.

use super::Position;
use crate::protocol::EpochMs;

/// The digest of a record, which a watermark compares.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RecordDigest {
    /// Its position.
    pub position: Position,
    /// The record's timestamp in epoch milliseconds, by the source's clocks. It decides nothing.
    pub timestamp_ms: i64,
    /// The first 16 bytes of a SHA-256 over timestamp, key and value.
    pub digest: [u8; 16],
}

/// A record that ran, which is kept as evidence.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Witness {
    /// Its position.
    pub position: Position,
    /// The digest of the record.
    pub digest: [u8; 16],
}

/// The position up to which a partition is done, with its witnesses.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Watermark {
    /// The number of moves, which a write's condition compares.
    pub version: u64,
    /// The position of the last record that is done; `None` after a rewind to the start.
    pub position: Option<Position>,
    /// The newest timestamp of all records that ran. It is for people, and for earlier versions, which cannot read a
    /// watermark without it; it decides nothing.
    pub newest_ms: i64,
    /// The time of the last move.
    pub updated: EpochMs,
    /// Records that ran, as evidence, in the order of their positions.
    pub witnesses: Vec<Witness>,
}

/// The relation of a record to the watermark.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Step {
    /// It is above the watermark, directly or after a gap.
    Run,
    /// It is at or below the watermark, so it is done.
    Duplicate,
    /// It is at or below the watermark but evidently another record: the witness at its position has another digest.
    Regression,
}

/// Compares a record with the watermark.
#[must_use]
pub fn decide(watermark: Option<&Watermark>, record: &RecordDigest) -> Step {
    match watermark.filter(|watermark| watermark.covers(&record.position)) {
        None => Step::Run,
        Some(watermark) => match watermark.witness(&record.position) {
            Some(witness) if witness.digest != record.digest => Step::Regression,
            Some(_) | None => Step::Duplicate,
        },
    }
}

/// The maximum total size of all witnesses' positions and digests, so that a watermark is one write unit: 8 witnesses
/// for Kinesis, whose numbers have 56 digits, and about 20 for Kafka.
const WITNESS_BYTES: usize = 640;

/// How many of the latest runs' last records are kept, as far as they fit.
const LATEST: usize = 7;

impl Watermark {
    /// The watermark before any record ran.
    const fn start(now: EpochMs) -> Self {
        Self { version: 0, position: None, newest_ms: i64::MIN, updated: now, witnesses: Vec::new() }
    }

    /// The watermark after a run of records above it, in order. If there are none, only its version and time change.
    #[must_use]
    pub fn after(watermark: Option<&Self>, run: &[RecordDigest], now: EpochMs) -> Self {
        let mut next = watermark.cloned().unwrap_or_else(|| Self::start(now));
        let newest = run.iter().map(|record| record.timestamp_ms).max().unwrap_or(i64::MIN);
        next.version += 1;
        next.newest_ms = next.newest_ms.max(newest);
        next.updated = now;
        let last = run.len().saturating_sub(1);
        for (index, record) in run.iter().enumerate() {
            let position = &record.position;
            let twice = |witness: &Witness| position.magnitude() >= 2.0 * witness.position.magnitude();
            if index == last || next.witnesses.last().is_none_or(twice) {
                next.witnesses.push(Witness::of(record));
            }
        }
        if let Some(last) = run.last() {
            next.position = Some(last.position.clone());
        }
        next.thin_out();
        next
    }

    /// Removes surplus witnesses: never the first one, and among those before the latest, the one whose neighbours have
    /// positions of the closest ratio.
    fn thin_out(&mut self) {
        while self.witnesses.iter().map(Witness::bytes).sum::<usize>() > WITNESS_BYTES {
            let ratio = |index: &usize| {
                let place = |index: usize| self.witnesses[index].position.magnitude().max(1.0);
                place(index + 1) / place(index - 1)
            };
            let before_the_latest = 1..self.witnesses.len().saturating_sub(LATEST);
            let nearest = before_the_latest.min_by(|one, other| ratio(one).total_cmp(&ratio(other)));
            self.witnesses.remove(nearest.unwrap_or(1));
        }
    }

    /// Whether this position is at or below the watermark.
    pub(crate) fn covers(&self, position: &Position) -> bool {
        self.position.as_ref().is_some_and(|last| position <= last)
    }

    /// The witness at this position.
    pub(crate) fn witness(&self, position: &Position) -> Option<&Witness> {
        self.witnesses.iter().find(|witness| witness.position == *position)
    }

    /// The watermark moved back to a position, or to the start: records above it run, even if they ran before.
    #[must_use]
    pub fn rewound(watermark: Option<&Self>, to: Option<Position>, now: EpochMs) -> Self {
        let mut next = watermark.cloned().unwrap_or_else(|| Self::start(now));
        next.version += 1;
        next.updated = now;
        next.witnesses.retain(|witness| to.as_ref().is_some_and(|to| witness.position <= *to));
        next.position = to;
        next
    }
}

impl Witness {
    fn of(record: &RecordDigest) -> Self {
        Self { position: record.position.clone(), digest: record.digest }
    }

    /// The approximate size of the witness in the item, in bytes.
    fn bytes(&self) -> usize {
        self.position.to_string().len() + 21
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// A record whose content follows from position and salt. There is one record per second, from producers whose
    /// clocks differ.
    fn record(position: u64, salt: u64) -> RecordDigest {
        let mut digest = [0; 16];
        digest[..8].copy_from_slice(&(position.wrapping_mul(31) ^ salt).to_be_bytes());
        digest[8..].copy_from_slice(&salt.to_be_bytes());
        let jitter = (position * 7919 % 13) as i64 * 400;
        RecordDigest { position: Position::from(position), timestamp_ms: position as i64 * 1000 + jitter, digest }
    }

    fn ran(runs: &[Vec<RecordDigest>]) -> Option<Watermark> {
        runs.iter().fold(None, |watermark, run| {
            let now = EpochMs(run.last().map_or(0, |record| record.timestamp_ms.unsigned_abs()));
            Some(Watermark::after(watermark.as_ref(), run, now))
        })
    }

    /// Runs of records at positions with gaps.
    fn any_runs() -> impl Strategy<Value = Vec<Vec<RecordDigest>>> {
        prop::collection::vec(prop::collection::vec(1_u64..4, 1..12), 1..20).prop_map(|runs| {
            let mut position = 0;
            let mut of_run = |steps: Vec<u64>| {
                let records = steps.into_iter().map(|step| {
                    position += step;
                    record(position, 0)
                });
                records.collect::<Vec<_>>()
            };
            runs.into_iter().map(&mut of_run).collect()
        })
    }

    proptest! {
        #[test]
        fn what_was_run_is_always_a_duplicate_and_what_was_not_is_never(runs in any_runs(), beyond in 1_u64..100) {
            let watermark = ran(&runs);
            for record in runs.iter().flatten() {
                prop_assert_eq!(decide(watermark.as_ref(), record), Step::Duplicate);
            }
            let last = watermark.as_ref().unwrap().position.clone().unwrap().to_string().parse::<u64>().unwrap();
            prop_assert_eq!(decide(watermark.as_ref(), &record(last + beyond, 0)), Step::Run);
            let bytes: usize = watermark.unwrap().witnesses.iter().map(Witness::bytes).sum();
            prop_assert!(bytes <= WITNESS_BYTES, "{bytes}");
        }

        #[test]
        fn a_topic_created_anew_is_noticed_at_its_first_record(runs in any_runs()) {
            let watermark = ran(&runs);
            let other = RecordDigest { digest: [9; 16], ..runs[0][0].clone() };
            prop_assert_eq!(decide(watermark.as_ref(), &other), Step::Regression);
        }

        #[test]
        fn whatever_time_stamp_a_record_has_that_was_not_run_it_is_no_regression(runs in any_runs(), timestamp_ms: i64) {
            let watermark = ran(&runs).unwrap();
            let last = runs.last().unwrap().last().unwrap().position.to_string().parse::<u64>().unwrap();
            for position in (0..last).map(Position::from).filter(|position| watermark.witness(position).is_none()) {
                let given_up = RecordDigest { position, timestamp_ms, digest: [9; 16] };
                prop_assert_eq!(decide(Some(&watermark), &given_up), Step::Duplicate);
            }
        }

        #[test]
        fn a_repetition_of_the_latest_batch_with_other_records_is_noticed(runs in any_runs()) {
            let watermark = ran(&runs);
            let last = runs.last().unwrap().last().unwrap();
            let other = RecordDigest { digest: [9; 16], ..last.clone() };
            prop_assert_eq!(decide(watermark.as_ref(), &other), Step::Regression);
        }

        #[test]
        fn after_a_rewind_all_above_runs_again_and_all_below_is_a_duplicate(runs in any_runs(), to in 0_u64..50) {
            let watermark = Watermark::rewound(ran(&runs).as_ref(), Some(Position::from(to)), EpochMs(1_000_000_000));
            for record in runs.iter().flatten() {
                let expected = if record.position > Position::from(to) { Step::Run } else { Step::Duplicate };
                prop_assert_eq!(decide(Some(&watermark), record), expected);
            }
        }
    }

    /// A recreated topic may be delivered from any position; it must soon reach a witness.
    #[test]
    fn from_whatever_place_on_a_topic_created_anew_is_delivered_it_meets_a_witness_before_long() {
        let offsets: Vec<u64> = (0..400_000).collect();
        for per_run in [1, 7, 99] {
            let runs =
                offsets.chunks(per_run).take(4_000).map(|run| run.iter().map(|offset| record(*offset, 0)).collect());
            let watermark = ran(&runs.collect::<Vec<_>>()).unwrap();
            let places: Vec<f64> = watermark.witnesses.iter().map(|witness| witness.position.magnitude()).collect();
            let widest = places.windows(2).skip(1).map(|pair| pair[1] / pair[0]).fold(0.0, f64::max);
            assert!(widest <= 4.0, "{per_run} records in a run: {widest} in {places:?}");
        }
    }

    #[test]
    fn a_watermark_rewound_to_the_start_lets_everything_run() {
        let rewound = Watermark::rewound(ran(&[vec![record(5, 0)]]).as_ref(), None, EpochMs(0));
        assert_eq!((decide(Some(&rewound), &record(0, 1)), rewound.version), (Step::Run, 2));
        assert!(rewound.witnesses.is_empty());
    }
}
