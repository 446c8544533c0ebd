//! A sandbox: a process with the library, whose table is behind the network.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use aws_sdk_dynamodb::types::TransactWriteItem;
use idempotency::engine::{Clock, Entropy, NoEntropy};
use idempotency::protocol::watermark::Watermark;
use idempotency::protocol::{
    EpochMs, Fingerprint, Key, OwnerToken, Principal, Record, RecordId, Subject, Uncertain, Write,
};
use idempotency::store::dynamodb::Item;
use idempotency::store::watermarks::{Advanced, Watermarks};
use idempotency::store::{Store, StoreError, Written};
use idempotency::{Call, DynamoDbStore, Engine, Operation};
use parking_lot::Mutex;

use super::Breakage;
use super::network::{Kind, Network, Process};
use super::table::Table;
use crate::fault::Fault;
use crate::oracle::Oracle;

/// The timeout of a function.
const TIMEOUT: Duration = Duration::from_secs(10);

/// How a repeatable operation handles an uncertain outcome.
pub(super) const REPEAT: Uncertain = Uncertain::Repeat { within: Duration::from_secs(24 * 60 * 60) };

pub(super) fn operation() -> Operation {
    Operation::new("exploration", "explored")
}

/// The table, as a process reaches it.
#[derive(Clone)]
pub(super) struct Remote {
    table: Table,
    process: Process,
    breakage: Option<Breakage>,
    pub(super) tokens: Tokens,
}

/// The owner tokens of a process's writes. A clone is another handle.
#[derive(Clone, Default)]
pub(super) struct Tokens(Arc<Mutex<Vec<OwnerToken>>>);

impl Tokens {
    /// Whether one of them holds the record.
    pub(super) fn hold(&self, record: &Record) -> bool {
        let tokens = self.0.lock();
        record.holder().is_some_and(|holder| tokens.contains(&holder.owner))
    }
}

/// The engine of a sandbox, without any cache from earlier ones.
pub(super) fn engine<S: Store>(store: S, process: &Process, oracle: &Oracle, random: &Random) -> Engine<S> {
    Engine::builder(store).clock(process.clone()).entropy(random.clone()).metrics(oracle.clone()).build()
}

/// The deadline of an invocation that begins now.
pub(super) fn deadline(network: &Network) -> EpochMs {
    network.now().plus(TIMEOUT)
}

/// A call with this key in an invocation that begins now.
pub(super) fn call(operation: Operation, key: &str, network: &Network) -> Call {
    let (principal, key) = (Principal::new("somebody").expect("valid"), Key::new(key).expect("valid"));
    let fingerprint = Fingerprint::from_bytes([1; Fingerprint::BYTES]);
    Call::new(operation, principal, key, fingerprint, deadline(network)).about(Subject::new("of the exploration"))
}

/// Random bytes that do not repeat, and are the same in each schedule.
#[derive(Clone, Default)]
pub(super) struct Random(Arc<AtomicU64>);

impl Entropy for Random {
    fn fill(&self, buffer: &mut [u8]) -> Result<(), NoEntropy> {
        let bytes = (self.0.fetch_add(1, Ordering::Relaxed) + 1).to_be_bytes();
        buffer.iter_mut().zip(bytes.into_iter().cycle()).for_each(|(place, byte)| *place = byte);
        Ok(())
    }
}

impl Remote {
    pub(super) fn new(table: &Table, process: &Process, breakage: Option<Breakage>) -> Self {
        Self { table: table.clone(), process: process.clone(), breakage, tokens: Tokens::default() }
    }

    async fn ask<T>(
        &self,
        kind: Kind,
        apply: impl Fn(&Table) -> Result<T, StoreError> + Send + Sync + 'static,
    ) -> Result<T, StoreError> {
        let table = self.table.clone();
        self.process.send(kind, move || apply(&table)).await.of_a_store()
    }
}

impl Store for Remote {
    type Effect = TransactWriteItem;

    fn max_response_bytes(effects: &[TransactWriteItem]) -> usize {
        DynamoDbStore::max_response_bytes(effects)
    }

    async fn write(&self, write: &Write, effects: Vec<TransactWriteItem>) -> Result<Written<Item>, StoreError> {
        let write = write.clone();
        self.tokens.0.lock().extend(write.record.writer());
        self.ask(Kind::Write, move |table| table.write(&write, &effects)).await
    }

    async fn read(&self, id: &RecordId) -> Result<Option<Record>, StoreError> {
        let id = id.clone();
        self.ask(Kind::Read, move |table| table.read(&id)).await
    }

    async fn look_up(&self, id: &RecordId) -> Result<Option<Record>, StoreError> {
        let (id, is_stale) = (id.clone(), self.process.network.occurs(Fault::Stale));
        self.ask(Kind::Read, move |table| if is_stale { Ok(table.previous(&id)) } else { table.read(&id) }).await
    }

    async fn read_parts(&self, _: &Record, _: u32) -> Result<Option<Vec<u8>>, StoreError> {
        Ok(None) // scenarios with long answers use DynamoDB's own store
    }
}

impl Watermarks for Remote {
    async fn watermark(&self, id: &str) -> Result<Option<Watermark>, StoreError> {
        let id = id.to_owned();
        self.ask(Kind::Read, move |table| table.watermark(&id)).await
    }

    async fn advance(
        &self,
        id: &str,
        next: &Watermark,
        effects: Vec<TransactWriteItem>,
        _patience: Duration,
    ) -> Result<Advanced<Item>, StoreError> {
        let (id, next) = (id.to_owned(), next.clone());
        match self.ask(Kind::Write, move |table| table.advance(&id, &next, &effects)).await {
            Err(_) if self.breakage == Some(Breakage::SilenceTakenForDone) => Ok(Advanced::Applied),
            advanced => advanced,
        }
    }

    fn bytes(effect: &TransactWriteItem) -> usize {
        DynamoDbStore::bytes(effect)
    }

    fn collide(one: &TransactWriteItem, other: &TransactWriteItem) -> bool {
        DynamoDbStore::collide(one, other)
    }
}
