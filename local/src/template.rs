//! The template, as `sam deploy` would use it, read for this machine.
//!
//! Nothing else configures the application. A resource, event or intrinsic that the local stack should honour and
//! cannot is an error that names it; what has no meaning on one machine (log groups, alarms, what roles allow but at
//! DynamoDB and Secrets Manager) is left out on purpose and by name.

use std::{
    collections::BTreeMap,
    path::{Path, PathBuf},
};

use anyhow::{Context, Result};
use serde_json::Value;

pub use contents::Template;
pub use deployment::Deployment;
pub use document::Document;
pub use effect::Effect;
pub(crate) use evaluation::Evaluation;
pub use intrinsics::LOCAL_SECRET;
use intrinsics::{Identity, Resolver};
pub(crate) use losses::REPORT;
pub use parameters::Parameter;
pub use resources::{
    Authorization, Authorizer, Cors, DataStream, Function, GeneratedSecret, HttpApi, LogSubscription, Mapping, Pipe,
    Queue, Redrive, Route, Schedule, ScheduleKind, ShardMapping, StreamMapping, Table,
};
pub use role::{Access, Role};
pub(crate) use source::Source;
use yaml::members;

#[cfg(test)]
mod application;
mod connections;
mod contents;
mod deployment;
mod document;
mod effect;
mod evaluation;
mod intrinsics;
mod losses;
mod parameters;
mod resources;
mod role;
mod rules;
mod source;
mod uses;
mod yaml;

impl Template {
    pub fn load(path: &Path, deployment: &Deployment) -> Result<Self> {
        let source = Source::read(path)?;
        let read = Self::read(source.text(), &source.folder(), deployment);
        let template = read.map_err(|error| source.locate(error))?;
        Ok(Self { source, ..template })
    }

    /// What it was read from, which may be evaluated again.
    pub(crate) fn source(&self) -> &Source {
        &self.source
    }

    /// The error with the line of the template that it is about.
    pub(crate) fn locate(&self, error: anyhow::Error) -> anyhow::Error {
        self.source.locate(error)
    }

    /// `folder` is what a relative `CodeUri` starts from.
    pub fn read(text: &str, folder: &Path, deployment: &Deployment) -> Result<Self> {
        Self::of(&yaml::parse(text)?, folder, deployment)
    }

    fn of(document: &Value, folder: &Path, deployment: &Deployment) -> Result<Self> {
        let resolver = resolver(document, deployment)?;
        rules::check(document, &resolver)?;
        let mut template = Self { parameters: resolver.texts(), ..Self::default() };
        for (id, resource) in wanted(document, &resolver)? {
            template.add(id, resource, document, folder, &resolver).with_context(|| format!("in resource {id}"))?;
        }
        connections::check(&template, deployment)?;
        template.notes.extend(losses::of(&template));
        Ok(template)
    }

    fn add(
        &mut self,
        id: &str,
        resource: &Value,
        document: &Value,
        folder: &Path,
        resolver: &Resolver<'_>,
    ) -> Result<()> {
        let globals = &document["Globals"];
        let properties = &resource["Properties"];
        let kind = resource["Type"].as_str().unwrap_or_default();
        let unknown = resources::unknown_properties(kind, properties);
        self.notes.extend(unknown.map(|name| format!("{id}: the local stack ignores {name}")));
        match kind {
            "AWS::Serverless::Function" => {
                let (function, routes) = resources::function(id, properties, &globals["Function"], folder, resolver)?;
                let role = Role::named(&properties["Role"], &document["Resources"], resolver)?;
                let function = Function { role, ..function };
                self.functions.insert(id.to_owned(), function);
                self.api.routes.extend(routes);
            }
            "AWS::Serverless::HttpApi" => {
                self.api.id = resources::identity(id, resource, resolver)?.reference;
                self.api.configure(properties, &globals["HttpApi"], resolver)?;
            }
            "AWS::DynamoDB::Table" => {
                drop(self.tables.insert(id.to_owned(), resources::table(id, properties, resolver)?))
            }
            "AWS::SQS::Queue" => drop(self.queues.insert(id.to_owned(), resources::queue(id, properties, resolver)?)),
            "AWS::SecretsManager::Secret" => {
                drop(self.secrets.insert(id.to_owned(), resources::secret(id, properties, resolver)?))
            }
            "AWS::Scheduler::ScheduleGroup" => {
                let name = resources::identity(id, resource, resolver)?.reference;
                self.schedule_groups.insert(name);
            }
            "AWS::Kinesis::Stream" => {
                let stream = resources::data_stream(id, properties, resolver)?;
                self.data_streams.insert(id.to_owned(), stream);
            }
            "AWS::Pipes::Pipe" => {
                let pipe = resources::pipe(properties, &document["Resources"], resolver)?;
                self.pipes.insert(id.to_owned(), pipe);
            }
            kind if resources::without_local_meaning(kind) => {}
            kind => self.notes.push(format!("{id}: the local stack has no {kind}; left out")),
        }
        Ok(())
    }
}

