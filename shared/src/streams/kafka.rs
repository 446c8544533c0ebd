//! Kafka: Amazon MSK and self-managed clusters.

use std::collections::HashMap;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use derive_where::derive_where;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::{Delivered, InvalidPosition, Position, Record, Stream};
use crate::engine::{Attempt, IntoVerdict};
use crate::envelope;
use crate::protocol::{EpochMs, Trace};
use crate::store::Store;
use crate::store::watermarks::Watermarks;

/// Handles the records of Kafka topics. The mapping needs `FunctionResponseTypes: [ReportBatchItemFailures]`.
///
/// ```
/// use idempotency::store::memory::{Effect, MemoryStore};
/// use idempotency::streams::{Kafka, KafkaBatch, Stream};
/// use idempotency::{Engine, Operation, Verdict};
///
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
/// let store = MemoryStore::new();
/// let engine = Engine::builder(store.clone()).build();
/// let kafka = Kafka::new(Stream::new(engine.clone(), Operation::new("sales", "post"), "cluster-1"));
/// # let event: KafkaBatch = serde_json::from_str(r#"{"records":{"sales-0":[
/// #     {"topic":"sales","partition":0,"offset":41,"timestamp":1,"value":"e30=","headers":[]}]}}"#)?;
/// # let deadline = engine.now().plus(std::time::Duration::from_secs(10));
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
#[derive_where(Clone, Debug)]
pub struct Kafka<S: Store>(Stream<S>);

/// A Kafka event as Lambda delivers it. Each record is parsed separately: one that cannot be read stops only its own
/// partition.
///
/// A record needs an integer timestamp; its key and value must each be a string or absent. Its headers may have any
/// shape.
#[derive(Clone, Debug, Default, Deserialize)]
pub struct KafkaBatch {
    /// The records by partition, such as `topic-0`.
    #[serde(default)]
    records: Option<HashMap<String, Vec<Value>>>,
}

/// The members of a record that are parsed after its offset.
#[derive(Deserialize)]
struct Members {
    timestamp: i64,
    key: Option<String>,
    value: Option<String>,
    #[serde(default)]
    headers: Value,
}

/// The partitions to redeliver, and from where. A partition that is not listed is done.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct KafkaBatchResponse {
    /// At most one failure per partition.
    pub batch_item_failures: Vec<KafkaFailure>,
}

/// The position from which a partition is redelivered.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct KafkaFailure {
    /// The position, which for Kafka is an object, unlike the strings of the other sources.
    pub item_identifier: KafkaPosition,
}

/// A partition and an offset: `{"partition":"topic-0","offset":42}`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct KafkaPosition {
    /// The topic and the partition's number, in the event's form `topic-0`.
    pub partition: String,
    /// The first offset to redeliver.
    pub offset: i64,
}

impl<S: Watermarks<Effect: Clone>> Kafka<S> {
    /// Creates a handler with these settings.
    #[must_use]
    pub const fn new(stream: Stream<S>) -> Self {
        Self(stream)
    }

    /// Handles a batch, several partitions concurrently, and reports from where each must be redelivered.
    ///
    /// # Errors
    /// [`InvalidPosition`] if a record has no offset to report; Lambda then redelivers the whole batch.
    pub async fn handle<H, R>(
        &self,
        event: KafkaBatch,
        deadline: EpochMs,
        handler: H,
    ) -> Result<KafkaBatchResponse, InvalidPosition>
    where
        H: Fn(Attempt<S::Effect>, Record) -> R,
        R: Future<Output: IntoVerdict>,
    {
        let mut partitions: Vec<_> = event.records.unwrap_or_default().into_iter().collect();
        partitions.sort_by(|(one, _), (other, _)| one.cmp(other));
        let partitions = partitions.iter().map(|(partition, records)| {
            records.iter().map(|record| read(partition, record)).collect::<Result<Vec<_>, _>>()
        });
        let stopped = self.0.handle(partitions.collect::<Result<_, _>>()?, deadline, handler).await;
        let failures = stopped.into_iter().map(|(partition, position)| {
            let offset = position.to_string().parse().map_err(|_| InvalidPosition)?;
            Ok(KafkaFailure { item_identifier: KafkaPosition { partition, offset } })
        });
        Ok(KafkaBatchResponse { batch_item_failures: failures.collect::<Result<_, _>>()? })
    }
}

fn read(partition: &str, record: &Value) -> Result<Delivered, InvalidPosition> {
    let offset = record.get("offset").and_then(Value::as_i64).and_then(|offset| u64::try_from(offset).ok());
    let (partition, position) = (partition.to_owned(), Position::from(offset.ok_or(InvalidPosition)?));
    Ok(match envelope::read(record) {
        Ok(Members { timestamp, key, value, headers }) => Delivered::Read(Record {
            partition,
            position,
            timestamp_ms: timestamp,
            key: key.map(bytes),
            value: value.map(bytes),
            trace: trace(&headers),
        }),
        Err(why) => Delivered::Unreadable { partition, position, why },
    })
}

/// Lambda sends keys and values in base64. Anything else is passed on as it is, for the handler to refuse.
fn bytes(text: String) -> Vec<u8> {
    STANDARD.decode(&text).unwrap_or_else(|_| text.into_bytes())
}

/// The trace in a record's headers. Lambda sends each header as an object with one member, whose value is a list of
/// bytes, signed or not, or null, since Kafka allows headers without a value. All headers except `traceparent` may have
/// any shape.
fn trace(headers: &Value) -> Option<Trace> {
    let value = headers.as_array()?.iter().find_map(|header| header.get(Trace::NAME))?.as_array()?;
    let byte = |byte: &Value| {
        let byte = byte.as_i64()?;
        u8::try_from(byte).or_else(|_| i8::try_from(byte).map(i8::cast_unsigned)).ok()
    };
    let text = value.iter().map(byte).collect::<Option<Vec<u8>>>()?;
    Trace::from_traceparent(&String::from_utf8(text).ok()?)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_header_is_read_by_its_name_and_nothing_else_is() {
        let parent = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";
        let header = |name: &str, value: &str| json!({ name: value.bytes().map(u8::cast_signed).collect::<Vec<_>>() });
        let other = json!({"b3": null, "id": [200, -1, 1000, "x"]});
        let read = |headers: Value| trace(&headers).map(|trace| trace.to_string());
        assert_eq!(read(json!([header("b3", "0"), other, 5, header("traceparent", parent)])).as_deref(), Some(parent));
        assert_eq!(read(json!([header("traceparent", "é"), header("traceparent", parent)])), None);
        for none in [json!([]), json!(null), json!({}), json!([{"traceparent": null}]), json!([{"traceparent": [1e9]}])]
        {
            assert_eq!(read(none), None);
        }
    }
}
