//! Classifies DynamoDB's errors for a write: refused, worth a retry, certainly not applied, or unknown.

use aws_sdk_dynamodb::error::{BuildError, ProvideErrorMetadata, SdkError};
use aws_sdk_dynamodb::operation::put_item::PutItemError;
use aws_sdk_dynamodb::operation::transact_write_items::TransactWriteItemsError;
use aws_sdk_dynamodb::types::CancellationReason;

use super::Item;
use crate::store::{RefusedEffect, StoreError};

/// The reason that a request did not succeed.
#[derive(Debug)]
pub(super) enum Failure {
    /// The record's condition did not hold. Contains the stored item, if any.
    Refused(Option<Item>),
    /// The condition of an effect did not hold.
    EffectRefused(RefusedEffect<Item>),
    /// Concurrent writes interfered: a conflicting transaction, or too many requests. A retry may succeed; contains the
    /// error for the case that there is no time for a retry.
    Contended(StoreError),
    /// Any other error.
    Store(StoreError),
}

impl Failure {
    pub(super) const fn is_contended(&self) -> bool {
        matches!(self, Self::Contended(_))
    }

    /// A part of an answer was refused although the record was not: a foreign item has the part's key.
    pub(super) fn part_in_the_way() -> Self {
        Self::Store(StoreError::NotApplied("another item has the key of a part of the answer".into()))
    }

    pub(super) fn from_put<R>(error: SdkError<PutItemError, R>) -> Self
    where
        R: std::fmt::Debug + Send + Sync + 'static,
    {
        match error {
            SdkError::ServiceError(service) if service.err().is_conditional_check_failed_exception() => {
                let PutItemError::ConditionalCheckFailedException(refused) = service.into_err() else {
                    return Self::Refused(None);
                };
                Self::Refused(refused.item)
            }
            other => Self::from_sdk(other),
        }
    }

    pub(super) fn from_transaction<R>(error: SdkError<TransactWriteItemsError, R>) -> Self
    where
        R: std::fmt::Debug + Send + Sync + 'static,
    {
        Self::from_cancellation(reasons(&error).to_vec()).unwrap_or_else(|| Self::from_sdk(error))
    }

    /// Interprets the reasons of a cancelled transaction, one per action in order, the record's first.
    ///
    /// A failed condition is final, so it takes precedence over a conflict or throttling in the same transaction.
    pub(super) fn from_cancellation(reasons: Vec<CancellationReason>) -> Option<Self> {
        match reasons.iter().position(is_refusal) {
            Some(0) => return Some(Self::Refused(reasons.into_iter().next().and_then(|reason| reason.item))),
            Some(action) => {
                let found = reasons.into_iter().nth(action).and_then(|reason| reason.item).map(Box::new);
                return Some(Self::EffectRefused(RefusedEffect { index: action - 1, found }));
            }
            None => {}
        }
        let contended = |reason: &CancellationReason| {
            matches!(reason.code(), Some("TransactionConflict" | "ThrottlingError" | "ProvisionedThroughputExceeded"))
        };
        let reason = reasons.iter().find(|reason| contended(reason))?;
        Some(Self::Contended(StoreError::Uncertain(reason.code().unwrap_or_default().into())))
    }

    fn from_sdk<E, R>(error: SdkError<E, R>) -> Self
    where
        E: std::error::Error + ProvideErrorMetadata + Send + Sync + 'static,
        R: std::fmt::Debug + Send + Sync + 'static,
    {
        let code = error.code().unwrap_or_default();
        match code {
            // These come after the SDK's own retries. An earlier attempt may have been applied, and only its reply been
            // lost.
            "TransactionConflictException"
            | "TransactionInProgressException"
            | "ThrottlingException"
            | "ProvisionedThroughputExceededException"
            | "RequestLimitExceeded" => return Self::Contended(StoreError::Uncertain(error.into())),
            _ => {}
        }
        Self::Store(match Fate::of(&error) {
            Fate::Rejected => StoreError::Rejected(error.into()),
            Fate::NotApplied => StoreError::NotApplied(error.into()),
            Fate::Uncertain => StoreError::Uncertain(error.into()),
        })
    }
}

