//! Waiting for something that must happen.

use std::time::{Duration, Instant};

/// The time limit for an event that must happen, on a busy machine.
pub const TIMEOUT: Duration = Duration::from_secs(60);

/// Polls `look` until it returns a value.
///
/// # Panics
/// If there is no value in time.
pub async fn eventually<T, F: Future<Output = Option<T>>>(what: &str, look: impl Fn() -> F) -> T {
    let started = Instant::now();
    loop {
        if let Some(found) = look().await {
            return found;
        }
        assert!(started.elapsed() < TIMEOUT, "still not: {what}");
        pause(started).await;
    }
}

/// Pauses between two looks. The longer the wait has taken, the longer the pause: a look may start a function, and other
/// tests need the processors.
pub(crate) async fn pause(started: Instant) {
    const SHORTEST: Duration = Duration::from_millis(20);
    const LONGEST: Duration = Duration::from_millis(250);
    tokio::time::sleep((started.elapsed() / 8).clamp(SHORTEST, LONGEST)).await;
}
