//! Resources of the kinds that the local stack brings to life, with the defaults of SAM and CloudFormation.

use std::{collections::BTreeMap, path::Path, path::PathBuf, time::Duration};

use anyhow::{Context, Result, anyhow, bail, ensure};
use serde::{Deserialize, Deserializer, de::DeserializeOwned, de::Error as _};
use serde_json::{Map, Value, json};
use uuid::Uuid;

use super::{
    effect::Effect,
    intrinsics::{Identity, Resolver},
    role::Role,
    yaml::members,
};
use crate::logs::filter_pattern::FilterPattern;

pub(super) const IMPLICIT_API: &str = "ServerlessHttpApi";

/// A function and how it is configured. Its code is a cargo package.
#[derive(Debug, Clone, PartialEq)]
pub struct Function {
    pub name: String,
    pub code: PathBuf,
    pub handler: String,
    pub timeout: Duration,
    pub memory: u32,
    pub environment: BTreeMap<String, String>,
    pub log_format: Option<String>,
    pub log_level: Option<String>,
    pub log_group: String,
    pub reserved_concurrency: Option<usize>,
    /// Its permissions; `None`: the template does not limit them. Requests are checked at DynamoDB and Secrets Manager.
    pub role: Option<Role>,
    pub mappings: Vec<Mapping>,
    pub streams: Vec<StreamMapping>,
    /// Of tables' streams.
    pub tables: Vec<ShardMapping>,
    /// Of Kinesis streams.
    pub data_streams: Vec<ShardMapping>,
    pub schedules: Vec<Schedule>,
    pub asynchronous: Asynchronous,
    pub subscriptions: Vec<LogSubscription>,
}

/// How asynchronous invocations of a function are tried again, and where those go that failed for good.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Asynchronous {
    pub maximum_retries: u32,
    /// The ARN of a queue.
    pub failed_queue: Option<String>,
}

impl Function {
    /// The maximum number of sandboxes. Without reserved concurrency it is `unreserved`, or the concurrency of an event
    /// source mapping if that is higher.
    pub fn concurrency(&self, unreserved: usize) -> usize {
        let mappings = self.mappings.iter().filter_map(|mapping| mapping.maximum_concurrency);
        self.reserved_concurrency.unwrap_or_else(|| mappings.fold(unreserved, usize::max)).max(1)
    }
}

/// A table, as `CreateTable` takes it, and its time to live.
#[derive(Debug, Clone, PartialEq)]
pub struct Table {
    pub name: String,
    pub definition: Value,
    pub time_to_live: Option<Value>,
}

#[derive(Debug, Clone, PartialEq)]
pub struct Queue {
    pub name: String,
    pub fifo: bool,
    pub content_based_deduplication: bool,
    pub deduplicated_by_group: bool,
    pub visibility: Duration,
    pub retention: Duration,
    pub delay: Duration,
    pub receive_wait: Duration,
    pub maximum_message_size: usize,
    pub redrive: Option<Redrive>,
}

#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Redrive {
    pub dead_letter_target_arn: String,
    #[serde(deserialize_with = "number")]
    pub max_receive_count: u32,
}

/// An SQS event source mapping.
#[derive(Debug, Clone, PartialEq)]
pub struct Mapping {
    /// Of the event that declares it.
    pub name: String,
    pub queue_arn: String,
    pub batch_size: usize,
    pub window: Duration,
    pub maximum_concurrency: Option<usize>,
    pub report_batch_item_failures: bool,
    pub patterns: Vec<Value>,
}

/// An event source mapping of Kafka topics.
#[derive(Debug, Clone, PartialEq)]
pub struct StreamMapping {
    /// Of the event that declares it.
    pub name: String,
    /// `None`: a self-managed cluster.
    pub source_arn: Option<String>,
    pub topics: Vec<String>,
    pub batch_size: usize,
    pub from_latest: bool,
    pub bisect: bool,
    /// `None`: until the record expires.
    pub maximum_retries: Option<u32>,
    /// The topic that gets what was given up.
    pub failed_topic: Option<String>,
    pub report_batch_item_failures: bool,
}

/// An event source mapping of a table's stream or of a Kinesis stream.
#[derive(Debug, Clone, PartialEq)]
pub struct ShardMapping {
    /// Of the event that declares it.
    pub name: String,
    pub stream_arn: String,
    pub batch_size: usize,
    pub window: Duration,
    pub from_latest: bool,
    pub bisect: bool,
    /// `None`: until the record is too old.
    pub maximum_retries: Option<u32>,
    /// `None`: as long as the stream keeps a record.
    pub maximum_age: Option<Duration>,
    /// The ARN of the queue that learns what was given up.
    pub failed_queue: Option<String>,
    pub report_batch_item_failures: bool,
    pub patterns: Vec<Value>,
}

