//! FIFO queues: a lane for each message group.
//!
//! SQS keeps a group's later messages back while an earlier one is in flight, and delivers the messages of a batch in
//! order. The function must not run a message after an earlier one was returned (AWS, "Handling errors for an SQS event
//! source": stop at the first failure and return all that follow). That applies within a group; other groups may
//! continue, since each message is returned or deleted separately.

use std::collections::HashMap;

use aws_lambda_events::event::sqs::SqsMessage;

use super::lane::{Delivery, Lane};

/// The handling of the rest of a FIFO queue's message group after one of its messages is returned.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum InGroup {
    /// It is returned without running, so that the group stays in order. Other groups continue.
    #[default]
    ReturnRest,
    /// It runs. Choose this for groups that only prevent concurrent runs and whose order does not matter: SQS still
    /// delivers a returned message before later ones, but the rest of its batch has already run.
    GoOn,
}

/// Whether the queue's name ends with `.fifo`, as the name of every FIFO queue and of no other does (AWS,
/// "CreateQueue").
pub(super) fn is_from_fifo(message: &SqsMessage) -> bool {
    message.event_source_arn.as_deref().is_some_and(|arn| arn.ends_with(".fifo"))
}

/// One lane per message group, in the order of the batch.
pub(super) fn groups<T>(deliveries: Vec<Delivery<'_, T>>, in_group: InGroup) -> Vec<Lane<'_, T>> {
    let in_order = in_group == InGroup::ReturnRest;
    let mut lanes: Vec<Lane<'_, T>> = Vec::new();
    let mut lane_of: HashMap<Option<&String>, usize> = HashMap::new();
    for delivery in deliveries {
        let group = delivery.message.attributes.get("MessageGroupId");
        let lane = *lane_of.entry(group).or_insert_with(|| {
            lanes.push(Lane { deliveries: Vec::new(), in_order });
            lanes.len() - 1
        });
        lanes[lane].deliveries.push(delivery);
    }
    lanes
}
