//! CloudWatch's metrics, as far as alarms and people need them here: what functions print in the embedded metric format
//! (AWS, "Specification: Embedded metric format"), and what the services of the stack count themselves.

use std::{
    collections::{BTreeMap, VecDeque},
    fmt::Write,
    sync::Arc,
};

use parking_lot::Mutex;
use serde_json::Value;

use crate::now;

/// For how long values are kept: longer than the longest alarm of a template looks back.
const KEPT_S: u64 = 6 * 60 * 60;

/// The most values of a metric that are kept.
const VALUES: usize = 20_000;

#[derive(Clone, Default)]
pub(crate) struct Metrics(Arc<Mutex<BTreeMap<Series, Values>>>);

/// A metric with its dimensions.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Series {
    pub namespace: String,
    pub name: String,
    pub dimensions: BTreeMap<String, String>,
}

#[derive(Debug, Default)]
struct Values {
    /// Each with its epoch second, oldest first.
    latest: VecDeque<(u64, f64)>,
    /// Since the start.
    count: u64,
    sum: f64,
}

/// How the values of a period become one (AWS, "CloudWatch statistics definitions").
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) enum Statistic {
    Sum,
    Maximum,
    Minimum,
    Average,
    SampleCount,
    Percentile(f64),
}

impl Series {
    pub(crate) fn new(namespace: &str, name: &str, dimensions: &[(&str, &str)]) -> Self {
        let dimensions = dimensions.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
        Self { namespace: namespace.to_owned(), name: name.to_owned(), dimensions }
    }
}

impl Metrics {
    /// Adds what a line in the embedded metric format says; other lines say nothing.
    pub(crate) fn add(&self, document: &Value) {
        let directives = list(&document["_aws"]["CloudWatchMetrics"]);
        for directive in directives {
            let namespace = directive["Namespace"].as_str().unwrap_or_default();
            for metric in list(&directive["Metrics"]) {
                let name = metric["Name"].as_str().unwrap_or_default();
                for dimensions in list(&directive["Dimensions"]) {
                    let names = list(dimensions).iter().filter_map(Value::as_str);
                    let dimensions =
                        names.map(|name| (name, document[name].as_str().unwrap_or_default())).collect::<Vec<_>>();
                    let values = match &document[name] {
                        Value::Array(values) => values.iter().filter_map(Value::as_f64).collect(),
                        value => value.as_f64().into_iter().collect::<Vec<_>>(),
                    };
                    let series = Series::new(namespace, name, &dimensions);
                    values.into_iter().for_each(|value| self.put(series.clone(), value));
                }
            }
        }
    }

    pub(crate) fn put(&self, series: Series, value: f64) {
        self.put_at(series, now::seconds(), value);
    }

    pub(crate) fn put_at(&self, series: Series, at: u64, value: f64) {
        self.0.lock().entry(series).or_default().put(at, value);
    }

    /// The statistic of a period that ends at an epoch second. `None`: it has no values.
    pub(crate) fn statistic(&self, series: &Series, statistic: Statistic, end: u64, period: u64) -> Option<f64> {
        let metrics = self.0.lock();
        let latest = metrics.get(series)?.latest.iter();
        let begin = end.saturating_sub(period);
        let mut values: Vec<f64> =
            latest.filter(|(at, _)| (begin..end).contains(at)).map(|(_, value)| *value).collect();
        statistic.of(&mut values)
    }

    /// The latest value, with its epoch second.
    pub(crate) fn latest(&self, series: &Series) -> Option<(u64, f64)> {
        self.0.lock().get(series)?.latest.back().copied()
    }

    /// All that there is, in Prometheus' text format: of each metric sum and count since the start.
    pub(crate) fn to_text(&self) -> String {
        let mut text = String::new();
        let mut last = String::new();
        for (series, values) in self.0.lock().iter() {
            let name = identifier(&series.name);
            if name != last {
                let _ = writeln!(text, "# TYPE {name} summary");
                name.clone_into(&mut last);
            }
            let mut labels = format!("namespace={:?}", series.namespace);
            for (name, value) in &series.dimensions {
                let _ = write!(labels, ",{}={value:?}", identifier(name));
            }
            let _ = writeln!(text, "{name}_sum{{{labels}}} {}\n{name}_count{{{labels}}} {}", values.sum, values.count);
        }
        text
    }
}

