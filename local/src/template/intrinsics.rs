//! Intrinsic functions, conditions, parameters and dynamic references, resolved to plain values.

use std::collections::BTreeMap;

use anyhow::{Context, Result, anyhow, bail, ensure};
use serde_json::{Map, Value};

use super::{deployment::Deployment, parameters, yaml::members};

/// The secret that every `{{resolve:secretsmanager:…}}` yields, and the provider's API key until it is changed: no real
/// secret has a place on a developer's machine.
pub const LOCAL_SECRET: &str = "sk_test_local";

/// The values of `Ref` and `GetAtt` for a resource.
#[derive(Debug, Clone, Default)]
pub(super) struct Identity {
    pub(super) reference: String,
    pub(super) attributes: BTreeMap<&'static str, String>,
}

pub(super) struct Resolver<'a> {
    pub(super) deployment: &'a Deployment,
    parameters: BTreeMap<String, Value>,
    conditions: BTreeMap<String, Value>,
    mappings: Value,
    pub(super) resources: BTreeMap<String, Identity>,
}

impl<'a> Resolver<'a> {
    pub(super) fn new(document: &Value, deployment: &'a Deployment) -> Result<Self> {
        let parameters = parameters::values(document, deployment)?;
        let conditions = members(&document["Conditions"]).map(|(name, value)| (name.clone(), value.clone())).collect();
        let mappings = document["Mappings"].clone();
        Ok(Self { deployment, parameters, conditions, mappings, resources: BTreeMap::new() })
    }

    /// The values of the parameters that are texts.
    pub(super) fn texts(&self) -> BTreeMap<String, String> {
        let text = |(name, value): (&String, &Value)| Some((name.clone(), value.as_str()?.to_owned()));
        self.parameters.iter().filter_map(text).collect()
    }

    /// The value with every intrinsic replaced. `AWS::NoValue` removes the member that holds it.
    pub(super) fn resolve(&self, value: &Value) -> Result<Value> {
        Ok(self.optional(value)?.unwrap_or(Value::Null))
    }

    pub(super) fn condition(&self, name: &str) -> Result<bool> {
        let condition = self.conditions.get(name).with_context(|| format!("condition {name} is not declared"))?;
        self.test(condition).with_context(|| format!("in condition {name}"))
    }

    fn optional(&self, value: &Value) -> Result<Option<Value>> {
        match value {
            Value::Object(map) => match intrinsic(map) {
                Some((function, argument)) => self.call(function, argument),
                None => self.object(map).map(Some),
            },
            Value::Array(items) => self.list(items).map(|items| Some(Value::Array(items))),
            Value::String(text) => Ok(Some(Value::String(dynamic_references(text)))),
            Value::Null | Value::Bool(_) | Value::Number(_) => Ok(Some(value.clone())),
        }
    }

    fn object(&self, map: &Map<String, Value>) -> Result<Value> {
        let mut resolved = Map::new();
        for (name, value) in map {
            if let Some(value) = self.optional(value).with_context(|| format!("in {name}"))? {
                resolved.insert(name.clone(), value);
            }
        }
        Ok(Value::Object(resolved))
    }

    fn list(&self, items: &[Value]) -> Result<Vec<Value>> {
        items.iter().filter_map(|item| self.optional(item).transpose()).collect()
    }

    fn call(&self, function: &str, argument: &Value) -> Result<Option<Value>> {
        match function {
            "Ref" if argument == "AWS::NoValue" => Ok(None),
            "Ref" => self.reference(text(argument)?).map(Some),
            "Fn::GetAtt" => self.attribute(argument).map(Some),
            "Fn::Sub" => self.substitute(argument).map(Some),
            "Fn::Join" => self.join(argument).map(Some),
            "Fn::Select" => self.select(argument).map(Some),
            "Fn::Split" => self.split(argument).map(Some),
            "Fn::FindInMap" => self.find_in_map(argument).map(Some),
            "Fn::If" => match argument.as_array().map(Vec::as_slice) {
                Some([name, then, otherwise]) => {
                    self.optional(if self.condition(text(name)?)? { then } else { otherwise })
                }
                _ => bail!("Fn::If takes a condition and two values, not {argument}"),
            },
            _ => bail!("the local stack does not know the intrinsic function {function}"),
        }
    }

