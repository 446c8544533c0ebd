//! A random cut forest, of the crate `rcf3`.

use anyhow::Result;

use crate::learning::Row;

/// Fifty trees of 256 windows.
const TREES: usize = 50;
const CAPACITY: usize = 256;

/// A forest over one-sided features: by how much each rate is above the usual one of the moment, with its weight.
pub(crate) struct Forest {
    forest: rcf3::Forest,
}

impl Forest {
    pub(crate) fn learn(rows: &[Row], seed: u64) -> Result<Self> {
        let mut forest = rcf3::Forest::builder(36).num_trees(TREES).capacity(CAPACITY).seed(seed).build()?;
        for row in rows {
            forest.update(&features(row))?;
        }
        Ok(Self { forest })
    }

    pub(crate) fn score(&self, row: &Row) -> Result<f64> {
        Ok(self.forest.score(&features(row))?)
    }
}

fn features(row: &Row) -> [f32; 36] {
    let mut features = [0.0; 36];
    for (place, (detector, _, pair)) in features.iter_mut().zip(row.each()) {
        let open = (-row.shifts[detector]).exp() as f32;
        *place = (pair.k * pair.rate()).sqrt() * open;
    }
    features
}
