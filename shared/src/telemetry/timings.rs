//! The durations of the parts of one call, for its line in the request log.
//!
//! A call is one future, and its parts are measured deep below the code that writes the line. The durations are
//! therefore collected while the future is polled, instead of being passed through every function in between.

use std::cell::Cell;
use std::future::poll_fn;
use std::time::Duration;

use crate::telemetry::metrics::Metric;

/// The time that a call spent on the store.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Timings {
    pub(crate) wait: Duration,
    pub(crate) claim: Duration,
    pub(crate) commit: Duration,
}

impl Timings {
    /// The timings of a commit without a claim.
    pub(crate) fn commit(commit: Duration) -> Self {
        Self { commit, ..Self::default() }
    }
}

thread_local! {
    /// The timings of the call that this thread is polling.
    static OF_CALL: Cell<Option<Timings>> = const { Cell::new(None) };
}

/// Runs a call, and returns how long its parts took.
///
/// The call is boxed: it has 4 to 10 KB, and each of the futures around it would otherwise hold it twice and move it.
pub(crate) fn timed<F: Future>(call: F) -> impl Future<Output = (F::Output, Timings)> {
    let mut call = Box::pin(call);
    let mut own = Timings::default();
    poll_fn(move |context| {
        let outer = Outer(OF_CALL.replace(Some(own)));
        let polled = call.as_mut().poll(context);
        own = OF_CALL.get().unwrap_or(own);
        drop(outer);
        polled.map(|output| (output, own))
    })
}

/// The timings of an outer call, which are restored when the inner call has been polled or has panicked.
struct Outer(Option<Timings>);

impl Drop for Outer {
    fn drop(&mut self) {
        OF_CALL.set(self.0);
    }
}

/// Adds to the timings of the call that is being polled; outside a [`timed`] call it does nothing.
pub(crate) fn add(metric: Metric, duration: Duration) {
    let Some(mut timings) = OF_CALL.get() else { return };
    match metric {
        Metric::WaitMs => timings.wait += duration,
        Metric::ClaimMs => timings.claim += duration,
        Metric::CommitMs => timings.commit += duration,
        other => debug_assert!(false, "{} is not part of a call", other.name()),
    }
    OF_CALL.set(Some(timings));
}
