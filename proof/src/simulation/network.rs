//! A network that loses, repeats and delays requests.

use std::sync::Arc;

use super::random_source::RandomSource;
use crate::fault::{self, Fault, Reply};

/// Sends a request. `apply` executes it where it arrives.
pub(super) async fn send<T>(random: &Arc<RandomSource>, apply: impl Fn() -> T + Send + Sync + 'static) -> Reply<T> {
    tokio::time::sleep(random.below_ms(40)).await;
    let fault = Fault::OF_REQUESTS.into_iter().find(|fault| random.occurs(*fault));
    let apply = Arc::new(apply);
    let later = || {
        let (apply, delay) = (Arc::clone(&apply), random.below_ms(300_000));
        tokio::spawn(async move {
            tokio::time::sleep(delay).await;
            // Nobody waits for the result.
            drop(apply());
        });
    };
    let pause = async { tokio::time::sleep(random.below_ms(1000)).await };
    fault::request(fault, || apply(), later, pause).await
}