    /// The ARN of a function's alias, which SAM makes and calls `FUNCTION.Alias`. Nothing shifts traffic here, so it is
    /// the function's.
    fn alias(&self, name: &str) -> Option<Value> {
        let function = self.resources.get(name.strip_suffix(".Alias")?)?;
        function.attributes.get("Arn").cloned().map(Value::String)
    }

    fn reference(&self, name: &str) -> Result<Value> {
        let deployment = self.deployment;
        let pseudo = match name {
            "AWS::AccountId" => Some(deployment.account.as_str()),
            "AWS::Region" => Some(deployment.region.as_str()),
            "AWS::Partition" => Some("aws"),
            "AWS::StackName" => Some("local"),
            "AWS::StackId" => {
                Some("arn:aws:cloudformation:us-east-1:000000000000:stack/local/00000000-0000-0000-0000-000000000000")
            }
            "AWS::URLSuffix" => Some("amazonaws.com"),
            _ => None,
        };
        pseudo
            .map(|text| Value::String(text.to_owned()))
            .or_else(|| self.parameters.get(name).cloned())
            .or_else(|| self.resources.get(name).map(|resource| Value::String(resource.reference.clone())))
            .or_else(|| self.alias(name))
            .with_context(|| format!("Ref to {name}, which is neither a parameter nor a resource"))
    }

    fn attribute(&self, argument: &Value) -> Result<Value> {
        let [name, attribute] = argument.as_array().map(Vec::as_slice).unwrap_or_default() else {
            bail!("Fn::GetAtt takes a resource and an attribute, not {argument}");
        };
        let (name, attribute) = (text(name)?, text(attribute)?);
        let resource =
            self.resources.get(name).with_context(|| format!("GetAtt of {name}, which is not a resource"))?;
        let value = resource
            .attributes
            .get(attribute)
            .with_context(|| format!("the local stack does not know the attribute {attribute} of {name}"))?;
        Ok(Value::String(value.clone()))
    }

    fn substitute(&self, argument: &Value) -> Result<Value> {
        let (template, variables) = match argument {
            Value::String(template) => (template, Map::new()),
            Value::Array(parts) => match parts.as_slice() {
                [Value::String(template), Value::Object(variables)] => (template, variables.clone()),
                _ => bail!("Fn::Sub takes a string and a map, not {argument}"),
            },
            Value::Null | Value::Bool(_) | Value::Number(_) | Value::Object(_) => {
                bail!("Fn::Sub takes a string, not {argument}")
            }
        };
        let mut result = String::new();
        let mut rest = template.as_str();
        while let Some((before, after)) = rest.split_once("${") {
            let (name, after) = after.split_once('}').with_context(|| format!("`${{` without `}}` in {template}"))?;
            result.push_str(before);
            match name.strip_prefix('!') {
                // `${!Literal}` stands for the text `${Literal}` (AWS, "Fn::Sub").
                Some(literal) => result.push_str(&format!("${{{literal}}}")),
                None => result.push_str(&self.variable(name.trim(), &variables)?),
            }
            rest = after;
        }
        result.push_str(rest);
        Ok(Value::String(dynamic_references(&result)))
    }

    fn variable(&self, name: &str, variables: &Map<String, Value>) -> Result<String> {
        let value = match (variables.get(name), name.split_once('.')) {
            (Some(value), _) => self.resolve(value)?,
            (None, Some((resource, attribute))) => self.attribute(&serde_json::json!([resource, attribute]))?,
            (None, None) => self.reference(name)?,
        };
        plain(&value)
    }

