//! Findings in words.

use std::fmt;

use crate::window::DAY_S;
use crate::{Counts, Detector, Finding, Horizon, WindowTime};

/// A finding in words: "41 of 44 payments declined, 14:05–14:10 UTC; peers 9 %, own past 8 %". Times are UTC.
#[derive(Clone, Debug, PartialEq)]
pub struct Reason {
    finding: Finding,
    instruments: u32,
    /// Whether each caller's repetitions were counted once.
    once_a_caller: bool,
    at: WindowTime,
}

impl Reason {
    /// The words for a finding in a window with these counts.
    #[must_use]
    pub fn new(finding: Finding, counts: &Counts, at: WindowTime) -> Self {
        let instruments = counts.declined_instruments.count().min(counts.declined_with_instrument);
        let by_callers =
            matches!(finding.detector, Detector::Declined | Detector::DistinctInstruments | Detector::SameInstrument);
        let once_a_caller = by_callers && counts.declined_callers.count() > 0;
        Self { finding, instruments, once_a_caller, at }
    }

    /// The detector's count, in words, for titles and filters.
    #[must_use]
    pub const fn title(detector: Detector) -> &'static str {
        match detector {
            Detector::Declined => "payments declined",
            Detector::HardDeclined => "declined payments were of a wrong card",
            Detector::DistinctInstruments => "payments declined with different payment methods",
            Detector::SameInstrument => "payments declined again with the same payment method",
            Detector::SmallDeclined => "declined payments were of a small amount",
            Detector::Mismatch => "requests with a used key and other content",
            Detector::Early => "requests repeated before their time, each further one of a key counted less",
            Detector::OldReplay => "requests for answers older than an hour",
            Detector::Unknown => "runs without a known outcome",
            Detector::Refused => "runs refused as invalid",
            Detector::NoKey => "requests without a usable key",
            Detector::RefundRefused => "runs that were refused refunds",
        }
    }

    /// The odds in words: "1 window in 50,000 at most", if the model is right.
    #[must_use]
    pub fn odds(&self) -> String {
        let windows = self.finding.score.exp().min(1e9);
        let digits = 10_f64.powf(windows.log10().floor());
        format!("1 window in {} at most", thousands((windows / digits).round() * digits))
    }
}

impl fmt::Display for Reason {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Finding { detector, horizon, counted, peers, own, .. } = self.finding;
        write!(formatter, "{} of {} {}", whole(counted.k), whole(counted.n), Self::title(detector))?;
        if matches!((detector, horizon), (Detector::Declined, Horizon::Window)) && self.instruments > 1 {
            write!(formatter, " with {} payment methods", self.instruments)?;
        }
        if self.once_a_caller {
            formatter.write_str(", each caller's once")?;
        }
        let end = clock(self.at.end_s());
        match horizon {
            Horizon::Window => write!(formatter, ", {}–{end} UTC", clock(self.at.start_s))?,
            Horizon::Hour => write!(formatter, " in about an hour and a half before {end} UTC")?,
            Horizon::HalfDay => write!(formatter, " in about seventeen hours before {end} UTC")?,
        }
        write!(formatter, "; peers {}", percent(peers))?;
        match own {
            Some(own) => write!(formatter, ", own past {}", percent(own)),
            None => formatter.write_str(", no own past"),
        }
    }
}

fn whole(count: f32) -> String {
    thousands(f64::from(count).round())
}

fn percent(rate: f64) -> String {
    let percent = rate * 100.0;
    if percent >= 1.0 || percent == 0.0 {
        format!("{percent:.0} %")
    } else if percent >= 0.1 {
        format!("{percent:.1} %")
    } else {
        "below 0.1 %".to_owned()
    }
}

fn clock(epoch_s: u64) -> String {
    let minutes = epoch_s % DAY_S / 60;
    format!("{:02}:{:02}", minutes / 60, minutes % 60)
}

fn thousands(number: f64) -> String {
    let digits = format!("{number:.0}");
    let mut grouped = String::new();
    for (index, digit) in digits.chars().enumerate() {
        if index > 0 && (digits.len() - index) % 3 == 0 {
            grouped.push(',');
        }
        grouped.push(digit);
    }
    grouped
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Pair;

    fn finding(detector: Detector, horizon: Horizon, own: Option<f64>) -> Finding {
        Finding { detector, horizon, counted: Pair { k: 41.0, n: 44.0 }, score: 10.8, peers: 0.09, own }
    }

    #[test]
    fn a_card_test_is_told_in_words() {
        let mut counts = Counts { declined_with_instrument: 41, ..Counts::default() };
        for instrument in 0..39_u8 {
            counts.declined_instruments.insert(&[instrument]);
        }
        let at = WindowTime { start_s: 20_000 * DAY_S + 14 * 3_600 + 300, length_s: 300 };
        let told = Reason::new(finding(Detector::Declined, Horizon::Window, Some(0.08)), &counts, at);
        assert_eq!(
            told.to_string(),
            "41 of 44 payments declined with 39 payment methods, 14:05–14:10 UTC; peers 9 %, own past 8 %"
        );
        assert_eq!(told.odds(), "1 window in 50,000 at most");
        let told = Reason::new(finding(Detector::Mismatch, Horizon::HalfDay, None), &counts, at);
        assert_eq!(
            told.to_string(),
            "41 of 44 requests with a used key and other content in about seventeen hours before 14:10 UTC; peers 9 %, no own past"
        );
    }

    #[test]
    fn an_account_s_declines_are_told_as_those_of_callers() {
        let mut counts = Counts::default();
        (0..41_u8).for_each(|caller| counts.declined_callers.insert(&[caller]));
        let at = WindowTime { start_s: 20_000 * DAY_S + 14 * 3_600 + 300, length_s: 300 };
        let told = |detector| Reason::new(finding(detector, Horizon::Window, None), &counts, at).to_string();
        let declined = "41 of 44 payments declined, each caller's once, 14:05–14:10 UTC; peers 9 %, no own past";
        assert_eq!(told(Detector::Declined), declined);
        assert!(!told(Detector::Refused).contains("once"));
    }

    #[test]
    fn small_rates_are_not_rounded_to_nothing() {
        assert_eq!([0.0, 0.0004, 0.004, 0.04].map(percent), ["0 %", "below 0.1 %", "0.4 %", "4 %"]);
    }
}
