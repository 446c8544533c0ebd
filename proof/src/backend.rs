//! The backend of a schedule's records, beneath its simulated network: the memory store, or a real server.
//!
//! A schedule's time is simulated and its order is fixed, so a server must answer immediately and in order: each
//! request to it blocks the schedule until it is answered. Faults are injected by the network above, in the same way
//! for both.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use futures::FutureExt;
use idempotency::protocol::watermark::Watermark;
use idempotency::protocol::{Condition, EpochMs, Record, RecordId, RecordVersion, Write};
use idempotency::store::memory::{Effect, MemoryStore};
use idempotency::store::valkey::{self, Keeps, Placement, ValkeyStore};
use idempotency::store::watermarks::{Advanced, Watermarks};
use idempotency::store::{RefusedEffect, Store, StoreError, Written};
use parking_lot::Mutex;
use tokio::runtime::{Builder, Runtime};

/// The time at which schedules begin: the year 2100. A server deletes expired records by its own clock, and therefore
/// none during a schedule. The protocol must expect late deletion from every store.
pub(crate) const BEGIN: EpochMs = EpochMs(4_102_444_800_000);

/// The time above which a request may have been repeated and recognised, which no schedule expects.
const SLOW: Duration = Duration::from_millis(400);

/// The records of one schedule. A clone is another handle.
#[derive(Clone)]
pub(crate) enum Backend {
    Memory(MemoryStore),
    Valkey(OnServer),
}

impl Backend {
    pub(crate) fn in_memory() -> Self {
        Self::Memory(MemoryStore::new())
    }

    pub(crate) fn write(&self, write: &Write, effects: Vec<Effect>) -> Result<Written, StoreError> {
        match self {
            Self::Memory(store) => now(store.write(write, effects)),
            Self::Valkey(server) => server.write(write, &effects),
        }
    }

    /// Writes over this record, regardless of the condition.
    pub(crate) fn overwrite(&self, found: &Record, write: &Write, effects: Vec<Effect>) -> Result<Written, StoreError> {
        let condition = Condition::Unchanged(RecordVersion::of(found));
        self.write(&Write { record: write.record.clone(), condition }, effects)
    }

    pub(crate) fn read(&self, id: &RecordId) -> Result<Option<Record>, StoreError> {
        match self {
            Self::Memory(store) => now(store.read(id)),
            Self::Valkey(server) => server.wait(server.store.read(id)),
        }
    }

    pub(crate) fn read_parts(&self, record: &Record, parts: u32) -> Result<Option<Vec<u8>>, StoreError> {
        match self {
            Self::Memory(store) => now(store.read_parts(record, parts)),
            Self::Valkey(server) => server.wait(server.store.read_parts(record, parts)),
        }
    }

    pub(crate) fn watermark(&self, id: &str) -> Result<Option<Watermark>, StoreError> {
        match self {
            Self::Memory(store) => now(store.watermark(id)),
            Self::Valkey(server) => server.wait(server.store.watermark(id)),
        }
    }

    pub(crate) fn advance(&self, id: &str, next: &Watermark, effects: Vec<Effect>) -> Result<Advanced, StoreError> {
        match self {
            Self::Memory(store) => now(store.advance(id, next, effects, Duration::ZERO)),
            Self::Valkey(server) => server.advance(id, next, &effects),
        }
    }

    /// How often the effect of this name was applied.
    pub(crate) fn applied(&self, name: &str) -> u64 {
        match self {
            Self::Memory(store) => store.applied(name),
            Self::Valkey(server) => server.applied(name),
        }
    }

    /// Deletes all records that can expire.
    pub(crate) fn forget(&self) {
        match self {
            Self::Memory(store) => store.sweep(EpochMs(u64::MAX)),
            Self::Valkey(server) => server.forget(),
        }
    }
}

/// The memory store never waits.
fn now<F: Future>(future: F) -> F::Output {
    future.now_or_never().expect("does not wait")
}

/// A real server for the records of many schedules, each of which sees only its own records.
#[derive(Clone)]
pub struct Server(Arc<Inner>);

struct Inner {
    server: valkey::Server,
    port: u16,
    /// The runtime of the requests to the server, in real time.
    runtime: Runtime,
    begun: AtomicU64,
    was_slow: AtomicBool,
}

