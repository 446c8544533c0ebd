//! The metrics that the template's alarms and dashboard read, and the log fields that its queries read.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::Value;

use crate::json::{list, text};
use crate::log::Series;

/// The resources of an expanded template.
pub type Resources = BTreeMap<String, Value>;

/// The resources of a type, by logical id.
pub fn of_type<'r>(resources: &'r Resources, kind: &'r str) -> impl Iterator<Item = (&'r str, &'r Value)> {
    let wanted = resources.iter().filter(move |(_, resource)| resource["Type"] == kind);
    wanted.map(|(id, resource)| (id.as_str(), &resource["Properties"]))
}

/// The metrics that alarms and dashboards read, each with the reader's logical id.
pub fn series(resources: &Resources) -> Vec<(String, Series)> {
    let alarms = of_type(resources, "AWS::CloudWatch::Alarm").flat_map(|(id, alarm)| {
        let of_math = list(&alarm["Metrics"]).iter().map(|query| &query["MetricStat"]["Metric"]);
        let read: Vec<_> = of_math.chain([alarm]).filter_map(of_alarm).collect();
        assert!(!read.is_empty(), "{id} reads no metric");
        read.into_iter().map(move |series| (id.to_owned(), series))
    });
    let widgets = dashboards(resources).flat_map(|(id, body)| {
        let metrics: Vec<_> =
            list(&body["widgets"]).iter().flat_map(|widget| of_widget(&widget["properties"])).collect();
        metrics.into_iter().map(move |series| (id.to_owned(), series))
    });
    alarms.chain(widgets).collect()
}

/// The dashboards by logical id, with their parsed bodies.
pub fn dashboards(resources: &Resources) -> impl Iterator<Item = (&str, Value)> {
    of_type(resources, "AWS::CloudWatch::Dashboard").map(|(id, dashboard)| {
        let body = dashboard["DashboardBody"].as_str().expect("a body");
        (id, serde_json::from_str(body).unwrap_or_else(|error| panic!("{id}: {error}\n{body}")))
    })
}

/// The log fields that saved queries and the dashboard read, each with its reader.
pub fn fields(resources: &Resources) -> BTreeSet<(String, String)> {
    let saved = of_type(resources, "AWS::Logs::QueryDefinition")
        .map(|(id, query)| (id.to_owned(), query["QueryString"].as_str().expect("a query").to_owned()));
    let shown = dashboards(resources).flat_map(|(id, body)| {
        let queries: Vec<_> = list(&body["widgets"])
            .iter()
            .filter_map(|widget| Some((id.to_owned(), widget["properties"]["query"].as_str()?.to_owned())))
            .collect();
        queries
    });
    let is_part = |letter: char| letter.is_ascii_alphanumeric() || letter == '_' || letter == '.';
    saved
        .chain(shown)
        .flat_map(|(id, query)| {
            let words = query.split(|letter| !is_part(letter)).filter(|word| word.contains('.'));
            let fields = words.filter(|word| word.starts_with("fields.") || word.starts_with("span."));
            fields.map(|field| (id.clone(), field.to_owned())).collect::<Vec<_>>()
        })
        .collect()
}

fn of_alarm(metric: &Value) -> Option<Series> {
    let dimensions = list(&metric["Dimensions"]).iter().map(|pair| (text(&pair["Name"]), text(&pair["Value"])));
    Some(Series {
        namespace: metric["Namespace"].as_str()?.to_owned(),
        name: text(&metric["MetricName"]),
        dimensions: dimensions.collect(),
    })
}

/// `[namespace, name, dimension, value, …, {options}]`; an expression is an object alone.
fn of_widget(properties: &Value) -> Vec<Series> {
    let metrics = list(&properties["metrics"]).iter();
    metrics
        .filter_map(|metric| {
            let words: Vec<String> = list(metric).iter().filter_map(Value::as_str).map(str::to_owned).collect();
            let [namespace, name, dimensions @ ..] = words.as_slice() else { return None };
            assert!(dimensions.len().is_multiple_of(2), "{metric}");
            let dimensions = dimensions.chunks(2).map(|pair| (pair[0].clone(), pair[1].clone())).collect();
            Some(Series { namespace: namespace.clone(), name: name.clone(), dimensions })
        })
        .collect()
}
