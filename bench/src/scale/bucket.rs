//! Partitions: ranges of the hash of a key, each with a token bucket of write units.

/// The write units per second of a partition, which are also the maximum that it saves.
pub const WRITE_UNITS: f64 = 1000.0;

/// A partition is split if it was busier than this.
const HOT: f64 = 0.9;

/// The partitions of a table, in the order of their ranges.
#[derive(Clone, Debug)]
pub struct Partitions {
    /// The start of each range; the first one starts at zero.
    starts: Vec<u64>,
    buckets: Vec<Bucket>,
}

#[derive(Clone, Copy, Debug)]
struct Bucket {
    tokens: f64,
    at_us: u64,
    /// The units that were consumed or refused since the beginning of the round.
    wanted: f64,
}

impl Partitions {
    /// Creates `count` ranges of equal length.
    #[must_use]
    pub fn new(count: u64) -> Self {
        let starts: Vec<u64> = (0..count).map(|number| number * (u64::MAX / count)).collect();
        let buckets = vec![Bucket::empty(); starts.len()];
        Self { starts, buckets }
    }

    /// The number of partitions.
    #[must_use]
    pub fn count(&self) -> usize {
        self.starts.len()
    }

    /// Whether the partition of this hash has a unit left for a request. If so, the partition pays all units of the
    /// request.
    pub fn admit(&mut self, hash: u64, units: f64, now_us: u64) -> bool {
        let place = self.starts.partition_point(|start| *start <= hash) - 1;
        let bucket = &mut self.buckets[place];
        #[expect(clippy::cast_precision_loss, reason = "seconds of a simulation")]
        let passed = (now_us - bucket.at_us) as f64 / 1e6;
        bucket.tokens = (bucket.tokens + passed * WRITE_UNITS).min(WRITE_UNITS);
        bucket.at_us = now_us;
        bucket.wanted += units;
        if bucket.tokens < 1.0 {
            return false;
        }
        bucket.tokens -= units;
        true
    }

    /// Splits each partition that was hot in a round of this many seconds, and begins the next round.
    pub fn split(&mut self, seconds: f64) {
        let mut starts = Vec::with_capacity(self.starts.len());
        for (place, start) in self.starts.iter().enumerate() {
            starts.push(*start);
            let end = self.starts.get(place + 1).copied().unwrap_or(u64::MAX);
            if self.buckets[place].wanted > HOT * WRITE_UNITS * seconds {
                starts.push(start + (end - start) / 2);
            }
        }
        self.buckets = vec![Bucket::empty(); starts.len()];
        self.starts = starts;
    }
}

impl Bucket {
    /// A bucket without savings, which would hide the steady state for a second.
    const fn empty() -> Self {
        Self { tokens: 0.0, at_us: 0, wanted: 0.0 }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn admitted(partitions: &mut Partitions, hash: u64, now_us: u64) -> usize {
        (0..).take_while(|_| partitions.admit(hash, 1.0, now_us)).count()
    }

    #[test]
    fn a_partition_serves_a_thousand_units_a_second_and_saves_no_more() {
        let mut partitions = Partitions::new(2);
        assert_eq!(admitted(&mut partitions, 0, 0), 0);
        assert_eq!(admitted(&mut partitions, 0, 500_000), 500);
        assert_eq!(admitted(&mut partitions, u64::MAX, 500_000), 500, "each on its own");
        assert_eq!(admitted(&mut partitions, 0, 60_000_000), 1000);
    }

    #[test]
    fn a_hot_partition_is_split_and_the_others_are_not() {
        let mut partitions = Partitions::new(2);
        for _ in 0..1000 {
            partitions.admit(0, 1.0, 0);
        }
        partitions.split(1.0);
        assert_eq!(partitions.starts, [0, u64::MAX / 4, u64::MAX / 2]);
        partitions.split(1.0);
        assert_eq!(partitions.count(), 3, "a new round begins");
    }
}
