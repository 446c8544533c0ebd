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
    keys: watch::Sender<usize>,
}

impl Arrivals {
    /// Waits until requests under so many keys have arrived.
    pub(crate) async fn until(&self, keys: usize) {
        self.keys.subscribe().wait_for(|arrived| *arrived >= keys).await.expect("the sender lives");
    }

    pub(crate) fn tries(&self, key: &str) -> Vec<Instant> {
        self.locked().get(key).cloned().unwrap_or_default()
    }

    fn locked(&self) -> MutexGuard<'_, HashMap<String, Vec<Instant>>> {
        self.tries.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl FaultPlan for Arrivals {
    fn fault_for(&mut self, request: &Request) -> Fault {
        let key = request.header("idempotency-key").unwrap_or_default();
        let mut tries = self.locked();
        let of_key = tries.entry(key.to_owned()).or_default();
        let before = of_key.len();
        of_key.push(Instant::now());
        self.keys.send_replace(tries.len());
        let scenario = Scenario::ALL.into_iter().find(|scenario| key.ends_with(scenario.name()));
        scenario.and_then(|scenario| scenario.faults().get(before).copied()).unwrap_or(Fault::None)
    }

    fn kill(&mut self, _: Moment, _: i32) {}
}
