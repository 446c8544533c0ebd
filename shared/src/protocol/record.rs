//! The record of one operation, identified by namespace, principal and key.

use std::fmt;
use std::sync::Arc;

use uuid::Uuid;

use super::{EpochMs, EpochS, Fingerprint, History, PrincipalDigest, RecordId, Trace};
#[cfg(any(test, feature = "test-util"))]
use super::{Fingerprinter, Key, Principal};

/// The stored state of one operation.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Record {
    /// The primary key.
    pub id: RecordId,
    /// The name of the protected operation, for people; never part of the lookup.
    pub operation: Arc<str>,
    /// The digest of the principal, for people; `None` in a record of an older version.
    pub principal: Option<PrincipalDigest>,
    /// The subject of the operation, for reconciling it.
    pub subject: Option<Subject>,
    /// The fingerprint of the request when the current attempt began.
    pub fingerprint: Fingerprint,
    /// The server-made id, kept for all attempts and passed to other systems as their idempotency key.
    pub transaction: TransactionId,
    /// The number of the last attempt, from 1; it only grows.
    pub attempt: u64,
    /// When the first attempt began.
    pub created: EpochMs,
    /// When the record was last written.
    pub updated: EpochMs,
    /// The trace in which the first attempt began, if known; for people.
    pub trace: Option<Trace>,
    /// The current state.
    pub state: State,
    /// The token that ended the last claim, or that wrote without one. `None` while the record is held, or if an older
    /// version wrote it.
    pub ended_by: Option<OwnerToken>,
    /// The history of the record, for people.
    pub history: History,
}

impl Record {
    /// The expiration, which only a settled or released record has: the record of an operation that may still take
    /// effect never expires.
    #[must_use]
    pub const fn expiration(&self) -> Option<EpochS> {
        match &self.state {
            State::Success(settled) | State::Failed(settled) => Some(settled.expiration),
            State::Released { expiration } => Some(*expiration),
            State::Processing(_) | State::Unknown(_) => None,
        }
    }

    /// Whether the expiration has passed. DynamoDB deletes expired items late (within days), so the record may still be
    /// stored long after.
    #[must_use]
    pub fn has_expired(&self, now: EpochMs) -> bool {
        self.expiration().is_some_and(|expiration| expiration <= now.seconds())
    }

    /// The current holder, if any.
    #[must_use]
    pub const fn holder(&self) -> Option<&Holder> {
        match &self.state {
            State::Processing(holder) | State::Unknown(Some(holder)) => Some(holder),
            State::Released { .. } | State::Success(_) | State::Failed(_) | State::Unknown(None) => None,
        }
    }

    /// The token of the last write, which distinguishes that write from every other.
    #[must_use]
    pub const fn writer(&self) -> Option<OwnerToken> {
        match self.holder() {
            Some(holder) => Some(holder.owner),
            None => self.ended_by,
        }
    }

    /// The resolution and the answer, if the record is settled.
    #[must_use]
    pub const fn settled(&self) -> Option<(Resolution, &Settled)> {
        match &self.state {
            State::Success(settled) => Some((Resolution::Success, settled)),
            State::Failed(settled) => Some((Resolution::Failed, settled)),
            State::Processing(_) | State::Released { .. } | State::Unknown(_) => None,
        }
    }
}

#[cfg(any(test, feature = "test-util"))]
impl Record {
    /// A sample record for tests that set only the members they need: a first attempt with an unknown outcome.
    ///
    /// # Panics
    /// Never: its key and its principal are valid.
    #[must_use]
    pub fn sample() -> Self {
        let (principal, key) = (Principal::new("p").expect("valid"), Key::new("k").expect("valid"));
        Self {
            id: RecordId::new("payments", &principal, &key),
            operation: "POST /payments".into(),
            principal: None,
            subject: None,
            fingerprint: Fingerprinter::new().finish(),
            transaction: TransactionId::new(EpochMs(1_700_000_000_000), [0; 10]),
            attempt: 1,
            created: EpochMs(1),
            updated: EpochMs(2),
            trace: None,
            state: State::Unknown(None),
            ended_by: None,
            history: History::default(),
        }
    }
}

/// The state of a record. Impossible combinations cannot be expressed.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum State {
    /// PROCESSING under a claim.
    Processing(Holder),
    /// PROCESSING without a holder: nothing was executed, and the next claim begins again.
    Released {
        /// When the record starts to count as absent.
        expiration: EpochS,
    },
    /// SUCCESS: it happened, and this is the answer.
    Success(Settled),
    /// FAILED: it did not happen and will not, and this is the answer.
    Failed(Settled),
    /// UNKNOWN: it is unknown whether the operation happened. The record has a holder while it is being reconciled.
    Unknown(Option<Holder>),
}

impl State {
    /// The status under which the state is stored.
    #[must_use]
    pub const fn status(&self) -> Status {
        match self {
            Self::Processing(_) | Self::Released { .. } => Status::Processing,
            Self::Success(_) => Status::Success,
            Self::Failed(_) => Status::Failed,
            Self::Unknown(_) => Status::Unknown,
        }
    }
}

/// The four states that people see.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Status {
    /// Running, or released.
    Processing,
    /// Settled: it happened.
    Success,
    /// Settled: it did not happen and will not.
    Failed,
    /// It is unknown whether it happened; the record waits for evidence.
    Unknown,
}

