//! Metrics in CloudWatch's embedded metric format, written to standard output.

use std::io::Write;
use std::time::Duration;

use derive_where::derive_where;
use metrics_cloudwatch_embedded::{Builder, Collector};
use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;

use super::{Kind, Metric, Metrics, Unit};

/// Collects metrics and writes them at the end of each invocation, as lines in the [embedded metric
/// format](https://docs.aws.amazon.com/AmazonCloudWatch/latest/monitoring/CloudWatch_Embedded_Metric_Format_Specification.html),
/// from which CloudWatch extracts the metrics without an API request.
///
/// [Lambda's log level filter][filter] treats a line without a level and a time stamp as INFO, so `ApplicationLogLevel:
/// WARN` would drop the metrics. These lines therefore have the highest level, FATAL, which no filter drops.
///
/// [filter]: https://docs.aws.amazon.com/lambda/latest/dg/monitoring-cloudwatchlogs-log-level.html
///
/// The dimension sets are `service`, and `service` with `operation`; no dimension has high cardinality. Metrics are
/// collected through the `metrics` facade, so an application's own `metrics::counter!` is included.
#[derive(Clone, Copy)]
#[derive_where(Debug)]
pub struct Emf {
    #[derive_where(skip)]
    collector: &'static Collector,
}

/// The process already has a metrics recorder.
#[derive(Debug, thiserror::Error)]
#[error("metrics are set up already: {0}")]
pub struct EmfError(#[source] Box<dyn std::error::Error + Send + Sync>);

impl Emf {
    /// Sets up the metrics of this process, once.
    ///
    /// # Errors
    /// [`EmfError`] if the process already has a recorder of the `metrics` facade.
    pub fn install(namespace: impl Into<String>, service: impl Into<String>) -> Result<Self, EmfError> {
        let collector = Builder::new()
            .cloudwatch_namespace(namespace.into())
            .with_dimension("service", service.into())
            .init()
            .map_err(EmfError)?;
        for metric in Metric::ALL {
            describe(metric);
        }
        Ok(Self { collector })
    }

    fn write_to(self, output: impl Write) {
        if let Ok(now) = OffsetDateTime::now_utc().format(&Rfc3339) {
            self.collector.set_property("level", "FATAL").set_property("timestamp", now);
        }
        if let Err(error) = self.collector.flush(output) {
            tracing::error!(%error, "metrics could not be written");
        }
    }
}

/// Sets the unit, without which CloudWatch shows a bare number.
fn describe(metric: Metric) {
    let unit = match metric.unit() {
        Unit::Count => metrics::Unit::Count,
        Unit::Seconds => metrics::Unit::Seconds,
        Unit::Milliseconds => metrics::Unit::Milliseconds,
    };
    match metric.kind() {
        Kind::Counter => metrics::describe_counter!(metric.name(), unit, ""),
        Kind::Duration => metrics::describe_histogram!(metric.name(), unit, ""),
        Kind::Gauge => metrics::describe_gauge!(metric.name(), unit, ""),
    }
}

impl Metrics for Emf {
    fn count(&self, metric: Metric, operation: &str) {
        metrics::counter!(metric.name()).increment(1);
        metrics::counter!(metric.name(), "operation" => operation.to_owned()).increment(1);
    }

    fn duration(&self, metric: Metric, operation: &str, duration: Duration) {
        let milliseconds = duration.as_secs_f64() * 1000.0;
        metrics::histogram!(metric.name()).record(milliseconds);
        metrics::histogram!(metric.name(), "operation" => operation.to_owned()).record(milliseconds);
    }

    fn gauge(&self, metric: Metric, value: f64) {
        metrics::gauge!(metric.name()).set(value);
    }

    fn flush(&self) {
        self.write_to(std::io::stdout().lock());
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    #[test]
    fn a_count_is_written_once_for_the_service_and_once_for_its_operation() {
        let emf = Emf::install("Payments", "payments-api").unwrap();
        emf.count(Metric::Executed, "POST /payments");
        emf.duration(Metric::ClaimMs, "POST /payments", Duration::from_micros(1500));

        let mut output = Vec::new();
        emf.write_to(&mut output);
        let documents: Vec<Value> =
            output.split(|byte| *byte == b'\n').filter_map(|line| serde_json::from_slice(line).ok()).collect();
        assert_eq!(documents.len(), 2, "{}", String::from_utf8_lossy(&output));
        for document in &documents {
            assert_eq!(document["_aws"]["CloudWatchMetrics"][0]["Namespace"], "Payments");
            assert_eq!(document["service"], "payments-api");
            // Lambda's filter reads this member.
            assert_eq!(document["level"], "FATAL");
            let timestamp = document["timestamp"].as_str().unwrap();
            assert!(OffsetDateTime::parse(timestamp, &Rfc3339).is_ok(), "{timestamp}");
            assert_eq!(document["Executed"], 1);
            assert_eq!(document["ClaimMs"], json!([1.5]));
            let units = json!([{"Name": "ClaimMs", "Unit": "Milliseconds"}, {"Name": "Executed", "Unit": "Count"}]);
            assert_eq!(document["_aws"]["CloudWatchMetrics"][0]["Metrics"], units);
        }
        let dimensions: Vec<_> =
            documents.iter().map(|document| &document["_aws"]["CloudWatchMetrics"][0]["Dimensions"]).collect();
        assert!(dimensions.contains(&&json!([["service"]])), "{dimensions:?}");
        assert!(dimensions.contains(&&json!([["service", "operation"]])), "{dimensions:?}");

        let mut again = Vec::new();
        emf.write_to(&mut again);
        assert!(again.is_empty(), "what was written is not written again");
    }
}
