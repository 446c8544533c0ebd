//! The figures that depend on the number of stored records.

use super::assumption;

/// A table of records.
#[derive(Clone, Copy, Debug)]
pub struct Size {
    /// The number of records in the table.
    pub records: f64,
    /// The minimum number of partitions.
    pub partitions: f64,
    /// The cost of storage per month, in USD.
    pub storage_usd: f64,
    /// The cost of one scan of the whole table, with eventually consistent reads, in USD.
    pub scan_usd: f64,
}

impl Size {
    /// Tables from a million to ten billion records.
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
