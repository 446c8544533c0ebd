//! The first row of the template's dashboard: single numbers.

use std::collections::BTreeMap;

use serde::Serialize;
use serde_json::Value;

use crate::{
    metrics::{Metrics, Series, Statistic},
    now,
};

/// How far back a number looks, whose period ends without a value.
const BACK_S: u64 = 6 * 60 * 60;

/// A number of the dashboard.
#[derive(Debug, Clone)]
pub(super) struct Tile {
    title: String,
    series: Vec<Series>,
    statistic: Statistic,
    period: u64,
    /// Over the whole time that the dashboard shows, and not its last period.
    whole: bool,
}

#[derive(Debug, Clone, PartialEq, Serialize)]
pub(crate) struct Seen {
    title: String,
    value: Option<f64>,
    /// For a gauge: the epoch second at which it was reported. Without it the value is of now.
    at: Option<u64>,
}

impl Tile {
    /// The highest row of single values on the first dashboard among the expanded resources.
    pub(super) fn first_row(resources: &BTreeMap<String, Value>) -> Vec<Self> {
        let body = resources.values().find(|resource| resource["Type"] == "AWS::CloudWatch::Dashboard");
        let body = body.and_then(|dashboard| dashboard["Properties"]["DashboardBody"].as_str());
        let body: Value = body.and_then(|text| serde_json::from_str(text).ok()).unwrap_or_default();
        let widgets = body["widgets"].as_array().into_iter().flatten();
        let numbers: Vec<&Value> = widgets.filter(|widget| widget["properties"]["view"] == "singleValue").collect();
        let top = numbers.iter().filter_map(|widget| widget["y"].as_u64()).min();
        let row = numbers.into_iter().filter(|widget| widget["y"].as_u64() == top);
        row.filter_map(|widget| Self::read(&widget["properties"])).collect()
    }

    fn read(properties: &Value) -> Option<Self> {
        let metrics = properties["metrics"].as_array()?.iter();
        Some(Self {
            title: properties["title"].as_str()?.to_owned(),
            series: metrics.filter_map(series).collect(),
            statistic: Statistic::parse(properties["stat"].as_str()?)?,
            period: properties["period"].as_u64()?,
            whole: properties["setPeriodToTimeRange"] == true,
        })
    }

    /// A gauge is shown as it is, and not as its highest value of a period, which would be an old one for minutes.
    pub(super) fn seen(&self, metrics: &Metrics, waiting: impl Fn(&str) -> Option<usize>) -> Seen {
        let title = self.title.clone();
        if !self.whole && self.statistic == Statistic::Maximum {
            let gauges = self.series.iter().filter_map(|series| match depth_of(series).and_then(&waiting) {
                Some(count) => Some((None, count as f64)),
                None => metrics.latest(series).map(|(at, value)| (Some(at), value)),
            });
            let sum = gauges.reduce(|(one, sum), (other, value)| (one.into_iter().chain(other).min(), sum + value));
            let (at, value) = sum.unzip();
            return Seen { title, value, at: at.flatten() };
        }
        let end = now::seconds() + 1;
        let value = if self.whole {
            self.value(metrics, end, BACK_S)
        } else {
            let mut ends = (0..BACK_S / self.period).map(|back| end - back * self.period);
            ends.find_map(|end| self.value(metrics, end, self.period))
        };
        Seen { title, value, at: None }
    }

    /// The sum over its metrics, of those that have a value.
    fn value(&self, metrics: &Metrics, end: u64, period: u64) -> Option<f64> {
        let values = self.series.iter().filter_map(|series| metrics.statistic(series, self.statistic, end, period));
        values.reduce(|sum, value| sum + value)
    }
}

/// The queue whose depth it is.
fn depth_of(series: &Series) -> Option<&str> {
    let is_depth = series.namespace == "AWS/SQS" && series.name == "ApproximateNumberOfMessagesVisible";
    series.dimensions.get("QueueName").filter(|_| is_depth).map(String::as_str)
}

/// `[namespace, name, dimension, value, …, {options}]`.
fn series(metric: &Value) -> Option<Series> {
    let words: Vec<&str> = metric.as_array()?.iter().filter_map(Value::as_str).collect();
    let [namespace, name, dimensions @ ..] = words.as_slice() else { return None };
    let (pairs, _) = dimensions.as_chunks::<2>();
    let pairs: Vec<(&str, &str)> = pairs.iter().map(|[name, value]| (*name, *value)).collect();
    Some(Series::new(namespace, name, &pairs))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn the_first_row_has_the_numbers_that_the_dashboard_shows_there() {
        let number = |y: u64, title: &str, whole: bool| {
            json!({ "y": y, "properties": {
                "view": "singleValue", "title": title, "stat": "Sum", "period": 300, "setPeriodToTimeRange": whole,
                "metrics": [["App", "Failed", "service", "one"], ["App", "Failed", "service", "two"]],
            } })
        };
        let body = json!({ "widgets": [
            { "y": 0, "properties": { "markdown": "text" } }, number(2, "first", true), number(9, "second row", false),
        ] });
        let dashboard =
            json!({ "Type": "AWS::CloudWatch::Dashboard", "Properties": { "DashboardBody": body.to_string() } });
        let tiles = Tile::first_row(&[("D".to_owned(), dashboard)].into());
        assert_eq!(tiles.len(), 1, "{tiles:?}");
        let metrics = Metrics::default();
        assert_eq!(tiles[0].seen(&metrics, |_| None).value, None);
        metrics.put(Series::new("App", "Failed", &[("service", "one")]), 1.0);
        metrics.put(Series::new("App", "Failed", &[("service", "two")]), 2.0);
        let seen = tiles[0].seen(&metrics, |_| None);
        assert_eq!(seen, Seen { title: "first".to_owned(), value: Some(3.0), at: None });
    }

    #[test]
    fn a_gauge_is_its_latest_value_with_its_time_and_a_queue_is_looked_into() {
        let tile = |namespace: &str, name: &str, dimension: &str| {
            let metrics = json!([[namespace, name, dimension, "it"]]);
            let properties = json!({ "title": name, "stat": "Maximum", "period": 300, "metrics": metrics });
            Tile::read(&properties).expect("a tile")
        };
        let (metrics, now) = (Metrics::default(), now::seconds());
        let open = Series::new("App", "Open", &[("service", "it")]);
        metrics.put_at(open.clone(), now - 60, 3.0);
        metrics.put_at(open, now - 30, 1.0);
        let seen = tile("App", "Open", "service").seen(&metrics, |_| Some(7));
        assert_eq!((seen.value, seen.at), (Some(1.0), Some(now - 30)));
        metrics.put(Series::new("AWS/SQS", "ApproximateNumberOfMessagesVisible", &[("QueueName", "it")]), 4.0);
        let dead = tile("AWS/SQS", "ApproximateNumberOfMessagesVisible", "QueueName");
        let seen = dead.seen(&metrics, |queue| (queue == "it").then_some(0));
        assert_eq!((seen.value, seen.at), (Some(0.0), None));
    }
}