/// Every resource whose condition holds, with its parameters, references and intrinsics replaced: also those that the
/// local stack has no part in, for tests of the template.
pub fn expand(text: &str, deployment: &Deployment) -> Result<BTreeMap<String, Value>> {
    let document = yaml::parse(text)?;
    expanded(&document, &resolver(&document, deployment)?)
}

fn expanded(document: &Value, resolver: &Resolver<'_>) -> Result<BTreeMap<String, Value>> {
    let resources = wanted(document, resolver)?.into_iter();
    resources
        .map(|(id, resource)| {
            Ok((id.clone(), resolver.resolve(resource).with_context(|| format!("in resource {id}"))?))
        })
        .collect()
}

/// Knows every resource that there is.
fn resolver<'s>(document: &Value, deployment: &'s Deployment) -> Result<Resolver<'s>> {
    let mut resolver = Resolver::new(document, deployment)?;
    for (id, resource) in wanted(document, &resolver)? {
        let identity = resources::identity(id, resource, &resolver).with_context(|| format!("in resource {id}"))?;
        resolver.resources.insert(id.clone(), identity);
        // SAM names the mapping or rule of an event so.
        for (event, _) in members(&resource["Properties"]["Events"]) {
            let reference = format!("{id}{event}");
            resolver.resources.insert(reference.clone(), Identity { reference, ..Identity::default() });
        }
    }
    // SAM makes this API for routes that name none.
    resolver
        .resources
        .entry(resources::IMPLICIT_API.to_owned())
        .or_insert_with(|| Identity { reference: resources::IMPLICIT_API.to_owned(), ..Identity::default() });
    Ok(resolver)
}

fn wanted<'d>(document: &'d Value, resolver: &Resolver<'_>) -> Result<Vec<(&'d String, &'d Value)>> {
    let mut wanted = Vec::new();
    for (id, resource) in members(&document["Resources"]) {
        let holds = resource["Condition"]
            .as_str()
            .map_or(Ok(true), |name| resolver.condition(name))
            .with_context(|| format!("in resource {id}"))?;
        if holds {
            wanted.push((id, resource));
        }
    }
    Ok(wanted)
}

