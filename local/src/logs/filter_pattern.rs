//! Filter patterns of log subscriptions (AWS, "Filter pattern syntax for metric filters, subscription filters").

use anyhow::{Context, Result, bail};
use serde_json::Value;

use crate::wildcard::is_like;

/// The patterns that the local stack knows: everything, and one field of a line in JSON.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum FilterPattern {
    All,
    /// `{ $.fields.who = "*" }`: the text at this path is like this one, in which `*` is any text.
    Like {
        path: Vec<String>,
        text: String,
    },
}

impl FilterPattern {
    pub(crate) fn parse(pattern: &str) -> Result<Self> {
        let unknown = || format!("the local stack supports patterns such as {{ $.a.b = \"text*\" }}, not {pattern}");
        let pattern = pattern.trim();
        if pattern.is_empty() {
            return Ok(Self::All);
        }
        let inner = pattern.strip_prefix('{').and_then(|rest| rest.strip_suffix('}')).with_context(unknown)?;
        let (path, text) = inner.split_once('=').with_context(unknown)?;
        let path = path.trim().strip_prefix("$.").with_context(unknown)?;
        let text = text.trim().strip_prefix('"').and_then(|rest| rest.strip_suffix('"')).with_context(unknown)?;
        let is_plain =
            |name: &str| !name.is_empty() && name.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'_');
        if !path.split('.').all(is_plain) || text.contains('"') || text.contains('?') {
            bail!(unknown());
        }
        Ok(Self::Like { path: path.split('.').map(str::to_owned).collect(), text: text.to_owned() })
    }

    pub(crate) fn passes(&self, line: &str) -> bool {
        match self {
            Self::All => true,
            Self::Like { path, text } => {
                let Ok(line) = serde_json::from_str::<Value>(line) else { return false };
                let found = path.iter().try_fold(&line, |value, name| value.get(name));
                found.and_then(Value::as_str).is_some_and(|found| is_like(found, text))
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_pattern_passes_lines_in_json_with_such_a_text() {
        let pattern = FilterPattern::parse(r#"{ $.fields.who = "*" }"#).expect("known");
        assert!(pattern.passes(r#"{"fields":{"who":"a"}}"#));
        for line in
            ["", "who", r#"{"fields":{}}"#, r#"{"fields":{"who":1}}"#, r#"{"who":"a"}"#, r#"{"fields":{"who":"a""#]
        {
            assert!(!pattern.passes(line), "{line}");
        }
        let pattern = FilterPattern::parse(r#"{$.a="x*"}"#).expect("known");
        assert!(pattern.passes(r#"{"a":"xy"}"#) && !pattern.passes(r#"{"a":"yx"}"#));
        assert!(FilterPattern::parse(" ").expect("known").passes("anything"));
    }

    #[test]
    fn other_patterns_are_errors_and_never_pass_everything() {
        for pattern in
            ["ERROR", "[a, b]", "{ $.a > 1 }", "{ $.a = 1 }", r#"{ ($.a = "b") && ($.c = "d") }"#, r#"{ a = "b" }"#]
        {
            assert!(FilterPattern::parse(pattern).is_err(), "{pattern}");
        }
    }
}
