//! A store on a Valkey or Redis server, version 7.0 or later.
//!
//! A record is a hash with the fields that a DynamoDB item has as attributes, so that `HGETALL` shows an operator what
//! the console shows. Each write is one call of one script: it checks the condition, then the conditions and types of
//! all effects, and only then writes; if the condition does not hold, it returns what is stored.
//!
//! **Its guarantees depend on the server**, so the constructor requires you to declare the server's durability:
//! [`Keeps`]. [`ValkeyStore::check`] checks the other requirements; call it in the init phase of a function.
//!
//! A lost reply is recognised as with DynamoDB, by the token in the record. The store does not `WAIT` for replicas:
//! `WAIT` reports that replicas have the write, not that one of these will be promoted; and for a replay, which writes
//! nothing, there is nothing to wait for.
//!
//! The server deletes an expired record an hour after its expiration. The server's clock decides nothing: until the
//! deletion the record is still there, and the protocol compares the expiration with the caller's clock.

mod check;
mod effect;
mod hash;
#[cfg(feature = "valkey-iam")]
pub mod iam;
mod link;
mod placement;
pub(crate) mod redlock;
mod refusal;
mod script;
pub mod sequence;
mod server;
mod unsettled;
pub mod versioned;
mod watermarks;

use std::sync::Arc;
use std::time::Duration;

use redis::{Value, cmd};

pub use check::Unfit;
pub use effect::Effect;
pub use placement::{InvalidPlacement, Placement};
pub use server::{Credentials, Login, Server};

use super::{Store, StoreError, Written, parts::cut};
use crate::protocol::{Condition, EpochS, Record, RecordId, RecordVersion, State, Write};
use hash::NAMES;
use link::{Link, Request};
use script::{Arguments, Fields, Reply};

/// Whether the server keeps every write that it has acknowledged. You must declare it, because a client cannot find it
/// out.
///
/// `docs/guarantees.md` lists the guarantees that hold for each.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Keeps {
    /// No acknowledged write is ever lost: MemoryDB, ElastiCache for Valkey with `durability=sync`, or a single server
    /// with `appendfsync always`. All guarantees hold.
    Every,
    /// A failover or a restart may lose the last writes: any other server with replicas or without a synchronous log.
    /// The server may then lose the fact that a key was used, so that its operation runs again, undetected.
    MostWrites,
}

/// A [`Store`] on a Valkey or Redis server or cluster. A clone shares its connections, one for each tag.
#[derive(Clone, Debug)]
pub struct ValkeyStore(Arc<Shared>);

#[derive(Debug)]
struct Shared {
    keeps: Keeps,
    placement: Placement,
    /// One connection per tag.
    links: Vec<Link>,
}

/// The maximum length of an answer. A longer one would occupy a connection for too long.
const MAX_RESPONSE_BYTES: usize = 4 * 1024 * 1024;

/// How long after a record's expiration the server deletes it: longer than clocks differ.
const GRACE: Duration = Duration::from_secs(60 * 60);

/// The latest deletion time that every server accepts (the year 9999).
const LAST_DELETION: u64 = 253_402_300_799;

/// The prefixes of the store's own keys, after the tag.
const RESERVED: [&str; 3] = ["idempotency", "lock:", WATERMARK];
const UNKNOWN: &str = "idempotency#unknown";
const CLAIMS: &str = "idempotency#claims";
const WATERMARK: &str = "watermark:";

impl ValkeyStore {
    /// Creates a store on this server. Nothing is sent yet.
    #[must_use]
    pub fn new(server: &Server, placement: Placement, keeps: Keeps) -> Self {
        let links = placement.tags().iter().map(|_| Link::new(server.clone())).collect();
        Self(Arc::new(Shared { keeps, placement, links }))
    }

    /// The declared durability of the server.
    #[must_use]
    pub fn keeps(&self) -> Keeps {
        self.0.keeps
    }

    /// The tag of a record: effects written with it must have keys that begin with `{TAG}`.
    #[must_use]
    pub fn tag(&self, id: &RecordId) -> &str {
        &self.0.placement.tags()[self.0.placement.number_of(id)]
    }

    fn link(&self, id: &RecordId) -> &Link {
        &self.0.links[self.0.placement.number_of(id)]
    }

    async fn run(&self, link: &Link, keys: Vec<String>, arguments: Arguments) -> Result<Reply, StoreError> {
        let value = link.call(&Request::Write { keys, arguments }).await?;
        Reply::read(value).ok_or_else(|| StoreError::Uncertain("the script returned an unknown reply".into()))
    }