/// The reasons of a cancelled transaction, one per action in order; none for another error.
pub(super) fn reasons<R>(error: &SdkError<TransactWriteItemsError, R>) -> &[CancellationReason] {
    match error.as_service_error() {
        Some(TransactWriteItemsError::TransactionCanceledException(cancelled)) => cancelled.cancellation_reasons(),
        _ => &[],
    }
}

/// Whether an action was refused by its condition.
pub(super) fn is_refusal(reason: &CancellationReason) -> bool {
    reason.code() == Some("ConditionalCheckFailed")
}

/// The effect of a request that failed.
enum Fate {
    /// The service rejected the request itself: it is too large, or its actions do not fit together or do not fit their
    /// items.
    Rejected,
    /// The service refused it for another reason, or certainly did not receive it.
    NotApplied,
    /// It may have been applied, in particular after a time-out.
    Uncertain,
}

impl Fate {
    /// Only the last attempt is visible here: an earlier one may have been applied and its reply lost. An error code is
    /// conclusive only if every attempt would get it (bad request, missing table, no permission). Throttling is not,
    /// since an earlier attempt may have been applied.
    ///
    /// A transaction is cancelled with `TransactionCanceledException`; a failed condition, conflict or throttling among
    /// its reasons has been handled before.
    fn of<E: ProvideErrorMetadata, R>(error: &SdkError<E, R>) -> Self {
        match error {
            SdkError::ConstructionFailure(_) => Self::NotApplied,
            SdkError::ServiceError(service) => match service.err().code().unwrap_or_default() {
                "ValidationException" | "ItemCollectionSizeLimitExceededException" | "TransactionCanceledException" => {
                    Self::Rejected
                }
                "ResourceNotFoundException"
                | "AccessDeniedException"
                | "UnrecognizedClientException"
                | "MissingAuthenticationTokenException" => Self::NotApplied,
                _ => Self::Uncertain,
            },
            _ => Self::Uncertain,
        }
    }
}

impl From<BuildError> for Failure {
    fn from(error: BuildError) -> Self {
        Self::Store(StoreError::NotApplied(error.into()))
    }
}

impl From<Failure> for StoreError {
    fn from(failure: Failure) -> Self {
        match failure {
            Failure::Store(error) | Failure::Contended(error) => error,
            // These are results, which the callers convert into a `Written` before.
            Failure::Refused(_) | Failure::EffectRefused(_) => Self::NotApplied("the condition did not hold".into()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn reasons(codes: &[&str]) -> Vec<CancellationReason> {
        codes.iter().map(|code| CancellationReason::builder().code(*code).build()).collect()
    }

    fn shown(codes: &[&str]) -> String {
        match Failure::from_cancellation(reasons(codes)) {
            Some(Failure::Refused(_)) => "refused".into(),
            Some(Failure::EffectRefused(refused)) => format!("effect {} refused", refused.index),
            Some(Failure::Contended(_)) => "contended".into(),
            Some(Failure::Store(_)) => "store".into(),
            None => "no reason known".into(),
        }
    }

    #[test]
    fn a_failed_condition_wins_over_a_conflict_beside_it() {
        assert_eq!(shown(&["ConditionalCheckFailed", "TransactionConflict"]), "refused");
        assert_eq!(shown(&["TransactionConflict", "ConditionalCheckFailed"]), "effect 0 refused");
        assert_eq!(shown(&["None", "None", "ConditionalCheckFailed"]), "effect 1 refused");
    }

    #[test]
    fn a_conflict_or_a_throttle_alone_is_repeated() {
        for code in ["TransactionConflict", "ThrottlingError", "ProvisionedThroughputExceeded"] {
            assert_eq!(shown(&["None", code]), "contended");
        }
        assert_eq!(shown(&["None", "ValidationError"]), "no reason known");
        assert_eq!(shown(&[]), "no reason known");
    }
}