/// A subscription to a log group.
#[derive(Debug, Clone, PartialEq)]
pub struct LogSubscription {
    /// Of the filter: function and event.
    pub name: String,
    pub log_group: String,
    pub pattern: FilterPattern,
}

#[derive(Debug, Clone, PartialEq)]
pub struct Schedule {
    /// Its given name, or SAM's name of the resource: function and event.
    pub name: String,
    /// Of the event that declares it.
    pub event: String,
    pub expression: String,
    pub input: Option<Value>,
    pub kind: ScheduleKind,
    pub enabled: bool,
}

/// The two services that call functions by the clock send different events.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ScheduleKind {
    Rule,
    Scheduler,
}

#[derive(Debug, Default, PartialEq)]
pub struct HttpApi {
    /// What the template's references to it become.
    pub id: String,
    pub routes: Vec<Route>,
    pub authorizers: BTreeMap<String, Authorizer>,
    pub default_authorizer: Option<String>,
    pub cors: Option<Cors>,
}

#[derive(Debug, Clone, PartialEq)]
pub struct Route {
    pub function: String,
    /// The event that declares it.
    pub event: String,
    /// Upper case, or `ANY`.
    pub method: String,
    /// `/path/{parameter}/{rest+}`, or `$default`.
    pub path: String,
    pub authorization: Authorization,
}

impl Route {
    /// Whether requests for `/` belong to it.
    pub fn takes_root(&self) -> bool {
        self.path == "$default" || (matches!(self.method.as_str(), "GET" | "ANY") && self.path == "/")
    }
}

#[derive(Debug, Clone, PartialEq)]
pub enum Authorization {
    /// The API's default authorizer.
    Inherited,
    None,
    Authorizer {
        name: String,
        scopes: Vec<String>,
    },
}

#[derive(Debug, Clone, PartialEq)]
pub struct Authorizer {
    pub issuer: String,
    pub audience: Vec<String>,
    pub scopes: Vec<String>,
    /// `$request.header.NAME` or `$request.querystring.NAME`.
    pub identity_source: String,
}

#[derive(Debug, Clone, Default, PartialEq, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
pub struct Cors {
    pub allow_origins: Vec<String>,
    pub allow_methods: Vec<String>,
    pub allow_headers: Vec<String>,
    pub expose_headers: Vec<String>,
    pub max_age: Option<u64>,
    pub allow_credentials: bool,
}

/// A Kinesis stream.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DataStream {
    pub name: String,
    pub shards: i32,
}

#[derive(Debug, Clone, PartialEq)]
pub struct Pipe {
    /// Its permissions; `None`: the template does not have its role.
    pub role: Option<Role>,
    pub source_arn: String,
    pub target_arn: String,
    pub patterns: Vec<Value>,
    pub input_template: Option<String>,
    /// Of the event, if the target is an event bus.
    pub event_source: Option<String>,
    pub detail_type: Option<String>,
    pub batch_size: usize,
    pub from_latest: bool,
    /// `None`: until the record expires.
    pub maximum_retries: Option<u32>,
    pub maximum_age: Option<Duration>,
    pub message_group_id: Option<String>,
    pub message_deduplication_id: Option<String>,
    pub is_stopped: bool,
}

/// A secret of Secrets Manager that CloudFormation generates when it is created.
#[derive(Debug, Clone, PartialEq)]
pub struct GeneratedSecret {
    pub name: String,
    /// The other members of its value.
    template: Map<String, Value>,
    /// The generated member.
    key: String,
    length: usize,
}

impl GeneratedSecret {
    /// A new value.
    pub fn generate(&self) -> Value {
        let random = std::iter::repeat_with(|| Uuid::new_v4().simple().to_string());
        let random: String = random.take(self.length.div_ceil(32)).collect();
        let mut value = self.template.clone();
        value.insert(self.key.clone(), random[..self.length].into());
        Value::Object(value)
    }
}

/// Resources without meaning on one machine: permissions (except those of functions' roles at DynamoDB and Secrets
/// Manager), keys, logs, alarms.
pub(super) fn without_local_meaning(kind: &str) -> bool {
    const PREFIXES: [&str; 11] = [
        "AWS::IAM::",
        "AWS::Logs::",
        "AWS::CloudWatch::",
        "AWS::KMS::",
        "AWS::SNS::",
        "AWS::Lambda::Permission",
        "AWS::SQS::QueuePolicy",
        "AWS::ApplicationInsights::",
        "AWS::ResourceGroups::",
        "AWS::CodeDeploy::",
        "AWS::XRay::",
    ];
    PREFIXES.iter().any(|prefix| kind.starts_with(prefix))
}

