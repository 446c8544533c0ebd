//! The requests that arrived.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Instant;

use fault_proxy::{Fault, FaultPlan, Moment, Request};
use tokio::sync::watch;

use super::scenario::Scenario;

/// Notes the requests under each key, and chooses their faults.
#[derive(Clone, Default)]
pub(crate) struct Arrivals {
    tries: Arc<Mutex<HashMap<String, Vec<Instant>>>>,
    changed: watch::Sender<()>,
}

impl Arrivals {
    /// Waits until requests under so many keys of a scenario have arrived.
    pub(crate) async fn until(&self, scenario: Scenario, keys: usize) {
        let arrived = || self.locked().keys().filter(|key| scenario.is_of(key)).count();
        self.changed.subscribe().wait_for(|()| arrived() >= keys).await.expect("the sender lives");
    }

    pub(crate) fn tries(&self, key: &str) -> Vec<Instant> {
        self.locked().get(key).cloned().unwrap_or_default()
    }

    /// Notes a request; returns the number of those before it.
    fn note(&self, key: &str) -> usize {
        let before = {
            let mut tries = self.locked();
            let of_key = tries.entry(key.to_owned()).or_default();
            of_key.push(Instant::now());
            of_key.len() - 1
        };
        self.changed.send_replace(());
        before
    }

    fn locked(&self) -> MutexGuard<'_, HashMap<String, Vec<Instant>>> {
        self.tries.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl FaultPlan for Arrivals {
    fn fault_for(&mut self, request: &Request) -> Fault {
        let key = request.header("idempotency-key").unwrap_or_default();
        let before = self.note(key);
        let scenario = Scenario::ALL.into_iter().find(|scenario| scenario.is_of(key));
        scenario.and_then(|scenario| scenario.faults().get(before).copied()).unwrap_or(Fault::None)
    }

    fn kill(&mut self, _: Moment, _: i32) {}
}
