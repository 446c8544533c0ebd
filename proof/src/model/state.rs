//! One state of the model: the record, the messages in transit, the call of each actor, and the oracle's counts.

use idempotency::protocol::machine::Machine;
use idempotency::protocol::{Condition, Record, Resolution, Response, Settled, State, TransactionId, Write};

use super::shared::Shared;

/// One state of the model.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub struct World {
    /// How often the retention has passed.
    pub era: u8,
    /// The record stored under the single key.
    pub record: Option<Shared<Record>>,
    /// All versions of the record so far, each of which an eventually consistent read may return.
    pub versions: Vec<Shared<Record>>,
    /// The answer stored next to its record, with the transaction id of the record with which it was written.
    pub parts: Option<(TransactionId, u8)>,
    /// The messages in transit, unordered.
    pub network: Vec<Message>,
    /// The provider's entry for each transaction id.
    pub provider: Vec<(u8, Entry)>,
    /// The transaction ids of which the provider has forgotten that they were used.
    pub forgotten: u32,
    /// The actors.
    pub actors: Vec<Actor>,
    /// How many faults may still occur.
    pub faults: u8,
    /// The oracle's counts, which are independent of the records.
    pub counts: Counts,
}

/// A request on its way to the store or the provider.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Message {
    /// The sender.
    pub actor: u8,
    /// The number of the sender's call.
    pub call: u8,
    /// The content.
    pub ask: Ask,
}

/// The content of a message.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Ask {
    /// A conditional write.
    Put(Shared<Put>),
    /// A charge under this transaction id, in this life of the key.
    Charge(u8, u8),
}

/// A write as it is sent.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Put {
    /// The record and the condition.
    pub write: Write,
    /// The owner token of the call.
    pub owner: u8,
    /// Whether the transactional effect is in its transaction.
    pub effect: bool,
    /// Whether it is based on evidence.
    pub evidence: bool,
    /// How a mutant changes the condition.
    pub guard: Guard,
}

/// The evaluation of a write's condition.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Guard {
    /// Fully.
    Condition,
    /// Only whether the record is PROCESSING or UNKNOWN.
    Status,
    /// The condition is not evaluated.
    None,
}

/// The provider's permanent entry for a transaction id. The provider may [forget](World::forgotten) that the id was
/// used.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Entry {
    /// It was charged.
    Charged,
    /// It was refused for good.
    Declined,
    /// A tombstone holds the id, so a later charge is refused.
    Tombstone,
}

/// An actor.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub struct Actor {
    /// How many calls it has begun.
    pub calls: u8,
    /// How many owner tokens it has drawn in the latest call.
    pub draws: u8,
    /// The machine of the latest call, until it ends.
    pub machine: Option<Shared<Machine>>,
    /// The event for which the actor waits.
    pub waits: Waits,
    /// Whether there was evidence in this call, and nothing has run since.
    pub evidence: bool,
    /// The settled record that the process has cached.
    pub remembered: Option<Shared<Record>>,
}

/// The event for which an actor waits.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub enum Waits {
    /// Nothing.
    #[default]
    Nothing,
    /// The provider's answer to a charge.
    Charge,
    /// The parts of an answer. Its replay counts from the time at which its record was read.
    Parts,
    /// The store's reply to a write; `applied` is known only to the oracle.
    Reply { put: Shared<Put>, applied: bool, earlier: Option<(Shared<Put>, bool)> },
}

/// What the oracle counts, independently of the records.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct Counts {
    /// How often the transactional effect was applied, in each life of the key.
    pub effects: [u8; 3],
    /// How often the provider charged, in each life of the key.
    pub charges: [u8; 3],
    /// The final answer that was given, in each life of the key.
    pub answers: [Option<(Resolution, u8)>; 3],
    /// The owner tokens whose claims have ended or were taken over.
    pub ended: u128,
    /// The fencing tokens that were given to the holders of a lock.
    pub fences: u32,
    /// The broken promises.
    pub broken: u32,
}

impl World {
    /// The provider's entry for a transaction id.
    pub fn entry(&self, transaction: u8) -> Option<Entry> {
        self.provider.iter().find(|(id, _)| *id == transaction).map(|(_, entry)| *entry)
    }

    /// Whether the provider may have forgotten that a transaction id was used.
    pub fn has_forgotten(&self, transaction: u8) -> bool {
        self.forgotten & (1 << transaction) != 0
    }

    /// Sends a message.
    pub fn send(&mut self, message: Message) {
        let place = self.network.partition_point(|other| other.rank() < message.rank());
        self.network.insert(place, message);
    }

    /// Stores an entry at the provider.
    pub fn remember(&mut self, transaction: u8, entry: Entry) {
        let place = self.provider.partition_point(|(id, _)| *id < transaction);
        self.provider.insert(place, (transaction, entry));
    }

    /// The settled answer under the key.
    pub fn answer(&self) -> Option<(Resolution, u8)> {
        let record = self.record.as_deref()?;
        whole_answer(record).or_else(|| Some((record.settled()?.0, self.parts?.1)))
    }
}

impl Message {
    fn rank(&self) -> (u8, u8, u64) {
        match &self.ask {
            Ask::Put(put) => (self.actor, self.call, put.rank()),
            Ask::Charge(id, life) => (self.actor, self.call, u64::from(*id) * 256 + u64::from(*life)),
        }
    }
}

/// The number of a transaction id.
pub fn transaction(id: TransactionId) -> u8 {
    id.uuid().as_bytes()[0]
}

/// The answer inside a settled record.
pub fn whole_answer(record: &Record) -> Option<(Resolution, u8)> {
    let (resolution, settled) = record.settled()?;
    match &settled.response {
        Response::Whole(bytes) => Some((resolution, bytes[0])),
        Response::Parts(_) => None,
    }
}

/// The bit of an answer that is in its short form.
pub const SHORT: u8 = 0x80;

/// Whether the record contains an answer that is not in its short form.
pub fn is_long(record: &Record) -> bool {
    whole_answer(record).is_some_and(|(_, answer)| answer & SHORT == 0)
}

/// The record without its answer, as a store keeps it if answers are long.
pub fn without_its_answer(record: &Record) -> Record {
    let mut record = record.clone();
    if let State::Success(Settled { response, .. }) | State::Failed(Settled { response, .. }) = &mut record.state {
        *response = Response::Parts(1);
    }
    record
}

/// The number of the token that holds a record.
pub fn owner(record: &Record) -> Option<u8> {
    record.holder().map(|holder| holder.owner.0[0])
}

/// Whether a write begins a claim, or ends another call's.
pub fn begins(write: &Write) -> bool {
    match write.condition {
        Condition::Vacant { .. } | Condition::Unchanged(_) => true,
        Condition::Owned { .. } => false,
    }
}
