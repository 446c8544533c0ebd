//! One state of the world: the record, what is on its way, where each actor stands, and what the judge has counted.

use idempotency::protocol::Resolution;

use super::item::{Item, Put};

/// One state of the world.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct World {
    /// How often the retention has passed.
    pub era: u8,
    /// What is stored under the one key.
    pub record: Option<Item>,
    /// What is on its way, in no order.
    pub network: Vec<Message>,
    /// What the other side has under each transaction id.
    pub provider: Vec<(u8, Entry)>,
    /// Of which transaction ids it has forgotten that they were used.
    pub forgotten: u32,
    /// The actors.
    pub actors: Vec<Actor>,
    /// How many faults may still occur.
    pub faults: u8,
    /// What the judge has counted, beside the records.
    pub judge: Judge,
}

/// A request on its way to the store or the other side.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Message {
    /// Who sent it.
    pub actor: u8,
    /// In which of its calls.
    pub call: u8,
    /// What it asks for.
    pub ask: Ask,
}

/// What a message asks for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Ask {
    /// A conditional write.
    Put(Put),
    /// A charge under this transaction id, in this life of the key.
    Charge(u8, u8),
}

/// What the other side has under a transaction id, for ever. That the id was used, it may [forget](World::forgotten).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Entry {
    /// It was charged.
    Charged,
    /// It was refused for good.
    Declined,
    /// The id is taken: a charge that arrives now is refused.
    Tombstone,
}

/// Where an actor stands.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Actor {
    /// How many calls it has begun.
    pub calls: u8,
    /// In the last of them.
    pub stage: Stage,
}

/// Where a call stands: the engine's control flow.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Stage {
    /// Not in a call.
    Idle,
    /// About to decide about what was found.
    Looking(Option<Item>),
    /// Running under a claim.
    Running(Claim),
    /// Waiting for the other side.
    Charging(Claim),
    /// Holds the record as UNKNOWN, and looks for evidence.
    Asking(Claim),
    /// Waiting for the reply to a write.
    Waiting(Wait),
}

/// A claim that is held, as far as its owner knows.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Claim {
    /// The record as it was claimed.
    pub item: Item,
    /// Whether an earlier attempt may have had its effects.
    pub follows_uncertain: bool,
}

/// A write without a reply so far.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Wait {
    /// The write.
    pub put: Put,
    /// What it is for.
    pub purpose: Purpose,
    /// Whether it has taken effect, which only the judge knows.
    pub applied: bool,
}

/// What a write is for.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Purpose {
    /// To claim, to run or to reconcile.
    Claim,
    /// To put the settled record without a claim.
    SingleWrite,
    /// To mark as UNKNOWN what nobody may run over.
    Mark,
    /// To settle.
    Commit(Claim),
    /// To release.
    Release(Claim),
    /// To abandon.
    Abandon(Claim),
    /// To find out what became of a commit without a reply, and whether that has taken effect.
    FindOut(Claim, Put, bool),
    /// To give up a claim whose reply was lost.
    GiveUp,
    /// To go on after evidence.
    Restart,
    /// To release after evidence.
    Reopen,
}

/// What is counted independently of the records.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct Judge {
    /// How often the inside effect was applied, in each life of the key.
    pub effects: [u8; 3],
    /// How often the other side charged, in each life of the key.
    pub charges: [u8; 3],
    /// The final answer that was given, in each life of the key.
    pub answers: [Option<(Resolution, u8)>; 3],
    /// The owner tokens whose claims have ended or were taken over.
    pub ended: u32,
    /// Which promises were broken: see [`super::property::Promise`].
    pub broken: u16,
}

impl World {
    /// What the other side has under a transaction id.
    pub fn entry(&self, transaction: u8) -> Option<Entry> {
        self.provider.iter().find(|(id, _)| *id == transaction).map(|(_, entry)| *entry)
    }

    /// Whether the other side may have forgotten that a transaction id was used.
    pub fn has_forgotten(&self, transaction: u8) -> bool {
        self.forgotten & (1 << transaction) != 0
    }

    /// Puts a message on its way.
    pub fn send(&mut self, message: Message) {
        let place = self.network.partition_point(|other| *other < message);
        self.network.insert(place, message);
    }

    /// Makes the other side remember.
    pub fn remember(&mut self, transaction: u8, entry: Entry) {
        let place = self.provider.partition_point(|(id, _)| *id < transaction);
        self.provider.insert(place, (transaction, entry));
    }
}
