//! A count of distinct values whose storage is bounded.

use std::collections::BTreeSet;

/// The number of cells. A cell's number has two bytes, so a set of all cells fits into an item easily.
const CELLS: u16 = 1 << 14;
/// Up to this number of marked cells, the estimate is their number.
const EXACT: usize = 100;

/// The number of distinct values that were put in, by *linear counting*: each value marks one of 16,384 cells, and the
/// share of marked cells gives the number. It is exact for a handful of values, off by about 1 % for thousands, and
/// bounded for a flood. Marking is idempotent and commutative, so the set may be stored as a set of numbers that only
/// grows.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Distinct {
    cells: BTreeSet<u16>,
}

impl Distinct {
    /// The cell of a value: a hash, the same in each version.
    #[must_use]
    pub fn cell(value: &[u8]) -> u16 {
        // FNV-1a. The values are pseudonyms and digests already, so that nobody can choose where they fall.
        let hash = value
            .iter()
            .fold(0xcbf2_9ce4_8422_2325_u64, |hash, byte| (hash ^ u64::from(*byte)).wrapping_mul(0x0100_0000_01b3));
        // The remainder is below CELLS, which fits.
        u16::try_from((hash ^ (hash >> 32)) % u64::from(CELLS)).unwrap_or(0)
    }

    /// Puts a value in.
    pub fn insert(&mut self, value: &[u8]) {
        self.cells.insert(Self::cell(value));
    }

    /// Adds all values of another set.
    pub fn union(&mut self, other: &Self) {
        self.cells.extend(&other.cells);
    }

    /// The estimated number of distinct values.
    #[must_use]
    pub fn count(&self) -> u32 {
        if self.cells.len() <= EXACT {
            return self.cells.len() as u32;
        }
        let (all, marked) = (f64::from(CELLS), self.cells.len() as f64);
        // With every cell marked the logarithm would be infinite: half a cell is taken as free.
        (-all * ((all - marked).max(0.5) / all).ln()).round() as u32
    }

    /// The standard error of [`count`](Self::count): values that share a cell make it too small by chance.
    #[must_use]
    pub fn error(&self) -> f32 {
        let (cells, load) = (f64::from(CELLS), f64::from(self.count()) / f64::from(CELLS));
        (cells * (load.exp_m1() - load)).max(0.0).sqrt() as f32
    }

    /// The marked cells, for storing.
    pub fn cells(&self) -> impl Iterator<Item = u16> + '_ {
        self.cells.iter().copied()
    }

    /// From stored cells. Numbers above the range are taken modulo the number of cells.
    pub fn from_cells(cells: impl IntoIterator<Item = u16>) -> Self {
        Self { cells: cells.into_iter().map(|cell| cell % CELLS).collect() }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_count_is_exact_for_few_and_close_for_many() {
        for distinct in [0_u32, 1, 2, 39, 200, 3_000] {
            let mut counted = Distinct::default();
            for value in 0..distinct {
                counted.insert(&value.wrapping_mul(2_654_435_761).to_be_bytes());
                counted.insert(&value.wrapping_mul(2_654_435_761).to_be_bytes());
            }
            let off = counted.count().abs_diff(distinct);
            assert!(off <= distinct / 50, "{distinct} distinct values were counted as {}", counted.count());
        }
    }

    /// Bytes as even as those of a pseudonym: SplitMix64.
    fn pseudonym(value: u32, round: u32) -> [u8; 8] {
        let mut mixed = (u64::from(value) << 32 | u64::from(round)).wrapping_mul(0x9e37_79b9_7f4a_7c15);
        for (shift, factor) in [(30, 0xbf58_476d_1ce4_e5b9), (27, 0x94d0_49bb_1331_11eb)] {
            mixed = (mixed ^ (mixed >> shift)).wrapping_mul(factor);
        }
        (mixed ^ (mixed >> 31)).to_be_bytes()
    }

    #[test]
    fn the_error_of_the_count_is_that_of_repeated_counts() {
        for distinct in [50_u32, 300, 2_000] {
            let counted = |round: u32| {
                let mut counted = Distinct::default();
                (0..distinct).for_each(|value| counted.insert(&pseudonym(value, round)));
                counted
            };
            let rounds = 400;
            let squares: f64 =
                (0..rounds).map(|round| (f64::from(counted(round).count()) - f64::from(distinct)).powi(2)).sum();
            let (measured, stated) = ((squares / f64::from(rounds)).sqrt(), f64::from(counted(0).error()));
            assert!((0.7..1.4).contains(&(measured / stated)), "{distinct}: {measured} {stated}");
        }
    }

    #[test]
    fn a_flood_stays_within_the_cells() {
        let mut counted = Distinct::default();
        for value in 0..400_000_u32 {
            counted.insert(&value.to_be_bytes());
        }
        assert!(counted.cells().count() <= usize::from(CELLS));
        assert!(counted.count() > 100_000);
    }

    #[test]
    fn cells_are_stable() {
        assert_eq!([Distinct::cell(b""), Distinct::cell(b"a"), Distinct::cell(&[1, 2, 3, 4])], PINNED);
    }

    const PINNED: [u16; 3] = [16321, 12480, 9770];
}
