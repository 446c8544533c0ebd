//! Up to where a partition is done: pure, like the protocol.
//!
//! **A repetition, or another record at an old place?** Both show a position at or below the watermark. A repetition is
//! to be skipped; but a topic that was deleted and created anew starts its offsets again, and to skip those records
//! would lose them in silence. So the watermark keeps evidence, of constant size, and a record below it is
//! [evidently another](Step::Regression) if
//!
//! * it stands at the place of a *witness* and has another digest. Witnesses are the first record that was ever run,
//!   which a topic created anew delivers first, and the last ones of the latest runs: what Lambda repeats begins within
//!   the batch that it could not checkpoint, and that batch's last record is one of these; or
//! * its timestamp is newer than that of every record that was run, *and* than the watermark's last move. A repetition
//!   is of a record that was run, so it cannot be newer than the newest of them; the second half spares a record that
//!   the mapping gave up on, which was never run and may come once more after others were.
//!
//! Neither is ever true of a repetition, so that there is no false alarm. What stays undetected is a partition created
//! anew whose records are all old, stand at none of the witnesses' places, and are fewer than before; or one whose first
//! records ran before a batch of its earlier life came to its end, and whose next ones are no newer than those. It is the
//! operator who deletes a topic: give it a new generation then.

use crate::protocol::EpochMs;
use crate::stream::Position;

/// What a watermark compares of a record.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Seen {
    /// Its place.
    pub position: Position,
    /// Its timestamp, in epoch milliseconds, by the source's clocks.
    pub timestamp_ms: i64,
    /// The first 16 bytes of a SHA-256 over timestamp, key and value.
    pub digest: [u8; 16],
}

/// A record that was run, remembered as evidence.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Witness {
    /// Its place.
    pub position: Position,
    /// Its digest.
    pub digest: [u8; 16],
}

/// Up to where a partition is done.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Watermark {
    /// Counts the moves: what a write's condition compares.
    pub version: u64,
    /// The last record that is done; none after a rewind to the start.
    pub position: Option<Position>,
    /// The newest timestamp of all records that were run.
    pub newest_ms: i64,
    /// The last move.
    pub updated: EpochMs,
    /// The first record that was run and the last ones of the latest runs, in the order of their places.
    pub witnesses: Vec<Witness>,
}

/// What a record means, by the watermark.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Step {
    /// It is above the watermark, next or behind a gap.
    Run,
    /// It is at or below the watermark: done.
    Duplicate,
    /// It is at or below the watermark and evidently not what was there.
    Regression(Evidence),
}

/// Why a record is not a repetition.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Evidence {
    /// Another record stood at its place.
    OtherRecord,
    /// It is newer than everything that was run.
    NewerRecord,
}

/// Reads a record.
#[must_use]
pub fn decide(watermark: Option<&Watermark>, record: &Seen) -> Step {
    let Some(watermark) = watermark else { return Step::Run };
    if watermark.position.as_ref().is_none_or(|position| record.position > *position) {
        return Step::Run;
    }
    match watermark.witnesses.iter().find(|witness| witness.position == record.position) {
        Some(witness) if witness.digest == record.digest => Step::Duplicate,
        Some(_) => Step::Regression(Evidence::OtherRecord),
        None if watermark.is_newer(record) => Step::Regression(Evidence::NewerRecord),
        None => Step::Duplicate,
    }
}

/// How many witnesses are kept.
const WITNESSES: usize = 8;

impl Watermark {
    /// Where no record has run.
    const fn start(now: EpochMs) -> Self {
        Self { version: 0, position: None, newest_ms: i64::MIN, updated: now, witnesses: Vec::new() }
    }

    /// The watermark after a run of records above it, in order. Unchanged but for its version if there are none.
    #[must_use]
    pub fn after(watermark: Option<&Self>, run: &[Seen], now: EpochMs) -> Self {
        let mut next = watermark.cloned().unwrap_or_else(|| Self::start(now));
        let newest = run.iter().map(|record| record.timestamp_ms).max().unwrap_or(i64::MIN);
        next.version += 1;
        next.newest_ms = next.newest_ms.max(newest);
        next.updated = now;
        if next.witnesses.is_empty() {
            next.witnesses.extend(run.first().map(Witness::of));
        }
        if let Some(last) = run.last() {
            next.position = Some(last.position.clone());
            if next.witnesses.last().is_none_or(|witness| witness.position != last.position) {
                next.witnesses.push(Witness::of(last));
            }
        }
        while next.witnesses.len() > WITNESSES {
            next.witnesses.remove(1); // never the first record that was ever run
        }
        next
    }

