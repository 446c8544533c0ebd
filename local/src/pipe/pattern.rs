//! Event patterns (AWS, "Comparison operators in Amazon EventBridge event patterns"), as pipes and event source
//! mappings filter with them.

use serde_json::{Map, Value};

/// Filters are alternatives; without any, everything passes.
pub(crate) fn passes(patterns: &[Value], event: &Value) -> bool {
    patterns.is_empty() || patterns.iter().any(|pattern| matches(pattern, event))
}

pub(crate) fn matches(pattern: &Value, event: &Value) -> bool {
    pattern.as_object().is_some_and(|pattern| object(pattern, event))
}

fn object(pattern: &Map<String, Value>, event: &Value) -> bool {
    pattern.iter().all(|(name, expected)| match (name.as_str(), expected) {
        ("$or", Value::Array(alternatives)) => alternatives.iter().any(|alternative| matches(alternative, event)),
        (_, Value::Object(nested)) => object(nested, event.get(name).unwrap_or(&Value::Null)),
        (_, Value::Array(conditions)) => field(conditions, event.get(name)),
        _ => false,
    })
}

fn field(conditions: &[Value], value: Option<&Value>) -> bool {
    match value {
        // One element of a list must match.
        Some(Value::Array(elements)) => {
            elements.iter().any(|element| conditions.iter().any(|condition| holds(condition, Some(element))))
        }
        value => conditions.iter().any(|condition| holds(condition, value)),
    }
}

fn holds(condition: &Value, value: Option<&Value>) -> bool {
    let Value::Object(operator) = condition else { return value == Some(condition) };
    let text = value.and_then(Value::as_str);
    operator.iter().all(|(name, operand)| match (name.as_str(), operand) {
        // It tells leaves only: `exists` on an object is false on AWS too.
        ("exists", Value::Bool(expected)) => *expected == value.is_some_and(|value| !value.is_object()),
        ("prefix", operand) => text.is_some_and(|text| affix(operand, text, |text, affix| text.starts_with(affix))),
        ("suffix", operand) => text.is_some_and(|text| affix(operand, text, |text, affix| text.ends_with(affix))),
        ("equals-ignore-case", Value::String(expected)) => text.is_some_and(|text| text.eq_ignore_ascii_case(expected)),
        ("anything-but", operand) => value.is_some_and(|value| anything_but(operand, value)),
        ("numeric", Value::Array(comparisons)) => {
            value.and_then(Value::as_f64).is_some_and(|number| numeric(comparisons, number))
        }
        _ => false,
    })
}

fn affix(operand: &Value, text: &str, test: impl Fn(&str, &str) -> bool) -> bool {
    match operand {
        Value::String(affix) => test(text, affix),
        Value::Object(folded) => folded
            .get("equals-ignore-case")
            .and_then(Value::as_str)
            .is_some_and(|affix| test(&text.to_lowercase(), &affix.to_lowercase())),
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::Array(_) => false,
    }
}

fn anything_but(operand: &Value, value: &Value) -> bool {
    match operand {
        Value::Array(excluded) => !excluded.contains(value),
        Value::Object(_) => !holds(operand, Some(value)),
        excluded => excluded != value,
    }
}

/// Pairs of operator and number, all of which must hold: `[">", 0, "<=", 5]`.
fn numeric(comparisons: &[Value], number: f64) -> bool {
    comparisons.chunks(2).all(|pair| match pair {
        [Value::String(operator), bound] => bound.as_f64().is_some_and(|bound| match operator.as_str() {
            "=" => number == bound,
            ">" => number > bound,
            ">=" => number >= bound,
            "<" => number < bound,
            "<=" => number <= bound,
            _ => false,
        }),
        _ => false,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn each_operator_matches_what_it_should_and_nothing_else() {
        let event = json!({
            "eventName": "INSERT",
            "count": 5,
            "tags": ["a", "b"],
            "empty": null,
            "dynamodb": {"NewImage": {"kind": {"S": "event"}, "name": {"S": "Invoice-7"}}},
        });
        let cases = [
            (json!({"eventName": ["INSERT"]}), true),
            (json!({"eventName": ["MODIFY", "REMOVE"]}), false),
            (json!({"eventName": ["INSERT"], "dynamodb": {"NewImage": {"kind": {"S": ["event"]}}}}), true),
            (json!({"dynamodb": {"OldImage": {"kind": {"S": ["event"]}}}}), false),
            (json!({"dynamodb": {"OldImage": {"kind": {"S": [{"exists": false}]}}}}), true),
            (json!({"eventName": [{"exists": true}]}), true),
            (json!({"missing": [{"exists": true}]}), false),
            (json!({"eventName": [{"prefix": "INS"}]}), true),
            (json!({"eventName": [{"prefix": "ins"}]}), false),
            (json!({"eventName": [{"prefix": {"equals-ignore-case": "ins"}}]}), true),
            (json!({"eventName": [{"suffix": "ERT"}]}), true),
            (json!({"eventName": [{"equals-ignore-case": "insert"}]}), true),
            (json!({"eventName": [{"anything-but": "REMOVE"}]}), true),
            (json!({"eventName": [{"anything-but": ["REMOVE", "INSERT"]}]}), false),
            (json!({"eventName": [{"anything-but": {"prefix": "INS"}}]}), false),
            (json!({"missing": [{"anything-but": "x"}]}), false),
            (json!({"count": [{"numeric": [">", 0, "<=", 5]}]}), true),
            (json!({"count": [{"numeric": ["<", 5]}]}), false),
            (json!({"count": [5]}), true),
            (json!({"count": ["5"]}), false),
            (json!({"empty": [null]}), true),
            (json!({"tags": ["b"]}), true),
            (json!({"tags": ["c"]}), false),
            (json!({"$or": [{"eventName": ["REMOVE"]}, {"count": [5]}]}), true),
        ];
        for (pattern, expected) in cases {
            assert_eq!(matches(&pattern, &event), expected, "{pattern}");
        }
        assert!(passes(&[], &event));
        assert!(passes(&[json!({"count": [1]}), json!({"count": [5]})], &event));
    }
}
