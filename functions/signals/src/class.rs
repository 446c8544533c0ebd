//! Classes of entities that the model compares with each other.

use crate::{Detector, Horizon, Kind};

/// The number of classes.
pub(crate) const CLASSES: usize = 2 * SIZES * 12 * 3;
const SIZES: usize = 5;

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

impl Class {
    pub(crate) fn index(self) -> u16 {
        let index = ((self.kind.index() * SIZES + self.size as usize) * 12 + self.detector.index()) * 3;
        // At most CLASSES - 1, which is 359.
        (index + self.horizon.index()) as u16
    }

    pub(crate) fn at(index: usize) -> Self {
        Self {
            horizon: Horizon::ALL[index % 3],
            detector: Detector::ALL[index / 3 % 12],
            size: SizeClass::ALL[index / 36 % SIZES],
            kind: Kind::ALL[index / (36 * SIZES)],
        }
    }
}

impl SizeClass {
    pub(crate) const ALL: [Self; SIZES] = [Self::Few, Self::Several, Self::Tens, Self::Many, Self::Most];

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
