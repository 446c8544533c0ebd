//! What is remembered of one (namespace, principal, key).

use std::fmt;
use std::sync::Arc;

use uuid::Uuid;

use super::{EpochMs, EpochS, Fingerprint, History, PrincipalDigest, RecordId, Trace};

/// The item that remembers one operation.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Record {
    /// Where it is stored.
    pub id: RecordId,
    /// The name of the protected operation, for people; never part of the lookup.
    pub operation: Arc<str>,
    /// Who asked, as a digest, for people; nothing in a record of an older version.
    pub principal: Option<PrincipalDigest>,
    /// What it is about, for whoever reconciles it.
    pub subject: Option<Subject>,
    /// What "the same request" was when the current attempt began.
    pub fingerprint: Fingerprint,
    /// The server-made id, kept over all attempts and handed to other systems as their idempotency key.
    pub transaction: TransactionId,
    /// The number of the last attempt, from 1; it only grows.
    pub attempt: u64,
    /// When the first attempt began.
    pub created: EpochMs,
    /// When it was last written.
    pub updated: EpochMs,
    /// The trace in which the first attempt began, for people, where that is known.
    pub trace: Option<Trace>,
    /// Where it stands.
    pub state: State,
    /// Of a record that nobody holds: the token of whoever made it so, by ending a claim or by writing without one.
    /// Nothing in a record that is held, or was written by an older version.
    pub ended_by: Option<OwnerToken>,
    /// What happened to it, for people.
    pub history: History,
}

impl Record {
    /// The expiration, which only a settled or a released record has: what may still take effect is never forgotten.
    #[must_use]
    pub const fn expiration(&self) -> Option<EpochS> {
        match &self.state {
            State::Success(settled) | State::Failed(settled) => Some(settled.expiration),
            State::Released { expiration } => Some(*expiration),
            State::Processing(_) | State::Unknown(_) => None,
        }
    }

    /// Whether the expiration has passed. DynamoDB deletes late (within days), so a record that is still there
    /// may have expired long ago.
    #[must_use]
    pub fn has_expired(&self, now: EpochMs) -> bool {
        self.expiration().is_some_and(|expiration| expiration <= now.seconds())
    }

    /// Who holds it.
    #[must_use]
    pub const fn holder(&self) -> Option<&Holder> {
        match &self.state {
            State::Processing(holder) | State::Unknown(Some(holder)) => Some(holder),
            State::Released { .. } | State::Success(_) | State::Failed(_) | State::Unknown(None) => None,
        }
    }

    /// The token of its last write, which tells that write from every other one.
    #[must_use]
    pub const fn writer(&self) -> Option<OwnerToken> {
        match self.holder() {
            Some(holder) => Some(holder.owner),
            None => self.ended_by,
        }
    }

    /// What it was settled as, if it is.
    #[must_use]
    pub const fn settled(&self) -> Option<(Resolution, &Settled)> {
        match &self.state {
            State::Success(settled) => Some((Resolution::Success, settled)),
            State::Failed(settled) => Some((Resolution::Failed, settled)),
            State::Processing(_) | State::Released { .. } | State::Unknown(_) => None,
        }
    }
}

/// Where a record stands. A combination that must not occur cannot be written down.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum State {
    /// PROCESSING under a claim.
    Processing(Holder),
    /// PROCESSING, and nobody holds it: nothing was executed, the next claim begins again.
    Released {
        /// From when on it counts as absent.
        expiration: EpochS,
    },
    /// SUCCESS: it happened, and this is the answer.
    Success(Settled),
    /// FAILED: it did not happen and will not, and this is the answer.
    Failed(Settled),
    /// UNKNOWN: whether it happened is not known; held by whoever reconciles it at the moment.
    Unknown(Option<Holder>),
}

impl State {
    /// The status under which it is stored.
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
    /// Not known; waits for evidence.
    Unknown,
}

impl Status {
    /// The word that is stored.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Processing => "PROCESSING",
            Self::Success => "SUCCESS",
            Self::Failed => "FAILED",
            Self::Unknown => "UNKNOWN",
        }
    }

    /// The status behind a stored word.
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

/// What a settled record keeps.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Settled {
    /// What to replay.
    pub response: Response,
    /// From when on the record counts as absent.
    pub expiration: EpochS,
}

impl Settled {
    /// Whether all of the response is here.
    #[must_use]
    pub const fn is_whole(&self) -> bool {
        match &self.response {
            Response::Whole(_) => true,
            Response::Parts(_) => false,
        }
    }
}

/// What to replay; only the layer above knows its form.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Response {
    /// All of it.
    Whole(Vec<u8>),
    /// It was too long for the record: so many parts of it are stored beside, written together with it.
    Parts(u32),
}

impl From<Vec<u8>> for Response {
    fn from(whole: Vec<u8>) -> Self {
        Self::Whole(whole)
    }
}

/// The exclusive right to one attempt, as the record shows it.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Holder {
    /// Whose it is.
    pub owner: OwnerToken,
    /// Until when it is respected. A hint for others, never a licence: the owner's writes are guarded by its token.
    pub lease: EpochMs,
}

/// The token of one claim: 16 random bytes that nobody else has.
///
/// Every later write of the claim is conditioned on it, and it tells the lost reply of our own write
/// from somebody else's claim.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct OwnerToken(pub [u8; 16]);

impl fmt::Debug for OwnerToken {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "OwnerToken({:032x})", u128::from_be_bytes(self.0))
    }
}

/// The server-made id of one operation: a UUIDv7, the same over all its attempts.
///
/// Handed to other systems as *their* idempotency key, so that a repeat is one effect there too (guarantee G8).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct TransactionId(Uuid);

impl TransactionId {
    /// A new id from the time and ten random bytes (RFC 9562, section 5.7).
    #[must_use]
    pub fn new(now: EpochMs, random: [u8; 10]) -> Self {
        Self(uuid::Builder::from_unix_timestamp_millis(now.0, &random).into_uuid())
    }

    /// The id behind stored bytes.
    #[must_use]
    pub const fn from_bytes(bytes: [u8; 16]) -> Self {
        Self(Uuid::from_bytes(bytes))
    }

    /// When it was made, by the clock that made it: at the first claim, or when an earlier id was given up. Never later
    /// than it was used. Nothing if it is no UUIDv7.
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

/// What an operation is about, in the words of the application: what whoever reconciles it must know to look for
/// evidence, and people to weigh it. It is stored in clear from the claim on, so name things, not persons.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Subject(String);

impl Subject {
    /// The longest subject that is accepted: a settled record is to fit one write unit with it.
    pub const MAX_BYTES: usize = 256;

    /// Checks a subject; nothing if it is longer than [`Subject::MAX_BYTES`] or empty.
    #[must_use]
    pub fn new(text: impl Into<String>) -> Option<Self> {
        let text = text.into();
        (!text.is_empty() && text.len() <= Self::MAX_BYTES).then_some(Self(text))
    }

    /// The application's words.
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
