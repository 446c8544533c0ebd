//! The conversion of a handler's return value into a verdict.

use super::Verdict;
use crate::store::BoxError;

/// The return type of a message or record handler: a [`Verdict`], or a `Result`, so that it can use `?`.
///
/// `Ok(())` is [`Verdict::Success`], and `Ok(verdict)` is that verdict. `Err` is [`Verdict::Unknown`], because an error
/// does not show whether anything happened before it. In single-write mode and in streams, where all effects are
/// transactional, nothing has happened, and the message is delivered again. Under a claim the record becomes UNKNOWN,
/// and the operation runs again only with evidence from a [`Resolver`](super::Resolver) or if it is declared
/// [`Uncertain::Repeat`](crate::protocol::Uncertain::Repeat). If nothing was executed yet, return
/// [`Verdict::NotExecuted`].
pub trait IntoVerdict<T = ()> {
    /// Converts the return value into its verdict.
    fn into_verdict(self) -> Verdict<T>;
}

impl<T> IntoVerdict<T> for Verdict<T> {
    fn into_verdict(self) -> Self {
        self
    }
}

impl<T, E: Into<BoxError>> IntoVerdict<T> for Result<T, E> {
    fn into_verdict(self) -> Verdict<T> {
        self.map(Verdict::Success).into_verdict()
    }
}

impl<T, E: Into<BoxError>> IntoVerdict<T> for Result<Verdict<T>, E> {
    fn into_verdict(self) -> Verdict<T> {
        self.unwrap_or_else(|error| Verdict::Unknown(error.into().into()))
    }
}
