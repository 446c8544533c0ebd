//! Waiting for the answer of a running call, instead of turning its duplicate away.

use std::time::Duration;

use backon::{BackoffBuilder, ExponentialBuilder};

use super::{Engine, Error};
use crate::protocol::{ClaimRequest, Decision, EpochMs, Record, decide};
use crate::store::Store;
use crate::telemetry::metrics::Metric;

/// What came of waiting.
pub(super) enum Waited {
    /// Nobody runs any more: this is what is stored now.
    Over(Option<Box<Record>>),
    /// It still runs.
    InVain,
}

impl<S: Store> Engine<S> {
    /// Looks again and again until nobody runs under the record, at most until `until`.
    ///
    /// By reads, which cost a fraction of a refused claim.
    pub(super) async fn wait(&self, request: &ClaimRequest, until: EpochMs) -> Result<Waited, Error> {
        let started = self.now();
        let waited = self.look_until(request, until).await;
        self.took(Metric::WaitMs, &request.operation, started);
        waited
    }

    async fn look_until(&self, request: &ClaimRequest, until: EpochMs) -> Result<Waited, Error> {
        for pause in pauses() {
            let left = until.since(self.now());
            if left.is_zero() {
                break;
            }
            self.parts.clock.sleep(pause.min(left)).await;
            let found = self.parts.store.read(&request.id).await.map_err(Error::StoreUnavailable)?;
            match decide(found.as_ref(), request, self.now()) {
                Decision::InProgress(_) => {}
                Decision::Begin(_)
                | Decision::Acquired(_)
                | Decision::Mismatch
                | Decision::Replay(..)
                | Decision::Reconcile(_) => return Ok(Waited::Over(found.map(Box::new))),
            }
        }
        Ok(Waited::InVain)
    }

    /// Until when a call waits.
    pub(super) fn waits_until(&self, wait: Duration, deadline: EpochMs) -> EpochMs {
        self.now().plus(wait.min(self.longest_wait(deadline)))
    }

    /// How long a call can wait: not into the time in which it would have to record what it ran itself.
    pub(crate) fn longest_wait(&self, deadline: EpochMs) -> Duration {
        self.stop_at(deadline).since(self.now())
    }
}

/// Without end, growing, and with jitter: many duplicates of one call must not look at the same moments.
fn pauses() -> impl Iterator<Item = Duration> {
    ExponentialBuilder::default()
        .with_jitter()
        .with_factor(1.5)
        .with_min_delay(Duration::from_millis(50))
        .with_max_delay(Duration::from_millis(500))
        .without_max_times()
        .build()
}