    fn join(&self, argument: &Value) -> Result<Value> {
        let [delimiter, items] = self.arguments(argument)?;
        let items = items.as_array().context("Fn::Join takes a list")?.iter().map(plain).collect::<Result<Vec<_>>>()?;
        Ok(Value::String(items.join(text(&delimiter)?)))
    }

    fn select(&self, argument: &Value) -> Result<Value> {
        let [index, items] = self.arguments(argument)?;
        let index: usize = plain(&index)?.parse().context("Fn::Select takes an index")?;
        items.get(index).cloned().with_context(|| format!("Fn::Select has no item {index}"))
    }

    fn split(&self, argument: &Value) -> Result<Value> {
        let [delimiter, source] = self.arguments(argument)?;
        let parts = text(&source)?.split(text(&delimiter)?).map(|part| Value::String(part.to_owned()));
        Ok(Value::Array(parts.collect()))
    }

    fn find_in_map(&self, argument: &Value) -> Result<Value> {
        let [map, first, second] = self.arguments(argument)?;
        let found = &self.mappings[text(&map)?][text(&first)?][text(&second)?];
        ensure!(!found.is_null(), "no mapping has {argument}");
        Ok(found.clone())
    }

    fn arguments<const NUMBER: usize>(&self, argument: &Value) -> Result<[Value; NUMBER]> {
        let arguments = argument.as_array().with_context(|| format!("expected a list, found {argument}"))?;
        self.list(arguments)?.try_into().map_err(|_| anyhow!("expected {NUMBER} arguments, found {argument}"))
    }

    pub(super) fn test(&self, condition: &Value) -> Result<bool> {
        let Some((function, argument)) = condition.as_object().and_then(intrinsic) else {
            bail!("{condition} is not a condition");
        };
        let parts = || argument.as_array().with_context(|| format!("{function} takes a list"));
        match function {
            "Condition" => self.condition(text(argument)?),
            "Fn::Equals" => {
                let [left, right] = self.arguments(argument)?;
                Ok(plain(&left)? == plain(&right)?)
            }
            "Fn::EachMemberEquals" => {
                let [list, value] = self.arguments(argument)?;
                let members = list.as_array().with_context(|| format!("{function} takes a list"))?;
                Ok(members.iter().all(|member| *member == value))
            }
            "Fn::Not" => {
                ensure!(parts()?.len() == 1, "Fn::Not takes one condition");
                Ok(!self.test(&parts()?[0])?)
            }
            "Fn::And" => parts()?.iter().try_fold(true, |all, part| Ok(self.test(part)? && all)),
            "Fn::Or" => parts()?.iter().try_fold(false, |any, part| Ok(self.test(part)? || any)),
            _ => bail!("the local stack does not know the condition function {function}"),
        }
    }
}

fn intrinsic(map: &Map<String, Value>) -> Option<(&str, &Value)> {
    let mut entries = map.iter();
    match (entries.next(), entries.next()) {
        (Some((name, argument)), None)
            if name == "Ref" || name == "Condition" && argument.is_string() || name.starts_with("Fn::") =>
        {
            Some((name, argument))
        }
        _ => None,
    }
}

fn text(value: &Value) -> Result<&str> {
    value.as_str().with_context(|| format!("expected a string, found {value}"))
}

/// CloudFormation compares and joins scalars as strings.
fn plain(value: &Value) -> Result<String> {
    match value {
        Value::String(text) => Ok(text.clone()),
        Value::Bool(_) | Value::Number(_) => Ok(value.to_string()),
        Value::Null | Value::Array(_) | Value::Object(_) => bail!("expected a string, found {value}"),
    }
}

