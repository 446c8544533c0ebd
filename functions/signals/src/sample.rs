//! The pairs from which the model is learned.

use std::collections::BTreeMap;

use crate::Counts;
use crate::class::{CLASSES, Class, SizeClass};
use crate::codec::{Reader, Unreadable};
use crate::prior::Observed;
use crate::{Detector, Horizon, Kind, Memory, Moment, Pair, WindowTime};

const VERSION: u8 = 2;
/// How finely counts are divided.
const STEPS: f32 = 12.0;

/// How often each pair was seen in a day or a week, in bins. Additive: samples of several days are merged.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Sample {
    bins: BTreeMap<Bin, u32>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Bin {
    class: u16,
    n: u8,
    k: u8,
}

impl Sample {
    /// Adds a window of an entity, before [`Memory::absorb`], except for detectors that are [gated](Moment::is_gated)
    /// at the moment.
    pub fn observe(&mut self, counts: &Counts, memory: &Memory, moment: &Moment, at: WindowTime) {
        let memory = memory.faded(at);
        for detector in Detector::ALL {
            let pair = counts.pair(detector);
            if pair.n <= 0.0 || moment.is_gated(detector, counts) {
                continue;
            }
            for horizon in Horizon::ALL {
                let pair = memory.over(horizon, detector, pair);
                let class = Class { kind: moment.kind(), size: SizeClass::of(pair.n), detector, horizon };
                self.put(class.index(), pair);
            }
        }
        let slow = counts.slow_runs();
        if slow.n > 0.0 && !moment.is_slow(counts) {
            self.put(slow_class(moment.kind()), slow);
        }
    }

    fn put(&mut self, class: u16, pair: Pair) {
        let bin = Bin { class, n: step_of(pair.n), k: step_of(pair.k) };
        let times = self.bins.entry(bin).or_insert(0);
        *times = times.saturating_add(1);
    }

    /// Adds another sample, of another day for instance.
    pub fn merge(&mut self, other: &Self) {
        for (bin, times) in &other.bins {
            let own = self.bins.entry(*bin).or_insert(0);
            *own = own.saturating_add(*times);
        }
    }

    /// Whether nothing was observed.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.bins.is_empty()
    }

    pub(crate) fn observed(&self, class: Class) -> Vec<Observed> {
        self.of_class(class.index())
    }

    /// The slow runs, of all runs.
    pub(crate) fn slow_runs(&self, kind: Kind) -> Vec<Observed> {
        self.of_class(slow_class(kind))
    }

    fn of_class(&self, class: u16) -> Vec<Observed> {
        let range = Bin { class, n: 0, k: 0 }..=Bin { class, n: u8::MAX, k: u8::MAX };
        self.bins
            .range(range)
            .map(|(bin, times)| {
                let (k, n) = (count_of(bin.k), count_of(bin.n));
                Observed { k: k.min(n), n, times: f64::from(*times) }
            })
            .collect()
    }

    /// Its bytes: 8 for each pair that was seen, at most some hundred KB.
    #[must_use]
    pub fn to_bytes(&self) -> Vec<u8> {
        let mut bytes = vec![VERSION];
        for (bin, times) in &self.bins {
            bytes.extend(bin.class.to_be_bytes());
            bytes.extend([bin.n, bin.k]);
            bytes.extend(times.to_be_bytes());
        }
        bytes
    }

    /// From its bytes.
    ///
    /// # Errors
    ///
    /// If they are of another version, or damaged.
    pub fn from_bytes(bytes: &[u8]) -> Result<Self, Unreadable> {
        let mut reader = Reader::versioned(bytes, VERSION)?;
        let mut bins = BTreeMap::new();
        while !reader.is_empty() {
            let bin = Bin { class: reader.u16()?, n: reader.u8()?, k: reader.u8()? };
            bins.insert(bin, reader.u32()?);
        }
        Ok(Self { bins })
    }
}

/// After the classes of the detectors.
fn slow_class(kind: Kind) -> u16 {
    // At most 361.
    (CLASSES + kind.index()) as u16
}

fn step_of(count: f32) -> u8 {
    // A conversion from a float is cut to the range.
    (count.max(0.0).ln_1p() * STEPS).round() as u8
}

fn count_of(step: u8) -> f64 {
    f64::from((f32::from(step) / STEPS).exp_m1())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::population::{Draws, NOON, calm};

    fn of_a_day(seed: u64) -> Sample {
        let (mut draws, mut sample) = (Draws(seed), Sample::default());
        for _ in 0..500 {
            sample.observe(&draws.honest(), &Memory::default(), &calm(), NOON);
        }
        sample
    }

    #[test]
    fn days_are_merged_in_any_order() {
        let days = [of_a_day(1), of_a_day(2), of_a_day(3)];
        let merged = |order: [usize; 3]| {
            order.into_iter().fold(Sample::default(), |mut sum, day| {
                sum.merge(&days[day]);
                sum
            })
        };
        assert_eq!(merged([0, 1, 2]), merged([2, 0, 1]));
    }

    #[test]
    fn its_bytes_give_it_back() {
        let sample = of_a_day(1);
        let bytes = sample.to_bytes();
        assert_eq!(Sample::from_bytes(&bytes), Ok(sample));
        assert_eq!(Sample::from_bytes(&bytes[..bytes.len() - 1]), Err(Unreadable));
        assert!(Sample::from_bytes(&Sample::default().to_bytes()).unwrap().is_empty());
    }
}
