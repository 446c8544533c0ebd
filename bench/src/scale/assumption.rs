//! The assumptions of the simulation, and their sources.

/// Partitions of a new table in on-demand mode, which serves 4,000 write units a second.
pub const FIRST_PARTITIONS: u64 = 4;

/// Median and 99th percentile of a single write or read, in ms.
pub const WRITE_MS: (f64, f64) = (5.0, 12.0);

/// The same for a transaction, which has two phases.
pub const TRANSACTION_MS: (f64, f64) = (10.0, 24.0);

/// Median and 99th percentile of the operation itself, a request to the provider, in ms.
pub const RUN_MS: (f64, f64) = (150.0, 600.0);

/// The number of requests that are repeated in a retry storm.
pub const STORM_KEYS: u32 = 100;

/// The exponent of Zipf's law.
pub const ZIPF: f64 = 1.1;

/// How long a client waits for an answer, in seconds.
pub const CLIENT_TIMEOUT_S: u64 = 5;

/// How long a claim holds, in seconds.
pub const LEASE_S: f64 = 7.0;

/// The longest time for which the records' stream collects claims, in seconds.
pub const STREAM_WINDOW_S: f64 = 60.0;

/// From a follow-up's due time to its reconciliation, in seconds.
pub const FOLLOW_UP_S: f64 = 1.0;

/// The size of a record, in bytes.
pub const RECORD_BYTES: f64 = 600.0;

/// The maximum size of a partition, in bytes.
pub const PARTITION_BYTES: f64 = 10e9;

/// USD for a million write units, and for a million read units.
pub const USD_PER_MILLION: (f64, f64) = (0.625, 0.125);

/// USD per month and GB of storage.
pub const USD_PER_GB: f64 = 0.25;

/// The assumptions, their values, and their sources.
pub const TABLE: [(&str, &str, &str); 14] = [
    (
        "a partition",
        "1,000 write units and 3,000 read units a second, 10 GB",
        "[AWS, designing partition keys](https://docs.aws.amazon.com/amazondynamodb/latest/developerguide/bp-partition-key-design.html)",
    ),
    (
        "a throttled request",
        "refused at once; the partition's other keys are refused, too",
        "[AWS, key range throughput exceeded](https://docs.aws.amazon.com/amazondynamodb/latest/developerguide/throttling-key-range-limit-exceeded-mitigation.html)",
    ),
    (
        "splitting",
        "a partition that is busy to 90 % is split in ten minutes, also within one partition key if the table has a sort \
         key; partitions are never merged",
        "[AWS, split for heat](https://aws.amazon.com/blogs/database/part-3-scaling-dynamodb-how-partitions-hot-keys-and-split-for-heat-impact-performance/); \
         it gives no times: 90 % and ten minutes are ours",
    ),
    (
        "partitions at the beginning",
        "4, or as many as twice the healthy load needs",
        "[AWS, on-demand mode](https://docs.aws.amazon.com/amazondynamodb/latest/developerguide/on-demand-capacity-mode.html): \
         twice the previous peak",
    ),
    (
        "latency of a write",
        "log-normal, median 5 ms, 99th percentile 12 ms",
        "ours. AWS says “single-digit milliseconds”; its papers \
         ([2022](https://www.usenix.org/conference/atc22/presentation/elhemali), \
         [2023](https://www.usenix.org/conference/atc23/presentation/idziorek)) show percentiles without units",
    ),
    ("latency of a transaction", "median 10 ms, 99th percentile 24 ms", "ours: it has two phases"),
    ("the operation itself", "median 150 ms, 99th percentile 600 ms", "ours: a request to a payment provider"),
    (
        "keys",
        "the library's own record ids, hashed once more; repetitions by Zipf's law with exponent 1.1",
        "[`key.rs`](../shared/src/protocol/key.rs); the exponent is ours",
    ),
    ("repetitions in a storm", "they do not wait for the running request", "ours: `max_wait(0)`, the most requests"),
    ("clients", "wait 5 s for an answer", "ours"),
    (
        "a first run",
        "a claim of 1 unit; an outcome of 2 in the record's partition, for an answer of 1 KB",
        "measured: [cost](cost.md#by-the-length-of-the-answer)",
    ),
    (
        "a repetition",
        "1 unit; Powertools, settled, 2: a refused write is billed by the size of the item",
        "measured, likewise",
    ),
    (
        "sandboxes",
        "as many as requests at a time; a request meets any of them",
        "[AWS, concurrency](https://docs.aws.amazon.com/lambda/latest/dg/lambda-concurrency.html)",
    ),
    (
        "an abandoned claim",
        "a lease of 7 s; without a retry the stream's window of up to 60 s, and 1 s until the follow-up has run",
        "[cost](cost.md); the defaults of the template",
    ),
];
