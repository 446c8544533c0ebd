//! Rules that the application's template must keep, although CloudFormation accepts anything.

use std::collections::BTreeSet;
use std::path::Path;
use std::time::Duration;

use anyhow::{Context, Result};
use idempotency::sqs::LONGEST_RETENTION;
use serde_json::{Value, json};

use super::{Access, Deployment, Document, Function, LOCAL_SECRET, Queue, Template, expand, members, yaml};

/// Between the last moment at which a message may come and the expiration of its record.
const MARGIN: Duration = Duration::from_secs(60 * 60);

fn application() -> Result<Document> {
    Document::load(&Path::new(env!("CARGO_MANIFEST_DIR")).join("../template.yaml"))
}

/// The application with all of its parts.
fn deployment(chosen: &[(&str, &str)]) -> Deployment {
    let parameters = [
        ("Stage", "development"),
        ("JwtIssuer", "http://issuer"),
        ("ProviderUrl", "http://provider"),
        ("KafkaClusterArn", "arn:aws:kafka:us-east-1:000000000000:cluster/local/1"),
        ("ConsoleLogin", "Issuer"),
    ];
    let parameters = parameters.iter().chain(chosen);
    let parameters = parameters.map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
    Deployment { parameters, ..Deployment::default() }
}

fn problems(document: &Document, chosen: &[(&str, &str)]) -> Result<Vec<String>> {
    let deployment = deployment(chosen);
    let mut problems = of_document(document.value());
    let template = Template::of(document.value(), Path::new("/app"), &deployment)?;
    for (name, function) in &template.functions {
        for mapping in &function.mappings {
            let (queue_name, queue) = template.queue(&mapping.queue_arn).context("the queue is in the template")?;
            if !mapping.report_batch_item_failures {
                problems.push(format!("{name}: without ReportBatchItemFailures a failed message is deleted"));
            }
            if queue.fifo && queue.redrive.is_some() && mapping.batch_size > 1 {
                problems.push(format!("{queue_name}: a poison message would take those behind it to the dead letters"));
            }
            problems.extend(of_queue(queue_name, queue, function, &template));
        }
    }
    Ok(problems)
}

/// Problems in parts that the local stack does not read.
fn of_document(document: &Value) -> Vec<String> {
    let mut problems = Vec::new();
    for (name, resource) in members(&document["Resources"]) {
        for (event, settings) in members(&resource["Properties"]["Events"]) {
            if settings["Type"] == "HttpApi"
                && !ends_before_the_gateway(document, &resource["Properties"], &settings["Properties"])
            {
                problems.push(format!("{name}.{event}: the gateway would answer before the function does"));
            }
            if is_open(settings) && !is_limited(document, &resource["Properties"], &settings["Properties"]) {
                problems.push(format!("{name}.{event}: callers without a token can use up the limits of the others"));
            }
            if settings["Properties"]["ParallelizationFactor"].as_u64().is_some_and(|factor| factor > 1) {
                problems.push(format!("{name}.{event}: a watermark needs the records of a shard one after another"));
            }
        }
        let statements = resource["Properties"]["Policies"].as_array().into_iter().flatten();
        for statement in
            statements.flat_map(|policy| policy["PolicyDocument"]["Statement"].as_array().into_iter().flatten())
        {
            if list(&statement["Action"]).iter().any(|action| action.contains('*')) || statement["Resource"] == "*" {
                problems.push(format!("{name}: a role is wider than what the function does"));
            }
            if names_items(statement) && kinds(statement).is_empty() {
                problems.push(format!("{name}: a role reaches items of every kind"));
            }
        }
    }
    problems
}

/// Whether the route accepts requests without a token.
fn is_open(event: &Value) -> bool {
    event["Type"] == "HttpApi" && event["Properties"]["Auth"]["Authorizer"] == "NONE"
}

