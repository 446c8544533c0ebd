//! Records, conditions and writes in a few bytes, so that millions of them fit, and the way to the real ones and back.
//!
//! What a record keeps for people only (its name, its history, the time of its last write) is left out.

use std::sync::LazyLock;
use std::time::Duration;

use idempotency::protocol::{
    self, ClaimRequest, Condition, EpochMs, EpochS, Fingerprint, History, Holder, Key, OwnerToken, Principal, Record,
    RecordId, RecordVersion, Resolution, Response, Settled, State, Status, TransactionId, Uncertain, Write,
};

/// A record.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Item {
    /// The era in which it was created: which life of the key it is.
    pub life: u8,
    /// What the request asks for.
    pub body: u8,
    /// Transaction id.
    pub transaction: u8,
    /// Attempt.
    pub attempt: u8,
    /// State.
    pub state: Standing,
    /// Token of whoever ended the last claim or wrote without one; 0 for none.
    pub ended_by: u8,
}

/// The state of a record.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Standing {
    /// PROCESSING under a claim.
    Processing(Hold),
    /// PROCESSING, released; from which era on it is expired.
    Released(u8),
    /// SUCCESS with an answer; from which era on it is expired.
    Success(u8, u8),
    /// FAILED with an answer; from which era on it is expired.
    Failed(u8, u8),
    /// UNKNOWN.
    Unknown(Option<Hold>),
}

/// Who holds a record, and in which era the lease ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Hold {
    /// Owner token.
    pub owner: u8,
    /// Era of the lease.
    pub lease: u8,
}

/// The condition of a write.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Guard {
    /// [`Condition::Vacant`], at this reading of a clock.
    Vacant(Reading),
    /// [`Condition::Unchanged`] since this was seen, which the fields of an item identify.
    Unchanged(Item),
    /// [`Condition::Owned`].
    Owned(u8),
    /// That the record is unsettled, and UNKNOWN or not: only a mutant writes so.
    Unknown(bool),
    /// None: only a mutant writes so.
    None,
}

/// A write.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Put {
    /// The record after it.
    pub item: Item,
    /// Its condition.
    pub guard: Guard,
    /// Whether the inside effect is in its transaction.
    pub effect: bool,
    /// Whether it follows from evidence.
    pub evidence: bool,
}

/// What a clock says: the era, and whether the leases of this era look over. Which of the two a clock says is free:
/// clocks may differ by any lease. By a whole retention they do not differ.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Reading {
    /// The era.
    pub era: u8,
    /// Whether leases look over.
    pub late: bool,
}

/// A settled record expires in the era after the one in which it was settled.
const ERA: Duration = Duration::from_secs(1_000_000);

impl Reading {
    /// The time of day.
    pub fn now(self) -> EpochMs {
        begin(self.era).plus(ERA / 4 * if self.late { 3 } else { 1 })
    }

    fn of(now: EpochS) -> Self {
        let era = era(EpochMs(now.0 * 1000));
        Self { era, late: EpochMs(now.0 * 1000).since(begin(era)) > ERA / 2 }
    }
}

fn begin(era: u8) -> EpochMs {
    EpochMs(0).plus(ERA * u32::from(era))
}

fn era(at: EpochMs) -> u8 {
    (u128::from(at.0) / ERA.as_millis()) as u8
}

/// The end of a lease that is given in this era.
pub fn lease(era: u8) -> EpochMs {
    begin(era).plus(ERA / 2)
}

/// The expiration of what is settled in this era.
pub fn expiration(era: u8) -> EpochS {
    begin(era + 1).seconds()
}

static ID: LazyLock<RecordId> =
    LazyLock::new(|| RecordId::new("model", &Principal::new("p").expect("valid"), &Key::new("k").expect("valid")));

/// A request for the one key of the model.
pub fn request(owner: u8, transaction: u8, body: u8, era: u8, uncertain: Uncertain) -> ClaimRequest {
    ClaimRequest {
        id: ID.clone(),
        operation: "".into(),
        principal: None,
        subject: None,
        invocation: None,
        trace: None,
        fingerprint: Fingerprint::from_bytes([body; Fingerprint::BYTES]),
        owner: OwnerToken([owner; 16]),
        transaction: TransactionId::from_bytes([transaction; 16]),
        lease: lease(era),
        uncertain,
    }
}

/// The one byte of an answer of the model.
pub fn answer(settled: &Settled) -> u8 {
    match &settled.response {
        Response::Whole(bytes) => bytes[0],
        Response::Parts(_) => unreachable!("only what is compared is without its answer"),
    }
}

