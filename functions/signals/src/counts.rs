//! The counts of one entity in one window.

use crate::{Answer, Detector, Distinct, Facts};

/// Replays of answers older than this count as [old](Detector::OldReplay).
const OLD_S: u64 = 3_600;
/// The number of standard errors by which there may be fewer payment methods than payments by chance. The distribution
/// is not normal: one window in a hundred thousand has more.
const CHANCE: f32 = 8.0;

/// The counts of one entity in one window. They are additive: the counts of two sets of requests are the sum of their
/// counts, in any order.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Counts {
    /// Requests.
    pub requests: u32,
    /// Payments that ran and ended: succeeded or declined.
    pub payments: u32,
    /// Of those, declined.
    pub declined: u32,
    /// Of those, with a [hard](Facts::hard) code.
    pub hard_declined: u32,
    /// Of the declined ones, those of a [small](Facts::small) amount.
    pub small_declined: u32,
    /// Of the declined ones, those whose payment method is known.
    pub declined_with_instrument: u32,
    /// The distinct payment methods among those.
    pub declined_instruments: Distinct,
    /// Of an account: the distinct principals among the declined payments.
    pub declined_callers: Distinct,
    /// Requests whose key was used with another request.
    pub mismatches: u32,
    /// Requests that were answered "in progress".
    pub in_progress: u32,
    /// The distinct keys of those.
    pub in_progress_keys: Distinct,
    /// Replays of answers older than an hour.
    pub old_replays: u32,
    /// Requests that ran the handler.
    pub runs: u32,
    /// Of those, [slow](Facts::slow) ones.
    pub slow: u32,
    /// Of the runs, those with an unknown outcome.
    pub unknown: u32,
    /// Of the runs, those refused as invalid.
    pub refused: u32,
    /// Of the refused ones, refunds.
    pub refunds_refused: u32,
    /// Requests without a usable key.
    pub no_key: u32,
}

/// The number of times that something happened, of the times that it could: `k` of `n`. Faded counts are fractions.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Pair {
    /// The number of times that it happened.
    pub k: f32,
    /// The number of times that it could happen.
    pub n: f32,
}

impl Counts {
    /// Adds one request.
    pub fn add(&mut self, facts: &Facts<'_>) {
        bump(&mut self.requests);
        if facts.ran {
            bump(&mut self.runs);
            if facts.slow {
                bump(&mut self.slow);
            }
        }
        match facts.answer {
            Answer::Succeeded if facts.ran && !facts.refund => bump(&mut self.payments),
            Answer::Declined if facts.ran => self.add_declined(facts),
            Answer::Refused if facts.ran => {
                bump(&mut self.refused);
                if facts.refund {
                    bump(&mut self.refunds_refused);
                }
            }
            Answer::Unknown if facts.ran => bump(&mut self.unknown),
            Answer::Replayed { age_s } if age_s > OLD_S => bump(&mut self.old_replays),
            Answer::InProgress => {
                bump(&mut self.in_progress);
                if let Some(record) = facts.record {
                    self.in_progress_keys.insert(record);
                }
            }
            Answer::Mismatch => bump(&mut self.mismatches),
            Answer::NoKey => bump(&mut self.no_key),
            Answer::Succeeded
            | Answer::Declined
            | Answer::Refused
            | Answer::Unknown
            | Answer::Replayed { .. }
            | Answer::Other => {}
        }
    }

    fn add_declined(&mut self, facts: &Facts<'_>) {
        bump(&mut self.payments);
        bump(&mut self.declined);
        if facts.hard {
            bump(&mut self.hard_declined);
        }
        if facts.small {
            bump(&mut self.small_declined);
        }
        if let Some(instrument) = facts.instrument {
            bump(&mut self.declined_with_instrument);
            self.declined_instruments.insert(instrument);
        }
        if let Some(caller) = facts.caller {
            self.declined_callers.insert(caller);
        }
    }

    /// Adds other counts of the same entity and window.
    pub fn merge(&mut self, other: &Self) {
        self.declined_instruments.union(&other.declined_instruments);
        self.declined_callers.union(&other.declined_callers);
        self.in_progress_keys.union(&other.in_progress_keys);
        for ((_, own), (_, added)) in self.numbers_mut().into_iter().zip(other.numbers()) {
            *own = own.saturating_add(added);
        }
    }

