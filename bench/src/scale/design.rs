//! The compared designs, by the requests that they make.

/// A design.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Design {
    /// This library.
    Ours,
    /// Powertools, in a table with only a partition key.
    PowertoolsPartitionKey,
    /// Powertools, in a table with a composite key: the function's name is the partition key of all records.
    PowertoolsCompositeKey,
}

impl Design {
    /// All designs.
    pub const ALL: [Self; 3] = [Self::Ours, Self::PowertoolsPartitionKey, Self::PowertoolsCompositeKey];

    /// The design's name in tables and plots.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Ours => "ours",
            Self::PowertoolsPartitionKey => "Powertools",
            Self::PowertoolsCompositeKey => "Powertools, composite key",
        }
    }

    /// Write units of a first run's claim.
    #[must_use]
    pub const fn claim_units(self) -> f64 {
        1.0
    }

    /// Write units of the outcome in the record's partition: ours in a transaction, with an answer of 1 KB that is
    /// compressed; Powertools' in an update of an item that is then longer than 1 KB.
    #[must_use]
    pub const fn outcome_units(self) -> f64 {
        2.0
    }

    /// Write units of a duplicate, whose write is refused and billed by the size of the item.
    #[must_use]
    pub const fn duplicate_units(self, is_settled: bool) -> f64 {
        match self {
            Self::PowertoolsPartitionKey | Self::PowertoolsCompositeKey if is_settled => 2.0,
            Self::Ours | Self::PowertoolsPartitionKey | Self::PowertoolsCompositeKey => 1.0,
        }
    }

    /// Whether a process remembers for a second which requests it saw in progress.
    #[must_use]
    pub const fn remembers(self) -> bool {
        matches!(self, Self::Ours)
    }

    /// The number of partitions of the table of records, if it has served twice this many units per second before.
    #[must_use]
    pub fn partitions(self, units_per_s: f64) -> u64 {
        match self {
            // One partition key is in one partition until DynamoDB has split it by the sort key.
            Self::PowertoolsCompositeKey => 1,
            Self::Ours | Self::PowertoolsPartitionKey => {
                #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "a small number")]
                let for_load = (2.0 * units_per_s / super::bucket::WRITE_UNITS).ceil() as u64;
                for_load.max(super::assumption::FIRST_PARTITIONS)
            }
        }
    }
}
