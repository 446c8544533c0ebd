//! Deliberate breakages of the protocol. Each must be detected; otherwise the proof shows less than it claims.

use strum::VariantArray;

/// One breakage, applied to the inputs or outputs of the real machine, or to its environment.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, VariantArray)]
pub enum Mutant {
    /// A claim of an apparently vacant record has no condition.
    ClaimWithoutCondition,
    /// A takeover is not conditioned on the version that was read.
    TakeoverWithoutCondition,
    /// A takeover is conditioned only on the status.
    TakeoverByStatusAlone,
    /// A commit is not conditioned on the owner.
    CommitWithoutOwner,
    /// A release is not conditioned on the owner.
    ReleaseWithoutOwner,
    /// An abandon is not conditioned on the owner.
    AbandonWithoutOwner,
    /// Single-write mode puts its record without a condition.
    SingleWriteWithoutCondition,
    /// Effects are written before the record, not with it.
    EffectsBesideTheRecord,
    /// If the reply to our own write is lost, the write counts as another caller's.
    LostReplyTakenForConflict,
    /// A claim that was refused counts as our own, without a check of the owner.
    ForeignClaimTakenForOwn,
    /// Any settled record counts as our own write.
    ForeignAnswerTakenForOwn,
    /// A record that another call settled over the same release counts as our own write, if its answer is stored in
    /// equally many parts.
    AnswerOfAsManyPartsTakenForOwn,
    /// A takeover keeps the attempt number.
    AttemptDoesNotGrow,
    /// A process uses one owner token for all its claims.
    OwnerTokenReused,
    /// Each attempt has a new transaction id.
    TransactionPerAttempt,
    /// After a tombstone the same transaction id is used again.
    RestartUnderTheSameTransaction,
    /// An expired record that is still stored counts as one that has not expired.
    TimeToLiveTrusted,
    /// A claim counts as expired when its lease ends.
    ClaimExpires,
    /// An UNKNOWN record counts as expired when it has no holder.
    UnknownExpires,
    /// Another request is answered with the record of the first.
    FingerprintIgnored,
    /// A mismatch deletes the record.
    MismatchDeletesTheRecord,
    /// A refused duplicate deletes the record of the owner.
    DuplicateDeletesTheRecord,
    /// An undeclared operation runs again after a lease has ended.
    LeaseOverRunsAgain,
    /// An undeclared operation runs again after UNKNOWN.
    UnknownRunsAgain,
    /// "Not found" settles FAILED.
    NotFoundTakenAsFailed,
    /// "Not found" counts as prevented, without a tombstone.
    NotFoundTakenAsPrevented,
    /// A tombstone counts as proof of prevention even if the provider may have forgotten that the id was used.
    TombstoneBeyondTheMemory,
    /// "Not found" settles SUCCESS.
    NotFoundTakenAsHappened,
    /// A charge that was found settles FAILED.
    HappenedTakenAsRefused,
    /// A reconciler settles without holding the record.
    ReconcilerWithoutClaim,
    /// A missing reply from the provider settles FAILED.
    TimeoutStoredAsFailed,
    /// A missing reply from the provider releases the claim.
    TimeoutReleased,
    /// An attempt that executed nothing releases the claim after an uncertain one.
    ReleaseOverUncertain,
    /// A late owner answers with its own result.
    LateOwnerAnswersItself,
    /// A commit without a reply is answered as if it had taken effect.
    LostCommitTakenAsDone,
    /// A commit without a reply counts as failed, and the claim is released.
    LostCommitReleased,
    /// A settling write that the store rejects is answered as if it had taken effect.
    RejectionTakenAsDone,
    /// A late failure deletes the record, whatever its state.
    LateFailureDeletesTheRecord,
    /// The answer is given before the commit.
    AnswerBeforeCommit,
    /// The parts of a long answer are read regardless of the record that they belong to.
    PartsOfAnotherRecord,
    /// A process replays a cached record after it has expired.
    RememberedForEver,
    /// A process replays a cached record to another request.
    RememberedForAnotherRequest,
    /// A claim or a single write has no condition if an eventually consistent read found nothing.
    LookUpTrusted,
    /// A released lock expires, and its fences begin again.
    LockExpires,
    /// A call that has taken as long as the retention still writes without a claim.
    CallsOutliveTheRetention,
}
