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
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}