/// The properties of a resource that are neither read here nor known to have no local meaning. The stack warns that
/// they have no effect on this machine.
pub(super) fn unknown_properties<'p>(kind: &str, properties: &'p Value) -> impl Iterator<Item = &'p String> {
    let known = Properties::of(kind).filter(|known| known.is_complete);
    let unknown = move |name: &&String| known.as_ref().is_some_and(|known| !known.has(name));
    members(properties).map(|(name, _)| name).filter(unknown)
}

/// When a changed value of a resource's property takes effect.
pub(super) fn effect(kind: &str, property: &str) -> Effect {
    match kind {
        "AWS::CloudWatch::Alarm" | "AWS::CloudWatch::Dashboard" => Effect::AtOnce,
        // Enforced at the services; run by name.
        "AWS::IAM::Role" | "AWS::IAM::ManagedPolicy" | "AWS::IAM::Policy" | "AWS::Logs::QueryDefinition" => {
            Effect::AtStart
        }
        kind => match Properties::of(kind) {
            None => Effect::Nowhere,
            Some(known) if known.applied.contains(&property) => Effect::AtOnce,
            Some(known) if known.without_meaning.contains(&property) => Effect::Nowhere,
            Some(_) => Effect::AtStart,
        },
    }
}

/// As [`effect`], for a property of a function's event.
pub(super) fn effect_in_event(kind: &str, property: &str) -> Effect {
    match (kind, property) {
        ("Schedule" | "ScheduleV2", "Schedule" | "ScheduleExpression" | "Enabled" | "State" | "Input") => {
            Effect::AtOnce
        }
        ("Schedule" | "ScheduleV2", "RetryPolicy" | "Description" | "OmitName") => Effect::Nowhere,
        _ => Effect::AtStart,
    }
}

/// The properties of a kind of resource that runs here.
struct Properties {
    /// Read when the stack starts.
    read: &'static [&'static str],
    /// Read again when a parameter changes.
    applied: &'static [&'static str],
    without_meaning: &'static [&'static str],
    /// Whether these are all that the kind has.
    is_complete: bool,
}

impl Properties {
    fn of(kind: &str) -> Option<Self> {
        let partly = |without_meaning| Self { read: &[], applied: &[], without_meaning, is_complete: false };
        Some(match kind {
            "AWS::Serverless::Function" => Self {
                read: &["FunctionName", "CodeUri", "Handler", "LoggingConfig", "Role", "Events"],
                applied: &["EventInvokeConfig", "Timeout", "MemorySize", "Environment", "ReservedConcurrentExecutions"],
                without_meaning: &[
                    "Architectures",
                    "AutoPublishAlias",
                    "AutoPublishAliasAllProperties",
                    "DeploymentPreference",
                    "Description",
                    "KmsKeyArn",
                    "Policies",
                    "Runtime",
                    "Tags",
                    "Tracing",
                    "VersionDescription",
                    "VpcConfig",
                ],
                is_complete: true,
            },
            "AWS::Serverless::HttpApi" => Self {
                read: &["Auth", "CorsConfiguration", "DefinitionBody", "DefinitionUri"],
                applied: &[],
                // A developer's own burst is not throttled, as it is not at the functions.
                without_meaning: &["AccessLogSettings", "DefaultRouteSettings", "Description", "RouteSettings", "Tags"],
                is_complete: true,
            },
            "AWS::DynamoDB::Table" => {
                partly(&["DeletionProtectionEnabled", "PointInTimeRecoverySpecification", "SSESpecification", "Tags"])
            }
            "AWS::SQS::Queue" => {
                partly(&["KmsMasterKeyId", "KmsDataKeyReusePeriodSeconds", "SqsManagedSseEnabled", "Tags"])
            }
            "AWS::Pipes::Pipe" => partly(&["Description", "KmsKeyIdentifier", "LogConfiguration", "Tags"]),
            "AWS::SecretsManager::Secret" => partly(&["Description", "KmsKeyId", "Tags"]),
            "AWS::Kinesis::Stream" => partly(&["RetentionPeriodHours", "StreamEncryption", "Tags"]),
            "AWS::Scheduler::ScheduleGroup" => partly(&["Tags"]),
            _ => return None,
        })
    }

    fn has(&self, property: &str) -> bool {
        [self.read, self.applied, self.without_meaning].into_iter().flatten().any(|known| *known == property)
    }
}

