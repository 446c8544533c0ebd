//! Events as AWS sends them, for tests of your function (feature `test-util`).
//!
//! Each builder returns an event as JSON (`to_json`) and as the type that this library handles (`request` or `batch`).
//!
#![cfg_attr(all(feature = "http", feature = "sqs"), doc = "```")]
#![cfg_attr(not(all(feature = "http", feature = "sqs")), doc = "```ignore")]
//! use idempotency::events::{HttpEvent, SqsEvent};
//! use serde_json::json;
//!
//! let event = HttpEvent::http_api("POST", "/orders").jwt_subject("alice").key("k-1").json(&json!({"item": "tea"}));
//! let request = event.request()?;
//! assert_eq!(request.uri().path(), "/orders");
//!
//! let batch = SqsEvent::new("orders.fifo").message("{}").in_group("ann", "d-1").message("{}").in_group("bob", "d-2");
//! let batch = batch.batch()?; // for `Queue::handle`
//! # let _ = batch;
//! # Ok::<_, serde_json::Error>(())
//! ```

#[cfg(feature = "http")]
mod http;
#[cfg(feature = "streams")]
mod kafka;
#[cfg(feature = "streams")]
mod kinesis;
#[cfg(feature = "sqs")]
mod sqs;
#[cfg(feature = "streams")]
mod table;

#[cfg(feature = "http")]
pub use self::http::HttpEvent;
#[cfg(feature = "streams")]
pub use kafka::KafkaEvent;
#[cfg(feature = "streams")]
pub use kinesis::KinesisEvent;
#[cfg(feature = "sqs")]
pub use sqs::SqsEvent;
#[cfg(feature = "streams")]
pub use table::TableEvent;

/// The Region of all events.
#[cfg(any(feature = "alb", feature = "sqs", feature = "streams", feature = "vpc_lattice"))]
const REGION: &str = "eu-central-1";

#[cfg(any(feature = "alb", feature = "sqs", feature = "streams", feature = "vpc_lattice"))]
fn arn(service: &str, resource: &str) -> String {
    format!("arn:aws:{service}:{REGION}:123456789012:{resource}")
}