/// Whether an open route has a limit of its own at the gateway, and its function one of sandboxes.
fn is_limited(document: &Value, function: &Value, route: &Value) -> bool {
    let api = &document["Resources"][route["ApiId"]["Ref"].as_str().unwrap_or_default()]["Properties"];
    let key = [&route["Method"], &route["Path"]].map(|part| part.as_str().unwrap_or_default()).join(" ");
    // Those of a function that is there under a condition are there under the same.
    let settings = match &api["RouteSettings"]["Fn::If"] {
        Value::Array(choice) => choice.get(1).unwrap_or(&Value::Null),
        _ => &api["RouteSettings"],
    };
    let (own, others) = (&settings[key], &api["DefaultRouteSettings"]);
    let limits = ["ThrottlingRateLimit", "ThrottlingBurstLimit"];
    limits.iter().all(|limit| !own[limit].is_null() && !others[limit].is_null() && own[limit] != others[limit])
        && !function["ReservedConcurrentExecutions"].is_null()
}

/// Whether a statement allows what names items, which is all but scans and queries of an index.
fn names_items(statement: &Value) -> bool {
    list(&statement["Action"]).iter().any(|action| action.starts_with("dynamodb:") && *action != "dynamodb:Scan")
        && statement["Resource"]["Fn::GetAtt"][1] == "Arn"
}

/// The kinds of items that a statement is about; none if it would also hold for a request that names no item.
fn kinds(statement: &Value) -> Vec<&str> {
    let condition = &statement["Condition"];
    if condition["Null"]["dynamodb:LeadingKeys"] != "false" {
        return Vec::new();
    }
    list(&condition["ForAllValues:StringLike"]["dynamodb:LeadingKeys"])
}

/// The caller must get the function's answer, which is precise, and not the gateway's 503.
fn ends_before_the_gateway(document: &Value, function: &Value, route: &Value) -> bool {
    let gateway_ms = route["TimeoutInMillis"].as_u64().unwrap_or(GATEWAY_MS);
    highest(document, &function["Timeout"]).is_some_and(|timeout_s| timeout_s * 1000 < gateway_ms)
}

/// A number, or the highest that the parameter can have to which it refers.
fn highest(document: &Value, value: &Value) -> Option<u64> {
    let parameter = value["Ref"].as_str().map(|name| &document["Parameters"][name]["MaxValue"]);
    parameter.unwrap_or(value).as_u64()
}

/// The maximum and default integration timeout of an HTTP API (AWS, "Quotas for configuring and running an
/// HTTP API").
const GATEWAY_MS: u64 = 30_000;

fn of_queue(name: &str, queue: &Queue, function: &Function, template: &Template) -> Vec<String> {
    let mut problems = Vec::new();
    if queue.visibility < function.timeout * 6 {
        problems.push(format!("{name}: VisibilityTimeout is under six times the function's timeout"));
    }
    let dead_letters = queue.redrive.as_ref().and_then(|redrive| template.queue(&redrive.dead_letter_target_arn));
    let Some((_, dead_letters)) = dead_letters else {
        problems.push(format!("{name}: has no dead-letter queue"));
        return problems;
    };
    if queue.retention + dead_letters.retention + MARGIN > LONGEST_RETENTION {
        problems.push(format!("{name}: a message may come after its record has expired"));
    }
    problems
}

fn list(value: &Value) -> Vec<&str> {
    match value {
        Value::Array(items) => items.iter().filter_map(Value::as_str).collect(),
        one => one.as_str().into_iter().collect(),
    }
}

/// The permissions of a function's own role, as `action on resource`, with the kinds of items.
fn allowed(function: &str) -> Result<Vec<String>> {
    let document = application()?;
    let policies = document.value()["Resources"][format!("{function}Role")]["Properties"]["Policies"]
        .as_array()
        .cloned()
        .unwrap_or_default();
    let statements =
        policies.iter().flat_map(|policy| policy["PolicyDocument"]["Statement"].as_array().into_iter().flatten());
    let mut allowed: Vec<String> = statements
        .flat_map(|statement| {
            let resource = statement["Resource"]["Fn::GetAtt"][0].as_str().unwrap_or_default();
            let kinds = kinds(statement).iter().map(|kind| format!(" {kind}")).collect::<String>();
            list(&statement["Action"]).into_iter().map(move |action| format!("{action} on {resource}{kinds}"))
        })
        .collect();
    allowed.sort_unstable();
    Ok(allowed)
}

