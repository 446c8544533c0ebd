//! The first row of the template's dashboard: single numbers.

use std::collections::BTreeMap;

use serde::Serialize;
use serde_json::Value;

use crate::metrics::{self, Metrics, Series, Statistic};

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
pub(super) struct Seen {
    title: String,
    value: Option<f64>,
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

    pub(super) fn seen(&self, metrics: &Metrics) -> Seen {
        let end = metrics::now() + 1;
        let value = if self.whole {
            self.value(metrics, end, BACK_S)
        } else {
            let mut ends = (0..BACK_S / self.period).map(|back| end - back * self.period);
            ends.find_map(|end| self.value(metrics, end, self.period))
        };
        Seen { title: self.title.clone(), value }
    }

    /// The sum over its metrics, of those that have a value.
    fn value(&self, metrics: &Metrics, end: u64, period: u64) -> Option<f64> {
        let values = self.series.iter().filter_map(|series| metrics.statistic(series, self.statistic, end, period));
        values.reduce(|sum, value| sum + value)
    }
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
        assert_eq!(tiles[0].seen(&metrics).value, None);
        metrics.put(Series::new("App", "Failed", &[("service", "one")]), 1.0);
        metrics.put(Series::new("App", "Failed", &[("service", "two")]), 2.0);
        assert_eq!(tiles[0].seen(&metrics), Seen { title: "first".to_owned(), value: Some(3.0) });
    }
}