impl Server {
    /// Uses the server at this port of this machine, without TLS. Drop the value outside any runtime.
    ///
    /// # Panics
    /// If no runtime can be created.
    pub fn new(port: u16) -> Self {
        let runtime = Builder::new_multi_thread().worker_threads(1).enable_all().build().expect("a runtime");
        let (begun, was_slow) = (AtomicU64::new(0), AtomicBool::new(false));
        Self(Arc::new(Inner { server: valkey::Server::new("127.0.0.1", port), port, runtime, begun, was_slow }))
    }

    /// Whether a request since the last call took so long that the schedule's outcome says nothing.
    pub fn was_slow(&self) -> bool {
        self.0.was_slow.swap(false, Ordering::Relaxed)
    }

    /// An empty store, under its own tag.
    pub(crate) fn backend(&self) -> Backend {
        let tag = format!("schedule-{}", self.0.begun.fetch_add(1, Ordering::Relaxed));
        let placement = Placement::together(&tag).expect("a valid tag");
        let store = ValkeyStore::new(&self.0.server, placement, Keeps::MostWrites);
        Backend::Valkey(OnServer { store, tag, written: Arc::default(), server: self.clone() })
    }
}

/// The records of one schedule on a server.
#[derive(Clone)]
pub(crate) struct OnServer {
    store: ValkeyStore,
    tag: String,
    written: Arc<Mutex<BTreeSet<RecordId>>>,
    server: Server,
}

impl OnServer {
    fn write(&self, write: &Write, effects: &[Effect]) -> Result<Written, StoreError> {
        self.written.lock().insert(write.record.id.clone());
        Ok(match self.wait(self.store.write(write, self.effects(effects)))? {
            Written::Applied => Written::Applied,
            Written::Recognised => Written::Recognised,
            Written::Refused(found) => Written::Refused(found),
            Written::EffectRefused(refused) => Written::EffectRefused(without_item(&refused)),
        })
    }

    fn advance(&self, id: &str, next: &Watermark, effects: &[Effect]) -> Result<Advanced, StoreError> {
        Ok(match self.wait(self.store.advance(id, next, self.effects(effects), Duration::ZERO))? {
            Advanced::Applied => Advanced::Applied,
            Advanced::Refused(found) => Advanced::Refused(found),
            Advanced::EffectRefused(refused) => Advanced::EffectRefused(without_item(&refused)),
        })
    }

    /// Converts effects to counters, as in the memory store.
    fn effects(&self, effects: &[Effect]) -> Vec<valkey::Effect> {
        let effect = |effect: &Effect| match effect.only_once {
            true => valkey::Effect::insert(self.counter(&effect.name), "1"),
            false => valkey::Effect::increment(self.counter(&effect.name), 1),
        };
        effects.iter().map(effect).collect()
    }

    fn counter(&self, name: &str) -> String {
        format!("{{{}}}effect:{name}", self.tag)
    }

    fn applied(&self, name: &str) -> u64 {
        self.command::<Option<u64>>(redis::cmd("GET").arg(self.counter(name))).unwrap_or(0)
    }

    fn forget(&self) {
        for id in self.written.lock().iter() {
            let found = self.wait(self.store.read(id)).expect("readable");
            if found.is_some_and(|record| record.has_expired(EpochMs(u64::MAX))) {
                self.command::<()>(redis::cmd("DEL").arg(format!("{{{}}}{}", self.tag, id.as_str())));
            }
        }
    }

    fn command<T: redis::FromRedisValue>(&self, command: &redis::Cmd) -> T {
        let client = redis::Client::open(("127.0.0.1", self.server.0.port)).expect("an address");
        command.query(&mut client.get_connection().expect("a server")).expect("answered")
    }

    /// Blocks until the server has answered. The request runs on another thread, because this one runs the schedule.
    fn wait<F: Future<Output: Send> + Send>(&self, request: F) -> F::Output {
        let inner = &self.server.0;
        let started = Instant::now();
        let runtime = inner.runtime.handle();
        let answer = thread::scope(|scope| scope.spawn(|| runtime.block_on(request)).join()).expect("no panic");
        if started.elapsed() > SLOW {
            inner.was_slow.store(true, Ordering::Relaxed);
        }
        answer
    }
}

/// Removes the item, because the two stores' items have different forms.
fn without_item(refused: &RefusedEffect<Vec<u8>>) -> RefusedEffect {
    RefusedEffect { index: refused.index, found: None }
}
