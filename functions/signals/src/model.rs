//! The model of peers' rates: learned from the service's own traffic, without labels.

use crate::codec::{Reader, Unreadable};
use crate::grid::{PLAIN, RATES, normalised};
use crate::prior::{Observed, Prior};
use crate::{Detector, Horizon, Kind, Pair, Sample};

const VERSION: u8 = 3;
pub(crate) const CLASSES: usize = 2 * SIZES * 12 * 3;
const SIZES: usize = 5;
/// A class by size with fewer pairs than this learns from all sizes.
const ENOUGH: f64 = 200.0;
/// The maximum weight of an entity in the base rates and in the moment.
pub(crate) const VOTES: f32 = 20.0;
/// The divisions of a weight's logarithm in its byte.
const WEIGHT_STEPS: f64 = 12.0;

/// The model of peers: for each class of entities the distribution of their rates, and for each detector the rate of
/// the whole service.
#[derive(Clone, Debug, PartialEq)]
pub struct Model {
    /// Empty as long as nothing was learned.
    priors: Vec<Prior>,
    base_rates: [[f32; 12]; 2],
    /// The shares of slow runs.
    slow_rates: [f32; 2],
}

/// Entities that are compared with each other.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Class {
    pub(crate) kind: Kind,
    pub(crate) size: SizeClass,
    pub(crate) detector: Detector,
    pub(crate) horizon: Horizon,
}

/// The size class of a pair's `n`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum SizeClass {
    Few,
    /// The most that a person tries without success: six, and the faded rest of an earlier payment.
    Several,
    Tens,
    Many,
    Most,
}

impl Default for Model {
    fn default() -> Self {
        Self { priors: Vec::new(), base_rates: [[0.0; 12]; 2], slow_rates: [0.0; 2] }
    }
}

impl Model {
    /// Learns from a sample, for example of the last seven days. An empty sample gives an empty model.
    #[must_use]
    pub fn learn(sample: &Sample) -> Self {
        if sample.is_empty() {
            return Self::default();
        }
        let priors = (0..CLASSES).map(|index| Prior::learn(&pairs_for(sample, Class::at(index)), &PLAIN)).collect();
        let base_rates = Kind::ALL.map(|kind| Detector::ALL.map(|detector| base_rate(sample, kind, detector)));
        let slow_rates = Kind::ALL.map(|kind| rate_of(&sample.slow_runs(kind)));
        // The result is read from its bytes, so that scoring uses exactly the stored model.
        Self::from_bytes(&Self { priors, base_rates, slow_rates }.to_bytes()).unwrap_or_default()
    }

    /// Whether anything was learned. Without that nothing is scored and nothing is gated.
    #[must_use]
    pub fn is_learned(&self) -> bool {
        !self.priors.is_empty()
    }

    pub(crate) fn prior(&self, class: Class) -> Option<&Prior> {
        self.priors.get(usize::from(class.index()))
    }

    /// The usual rate of a detector over the whole service.
    #[must_use]
    pub fn base_rate(&self, kind: Kind, detector: Detector) -> f32 {
        self.base_rates[kind.index()][detector.index()]
    }

    /// The usual share of slow runs over the whole service.
    pub(crate) fn slow_rate(&self, kind: Kind) -> f32 {
        self.slow_rates[kind.index()]
    }

    /// Its bytes, about 14 KB.
    #[must_use]
    pub fn to_bytes(&self) -> Vec<u8> {
        let mut bytes = vec![VERSION];
        for rate in self.base_rates.as_flattened().iter().chain(&self.slow_rates) {
            bytes.extend(rate.to_be_bytes());
        }
        for prior in &self.priors {
            bytes.extend(prior.0.map(weight_to_byte));
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
        let (mut base_rates, mut slow_rates) = ([[0.0; 12]; 2], [0.0; 2]);
        for rate in base_rates.as_flattened_mut().iter_mut().chain(&mut slow_rates) {
            *rate = reader.f32()?;
        }
        let mut priors = Vec::new();
        while !reader.is_empty() {
            priors.push(Prior(normalised(reader.array::<RATES>()?.map(weight_from_byte))));
        }
        let is_whole = priors.is_empty() || priors.len() == CLASSES;
        is_whole.then_some(Self { priors, base_rates, slow_rates }).ok_or(Unreadable)
    }
}

impl Class {
    pub(crate) fn index(self) -> u16 {
        let index = ((self.kind.index() * SIZES + self.size as usize) * 12 + self.detector.index()) * 3;
        // At most CLASSES - 1, which is 359.
        (index + self.horizon.index()) as u16
    }

    fn at(index: usize) -> Self {
        Self {
            horizon: Horizon::ALL[index % 3],
            detector: Detector::ALL[index / 3 % 12],
            size: SizeClass::ALL[index / 36 % SIZES],
            kind: Kind::ALL[index / (36 * SIZES)],
        }
    }
}

impl SizeClass {
    const ALL: [Self; SIZES] = [Self::Few, Self::Several, Self::Tens, Self::Many, Self::Most];

    pub(crate) fn of(n: f32) -> Self {
        match n {
            n if n <= 3.0 => Self::Few,
            n if n <= 6.5 => Self::Several,
            n if n <= 20.0 => Self::Tens,
            n if n <= 100.0 => Self::Many,
            _ => Self::Most,
        }
    }
}

fn pairs_for(sample: &Sample, class: Class) -> Vec<Observed> {
    let own = sample.observed(class);
    if own.iter().map(|pair| pair.times).sum::<f64>() >= ENOUGH {
        return own;
    }
    SizeClass::ALL.into_iter().flat_map(|size| sample.observed(Class { size, ..class })).collect()
}

fn base_rate(sample: &Sample, kind: Kind, detector: Detector) -> f32 {
    let of_size = |size| sample.observed(Class { kind, size, detector, horizon: Horizon::Window });
    let pairs: Vec<_> = SizeClass::ALL.into_iter().flat_map(of_size).collect();
    rate_of(&pairs)
}

/// The rate of all pairs, each weighted by its votes.
fn rate_of(pairs: &[Observed]) -> f32 {
    let votes = pairs.iter().map(|pair| vote(Pair { k: pair.k as f32, n: pair.n as f32 }).scaled(pair.times as f32));
    votes.fold(Pair::default(), Pair::plus).rate()
}

/// A pair that counts at most [`VOTES`].
pub(crate) fn vote(pair: Pair) -> Pair {
    if pair.n > VOTES { pair.scaled(VOTES / pair.n) } else { pair }
}

fn weight_to_byte(weight: f64) -> u8 {
    // A conversion from a float is cut to the range.
    (-weight.ln() * WEIGHT_STEPS).round() as u8
}

fn weight_from_byte(byte: u8) -> f64 {
    (-f64::from(byte) / WEIGHT_STEPS).exp()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_class_has_its_own_place() {
        for index in 0..CLASSES {
            assert_eq!(usize::from(Class::at(index).index()), index);
        }
    }
}

#[cfg(test)]
mod byte_tests {
    use super::*;
    use crate::Unreadable;
    use crate::population::learned;

    #[test]
    fn its_bytes_are_small_and_give_it_back() {
        let model = learned();
        let bytes = model.to_bytes();
        assert!(bytes.len() < 15_000, "{} bytes", bytes.len());
        assert_eq!(Model::from_bytes(&bytes).unwrap(), model);
        assert_eq!(Model::from_bytes(&Model::default().to_bytes()), Ok(Model::default()));
        assert_eq!(Model::from_bytes(&bytes[..bytes.len() - 1]), Err(Unreadable));
        assert_eq!(Model::from_bytes(&[]), Err(Unreadable));
    }
}
