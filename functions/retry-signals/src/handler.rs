//! Distinguishes the two events: a delivery of log lines is counted, a scheduled event scores.

use idempotency::{DynamoDbStore, Engine};
use lambda_runtime::Error;
use payments::Invocation;
use serde_json::Value;

use crate::count::Counter;
use crate::delivery::Delivery;
use crate::score::Scorer;

/// Handles the function's events.
#[derive(Debug)]
pub struct Handler {
    engine: Engine<DynamoDbStore>,
    counter: Counter,
    scorer: Scorer,
}

impl Handler {
    /// Creates the handler.
    #[must_use]
    pub const fn new(engine: Engine<DynamoDbStore>, counter: Counter, scorer: Scorer) -> Self {
        Self { engine, counter, scorer }
    }

    /// Counts a delivery, or scores the windows that are due. Returns a report.
    ///
    /// # Errors
    /// If the table does not answer. A repetition is safe: what was done is recognised.
    pub async fn handle(&self, event: &Value, invocation: Invocation) -> Result<Value, Error> {
        let report = match event.get("awslogs") {
            // Boxed: the futures are large and deep.
            Some(logs) => Box::pin(self.count(logs)).await,
            None => Box::pin(self.scorer.run(invocation)).await.and_then(|report| Ok(serde_json::to_value(report)?)),
        };
        // Metrics are written even for a failed invocation, because some of it may have been counted.
        self.engine.flush();
        report
    }

    async fn count(&self, logs: &Value) -> Result<Value, Error> {
        let delivery = match Delivery::read(logs) {
            Ok(delivery) => delivery,
            Err(error) => {
                // The delivery is dropped, because it would be unreadable the next time, too.
                metrics::counter!("SignalRefused").increment(1);
                tracing::error!(error = &error as &dyn std::error::Error, "a delivery of log lines cannot be read");
                return Ok(serde_json::json!({ "refused": "unreadable" }));
            }
        };
        Ok(serde_json::to_value(self.counter.count(&delivery, self.engine.now()).await?)?)
    }
}
