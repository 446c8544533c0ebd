//! The parameters of the template while the stack runs: what they are, and what a changed value changes.
//!
//! A change evaluates the template anew, as `sam deploy --parameter-overrides` does. What differs then in functions,
//! schedules, alarms and the dashboard takes effect; a parameter that anything else depends on is refused, because the
//! stack has built that from the template when it started.

use std::{collections::BTreeMap, sync::Arc};

use anyhow::{Context, Result};
use axum::http::StatusCode;
use futures::future::join_all;
use serde::Serialize;
use serde_json::{Value, json};
use tokio::sync::Mutex;

use crate::{
    definitions::Definitions,
    function::{Function, Next},
    monitoring::Monitoring,
    problem::Problem,
    sandbox::Definition,
    schedule::{self, Schedule},
    secrets, sign_in,
    template::{self, Deployment, Effect, Evaluation, Parameter, Source},
};

/// Those that the stack itself reads, too, when it starts: whom its issuer knows, and the secrets that people make.
const OF_THE_STACK: [&str; 3] = [sign_in::CLIENT_ID, secrets::CLIENT_SECRET, secrets::PROVIDER_SECRET];

pub(crate) struct Parameters {
    source: Source,
    parts: Parts,
    /// One change at a time.
    current: Mutex<Current>,
}

/// What a change takes effect on.
pub(crate) struct Parts {
    pub definitions: Definitions,
    /// By logical id.
    pub functions: BTreeMap<String, Function>,
    pub schedules: Arc<[Schedule]>,
    pub monitoring: Arc<Monitoring>,
}

struct Current {
    deployment: Deployment,
    evaluation: Evaluation,
}

/// What a change has changed.
#[derive(Debug, Serialize)]
pub(crate) struct Change {
    parameter: String,
    before: Option<String>,
    value: Option<String>,
    /// The logical ids of functions whose sandboxes were replaced.
    functions: Vec<String>,
    /// The names of schedules.
    schedules: Vec<String>,
    /// The logical ids of alarms and dashboards.
    monitoring: Vec<String>,
}

impl Parameters {
    pub(crate) fn new(source: Source, deployment: Deployment, evaluation: Evaluation, parts: Parts) -> Self {
        Self { source, parts, current: Mutex::new(Current { deployment, evaluation }) }
    }

    /// For `GET /_local/parameters`.
    pub(crate) async fn list(&self) -> Vec<Value> {
        self.current.lock().await.evaluation.parameters.iter().map(listed).collect()
    }

    /// Gives a parameter another value.
    ///
    /// # Errors
    /// When it has no such value, or when the stack cannot take it while it runs. Then nothing is changed.
    pub(crate) async fn change(&self, name: &str, value: &str) -> Result<Change, Problem> {
        let mut current = self.current.lock().await;
        let before = &current.evaluation;
        let names = before.parameters.iter().map(|parameter| parameter.name.as_str());
        let parameter = before.parameter(name).ok_or_else(|| Problem::unknown("parameter", name, names))?;
        let invalid = |error: anyhow::Error| unchanged(StatusCode::BAD_REQUEST, &format!("{error:#}"));
        parameter.check(value).map_err(invalid)?;
        if effect(parameter) == Effect::AtStart {
            return Err(refused(name, value, &uses(parameter)));
        }
        let mut deployment = current.deployment.clone();
        deployment.parameters.insert(name.to_owned(), value.to_owned());
        let after = Evaluation::of(&self.source, &deployment).map_err(invalid)?;
        if let Some(difference) = before.fixed_difference(&after) {
            return Err(refused(name, value, &difference));
        }

        let schedules = self.changed_schedules(&after).map_err(invalid)?;
        let definitions = self.changed_functions(before, &after, &deployment).map_err(invalid)?;
        let functions = self.start(definitions).await?;
        let change = Change {
            parameter: name.to_owned(),
            before: parameter.value.clone(),
            value: after.parameter(name).and_then(|parameter| parameter.value.clone()),
            functions: functions.iter().map(|(id, _)| id.clone()).collect(),
            schedules: schedules.iter().map(|(schedule, _)| schedule.settings().name).collect(),
            monitoring: changed_monitoring(before, &after),
        };
        // From here on nothing can fail.
        functions.into_iter().for_each(|(_, next)| next.replace());
        schedules.into_iter().for_each(|(schedule, changed)| schedule.change(changed));
        self.parts.monitoring.change(&after.resources);
        *current = Current { deployment, evaluation: after };
        Ok(change)
    }

    fn changed_schedules(&self, after: &Evaluation) -> Result<Vec<(&Schedule, schedule::Changed)>> {
        let declared = after.template.functions.values().flat_map(|function| &function.schedules);
        let pairs = declared.flat_map(|settings| {
            let schedules = self.parts.schedules.iter();
            let present = schedules.map(|schedule| (schedule, schedule.settings()));
            let changed = present.filter(move |(_, now)| now.name == settings.name && now != settings);
            changed.map(move |(schedule, _)| Ok((schedule, schedule.prepare(settings.clone())?)))
        });
        pairs.collect()
    }

