//! A template with the values that its parameters have at one time, and what differs between two times.

use std::{collections::BTreeMap, time::Duration};

use anyhow::Result;
use serde_json::Value;

use super::{
    contents::Template,
    deployment::Deployment,
    expanded,
    parameters::{self, Parameter},
    resolver,
    resources::{Asynchronous, Function, Schedule},
    source::Source,
    uses, yaml,
};

pub(crate) struct Evaluation {
    pub template: Template,
    /// Every resource that there is, with its intrinsics replaced.
    pub resources: BTreeMap<String, Value>,
    pub parameters: Vec<Parameter>,
}

impl Evaluation {
    pub(crate) fn of(source: &Source, deployment: &Deployment) -> Result<Self> {
        let document = yaml::parse(source.text())?;
        let template = Template::of(&document, &source.folder(), deployment)?;
        let resolver = resolver(&document, deployment)?;
        let parameters = parameters::described(&document, deployment, &uses::of(&document, &resolver)?);
        Ok(Self { template, resources: expanded(&document, &resolver)?, parameters })
    }

    pub(crate) fn parameter(&self, name: &str) -> Option<&Parameter> {
        self.parameters.iter().find(|parameter| parameter.name == name)
    }

    /// What only a start can change and differs: the reason in words, if there is one. Uses of a parameter are found in
    /// the text; this is what they come to.
    pub(crate) fn fixed_difference(&self, other: &Self) -> Option<String> {
        let (mine, theirs) = (&self.template, &other.template);
        let one_sided = |some: &Self, others: &Self| -> Option<String> {
            some.resources.keys().find(|id| !others.resources.contains_key(*id)).cloned()
        };
        if let Some(id) = one_sided(other, self) {
            return Some(format!("it adds the resource {id}"));
        }
        if let Some(id) = one_sided(self, other) {
            return Some(format!("it removes the resource {id}"));
        }
        let differing = first_differing(&mine.tables, &theirs.tables)
            .or_else(|| first_differing(&mine.queues, &theirs.queues))
            .or_else(|| first_differing(&mine.data_streams, &theirs.data_streams))
            .or_else(|| first_differing(&mine.pipes, &theirs.pipes))
            .or_else(|| first_differing(&mine.secrets, &theirs.secrets))
            .or_else(|| first_differing(&fixed(&mine.functions), &fixed(&theirs.functions)))
            .or_else(|| (mine.api != theirs.api).then(|| mine.api.id.clone()))
            .or_else(|| (mine.schedule_groups != theirs.schedule_groups).then(|| "a schedule group".to_owned()));
        differing.map(|id| format!("it changes {id}"))
    }
}

fn first_differing<T: PartialEq>(mine: &BTreeMap<String, T>, theirs: &BTreeMap<String, T>) -> Option<String> {
    mine.iter().find(|(id, value)| theirs.get(*id) != Some(value)).map(|(id, _)| id.clone())
}

