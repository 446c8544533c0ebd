//! Where a template uses its parameters, and when a changed value takes effect on this machine.

use std::collections::{BTreeMap, BTreeSet};

use anyhow::Result;
use serde_json::Value;

use super::{
    effect::{Effect, Use},
    intrinsics::Resolver,
    resources::{self, merged},
    wanted,
    yaml::members,
};

/// The uses of each parameter. Resources that the present values leave out count by their condition only.
pub(super) fn of(document: &Value, resolver: &Resolver<'_>) -> Result<BTreeMap<String, BTreeSet<Use>>> {
    let mut uses = Uses { document, found: BTreeMap::new() };
    for (id, resource) in members(&document["Resources"]) {
        if let Some(condition) = resource["Condition"].as_str() {
            uses.add(id, "Condition", Effect::AtStart, &uses.of_condition(condition));
        }
    }
    for (id, resource) in wanted(document, resolver)? {
        uses.add_properties(id, resource);
    }
    Ok(uses.found)
}

struct Uses<'d> {
    document: &'d Value,
    found: BTreeMap<String, BTreeSet<Use>>,
}

impl Uses<'_> {
    fn add_properties(&mut self, id: &str, resource: &Value) {
        let kind = resource["Type"].as_str().unwrap_or_default();
        let globals =
            kind.strip_prefix("AWS::Serverless::").map_or(&Value::Null, |kind| &self.document["Globals"][kind]);
        let properties = merged(globals, &resource["Properties"]);
        for (name, value) in members(&properties) {
            if kind == "AWS::Serverless::Function" && name == "Events" {
                self.add_events(id, value);
            } else {
                self.add(id, name, resources::effect(kind, name), &self.in_value(value));
            }
        }
    }

    fn add_events(&mut self, id: &str, events: &Value) {
        for (event, declaration) in members(events) {
            let kind = declaration["Type"].as_str().unwrap_or_default();
            for (name, value) in members(&declaration["Properties"]) {
                let place = format!("{event}.{name}");
                self.add(id, &place, resources::effect_in_event(kind, name), &self.in_value(value));
            }
        }
    }

    fn add(&mut self, id: &str, property: &str, effect: Effect, parameters: &BTreeSet<String>) {
        for parameter in parameters {
            let place = format!("{id}.{property}");
            self.found.entry(parameter.clone()).or_default().insert(Use { effect, place });
        }
    }

    /// The parameters that a condition depends on.
    fn of_condition(&self, name: &str) -> BTreeSet<String> {
        self.in_value(&self.document["Conditions"][name])
    }

    /// The parameters that a value depends on.
    fn in_value(&self, value: &Value) -> BTreeSet<String> {
        match value {
            Value::Array(items) => items.iter().flat_map(|item| self.in_value(item)).collect(),
            Value::Object(map) => {
                let named = map.iter().flat_map(|(name, argument)| self.named(name, argument));
                named.chain(map.values().flat_map(|value| self.in_value(value))).collect()
            }
            Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => BTreeSet::new(),
        }
    }

    /// The parameters that an intrinsic function takes by name.
    fn named(&self, function: &str, argument: &Value) -> BTreeSet<String> {
        let is_parameter = |name: &&str| self.document["Parameters"].get(name).is_some();
        let first = argument.get(0).and_then(Value::as_str);
        match (function, argument.as_str().or(first)) {
            ("Ref", Some(name)) => Some(name).filter(is_parameter).map(str::to_owned).into_iter().collect(),
            ("Condition" | "Fn::If", Some(name)) => self.of_condition(name),
            ("Fn::Sub", Some(text)) => {
                let names = text.split("${").skip(1).filter_map(|rest| rest.split('}').next());
                names.map(str::trim).filter(is_parameter).map(str::to_owned).collect()
            }
            _ => BTreeSet::new(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::template::{Deployment, resolver, yaml};

    #[test]
    fn a_use_is_found_through_conditions_globals_and_texts() -> Result<()> {
        let text = r#"
Parameters:
  Size: { Type: String, Default: small }
  Word: { Type: String, Default: a }
  Rate: { Type: String, Default: rate(1 day) }
  Days: { Type: Number, Default: 1 }
  Idle: { Type: String, Default: x }
Conditions:
  IsLarge: !Equals [!Ref Size, large]
  IsHuge: !And [!Condition IsLarge, !Equals [!Ref Idle, y]]
Globals: { Function: { Environment: { Variables: { WORD: !Ref Word } } } }
Resources:
  F:
    Type: AWS::Serverless::Function
    Properties:
      CodeUri: f
      Handler: bootstrap
      Timeout: !If [IsLarge, 2, 1]
      Description: !Sub "${!Word} ${Rate}"
      Events:
        Tick: { Type: ScheduleV2, Properties: { ScheduleExpression: !Ref Rate } }
        Work: { Type: SQS, Properties: { Queue: !GetAtt Q.Arn, BatchSize: !Ref Days } }
  Q: { Type: AWS::SQS::Queue, Properties: { MessageRetentionPeriod: !Ref Days } }
  Huge: { Type: AWS::SQS::Queue, Condition: IsHuge, Properties: { VisibilityTimeout: !Ref Word } }
  L: { Type: AWS::Logs::LogGroup, Properties: { RetentionInDays: !Ref Idle } }
"#;
        let document = yaml::parse(text)?;
        let deployment = Deployment::default();
        let uses = of(&document, &resolver(&document, &deployment)?)?;
        let found = |name: &str| -> Vec<(&str, Effect)> {
            uses[name].iter().map(|each| (each.place.as_str(), each.effect)).collect()
        };
        assert_eq!(found("Size"), [("F.Timeout", Effect::AtOnce), ("Huge.Condition", Effect::AtStart)]);
        assert_eq!(found("Word"), [("F.Environment", Effect::AtOnce)]);
        assert_eq!(found("Rate"), [("F.Description", Effect::Nowhere), ("F.Tick.ScheduleExpression", Effect::AtOnce)]);
        assert_eq!(
            found("Days"),
            [("F.Work.BatchSize", Effect::AtStart), ("Q.MessageRetentionPeriod", Effect::AtStart)]
        );
        assert_eq!(found("Idle"), [("L.RetentionInDays", Effect::Nowhere), ("Huge.Condition", Effect::AtStart)]);
        Ok(())
    }
}