/// The values of `Ref` and `GetAtt` for this resource (AWS, "Return values" of each resource type).
pub(super) fn identity(id: &str, resource: &Value, resolver: &Resolver<'_>) -> Result<Identity> {
    let properties = &resource["Properties"];
    let deployment = resolver.deployment;
    let physical = |property: &str| physical_name(id, &properties[property], resolver);
    let (reference, attributes) = match resource["Type"].as_str().context("a resource without a Type")? {
        "AWS::DynamoDB::Table" => {
            let name = physical("TableName")?;
            let arn = deployment.arn("dynamodb", &format!("table/{name}"));
            let stream = format!("{arn}/stream/local");
            (name, vec![("Arn", arn), ("StreamArn", stream)])
        }
        "AWS::SQS::Queue" => {
            let name = queue_name(id, properties, resolver)?;
            let url = deployment.queue_url(&name);
            (url.clone(), vec![("Arn", deployment.arn("sqs", &name)), ("QueueName", name), ("QueueUrl", url)])
        }
        "AWS::Serverless::Function" => {
            let name = physical("FunctionName")?;
            let arn = deployment.arn("lambda", &format!("function:{name}"));
            (name, vec![("Arn", arn), ("Version.Version", "1".to_owned())])
        }
        "AWS::Logs::LogGroup" => {
            let name = physical("LogGroupName")?;
            (name.clone(), vec![("Arn", deployment.arn("logs", &format!("log-group:{name}:*")))])
        }
        "AWS::SecretsManager::Secret" => {
            (deployment.arn("secretsmanager", &format!("secret:{}-000000", physical("Name")?)), vec![])
        }
        "AWS::Serverless::HttpApi" => (id.to_owned(), vec![("ApiId", id.to_owned())]),
        "AWS::Kinesis::Stream" => {
            let name = physical("Name")?;
            (name.clone(), vec![("Arn", deployment.arn("kinesis", &format!("stream/{name}")))])
        }
        "AWS::Scheduler::ScheduleGroup" => {
            let name = physical("Name")?;
            let arn = deployment.arn("scheduler", &format!("schedule-group/{name}"));
            (name, vec![("Arn", arn)])
        }
        _ => (id.to_owned(), vec![("Arn", deployment.arn("local", id))]),
    };
    Ok(Identity { reference, attributes: attributes.into_iter().collect() })
}

pub(super) fn function(
    id: &str,
    properties: &Value,
    globals: &Value,
    folder: &Path,
    resolver: &Resolver<'_>,
) -> Result<(Function, Vec<Route>)> {
    let properties = &merged(globals, properties);
    let get = |name: &str| resolver.resolve(&properties[name]).with_context(|| format!("in {name}"));
    let code = get("CodeUri")?;
    let logging = get("LoggingConfig")?;
    let name = physical_name(id, &properties["FunctionName"], resolver)?;
    let mut function = Function {
        log_group: logging["LogGroup"].as_str().map_or_else(|| format!("/aws/lambda/{name}"), str::to_owned),
        name,
        code: folder.join(code.as_str().context("CodeUri must name the folder of a cargo package")?),
        handler: get("Handler")?.as_str().context("a function needs a Handler; for Rust it is `bootstrap`")?.to_owned(),
        timeout: Duration::from_secs(or(get("Timeout")?, 3)?),
        memory: or(get("MemorySize")?, 128)?,
        environment: environment(&get("Environment")?["Variables"])?,
        log_format: logging["LogFormat"].as_str().map(str::to_owned),
        log_level: logging["ApplicationLogLevel"].as_str().map(str::to_owned),
        reserved_concurrency: or(get("ReservedConcurrentExecutions")?, None)?,
        role: None,
        mappings: Vec::new(),
        streams: Vec::new(),
        tables: Vec::new(),
        data_streams: Vec::new(),
        schedules: Vec::new(),
        asynchronous: asynchronous(&get("EventInvokeConfig")?)?,
        subscriptions: Vec::new(),
    };
    let mut routes = Vec::new();
    for (name, event) in members(&properties["Events"]) {
        add_event(&mut function, &mut routes, id, name, event, resolver).with_context(|| format!("in event {name}"))?;
    }
    Ok((function, routes))
}

