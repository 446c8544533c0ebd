//! A network that loses, repeats and delays requests.

use std::sync::Arc;

use super::dice::Dice;
use crate::fault::{self, Fault, Reply};

/// Sends a request. `apply` executes it where it arrives.
pub(super) async fn send<T>(dice: &Arc<Dice>, apply: impl Fn() -> T + Send + Sync + 'static) -> Reply<T> {
    tokio::time::sleep(dice.below_ms(40)).await;
    let fault = Fault::OF_REQUESTS.into_iter().find(|fault| dice.strikes(*fault));
    let apply = Arc::new(apply);
    let later = || {
        let (apply, delay) = (Arc::clone(&apply), dice.below_ms(300_000));
        tokio::spawn(async move {
            tokio::time::sleep(delay).await;
            // Nobody waits for the result.
            drop(apply());
        });
    };
    let pause = async { tokio::time::sleep(dice.below_ms(1000)).await };
    fault::request(fault, || apply(), later, pause).await
}
