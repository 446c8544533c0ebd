//! What functions print: metrics, request lines and everything else, each to where it belongs.

use std::io::Write;

use anstyle::{AnsiColor, Style};
use clap::ValueEnum;
use serde_json::Value;

use crate::{
    activity::{Activity, Answered},
    log_lines::LogLines,
    metrics::Metrics,
    request_line::{RECONCILED, RequestLine},
    template,
};

/// How the output of functions appears in the terminal.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, ValueEnum)]
pub enum LogFormat {
    /// One short line for each request and message, and warnings.
    #[default]
    Short,
    /// Every line as the function wrote it, behind its name.
    Json,
}

#[derive(Clone)]
pub(crate) struct Output {
    format: LogFormat,
    activity: Activity,
    metrics: Metrics,
    lines: LogLines,
}

impl Output {
    pub(crate) fn new(format: LogFormat, activity: Activity) -> Self {
        Self { format, activity, metrics: Metrics::default(), lines: LogLines::default() }
    }

    pub(crate) fn metrics(&self) -> &Metrics {
        &self.metrics
    }

    pub(crate) fn lines(&self) -> &LogLines {
        &self.lines
    }

    pub(crate) fn activity(&self) -> &Activity {
        &self.activity
    }

    /// A function has printed a line.
    pub(crate) fn printed(&self, function: &template::Function, line: &str) {
        self.lines.add(&function.log_group, line);
        let document = serde_json::from_str::<Value>(line).ok().filter(Value::is_object);
        if let Some(document) = &document {
            self.metrics.add(document);
            if let Some(line) = RequestLine::of(document) {
                self.activity.logged(function, line);
            }
        }
        match self.format {
            LogFormat::Json => eprintln!("[{}] {line}", function.name),
            LogFormat::Short => match document {
                Some(document) => self.show(&function.name, &document),
                None => write(&format!("{} {}", dimmed(&function.name), visible(line))),
            },
        }
    }

    /// The gateway has answered. In JSON, the function's own line says it all.
    pub(crate) fn answered(&self, answered: &Answered) {
        if self.format == LogFormat::Short {
            write(&answered.text());
        }
    }

    fn show(&self, function: &str, document: &Value) {
        if document.get("_aws").is_some() {
            return;
        }
        let text = match RequestLine::of(document) {
            // The gateway shows it, with the path.
            Some(line) if line.status.is_some() => return,
            Some(line) => line.text(function),
            None => other(function, document),
        };
        write(&text);
    }
}

impl RequestLine {
    fn text(&self, function: &str) -> String {
        let what = if self.operation.is_empty() { function } else { &self.operation };
        let text = columns(what, None, Some(&self.outcome), self.record.as_deref(), self.milliseconds);
        match &self.error {
            Some(error) => format!("{text}  {}", visible(error)),
            None => text,
        }
    }
}

impl Answered {
    fn text(&self) -> String {
        let line = self.line.as_ref();
        let outcome = line.map(|line| line.outcome.as_str());
        let record = line.and_then(|line| line.record.as_deref());
        let what = format!("{} {}", self.method, self.path);
        let text = columns(&what, Some(self.status), outcome, record, Some(self.milliseconds));
        match line.and_then(|line| line.error.as_ref()) {
            Some(error) => format!("{text}  {}", visible(error)),
            None => text,
        }
    }
}

/// What, status, outcome, digest of the key, duration.
fn columns(
    what: &str,
    status: Option<u16>,
    outcome: Option<&str>,
    record: Option<&str>,
    milliseconds: Option<u64>,
) -> String {
    let status = match status {
        Some(status) => styled(of_status(status), &status.to_string()),
        None => "   ".to_owned(),
    };
    let outcome = outcome.unwrap_or("-");
    let record = record.map(|record| record.chars().take(12).collect::<String>()).unwrap_or_default();
    let milliseconds = milliseconds.map(|duration| format!("{duration} ms")).unwrap_or_default();
    let outcome = styled(of_outcome(outcome), &format!("{outcome:<13}"));
    let what = visible(what);
    format!("{} {what:<30} {status} {outcome} {record:<12} {milliseconds:>8}", dimmed(&clock()))
}

/// A line that is about no request: its level, its words, and behind them its other fields.
fn other(function: &str, document: &Value) -> String {
    let level = document["level"].as_str().unwrap_or_default();
    let style = match level {
        "ERROR" => AnsiColor::Red.on_default(),
        "WARN" => AnsiColor::Yellow.on_default(),
        _ => Style::new(),
    };
    let message = document["fields"]["message"].as_str();
    let fields = document["fields"].as_object().into_iter().flatten();
    let fields = fields.filter(|(name, _)| message.is_none() || *name != "message").map(|(name, value)| match value {
        Value::String(text) => format!("{name}: {text}"),
        value => format!("{name}: {value}"),
    });
    let fields = fields.collect::<Vec<_>>().join(", ");
    let words = match (message, fields.is_empty()) {
        (None, true) => document.to_string(),
        (None, false) => fields,
        (Some(message), true) => message.to_owned(),
        (Some(message), false) => format!("{message} ({fields})"),
    };
    format!("{} {} {} {}", dimmed(&clock()), dimmed(function), styled(style, level), visible(&words))
}