/// Dynamic references of the stores of secrets and parameters (AWS, "Get values stored in other services").
fn dynamic_references(text: &str) -> String {
    let mut result = String::new();
    let mut rest = text;
    while let Some((before, after)) = rest.split_once("{{resolve:") {
        let Some((_, after)) = after.split_once("}}") else { break };
        result.push_str(before);
        result.push_str(LOCAL_SECRET);
        rest = after;
    }
    result.push_str(rest);
    result
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn resolve(value: Value) -> Result<Value> {
        let deployment = Deployment {
            defaults: BTreeMap::from([("Supplied".to_owned(), "here".to_owned())]),
            ..Deployment::default()
        };
        let document = json!({
            "Parameters": {
                "Supplied": {"Type": "String"},
                "Stage": {"Type": "String", "Default": "dev"},
                "List": {"Type": "CommaDelimitedList", "Default": "a, b"},
            },
            "Mappings": { "Stages": { "dev": { "Days": 30 } } },
            "Conditions": {
                "Dev": {"Fn::Equals": [{"Ref": "Stage"}, "dev"]},
                "NotDev": {"Fn::Not": [{"Condition": "Dev"}]},
                "Both": {"Fn::And": [{"Condition": "Dev"}, {"Condition": "NotDev"}]},
                "Either": {"Fn::Or": [{"Condition": "Dev"}, {"Condition": "NotDev"}]},
            },
        });
        let mut resolver = Resolver::new(&document, &deployment)?;
        resolver.resources.insert(
            "Table".to_owned(),
            Identity { reference: "Table".to_owned(), attributes: BTreeMap::from([("Arn", "arn:table".to_owned())]) },
        );
        resolver.resolve(&value)
    }

    #[test]
    fn every_intrinsic_yields_its_value() -> Result<()> {
        let cases = [
            (json!({"Ref": "Supplied"}), json!("here")),
            (json!({"Ref": "List"}), json!(["a", "b"])),
            (json!({"Ref": "AWS::Region"}), json!(Deployment::default().region)),
            (json!({"Fn::GetAtt": ["Table", "Arn"]}), json!("arn:table")),
            (json!({"Fn::Sub": "${Stage}-${Table.Arn}-${!literal}"}), json!("dev-arn:table-${literal}")),
            (json!({"Fn::Sub": ["${x}", {"x": {"Ref": "Stage"}}]}), json!("dev")),
            (json!({"Fn::Join": ["/", ["a", {"Ref": "Stage"}]]}), json!("a/dev")),
            (json!({"Fn::Select": [1, {"Ref": "List"}]}), json!("b")),
            (json!({"Fn::Split": ["-", "x-y"]}), json!(["x", "y"])),
            (json!({"Fn::FindInMap": ["Stages", {"Ref": "Stage"}, "Days"]}), json!(30)),
            (json!({"Fn::If": ["Dev", 1, 2]}), json!(1)),
            (json!({"Fn::If": ["Both", 1, 2]}), json!(2)),
            (json!({"Fn::If": ["Either", 1, 2]}), json!(1)),
            (json!({"kept": 1, "gone": {"Fn::If": ["NotDev", 1, {"Ref": "AWS::NoValue"}]}}), json!({"kept": 1})),
            (json!({"Fn::Sub": "{{resolve:secretsmanager:${Stage}:SecretString:api_key}}"}), json!(LOCAL_SECRET)),
        ];
        for (value, expected) in cases {
            assert_eq!(resolve(value.clone())?, expected, "{value}");
        }
        Ok(())
    }

    #[test]
    fn what_is_not_known_is_named() {
        for (value, name) in [
            (json!({"Ref": "Nowhere"}), "Nowhere"),
            (json!({"Fn::GetAtt": ["Table", "Colour"]}), "Colour"),
            (json!({"Fn::FindInMap": ["Stages", "test", "Days"]}), "test"),
            (json!({"Fn::Cidr": ["10.0.0.0/16", 1, 8]}), "Fn::Cidr"),
        ] {
            let error = format!("{:#}", resolve(value).expect_err("an error"));
            assert!(error.contains(name), "{error}");
        }
    }
}