fn add_event(
    function: &mut Function,
    routes: &mut Vec<Route>,
    id: &str,
    name: &str,
    event: &Value,
    resolver: &Resolver<'_>,
) -> Result<()> {
    let settings = resolver.resolve(&event["Properties"])?;
    match event["Type"].as_str().unwrap_or_default() {
        "HttpApi" => routes.push(route(id, name, &settings)?),
        "SQS" => function.mappings.extend(mapping(name, &settings)?),
        "MSK" | "SelfManagedKafka" => function.streams.extend(stream_mapping(name, &settings)?),
        "DynamoDB" => function.tables.extend(shard_mapping(name, &settings)?),
        "Kinesis" => function.data_streams.extend(shard_mapping(name, &settings)?),
        kind @ ("Schedule" | "ScheduleV2") => function.schedules.push(schedule(id, name, kind, &settings)?),
        "CloudWatchLogs" => {
            let subscription = subscription(id, name, &settings)?;
            ensure!(
                subscription.log_group != function.log_group,
                "the function would be called for what it prints itself"
            );
            function.subscriptions.push(subscription);
        }
        kind => Err(anyhow!("the local stack has no event source {kind}")).context("in Type")?,
    }
    Ok(())
}

impl HttpApi {
    pub(super) fn configure(&mut self, properties: &Value, globals: &Value, resolver: &Resolver<'_>) -> Result<()> {
        let properties = resolver.resolve(&merged(globals, properties))?;
        ensure!(
            properties.get("DefinitionBody").or(properties.get("DefinitionUri")).is_none(),
            "the local stack reads routes from the functions' events, not from an OpenAPI definition"
        );
        let auth = &properties["Auth"];
        self.default_authorizer = auth["DefaultAuthorizer"].as_str().map(str::to_owned);
        for (name, settings) in members(&auth["Authorizers"]) {
            self.authorizers
                .insert(name.clone(), authorizer(settings).with_context(|| format!("in authorizer {name}"))?);
        }
        self.cors = match &properties["CorsConfiguration"] {
            Value::Null | Value::Bool(false) => None,
            Value::Bool(true) => Some(Cors { allow_origins: vec!["*".to_owned()], ..Cors::default() }),
            settings => Some(Cors::deserialize(settings).context("in CorsConfiguration")?),
        };
        Ok(())
    }
}

pub(super) fn table(id: &str, properties: &Value, resolver: &Resolver<'_>) -> Result<Table> {
    const OF_CREATE_TABLE: [&str; 6] = [
        "AttributeDefinitions",
        "KeySchema",
        "BillingMode",
        "ProvisionedThroughput",
        "GlobalSecondaryIndexes",
        "LocalSecondaryIndexes",
    ];
    let name = physical_name(id, &properties["TableName"], resolver)?;
    let mut definition = Map::from_iter([("TableName".to_owned(), json!(name))]);
    for property in OF_CREATE_TABLE {
        if let Some(value) = properties.get(property) {
            definition.insert(property.to_owned(), resolver.resolve(value)?);
        }
    }
    if let Some(stream) = properties.get("StreamSpecification") {
        // CloudFormation implies what `CreateTable` must be told.
        let view = resolver.resolve(&stream["StreamViewType"])?;
        definition.insert("StreamSpecification".to_owned(), json!({ "StreamEnabled": true, "StreamViewType": view }));
    }
    let time_to_live = properties.get("TimeToLiveSpecification").map(|value| resolver.resolve(value)).transpose()?;
    Ok(Table { name, definition: Value::Object(definition), time_to_live })
}

/// On demand, a stream begins with four shards (AWS, "Choose the right mode").
pub(super) fn data_stream(id: &str, properties: &Value, resolver: &Resolver<'_>) -> Result<DataStream> {
    let count = resolver.resolve(&properties["ShardCount"]).context("in ShardCount")?;
    Ok(DataStream { name: physical_name(id, &properties["Name"], resolver)?, shards: or(count, 4)? })
}

/// Defaults: AWS, "SetQueueAttributes".
pub(super) fn queue(id: &str, properties: &Value, resolver: &Resolver<'_>) -> Result<Queue> {
    let get = |name: &str| resolver.resolve(&properties[name]).with_context(|| format!("in {name}"));
    let seconds = |name: &str, default: u64| -> Result<Duration> { Ok(Duration::from_secs(or(get(name)?, default)?)) };
    let redrive = match get("RedrivePolicy")? {
        Value::Null => None,
        policy => Some(Redrive::deserialize(policy).context("in RedrivePolicy")?),
    };
    Ok(Queue {
        name: queue_name(id, properties, resolver)?,
        fifo: truth(&get("FifoQueue")?),
        content_based_deduplication: truth(&get("ContentBasedDeduplication")?),
        deduplicated_by_group: get("DeduplicationScope")? == "messageGroup",
        visibility: seconds("VisibilityTimeout", 30)?,
        retention: seconds("MessageRetentionPeriod", 345_600)?,
        delay: seconds("DelaySeconds", 0)?,
        receive_wait: seconds("ReceiveMessageWaitTimeSeconds", 0)?,
        maximum_message_size: or(get("MaximumMessageSize")?, 1_048_576)?,
        redrive,
    })
}

