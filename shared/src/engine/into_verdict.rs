//! What a handler may return instead of a verdict.

use super::Verdict;
use crate::store::BoxError;

/// What a handler of messages or records returns: a [`Verdict`], or a `Result`, so that it can use `?`.
///
/// `Ok(())` is [`Verdict::Success`], and `Ok(verdict)` the verdict. `Err` is [`Verdict::Unknown`]: it does not say whether
/// anything happened before the error. In single-write mode and in streams, where all effects are transactional, nothing
/// happened then, and the message is delivered again. Under a claim the record becomes UNKNOWN, and runs again only with
/// evidence from a [`Resolver`](super::Resolver) or if the operation is
/// [`Uncertain::Repeat`](crate::protocol::Uncertain::Repeat). To say that nothing was executed yet, return
/// [`Verdict::NotExecuted`].
pub trait IntoVerdict<T = ()> {
    /// The verdict.
    fn into_verdict(self) -> Verdict<T>;
}

impl<T> IntoVerdict<T> for Verdict<T> {
    fn into_verdict(self) -> Self {
        self
    }
}

impl<T, E: Into<BoxError>> IntoVerdict<T> for Result<T, E> {
    fn into_verdict(self) -> Verdict<T> {
        match self {
            Ok(answer) => Verdict::Success(answer),
            Err(error) => Verdict::Unknown(error.into().into()),
        }
    }
}

impl<T, E: Into<BoxError>> IntoVerdict<T> for Result<Verdict<T>, E> {
    fn into_verdict(self) -> Verdict<T> {
        match self {
            Ok(verdict) => verdict,
            Err(error) => Verdict::Unknown(error.into().into()),
        }
    }
}
