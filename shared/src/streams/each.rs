//! Kafka and Kinesis records with one idempotency record each, for external effects.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;

use derive_where::derive_where;

use super::{Delivered, Record, Stream};
use crate::engine::{Attempt, Call, Consumer, IntoVerdict, Mode, Settlement, refused};
use crate::envelope::{self, Unreadable};
use crate::protocol::{Document, EpochMs, InvalidKey, Key, NotComparable, Principal};
use crate::store::watermarks::Watermarks;
use crate::telemetry::metrics::Metric;
use crate::telemetry::request_log::{LogOutcome, RequestLog};

/// The key of a stream record that has [its own idempotency record](Stream::record_each).
#[derive(Clone, Debug)]
pub struct RecordKey(Source);

#[derive(Clone)]
#[derive_where(Debug)]
enum Source {
    Position,
    Function(#[derive_where(skip)] Arc<KeyOf>),
}

/// The application's function that returns the key of a record.
type KeyOf = dyn Fn(&Record) -> Option<String> + Send + Sync;

impl RecordKey {
    /// The partition and position of the record. This key protects from a second delivery, but not from a producer that
    /// sends again.
    #[must_use]
    pub const fn position() -> Self {
        Self(Source::Position)
    }

    /// The producer's key, which the function finds in the record. A record for which the function returns `None` or
    /// panics stops its partition.
    pub fn function(key: impl Fn(&Record) -> Option<String> + Send + Sync + 'static) -> Self {
        Self(Source::Function(Arc::new(key)))
    }
}

/// The reason that a record has no call. Its partition stops at it.
#[derive(Debug, thiserror::Error)]
enum NotBegun {
    #[error(transparent)]
    Unreadable(#[from] Unreadable),
    #[error("the application found no key in the record")]
    NoKey,
    #[error(transparent)]
    InvalidKey(#[from] InvalidKey),
    #[error(transparent)]
    NotComparable(#[from] NotComparable),
}

/// The settings of a stream with one idempotency record per stream record.
#[derive(Clone, Debug)]
pub(super) struct Each {
    pub(super) principal: Principal,
    pub(super) key: RecordKey,
}

impl Each {
    /// Runs the records of a partition in order. Returns the index of the first record to deliver again.
    pub(super) async fn handle<S, H, R>(
        &self,
        stream: &Stream<S>,
        records: &[Delivered],
        deadline: EpochMs,
        handler: &H,
    ) -> Option<usize>
    where
        S: Watermarks,
        H: Fn(Attempt<S::Effect>, Record) -> R,
        R: Future<Output: IntoVerdict>,
    {
        let Stream { engine, operation, resolver, on_failure, .. } = stream;
        let (mode, resolver, on_failure) = (Mode::Claim, resolver.as_ref(), *on_failure);
        let consumer = Consumer { engine, mode, resolver, on_failure, deadline };
        let handler = |attempt, record: &Record| handler(attempt, record.clone());
        // A batch is redelivered as a whole or from some record on.
        let mut is_redelivery = true;
        for (index, delivered) in records.iter().enumerate() {
            let call = self.call(stream, delivered, deadline);
            let ready = call.map(|(call, record)| (call.redelivered(is_redelivery), record));
            let line = RequestLog {
                operation: operation.name(),
                partition: Some(delivered.partition()),
                position: Some(delivered.position()),
                ..RequestLog::default()
            };
            let settlement = consumer.handle(&ready.map_err(refused(LogOutcome::Unreadable)), handler, line).await;
            if settlement.is_returned() {
                engine.count(Metric::RecordReturned, operation.name());
                return Some(index);
            }
            is_redelivery = settlement == Settlement::Duplicate;
        }
        None
    }

    fn call<'d, S: Watermarks>(
        &self,
        stream: &Stream<S>,
        delivered: &'d Delivered,
        deadline: EpochMs,
    ) -> Result<(Call, &'d Record), NotBegun> {
        let record = match delivered {
            Delivered::Read(record) => record,
            Delivered::Unreadable { why, .. } => return Err(why.clone().into()),
        };
        let key = match &self.key.0 {
            Source::Position => stream.partition(&*record.partition).place(&record.position),
            Source::Function(key) => {
                let found = catch_unwind(AssertUnwindSafe(|| key(record))).ok().flatten();
                found.ok_or(NotBegun::NoKey)?
            }
        };
        let value = record.value.as_deref().unwrap_or_default();
        let document = Document::parse(value).ok();
        let fingerprint = envelope::fingerprint(value, document.as_ref(), &stream.operation.compare)?;
        let call = Call::new(stream.operation.clone(), self.principal.clone(), Key::new(key)?, fingerprint, deadline);
        // A partition that is returned is delivered again at once, and nothing after this record can go on before it.
        Ok((call.traced(record.trace).wait(deadline.since(stream.engine.now())), record))
    }
}