pub(super) fn pipe(properties: &Value, resources: &Value, resolver: &Resolver<'_>) -> Result<Pipe> {
    let get = |name: &str| resolver.resolve(&properties[name]).with_context(|| format!("in {name}"));
    ensure!(properties.get("Enrichment").is_none(), "the local stack has no pipe enrichment");
    let source = get("SourceParameters")?;
    let stream = &source["DynamoDBStreamParameters"];
    let target = get("TargetParameters")?;
    let arn = |name: &str| -> Result<String> {
        Ok(get(name)?.as_str().with_context(|| format!("{name} must be an ARN"))?.to_owned())
    };
    // -1, the default, means without limit (AWS, "PipeSourceDynamoDBStreamParameters").
    let limit = |name: &str| stream[name].as_i64().and_then(|limit| u32::try_from(limit).ok());
    Ok(Pipe {
        role: Role::named(&properties["RoleArn"], resources, resolver)?,
        source_arn: arn("Source")?,
        target_arn: arn("Target")?,
        patterns: patterns(&source["FilterCriteria"])?,
        input_template: target["InputTemplate"].as_str().map(str::to_owned),
        event_source: target["EventBridgeEventBusParameters"]["Source"].as_str().map(str::to_owned),
        detail_type: target["EventBridgeEventBusParameters"]["DetailType"].as_str().map(str::to_owned),
        batch_size: or(stream["BatchSize"].clone(), 100)?,
        from_latest: stream["StartingPosition"] == "LATEST",
        maximum_retries: limit("MaximumRetryAttempts"),
        maximum_age: limit("MaximumRecordAgeInSeconds").map(|seconds| Duration::from_secs(seconds.into())),
        message_group_id: target["SqsQueueParameters"]["MessageGroupId"].as_str().map(str::to_owned),
        message_deduplication_id: target["SqsQueueParameters"]["MessageDeduplicationId"].as_str().map(str::to_owned),
        is_stopped: get("DesiredState")? == "STOPPED",
    })
}

fn route(function: &str, event: &str, settings: &Value) -> Result<Route> {
    ensure!(settings["PayloadFormatVersion"] != "1.0", "the local stack supports only payload format 2.0");
    let scopes = list(&settings["Auth"]["AuthorizationScopes"])?;
    let authorization = match settings["Auth"]["Authorizer"].as_str() {
        None => Authorization::Inherited,
        Some("NONE") => Authorization::None,
        Some(name) => Authorization::Authorizer { name: name.to_owned(), scopes },
    };
    Ok(Route {
        function: function.to_owned(),
        event: event.to_owned(),
        method: settings["Method"]
            .as_str()
            .unwrap_or("ANY")
            .to_ascii_uppercase()
            .replace("X-AMAZON-APIGATEWAY-ANY-METHOD", "ANY"),
        path: settings["Path"].as_str().unwrap_or("$default").to_owned(),
        authorization,
    })
}

fn authorizer(settings: &Value) -> Result<Authorizer> {
    let configuration = &settings["JwtConfiguration"];
    Ok(Authorizer {
        issuer: configuration["issuer"]
            .as_str()
            .context("the local stack supports only JWT authorizers: JwtConfiguration needs an issuer")?
            .to_owned(),
        audience: list(&configuration["audience"])?,
        scopes: list(&settings["AuthorizationScopes"])?,
        identity_source: settings["IdentitySource"].as_str().unwrap_or("$request.header.Authorization").to_owned(),
    })
}

fn mapping(name: &str, settings: &Value) -> Result<Option<Mapping>> {
    if settings.get("Enabled").is_some_and(|enabled| !truth(enabled)) {
        return Ok(None);
    }
    Ok(Some(Mapping {
        name: name.to_owned(),
        queue_arn: settings["Queue"].as_str().context("Queue must be an ARN")?.to_owned(),
        batch_size: or(settings["BatchSize"].clone(), 10)?,
        window: Duration::from_secs(or(settings["MaximumBatchingWindowInSeconds"].clone(), 0)?),
        maximum_concurrency: or(settings["ScalingConfig"]["MaximumConcurrency"].clone(), None)?,
        report_batch_item_failures: list(&settings["FunctionResponseTypes"])?
            .iter()
            .any(|kind| kind == "ReportBatchItemFailures"),
        patterns: patterns(&settings["FilterCriteria"])?,
    }))
}

