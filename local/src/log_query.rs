//! Queries of CloudWatch Logs Insights, as far as the template's saved queries and those of a runbook need them (AWS,
//! "CloudWatch Logs Insights query syntax"): `fields`, `filter`, `stats`, `sort` and `limit`. Whatever else a query
//! says is an error.

use std::collections::BTreeMap;

use anyhow::{Context, Result, bail, ensure};
use serde_json::{Map, Value};

use syntax::{Comparison, Condition, Literal, Words};

pub(crate) mod saved;
mod syntax;

/// How many lines an answer has without `limit` (AWS, "limit").
const LIMIT: usize = 10_000;

/// A line, or a row of an answer.
pub(crate) type Row = Map<String, Value>;

#[derive(Debug)]
pub(crate) struct Query(Vec<Command>);

#[derive(Debug)]
enum Command {
    Fields(Vec<String>),
    Filter(Condition),
    Stats(Vec<Aggregate>, Vec<String>),
    Sort(Vec<(String, bool)>),
    Limit(usize),
}

/// One column of `stats`.
#[derive(Debug)]
struct Aggregate {
    name: String,
    function: Function,
    /// `*` counts lines.
    field: Option<String>,
}

#[derive(Debug, Clone, Copy)]
enum Function {
    Count,
    CountDistinct,
    Sum,
    Average,
    Minimum,
    Maximum,
    Percentile(f64),
}

impl Query {
    /// # Errors
    /// When a command is not known here, or not complete.
    pub(crate) fn parse(text: &str) -> Result<Self> {
        let commands = syntax::commands(text)?;
        ensure!(!commands.is_empty(), "a query is expected, as `fields @timestamp, fields.outcome | limit 20`");
        let commands = commands.into_iter().filter_map(|command| Command::parse(command).transpose());
        Ok(Self(commands.collect::<Result<_>>()?))
    }

    /// The answer, from lines in the order of their time; newest first, unless the query sorts them.
    pub(crate) fn run(&self, lines: Vec<Row>) -> Vec<Row> {
        let is_sorted = self.0.iter().any(|command| matches!(command, Command::Sort(_) | Command::Stats(..)));
        let lines = if is_sorted { lines } else { lines.into_iter().rev().collect() };
        let mut rows = self.0.iter().fold(lines, |rows, command| command.run(rows));
        rows.truncate(LIMIT);
        let columns = self.columns();
        rows.iter().map(|row| shown(row, columns.as_deref())).collect()
    }

    /// The columns of the answer; `None`: those of a query that names none.
    fn columns(&self) -> Option<Vec<String>> {
        let mut columns: Option<Vec<String>> = None;
        for command in &self.0 {
            match command {
                Command::Fields(fields) => columns.get_or_insert_default().extend(fields.iter().cloned()),
                Command::Stats(aggregates, by) => {
                    columns = Some(by.iter().chain(aggregates.iter().map(|each| &each.name)).cloned().collect());
                }
                Command::Filter(_) | Command::Sort(_) | Command::Limit(_) => {}
            }
        }
        columns
    }
}

impl Command {
    /// `None`: it says where the lines come from.
    fn parse(mut words: Words) -> Result<Option<Self>> {
        let name = words.name()?;
        let command = match name.to_ascii_lowercase().as_str() {
            "source" => return Ok(None),
            "fields" | "display" => Self::Fields(names(&mut words)?),
            "filter" => Self::Filter(words.condition()?),
            "stats" => stats(&mut words)?,
            "sort" => sort(&mut words)?,
            "limit" => Self::Limit(words.number()? as usize),
            _ => bail!("the local stack does not know the command {name}"),
        };
        words.expect_end().with_context(|| format!("after {name}"))?;
        Ok(Some(command))
    }

