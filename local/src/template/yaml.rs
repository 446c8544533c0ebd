//! YAML with CloudFormation's tags, as JSON with its long forms.
//!
//! `!Ref X` and `{"Ref": "X"}` mean the same (AWS, "Intrinsic function reference"), so the rest of the template
//! code sees only the second.

use anyhow::{Context, Result, bail};
use saphyr::{LoadableYamlNode, Scalar, Yaml};
use serde_json::{Map, Value, json};

pub(super) fn parse(text: &str) -> Result<Value> {
    let documents = Yaml::load_from_str(text).context("not valid YAML")?;
    match documents.as_slice() {
        [document] => node(document),
        _ => bail!("expected one YAML document, found {}", documents.len()),
    }
}

/// The members of an object; none of anything else.
pub(super) fn members(value: &Value) -> impl Iterator<Item = (&String, &Value)> {
    value.as_object().into_iter().flatten()
}

fn node(yaml: &Yaml<'_>) -> Result<Value> {
    Ok(match yaml {
        Yaml::Value(value) => scalar(value),
        Yaml::Sequence(items) => Value::Array(items.iter().map(node).collect::<Result<_>>()?),
        Yaml::Mapping(entries) => {
            let mut map = Map::new();
            for (key, value) in entries {
                map.insert(name(key)?, node(value)?);
            }
            Value::Object(map)
        }
        Yaml::Tagged(tag, inner) => tagged(&tag.suffix, node(inner)?),
        Yaml::Alias(_) | Yaml::BadValue | Yaml::Representation(..) => {
            bail!("a YAML value that cannot be read: {yaml:?}")
        }
    })
}

fn scalar(value: &Scalar<'_>) -> Value {
    match value {
        Scalar::Null => Value::Null,
        Scalar::Boolean(value) => json!(value),
        Scalar::Integer(value) => json!(value),
        Scalar::FloatingPoint(value) => json!(value.into_inner()),
        Scalar::String(value) => json!(value),
    }
}

fn name(key: &Yaml<'_>) -> Result<String> {
    match node(key)? {
        Value::String(text) => Ok(text),
        value @ (Value::Bool(_) | Value::Number(_)) => Ok(value.to_string()),
        value @ (Value::Null | Value::Array(_) | Value::Object(_)) => bail!("{value} cannot be the name of a member"),
    }
}

fn tagged(tag: &str, argument: Value) -> Value {
    let (function, argument) = match (tag, argument) {
        ("Ref" | "Condition", argument) => (tag.to_owned(), argument),
        // The short form `!GetAtt Name.Attribute` is the long form's list in one string.
        ("GetAtt", Value::String(path)) => (
            "Fn::GetAtt".to_owned(),
            path.split_once('.').map_or_else(|| json!([path]), |(name, attribute)| json!([name, attribute])),
        ),
        (_, argument) => (format!("Fn::{tag}"), argument),
    };
    Value::Object(Map::from_iter([(function, argument)]))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tags_become_the_long_forms() -> Result<()> {
        let value = parse(
            "a: !Ref X\nb: !GetAtt X.Arn\nc: !Sub ['${v}', {v: !Ref Y}]\nd: [!If [Yes, 1, no]]\ne: 2012-10-17\n",
        )?;
        assert_eq!(
            value,
            json!({
                "a": {"Ref": "X"},
                "b": {"Fn::GetAtt": ["X", "Arn"]},
                "c": {"Fn::Sub": ["${v}", {"v": {"Ref": "Y"}}]},
                "d": [{"Fn::If": ["Yes", 1, "no"]}],
                "e": "2012-10-17",
            })
        );
        Ok(())
    }
}