/// An answer, settled in this era.
pub fn settled(answer: u8, era: u8) -> Settled {
    Settled { response: vec![answer].into(), expiration: expiration(era) }
}

impl Item {
    /// The real record.
    pub fn record(&self) -> Record {
        Record {
            id: ID.clone(),
            operation: "".into(),
            principal: None,
            subject: None,
            fingerprint: Fingerprint::from_bytes([self.body; Fingerprint::BYTES]),
            transaction: TransactionId::from_bytes([self.transaction; 16]),
            attempt: u64::from(self.attempt),
            created: begin(self.life),
            updated: begin(self.life),
            trace: None,
            state: self.state.state(),
            ended_by: (self.ended_by > 0).then_some(OwnerToken([self.ended_by; 16])),
            history: History::default(),
        }
    }

    /// The item of a real record.
    pub fn of(record: &Record) -> Self {
        Self {
            life: era(record.created),
            body: record.fingerprint.as_bytes()[0],
            transaction: transaction(record.transaction),
            attempt: record.attempt as u8,
            state: Standing::of(&record.state),
            ended_by: record.ended_by.map_or(0, |token| token.0[0]),
        }
    }

    /// The item after a transition of the protocol that leaves the condition as it is.
    pub fn rewritten(&self, transition: impl FnOnce(Write) -> Write) -> Self {
        let condition = Condition::Owned { owner: OwnerToken([0; 16]) };
        Self::of(&transition(Write { record: self.record(), condition }).record)
    }

    /// Whether its expiration has passed, as all clocks agree.
    pub fn has_expired(&self, era: u8) -> bool {
        match self.state {
            Standing::Released(at) | Standing::Success(_, at) | Standing::Failed(_, at) => at <= era,
            Standing::Processing(_) | Standing::Unknown(_) => false,
        }
    }

    /// Its owner token.
    pub fn owner(&self) -> Option<u8> {
        match self.state {
            Standing::Processing(hold) | Standing::Unknown(Some(hold)) => Some(hold.owner),
            Standing::Released(_) | Standing::Success(..) | Standing::Failed(..) | Standing::Unknown(None) => None,
        }
    }
}

impl Standing {
    fn state(self) -> State {
        let settled = |answer, era: u8| Settled { response: vec![answer].into(), expiration: begin(era).seconds() };
        match self {
            Self::Processing(hold) => State::Processing(hold.holder()),
            Self::Released(era) => State::Released { expiration: begin(era).seconds() },
            Self::Success(answer, era) => State::Success(settled(answer, era)),
            Self::Failed(answer, era) => State::Failed(settled(answer, era)),
            Self::Unknown(hold) => State::Unknown(hold.map(Hold::holder)),
        }
    }

    fn of(state: &State) -> Self {
        let at = |expiration: EpochS| era(EpochMs(expiration.0 * 1000));
        match state {
            State::Processing(holder) => Self::Processing(Hold::of(holder)),
            State::Released { expiration } => Self::Released(at(*expiration)),
            State::Success(settled) => Self::Success(answer(settled), at(settled.expiration)),
            State::Failed(settled) => Self::Failed(answer(settled), at(settled.expiration)),
            State::Unknown(holder) => Self::Unknown(holder.as_ref().map(Hold::of)),
        }
    }

    /// What it is settled as.
    pub fn answer(self) -> Option<(Resolution, u8)> {
        match self {
            Self::Success(answer, _) => Some((Resolution::Success, answer)),
            Self::Failed(answer, _) => Some((Resolution::Failed, answer)),
            Self::Processing(_) | Self::Released(_) | Self::Unknown(_) => None,
        }
    }
}

impl Hold {
    fn holder(self) -> Holder {
        Holder { owner: OwnerToken([self.owner; 16]), lease: lease(self.lease) }
    }

    fn of(holder: &Holder) -> Self {
        Self { owner: holder.owner.0[0], lease: era(holder.lease) }
    }
}

fn without_its_answer(mut record: Record) -> Record {
    if let State::Success(settled) | State::Failed(settled) = &mut record.state {
        settled.response = Response::Parts(1);
    }
    record
}

fn transaction(id: TransactionId) -> u8 {
    id.uuid().as_bytes()[0]
}

