//! The template's alarms, evaluated from the metrics that were really printed (AWS, "Using Amazon CloudWatch alarms").

use std::collections::BTreeMap;

use anyhow::{Context, Result, bail};
use serde::Serialize;
use serde_json::Value;

use crate::metrics::{Metrics, Series, Statistic};
use expression::Expression;

mod expression;

/// An alarm of the template.
#[derive(Debug, Clone)]
pub(crate) struct Alarm {
    id: String,
    description: String,
    queries: Queries,
    periods: usize,
    needed: usize,
    comparison: Comparison,
    threshold: f64,
    treatment: Treatment,
}

/// The metrics that an alarm is about.
#[derive(Debug, Clone)]
struct Queries {
    by_id: BTreeMap<String, Query>,
    /// The one that is compared with the threshold.
    result: String,
    period: u64,
}

#[derive(Debug, Clone)]
enum Query {
    Metric(Series, Statistic),
    Expression(Expression),
}

#[derive(Debug, Clone, Copy)]
enum Comparison {
    AtLeast,
    Greater,
    AtMost,
    Less,
}

/// What a period without a value means.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Treatment {
    Breaching,
    NotBreaching,
    /// The state stays as it is.
    Ignore,
    Missing,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub(crate) enum State {
    #[serde(rename = "OK")]
    Ok,
    #[serde(rename = "ALARM")]
    Alarm,
    #[serde(rename = "INSUFFICIENT_DATA")]
    InsufficientData,
}

/// An alarm, as the live page and `GET /_local/alarms` show it.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub(crate) struct Seen {
    pub alarm: String,
    pub state: State,
    pub description: String,
    /// The value of the last period that is over.
    pub value: Option<f64>,
    pub threshold: f64,
}

/// All alarms of a template, with their states.
pub(crate) struct Alarms {
    alarms: Vec<Alarm>,
    /// The epoch second from which on there can be data.
    began: u64,
    states: BTreeMap<String, State>,
}

impl Alarms {
    /// The alarms among the expanded resources of a template, and notes on those that cannot be evaluated here.
    pub(crate) fn of(resources: &BTreeMap<String, Value>, began: u64) -> (Self, Vec<String>) {
        let (alarms, notes) = Self::read(resources);
        (Self { alarms, began, states: BTreeMap::new() }, notes)
    }

    /// The alarms with other properties, and notes likewise. Each keeps its state until it is evaluated.
    pub(crate) fn change(&mut self, resources: &BTreeMap<String, Value>) -> Vec<String> {
        let (alarms, notes) = Self::read(resources);
        self.alarms = alarms;
        notes
    }

    fn read(resources: &BTreeMap<String, Value>) -> (Vec<Alarm>, Vec<String>) {
        let (mut alarms, mut notes) = (Vec::new(), Vec::new());
        for (id, resource) in resources.iter().filter(|(_, resource)| resource["Type"] == "AWS::CloudWatch::Alarm") {
            match Alarm::read(id, &resource["Properties"]) {
                Ok(alarm) => alarms.push(alarm),
                Err(error) => notes.push(format!("{id}: {error:#}")),
            }
        }
        (alarms, notes)
    }

    /// The states at an epoch second.
    pub(crate) fn evaluate(&mut self, metrics: &Metrics, now: u64) -> Vec<Seen> {
        let mut seen = Vec::new();
        for alarm in &self.alarms {
            let before = self.states.get(&alarm.id).copied().unwrap_or(State::InsufficientData);
            let (state, value) = alarm.evaluate(metrics, self.began, now, before);
            self.states.insert(alarm.id.clone(), state);
            seen.push(Seen {
                alarm: alarm.id.clone(),
                state,
                description: alarm.description.clone(),
                value,
                threshold: alarm.threshold,
            });
        }
        seen
    }
}

impl Alarm {
    fn read(id: &str, properties: &Value) -> Result<Self> {
        let number = |name: &str| number(&properties[name]);
        let periods = number("EvaluationPeriods").context("EvaluationPeriods is missing")? as usize;
        Ok(Self {
            id: id.to_owned(),
            description: properties["AlarmDescription"].as_str().unwrap_or_default().to_owned(),
            queries: Queries::read(properties)?,
            periods,
            needed: number("DatapointsToAlarm").map_or(periods, |needed| needed as usize),
            comparison: Comparison::parse(&properties["ComparisonOperator"])?,
            threshold: number("Threshold").context("Threshold is missing")?,
            treatment: Treatment::parse(&properties["TreatMissingData"])?,
        })
    }