    fn run(&self, mut rows: Vec<Row>) -> Vec<Row> {
        match self {
            Self::Fields(_) => rows,
            Self::Filter(condition) => rows.into_iter().filter(|row| holds(condition, row)).collect(),
            Self::Stats(aggregates, by) => grouped(&rows, aggregates, by),
            Self::Sort(keys) => {
                rows.sort_by(|left, right| {
                    let order = |(field, descends): &(String, bool)| {
                        let order = compared(field_of(left, field), field_of(right, field));
                        if *descends { order.reverse() } else { order }
                    };
                    keys.iter().map(order).find(|order| order.is_ne()).unwrap_or(std::cmp::Ordering::Equal)
                });
                rows
            }
            Self::Limit(limit) => {
                rows.truncate(*limit);
                rows
            }
        }
    }
}

fn names(words: &mut Words) -> Result<Vec<String>> {
    let mut names = vec![words.name()?];
    while words.takes(",") {
        names.push(words.name()?);
    }
    Ok(names)
}

fn sort(words: &mut Words) -> Result<Command> {
    let mut keys = Vec::new();
    loop {
        let field = words.name()?;
        let descends = words.takes_word("desc") || !words.takes_word("asc");
        keys.push((field, descends));
        if !words.takes(",") {
            return Ok(Command::Sort(keys));
        }
    }
}

fn stats(words: &mut Words) -> Result<Command> {
    let mut aggregates = vec![aggregate(words)?];
    while words.takes(",") {
        aggregates.push(aggregate(words)?);
    }
    let by = if words.takes_word("by") { names(words)? } else { Vec::new() };
    Ok(Command::Stats(aggregates, by))
}

fn aggregate(words: &mut Words) -> Result<Aggregate> {
    let function = words.name()?;
    words.expect("(")?;
    let field = match words.takes("*") {
        true => None,
        false => Some(words.name()?),
    };
    let mut shown = format!("{function}({}", field.as_deref().unwrap_or("*"));
    let function = match function.to_ascii_lowercase().as_str() {
        "count" => Function::Count,
        "count_distinct" => Function::CountDistinct,
        "sum" => Function::Sum,
        "avg" => Function::Average,
        "min" => Function::Minimum,
        "max" => Function::Maximum,
        "pct" => {
            words.expect(",")?;
            let percent = words.number()?;
            shown += &format!(", {percent}");
            Function::Percentile(percent)
        }
        _ => bail!("the local stack does not know the function {function}"),
    };
    words.expect(")")?;
    let name = if words.takes_word("as") { words.name()? } else { shown + ")" };
    Ok(Aggregate { name, function, field })
}

/// A field by its path, as Logs Insights discovers it in a line of JSON.
fn field_of<'r>(row: &'r Row, field: &str) -> Option<&'r Value> {
    if let Some(value) = row.get(field) {
        return Some(value).filter(|value| !value.is_null());
    }
    let mut names = field.split('.');
    let first = row.get(names.next()?)?;
    names.try_fold(first, |value, name| value.get(name)).filter(|value| !value.is_null())
}

fn holds(condition: &Condition, row: &Row) -> bool {
    match condition {
        Condition::Both(left, right) => holds(left, row) && holds(right, row),
        Condition::Either(left, right) => holds(left, row) || holds(right, row),
        Condition::Not(inner) => !holds(inner, row),
        Condition::IsPresent(field) => field_of(row, field).is_some(),
        Condition::OneOf(field, list) => field_of(row, field)
            .is_some_and(|value| list.iter().any(|literal| order(value, literal).is_some_and(|order| order.is_eq()))),
        Condition::Like(field, pattern) => field_of(row, field).is_some_and(|value| pattern.is_match(&text(value))),
        Condition::Compared(field, comparison, literal) => {
            let order = field_of(row, field).and_then(|value| order(value, literal));
            match comparison {
                Comparison::Equal => order.is_some_and(|order| order.is_eq()),
                Comparison::NotEqual => order.is_none_or(|order| order.is_ne()),
                Comparison::Below => order.is_some_and(|order| order.is_lt()),
                Comparison::AtMost => order.is_some_and(|order| order.is_le()),
                Comparison::Above => order.is_some_and(|order| order.is_gt()),
                Comparison::AtLeast => order.is_some_and(|order| order.is_ge()),
            }
        }
    }
}