impl Guard {
    /// The real condition; none of a mutant's.
    fn condition(self) -> Option<Condition> {
        match self {
            Self::Vacant(reading) => Some(Condition::Vacant { now: reading.now().seconds() }),
            Self::Unchanged(seen) => Some(Condition::Unchanged(RecordVersion::of(&seen.record()))),
            Self::Owned(owner) => Some(Condition::Owned { owner: OwnerToken([owner; 16]) }),
            Self::Unknown(_) | Self::None => None,
        }
    }

    fn of(condition: &Condition) -> Self {
        match condition {
            Condition::Vacant { now } => Self::Vacant(Reading::of(*now)),
            Condition::Unchanged(seen) => {
                let hold =
                    seen.owner.zip(seen.lease).map(|(owner, lease)| Hold { owner: owner.0[0], lease: era(lease) });
                let state = match (seen.status, hold) {
                    (Status::Processing, Some(hold)) => Standing::Processing(hold),
                    (Status::Processing, None) => Standing::Released(0),
                    (Status::Unknown, hold) => Standing::Unknown(hold),
                    (Status::Success, _) => Standing::Success(0, 0),
                    (Status::Failed, _) => Standing::Failed(0, 0),
                };
                let (transaction, attempt) = (transaction(seen.transaction), seen.attempt as u8);
                Self::Unchanged(Item { life: 0, body: 0, transaction, attempt, state, ended_by: 0 })
            }
            Condition::Owned { owner } => Self::Owned(owner.0[0]),
        }
    }
}

impl Put {
    /// A real write, without an effect.
    pub fn of(write: &Write) -> Self {
        Self { item: Item::of(&write.record), guard: Guard::of(&write.condition), effect: false, evidence: false }
    }

    /// With the inside effect in its transaction.
    pub fn with_effect(self, effect: bool) -> Self {
        Self { effect, ..self }
    }

    /// Following from evidence.
    pub fn by_evidence(self) -> Self {
        Self { evidence: true, ..self }
    }

    /// Whether its condition holds, by the real [`Condition::holds`].
    pub fn holds(&self, found: Option<&Item>) -> bool {
        match (self.guard.condition(), self.guard) {
            (Some(condition), _) => condition.holds(found.map(Item::record).as_ref()),
            (None, Guard::Unknown(unknown)) => found.is_some_and(|found| match found.state {
                Standing::Processing(_) => !unknown,
                Standing::Unknown(_) => unknown,
                Standing::Released(_) | Standing::Success(..) | Standing::Failed(..) => false,
            }),
            (None, _) => true,
        }
    }

    /// Whether it made what was found, by the real [`Write::made`], of records as a store keeps them whose answers are
    /// long: beside the record, in as many parts as any other.
    pub fn made(&self, found: &Item) -> bool {
        let in_parts = |write: Write| Write { record: without_its_answer(write.record), ..write };
        self.write().is_some_and(|write| in_parts(write).made(&without_its_answer(found.record())))
    }

    /// The write that gives up a claim, by the real [`protocol::give_up`]: with the evidence that the claim had.
    pub fn given_up(&self, expiration: EpochS, now: EpochMs) -> Option<Self> {
        protocol::give_up(self.write()?, expiration, now).map(|end| Self { evidence: self.evidence, ..Self::of(&end) })
    }

    /// By the real [`Write::follows_uncertain`].
    pub fn follows_uncertain(&self) -> bool {
        self.write().is_some_and(|write| write.follows_uncertain())
    }

    fn write(&self) -> Option<Write> {
        self.guard.condition().map(|condition| Write { record: self.item.record(), condition })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_small_stands_for_the_real_one() {
        let hold = Hold { owner: 3, lease: 1 };
        for state in [
            Standing::Processing(hold),
            Standing::Released(2),
            Standing::Success(7, 2),
            Standing::Failed(8, 1),
            Standing::Unknown(None),
            Standing::Unknown(Some(hold)),
        ] {
            let item = Item { life: 1, body: 2, transaction: 9, attempt: 4, state, ended_by: 5 };
            assert_eq!(Item::of(&item.record()), item);
            for era in 0..4 {
                let now = Reading { era, late: false }.now();
                assert_eq!(item.record().has_expired(now), item.has_expired(era), "{item:?} in {era}");
            }
            let unchanged = Guard::Unchanged(item);
            let read_back = Guard::of(&unchanged.condition().expect("real"));
            assert_eq!(read_back.condition(), unchanged.condition());
        }
        for reading in [false, true].map(|late| Reading { era: 1, late }) {
            assert_eq!(Reading::of(reading.now().seconds()), reading);
            assert_eq!(reading.late, lease(1) <= reading.now());
        }
    }
}
