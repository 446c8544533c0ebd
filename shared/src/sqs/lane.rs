//! Lanes: the messages of a batch that run one after another, and those of them that share an outcome.

use std::collections::HashMap;

use aws_lambda_events::event::sqs::SqsMessage;

use super::contention::{Contention, ContentionOf};
use super::message::Message;
use crate::engine::{Call, Ready, Settlement};
use crate::protocol::{Fingerprint, RecordId, Trace};

/// A delivered message, with its position in the batch.
pub(super) struct Delivery<'e, T> {
    /// The index in the batch.
    pub(super) position: usize,
    pub(super) id: &'e str,
    pub(super) message: &'e SqsMessage,
    /// The trace in which it was sent.
    pub(super) trace: Option<Trace>,
    pub(super) ready: Ready<Message<'e, T>>,
}

impl<T> Delivery<'_, T> {
    fn call(&self) -> Option<&Call> {
        self.ready.as_ref().ok().map(|(call, _)| call)
    }
}

/// Messages that run one after another.
pub(super) struct Lane<'e, T> {
    pub(super) deliveries: Vec<Delivery<'e, T>>,
    /// Whether messages after a returned one must not run.
    pub(super) in_order: bool,
}

/// The lanes of a standard queue, which promises no order. Messages share a lane if they have the same key or contend
/// for the same thing, directly or through other messages.
pub(super) fn standard<'e, T>(deliveries: Vec<Delivery<'e, T>>, contention: &ContentionOf<T>) -> Vec<Lane<'e, T>> {
    let mut lanes: Vec<Vec<(u64, Delivery<'e, T>)>> = Vec::with_capacity(deliveries.len());
    let mut lane_of = HashMap::new();
    for delivery in deliveries {
        // A message that cannot run contends with none.
        let Contention { names, rank } =
            delivery.ready.as_ref().map_or_else(|_| Contention::none(), |(_, message)| contention.of(message));
        let key = delivery.call().map(|call| Shared::Key(call.record_id()));
        let shared: Vec<Shared> = names.into_iter().map(Shared::Name).chain(key).collect();
        let mut joined: Vec<usize> = shared.iter().filter_map(|name| lane_of.get(name).copied()).collect();
        joined.sort_unstable();
        joined.dedup();
        let lane = joined.first().copied().unwrap_or(lanes.len());
        if lane == lanes.len() {
            lanes.push(Vec::new());
        }
        for other in joined.into_iter().skip(1) {
            let moved = std::mem::take(&mut lanes[other]);
            lanes[lane].extend(moved);
            lane_of.values_mut().filter(|place| **place == other).for_each(|place| *place = lane);
        }
        lanes[lane].push((rank, delivery));
        lane_of.extend(shared.into_iter().map(|name| (name, lane)));
    }
    lanes.into_iter().filter(|lane| !lane.is_empty()).map(ranked).collect()
}

/// The reason why messages share a lane.
#[derive(PartialEq, Eq, Hash)]
enum Shared {
    Key(RecordId),
    Name(String),
}

fn ranked<T>(mut lane: Vec<(u64, Delivery<'_, T>)>) -> Lane<'_, T> {
    lane.sort_by_key(|(rank, delivery)| (*rank, delivery.position));
    Lane { deliveries: lane.into_iter().map(|(_, delivery)| delivery).collect(), in_order: false }
}

/// The outcomes of a lane's messages so far.
#[derive(Default)]
pub(super) struct Outcomes {
    calls: HashMap<RecordId, (Fingerprint, Settlement)>,
    /// The settlement of the first message that was returned.
    returned: Option<Settlement>,
}

impl Outcomes {
    /// The settlement of a message that need not run: in an ordered lane no message overtakes a returned one, and equal
    /// messages share the outcome of the first.
    pub(super) fn of<T>(&self, delivery: &Delivery<'_, T>, in_order: bool) -> Option<Settlement> {
        if in_order && self.returned.is_some() {
            return self.returned;
        }
        let call = delivery.call()?;
        let (fingerprint, settlement) = self.calls.get(&call.record_id())?;
        (*fingerprint == call.fingerprint).then_some(*settlement)
    }

    pub(super) fn add<T>(&mut self, delivery: &Delivery<'_, T>, settlement: Settlement) {
        if settlement.is_returned() && self.returned.is_none() {
            self.returned = Some(settlement);
        }
        if let Some(call) = delivery.call() {
            self.calls.entry(call.record_id()).or_insert((call.fingerprint, settlement));
        }
    }
}
