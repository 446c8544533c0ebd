//! Input templates (AWS, "Amazon EventBridge Pipes input transformation").
//!
//! `<$.path>` stands for a value of the event: as JSON where it stands bare, as text where it stands inside a string.

use serde_json::Value;

/// The value of `<aws.pipes.…>`.
#[derive(Debug, Default)]
pub(crate) struct Variables {
    pub pipe_name: String,
    pub source_arn: String,
    pub target_arn: String,
    pub ingestion_time: String,
}

pub(crate) fn apply(template: &str, event: &Value, variables: &Variables) -> String {
    let mut result = String::new();
    let mut quoted = false;
    let mut rest = template;
    while let Some(character) = rest.chars().next() {
        if let Some((reference, after)) = reference(rest) {
            result.push_str(&render(&value(reference, event, variables), quoted));
            rest = after;
            continue;
        }
        let length = match character {
            // An escaped character inside a string is copied whole, so that `\"` does not end it.
            '\\' => rest.char_indices().nth(2).map_or(rest.len(), |(index, _)| index),
            _ => character.len_utf8(),
        };
        quoted ^= character == '"';
        result.push_str(&rest[..length]);
        rest = &rest[length..];
    }
    result
}

fn reference(text: &str) -> Option<(&str, &str)> {
    let (reference, after) = text.strip_prefix('<')?.split_once('>')?;
    (reference.starts_with("$.") || reference == "$" || reference.starts_with("aws.pipes."))
        .then_some((reference, after))
}

fn value(reference: &str, event: &Value, variables: &Variables) -> Value {
    let text = |text: &String| Value::String(text.clone());
    match reference {
        "aws.pipes.pipe-name" => text(&variables.pipe_name),
        "aws.pipes.source-arn" => text(&variables.source_arn),
        "aws.pipes.target-arn" => text(&variables.target_arn),
        "aws.pipes.event.ingestion-time" => text(&variables.ingestion_time),
        "aws.pipes.event" | "aws.pipes.event.json" => event.clone(),
        path => select(path, event).cloned().unwrap_or(Value::Null),
    }
}

/// `$.a.b[0].c`
pub(super) fn select<'e>(path: &str, event: &'e Value) -> Option<&'e Value> {
    path.strip_prefix('$')?.split('.').filter(|step| !step.is_empty()).try_fold(event, |value, step| {
        let (name, indexes) = step.split_once('[').unwrap_or((step, ""));
        let value = if name.is_empty() { value } else { value.get(name)? };
        indexes.split('[').filter_map(|index| index.strip_suffix(']')).try_fold(value, |value, index| {
            match index.parse::<usize>() {
                Ok(index) => value.get(index),
                Err(_) => value.get(index.trim_matches(|quote| quote == '\'' || quote == '"')),
            }
        })
    })
}

fn render(value: &Value, quoted: bool) -> String {
    if !quoted {
        return value.to_string();
    }
    let text = match value {
        Value::Null => String::new(),
        Value::String(text) => text.clone(),
        value => value.to_string(),
    };
    let json = Value::String(text).to_string();
    // Inside a string: without the quotes of its own, but escaped.
    json[1..json.len() - 1].to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn references_yield_json_when_bare_and_text_when_quoted() {
        let event = json!({"dynamodb": {"NewImage": {"name": {"S": "say \"hi\""}, "amount": {"N": "1999"}, "list": {"L": [{"S": "x"}]}}}, "count": 3, "flag": true});
        let cases = [
            (r#"{"a": "<$.dynamodb.NewImage.amount.N>"}"#, json!({"a": "1999"})),
            (r#"{"a": <$.dynamodb.NewImage.amount.N>}"#, json!({"a": "1999"})),
            (r#"{"a": <$.count>, "b": <$.flag>, "c": "<$.count>"}"#, json!({"a": 3, "b": true, "c": "3"})),
            (r#"{"a": "<$.dynamodb.NewImage.name.S>!"}"#, json!({"a": "say \"hi\"!"})),
            (r#"{"a": "\"<$.count>"}"#, json!({"a": "\"3"})),
            (r#"{"a": <$.dynamodb.NewImage.list.L[0].S>}"#, json!({"a": "x"})),
            (r#"{"a": <$.dynamodb.NewImage.list>}"#, json!({"a": {"L": [{"S": "x"}]}})),
            (r#"{"a": "<$.missing>", "b": <$.missing>}"#, json!({"a": "", "b": null})),
            (r#"{"a": "1 < 2 > 0"}"#, json!({"a": "1 < 2 > 0"})),
            (r#"{"a": "<aws.pipes.pipe-name>"}"#, json!({"a": "Outbox"})),
        ];
        let variables = Variables { pipe_name: "Outbox".to_owned(), ..Variables::default() };
        for (template, expected) in cases {
            let text = apply(template, &event, &variables);
            assert_eq!(serde_json::from_str::<Value>(&text).expect(&text), expected, "{template}");
        }
    }
}