    /// Writes an item that has no indexes and no answer, with effects, if fields of it have these values.
    async fn run_alone(
        &self,
        link: &Link,
        item: String,
        expected: &[(&'static str, Vec<u8>)],
        effects: &[Effect],
        fields: &[(&str, Vec<u8>)],
    ) -> Result<Reply, StoreError> {
        let mut keys = vec![item.clone(), item.clone(), item.clone(), item];
        let mut arguments = Arguments::default();
        push_equal(expected, &mut arguments);
        effect::push(effects, &mut keys, &mut arguments);
        arguments.fields(fields).text("").text("").text("").text("").number(0);
        self.run(link, keys, arguments).await
    }
}

/// The command that reads a whole hash.
fn read_hash(key: &str) -> Request {
    let mut command = cmd("HGETALL");
    command.arg(key);
    Request::Read(command)
}

fn fields(value: Value) -> Result<Fields, StoreError> {
    Fields::read(value).ok_or_else(|| StoreError::NotApplied("a read returned something other than a hash".into()))
}

fn key(tag: &str, rest: &str) -> String {
    format!("{{{tag}}}{rest}")
}

/// The key of a record's long answer.
fn answer_key(tag: &str, id: &RecordId) -> String {
    key(tag, &format!("{}#1", id.as_str()))
}

impl Store for ValkeyStore {
    type Effect = Effect;

    fn max_response_bytes(_: &[Effect]) -> usize {
        MAX_RESPONSE_BYTES
    }

    async fn write(&self, write: &Write, effects: Vec<Effect>) -> Result<Written<Vec<u8>>, StoreError> {
        let cut = cut(write, usize::MAX);
        let (write, parts) = cut.as_ref().map_or((write, &[][..]), |(head, parts)| (head, parts));
        let record = &write.record;
        let tag = self.tag(&record.id);
        if let Some(problem) = effect::problem(&effects, tag) {
            return Err(StoreError::Rejected(problem.into()));
        }
        let (keys, arguments) = record_script(tag, write, &effects, parts.first().copied());
        match self.run(self.link(&record.id), keys, arguments).await? {
            Reply::Applied => Ok(Written::Applied),
            Reply::Refused(found) => Ok(Written::refused(write, hash::to_record(&record.id, found)?)),
            Reply::EffectRefused(refused) => Ok(Written::EffectRefused(refused)),
        }
    }

    async fn read(&self, id: &RecordId) -> Result<Option<Record>, StoreError> {
        let read = read_hash(&key(self.tag(id), id.as_str()));
        hash::to_record(id, fields(self.link(id).call(&read).await?)?)
    }

    /// All parts are in one hash.
    async fn read_parts(&self, record: &Record, _: u32) -> Result<Option<Vec<u8>>, StoreError> {
        let id = &record.id;
        let read = read_hash(&answer_key(self.tag(id), id));
        let mut found = fields(self.link(id).call(&read).await?)?;
        let ours = found.take(&NAMES.transaction) == Some(record.transaction.to_string().into_bytes())
            && found.take(&NAMES.attempt) == Some(record.attempt.to_string().into_bytes());
        Ok(found.take(&NAMES.response).filter(|_| ours))
    }
}

/// The keys and arguments of the script that writes a record, in the order in which it reads them.
fn record_script(tag: &str, write: &Write, effects: &[Effect], answer: Option<&[u8]>) -> (Vec<String>, Arguments) {
    let record = &write.record;
    let item = key(tag, record.id.as_str());
    let answer_key = if answer.is_some() { answer_key(tag, &record.id) } else { item.clone() };
    // A lock is not an operation that needs a resolution.
    let (unknown, claims) = match record.id.as_str().starts_with(RecordId::PREFIX) {
        true => (key(tag, UNKNOWN), key(tag, CLAIMS)),
        false => (item.clone(), item.clone()),
    };
    let mut keys = vec![item, unknown, claims, answer_key];
    let mut arguments = Arguments::default();
    push_condition(&write.condition, &mut arguments);
    effect::push(effects, &mut keys, &mut arguments);
    arguments.fields(&hash::from_record(record));
    arguments.text(&deletion(record.expiration())).text(record.id.as_str());
    let (unknown_since, claimed) = match &record.state {
        State::Unknown(_) => (record.created.0.to_string(), ""),
        State::Processing(_) => (String::new(), "yes"),
        State::Released { .. } | State::Success(_) | State::Failed(_) => (String::new(), ""),
    };
    arguments.text(&unknown_since).text(claimed);
    match answer {
        Some(answer) => arguments.fields(&[
            (&NAMES.transaction, record.transaction.to_string().into_bytes()),
            (&NAMES.attempt, record.attempt.to_string().into_bytes()),
            (&NAMES.response, answer.to_vec()),
        ]),
        None => arguments.number(0),
    };
    (keys, arguments)
}

/// The time at which the server must delete the record; empty for never.
fn deletion(expiration: Option<EpochS>) -> String {
    expiration.map_or_else(String::new, |expiration| expiration.plus(GRACE).0.min(LAST_DELETION).to_string())
}

fn push_condition(condition: &Condition, arguments: &mut Arguments) {
    match condition {
        Condition::Vacant { now } => {
            arguments.text("vacant").number(now.0);
        }
        Condition::Owned { owner } => push_equal(&[(&NAMES.owner, owner.0.to_vec())], arguments),
        Condition::Unchanged(RecordVersion { status, transaction, attempt, owner, lease }) => push_equal(
            &[
                (&NAMES.status, status.as_str().as_bytes().to_vec()),
                (&NAMES.transaction, transaction.to_string().into_bytes()),
                (&NAMES.attempt, attempt.to_string().into_bytes()),
                (&NAMES.owner, owner.map_or_else(Vec::new, |owner| owner.0.to_vec())),
                (&NAMES.lease, lease.map_or_else(Vec::new, |lease| lease.0.to_string().into_bytes())),
            ],
            arguments,
        ),
    }
}

/// Adds the condition that these fields have these values, where an empty value means an absent field.
fn push_equal(fields: &[(&'static str, Vec<u8>)], arguments: &mut Arguments) {
    arguments.text("equal").fields(fields);
}

#[cfg(test)]
mod tests;
