//! How long the parts of one call took, for its line in the log.
//!
//! A call is a future of its own, and its parts are deep below what writes the line: so they are collected where the
//! future runs, and not handed through everything in between.

use std::cell::Cell;
use std::time::Duration;

use crate::telemetry::metrics::Metric;

/// What a call spent on the store.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Timings {
    pub(crate) wait: Duration,
    pub(crate) claim: Duration,
    pub(crate) commit: Duration,
}

impl Timings {
    /// Of what commits without a claim.
    pub(crate) fn commit(commit: Duration) -> Self {
        Self { commit, ..Self::default() }
    }
}

tokio::task_local! {
    static OF_CALL: Cell<Timings>;
}

/// Runs a call, and says how long its parts took.
///
/// The call is boxed: it has 4 to 10 KB, and is otherwise held twice, and moved, by each of the futures around it.
pub(crate) fn timed<F: Future>(call: F) -> impl Future<Output = (F::Output, Timings)> {
    let call = Box::pin(call);
    OF_CALL.scope(Cell::default(), async move {
        let output = call.await;
        (output, OF_CALL.with(Cell::get))
    })
}

/// Adds to what the call took that runs now; nothing if nobody asked.
pub(super) fn add(metric: Metric, duration: Duration) {
    // An error means that there is no such call.
    let _ = OF_CALL.try_with(|timings| {
        let mut sum = timings.get();
        match metric {
            Metric::WaitMs => sum.wait += duration,
            Metric::ClaimMs => sum.claim += duration,
            Metric::CommitMs => sum.commit += duration,
            other => debug_assert!(false, "{} is no part of a call", other.name()),
        }
        timings.set(sum);
    });
}