    /// The state, and the value of the last period that is over.
    fn evaluate(&self, metrics: &Metrics, began: u64, now: u64, before: State) -> (State, Option<f64>) {
        // CloudWatch evaluates whole periods. Here each ends now, so that nobody waits for the clock.
        let ends = (0..self.periods as u64).map(|back| now + 1 - back * self.queries.period);
        let values: Vec<(u64, Option<f64>)> = ends.map(|end| (end, self.queries.value(metrics, end))).collect();
        let last = values.first().and_then(|(_, value)| *value);
        let breaches = values.iter().filter(|(end, value)| match value {
            Some(value) => self.comparison.holds(*value, self.threshold),
            // Nothing is missing of a time before the stack was there.
            None => self.treatment == Treatment::Breaching && end.saturating_sub(self.queries.period) >= began,
        });
        let state = if breaches.count() >= self.needed {
            State::Alarm
        } else if values.iter().all(|(_, value)| value.is_none()) {
            match self.treatment {
                Treatment::Breaching => State::InsufficientData,
                Treatment::NotBreaching => State::Ok,
                Treatment::Ignore => before,
                Treatment::Missing => State::InsufficientData,
            }
        } else {
            State::Ok
        };
        (state, last)
    }
}

impl Queries {
    fn read(properties: &Value) -> Result<Self> {
        const ONLY: &str = "metric";
        let Value::Array(lines) = &properties["Metrics"] else {
            let statistic = properties["Statistic"].as_str().or(properties["ExtendedStatistic"].as_str());
            let by_id = BTreeMap::from([(ONLY.to_owned(), metric(properties, statistic)?)]);
            return Ok(Self { by_id, result: ONLY.to_owned(), period: period(&properties["Period"])? });
        };
        let (mut by_id, mut result, mut length) = (BTreeMap::new(), None, None);
        for line in lines {
            let id = line["Id"].as_str().context("a metric without Id")?.to_owned();
            let query = match line["Expression"].as_str() {
                Some(expression) => Query::Expression(Expression::parse(expression)?),
                None => {
                    let stat = &line["MetricStat"];
                    length = Some(period(&stat["Period"])?);
                    metric(&stat["Metric"], stat["Stat"].as_str())?
                }
            };
            if line["ReturnData"] != false && line["ReturnData"] != "false" {
                result = Some(id.clone());
            }
            by_id.insert(id, query);
        }
        let (result, period) = (result.context("no metric returns data")?, length.context("no metric has a period")?);
        Ok(Self { by_id, result, period })
    }

    /// The value of the period that ends at an epoch second.
    fn value(&self, metrics: &Metrics, end: u64) -> Option<f64> {
        match self.by_id.get(&self.result)? {
            Query::Metric(series, statistic) => metrics.statistic(series, *statistic, end, self.period),
            Query::Expression(expression) => {
                let of_metrics = self.by_id.iter().filter_map(|(id, query)| match query {
                    Query::Metric(series, statistic) => {
                        Some((id.clone(), metrics.statistic(series, *statistic, end, self.period)))
                    }
                    Query::Expression(_) => None,
                });
                expression.value(&of_metrics.collect())
            }
        }
    }
}

fn metric(metric: &Value, statistic: Option<&str>) -> Result<Query> {
    let name = statistic.context("the statistic is missing")?;
    let statistic = Statistic::parse(name).with_context(|| format!("the statistic {name} is not known here"))?;
    let dimensions = metric["Dimensions"].as_array().into_iter().flatten();
    let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    let series = Series {
        namespace: metric["Namespace"].as_str().context("the namespace is missing")?.to_owned(),
        name: metric["MetricName"].as_str().context("the name of the metric is missing")?.to_owned(),
        dimensions: dimensions.map(|pair| (text(&pair["Name"]), text(&pair["Value"]))).collect(),
    };
    Ok(Query::Metric(series, statistic))
}

fn period(value: &Value) -> Result<u64> {
    Ok(number(value).context("the period is missing")? as u64)
}

/// A number, also as the text that a parameter is.
fn number(value: &Value) -> Option<f64> {
    value.as_f64().or_else(|| value.as_str()?.parse().ok())
}

impl Comparison {
    fn parse(value: &Value) -> Result<Self> {
        Ok(match value.as_str().unwrap_or_default() {
            "GreaterThanOrEqualToThreshold" => Self::AtLeast,
            "GreaterThanThreshold" => Self::Greater,
            "LessThanOrEqualToThreshold" => Self::AtMost,
            "LessThanThreshold" => Self::Less,
            other => bail!("ComparisonOperator {other} is not known here"),
        })
    }

    fn holds(self, value: f64, threshold: f64) -> bool {
        match self {
            Self::AtLeast => value >= threshold,
            Self::Greater => value > threshold,
            Self::AtMost => value <= threshold,
            Self::Less => value < threshold,
        }
    }
}

