//! A process that may die or freeze wherever it waits.

use std::future::poll_fn;
use std::pin::pin;
use std::task::Poll;
use std::time::Duration;

use super::random_source::RandomSource;
use crate::fault::Fault;

/// The longest freeze of a process: many leases.
const FREEZE_MS: u64 = 120_000;

/// Runs a future as a process does; `None` if the process died.
pub(super) async fn process<F: Future>(random: &RandomSource, future: F) -> Option<F::Output> {
    let mut future = pin!(future);
    let mut frozen = pin!(None::<tokio::time::Sleep>);
    poll_fn(move |context| {
        if frozen.is_none() && random.occurs(Fault::Freeze) {
            let freeze = random.below_ms(FREEZE_MS) + Duration::from_millis(1);
            frozen.set(Some(tokio::time::sleep(freeze)));
        }
        if let Some(freeze) = frozen.as_mut().as_pin_mut() {
            // A frozen process does not react to anything.
            std::task::ready!(freeze.poll(context));
            frozen.set(None);
        }
        if random.occurs(Fault::Crash) {
            return Poll::Ready(None);
        }
        future.as_mut().poll(context).map(Some)
    })
    .await
}
