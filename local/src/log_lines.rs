//! The lines that functions printed last, by log group, for queries.

use std::{
    collections::{BTreeMap, VecDeque},
    sync::Arc,
};

use chrono::{DateTime, Utc};
use parking_lot::Mutex;
use serde_json::Value;

use crate::log_query::Row;

/// How many lines of a log group are kept.
const KEPT: usize = 20_000;

#[derive(Clone, Default)]
pub(crate) struct LogLines(Arc<Mutex<BTreeMap<String, VecDeque<Line>>>>);

#[derive(Debug, Clone)]
struct Line {
    time: DateTime<Utc>,
    text: String,
}

impl LogLines {
    pub(crate) fn add(&self, group: &str, text: &str) {
        let mut groups = self.0.lock();
        let lines = groups.entry(group.to_owned()).or_default();
        if lines.len() == KEPT {
            lines.pop_front();
        }
        lines.push_back(Line { time: Utc::now(), text: text.to_owned() });
    }

    /// In the order of their time; of these groups, or of all.
    pub(crate) fn rows(&self, groups: Option<&[String]>) -> Vec<Row> {
        let is_asked = |group: &String| groups.is_none_or(|groups| groups.contains(group));
        let mut lines: Vec<(String, Line)> = {
            let all = self.0.lock();
            let asked = all.iter().filter(|(group, _)| is_asked(group));
            asked.flat_map(|(group, lines)| lines.iter().map(|line| (group.clone(), line.clone()))).collect()
        };
        lines.sort_by_key(|(_, line)| line.time);
        lines.into_iter().map(|(group, line)| line.row(group)).collect()
    }
}

impl Line {
    /// With the members of a JSON line as fields (AWS, "Supported logs and discovered fields").
    fn row(self, group: String) -> Row {
        let mut row = match serde_json::from_str(&self.text) {
            Ok(Value::Object(members)) => members,
            _ => Row::new(),
        };
        row.insert("@timestamp".to_owned(), self.time.format("%Y-%m-%d %H:%M:%S%.3f").to_string().into());
        row.insert("@log".to_owned(), group.into());
        row.insert("@message".to_owned(), self.text.into());
        row
    }
}
