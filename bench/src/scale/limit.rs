//! The limits, each with the request rate at which it is reached.

use super::assumption;

/// A limit.
#[derive(Clone, Debug)]
pub struct Limit {
    /// The limited resource.
    pub name: &'static str,
    /// The limit.
    pub value: &'static str,
    /// The requests per second at which the limit is reached.
    pub rate: f64,
    /// Whether AWS raises it on request.
    pub is_quota: bool,
    /// The action of an operator.
    pub remedy: &'static str,
    /// The source of the limit.
    pub source: &'static str,
}

/// Units of a payment and its posting in the table of payments: payment and event in the payment's partition; two
/// entries and a balance.
const PAYMENT_UNITS: f64 = 4.0;
const POSTING_UNITS: f64 = 6.0;

/// Units in the table of records: claim, outcome, and the message's record.
const RECORD_UNITS: f64 = 3.0 + 2.0;

/// All limits, in ascending order of their rates.
#[must_use]
pub fn all() -> Vec<Limit> {
    let in_progress_s = (assumption::RUN_MS.0 + assumption::WRITE_MS.0 + assumption::TRANSACTION_MS.0) / 1e3;
    let mut limits = vec![
        Limit {
            name: "postings of one account, one after another",
            value: "one transaction at a time, about 10 ms",
            rate: 1e3 / assumption::TRANSACTION_MS.0,
            is_quota: false,
            remedy: "see [hot accounts](#hot-accounts)",
            source: "[AWS, transactions](https://docs.aws.amazon.com/amazondynamodb/latest/developerguide/transaction-apis.html)",
        },
        Limit {
            name: "repetitions of one running request, on as many sandboxes",
            value: "1,000 write units a second of its partition",
            rate: super::bucket::WRITE_UNITS,
            is_quota: false,
            remedy: "none needed below a thousand sandboxes: each writes once a second; above, reserved concurrency",
            source: "as above",
        },
        Limit {
            name: "Lambda: concurrency of the account",
            value: "1,000",
            rate: 1_000.0 / in_progress_s,
            is_quota: true,
            remedy: "raise the quota; reserve concurrency for `LedgerWorker` and `Reconciler`",
            source: "[AWS, Lambda quotas](https://docs.aws.amazon.com/lambda/latest/dg/gettingstarted-limits.html)",
        },
        Limit {
            name: "DynamoDB: write units of the table `Payments`",
            value: "40,000 a second",
            rate: 40_000.0 / (PAYMENT_UNITS + POSTING_UNITS),
            is_quota: true,
            remedy: "raise the quota of the table; [warm it up](https://docs.aws.amazon.com/amazondynamodb/latest/developerguide/warm-throughput.html) before a launch",
            source: "[AWS, maximum throughput](https://docs.aws.amazon.com/amazondynamodb/latest/developerguide/on-demand-capacity-mode-max-throughput.html)",
        },
        Limit {
            name: "DynamoDB: write units of the table `Records`",
            value: "40,000 a second",
            rate: 40_000.0 / RECORD_UNITS,
            is_quota: true,
            remedy: "likewise",
            source: "likewise",
        },
        Limit {
            name: "the sixteen clearing accounts, 2 units of each posting",
            value: "16 × 1,000 write units a second",
            rate: 16.0 * super::bucket::WRITE_UNITS / 2.0,
            is_quota: false,
            remedy: "more parts: `Clearing` in `payments/src/ledger.rs`, before the load comes",
            source: "as for a partition",
        },
        Limit {
            name: "API Gateway: requests of the account",
            value: "10,000 a second; 2,500 in some Regions",
            rate: 10_000.0,
            is_quota: true,
            remedy: "raise the quota",
            source: "[AWS, API Gateway quotas](https://docs.aws.amazon.com/apigateway/latest/developerguide/limits.html)",
        },
        Limit {
            name: "Lambda: new sandboxes of a function, from idle",
            value: "1,000 in ten seconds",
            rate: 1_000.0 / in_progress_s,
            is_quota: false,
            remedy: "provisioned concurrency, or let the load grow: see below",
            source: "[AWS, scaling](https://docs.aws.amazon.com/lambda/latest/dg/scaling-behavior.html)",
        },
    ];
    limits.sort_by(|one, other| one.rate.total_cmp(&other.rate));
    limits
}

/// The time that Lambda needs from idle until every request at this rate finds a sandbox, in seconds, and the share of
/// requests that are refused until then.
#[must_use]
pub fn from_idle(rate: f64) -> (f64, f64) {
    let needed = rate * (assumption::RUN_MS.0 + assumption::WRITE_MS.0 + assumption::TRANSACTION_MS.0) / 1e3;
    let (mut at_s, mut refused) = (0.0, 0.0);
    loop {
        let available = 1_000.0 * (1.0 + f64::floor(at_s / 10.0));
        if available >= needed {
            return (at_s, if at_s > 0.0 { refused / at_s } else { 0.0 });
        }
        refused += 10.0 * (1.0 - available / needed);
        at_s += 10.0;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn from_idle_a_function_gets_a_thousand_sandboxes_every_ten_seconds() {
        assert_eq!(from_idle(100.0), (0.0, 0.0));
        let (at_s, refused) = from_idle(20_000.0);
        assert!((at_s - 30.0).abs() < 1e-9, "3,300 sandboxes: {at_s} s");
        assert!((0.3..0.5).contains(&refused), "{refused}");
    }

    #[test]
    fn limits_are_in_the_order_in_which_they_are_reached() {
        assert!(all().is_sorted_by(|one, other| one.rate <= other.rate));
    }
}