/// The functions without what a change can set.
fn fixed(functions: &BTreeMap<String, Function>) -> BTreeMap<String, Function> {
    let fixed = functions.iter().map(|(id, function)| {
        let schedules = function.schedules.iter().cloned();
        let schedules =
            schedules.map(|each| Schedule { expression: String::new(), input: None, enabled: true, ..each });
        let fixed = Function {
            environment: BTreeMap::new(),
            timeout: Duration::ZERO,
            memory: 0,
            reserved_concurrency: None,
            asynchronous: Asynchronous::default(),
            schedules: schedules.collect(),
            ..function.clone()
        };
        (id.clone(), fixed)
    });
    fixed.collect()
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;
    use crate::template::Effect;

    fn evaluate(chosen: &[(&str, &str)]) -> Result<Evaluation> {
        let source = Source::read(&Path::new(env!("CARGO_MANIFEST_DIR")).join("../template.yaml"))?;
        let owned = |pairs: &[(&str, &str)]| {
            pairs.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect()
        };
        let defaults = owned(&[
            ("Stage", "development"),
            ("Alarms", "true"),
            ("JwtIssuer", "http://issuer"),
            ("ProviderUrl", "http://provider"),
            ("ConsoleLogin", "Issuer"),
            ("ConsoleClientId", "console"),
            ("KafkaClusterArn", "arn:aws:kafka:us-east-1:000000000000:cluster/local/1"),
        ]);
        Evaluation::of(&source, &Deployment { parameters: owned(chosen), defaults, ..Deployment::default() })
    }

    /// Another value of each parameter of the application.
    const OTHER: [(&str, &str); 60] = [
        ("Stage", "production"),
        ("JwtIssuer", "http://other"),
        ("JwtAudience", "other"),
        ("ProviderSecretName", "other/provider"),
        ("AlarmEmail", "ann@shop.example"),
        ("AccountsClaim", "accounts"),
        ("ConsoleLogin", "None"),
        ("ConsoleIssuer", "http://other"),
        ("ConsoleClientId", "other"),
        ("ConsoleClientSecretName", "other/client"),
        ("ConsoleScopes", "openid groups"),
        ("ConsoleNameClaim", "email"),
        ("ConsoleRoleClaim", "groups"),
        ("ConsoleViewerRole", "reader"),
        ("ConsoleOperatorRole", "settler"),
        ("ProviderUrl", "http://other"),
        ("TombstonesWithinSeconds", "60"),
        ("ReconcileSchedule", "rate(1 minute)"),
        ("FollowUpState", "STOPPED"),
        ("FollowUpWindowSeconds", "1"),
        ("ScanIntervalSeconds", "0"),
        ("ReconcilerTimeoutSeconds", "30"),
        ("OutboxState", "STOPPED"),
        ("WorkerTimeoutSeconds", "4"),
        ("WorkerBatchSize", "1"),
        ("LedgerVisibilitySeconds", "4"),
        ("LedgerMaxReceiveCount", "2"),
        ("KafkaClusterArn", ""),
        ("KafkaAuthentication", "NONE"),
        ("KafkaSecretArn", "arn:aws:secretsmanager:us-east-1:000000000000:secret:k"),
        ("KafkaSecretKeyArn", "arn:aws:kms:us-east-1:000000000000:key/k"),
        ("TopicGeneration", "2"),
        ("StreamTimeoutSeconds", "4"),
        ("StreamRetryAttempts", "2"),
        ("Alarms", "false"),
        ("Signals", "true"),
        ("AlertsPerDay", "5"),
        ("SignalWindowSeconds", "60"),
        ("OldestUnknownSeconds", "60"),
        ("RunbookUrl", "https://shop.example/runbook"),
        ("LogRetentionDays", "7"),
        ("RequestsPerSecond", "5"),
        ("RequestBurst", "5"),
        ("ConsoleRequestsPerSecond", "5"),
        ("ConsoleRequestBurst", "5"),
        ("ApiTimeoutSeconds", "4"),
        ("ApiConcurrency", "2"),
        ("ConsoleConcurrency", "2"),
        ("ReconcilerConcurrency", "2"),
        ("WorkerConcurrency", "2"),
        ("RecordStore", "Valkey"),
        ("ValkeyServer", "127.0.0.1:6379"),
        ("ValkeyKeeps", "every"),
        ("ValkeyCacheArn", "arn:aws:elasticache:us-east-1:000000000000:replicationgroup:c"),
        ("ValkeyUserArn", "arn:aws:elasticache:us-east-1:000000000000:user:u"),
        ("SubnetIds", "subnet-1"),
        ("SecurityGroupIds", "sg-1"),
        ("DeletionProtection", "true"),
        ("KmsKeyArn", "arn:aws:kms:us-east-1:000000000000:key/k"),
        ("Architecture", "x86_64"),
    ];

    #[test]
    fn what_the_uses_say_is_what_another_value_comes_to() -> Result<()> {
        let before = evaluate(&[])?;
        for parameter in &before.parameters {
            let (_, other) = OTHER.iter().find(|(name, _)| *name == parameter.name).expect(&parameter.name);
            let after = match evaluate(&[(&parameter.name, other)]) {
                Ok(after) => after,
                // A rule of the template wants another parameter with it, for what is there from the start only.
                Err(error) => {
                    assert!(format!("{error:#}").contains("in rule"), "{error:#}");
                    continue;
                }
            };
            let difference = before.fixed_difference(&after);
            match parameter.effect {
                Effect::Nowhere | Effect::AtOnce => assert_eq!(difference, None, "{}", parameter.name),
                Effect::AtStart => {}
            }
        }
        Ok(())
    }
}