    /// The pair of counts that a detector judges.
    #[must_use]
    pub fn pair(&self, detector: Detector) -> Pair {
        let declined_instruments = self.declined_instruments.count().min(self.declined_with_instrument);
        let chance = (CHANCE * self.declined_instruments.error()) as u32;
        let same_instrument = (self.declined_with_instrument - declined_instruments).saturating_sub(chance);
        let by_same_caller = self.declined_by_same_caller();
        let payments = self.payments.saturating_sub(by_same_caller);
        let (k, n) = match detector {
            Detector::Declined => (self.declined.saturating_sub(by_same_caller), payments),
            Detector::HardDeclined => (self.hard_declined, self.declined),
            Detector::DistinctInstruments => {
                (declined_instruments.min(self.declined.saturating_sub(by_same_caller)), payments)
            }
            Detector::SameInstrument => (same_instrument.saturating_sub(by_same_caller), payments),
            Detector::SmallDeclined => (self.small_declined, self.declined),
            Detector::Mismatch => (self.mismatches, self.requests),
            Detector::Early => return self.early(),
            Detector::OldReplay => (self.old_replays, self.requests),
            Detector::Unknown => (self.unknown, self.runs),
            Detector::Refused => (self.refused, self.runs),
            Detector::NoKey => (self.no_key, self.requests),
            Detector::RefundRefused => (self.refunds_refused, self.runs),
        };
        // Stored counts may come from lines of two versions: k is never more than n.
        Pair { k: k.min(n) as f32, n: n as f32 }
    }

    /// An account's declined payments, each principal's counted once: a single principal's repetitions are counted for
    /// that principal, and an account shows what several do together.
    fn declined_by_same_caller(&self) -> u32 {
        match self.declined_callers.count() {
            0 => 0,
            callers => self.declined.saturating_sub(callers),
        }
    }

    /// Each further repetition of a key is weaker evidence: nine of one key are one client's loop, and not nine pieces
    /// of evidence. So a key that was repeated *r* times counts as the decimal logarithm of 1 + *r*.
    fn early(&self) -> Pair {
        let keys = self.in_progress_keys.count().clamp(1, self.in_progress.max(1));
        let repetitions = self.in_progress.saturating_sub(keys);
        let k = keys as f32 * (1.0 + repetitions as f32 / keys as f32).log10();
        Pair { k, n: k + self.requests.saturating_sub(repetitions) as f32 }
    }

    /// The slow runs, of all runs. This is not a detector, because it describes the service and not the caller.
    pub(crate) fn slow_runs(&self) -> Pair {
        Pair { k: self.slow.min(self.runs) as f32, n: self.runs as f32 }
    }

    /// The twelve pairs, in the order of [`Detector::ALL`].
    #[must_use]
    pub fn pairs(&self) -> [Pair; 12] {
        Detector::ALL.map(|detector| self.pair(detector))
    }

