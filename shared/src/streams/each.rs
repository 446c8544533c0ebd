//! Kafka and Kinesis records with one idempotency record each, for external effects.

use std::fmt;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;

use super::{Delivered, Record, Stream};
use crate::engine::{Attempt, Call, Error, IntoVerdict, Outcome, timed};
use crate::envelope::{self, Unreadable};
use crate::protocol::{Document, EpochMs, InvalidKey, Key, NotComparable, Principal};
use crate::store::watermarks::Watermarks;
use crate::telemetry::metrics::Metric;
use crate::telemetry::request_log::{LogOutcome, LogSummary, RequestLog};
use crate::telemetry::span::Span;

/// The key of a stream record that has [its own idempotency record](Stream::record_each).
#[derive(Clone)]
pub struct RecordKey(Source);

#[derive(Clone)]
enum Source {
    Position,
    Function(Arc<KeyOf>),
}

/// The application's function that returns the key of a record.
type KeyOf = dyn Fn(&Record) -> Option<String> + Send + Sync;

impl fmt::Debug for RecordKey {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(match self.0 {
            Source::Position => "Position",
            Source::Function(_) => "Function",
        })
    }
}

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
#[derive(Clone)]
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
        // A batch is redelivered as a whole or from some record on.
        let mut is_redelivery = true;
        for (index, delivered) in records.iter().enumerate() {
            let settled = self.record(stream, delivered, (deadline, is_redelivery), handler).await;
            let Some(ran) = settled else {
                stream.engine.count(Metric::RecordReturned, stream.operation.name());
                return Some(index);
            };
            is_redelivery = !ran;
        }
        None
    }

    /// Handles one record. Returns whether this delivery ran it; `None` if it must be delivered again.
    async fn record<S, H, R>(
        &self,
        stream: &Stream<S>,
        delivered: &Delivered,
        (deadline, is_redelivery): (EpochMs, bool),
        handler: &H,
    ) -> Option<bool>
    where
        S: Watermarks,
        H: Fn(Attempt<S::Effect>, Record) -> R,
        R: Future<Output: IntoVerdict>,
    {
        let Stream { engine, operation, .. } = stream;
        let line = RequestLog {
            operation: operation.name(),
            partition: Some(delivered.partition()),
            position: Some(delivered.position()),
            returned: Some(true),
            ..RequestLog::default()
        };
        if !engine.has_time(deadline) {
            RequestLog { summary: LogSummary::new(LogOutcome::NoTimeToBegin), ..line }.write();
            return None;
        }
        let (call, record) = match self.call(stream, delivered, deadline) {
            Ok(call) => call,
            Err(why) => {
                RequestLog { summary: LogSummary::failed(LogOutcome::Unreadable, &why), ..line }.write();
                return None;
            }
        };
        let started = engine.now();
        // A returned partition is redelivered at once, and no later record can run before this one.
        let call = call.redelivered(is_redelivery).wait(deadline.since(started));
        let run = |attempt| {
            let handling = handler(attempt, record.clone());
            async { handling.await.into_verdict() }
        };
        let span = Span::message(operation.name()).linked(record.trace);
        let (outcome, timings) = match &stream.resolver {
            Some(resolver) => span.of(timed(engine.run_or_reconcile(&call, run, resolver))).await,
            None => span.of(timed(engine.run(&call, run))).await,
        };
        let settled = settled(stream, &outcome);
        let (id, summary) = (call.record_id(), LogSummary::of(&outcome, engine.now()));
        let (returned, total) = (Some(settled.is_none()), engine.now().since(started));
        RequestLog { record: Some(id.name()), returned, summary, timings, total, ..line }.write();
        settled
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
        Ok((call.traced(record.trace), record))
    }
}

/// Whether this delivery ran the record; `None` if it must be delivered again.
fn settled<S: Watermarks>(stream: &Stream<S>, outcome: &Result<Outcome<()>, Error>) -> Option<bool> {
    match outcome {
        Ok(Outcome::Executed(answered)) => stream.on_failure.is_done(answered.resolution).then_some(true),
        Ok(Outcome::Replayed(answered)) => stream.on_failure.is_done(answered.resolution).then_some(false),
        Ok(
            Outcome::NotExecuted(())
            | Outcome::InProgress { .. }
            | Outcome::Mismatch
            | Outcome::Conflict
            | Outcome::Unknown { .. },
        )
        | Err(_) => None,
    }
}
