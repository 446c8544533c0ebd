//! FIFO queues: a lane for each message group.
//!
//! SQS keeps a group's later messages back while an earlier one is in flight, and gives a batch its messages in order.
//! What is left to us is not to run one after an earlier one was returned (AWS, "Handling errors for an SQS event
//! source": stop at the first failure and return all that follow). That holds within a group; others may go on, since
//! each message is returned or deleted by itself.

use std::collections::HashMap;

use super::lane::{Delivery, Lane};

/// A lane per message group, in the order of the batch. Messages without a group, which a FIFO queue does not have, are
/// one group: nothing is lost if the mapping is of a standard queue.
pub(super) fn groups(deliveries: Vec<Delivery>) -> Vec<Lane> {
    let mut lanes: Vec<Lane> = Vec::new();
    let mut lane_of: HashMap<Option<String>, usize> = HashMap::new();
    for delivery in deliveries {
        let group = delivery.message.attributes.get("MessageGroupId").cloned();
        let lane = *lane_of.entry(group).or_insert_with(|| {
            lanes.push(Lane { deliveries: Vec::new(), in_order: true });
            lanes.len() - 1
        });
        lanes[lane].deliveries.push(delivery);
    }
    lanes
}
