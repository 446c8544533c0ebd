//! A delivery of CloudWatch Logs: base64, gzip, JSON.

use std::io::Read;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use flate2::read::GzDecoder;
use serde::Deserialize;
use serde_json::Value;
use signals::BatchId;

/// The most bytes of a delivery when unpacked. CloudWatch Logs sends a few MB at most; a bomb would fill the memory.
const MAX_BYTES: u64 = 64 * 1024 * 1024;

/// Log lines of one log stream.
#[derive(Clone, Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Delivery {
    /// `DATA_MESSAGE`, or `CONTROL_MESSAGE` for a check that the destination works.
    pub message_type: String,
    /// The account of the log group.
    pub owner: String,
    /// The log group.
    pub log_group: String,
    /// The log stream: one sandbox.
    pub log_stream: String,
    /// The lines.
    pub log_events: Vec<LogEvent>,
}

/// One log line.
#[derive(Clone, Debug, Deserialize)]
pub struct LogEvent {
    /// Unique to the line.
    pub id: String,
    /// When it was written, in epoch milliseconds.
    pub timestamp: u64,
    /// The line.
    pub message: String,
}

/// Why a delivery cannot be read.
#[derive(Debug, thiserror::Error)]
pub enum Unreadable {
    /// It has no `data`.
    #[error("it has no data")]
    NoData,
    /// It is not base64.
    #[error("its data is not base64")]
    Base64(#[from] base64::DecodeError),
    /// It is not gzip, or cut.
    #[error("its data is not gzip, or cut")]
    Gzip(#[from] std::io::Error),
    /// It is not a delivery in JSON, or longer than 64 MB.
    #[error("its data is not a delivery in JSON of at most 64 MB")]
    Json(#[from] serde_json::Error),
}

impl Delivery {
    /// Reads the member `awslogs` of an event.
    ///
    /// # Errors
    /// If it is damaged.
    pub fn read(logs: &Value) -> Result<Self, Unreadable> {
        let packed = STANDARD.decode(logs["data"].as_str().ok_or(Unreadable::NoData)?)?;
        let mut json = Vec::new();
        GzDecoder::new(packed.as_slice()).take(MAX_BYTES).read_to_end(&mut json)?;
        Ok(serde_json::from_slice(&json)?)
    }

    /// The delivery's name, which is the same when it is delivered again.
    #[must_use]
    pub fn id(&self) -> BatchId {
        BatchId::of(&self.log_stream, self.log_events.iter().map(|event| event.id.as_str()))
    }
}

#[cfg(test)]
mod tests {
    use std::io::Write;

    use flate2::Compression;
    use flate2::write::GzEncoder;
    use serde_json::json;

    use super::*;

    fn packed(json: &str) -> Vec<u8> {
        let mut gzip = GzEncoder::new(Vec::new(), Compression::fast());
        gzip.write_all(json.as_bytes()).unwrap();
        gzip.finish().unwrap()
    }

    const WHOLE: &str = r#"{"messageType":"DATA_MESSAGE","owner":"1","logGroup":"g","logStream":"s","subscriptionFilters":["f"],"logEvents":[{"id":"1","timestamp":2,"message":"m"}]}"#;

    #[test]
    fn a_delivery_is_unpacked_and_what_is_damaged_is_an_error() {
        let read = |bytes: &[u8]| Delivery::read(&json!({ "data": STANDARD.encode(bytes) }));
        let delivery = read(&packed(WHOLE)).unwrap();
        assert_eq!((delivery.owner.as_str(), delivery.log_events[0].timestamp), ("1", 2));
        let cut = packed(WHOLE);
        assert!(matches!(read(&cut[..cut.len() / 2]), Err(Unreadable::Gzip(_))));
        assert!(matches!(read(&packed("{}")), Err(Unreadable::Json(_))));
        assert!(matches!(read(b"not gzip"), Err(Unreadable::Gzip(_))));
        assert!(matches!(Delivery::read(&json!({ "data": "?" })), Err(Unreadable::Base64(_))));
        assert!(matches!(Delivery::read(&json!({})), Err(Unreadable::NoData)));
    }

    #[test]
    fn a_bomb_does_not_fill_the_memory() {
        let bomb = packed(&" ".repeat(70 * 1024 * 1024));
        assert!(matches!(Delivery::read(&json!({ "data": STANDARD.encode(bomb) })), Err(Unreadable::Json(_))));
    }
}