/// `None`: a number and a text that is none cannot be compared.
fn order(value: &Value, literal: &Literal) -> Option<std::cmp::Ordering> {
    match literal {
        Literal::Number(number) => number_of(value)?.partial_cmp(number),
        Literal::Text(literal) => Some(text(value).as_str().cmp(literal)),
    }
}

/// What is absent comes first.
fn compared(left: Option<&Value>, right: Option<&Value>) -> std::cmp::Ordering {
    match (left, right) {
        (Some(left), Some(right)) => match (number_of(left), number_of(right)) {
            (Some(left), Some(right)) => left.total_cmp(&right),
            // Numbers before texts: an order must be one for all.
            (Some(_), None) => std::cmp::Ordering::Less,
            (None, Some(_)) => std::cmp::Ordering::Greater,
            (None, None) => text(left).cmp(&text(right)),
        },
        (left, right) => left.is_some().cmp(&right.is_some()),
    }
}

fn number_of(value: &Value) -> Option<f64> {
    match value {
        Value::Number(number) => number.as_f64(),
        Value::String(text) => text.parse().ok(),
        Value::Bool(truth) => Some(u8::from(*truth).into()),
        Value::Null | Value::Array(_) | Value::Object(_) => None,
    }
}

/// As Logs Insights shows it: a truth is 1 or 0 there, too.
fn text(value: &Value) -> String {
    match value {
        Value::String(text) => text.clone(),
        Value::Bool(truth) => u8::from(*truth).to_string(),
        Value::Null | Value::Number(_) | Value::Array(_) | Value::Object(_) => value.to_string(),
    }
}

fn grouped(rows: &[Row], aggregates: &[Aggregate], by: &[String]) -> Vec<Row> {
    let mut groups: BTreeMap<Vec<String>, Vec<&Row>> = BTreeMap::new();
    for row in rows {
        let key = by.iter().map(|field| field_of(row, field).map(text).unwrap_or_default()).collect();
        groups.entry(key).or_default().push(row);
    }
    let row = |(key, rows): (Vec<String>, Vec<&Row>)| {
        let keys = by.iter().cloned().zip(key.into_iter().map(Value::from));
        keys.chain(aggregates.iter().map(|each| (each.name.clone(), each.of(&rows)))).collect()
    };
    groups.into_iter().map(row).collect()
}

impl Aggregate {
    fn of(&self, rows: &[&Row]) -> Value {
        let Some(field) = &self.field else { return rows.len().into() };
        let values: Vec<&Value> = rows.iter().filter_map(|row| field_of(row, field)).collect();
        let mut numbers: Vec<f64> = values.iter().filter_map(|value| number_of(value)).collect();
        numbers.sort_by(f64::total_cmp);
        let sum: f64 = numbers.iter().sum();
        let number = match self.function {
            Function::Count => return values.len().into(),
            Function::CountDistinct => {
                let distinct: std::collections::BTreeSet<String> = values.into_iter().map(text).collect();
                return distinct.len().into();
            }
            Function::Sum => Some(sum),
            Function::Average => (!numbers.is_empty()).then(|| sum / numbers.len() as f64),
            Function::Minimum => numbers.first().copied(),
            Function::Maximum => numbers.last().copied(),
            Function::Percentile(percent) => percentile(&numbers, percent),
        };
        number.map_or(Value::Null, Value::from)
    }
}

/// The smallest number that so many in a hundred do not exceed.
fn percentile(sorted: &[f64], percent: f64) -> Option<f64> {
    let rank = (percent / 100.0 * sorted.len() as f64).ceil().max(1.0) as usize;
    sorted.get(rank.min(sorted.len()).checked_sub(1)?).copied()
}

