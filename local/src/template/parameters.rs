//! The parameters of a template: each with its value, checked as CloudFormation checks it before it creates anything.

use std::collections::{BTreeMap, BTreeSet};

use anyhow::{Context, Result, bail, ensure};
use regex::Regex;
use serde_json::Value;

use super::{
    deployment::Deployment,
    effect::{Effect, Use},
    yaml::members,
};

/// The value of every declared parameter: the one that was chosen, the deployment's own, or the declared default.
pub(super) fn values(document: &Value, deployment: &Deployment) -> Result<BTreeMap<String, Value>> {
    let declarations = &document["Parameters"];
    for name in deployment.parameters.keys() {
        let declared: Vec<&str> = members(declarations).map(|(name, _)| name.as_str()).collect();
        ensure!(
            declared.contains(&name.as_str()),
            "the template declares no parameter {name}; it declares {}",
            declared.join(", ")
        );
    }
    members(declarations)
        .map(|(name, declaration)| {
            let value = value(name, declaration, deployment).with_context(|| {
                format!("parameter {name} has no Default; choose a value with --parameter {name}=VALUE")
            })?;
            check(declaration, &value).with_context(|| format!("parameter {name} cannot be `{value}`"))?;
            Ok((name.clone(), typed(declaration, value)))
        })
        .collect()
}

/// A parameter for people: how it is declared, its value, and where it is used.
#[derive(Debug, Clone)]
pub struct Parameter {
    pub name: String,
    /// The label of its group.
    pub group: Option<String>,
    /// Its properties in the template.
    pub declaration: Value,
    /// Hidden if the template does not want it to be shown.
    pub value: Option<String>,
    /// When a change takes effect.
    pub effect: Effect,
    /// `RESOURCE.PROPERTY` for each property that is the reason.
    pub used_by: Vec<String>,
}

impl Parameter {
    /// Whether it may have a value.
    ///
    /// # Errors
    /// If not, with the reason.
    pub(crate) fn check(&self, value: &str) -> Result<()> {
        check(&self.declaration, value).with_context(|| format!("parameter {} cannot be `{value}`", self.name))
    }
}

/// The parameters of a document in the order of its groups, and then as they are declared.
pub(super) fn described(
    document: &Value,
    deployment: &Deployment,
    uses: &BTreeMap<String, BTreeSet<Use>>,
) -> Vec<Parameter> {
    let groups = document["Metadata"]["AWS::CloudFormation::Interface"]["ParameterGroups"].as_array();
    let grouped = groups.into_iter().flatten().flat_map(|group| {
        let names = group["Parameters"].as_array().into_iter().flatten().filter_map(Value::as_str);
        names.map(move |name| (name, group["Label"]["default"].as_str()))
    });
    let grouped: Vec<(&str, Option<&str>)> = grouped.collect();
    let others = members(&document["Parameters"])
        .map(|(name, _)| (name.as_str(), None))
        .filter(|(name, _)| !grouped.iter().any(|(grouped, _)| grouped == name));
    let parameters = grouped.iter().copied().chain(others).filter_map(|(name, group)| {
        let declaration = document["Parameters"].get(name)?;
        let value = value(name, declaration, deployment).filter(|_| !is_hidden(declaration));
        let uses = uses.get(name).into_iter().flatten();
        let effect = uses.clone().map(|each| each.effect).max().unwrap_or(Effect::Nowhere);
        Some(Parameter {
            name: name.to_owned(),
            group: group.map(str::to_owned),
            declaration: declaration.clone(),
            value,
            effect,
            used_by: uses.filter(|each| each.effect == effect).map(|each| each.place.clone()).collect(),
        })
    });
    parameters.collect()
}

fn is_hidden(declaration: &Value) -> bool {
    declaration.get("NoEcho").is_some_and(|hidden| text(hidden) == "true")
}

/// The value that was chosen, the deployment's own, or the declared default.
fn value(name: &str, declaration: &Value, deployment: &Deployment) -> Option<String> {
    let chosen = deployment.parameters.get(name).or_else(|| deployment.defaults.get(name));
    chosen.cloned().or_else(|| default(declaration))
}

fn default(declaration: &Value) -> Option<String> {
    declaration.get("Default").map(text)
}

/// Numbers may be written with or without quotes.
fn text(value: &Value) -> String {
    value.as_str().map_or_else(|| value.to_string(), str::to_owned)
}

fn is_list(declaration: &Value) -> bool {
    let kind = declaration["Type"].as_str().unwrap_or("String");
    kind == "CommaDelimitedList" || kind.starts_with("List<")
}

