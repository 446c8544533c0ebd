//! One state of the world: the record, the messages under way, the call of each actor, and the oracle's counts.

use idempotency::protocol::machine::Machine;
use idempotency::protocol::{Record, Resolution, Response, Settled, State, TransactionId, Write};

use super::oracle::Counts;
use super::shared::Shared;

/// One state of the world.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct World {
    /// How often the retention has passed.
    pub era: u8,
    /// What is stored under the one key.
    pub record: Option<Shared<Record>>,
    /// The answer that is stored beside its record, and with which record it was written.
    pub parts: Option<(TransactionId, u8)>,
    /// The messages under way, in no order.
    pub network: Vec<Message>,
    /// What the provider has under each transaction id.
    pub provider: Vec<(u8, Entry)>,
    /// Of which transaction ids the provider has forgotten that they were used.
    pub forgotten: u32,
    /// The actors.
    pub actors: Vec<Actor>,
    /// How many faults may still occur.
    pub faults: u8,
    /// What the oracle has counted, independently of the records.
    pub counts: Counts,
}

/// A request on its way to the store or the provider.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Message {
    /// Who sent it.
    pub actor: u8,
    /// In which of its calls.
    pub call: u8,
    /// What it asks for.
    pub ask: Ask,
}

/// What a message asks for.
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
    /// Whether it follows from evidence.
    pub evidence: bool,
    /// What a mutant makes of the condition.
    pub guard: Guard,
}

/// What becomes of the condition of a write.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Guard {
    /// It is evaluated.
    Condition,
    /// Only whether the record is PROCESSING or UNKNOWN is.
    Status,
    /// Nothing is.
    None,
}

/// What the provider has under a transaction id, for ever. That the id was used, it may [forget](World::forgotten).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Entry {
    /// It was charged.
    Charged,
    /// It was refused for good.
    Declined,
    /// The id is taken: a charge that arrives now is refused.
    Tombstone,
}

/// An actor.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Actor {
    /// How many calls it has begun.
    pub calls: u8,
    /// How many owner tokens it has drawn in the last of them.
    pub draws: u8,
    /// The last of them, until it ends.
    pub machine: Option<Shared<Machine>>,
    /// What it waits for.
    pub waits: Waits,
    /// Whether there was evidence in this call, and nothing has run since.
    pub evidence: bool,
    /// The settled record that the process remembers.
    pub remembered: Option<Shared<Record>>,
}

/// What an actor waits for.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Waits {
    /// Nothing.
    Nothing,
    /// The provider's answer to a charge.
    Charge,
    /// The parts of an answer, which is replayed as it was when its record was looked at.
    Parts,
    /// The store's answer to a write; `applied` is the oracle's knowledge.
    Reply { put: Shared<Put>, applied: bool, earlier: Option<(Shared<Put>, bool)> },
}

impl World {
    /// What the provider has under a transaction id.
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

    /// Makes the provider remember.
    pub fn remember(&mut self, transaction: u8, entry: Entry) {
        let place = self.provider.partition_point(|(id, _)| *id < transaction);
        self.provider.insert(place, (transaction, entry));
    }

    /// What is settled under the key.
    pub fn answer(&self) -> Option<(Resolution, u8)> {
        let (resolution, settled) = self.record.as_ref()?.settled()?;
        match &settled.response {
            Response::Whole(bytes) => Some((resolution, bytes[0])),
            Response::Parts(_) => self.parts.map(|(_, answer)| (resolution, answer)),
        }
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

/// The answer that a settled record has in it.
pub fn whole_answer(record: &Record) -> Option<(Resolution, u8)> {
    let (resolution, settled) = record.settled()?;
    match &settled.response {
        Response::Whole(bytes) => Some((resolution, bytes[0])),
        Response::Parts(_) => None,
    }
}

/// The record as a store keeps it whose answers are long: beside it.
pub fn without_its_answer(record: &Record) -> Record {
    let mut record = record.clone();
    if let State::Success(Settled { response, .. }) | State::Failed(Settled { response, .. }) = &mut record.state {
        *response = Response::Parts(1);
    }
    record
}