    /// The plain numbers with the names of their stored attributes; the three [`Distinct`] are apart.
    #[must_use]
    pub fn numbers(&self) -> [(&'static str, u32); 15] {
        let mut copy = self.clone();
        copy.numbers_mut().map(|(name, number)| (name, *number))
    }

    /// The plain numbers with the names of their stored attributes, to be set from an item.
    pub fn numbers_mut(&mut self) -> [(&'static str, &mut u32); 15] {
        [
            ("requests", &mut self.requests),
            ("payments", &mut self.payments),
            ("declined", &mut self.declined),
            ("hard_declined", &mut self.hard_declined),
            ("small_declined", &mut self.small_declined),
            ("declined_with_instrument", &mut self.declined_with_instrument),
            ("mismatches", &mut self.mismatches),
            ("in_progress", &mut self.in_progress),
            ("old_replays", &mut self.old_replays),
            ("runs", &mut self.runs),
            ("slow", &mut self.slow),
            ("unknown", &mut self.unknown),
            ("refused", &mut self.refused),
            ("refunds_refused", &mut self.refunds_refused),
            ("no_key", &mut self.no_key),
        ]
    }
}

impl Pair {
    /// `k / n`, and 0 of nothing.
    #[must_use]
    pub fn rate(self) -> f32 {
        if self.n > 0.0 { self.k / self.n } else { 0.0 }
    }

    pub(crate) fn scaled(self, factor: f32) -> Self {
        Self { k: self.k * factor, n: self.n * factor }
    }

    pub(crate) fn plus(self, other: Self) -> Self {
        Self { k: self.k + other.k, n: self.n + other.n }
    }
}

fn bump(number: &mut u32) {
    *number = number.saturating_add(1);
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn answers() -> impl Strategy<Value = Answer> {
        prop_oneof![
            Just(Answer::Succeeded),
            Just(Answer::Declined),
            Just(Answer::Refused),
            (0..7_200_u64).prop_map(|age_s| Answer::Replayed { age_s }),
            Just(Answer::InProgress),
            Just(Answer::Mismatch),
            Just(Answer::Unknown),
            Just(Answer::NoKey),
            Just(Answer::Other),
        ]
    }

    type Drawn = (Answer, [bool; 5], u8);

    fn counted<'d>(drawn: impl IntoIterator<Item = &'d Drawn>) -> Counts {
        drawn.into_iter().fold(Counts::default(), |mut counts, (answer, [ran, slow, refund, hard, small], digest)| {
            let (answer, ran, slow, refund, hard, small) = (*answer, *ran, *slow, *refund, *hard, *small);
            let digest = [*digest];
            let (instrument, record, caller) = (Some(&digest[..]), Some(&digest[..]), Some(&digest[..]));
            counts.add(&Facts { answer, ran, slow, refund, hard, small, instrument, caller, record });
            counts
        })
    }

    proptest! {
        #[test]
        fn counts_of_parts_add_up_in_any_order(
            drawn in proptest::collection::vec((answers(), any::<[bool; 5]>(), 0..9_u8), 0..60),
            cut in 0..60_usize,
        ) {
            let (first, last) = drawn.split_at(cut.min(drawn.len()));
            let mut forwards = counted(first);
            forwards.merge(&counted(last));
            let mut backwards = counted(last);
            backwards.merge(&counted(first));
            prop_assert_eq!(&forwards, &counted(&drawn));
            prop_assert_eq!(&backwards, &forwards);
            for pair in forwards.pairs() {
                prop_assert!(0.0 <= pair.k && pair.k <= pair.n, "{:?}", pair);
            }
        }
    }

    #[test]
    fn a_retry_that_is_told_an_old_unknown_outcome_is_no_run() {
        let told = (Answer::Unknown, [false; 5], 1);
        let ran = (Answer::Unknown, [true, false, false, false, false], 1);
        assert_eq!(counted(&[ran, told, told, told]).pair(Detector::Unknown), Pair { k: 1.0, n: 1.0 });
    }

    #[test]
    fn an_account_shows_what_several_do_and_not_what_one_repeats() {
        let mut counts = Counts::default();
        // Five declines of one caller, and one each of four others; six of nine with the same card.
        for (caller, instrument) in [(1, 1), (1, 1), (1, 1), (1, 1), (1, 2), (2, 1), (3, 1), (4, 4), (5, 5)] {
            let (caller, instrument): ([u8; 1], [u8; 1]) = ([caller], [instrument]);
            let (caller, instrument) = (Some(&caller[..]), Some(&instrument[..]));
            let answer = Answer::Declined;
            let common = Facts {
                answer,
                ran: true,
                slow: false,
                refund: false,
                hard: false,
                small: false,
                instrument,
                caller,
                record: None,
            };
            counts.add(&common);
        }
        let pair = |detector| {
            let Pair { k, n } = counts.pair(detector);
            (k, n)
        };
        assert_eq!(pair(Detector::Declined), (5.0, 5.0));
        assert_eq!(pair(Detector::DistinctInstruments), (4.0, 5.0));
        // Of the five that repeat a card, four are the first caller's.
        assert_eq!(pair(Detector::SameInstrument), (1.0, 5.0));
    }

    #[test]
    fn only_repetitions_under_one_key_are_early() {
        let told = |key| (Answer::InProgress, [false; 5], key);
        assert_eq!(counted(&[told(1), told(2), told(3)]).pair(Detector::Early).k, 0.0);
        // Nine repetitions of a key count once, and ninety-nine twice.
        for (repetitions, k) in [(9, 1.0), (99, 2.0)] {
            let pair = counted(&vec![told(1); 1 + repetitions]).pair(Detector::Early);
            assert!((pair.k - k).abs() < 1e-5 && (pair.n - 1.0 - k).abs() < 1e-5, "{pair:?}");
        }
        let two_keys: Vec<_> = [1, 2].into_iter().flat_map(|key| vec![told(key); 10]).collect();
        assert!((counted(&two_keys).pair(Detector::Early).k - 2.0).abs() < 1e-5);
    }
}
