//! Orders, and the client that places them: it repeats with the same key until it has a final answer.

use std::{
    sync::atomic::{AtomicU64, AtomicUsize, Ordering},
    time::Duration,
};

use anyhow::Result;
use reqwest::{Client, StatusCode, header};
use serde_json::{Value, json};

/// How long the client waits for an answer.
const TIMEOUT: Duration = Duration::from_secs(10);

/// How often it asks at most.
const TRIES: usize = 30;

/// An order, with the fault that it meets.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Order {
    number: usize,
    /// The test card that misbehaves so, on the first request under an idempotency key.
    payment_method: &'static str,
    /// Whether the client sends it twice at the same time.
    doubled: bool,
}

/// How often requests were sent, and how many orders have a final answer.
#[derive(Debug, Default)]
pub(super) struct Tried {
    requests: AtomicU64,
    done: AtomicUsize,
}

/// Where orders are placed.
pub(super) struct Shop {
    client: Client,
    url: String,
    token: String,
    prefix: &'static str,
}

impl Order {
    /// How the references of the orders at the two begin.
    pub(super) const OURS: &'static str = "demo-ours-";
    pub(super) const NAIVE: &'static str = "demo-naive-";

    /// Orders of which two in five meet a fault, in a random order.
    pub(super) fn random(seed: u64, count: usize) -> Vec<Self> {
        let mut state = seed | 1;
        // xorshift64*: the orders only need to be mixed, and the same for the same seed.
        let mut random = move || {
            state ^= state >> 12;
            state ^= state << 25;
            state ^= state >> 27;
            state.wrapping_mul(0x2545_F491_4F6C_DD1D) >> 33
        };
        let orders = (0..count).map(|number| {
            let payment_method = match random() % 20 {
                0..3 => "pm_kill_after_charge",
                3..6 => "pm_timeout_after_charge",
                6 => "pm_kill_before_charge",
                7 => "pm_slow_700",
                _ => "pm_card_visa",
            };
            Self { number, payment_method, doubled: random().is_multiple_of(5) }
        });
        orders.collect()
    }
}

impl Tried {
    pub(super) fn counts(&self) -> (u64, usize) {
        (self.requests.load(Ordering::Relaxed), self.done.load(Ordering::Relaxed))
    }
}

impl Shop {
    /// The application, as somebody who may read all accounts.
    pub(super) async fn ours(url: String) -> Result<Self> {
        let client = Client::new();
        let token = client.get(format!("{url}/_local/token?sub=ann&role=accounts:read")).send().await?.text().await?;
        Ok(Self { client, url, token, prefix: Order::OURS })
    }

    pub(super) fn naive(url: String) -> Self {
        Self { client: Client::new(), url, token: String::new(), prefix: Order::NAIVE }
    }

    pub(super) async fn place(&self, order: &Order, tried: &Tried) {
        let answered = if order.doubled {
            let (one, other) = tokio::join!(self.until_final(order, tried), self.until_final(order, tried));
            one && other
        } else {
            self.until_final(order, tried).await
        };
        if answered {
            tried.done.fetch_add(1, Ordering::Relaxed);
        }
    }

    async fn until_final(&self, order: &Order, tried: &Tried) -> bool {
        for _ in 0..TRIES {
            tried.requests.fetch_add(1, Ordering::Relaxed);
            let pause = match self.send(order).await {
                Ok((status, _)) if is_final(status) => return true,
                Ok((_, pause)) => pause,
                Err(_) => Duration::from_millis(500),
            };
            tokio::time::sleep(pause).await;
        }
        false
    }

    async fn send(&self, order: &Order) -> reqwest::Result<(StatusCode, Duration)> {
        let reference = format!("{}{}", self.prefix, order.number);
        let body = json!({
            "account": reference, "amount": 1999, "currency": "EUR", "payment_method": order.payment_method,
            "reference": reference,
        });
        let request = self.client.post(format!("{}/payments", self.url)).bearer_auth(&self.token);
        let request = request.header("idempotency-key", &reference).timeout(TIMEOUT).json(&body);
        let response = request.send().await?;
        let pause = response.headers().get(header::RETRY_AFTER).and_then(|value| value.to_str().ok()?.parse().ok());
        Ok((response.status(), pause.map_or(Duration::from_millis(500), Duration::from_secs)))
    }

    /// How often the ledger has an order: each has an account of its own.
    pub(super) async fn entries(&self, number: usize) -> Result<usize> {
        let request =
            self.client.get(format!("{}/accounts/{}{number}", self.url, self.prefix)).bearer_auth(&self.token);
        let account: Value = request.send().await?.json().await?;
        let balances = account["balances"].as_array().into_iter().flatten();
        let entries = balances.map(|balance| balance["entries"].as_u64().unwrap_or_default());
        Ok(usize::try_from(entries.sum::<u64>())?)
    }
}

fn is_final(status: StatusCode) -> bool {
    let again = [StatusCode::CONFLICT, StatusCode::TOO_MANY_REQUESTS, StatusCode::REQUEST_TIMEOUT];
    !status.is_server_error() && !again.contains(&status)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn orders_are_the_same_for_the_same_seed_and_meet_faults() {
        let orders = Order::random(7, 120);
        assert_eq!(orders, Order::random(7, 120));
        assert_ne!(orders, Order::random(8, 120));
        let faults = orders.iter().filter(|order| order.payment_method != "pm_card_visa").count();
        assert!((20..80).contains(&faults), "{faults}");
        assert!(orders.iter().any(|order| order.doubled));
    }
}