/// A list arrives as one string with commas (AWS, "Parameters": `CommaDelimitedList`, `List<…>`).
fn typed(declaration: &Value, value: String) -> Value {
    if is_list(declaration) {
        return Value::Array(value.split(',').map(|item| Value::String(item.trim().to_owned())).collect());
    }
    Value::String(value)
}

/// The properties of a parameter that limit its values (AWS, "CloudFormation template Parameters syntax").
fn check(declaration: &Value, value: &str) -> Result<()> {
    if let Some(allowed) = declaration["AllowedValues"].as_array() {
        let allowed: Vec<String> = allowed.iter().map(text).collect();
        let items = if is_list(declaration) { value.split(',').map(str::trim).collect() } else { vec![value] };
        let is_allowed = items.iter().all(|item| allowed.iter().any(|allowed| allowed == item));
        ensure!(is_allowed, "AllowedValues are {}", allowed.join(", "));
    }
    if let Some(pattern) = declaration["AllowedPattern"].as_str() {
        // The whole value must match.
        let whole = Regex::new(&format!("^(?:{pattern})$")).context("AllowedPattern is not a regular expression")?;
        ensure!(whole.is_match(value), "AllowedPattern is {pattern}");
    }
    if declaration["Type"] == "Number" {
        let Ok(number) = value.parse::<f64>() else { bail!("it must be a number") };
        limits(declaration, number, "MinValue", "MaxValue")?;
    }
    limits(declaration, value.chars().count() as f64, "MinLength", "MaxLength")
}

fn limits(declaration: &Value, size: f64, least: &str, most: &str) -> Result<()> {
    let limit = |name: &str| declaration.get(name).and_then(|limit| text(limit).parse::<f64>().ok());
    if let Some(limit) = limit(least) {
        ensure!(size >= limit, "{least} is {limit}");
    }
    if let Some(limit) = limit(most) {
        ensure!(size <= limit, "{most} is {limit}");
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn read(chosen: &[(&str, &str)]) -> Result<BTreeMap<String, Value>> {
        let document = json!({ "Parameters": {
            "Issuer": { "Type": "String" },
            "Seconds": { "Type": "Number", "Default": 10, "MinValue": 1, "MaxValue": "29" },
            "Rate": { "Type": "String", "Default": "rate(1 day)", "AllowedPattern": r"rate\(.+\)|cron\(.+\)" },
            "Days": { "Type": "Number", "Default": 30, "AllowedValues": [1, 30] },
            "Word": { "Type": "String", "Default": "word", "MinLength": 2, "MaxLength": 4 },
            "Letters": { "Type": "CommaDelimitedList", "Default": "a, b", "AllowedValues": ["a", "b"] },
        }});
        let owned = |pairs: &[(&str, &str)]| {
            pairs.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect()
        };
        let defaults = owned(&[("Issuer", "http://issuer"), ("Undeclared", "x")]);
        values(&document, &Deployment { parameters: owned(chosen), defaults, ..Deployment::default() })
    }

    #[test]
    fn a_chosen_value_goes_before_the_deployments_and_that_before_the_declared_one() -> Result<()> {
        let values = read(&[("Seconds", "4")])?;
        let texts = ["Issuer", "Seconds", "Days"].map(|name| values[name].as_str());
        assert_eq!(texts, [Some("http://issuer"), Some("4"), Some("30")]);
        assert_eq!(values["Letters"], json!(["a", "b"]));
        assert_eq!(read(&[("Issuer", "http://mine")])?["Issuer"], "http://mine");
        Ok(())
    }

    #[test]
    fn values_that_cloudformation_refuses_are_refused_with_the_reason() -> Result<()> {
        for (name, good, bad, why) in [
            ("Seconds", "29", "30", "MaxValue is 29"),
            ("Seconds", "1", "0", "MinValue is 1"),
            ("Seconds", "2", "ten", "must be a number"),
            ("Rate", "cron(0 * * * ? *)", "x rate(1 day)", "AllowedPattern"),
            ("Days", "1", "2", "AllowedValues are 1, 30"),
            ("Word", "four", "fives", "MaxLength is 4"),
            ("Word", "of", "a", "MinLength is 2"),
            ("Letters", "b,a", "b,c", "AllowedValues are a, b"),
        ] {
            read(&[(name, good)])?;
            let error = format!("{:#}", read(&[(name, bad)]).expect_err(bad));
            assert!(error.contains(&format!("parameter {name} cannot be `{bad}`")) && error.contains(why), "{error}");
        }
        let error = format!("{:#}", read(&[("Second", "4")]).expect_err("no such parameter"));
        assert!(error.contains("no parameter Second;") && error.contains("Seconds"), "{error}");
        Ok(())
    }
}
