//! The work that all subjects do.

pub mod floor;

use lambda_http::http::HeaderMap;
use serde::Deserialize;
use serde_json::json;

/// An order.
#[derive(Clone, Debug, Deserialize)]
pub struct Order {
    /// The amount; an order with an amount below zero is declined.
    pub amount: i64,
    /// Whether one more item is written.
    #[serde(default)]
    pub effect: bool,
    /// The minimum length of the answer.
    #[serde(default)]
    pub answer_bytes: usize,
    /// The idempotency key, for a message.
    #[serde(default)]
    pub key: String,
}

/// The number of messages of a batch that are handled at a time: all of them, as in Powertools for TypeScript.
pub const CONCURRENCY: usize = 100;

/// A status and a body.
pub type Reply = (u16, String);

impl Order {
    /// Executes the order, except for its effect.
    pub fn carry_out(&self) -> Reply {
        if self.amount < 0 {
            return (402, json!({ "error": "declined" }).to_string());
        }
        (201, self.answer())
    }

    fn answer(&self) -> String {
        let mut lines = Vec::new();
        let mut length = 0;
        // Numbers without a pattern between repeated names are about as compressible as business data.
        let mut number = 1_u64;
        while length + 40 < self.answer_bytes {
            number = number.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            let line = json!({ "item": format!("{:016x}", number), "price": number >> 44 });
            length += line.to_string().len() + 1;
            lines.push(line);
        }
        json!({ "id": "order-1", "amount": self.amount, "lines": lines }).to_string()
    }
}

/// Never returns if a header of the request demands it.
pub async fn hold(headers: &HeaderMap) {
    if headers.get("x-hold").is_some_and(|value| value == "true") {
        std::future::pending().await
    }
}

/// The value of an environment variable.
///
/// # Panics
/// When the variable is missing.
pub fn setting(name: &str) -> String {
    std::env::var(name).unwrap_or_else(|_| panic!("{name} is not set"))
}