/// Texts come from callers: what would control the terminal is shown.
fn visible(text: &str) -> String {
    let escaped = |letter: char| if letter.is_control() { letter.escape_default().to_string() } else { letter.into() };
    text.chars().map(escaped).collect()
}

fn of_status(status: u16) -> Style {
    match status {
        ..300 => AnsiColor::Green.on_default(),
        300..400 => AnsiColor::Cyan.on_default(),
        400..500 => AnsiColor::Yellow.on_default(),
        500.. => AnsiColor::Red.on_default(),
    }
}

fn of_outcome(outcome: &str) -> Style {
    match outcome {
        "executed" | RECONCILED => AnsiColor::Green.on_default(),
        "replayed" | "duplicate" => AnsiColor::Cyan.on_default(),
        "unknown" | "error" | "unreadable" | "conflict" => AnsiColor::Red.on_default(),
        "in progress" | "mismatch" | "not executed" => AnsiColor::Yellow.on_default(),
        _ => Style::new(),
    }
}

fn clock() -> String {
    chrono::Local::now().format("%H:%M:%S").to_string()
}

fn dimmed(text: &str) -> String {
    styled(Style::new().dimmed(), text)
}

fn styled(style: Style, text: &str) -> String {
    format!("{style}{text}{style:#}")
}

/// To the terminal, with its colours; without them, if it is none or the reader wants none (`NO_COLOR`).
fn write(text: &str) {
    // Nobody reads: that is no reason to stop.
    let _ = writeln!(anstream::stderr(), "{text}");
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_request_line_is_read_and_other_lines_are_not() {
        let document = json!({
            "level": "INFO",
            "fields": { "outcome": "replayed", "operation": "POST /payments", "record": "3fa9c1d2", "status": 201, "total_ms": 4 },
            "span": { "requestId": "r-1" },
        });
        let line = RequestLine::of(&document).expect("a request line");
        assert_eq!((line.outcome.as_str(), line.status, line.milliseconds), ("replayed", Some(201), Some(4)));
        assert_eq!((line.record.as_deref(), line.invocation.as_deref()), (Some("3fa9c1d2"), Some("r-1")));
        assert!(line.took_effect());
        assert_eq!(RequestLine::of(&json!({ "fields": { "message": "hello" } })), None);
    }

    #[test]
    fn the_short_line_has_method_path_status_outcome_digest_and_duration() {
        let line = RequestLine {
            outcome: "executed".to_owned(),
            record: Some("0123456789abcdefgh".to_owned()),
            ..RequestLine::default()
        };
        let answered = Answered {
            at: 0,
            method: "POST".to_owned(),
            path: "/payments".to_owned(),
            status: 201,
            milliseconds: 41,
            line: Some(line),
        };
        let text = anstream::adapter::strip_str(&answered.text()).to_string();
        let words: Vec<&str> = text.split_whitespace().skip(1).collect();
        assert_eq!(words, ["POST", "/payments", "201", "executed", "0123456789ab", "41", "ms"]);
    }

    #[test]
    fn a_text_cannot_control_the_terminal() {
        let document = json!({ "level": "ERROR", "fields": { "message": "\u{1b}[2J\u{7}gone" } });
        let text = other("api", &document);
        assert!(text.contains(r"\u{1b}[2J\u{7}gone"), "{text}");
    }

    #[test]
    fn an_execution_that_ran_nothing_has_found_one() {
        for (ran, outcome) in [(json!(true), "executed"), (json!(false), "reconciled"), (Value::Null, "executed")] {
            let line = RequestLine::of(&json!({ "fields": { "outcome": "executed", "ran": ran, "status": 201 } }));
            let line = line.expect("a request line");
            assert_eq!((line.outcome.as_str(), line.took_effect()), (outcome, true), "{ran}");
        }
        let refused = RequestLine::of(&json!({ "fields": { "outcome": "mismatch", "ran": false } }));
        assert_eq!(refused.expect("a request line").outcome, "mismatch");
    }

    #[test]
    fn a_warning_keeps_its_words_and_its_fields_apart() {
        for (fields, words) in [
            (
                json!({ "error": "nothing was written", "age_s": 4, "message": "not followed up" }),
                ["WARN not followed up (", "error: nothing was written", "age_s: 4"],
            ),
            (json!({ "message": "late" }), ["reconciler WARN late", "", ""]),
            (json!({ "age_s": 4 }), ["WARN age_s: 4", "", ""]),
        ] {
            let text = other("reconciler", &json!({ "level": "WARN", "fields": fields }));
            let text = anstream::adapter::strip_str(&text).to_string();
            assert!(words.iter().all(|words| text.contains(words)), "{text}");
        }
    }
}