/// `template.yaml` here or in a folder above, as `cargo` finds its workspace.
pub fn find() -> Result<PathBuf> {
    let here = std::env::current_dir().context("cannot tell the current folder")?;
    here.ancestors()
        .map(|folder| folder.join("template.yaml"))
        .find(|path| path.is_file())
        .with_context(|| format!("no template.yaml in {} or above it; name one with --template", here.display()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    fn deployment() -> Deployment {
        let defaults = [
            ("Stage", "development"),
            ("JwtIssuer", "http://issuer"),
            ("ProviderUrl", "http://provider"),
            ("KafkaClusterArn", "arn:aws:kafka:us-east-1:000000000000:cluster/local/1"),
        ];
        let defaults = defaults.into_iter().map(|(name, value)| (name.to_owned(), value.to_owned())).collect();
        Deployment { defaults, ..Deployment::default() }
    }

    #[test]
    fn the_application_is_read_from_its_template() -> Result<()> {
        let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
        let template = Template::load(&folder.join("template.yaml"), &deployment())?;
        assert_eq!(template.notes, [""; 0]);

        let api = &template.functions["PaymentsApi"];
        assert_eq!(api.code, folder.join("functions/payments-api"));
        assert_eq!((api.timeout, api.memory), (Duration::from_secs(20), 128));
        assert_eq!(api.environment["PAYMENTS_TABLE"], "Payments");
        assert_eq!(api.environment["PROVIDER_URL"], "http://provider");
        assert_eq!(api.environment["PROVIDER_SECRET"], "payments/provider");
        assert_eq!(template.parameters["ProviderSecretName"], "payments/provider");
        assert_eq!(api.log_format.as_deref(), Some("JSON"));

        let routes: Vec<String> =
            template.api.routes.iter().map(|route| format!("{} {}", route.method, route.path)).collect();
        assert!(routes.contains(&"POST /payments/{id}/refunds".to_owned()), "{routes:?}");
        let authorizer = &template.api.authorizers["Token"];
        assert_eq!(
            (authorizer.issuer.as_str(), authorizer.audience.as_slice()),
            ("http://issuer", ["payments".to_owned()].as_slice())
        );

        let (id, queue) = template.queue("arn:aws:sqs:us-east-1:000000000000:LedgerQueue").context("the queue")?;
        let redrive = queue.redrive.as_ref().context("its redrive policy")?;
        assert_eq!((id.as_str(), queue.visibility), ("LedgerQueue", Duration::from_secs(60)));
        assert_eq!(
            (redrive.dead_letter_target_arn.as_str(), redrive.max_receive_count),
            ("arn:aws:sqs:us-east-1:000000000000:LedgerDeadLetters", 5)
        );

        let mapping = &template.functions["LedgerWorker"].mappings[0];
        assert_eq!(
            (mapping.batch_size, mapping.maximum_concurrency, mapping.report_batch_item_failures),
            (10, Some(10), true)
        );

        let stream = &template.functions["TerminalStream"].streams[0];
        assert_eq!((stream.topics.as_slice(), stream.bisect), (["terminal-sales".to_owned()].as_slice(), true));
        assert_eq!(stream.failed_topic.as_deref(), Some("terminal-sales-failed"));
        assert!(stream.report_batch_item_failures);

        let pipe = &template.pipes["Outbox"];
        assert!(pipe.source_arn.ends_with(":table/Payments/stream/local"), "{}", pipe.source_arn);
        assert_eq!((pipe.patterns.len(), pipe.maximum_retries, pipe.from_latest), (1, None, false));
        assert!(template.tables["Payments"].definition["StreamSpecification"]["StreamEnabled"] == true);
        assert!(template.tables["Records"].time_to_live.is_some());
        Ok(())
    }

    #[test]
    fn globals_conditions_and_defaults_apply() -> Result<()> {
        let text = r#"
Conditions: { Never: !Equals [a, b] }
Globals: { Function: { Timeout: 7, Environment: { Variables: { SHARED: global, OWN: global } } } }
Resources:
  F: { Type: AWS::Serverless::Function, Properties: { CodeUri: f, Handler: bootstrap, Environment: { Variables: { OWN: own, URL: !Ref Q } } } }
  Q: { Type: AWS::SQS::Queue, Properties: { FifoQueue: true } }
  Gone: { Type: AWS::SQS::Queue, Condition: Never }
  Role: { Type: AWS::IAM::Role }
  Api: { Type: AWS::Serverless::HttpApi, Properties: { FailOnWarnings: true, DefaultRouteSettings: {} } }
  Site: { Type: AWS::S3::Bucket }
"#;
        let template = Template::read(text, Path::new("/app"), &deployment())?;
        let function = &template.functions["F"];
        assert_eq!((function.timeout, function.memory), (Duration::from_secs(7), 128));
        let variables: Vec<(&str, &str)> =
            function.environment.iter().map(|(name, value)| (name.as_str(), value.as_str())).collect();
        assert_eq!(variables, [("OWN", "own"), ("SHARED", "global"), ("URL", "http://127.0.0.1/000000000000/Q.fifo")]);
        assert_eq!((template.queues.len(), template.queues["Q"].visibility), (1, Duration::from_secs(30)));
        assert_eq!(
            template.notes,
            ["Api: the local stack ignores FailOnWarnings", "Site: the local stack has no AWS::S3::Bucket; left out",]
        );
        Ok(())
    }

    #[test]
    fn what_loses_messages_in_silence_is_noted() -> Result<()> {
        let text = |settings: &str, queue: &str| {
            format!(
                "Resources: {{ F: {{ Type: AWS::Serverless::Function, Properties: {{ CodeUri: f, Handler: bootstrap, Events: {{ E: {{ {settings} }} }} }} }}, \
                 Q: {{ Type: AWS::SQS::Queue, Properties: {{ {queue} }} }}, D: {{ Type: AWS::SQS::Queue }} }}"
            )
        };
        let redrive = "RedrivePolicy: { deadLetterTargetArn: !GetAtt D.Arn, maxReceiveCount: 2 }";
        let report = "FunctionResponseTypes: [ReportBatchItemFailures]";
        let kafka = |more: &str| format!("Type: SelfManagedKafka, Properties: {{ Topics: [t], {report}{more} }}");
        let topic = "DestinationConfig: { OnFailure: { Destination: kafka://lost } }";
        for (settings, queue, expected) in [
            (format!("Type: SQS, Properties: {{ Queue: !GetAtt Q.Arn, {report} }}"), redrive, None),
            ("Type: SQS, Properties: { Queue: !GetAtt Q.Arn }".to_owned(), redrive, Some("F.E: without FunctionRes")),
            (
                "Type: SQS, Properties: { Queue: !GetAtt Q.Arn, BatchSize: 1 }".to_owned(),
                redrive,
                Some("F.E: without FunctionRes"),
            ),
            (
                format!("Type: SQS, Properties: {{ Queue: !GetAtt Q.Arn, {report} }}"),
                "",
                Some("F.E: without a RedrivePolicy of Q"),
            ),
            (kafka(""), redrive, None),
            (
                "Type: SelfManagedKafka, Properties: { Topics: [t] }".to_owned(),
                redrive,
                Some("F.E: without FunctionRes"),
            ),
            (
                kafka(", MaximumRetryAttempts: 2, BisectBatchOnFunctionError: true"),
                redrive,
                Some("F.E: without an OnFailure"),
            ),
            (kafka(&format!(", MaximumRetryAttempts: 2, BisectBatchOnFunctionError: true, {topic}")), redrive, None),
            (kafka(&format!(", {topic}")), redrive, Some("F.E: without BisectBatchOnFunctionError")),
        ] {
            let template = Template::read(&text(&settings, queue), Path::new("/app"), &deployment())?;
            match (template.notes.as_slice(), expected) {
                ([], None) => {}
                ([note], Some(expected)) if note.starts_with(expected) => {}
                (notes, _) => panic!("{settings}: {notes:?}"),
            }
        }
        Ok(())
    }

    #[test]
    fn what_cannot_be_read_is_an_error_that_names_the_resource() {
        for (resource, expected) in [
            ("{ Type: AWS::SQS::Queue, Properties: { VisibilityTimeout: !Ref Missing } }", "Missing"),
            ("{ Type: AWS::SQS::Queue, Properties: { VisibilityTimeout: !Cidr [a] } }", "Fn::Cidr"),
            (
                "{ Type: AWS::Serverless::Function, Properties: { CodeUri: f, Handler: bootstrap, Events: { E: { Type: S3 } } } }",
                "S3",
            ),
        ] {
            let error = Template::read(&format!("Resources: {{ Broken: {resource} }}"), Path::new(""), &deployment());
            let error = format!("{:#}", error.expect_err("an error"));
            assert!(error.contains("Broken") && error.contains(expected), "{error}");
        }
    }

    #[test]
    fn parameters_that_do_not_go_together_are_an_error_of_their_rule() {
        let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
        for (parameters, expected) in [
            (&[("SubnetIds", "subnet-1"), ("SecurityGroupIds", "sg-1,sg-2")][..], None),
            (&[("SubnetIds", "subnet-1")], Some("in rule Network: Functions in a network need both")),
            (&[("RecordStore", "Valkey")], Some("in rule ValkeySettings: RecordStore=Valkey needs a ValkeyServer")),
            (
                &[("ValkeyUserArn", "arn:aws:elasticache:us-east-1:000000000000:user:u")],
                Some("in rule ValkeyLogin: A login by IAM needs both"),
            ),
        ] {
            let parameters = parameters.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned()));
            let deployment = Deployment { parameters: parameters.collect(), ..deployment() };
            let error = Template::load(&folder.join("template.yaml"), &deployment).err();
            match (error, expected) {
                (None, None) => {}
                (Some(error), Some(expected)) => {
                    let error = format!("{error:#}");
                    assert!(error.contains("template.yaml:") && error.contains(expected), "{error}");
                }
                (error, expected) => panic!("{error:?}, and not {expected:?}"),
            }
        }
    }

    #[test]
    fn what_refers_to_something_that_is_not_there_or_not_allowed_is_an_error() {
        const PARTS: &str = r#"
  Q: { Type: AWS::SQS::Queue }
  Other: { Type: AWS::SQS::Queue }
  T: { Type: AWS::DynamoDB::Table, Properties: { StreamSpecification: { StreamViewType: NEW_IMAGE } } }
  Still: { Type: AWS::DynamoDB::Table }
  Managed:
    Type: AWS::IAM::Role
    Properties: { ManagedPolicyArns: ["arn:aws:iam::aws:policy/service-role/AWSLambdaSQSQueueExecutionRole"] }
  Reads:
    Type: AWS::IAM::Role
    Properties:
      Policies:
        - PolicyDocument:
            Statement:
              - { Effect: Allow, Action: [sqs:ReceiveMessage, sqs:DeleteMessage, sqs:GetQueueAttributes], Resource: !GetAtt Q.Arn }
              - { Effect: Allow, Action: [dynamodb:DescribeStream, dynamodb:Get*], Resource: !GetAtt T.StreamArn }
              - { Effect: Allow, Action: sqs:SendMessage, Resource: !GetAtt Other.Arn }
"#;
        let function = |more: &str, event: &str| {
            format!(
                "{{ Type: AWS::Serverless::Function, Properties: {{ CodeUri: f, Handler: bootstrap, Role: !GetAtt Reads.Arn, \
                 {more} Events: {{ E: {event} }} }} }}"
            )
        };
        let queue = |arn: &str| function("", &format!("{{ Type: SQS, Properties: {{ Queue: {arn} }} }}"));
        let table = |settings: &str| function("", &format!("{{ Type: DynamoDB, Properties: {{ {settings} }} }}"));
        let pipe = |source: &str, target: &str| {
            format!(
                "{{ Type: AWS::Pipes::Pipe, Properties: {{ RoleArn: !GetAtt Reads.Arn, Source: {source}, Target: {target} }} }}"
            )
        };
        let lost = |arn: &str| format!("DestinationConfig: {{ OnFailure: {{ Destination: {arn} }} }}");
        let arn = "arn:aws:sqs:us-east-1:000000000000:gone";
        let of_table = |arn: &str| table(&format!("Stream: !GetAtt T.StreamArn, {}", lost(arn)));
        let of_function =
            |arn: &str| function(&format!("EventInvokeConfig: {{ {} }},", lost(arn)), "{ Type: HttpApi }");
        let guarded = function("", "{ Type: HttpApi, Properties: { Auth: { Authorizer: Missing } } }");
        for (part, expected) in [
            (queue("!GetAtt Q.Arn"), None),
            (queue(arn), Some("in Queue: ")),
            (queue("!GetAtt Other.Arn"), Some("does not allow sqs:ReceiveMessage")),
            (of_table("!GetAtt Other.Arn"), None),
            (table("Stream: !GetAtt Still.StreamArn"), Some("the table Still has no StreamSpecification")),
            (table("Stream: arn:aws:dynamodb:us-east-1:000000000000:table/X/stream/1"), Some("in Stream: ")),
            (of_table("!GetAtt Q.Arn"), Some("does not allow sqs:SendMessage")),
            (of_function("!GetAtt Other.Arn"), None),
            (of_function(arn), Some("in EventInvokeConfig: in Destination: ")),
            (pipe("!GetAtt T.StreamArn", "!GetAtt Other.Arn"), None),
            // A policy of AWS may allow it.
            (queue("!GetAtt Other.Arn").replace("!GetAtt Reads.Arn", "!GetAtt Managed.Arn"), None),
            (pipe("!GetAtt Other.Arn", "!GetAtt Other.Arn"), Some("in Source: ")),
            (
                pipe("!GetAtt T.StreamArn", "!GetAtt Q.Arn"),
                Some("in Target: the role Reads does not allow sqs:SendMessage"),
            ),
            (guarded, Some("in event E: the API has no authorizer Missing")),
            (
                format!(
                    "{{ Type: AWS::SQS::Queue, Properties: {{ RedrivePolicy: {{ deadLetterTargetArn: {arn}, maxReceiveCount: 1 }} }} }}"
                ),
                Some("in deadLetterTargetArn: "),
            ),
        ] {
            let read = Template::read(&format!("Resources:\n  Part: {part}{PARTS}"), Path::new(""), &deployment());
            match (read, expected) {
                (Ok(_), None) => {}
                (Err(error), Some(expected)) => {
                    let error = format!("{error:#}");
                    assert!(error.contains("in resource Part: ") && error.contains(expected), "{part}: {error}");
                }
                (read, expected) => panic!("{part}: {:?}, and not {expected:?}", read.err()),
            }
        }
    }
}