impl Status {
    /// The stored word.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Processing => "PROCESSING",
            Self::Success => "SUCCESS",
            Self::Failed => "FAILED",
            Self::Unknown => "UNKNOWN",
        }
    }

    /// The status for a stored word.
    #[must_use]
    pub fn from_stored(word: &str) -> Option<Self> {
        [Self::Processing, Self::Success, Self::Failed, Self::Unknown]
            .into_iter()
            .find(|status| status.as_str() == word)
    }
}

/// How a settled operation ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Resolution {
    /// It happened.
    Success,
    /// It did not happen and will not.
    Failed,
}

/// The contents of a settled record.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Settled {
    /// The answer to replay.
    pub response: Response,
    /// When the record starts to count as absent.
    pub expiration: EpochS,
}

impl Settled {
    /// Whether the record contains the whole answer.
    #[must_use]
    pub const fn is_whole(&self) -> bool {
        match &self.response {
            Response::Whole(_) => true,
            Response::Parts(_) => false,
        }
    }
}

/// The stored answer, whose form only the layer above knows.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Response {
    /// The whole answer.
    Whole(Vec<u8>),
    /// The answer was too long for the record: it is stored in this many further items, written in the same
    /// transaction.
    Parts(u32),
}

impl From<Vec<u8>> for Response {
    fn from(whole: Vec<u8>) -> Self {
        Self::Whole(whole)
    }
}

/// The holder of the exclusive right to one attempt, as the record shows it.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Holder {
    /// The token of the holder's claim.
    pub owner: OwnerToken,
    /// When the claim may be taken over. The lease only informs other processes: the owner's writes are guarded by its
    /// token.
    pub lease: EpochMs,
}

/// The token of one claim: 16 random bytes that no other claim has.
///
/// Every later write of the claim is conditioned on it, and it distinguishes our own write, whose reply was lost, from
/// another call's claim.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct OwnerToken(pub [u8; 16]);

impl fmt::Debug for OwnerToken {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "OwnerToken({:032x})", u128::from_be_bytes(self.0))
    }
}

/// The server-made id of one operation: a UUIDv7, the same for all its attempts.
///
/// It is passed to other systems as *their* idempotency key, so that a repetition is a single effect there, too
/// (guarantee G8).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct TransactionId(Uuid);

impl TransactionId {
    /// Creates an id from the time and ten random bytes (RFC 9562, section 5.7).
    #[must_use]
    pub fn new(now: EpochMs, random: [u8; 10]) -> Self {
        Self(uuid::Builder::from_unix_timestamp_millis(now.0, &random).into_uuid())
    }

    /// Creates an id from stored bytes.
    #[must_use]
    pub const fn from_bytes(bytes: [u8; 16]) -> Self {
        Self(Uuid::from_bytes(bytes))
    }

    /// When the id was created, by its creator's clock: at the first claim, or when an earlier id was replaced. The id
    /// was not used before this time. `None` if it is not a UUIDv7.
    #[must_use]
    pub fn made(self) -> Option<EpochMs> {
        let (seconds, nanoseconds) = self.0.get_timestamp().filter(|_| self.0.get_version_num() == 7)?.to_unix();
        Some(EpochMs(seconds.saturating_mul(1000).saturating_add(u64::from(nanoseconds / 1_000_000))))
    }

    /// The UUID.
    #[must_use]
    pub const fn uuid(self) -> Uuid {
        self.0
    }
}

impl fmt::Display for TransactionId {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(formatter)
    }
}

/// The subject of an operation, in the application's own format: the data that a reconciler needs to look for evidence,
/// and an operator to assess it. It is stored in clear text from the claim on, so it should name things, not persons.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Subject(String);

impl Subject {
    /// The maximum length of a subject in bytes, chosen so that a settled record with a subject of this length fits one
    /// write unit.
    pub const MAX_BYTES: usize = 256;

    /// Validates a subject; `None` if it is empty or longer than [`Subject::MAX_BYTES`].
    #[must_use]
    pub fn new(text: impl Into<String>) -> Option<Self> {
        let text = text.into();
        (!text.is_empty() && text.len() <= Self::MAX_BYTES).then_some(Self(text))
    }

    /// The text of the subject.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_subject_is_short_and_says_something() {
        assert_eq!(Subject::new(""), None);
        assert_eq!(Subject::new("s".repeat(257)), None);
        assert!(Subject::new("s".repeat(256)).is_some());
    }

    #[test]
    fn every_status_is_read_back_from_its_word() {
        for status in [Status::Processing, Status::Success, Status::Failed, Status::Unknown] {
            assert_eq!(Status::from_stored(status.as_str()), Some(status));
        }
        assert_eq!(Status::from_stored("COMPLETED"), None);
    }

    #[test]
    fn a_transaction_id_is_a_uuid_of_version_7_that_sorts_by_time() {
        let earlier = TransactionId::new(EpochMs(1_000), [0xff; 10]);
        let later = TransactionId::new(EpochMs(1_001), [0x00; 10]);
        assert_eq!(earlier.uuid().get_version_num(), 7);
        assert!(earlier < later);
    }

    #[test]
    fn a_transaction_id_says_when_it_was_made_and_another_uuid_does_not() {
        let made = EpochMs(1_795_494_059_257);
        assert_eq!(TransactionId::new(made, [7; 10]).made(), Some(made));
        assert_eq!(TransactionId::from_bytes([1; 16]).made(), None);
        assert_eq!(TransactionId::from_bytes(*Uuid::from_u128(0x4000_8000_0000_0000_0000).as_bytes()).made(), None);
    }
}