    /// Functions that run otherwise. A schedule is not part of how its function runs.
    fn changed_functions(
        &self,
        before: &Evaluation,
        after: &Evaluation,
        deployment: &Deployment,
    ) -> Result<BTreeMap<String, Definition>> {
        let run = |function: &template::Function| template::Function { schedules: Vec::new(), ..function.clone() };
        let mut definitions = self.parts.definitions.of(&after.template, deployment)?;
        definitions.retain(|id, _| {
            let functions = [before, after].map(|evaluation| evaluation.template.functions.get(id).map(run));
            functions[0] != functions[1]
        });
        Ok(definitions)
    }

    /// A sandbox of each, so that a function that cannot start with the new value is not replaced.
    async fn start(&self, definitions: BTreeMap<String, Definition>) -> Result<Vec<(String, Next)>, Problem> {
        let starts = definitions.into_iter().map(async |(id, definition)| {
            let function = self.parts.functions.get(&id).context("it is not running")?;
            let next = function.prepare(definition).await.with_context(|| format!("in resource {id}"))?;
            anyhow::Ok((id, next))
        });
        let (mut started, mut failure) = (Vec::new(), None);
        for start in join_all(starts).await {
            match start {
                Ok(next) => started.push(next),
                Err(error) => failure = Some(error),
            }
        }
        let Some(error) = failure else { return Ok(started) };
        join_all(started.into_iter().map(|(_, next)| next.stop())).await;
        Err(unchanged(StatusCode::UNPROCESSABLE_ENTITY, &format!("{error:#}")))
    }
}

fn effect(parameter: &Parameter) -> Effect {
    if OF_THE_STACK.contains(&parameter.name.as_str()) { Effect::AtStart } else { parameter.effect }
}

/// A parameter, as `GET /_local/parameters` shows it.
fn listed(parameter: &Parameter) -> Value {
    let mut listed = json!({
        "name": parameter.name,
        "group": parameter.group,
        "value": parameter.value,
        "takes_effect": effect(parameter),
        "used_by": parameter.used_by,
    });
    for (member, property) in [
        ("type", "Type"),
        ("description", "Description"),
        ("default", "Default"),
        ("allowed_values", "AllowedValues"),
        ("allowed_pattern", "AllowedPattern"),
        ("min_value", "MinValue"),
        ("max_value", "MaxValue"),
        ("min_length", "MinLength"),
        ("max_length", "MaxLength"),
    ] {
        if let Some(value) = parameter.declaration.get(property) {
            listed[member] = value.clone();
        }
    }
    listed
}

/// Its places in words, the first few.
fn uses(parameter: &Parameter) -> String {
    const SHOWN: usize = 3;
    let places = &parameter.used_by;
    let shown = places.iter().take(SHOWN).cloned().collect::<Vec<_>>().join(", ");
    match places.len().saturating_sub(SHOWN) {
        0 if places.is_empty() => "it is used by the stack itself".to_owned(),
        0 => format!("it is used for {shown}"),
        more => format!("it is used for {shown} and {more} more"),
    }
}

fn refused(name: &str, value: &str, why: &str) -> Problem {
    let option = match (name, value) {
        // It comes with a server.
        ("RecordStore", "Valkey") => "--store valkey".to_owned(),
        ("RecordStore", _) => "--store dynamodb".to_owned(),
        _ => format!("--parameter {}", quoted(&format!("{name}={value}"))),
    };
    let detail = format!(
        "{name} cannot be changed while the stack runs: {why}; start the stack with it: cargo run -p local -- {option}"
    );
    unchanged(StatusCode::CONFLICT, &detail)
}

fn unchanged(status: StatusCode, detail: &str) -> Problem {
    Problem::new(status, format!("{detail}; nothing was changed"))
}

/// For a shell.
fn quoted(word: &str) -> String {
    let is_plain = |c: char| c.is_ascii_alphanumeric() || "=_-./:,@+%".contains(c);
    if word.chars().all(is_plain) { word.to_owned() } else { format!("'{}'", word.replace('\'', r"'\''")) }
}

/// Alarms and dashboards with other properties.
fn changed_monitoring(before: &Evaluation, after: &Evaluation) -> Vec<String> {
    let changed = after.resources.iter().filter(|(id, resource)| {
        let kind = resource["Type"].as_str().unwrap_or_default();
        kind.starts_with("AWS::CloudWatch::") && before.resources.get(*id) != Some(resource)
    });
    changed.map(|(id, _)| id.clone()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_value_that_a_shell_would_read_is_quoted() {
        assert_eq!(quoted("Signals=true"), "Signals=true");
        assert_eq!(quoted("ReconcileSchedule=rate(1 minute)"), "'ReconcileSchedule=rate(1 minute)'");
        assert_eq!(quoted("A=it's"), r"'A=it'\''s'");
    }
}
