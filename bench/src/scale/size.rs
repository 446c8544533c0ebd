//! What depends on how many records are stored.

use super::assumption;

/// A table of records.
#[derive(Clone, Copy, Debug)]
pub struct Size {
    /// Records in the table.
    pub records: f64,
    /// Its partitions, at least.
    pub partitions: f64,
    /// USD a month for its storage.
    pub storage_usd: f64,
    /// USD for one scan of all of it, with eventually consistent reads.
    pub scan_usd: f64,
}

impl Size {
    /// From a million to ten thousand million records.
    #[must_use]
    pub fn all() -> Vec<Self> {
        [1e6, 1e7, 1e8, 1e9, 1e10].into_iter().map(Self::of).collect()
    }

    fn of(records: f64) -> Self {
        let bytes = records * assumption::RECORD_BYTES;
        Self {
            records,
            partitions: (bytes / assumption::PARTITION_BYTES).ceil().max(assumption::FIRST_PARTITIONS as f64),
            storage_usd: bytes / 1e9 * assumption::USD_PER_GB,
            scan_usd: bytes / 4096.0 * 0.5 / 1e6 * assumption::USD_PER_MILLION.1,
        }
    }
}
