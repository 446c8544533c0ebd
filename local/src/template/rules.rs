//! What must hold between parameters (AWS, "Rules section"): checked before anything is deployed.

use anyhow::{Context, Result, ensure};
use serde_json::Value;

use super::{intrinsics::Resolver, yaml::members};

pub(super) fn check(document: &Value, resolver: &Resolver<'_>) -> Result<()> {
    for (name, rule) in members(&document["Rules"]) {
        of_rule(rule, resolver).with_context(|| format!("in rule {name}"))?;
    }
    Ok(())
}

fn of_rule(rule: &Value, resolver: &Resolver<'_>) -> Result<()> {
    if let Some(condition) = rule.get("RuleCondition")
        && !resolver.test(condition)?
    {
        return Ok(());
    }
    for assertion in rule["Assertions"].as_array().context("a rule needs Assertions")? {
        let description = assertion["AssertDescription"].as_str().unwrap_or("an assertion does not hold");
        ensure!(resolver.test(&assertion["Assert"])?, "{description}");
    }
    Ok(())
}