/// The parameters that a value refers to.
fn parameters_in(document: &Value, value: &Value) -> BTreeSet<String> {
    let is_parameter = |name: &&str| !document["Parameters"][name].is_null();
    match value {
        Value::Object(map) if map.contains_key("Ref") => {
            map["Ref"].as_str().filter(is_parameter).map(str::to_owned).into_iter().collect()
        }
        Value::Object(map) => map.values().flat_map(|value| parameters_in(document, value)).collect(),
        Value::Array(items) => items.iter().flat_map(|value| parameters_in(document, value)).collect(),
        Value::String(text) => {
            let names = text.split("${").skip(1).filter_map(|rest| Some(rest.split_once('}')?.0));
            names.filter(is_parameter).map(str::to_owned).collect()
        }
        Value::Null | Value::Bool(_) | Value::Number(_) => BTreeSet::new(),
    }
}

/// The most characters that the value of a parameter can have; `None`: without limit.
fn longest(declaration: &Value) -> Option<usize> {
    match (declaration["MaxLength"].as_u64(), &declaration["MaxValue"], declaration["AllowedValues"].as_array()) {
        (Some(length), ..) => length.try_into().ok(),
        (None, Value::Number(highest), _) => Some(highest.to_string().len()),
        (None, _, Some(values)) => values.iter().map(|value| value.as_str().map_or(0, str::len)).max(),
        (None, _, None) => None,
    }
}

/// What is wrong with the descriptions of the functions' versions. SAM publishes a version when properties of a
/// function change *as they are written*, and CloudFormation replaces a version when its description changes.
fn of_versions(document: &Value) -> Vec<String> {
    let mut problems = Vec::new();
    let functions = members(&document["Resources"]).filter(|(_, each)| each["Type"] == "AWS::Serverless::Function");
    let functions = functions.filter(|(_, each)| !each["Properties"]["AutoPublishAlias"].is_null());
    for (name, function) in functions {
        let (properties, globals) = (&function["Properties"], &document["Globals"]["Function"]);
        let read = [&globals["Environment"], &properties["Environment"], &properties["Timeout"]];
        let read: BTreeSet<String> = read.into_iter().flat_map(|value| parameters_in(document, value)).collect();
        let named = parameters_in(document, &properties["VersionDescription"]);
        for parameter in read.difference(&named) {
            problems.push(format!("{name}: a changed {parameter} reaches no version"));
        }
        for parameter in named.difference(&read) {
            problems.push(format!("{name}: a changed {parameter} publishes a version for nothing"));
        }
        let lengths: Option<Vec<usize>> =
            named.iter().map(|parameter| longest(&document["Parameters"][parameter])).collect();
        // With a space between two.
        if lengths.is_none_or(|lengths| lengths.iter().map(|length| length + 1).sum::<usize>() > DESCRIPTION + 1) {
            problems.push(format!("{name}: its description can have more than {DESCRIPTION} characters"));
        }
    }
    problems
}

/// The longest description of a version (AWS, "PublishVersion").
const DESCRIPTION: usize = 256;

#[test]
fn a_changed_parameter_of_a_function_publishes_a_version() -> Result<()> {
    assert_eq!(of_versions(application()?.value()), [""; 0]);
    let description = "/Resources/Reconciler/Properties/VersionDescription";
    for (pointer, value, expected) in [
        (description, json!("${ScanIntervalSeconds}"), "Reconciler: a changed ProviderUrl reaches no version"),
        (description, Value::Null, "Reconciler: a changed ScanIntervalSeconds reaches no version"),
        ("/Resources/LedgerWorker/Properties/VersionDescription", json!("${JwtIssuer}"), "a version for nothing"),
        ("/Resources/PaymentsApi/Properties/Environment/Variables/NEW", json!({ "Ref": "RunbookUrl" }), "RunbookUrl"),
        (
            "/Globals/Function/Environment/Variables/NEW",
            json!({ "Fn::Sub": "x${Stage}" }),
            "Reconciler: a changed Stage",
        ),
        ("/Parameters/AccountsClaim/MaxLength", json!(300), "PaymentsApi: its description can have more than 256"),
        ("/Parameters/TopicGeneration/MaxLength", Value::Null, "TerminalStream: its description can have"),
    ] {
        let mut changed = application()?;
        changed.set(pointer, value)?;
        let problems = of_versions(changed.value()).join("; ");
        assert!(problems.contains(expected), "{pointer}: {problems}");
    }
    Ok(())
}

