//! What the scorers learn from and are asked about.

use rand::rngs::ChaCha8Rng;
use rand::{RngExt, SeedableRng};
use signals::{Counts, Detector, Horizon, Kind, Memory, Moment, Pair, WindowTime};

/// At most so many windows are learned from.
const ROWS: usize = 40_000;

/// A window of an entity as all scorers see it: the pairs of each detector over each horizon, and the moment's shift.
#[derive(Clone, Debug)]
pub(crate) struct Row {
    pub(crate) kind: Kind,
    pub(crate) pairs: [[Pair; 3]; 12],
    pub(crate) shifts: [f64; 12],
    pub(crate) gated: [bool; 12],
}

impl Row {
    pub(crate) fn new(counts: &Counts, memory: &Memory, moment: &Moment, at: WindowTime) -> Self {
        let memory = memory.faded(at);
        let own = counts.pairs();
        Self {
            kind: moment.kind(),
            pairs: Detector::ALL
                .map(|detector| Horizon::ALL.map(|horizon| memory.over(horizon, detector, own[detector as usize]))),
            shifts: Detector::ALL.map(|detector| moment.shift(detector, counts)),
            gated: Detector::ALL.map(|detector| moment.is_gated(detector, counts)),
        }
    }

    /// Its pairs with their places.
    pub(crate) fn each(&self) -> impl Iterator<Item = (usize, usize, Pair)> + '_ {
        (0..12).flat_map(move |detector| (0..3).map(move |horizon| (detector, horizon, self.pairs[detector][horizon])))
    }
}

/// A sample of rows, each as likely to be in it as any other.
#[derive(Debug)]
pub(crate) struct Reservoir {
    pub(crate) rows: Vec<Row>,
    seen: usize,
    random: ChaCha8Rng,
}

impl Reservoir {
    pub(crate) fn new(seed: u64) -> Self {
        Self { rows: Vec::new(), seen: 0, random: ChaCha8Rng::seed_from_u64(seed) }
    }

    pub(crate) fn put(&mut self, row: Row) {
        self.seen += 1;
        if self.rows.len() < ROWS {
            self.rows.push(row);
        } else {
            let place = self.random.random_range(0..self.seen);
            if place < ROWS {
                self.rows[place] = row;
            }
        }
    }
}
