//! The counted members of one line of the request log.

use payments::REFUND;
use serde::Deserialize;
use signals::{Answer, Facts, Kind};

/// The longest line that is parsed, in bytes. A line of the request log has about 1 KB.
const MAX_BYTES: usize = 16 * 1024;

/// A request log line with the caller's pseudonym.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
pub struct Line {
    outcome: String,
    operation: String,
    status: Option<u16>,
    #[serde(default)]
    ran: bool,
    age_s: Option<u64>,
    total_ms: Option<u64>,
    record: Option<String>,
    /// The complete id of its record.
    pub record_id: Option<String>,
    /// The pseudonym of the principal.
    pub who: String,
    /// The pseudonym of the account.
    pub about: Option<String>,
    instrument: Option<String>,
    #[serde(default)]
    small: bool,
    code: Option<String>,
}

impl Line {
    /// Reads a line; `None` if it is not of the request log, is cut or too long, or has no pseudonym of a caller.
    #[must_use]
    pub fn read(message: &str) -> Option<Self> {
        #[derive(Deserialize)]
        struct Written {
            fields: Line,
        }
        if message.len() > MAX_BYTES {
            return None;
        }
        let Written { fields: line } = serde_json::from_str(message).ok()?;
        let is_safe = is_pseudonym(&line.who) && line.about.as_deref().is_none_or(is_pseudonym);
        is_safe.then_some(line)
    }

    /// The facts that are counted for an entity of this kind.
    #[must_use]
    pub fn facts(&self, kind: Kind) -> Facts<'_> {
        Facts {
            answer: Answer::of_log(&self.outcome, self.status, self.age_s),
            ran: self.ran,
            slow: self.ran && self.total_ms.is_some_and(|total_ms| total_ms > Facts::SLOW_MS),
            refund: self.operation == REFUND,
            hard: self.code.as_deref().is_some_and(Answer::is_hard),
            small: self.small,
            instrument: self.instrument.as_deref().map(str::as_bytes),
            caller: (kind == Kind::Account).then_some(self.who.as_bytes()),
            record: self.record.as_deref().map(str::as_bytes),
        }
    }
}

/// 12 characters of base64url: it becomes a part of a key.
fn is_pseudonym(name: &str) -> bool {
    name.len() == 12 && name.bytes().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_'))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const LINE: &str = r#"{"timestamp":"2026-11-29T04:00:00Z","level":"INFO","fields":{"outcome":"executed","operation":"POST /payments","record":"abc","record_id":"idempotency:abc","status":402,"ran":true,"who":"W8lJIn2aGdO7","about":"qHtsl1xMXfSJ","instrument":"x5d9Pg","small":true,"code":"incorrect_cvc","total_ms":3},"span":{"requestId":"r"}}"#;

    #[test]
    fn a_line_of_the_request_log_is_read_as_what_is_counted() {
        let line = Line::read(LINE).unwrap();
        let facts = line.facts(Kind::Principal);
        assert_eq!((line.who.as_str(), line.about.as_deref()), ("W8lJIn2aGdO7", Some("qHtsl1xMXfSJ")));
        assert_eq!(
            (facts.answer, facts.ran, facts.hard, facts.small, facts.refund),
            (Answer::Declined, true, true, true, false)
        );
        let refund = LINE.replace("POST /payments", "POST /payments/{id}/refunds").replace("402", "422");
        let line = Line::read(&refund).unwrap();
        assert_eq!((line.facts(Kind::Principal).refund, line.facts(Kind::Principal).answer), (true, Answer::Refused));
    }

    #[test]
    fn only_a_run_is_slow() {
        let slow = LINE.replace("\"total_ms\":3", "\"total_ms\":2001");
        let is_slow = |line: &str| Line::read(line).unwrap().facts(Kind::Principal).slow;
        assert_eq!([LINE, &slow, &slow.replace("\"ran\":true", "\"ran\":false")].map(is_slow), [false, true, false]);
        assert!(!is_slow(&LINE.replace(",\"total_ms\":3", "")), "a line of an earlier version");
    }

    #[test]
    fn what_is_not_ours_is_cut_huge_or_hostile_is_no_line() {
        for hostile in [
            "",
            "START RequestId: x",
            "[]",
            &LINE[..LINE.len() - 20],
            &LINE.replace("W8lJIn2aGdO7", "short"),
            &LINE.replace("W8lJIn2aGdO7", "W8lJIn2aG#O7"),
            &LINE.replace("qHtsl1xMXfSJ", "../../../../"),
            &LINE.replace("\"W8lJIn2aGdO7\"", "7"),
            &LINE.replace("402", "-402"),
            &LINE.replace("incorrect_cvc", &"x".repeat(20_000)),
            r#"{"_aws":{"CloudWatchMetrics":[]},"Executed":1}"#,
        ] {
            assert_eq!(Line::read(hostile), None, "{hostile:.80}");
        }
    }

    proptest! {
        #[test]
        fn no_text_breaks_the_reader(text: String, at in 0..LINE.len()) {
            let _ = Line::read(&text);
            let _ = Line::read(&format!("{}{text}{}", &LINE[..at], &LINE[at..]));
        }
    }
}
