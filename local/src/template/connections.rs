//! What refers to another part of the template, and what its role must allow for it. CloudFormation fails where one of
//! these is missing, or the event source never delivers anything; here it is an error before anything is built.

use anyhow::{Context, Result, ensure};

use super::{
    contents::Template,
    deployment::Deployment,
    resources::{Authorization, Function, Mapping, Pipe, Route, ShardMapping},
    role::Role,
};

/// What a mapping of a queue needs (AWS, "Using Lambda with Amazon SQS").
const RECEIVE: [&str; 3] = ["sqs:ReceiveMessage", "sqs:DeleteMessage", "sqs:GetQueueAttributes"];

/// What reads a stream needs (AWS, "Using AWS Lambda with Amazon DynamoDB").
const READ_STREAM: [&str; 3] = ["dynamodb:DescribeStream", "dynamodb:GetRecords", "dynamodb:GetShardIterator"];

/// What reads a Kinesis stream needs (AWS, "Using Lambda to process records from Amazon Kinesis Data Streams").
const READ_SHARDS: [&str; 4] =
    ["kinesis:DescribeStreamSummary", "kinesis:GetRecords", "kinesis:GetShardIterator", "kinesis:ListShards"];

const SEND: [&str; 1] = ["sqs:SendMessage"];

pub(super) fn check(template: &Template, deployment: &Deployment) -> Result<()> {
    for (id, function) in &template.functions {
        of_function(template, function).with_context(|| format!("in resource {id}"))?;
    }
    for route in &template.api.routes {
        let within = || format!("in resource {}", route.function);
        of_route(template, route).with_context(|| format!("in event {}", route.event)).with_context(within)?;
    }
    for (id, pipe) in &template.pipes {
        of_pipe(template, pipe, deployment).with_context(|| format!("in resource {id}"))?;
    }
    for (id, queue) in &template.queues {
        if let Some(redrive) = &queue.redrive {
            expect_queue(template, &redrive.dead_letter_target_arn)
                .context("in deadLetterTargetArn")
                .with_context(|| format!("in resource {id}"))?;
        }
    }
    Ok(())
}

fn of_function(template: &Template, function: &Function) -> Result<()> {
    let role = function.role.as_ref();
    for mapping in &function.mappings {
        of_queue(template, role, mapping).with_context(|| format!("in event {}", mapping.name))?;
    }
    for mapping in &function.tables {
        let stream = expect_stream(template, &mapping.stream_arn);
        of_shards(template, role, stream, &READ_STREAM, mapping)?;
    }
    for mapping in &function.data_streams {
        let stream = expect_data_stream(template, &mapping.stream_arn);
        of_shards(template, role, stream, &READ_SHARDS, mapping)?;
    }
    if let Some(queue) = &function.asynchronous.failed_queue {
        expect_destination(template, role, queue).context("in Destination").context("in EventInvokeConfig")?;
    }
    Ok(())
}

fn of_queue(template: &Template, role: Option<&Role>, mapping: &Mapping) -> Result<()> {
    expect_queue(template, &mapping.queue_arn).context("in Queue")?;
    role.map_or(Ok(()), |role| role.expect(&RECEIVE, &mapping.queue_arn))
}

/// `stream` is whether there is one, and `read` what reads it.
fn of_shards(
    template: &Template,
    role: Option<&Role>,
    stream: Result<()>,
    read: &[&str],
    mapping: &ShardMapping,
) -> Result<()> {
    let check = || {
        stream.context("in Stream")?;
        role.map_or(Ok(()), |role| role.expect(read, &mapping.stream_arn))?;
        let Some(queue) = &mapping.failed_queue else { return Ok(()) };
        expect_destination(template, role, queue).context("in Destination")
    };
    check().with_context(|| format!("in event {}", mapping.name))
}

fn of_route(template: &Template, route: &Route) -> Result<()> {
    let authorizer = match &route.authorization {
        Authorization::Authorizer { name, .. } => Some(name),
        Authorization::Inherited => template.api.default_authorizer.as_ref(),
        Authorization::None => None,
    };
    let Some(name) = authorizer else { return Ok(()) };
    ensure!(template.api.authorizers.contains_key(name), "the API has no authorizer {name}");
    Ok(())
}

fn of_pipe(template: &Template, pipe: &Pipe, deployment: &Deployment) -> Result<()> {
    let role = pipe.role.as_ref();
    expect_stream(template, &pipe.source_arn).context("in Source")?;
    role.map_or(Ok(()), |role| role.expect(&READ_STREAM, &pipe.source_arn))?;
    if pipe.target_arn == deployment.default_event_bus() {
        return Ok(());
    }
    expect_destination(template, role, &pipe.target_arn).context("in Target")
}

fn expect_queue(template: &Template, arn: &str) -> Result<()> {
    ensure!(template.queue(arn).is_some(), "{arn} is not a queue of the template");
    Ok(())
}

/// A queue to which the role may send.
fn expect_destination(template: &Template, role: Option<&Role>, arn: &str) -> Result<()> {
    expect_queue(template, arn)?;
    role.map_or(Ok(()), |role| role.expect(&SEND, arn))
}

fn expect_stream(template: &Template, arn: &str) -> Result<()> {
    let table = template.table_of_stream(arn).with_context(|| format!("{arn} is not the stream of a table"))?;
    let has_stream = !table.definition["StreamSpecification"].is_null();
    ensure!(has_stream, "the table {} has no StreamSpecification", table.name);
    Ok(())
}

fn expect_data_stream(template: &Template, arn: &str) -> Result<()> {
    ensure!(template.data_stream(arn).is_some(), "{arn} is not a Kinesis stream of the template");
    Ok(())
}
