//! Sets up a function's log, with the feature `log`.
//!
//! It follows [Lambda's logging controls][controls] like the log that `lambda_runtime` sets up by default, with two
//! differences: JSON lines have a `timestamp`, without which Lambda filters them as INFO; and `RUST_LOG` supports only
//! levels per target, not spans or fields, because the regular expressions for those would add half a megabyte to a
//! binary.
//!
//! [controls]: https://docs.aws.amazon.com/lambda/latest/dg/monitoring-cloudwatchlogs-advanced.html

use std::env;

use tracing::Metadata;
use tracing_subscriber::filter::{FilterExt, LevelFilter, Targets, filter_fn};
use tracing_subscriber::layer::{Layer, SubscriberExt};
use tracing_subscriber::util::{SubscriberInitExt, TryInitError};
use tracing_subscriber::{Registry, fmt};

/// Writes the log of this process to its standard output.
///
/// `AWS_LAMBDA_LOG_FORMAT=JSON` makes each line an object. The level is `AWS_LAMBDA_LOG_LEVEL`, otherwise that of
/// `RUST_LOG` (`warn,payments=debug`), otherwise INFO.
///
/// # Errors
/// If the process already has a `tracing` subscriber.
pub fn install() -> Result<(), TryInitError> {
    tracing_subscriber::registry().with(lines(|_| true)).try_init()
}

/// The layer that writes log lines, with the given filter for events and spans.
pub(crate) fn lines(
    shown: impl Fn(&Metadata<'_>) -> bool + Send + Sync + 'static,
) -> Box<dyn Layer<Registry> + Send + Sync> {
    let variable = |name| env::var(name).unwrap_or_default();
    let filter = levels(&variable("AWS_LAMBDA_LOG_LEVEL"), &variable("RUST_LOG")).and(filter_fn(shown));
    let lines = fmt::layer().with_target(false);
    if variable("AWS_LAMBDA_LOG_FORMAT").eq_ignore_ascii_case("json") {
        // A line without a time stamp is INFO for Lambda's filter, whatever its level.
        lines.json().with_filter(filter).boxed()
    } else {
        lines.without_time().with_filter(filter).boxed()
    }
}

fn levels(lambda: &str, rust_log: &str) -> Targets {
    // An empty text would be parsed as an empty target, which is a prefix of every target, at level TRACE.
    let targets = if rust_log.is_empty() { Targets::new() } else { rust_log.parse().unwrap_or_default() };
    let level = match lambda {
        // Lambda has this additional level.
        "FATAL" => Some(LevelFilter::ERROR),
        "" => targets.default_level(),
        level => level.parse().ok(),
    };
    targets.with_default(level.unwrap_or(LevelFilter::INFO))
}

#[cfg(test)]
mod tests {
    use tracing::Level;

    use super::*;

    #[test]
    fn the_level_is_that_of_lambda_else_that_of_rust_log_else_info() {
        let shows = |lambda, rust_log, level| levels(lambda, rust_log).would_enable("payments", &level);
        assert!(shows("", "", Level::INFO) && !shows("", "", Level::DEBUG));
        assert!(shows("", "warn,payments=debug", Level::DEBUG) && !shows("", "warn,other=debug", Level::INFO));
        assert!(shows("DEBUG", "warn", Level::DEBUG) && shows("WARN", "payments=debug", Level::DEBUG));
        assert!(shows("FATAL", "", Level::ERROR) && !shows("FATAL", "", Level::WARN));
        assert!(shows("nonsense", "nonsense==", Level::INFO));
    }
}
