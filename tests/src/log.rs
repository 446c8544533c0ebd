//! The output of the functions: log lines, and metrics.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::Value;

use crate::json::{list, text};

/// The output of all functions of a stack.
#[derive(Debug, Default)]
pub struct Printed {
    /// Log lines, each with the function that wrote it.
    pub lines: Vec<(String, Value)>,
    /// The metrics that CloudWatch would extract.
    pub metrics: BTreeSet<Series>,
    /// The sums of the counters over all functions.
    pub counts: BTreeMap<String, f64>,
}

/// A metric with its dimensions, as an alarm or a graph names it.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Series {
    /// The namespace.
    pub namespace: String,
    /// The name.
    pub name: String,
    /// Names and values of the dimensions.
    pub dimensions: BTreeMap<String, String>,
}

impl Printed {
    /// Reads the log of the local stack: `[FUNCTION] LINE`.
    pub fn read(log: &str) -> Self {
        let mut printed = Self::default();
        for line in log.lines() {
            let Some((function, line)) = line.strip_prefix('[').and_then(|line| line.split_once("] ")) else {
                continue;
            };
            let Ok(document) = serde_json::from_str::<Value>(line) else { continue };
            match document.get("_aws") {
                Some(directive) => printed.add(directive, &document),
                None => printed.lines.push((function.to_owned(), document)),
            }
        }
        printed
    }

    /// Reads a document of the embedded metric format (AWS, "Specification: Embedded metric format").
    fn add(&mut self, directive: &Value, document: &Value) {
        for declared in list(&directive["CloudWatchMetrics"]) {
            for metric in list(&declared["Metrics"]) {
                let name = text(&metric["Name"]);
                for dimensions in list(&declared["Dimensions"]) {
                    let dimensions: BTreeMap<String, String> =
                        list(dimensions).iter().map(|name| (text(name), text(&document[text(name)]))).collect();
                    if dimensions.len() == 1 {
                        *self.counts.entry(name.clone()).or_default() += document[&name].as_f64().unwrap_or_default();
                    }
                    self.metrics.insert(Series {
                        namespace: text(&declared["Namespace"]),
                        name: name.clone(),
                        dimensions,
                    });
                }
            }
        }
    }

    /// The request log: one line for each request, message and stream record.
    pub fn outcomes(&self) -> impl Iterator<Item = &Value> {
        self.lines.iter().map(|(_, line)| line).filter(|line| line["fields"]["outcome"].is_string())
    }
}
