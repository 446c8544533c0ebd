//! Kafka: Amazon MSK and self-managed clusters.

use std::collections::HashMap;

use aws_lambda_events::event::kafka::{KafkaEvent, KafkaRecord};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde::Serialize;

use super::{InvalidPosition, Position, Record, Stream};
use crate::engine::{Attempt, Verdict};
use crate::protocol::{EpochMs, Trace};
use crate::store::watermarks::Watermarks;

/// Handles the records of Kafka topics. The mapping needs `FunctionResponseTypes: [ReportBatchItemFailures]`.
///
/// ```
/// use idempotency::store::memory::{Effect, MemoryStore};
/// use idempotency::stream::{Kafka, Stream};
/// use idempotency::{Engine, Operation, Verdict};
///
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
/// let store = MemoryStore::new();
/// let engine = Engine::builder(store.clone()).build();
/// let kafka = Kafka::new(Stream::new(engine.clone(), Operation::new("sales", "post"), "cluster-1"));
/// # let event: aws_lambda_events::event::kafka::KafkaEvent = serde_json::from_str(r#"{"records":{"sales-0":[
/// #     {"topic":"sales","partition":0,"offset":41,"timestamp":1,"value":"e30=","headers":[]}]}}"#)?;
/// # let deadline = engine.time().plus(std::time::Duration::from_secs(10));
/// for _ in 0..2 {
///     let response = kafka.handle(event.clone(), deadline, |attempt, _record| async move {
///         attempt.add_effect(Effect::named("posted"));
///         Verdict::Success(())
///     });
///     assert!(response.await?.batch_item_failures.is_empty());
/// }
/// assert_eq!(store.applied("posted"), 1);
/// # Ok(())
/// # }
/// ```
#[derive(Clone)]
pub struct Kafka<S>(Stream<S>);

/// Which partitions are to come again, and from where. A partition that is not named is done.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct KafkaBatchResponse {
    /// At most one for each partition.
    pub batch_item_failures: Vec<KafkaFailure>,
}

/// Where a partition is to come again from.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct KafkaFailure {
    /// Kafka's identifiers are objects, not texts as those of the other sources.
    pub item_identifier: KafkaPosition,
}

/// A partition and an offset: `{"partition":"topic-0","offset":42}`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct KafkaPosition {
    /// The topic and the partition's number, as the event names them.
    pub partition: String,
    /// The offset.
    pub offset: i64,
}

impl<S: Watermarks<Effect: Clone>> Kafka<S> {
    /// A handler.
    #[must_use]
    pub const fn new(stream: Stream<S>) -> Self {
        Self(stream)
    }

    /// Handles a batch, several partitions at a time, and reports where each is to come again from.
    ///
    /// # Errors
    /// [`InvalidPosition`] if a record has no offset that could be reported; Lambda then returns the whole batch.
    pub async fn handle<H, R>(
        &self,
        event: KafkaEvent,
        deadline: EpochMs,
        handler: H,
    ) -> Result<KafkaBatchResponse, InvalidPosition>
    where
        H: Fn(Attempt<S::Effect>, Record) -> R,
        R: Future<Output = Verdict<()>>,
    {
        let mut partitions: Vec<_> = event.records.into_iter().collect();
        partitions.sort_by(|(one, _), (other, _)| one.cmp(other));
        let partitions = partitions.into_iter().map(|(partition, records)| {
            records.into_iter().map(|record| read(&partition, record)).collect::<Result<Vec<_>, _>>()
        });
        let stopped = self.0.handle(partitions.collect::<Result<_, _>>()?, deadline, handler).await;
        let failures = stopped.into_iter().map(|(partition, position)| {
            let offset = position.to_string().parse().map_err(|_| InvalidPosition)?;
            Ok(KafkaFailure { item_identifier: KafkaPosition { partition, offset } })
        });
        Ok(KafkaBatchResponse { batch_item_failures: failures.collect::<Result<_, _>>()? })
    }
}

fn read(partition: &str, record: KafkaRecord) -> Result<Record, InvalidPosition> {
    let trace = trace(&record.headers);
    Ok(Record {
        partition: partition.to_owned(),
        position: Position::new(&record.offset.to_string())?,
        timestamp_ms: record.timestamp.timestamp_millis(),
        key: record.key.map(bytes),
        value: record.value.map(bytes),
        trace,
    })
}

/// Lambda sends keys and values in base64. Anything else is handed on as it is, for the handler to refuse.
fn bytes(text: String) -> Vec<u8> {
    STANDARD.decode(&text).unwrap_or_else(|_| text.into_bytes())
}

/// Lambda sends each header as an object with one member, its value as a list of signed bytes.
fn trace(headers: &[HashMap<String, Vec<i8>>]) -> Option<Trace> {
    let value = headers.iter().find_map(|header| header.get(Trace::NAME))?;
    let text = value.iter().map(|byte| byte.cast_unsigned()).collect();
    Trace::from_traceparent(&String::from_utf8(text).ok()?)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_header_is_read_by_its_name_and_nothing_else_is() {
        let parent = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";
        let header = |name: &str, value: &str| {
            HashMap::from([(name.to_owned(), value.bytes().map(u8::cast_signed).collect::<Vec<_>>())])
        };
        let headers = [header("b3", "0"), header("traceparent", parent)];
        assert_eq!(trace(&headers).map(|trace| trace.to_string()).as_deref(), Some(parent));
        assert_eq!(trace(&[header("traceparent", "é"), header("traceparent", parent)]), None);
        assert_eq!(trace(&[]), None);
    }
}
