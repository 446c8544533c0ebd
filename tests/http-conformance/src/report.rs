//! The result of a run, as a table, as JSON or as JUnit XML.

use std::fmt::Write;
use std::time::Duration;

use serde_json::{Value, json};

use crate::vector::{Need, Tier};

/// The result of one case.
#[derive(Clone, Debug)]
pub struct Outcome {
    /// The name, which says what the case proves.
    pub name: String,
    /// The document from which it follows.
    pub tier: Tier,
    /// The verdict.
    pub verdict: Verdict,
    /// The duration of the case.
    pub took: Duration,
}

/// The verdict on a case. A skipped case has not passed.
#[derive(Clone, Debug)]
pub enum Verdict {
    /// Every expectation that could be checked was met.
    Passed {
        /// Facilities without which some expectations could not be checked.
        unchecked: Vec<Need>,
    },
    /// An expectation was not met.
    Failed(String),
    /// The implementation lacks facilities that the case needs.
    Skipped(Vec<Need>),
}

/// The result of a run.
#[derive(Clone, Debug)]
pub struct Report {
    /// The outcomes, in the order of the cases.
    pub outcomes: Vec<Outcome>,
}

impl Verdict {
    /// The verdict in one word.
    #[must_use]
    pub const fn word(&self) -> &'static str {
        match self {
            Self::Passed { .. } => "passed",
            Self::Failed(_) => "FAILED",
            Self::Skipped(_) => "skipped",
        }
    }

    fn remark(&self) -> String {
        match self {
            Self::Passed { unchecked } if unchecked.is_empty() => String::new(),
            Self::Passed { unchecked } => format!("not checked: {}", names(unchecked)),
            Self::Failed(why) => why.clone(),
            Self::Skipped(needs) => format!("needs {}", names(needs)),
        }
    }
}

impl Report {
    /// Whether cases ran and none failed.
    #[must_use]
    pub fn conforms(&self) -> bool {
        self.count("FAILED") == 0 && !self.outcomes.is_empty()
    }

    /// Whether every case ran, was checked completely, and passed.
    #[must_use]
    pub fn is_complete(&self) -> bool {
        let whole =
            |outcome: &Outcome| matches!(outcome.verdict, Verdict::Passed { ref unchecked } if unchecked.is_empty());
        self.outcomes.iter().all(whole) && !self.outcomes.is_empty()
    }

    fn count(&self, word: &str) -> usize {
        self.outcomes.iter().filter(|outcome| outcome.verdict.word() == word).count()
    }

    /// One line with the numbers of cases.
    #[must_use]
    pub fn summary(&self) -> String {
        let (all, passed) = (self.outcomes.len(), self.count("passed"));
        format!("{all} cases: {passed} passed, {} failed, {} skipped", self.count("FAILED"), self.count("skipped"))
    }

    /// The result as a Markdown table.
    #[must_use]
    pub fn table(&self) -> String {
        let mut table = String::from("| tier | case | result | remark |\n|---|---|---|---|\n");
        for outcome in &self.outcomes {
            let remark = outcome.verdict.remark().replace('|', "\\|").replace('\n', " ");
            // Writing to a string does not fail.
            let _ = writeln!(
                table,
                "| {} | {} | {} | {remark} |",
                name(&outcome.tier),
                outcome.name,
                outcome.verdict.word()
            );
        }
        table
    }

    /// The result as JSON, for programs.
    #[must_use]
    pub fn json(&self) -> Value {
        let case = |outcome: &Outcome| {
            json!({
                "name": outcome.name,
                "tier": outcome.tier,
                "result": outcome.verdict.word().to_lowercase(),
                "remark": outcome.verdict.remark(),
                "milliseconds": u64::try_from(outcome.took.as_millis()).unwrap_or(u64::MAX),
            })
        };
        json!({ "summary": self.summary(), "cases": self.outcomes.iter().map(case).collect::<Vec<_>>() })
    }

    /// The result as JUnit XML, for continuous integration.
    #[must_use]
    pub fn junit(&self) -> String {
        let mut xml = String::from("<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n");
        let (all, failed, skipped) = (self.outcomes.len(), self.count("FAILED"), self.count("skipped"));
        let _ = writeln!(
            xml,
            "<testsuite name=\"http-conformance\" tests=\"{all}\" failures=\"{failed}\" skipped=\"{skipped}\">"
        );
        for outcome in &self.outcomes {
            let remark = escape(&outcome.verdict.remark());
            let element = match &outcome.verdict {
                Verdict::Passed { .. } => String::new(),
                Verdict::Failed(_) => format!("<failure message=\"{remark}\"/>"),
                Verdict::Skipped(_) => format!("<skipped message=\"{remark}\"/>"),
            };
            let _ = writeln!(
                xml,
                "  <testcase classname=\"{}\" name=\"{}\" time=\"{:.3}\">{element}</testcase>",
                name(&outcome.tier),
                escape(&outcome.name),
                outcome.took.as_secs_f64(),
            );
        }
        xml.push_str("</testsuite>\n");
        xml
    }
}

fn name(value: &impl serde::Serialize) -> String {
    serde_json::to_value(value).ok().and_then(|value| value.as_str().map(str::to_owned)).unwrap_or_default()
}

fn names(needs: &[Need]) -> String {
    needs.iter().map(name).collect::<Vec<_>>().join(", ")
}

fn escape(text: &str) -> String {
    let readable = |character: char| if character.is_control() { '\u{fffd}' } else { character };
    let text: String = text.chars().map(readable).collect();
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;").replace('"', "&quot;")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn report(verdicts: impl IntoIterator<Item = Verdict>) -> Report {
        let outcome = |verdict| Outcome { name: "a".into(), tier: Tier::Draft, verdict, took: Duration::ZERO };
        Report { outcomes: verdicts.into_iter().map(outcome).collect() }
    }

    #[test]
    fn a_case_that_was_skipped_or_checked_in_part_has_not_passed() {
        let passed = || Verdict::Passed { unchecked: vec![] };
        assert!(report([passed()]).is_complete() && report([passed()]).conforms());
        let partly =
            report([passed(), Verdict::Skipped(vec![Need::Store]), Verdict::Passed { unchecked: vec![Need::Marker] }]);
        assert!(partly.conforms() && !partly.is_complete());
        assert!(!report([passed(), Verdict::Failed("x".into())]).conforms());
        assert!(!report([]).conforms() && !report([]).is_complete(), "no case ran");
    }

    #[test]
    fn a_remark_breaks_neither_the_table_nor_the_xml() {
        let report = report([Verdict::Failed("a | b\n\"<&>\" \u{1}".into())]);
        assert!(report.table().ends_with("| draft | a | FAILED | a \\| b \"<&>\" \u{1} |\n"), "{}", report.table());
        assert!(
            report.junit().contains("message=\"a | b\u{fffd}&quot;&lt;&amp;&gt;&quot; \u{fffd}\""),
            "{}",
            report.junit()
        );
    }
}