fn stream_mapping(name: &str, settings: &Value) -> Result<Option<StreamMapping>> {
    if settings.get("Enabled").is_some_and(|enabled| !truth(enabled)) {
        return Ok(None);
    }
    let destination = &settings["DestinationConfig"]["OnFailure"]["Destination"];
    let failed_topic = match destination.as_str() {
        None => None,
        Some(text) => Some(text.strip_prefix("kafka://").with_context(|| {
            format!("the local stack supports only a Kafka topic as on-failure destination, not {text}")
        })?),
    };
    // -1, the default, means without limit.
    let retries: i64 = or(settings["MaximumRetryAttempts"].clone(), -1)?;
    let topics = list(&settings["Topics"])?;
    ensure!(!topics.is_empty(), "Topics must name a topic");
    Ok(Some(StreamMapping {
        name: name.to_owned(),
        source_arn: settings["Stream"].as_str().map(str::to_owned),
        topics,
        batch_size: or(settings["BatchSize"].clone(), 100)?,
        from_latest: settings["StartingPosition"] == "LATEST",
        bisect: truth(&settings["BisectBatchOnFunctionError"]),
        maximum_retries: u32::try_from(retries).ok(),
        failed_topic: failed_topic.map(str::to_owned),
        report_batch_item_failures: list(&settings["FunctionResponseTypes"])?
            .iter()
            .any(|kind| kind == "ReportBatchItemFailures"),
    }))
}

fn shard_mapping(name: &str, settings: &Value) -> Result<Option<ShardMapping>> {
    if settings.get("Enabled").is_some_and(|enabled| !truth(enabled)) {
        return Ok(None);
    }
    ensure!(settings["TumblingWindowInSeconds"].is_null(), "the local stack has no tumbling windows");
    let parallel: usize = or(settings["ParallelizationFactor"].clone(), 1)?;
    ensure!(parallel == 1, "the local stack reads each shard with one batch at a time");
    // -1, the default, means without limit.
    let limit = |name: &str| -> Result<Option<u32>> {
        let limit: i64 = or(settings[name].clone(), -1)?;
        Ok(u32::try_from(limit).ok())
    };
    Ok(Some(ShardMapping {
        name: name.to_owned(),
        stream_arn: settings["Stream"].as_str().context("Stream must be an ARN")?.to_owned(),
        batch_size: or(settings["BatchSize"].clone(), 100)?,
        window: Duration::from_secs(or(settings["MaximumBatchingWindowInSeconds"].clone(), 0)?),
        from_latest: settings["StartingPosition"] == "LATEST",
        bisect: truth(&settings["BisectBatchOnFunctionError"]),
        maximum_retries: limit("MaximumRetryAttempts")?,
        maximum_age: limit("MaximumRecordAgeInSeconds")?.map(|seconds| Duration::from_secs(seconds.into())),
        failed_queue: failed_queue(&settings["DestinationConfig"])?,
        report_batch_item_failures: list(&settings["FunctionResponseTypes"])?
            .iter()
            .any(|kind| kind == "ReportBatchItemFailures"),
        patterns: patterns(&settings["FilterCriteria"])?,
    }))
}

/// Defaults: AWS, "PutFunctionEventInvokeConfig".
fn asynchronous(settings: &Value) -> Result<Asynchronous> {
    Ok(Asynchronous {
        maximum_retries: or(settings["MaximumRetryAttempts"].clone(), 2)?,
        failed_queue: failed_queue(&settings["DestinationConfig"])?,
    })
}

fn failed_queue(destinations: &Value) -> Result<Option<String>> {
    let arn = destinations["OnFailure"]["Destination"].as_str();
    arn.map(|arn| {
        ensure!(arn.contains(":sqs:"), "the local stack supports only a queue as on-failure destination, not {arn}");
        Ok(arn.to_owned())
    })
    .transpose()
}

fn schedule(function: &str, name: &str, kind: &str, settings: &Value) -> Result<Schedule> {
    let (kind, expression, enabled) = match kind {
        "Schedule" => (ScheduleKind::Rule, &settings["Schedule"], settings.get("Enabled").is_none_or(truth)),
        _ => (ScheduleKind::Scheduler, &settings["ScheduleExpression"], true),
    };
    let input =
        settings["Input"].as_str().map(|input| serde_json::from_str(input).context("Input is not JSON")).transpose()?;
    Ok(Schedule {
        name: settings["Name"].as_str().map_or_else(|| format!("{function}{name}"), str::to_owned),
        event: name.to_owned(),
        expression: expression.as_str().context("a schedule needs an expression")?.to_owned(),
        input,
        kind,
        enabled: enabled && settings["State"] != "DISABLED",
    })
}

