//! Deliberate breakages of the protocol. Each must be noticed, or the proof is worth less than it says.

/// One breakage, applied to what the real machine hears or sends, or to what is around it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Mutant {
    /// A claim of what looks vacant has no condition.
    ClaimWithoutCondition,
    /// A takeover is not conditioned on what was seen.
    TakeoverWithoutCondition,
    /// A takeover is conditioned on the status alone.
    TakeoverByStatusAlone,
    /// A commit is not conditioned on the owner.
    CommitWithoutOwner,
    /// A release is not conditioned on the owner.
    ReleaseWithoutOwner,
    /// An abandon is not conditioned on the owner.
    AbandonWithoutOwner,
    /// single-write mode puts its record without a condition.
    SingleWriteWithoutCondition,
    /// Effects are written before the record, not with it.
    EffectsBesideTheRecord,
    /// The reply to our own write is lost, and what it wrote is taken for somebody else's.
    LostReplyTakenForConflict,
    /// A claim that was refused is taken for our own without a look at the owner.
    ForeignClaimTakenForOwn,
    /// Any settled record is taken for our own write.
    ForeignAnswerTakenForOwn,
    /// A record that was settled by another call over the same release is taken for our own write, if the answer is kept
    /// in as many parts.
    AnswerOfAsManyPartsTakenForOwn,
    /// A takeover keeps the attempt number.
    AttemptDoesNotGrow,
    /// A process uses one owner token for all its claims.
    OwnerTokenReused,
    /// Each attempt has a new transaction id.
    TransactionPerAttempt,
    /// After a tombstone the same transaction id is used again.
    RestartUnderTheSameTransaction,
    /// An expired record that is still there is taken for one that has not expired.
    TimeToLiveTrusted,
    /// A claim counts as expired when its lease is over.
    ClaimExpires,
    /// What is UNKNOWN counts as expired when nobody holds it.
    UnknownExpires,
    /// Another request is answered with the record of the first.
    FingerprintIgnored,
    /// A mismatch deletes the record.
    MismatchDeletesTheRecord,
    /// A refused duplicate deletes the record of the owner.
    DuplicateDeletesTheRecord,
    /// A lease that is over is run over, undeclared.
    LeaseOverRunsAgain,
    /// UNKNOWN is run over, undeclared.
    UnknownRunsAgain,
    /// "Not found" settles FAILED.
    NotFoundTakenAsFailed,
    /// "Not found" counts as prevented, without a tombstone.
    NotFoundTakenAsPrevented,
    /// The id is taken, and that counts as prevented, when the other side may have forgotten that it was used.
    TombstoneBeyondTheMemory,
    /// "Not found" settles SUCCESS.
    NotFoundTakenAsHappened,
    /// The charge that is found settles FAILED.
    HappenedTakenAsRefused,
    /// A reconciler settles without holding the record.
    ReconcilerWithoutClaim,
    /// No answer from the other side settles FAILED.
    TimeoutStoredAsFailed,
    /// No answer from the other side releases.
    TimeoutReleased,
    /// An attempt that executed nothing releases over an uncertain one.
    ReleaseOverUncertain,
    /// A late owner answers with its own result.
    LateOwnerAnswersItself,
    /// A commit without a reply is answered as if it had taken effect.
    LostCommitTakenAsDone,
    /// A commit without a reply is taken as failed, and the claim released.
    LostCommitReleased,
    /// A late failure deletes the record, whatever it has become.
    LateFailureDeletesTheRecord,
    /// The answer is given before the commit.
    AnswerBeforeCommit,
    /// The parts of a long answer are read whichever record they were written with.
    PartsOfAnotherRecord,
    /// A process replays what it remembers after it has expired.
    RememberedForEver,
    /// A process replays what it remembers to another request.
    RememberedForAnotherRequest,
    /// A released lock expires, and its fences begin again.
    LockExpires,
}

impl Mutant {
    /// All of them.
    pub const ALL: [Self; 42] = [
        Self::ClaimWithoutCondition,
        Self::TakeoverWithoutCondition,
        Self::TakeoverByStatusAlone,
        Self::CommitWithoutOwner,
        Self::ReleaseWithoutOwner,
        Self::AbandonWithoutOwner,
        Self::SingleWriteWithoutCondition,
        Self::EffectsBesideTheRecord,
        Self::LostReplyTakenForConflict,
        Self::ForeignClaimTakenForOwn,
        Self::ForeignAnswerTakenForOwn,
        Self::AnswerOfAsManyPartsTakenForOwn,
        Self::AttemptDoesNotGrow,
        Self::OwnerTokenReused,
        Self::TransactionPerAttempt,
        Self::RestartUnderTheSameTransaction,
        Self::TimeToLiveTrusted,
        Self::ClaimExpires,
        Self::UnknownExpires,
        Self::FingerprintIgnored,
        Self::MismatchDeletesTheRecord,
        Self::DuplicateDeletesTheRecord,
        Self::LeaseOverRunsAgain,
        Self::UnknownRunsAgain,
        Self::NotFoundTakenAsFailed,
        Self::NotFoundTakenAsPrevented,
        Self::TombstoneBeyondTheMemory,
        Self::NotFoundTakenAsHappened,
        Self::HappenedTakenAsRefused,
        Self::ReconcilerWithoutClaim,
        Self::TimeoutStoredAsFailed,
        Self::TimeoutReleased,
        Self::ReleaseOverUncertain,
        Self::LateOwnerAnswersItself,
        Self::LostCommitTakenAsDone,
        Self::LostCommitReleased,
        Self::LateFailureDeletesTheRecord,
        Self::AnswerBeforeCommit,
        Self::PartsOfAnotherRecord,
        Self::RememberedForEver,
        Self::RememberedForAnotherRequest,
        Self::LockExpires,
    ];
}