#[test]
fn retention_visibility_and_partial_batches_fit_together() -> Result<()> {
    assert_eq!(problems(&application()?, &[])?, [""; 0]);
    Ok(())
}

#[test]
fn what_does_not_fit_together_is_found() -> Result<()> {
    const CONSOLE: &str = "/Resources/Api/Properties/RouteSettings/Fn::If/1/ANY ~1console";
    const LEADING_KEYS: &str = "dynamodb:LeadingKeys";
    for (pointer, value, expected) in [
        (
            "/Resources/LedgerWorker/Properties/Events/Ledger/Properties/FunctionResponseTypes",
            json!([]),
            "without ReportBatchItemFailures",
        ),
        ("/Resources/LedgerQueue/Properties/MessageRetentionPeriod", json!(1_296_000), "after its record has expired"),
        ("/Resources/LedgerQueue/Properties/FifoQueue", json!(true), "take those behind it"),
        (CONSOLE, Value::Null, "Console.Home: callers without a token"),
        (
            "/Resources/Api/Properties/RouteSettings/Fn::If/1/ANY ~1console~1{proxy+}/ThrottlingRateLimit",
            json!({ "Ref": "RequestsPerSecond" }),
            "Console.Pages: callers",
        ),
        (
            "/Resources/Api/Properties/DefaultRouteSettings/ThrottlingBurstLimit",
            Value::Null,
            "Console.Home: callers without a token",
        ),
        (
            "/Resources/Console/Properties/ReservedConcurrentExecutions",
            Value::Null,
            "Console.Home: callers without a token",
        ),
        ("/Parameters/ApiTimeoutSeconds/MaxValue", json!(30), "PaymentsApi.CreatePayment: the gateway would answer"),
        ("/Resources/PaymentsApi/Properties/Timeout", Value::Null, "PaymentsApi.CreatePayment: the gateway would"),
    ] {
        let mut changed = application()?;
        changed.set(pointer, value)?;
        let problems = problems(&changed, &[])?.join("; ");
        assert!(problems.contains(expected), "{pointer}: {problems}");
    }
    for (role, sid, member, value, expected) in [
        ("LedgerWorkerRole", "Visibility", "Action", json!("sqs:*"), "wider than"),
        ("PaymentsApiRole", "Records", "Condition", Value::Null, "PaymentsApiRole: a role reaches items of every kind"),
        (
            "LedgerWorkerRole",
            "Records",
            "Condition",
            json!({ "Null": { LEADING_KEYS: "false" }, "ForAllValues:StringEquals": { LEADING_KEYS: ["idempotency:*"] } }),
            "LedgerWorkerRole: a role reaches items of every kind",
        ),
        (
            "LedgerWorkerRole",
            "Records",
            "Condition",
            json!({ "ForAllValues:StringLike": { LEADING_KEYS: ["idempotency:*"] } }),
            "LedgerWorkerRole: a role reaches items of every kind",
        ),
    ] {
        let mut changed = application()?;
        changed.statement(role, sid)?[member] = value;
        let problems = problems(&changed, &[])?.join("; ");
        assert!(problems.contains(expected), "{role} {sid}: {problems}");
    }
    let problems = problems(&application()?, &[("LedgerVisibilitySeconds", "59")])?.join("; ");
    assert!(problems.contains("LedgerQueue: VisibilityTimeout"), "{problems}");
    Ok(())
}

#[test]
fn parts_of_a_shard_at_the_same_time_are_found() -> Result<()> {
    let event = |factor: u32| {
        format!(
            "Resources: {{ Stream: {{ Properties: {{ Events: {{ Records: {{ Type: Kinesis, \
             Properties: {{ ParallelizationFactor: {factor} }} }} }} }} }} }}"
        )
    };
    assert_eq!(of_document(&yaml::parse(&event(1))?), [""; 0]);
    assert!(of_document(&yaml::parse(&event(2))?)[0].starts_with("Stream.Records: a watermark needs"));
    Ok(())
}