    /// The watermark rewound to a place, or to the start: what is above runs, or runs again.
    #[must_use]
    pub fn rewound(watermark: Option<&Self>, to: Option<Position>, now: EpochMs) -> Self {
        let mut next = watermark.cloned().unwrap_or_else(|| Self::start(now));
        next.version += 1;
        next.updated = now;
        next.witnesses.retain(|witness| to.as_ref().is_some_and(|to| witness.position <= *to));
        next.position = to;
        next
    }

    fn is_newer(&self, record: &Seen) -> bool {
        let updated_ms = i64::try_from(self.updated.0).unwrap_or(i64::MAX);
        record.timestamp_ms > self.newest_ms.max(updated_ms)
    }
}

impl Witness {
    fn of(record: &Seen) -> Self {
        Self { position: record.position.clone(), digest: record.digest }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// A partition whose records' content follows from a salt; produced one a second, with producers' clocks that differ.
    fn record(position: u64, salt: u64) -> Seen {
        let mut digest = [0; 16];
        digest[..8].copy_from_slice(&(position.wrapping_mul(31) ^ salt).to_be_bytes());
        digest[8..].copy_from_slice(&salt.to_be_bytes());
        let jitter = (position * 7919 % 13) as i64 * 400;
        Seen { position: Position::from(position), timestamp_ms: position as i64 * 1000 + jitter, digest }
    }

    fn ran(runs: &[Vec<Seen>]) -> Option<Watermark> {
        runs.iter().fold(None, |watermark, run| {
            let now = EpochMs(run.last().map_or(0, |record| record.timestamp_ms.unsigned_abs()));
            Some(Watermark::after(watermark.as_ref(), run, now))
        })
    }

    /// Positions with gaps, in runs.
    fn any_runs() -> impl Strategy<Value = Vec<Vec<Seen>>> {
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
            prop_assert!(watermark.unwrap().witnesses.len() <= 8);
        }

        #[test]
        fn a_topic_created_anew_is_noticed_at_its_first_record(runs in any_runs(), later_ms in 1_i64..1_000_000) {
            let watermark = ran(&runs);
            let first = &runs[0][0];
            let other = Seen { digest: [9; 16], ..first.clone() };
            prop_assert_eq!(decide(watermark.as_ref(), &other), Step::Regression(Evidence::OtherRecord));
            // Retention has removed the first ones, or the group was reset to the latest.
            let known = watermark.as_ref().unwrap();
            let timestamp_ms = known.newest_ms.max(known.updated.0 as i64) + later_ms;
            let newer = Seen { position: Position::from(0), timestamp_ms, digest: [9; 16] };
            prop_assert_eq!(decide(watermark.as_ref(), &newer), Step::Regression(Evidence::NewerRecord));
        }

        #[test]
        fn a_repetition_of_the_latest_batch_with_other_records_is_noticed(runs in any_runs()) {
            let watermark = ran(&runs);
            let last = runs.last().unwrap().last().unwrap();
            let other = Seen { digest: [9; 16], ..last.clone() };
            prop_assert_eq!(decide(watermark.as_ref(), &other), Step::Regression(Evidence::OtherRecord));
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

    #[test]
    fn a_record_that_was_given_up_on_and_comes_again_raises_no_alarm() {
        // Record 2 has a clock that runs ahead of record 3's; it never ran.
        let given_up = Seen { timestamp_ms: 9_000, ..record(2, 0) };
        let one = Watermark::after(None, &[Seen { timestamp_ms: 8_000, ..record(1, 0) }], EpochMs(8_000));
        let behind = Watermark::after(Some(&one), &[Seen { timestamp_ms: 8_500, ..record(3, 0) }], EpochMs(9_500));
        assert_eq!(decide(Some(&behind), &given_up), Step::Duplicate);
    }

    #[test]
    fn a_watermark_rewound_to_the_start_lets_everything_run() {
        let rewound = Watermark::rewound(ran(&[vec![record(5, 0)]]).as_ref(), None, EpochMs(0));
        assert_eq!((decide(Some(&rewound), &record(0, 1)), rewound.version), (Step::Run, 2));
        assert!(rewound.witnesses.is_empty());
    }
}
