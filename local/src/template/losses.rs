//! Settings of an event source mapping that Lambda accepts, and that silently lose messages. The local stack behaves as
//! Lambda does, and warns when it starts.

use super::{
    contents::Template,
    resources::{Function, Mapping, Pipe, ShardMapping, StreamMapping},
};

/// A sentence for each.
pub(super) fn of(template: &Template) -> Vec<String> {
    let of_function = |(id, function): (&String, &Function)| {
        let queues = function.mappings.iter().flat_map(|mapping| of_queue(id, mapping, template));
        let streams = function.streams.iter().flat_map(|mapping| of_stream(id, mapping));
        let shards = function.tables.iter().chain(&function.data_streams).flat_map(|mapping| of_shard(id, mapping));
        queues.chain(streams).chain(shards).collect::<Vec<_>>()
    };
    let pipes = template.pipes.iter().flat_map(|(id, pipe)| of_pipe(id, pipe));
    template.functions.iter().flat_map(of_function).chain(pipes).collect()
}

fn of_queue(function: &str, mapping: &Mapping, template: &Template) -> Vec<String> {
    let event = format!("{function}.{}", mapping.name);
    let mut losses = Vec::new();
    if !mapping.report_batch_item_failures {
        losses.push(format!(
            "{event}: without {REPORT} a message that the function reports as failed is deleted with its batch"
        ));
    }
    if let Some((queue, settings)) = template.queue(&mapping.queue_arn)
        && settings.redrive.is_none()
    {
        losses.push(format!(
            "{event}: without a RedrivePolicy of {queue} a message that fails each time comes again until its \
             retention is over, and is lost then"
        ));
    }
    losses
}

fn of_stream(function: &str, mapping: &StreamMapping) -> Vec<String> {
    let gives_up = mapping.maximum_retries.is_some() || mapping.failed_topic.is_some();
    let event = format!("{function}.{}", mapping.name);
    of_records(&event, mapping.report_batch_item_failures, gives_up, mapping.failed_topic.is_some(), mapping.bisect)
}

fn of_shard(function: &str, mapping: &ShardMapping) -> Vec<String> {
    let gives_up = mapping.maximum_retries.is_some() || mapping.maximum_age.is_some();
    let event = format!("{function}.{}", mapping.name);
    of_records(&event, mapping.report_batch_item_failures, gives_up, mapping.failed_queue.is_some(), mapping.bisect)
}

fn of_records(event: &str, reports: bool, gives_up: bool, has_destination: bool, bisects: bool) -> Vec<String> {
    let mut losses = Vec::new();
    if !reports {
        losses.push(format!("{event}: without {REPORT} a record that the function reports as failed is passed over"));
    }
    if gives_up && !has_destination {
        losses.push(format!("{event}: without an OnFailure destination what is given up after its retries is lost"));
    }
    if gives_up && !bisects {
        losses.push(format!(
            "{event}: without BisectBatchOnFunctionError a record that is given up takes those behind it in its batch \
             along"
        ));
    }
    losses
}

fn of_pipe(id: &str, pipe: &Pipe) -> Option<String> {
    let gives_up = pipe.maximum_retries.is_some() || pipe.maximum_age.is_some();
    gives_up.then(|| {
        format!("{id}: what is given up after its retries is lost; the local stack has no DeadLetterConfig of a pipe")
    })
}

/// The setting by which the function's report counts.
pub(crate) const REPORT: &str = "FunctionResponseTypes: [ReportBatchItemFailures]";