impl Treatment {
    fn parse(value: &Value) -> Result<Self> {
        Ok(match value.as_str() {
            Some("breaching") => Self::Breaching,
            Some("notBreaching") => Self::NotBreaching,
            Some("ignore") => Self::Ignore,
            Some("missing") | None => Self::Missing,
            Some(other) => bail!("TreatMissingData {other} is not known"),
        })
    }
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use serde_json::json;

    use super::*;
    use crate::template::{self, Deployment};

    fn alarms(more: Value) -> Alarms {
        let mut properties = json!({
            "Namespace": "App", "MetricName": "Failed", "Statistic": "Sum", "Period": 60, "EvaluationPeriods": 3,
            "DatapointsToAlarm": 2, "ComparisonOperator": "GreaterThanOrEqualToThreshold", "Threshold": "1",
            "Dimensions": [{ "Name": "service", "Value": "api" }],
        });
        properties.as_object_mut().expect("an object").extend(more.as_object().expect("an object").clone());
        let resources = [("A".to_owned(), json!({ "Type": "AWS::CloudWatch::Alarm", "Properties": properties }))];
        let (alarms, notes) = Alarms::of(&resources.into(), 0);
        assert_eq!(notes, [""; 0]);
        alarms
    }

    fn state(alarms: &mut Alarms, metrics: &Metrics, now: u64) -> State {
        alarms.evaluate(metrics, now)[0].state
    }

    fn put(metrics: &Metrics, ago: u64, value: f64) -> u64 {
        let now = crate::now::seconds();
        metrics.put_at(Series::new("App", "Failed", &[("service", "api")]), now - ago, value);
        now
    }

    #[test]
    fn an_alarm_needs_its_number_of_breaching_periods() {
        let (mut alarms, metrics) = (alarms(json!({ "TreatMissingData": "notBreaching" })), Metrics::default());
        let now = put(&metrics, 0, 1.0);
        assert_eq!(state(&mut alarms, &metrics, now), State::Ok);
        put(&metrics, 70, 1.0);
        assert_eq!(state(&mut alarms, &metrics, now), State::Alarm);
        assert_eq!(state(&mut alarms, &metrics, now + 1000), State::Ok);
    }

    #[test]
    fn missing_data_means_what_the_alarm_says() {
        let now = crate::now::seconds();
        for (treatment, expected) in [
            ("breaching", State::Alarm),
            ("notBreaching", State::Ok),
            ("missing", State::InsufficientData),
            ("ignore", State::InsufficientData),
        ] {
            let mut alarms = alarms(json!({ "TreatMissingData": treatment }));
            assert_eq!(state(&mut alarms, &Metrics::default(), now), expected, "{treatment}");
        }
    }

    #[test]
    fn nothing_is_missing_of_a_time_before_the_stack_was_there() {
        let resources = [(
            "A".to_owned(),
            json!({ "Type": "AWS::CloudWatch::Alarm", "Properties": {
            "Namespace": "App", "MetricName": "Heartbeat", "Statistic": "Sum", "Period": 300, "EvaluationPeriods": 3,
            "ComparisonOperator": "LessThanThreshold", "Threshold": 1, "TreatMissingData": "breaching",
        } }),
        )];
        let (mut alarms, _) = Alarms::of(&resources.into(), 10_000);
        let metrics = Metrics::default();
        assert_eq!(state(&mut alarms, &metrics, 10_800), State::InsufficientData);
        assert_eq!(state(&mut alarms, &metrics, 10_900), State::Alarm);
    }

    #[test]
    fn every_alarm_of_the_application_can_be_evaluated() -> Result<()> {
        let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../template.yaml");
        let chosen = [
            ("Stage", "development"),
            ("Alarms", "true"),
            ("Signals", "true"),
            ("ConsoleLogin", "Issuer"),
            ("JwtIssuer", "http://issuer"),
            ("ProviderUrl", "http://provider"),
            ("KafkaClusterArn", "arn:aws:kafka:us-east-1:000000000000:cluster/local/1"),
        ];
        let parameters = chosen.map(|(name, value)| (name.to_owned(), value.to_owned())).into();
        let deployment = Deployment { parameters, ..Deployment::default() };
        let resources = template::expand(&std::fs::read_to_string(path)?, &deployment)?;
        let (mut alarms, notes) = Alarms::of(&resources, 0);
        assert_eq!(notes, [""; 0]);
        let seen = alarms.evaluate(&Metrics::default(), crate::now::seconds());
        assert!(seen.len() > 15, "{seen:?}");
        // Without a metric, only a heartbeat is missed.
        let alarming: Vec<&str> =
            seen.iter().filter(|seen| seen.state == State::Alarm).map(|seen| seen.alarm.as_str()).collect();
        assert!(alarming.iter().all(|alarm| alarm.contains("Heartbeat")), "{alarming:?}");
        Ok(())
    }
}