fn subscription(function: &str, name: &str, settings: &Value) -> Result<LogSubscription> {
    Ok(LogSubscription {
        name: format!("{function}{name}"),
        log_group: settings["LogGroupName"].as_str().context("LogGroupName must be a text")?.to_owned(),
        pattern: FilterPattern::parse(settings["FilterPattern"].as_str().context("FilterPattern must be a text")?)?,
    })
}

fn patterns(criteria: &Value) -> Result<Vec<Value>> {
    let filters = criteria["Filters"].as_array().map(Vec::as_slice).unwrap_or_default();
    filters
        .iter()
        .map(|filter| {
            let pattern = filter["Pattern"].as_str().context("a filter needs a Pattern")?;
            serde_json::from_str(pattern).with_context(|| format!("the filter pattern {pattern} is not JSON"))
        })
        .collect()
}

fn environment(variables: &Value) -> Result<BTreeMap<String, String>> {
    members(variables)
        .map(|(name, value)| match value {
            Value::String(text) => Ok((name.clone(), text.clone())),
            Value::Bool(_) | Value::Number(_) => Ok((name.clone(), value.to_string())),
            Value::Null | Value::Array(_) | Value::Object(_) => {
                bail!("the variable {name} must be a string, not {value}")
            }
        })
        .collect()
}

/// Globals under the resource's own: maps merge, lists add up, anything else is replaced (SAM, "Globals").
pub(super) fn merged(globals: &Value, own: &Value) -> Value {
    match (globals, own) {
        (globals, Value::Null) => globals.clone(),
        (Value::Object(globals), Value::Object(own)) if !is_intrinsic(own) && !is_intrinsic(globals) => {
            let mut map = globals.clone();
            for (name, value) in own {
                map.insert(name.clone(), merged(globals.get(name).unwrap_or(&Value::Null), value));
            }
            Value::Object(map)
        }
        (Value::Array(globals), Value::Array(own)) => Value::Array(globals.iter().chain(own).cloned().collect()),
        (_, own) => own.clone(),
    }
}

fn is_intrinsic(map: &Map<String, Value>) -> bool {
    map.len() == 1 && map.keys().all(|name| name == "Ref" || name.starts_with("Fn::"))
}

/// A secret whose value is a text, or an object with one generated member.
pub(super) fn secret(id: &str, properties: &Value, resolver: &Resolver<'_>) -> Result<GeneratedSecret> {
    let generate = resolver.resolve(&properties["GenerateSecretString"])?;
    let key = generate["GenerateStringKey"].as_str().context("the local stack supports only GenerateSecretString")?;
    let template = generate["SecretStringTemplate"].as_str().unwrap_or("{}");
    Ok(GeneratedSecret {
        name: physical_name(id, &properties["Name"], resolver)?,
        template: serde_json::from_str(template).context("SecretStringTemplate must be a JSON object")?,
        key: key.to_owned(),
        length: or(generate["PasswordLength"].clone(), 32)?,
    })
}

/// The name it was given, or its logical id: names need not be unique over stacks here.
fn physical_name(id: &str, given: &Value, resolver: &Resolver<'_>) -> Result<String> {
    Ok(resolver.resolve(given)?.as_str().unwrap_or(id).to_owned())
}

fn queue_name(id: &str, properties: &Value, resolver: &Resolver<'_>) -> Result<String> {
    let fifo = truth(&resolver.resolve(&properties["FifoQueue"])?);
    let default = if fifo { format!("{id}.fifo") } else { id.to_owned() };
    physical_name(&default, &properties["QueueName"], resolver)
}

fn or<T: DeserializeOwned>(value: Value, default: T) -> Result<T> {
    match value {
        Value::Null => Ok(default),
        // Parameters are strings even where a property is a number.
        Value::String(text) => {
            serde_json::from_str(&text).with_context(|| format!("{text} is not what this property takes"))
        }
        value => {
            serde_json::from_value(value.clone()).with_context(|| format!("{value} is not what this property takes"))
        }
    }
}

fn list(value: &Value) -> Result<Vec<String>> {
    or(value.clone(), Vec::new())
}

fn truth(value: &Value) -> bool {
    *value == Value::Bool(true) || value.as_str() == Some("true")
}

fn number<'de, D: Deserializer<'de>>(deserializer: D) -> Result<u32, D::Error> {
    let value = Value::deserialize(deserializer)?;
    or(value, 0).map_err(D::Error::custom)
}
