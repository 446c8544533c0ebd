//! The model of peers' rates: learned from the service's own traffic, without labels.

use crate::class::{CLASSES, Class};
use crate::codec::{Reader, Unreadable};
use crate::grid::{RATES, normalised};
use crate::prior::Prior;
use crate::{Detector, Kind, Pair};

const VERSION: u8 = 3;
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

impl Default for Model {
    fn default() -> Self {
        Self { priors: Vec::new(), base_rates: [[0.0; 12]; 2], slow_rates: [0.0; 2] }
    }
}

impl Model {
    pub(crate) fn new(priors: Vec<Prior>, base_rates: [[f32; 12]; 2], slow_rates: [f32; 2]) -> Self {
        Self { priors, base_rates, slow_rates }
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