impl Values {
    fn put(&mut self, at: u64, value: f64) {
        self.count += 1;
        self.sum += value;
        self.latest.push_back((at, value));
        let old = |(first, _): &(u64, f64)| first + KEPT_S < at;
        while self.latest.len() > VALUES || self.latest.front().is_some_and(old) {
            self.latest.pop_front();
        }
    }
}

impl Statistic {
    /// `None`: CloudWatch has it, and this does not.
    pub(crate) fn parse(name: &str) -> Option<Self> {
        Some(match name {
            "Sum" => Self::Sum,
            "Maximum" => Self::Maximum,
            "Minimum" => Self::Minimum,
            "Average" => Self::Average,
            "SampleCount" => Self::SampleCount,
            percentile => Self::Percentile(percentile.strip_prefix('p')?.parse().ok()?),
        })
    }

    fn of(self, values: &mut [f64]) -> Option<f64> {
        values.sort_by(f64::total_cmp);
        let (first, last) = (*values.first()?, *values.last()?);
        let count = values.len() as f64;
        let sum = values.iter().sum::<f64>();
        Some(match self {
            Self::Sum => sum,
            Self::Maximum => last,
            Self::Minimum => first,
            Self::Average => sum / count,
            Self::SampleCount => count,
            Self::Percentile(percent) => {
                let rank = (percent / 100.0 * count).ceil().clamp(1.0, count);
                values[rank as usize - 1]
            }
        })
    }
}

/// Prometheus allows letters, digits and `_`, and no digit at the beginning.
fn identifier(name: &str) -> String {
    let name: String = name.chars().map(|letter| if letter.is_ascii_alphanumeric() { letter } else { '_' }).collect();
    if name.starts_with(|first: char| first.is_ascii_digit()) { format!("_{name}") } else { name }
}

fn list(value: &Value) -> &[Value] {
    value.as_array().map_or(&[], Vec::as_slice)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_line_in_the_embedded_metric_format_counts_for_each_of_its_dimension_sets() {
        let metrics = Metrics::default();
        metrics.add(&json!({
            "_aws": { "CloudWatchMetrics": [{
                "Namespace": "App", "Dimensions": [["service"], ["service", "operation"]],
                "Metrics": [{ "Name": "Executed" }, { "Name": "ClaimMs" }],
            }] },
            "service": "api", "operation": "pay", "Executed": 2, "ClaimMs": [3.0, 5.0],
        }));
        metrics.add(&json!({ "fields": { "message": "no metric" } }));
        let text = metrics.to_text();
        assert!(text.contains("Executed_sum{namespace=\"App\",service=\"api\"} 2\n"), "{text}");
        assert!(text.contains("ClaimMs_count{namespace=\"App\",operation=\"pay\",service=\"api\"} 2\n"), "{text}");
        assert_eq!(text.matches("# TYPE").count(), 2, "{text}");
    }

    #[test]
    fn a_statistic_is_of_its_period_alone() {
        let (metrics, series) = (Metrics::default(), Series::new("App", "Age", &[("service", "api")]));
        for (at, value) in [(59, 100.0), (60, 1.0), (100, 4.0), (119, 2.0), (120, 100.0)] {
            metrics.put_at(series.clone(), at, value);
        }
        let of = |name| metrics.statistic(&series, Statistic::parse(name).expect(name), 120, 60);
        assert_eq!(
            ["Sum", "Maximum", "Minimum", "SampleCount", "p99", "p50"].map(of).map(Option::unwrap),
            [7.0, 4.0, 1.0, 3.0, 4.0, 2.0]
        );
        assert_eq!(metrics.statistic(&series, Statistic::Sum, 600, 60), None);
        assert_eq!(Statistic::parse("TM(10%:90%)"), None);
    }
}
