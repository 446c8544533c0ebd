//! Callers of the API.

use std::time::{Duration, Instant};

use reqwest::{Method, RequestBuilder};
use serde_json::{Value, json};

use super::{Answer, Stack};
use crate::wait::{TIMEOUT, eventually};

/// The longest pause before a request is repeated. Clients must wait for `Retry-After`; tests may be faster.
const LONGEST_PAUSE: Duration = Duration::from_secs(1);

/// A caller with a token.
pub struct User<'a> {
    pub(super) stack: &'a Stack,
    pub(super) token: String,
}

impl User<'_> {
    /// The caller's token.
    pub fn token(&self) -> &str {
        &self.token
    }

    /// A request to the API.
    pub fn request(&self, method: Method, path: &str) -> RequestBuilder {
        self.stack.client.request(method, format!("{}{path}", self.stack.base())).bearer_auth(&self.token)
    }

    /// Sends a request to pay, or to refund, under a key.
    pub async fn post(&self, path: &str, key: &str, body: &Value) -> Answer {
        let request = self.request(Method::POST, path).header("idempotency-key", key).json(body);
        Answer::of(request.send().await.expect("answers")).await
    }

    /// Sends a request without a body under a key.
    pub async fn post_nothing(&self, path: &str, key: &str) -> Answer {
        let request = self.request(Method::POST, path).header("idempotency-key", key);
        Answer::of(request.send().await.expect("answers")).await
    }

    /// Makes a payment.
    pub async fn pay(&self, key: &str, body: &Value) -> Answer {
        self.post("/payments", key, body).await
    }

    /// Pays, and repeats the request until the answer is final.
    pub async fn pay_until_final(&self, key: &str, body: &Value) -> Answer {
        self.post_until_final("/payments", key, body).await
    }

    /// Makes a payment or a refund, and repeats the request until the answer is final.
    pub async fn post_until_final(&self, path: &str, key: &str, body: &Value) -> Answer {
        let started = Instant::now();
        loop {
            let answer = self.post(path, key, body).await;
            let retryable = answer.status >= 500 || answer.json()["retryable"] == json!(true);
            if !retryable {
                return answer;
            }
            assert!(started.elapsed() < TIMEOUT, "no final answer: {answer:?}\n{}", self.stack.log());
            let seconds = answer.header("retry-after").and_then(|text| text.parse().ok()).unwrap_or(1);
            tokio::time::sleep(Duration::from_secs(seconds).min(LONGEST_PAUSE)).await;
        }
    }

    /// Reads a resource.
    pub async fn get(&self, path: &str) -> Answer {
        Answer::of(self.request(Method::GET, path).send().await.expect("answers")).await
    }

    /// Waits until an account has this many entries in a currency. Returns its balance, whoever owns the account.
    pub async fn balance(&self, account: &str, currency: &str, entries: u64) -> i64 {
        let auditor = &self.stack.auditor().await;
        eventually(&format!("{account} has {entries} entries in {currency}"), || async {
            let account = auditor.get(&format!("/accounts/{account}")).await.json();
            let mut balances = account["balances"].as_array().cloned().unwrap_or_default().into_iter();
            let balance = balances.find(|balance| balance["currency"] == currency)?;
            if balance["entries"] == entries { balance["balance"].as_i64() } else { None }
        })
        .await
    }
}

/// A payment of 1,999 minor units in EUR.
pub fn payment(account: &str, payment_method: &str) -> Value {
    json!({ "account": account, "amount": 1999, "currency": "EUR", "payment_method": payment_method })
}