#[test]
fn the_roles_of_worker_and_stream_allow_what_they_do_and_no_more() -> Result<()> {
    assert_eq!(
        allowed("LedgerWorker")?,
        [
            "dynamodb:GetItem on Records idempotency:*",
            "dynamodb:PutItem on Payments account#*",
            "dynamodb:PutItem on Records idempotency:*",
            "dynamodb:UpdateItem on Payments account#*",
            "dynamodb:UpdateItem on Payments terminal#*",
            "logs:CreateLogStream on LedgerWorkerLogs",
            "logs:PutLogEvents on LedgerWorkerLogs",
            "sqs:ChangeMessageVisibility on LedgerQueue",
            "sqs:DeleteMessage on LedgerQueue",
            "sqs:GetQueueAttributes on LedgerQueue",
            "sqs:ReceiveMessage on LedgerQueue",
        ]
    );
    assert_eq!(
        allowed("TerminalStream")?,
        [
            "dynamodb:GetItem on Records idempotency:warm",
            "dynamodb:GetItem on Records watermark#*",
            "dynamodb:PutItem on Payments account#*",
            "dynamodb:PutItem on Records watermark#*",
            "dynamodb:UpdateItem on Payments account#*",
            "dynamodb:UpdateItem on Payments terminal#*",
            "logs:CreateLogStream on TerminalStreamLogs",
            "logs:PutLogEvents on TerminalStreamLogs",
        ]
    );
    Ok(())
}

#[test]
fn who_faces_callers_cannot_write_the_ledger() -> Result<()> {
    for (function, kinds) in [
        ("PaymentsApi", &["audit", "owner#*", "payment#*"][..]),
        ("Console", &["approvals", "audit", "payment#*", "preview#*"]),
    ] {
        let allowed = allowed(function)?;
        let mut written: Vec<&str> = allowed
            .iter()
            .filter_map(|action| {
                let written = action.strip_prefix("dynamodb:PutItem").or(action.strip_prefix("dynamodb:UpdateItem"))?;
                written.strip_prefix(" on Payments ")
            })
            .collect();
        written.sort_unstable();
        written.dedup();
        assert_eq!(written, kinds, "{function}");
    }
    Ok(())
}

#[test]
fn each_function_reads_the_secrets_that_it_needs_and_has_none_in_its_environment() -> Result<()> {
    const SECRETS: [&str; 4] = ["payments/provider", "local/console", "console-client", "another"];
    let deployment = deployment(&[("ConsoleClientSecretName", "console-client")]);
    let template = Template::of(application()?.value(), Path::new("/app"), &deployment)?;
    let mut read = Vec::new();
    for (name, function) in &template.functions {
        let role = function.role.as_ref().context("a role of its own")?;
        let reads = |secret: &str| {
            role.allows(&Access {
                action: "secretsmanager:GetSecretValue".to_owned(),
                resource: deployment.arn("secretsmanager", &format!("secret:{secret}-AbCdEf")),
                leading_keys: None,
            })
        };
        read.extend(SECRETS.into_iter().filter(|secret| reads(secret)).map(|secret| format!("{name}: {secret}")));
        for (variable, value) in &function.environment {
            assert!(!value.contains(LOCAL_SECRET), "{name} has a secret in {variable}");
        }
    }
    assert_eq!(
        read,
        [
            "Console: payments/provider",
            "Console: local/console",
            "Console: console-client",
            "PaymentsApi: payments/provider",
            "Reconciler: payments/provider",
        ]
    );
    Ok(())
}

#[test]
fn the_console_and_its_operators_are_there_as_console_login_chooses() -> Result<()> {
    let text = std::fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("../template.yaml"))?;
    for (login, expected) in
        [("None", [false, false, false]), ("Issuer", [true, true, false]), ("Cognito", [true, true, true])]
    {
        let resources = expand(&text, &deployment(&[("ConsoleLogin", login)]))?;
        let there = ["Console", "ConsoleSecret", "OperatorsClient"].map(|name| resources.contains_key(name));
        assert_eq!(there, expected, "{login}");
    }
    let resources = expand(&text, &deployment(&[("ConsoleLogin", "Cognito")]))?;
    let environment = &resources["Console"]["Properties"]["Environment"]["Variables"];
    assert_eq!(environment["SIGN_IN_ISSUER"], "https://cognito-idp.us-east-1.amazonaws.com/Operators");
    assert_eq!(environment["SIGN_IN_ROLE_CLAIM"], "cognito:groups");
    // Only a name: with the client itself, or the secret, function, API and client would need each other.
    assert_eq!(environment["SIGN_IN_SECRET"], "local/console");
    Ok(())
}