/// The columns of a row that it has. Without any: the time and the line.
fn shown(row: &Row, columns: Option<&[String]>) -> Row {
    let default = ["@timestamp".to_owned(), "@message".to_owned()];
    let columns = columns.unwrap_or(&default);
    columns.iter().filter_map(|column| Some((column.clone(), field_of(row, column)?.clone()))).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn lines() -> Vec<Row> {
        let lines = json!([
            { "@timestamp": "1", "fields": { "outcome": "executed", "total_ms": 10, "record": "a", "cold_start": true } },
            { "@timestamp": "2", "fields": { "outcome": "replayed", "total_ms": 2, "record": "a" } },
            { "@timestamp": "3", "fields": { "outcome": "replayed", "total_ms": 4, "record": "b" } },
            { "@timestamp": "4", "fields": { "outcome": "unknown", "total_ms": 30, "record": "b", "error": "timed out" } },
            { "@timestamp": "5", "message": "not of a request" },
        ]);
        serde_json::from_value(lines).expect("rows")
    }

    fn run(query: &str) -> Value {
        json!(Query::parse(query).unwrap_or_else(|error| panic!("{query}: {error:#}")).run(lines()))
    }

    #[test]
    fn each_command_does_what_logs_insights_does() {
        let times = |query: &str| {
            let rows = run(&format!("fields @timestamp | {query}"));
            rows.as_array()
                .expect("rows")
                .iter()
                .map(|row| row["@timestamp"].as_str().expect("a time").to_owned())
                .collect::<String>()
        };
        for (query, expected) in [
            ("limit 2", "54"),
            ("sort @timestamp asc | limit 2", "12"),
            ("filter fields.outcome = 'replayed'", "32"),
            ("filter fields.outcome in ['replayed', 'unknown']", "432"),
            ("filter fields.outcome not in ['replayed', 'unknown']", "51"),
            ("filter fields.total_ms >= 4 and fields.total_ms < 30", "31"),
            ("filter fields.total_ms < 4 or fields.total_ms > 10 # slow or fast", "42"),
            ("filter not ispresent(fields.outcome)", "5"),
            ("filter (fields.record = 'a' or fields.record = 'b') and fields.error like /t.med/", "4"),
            ("filter fields.error like 'timed'", "4"),
            ("filter fields.record != 'a'", "543"),
            ("filter fields.cold_start = 1", "1"),
            ("filter ispresent(fields.outcome) | sort fields.record desc, fields.total_ms asc", "3421"),
        ] {
            assert_eq!(times(query), expected, "{query}");
        }
        let stats = "SOURCE 'group' | filter ispresent(fields.outcome) | stats count(*) as calls, max(fields.total_ms), \
                     pct(fields.total_ms, 50) as p50, avg(fields.total_ms) as mean, count_distinct(fields.outcome) as outcomes by \
                     fields.record | sort calls desc";
        assert_eq!(
            run(stats),
            json!([
                { "fields.record": "a", "calls": 2, "max(fields.total_ms)": 10.0, "p50": 2.0, "mean": 6.0, "outcomes": 2 },
                { "fields.record": "b", "calls": 2, "max(fields.total_ms)": 30.0, "p50": 4.0, "mean": 17.0, "outcomes": 2 },
            ])
        );
    }

    #[test]
    fn what_is_not_known_is_an_error_that_names_it() {
        for (query, expected) in [
            ("parse @message '*' as x", "command parse"),
            ("stats stddev(fields.total_ms)", "function stddev"),
            ("filter strlen(fields.record) > 3", "function strlen"),
            ("filter fields.record = ", "a text or a number"),
            ("filter fields.record = 'a", "is not closed"),
            ("limit 3 4", "after limit"),
            ("fields @timestamp, fields.a + 1", "begins here: +"),
            ("", "a query is expected"),
            (&format!("filter {}", "(".repeat(10_000)), "deeper"),
            (&format!("filter {}a = 1", "not ".repeat(10_000)), "deeper"),
        ] {
            let shown: String = query.chars().take(40).collect();
            let error = format!("{:#}", Query::parse(query).expect_err(&shown));
            assert!(error.contains(expected), "{shown}: {error}");
        }
    }
}
