//! Time as a component, so that tests and simulations control it.

use std::sync::Arc;
use std::time::Duration;
#[cfg(feature = "system")]
use std::time::SystemTime;

use futures::future::{BoxFuture, Either, select};

use crate::protocol::EpochMs;

/// A clock and a timer.
///
/// Safety does not depend on it: a wrong clock causes waiting or an early takeover, never a second effect. The
/// exception is a predecessor with Powertools, whose claims show only their deadlines.
pub trait Clock: Send + Sync {
    /// The current time.
    fn now(&self) -> EpochMs;

    /// Completes after this duration.
    ///
    /// With the feature `system` the default is Tokio's timer; without it every clock must provide its own.
    #[cfg(feature = "system")]
    fn sleep(&self, duration: Duration) -> BoxFuture<'static, ()> {
        Box::pin(tokio::time::sleep(duration))
    }

    /// Completes after this duration.
    #[cfg(not(feature = "system"))]
    fn sleep(&self, duration: Duration) -> BoxFuture<'static, ()>;
}

impl<C: Clock + ?Sized> Clock for Arc<C> {
    fn now(&self) -> EpochMs {
        (**self).now()
    }

    fn sleep(&self, duration: Duration) -> BoxFuture<'static, ()> {
        (**self).sleep(duration)
    }
}

/// The clock of the operating system, with Tokio's timer.
#[cfg(feature = "system")]
#[derive(Clone, Copy, Debug, Default)]
pub struct SystemClock;

#[cfg(feature = "system")]
impl Clock for SystemClock {
    fn now(&self) -> EpochMs {
        SystemTime::now().into()
    }
}

/// A future did not complete within its time limit.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Elapsed;

/// Runs a future for at most `limit`, measured by the clock's timer. A future that is ready at the limit has completed.
pub(crate) async fn timeout<F: Future>(clock: &dyn Clock, limit: Duration, future: F) -> Result<F::Output, Elapsed> {
    match select(std::pin::pin!(future), clock.sleep(limit)).await {
        Either::Left((output, _)) => Ok(output),
        Either::Right(((), _)) => Err(Elapsed),
    }
}

#[cfg(test)]
#[cfg(feature = "system")]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn a_future_is_stopped_when_its_time_is_over() {
        let started = tokio::time::Instant::now();
        let stopped = timeout(&SystemClock, Duration::from_secs(3), std::future::pending::<()>()).await;
        assert_eq!((stopped, started.elapsed()), (Err(Elapsed), Duration::from_secs(3)));
    }

    #[tokio::test(start_paused = true)]
    async fn a_future_that_is_ready_at_its_limit_has_completed() {
        assert_eq!(timeout(&SystemClock, Duration::ZERO, std::future::ready(7)).await, Ok(7));
        let slow = async {
            tokio::time::sleep(Duration::from_secs(2)).await;
            7
        };
        assert_eq!(timeout(&SystemClock, Duration::from_secs(3), slow).await, Ok(7));
    }
}
