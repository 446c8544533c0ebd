/// A request that got no final answer.
///
/// It speaks of this one request. What earlier requests under the same transaction id have done, it does not know: a
/// caller that may have sent one before must take all of them for [`ProviderError::Unknown`].
#[derive(Debug, thiserror::Error)]
pub enum ProviderError {
    /// No connection came about, so nothing reached the provider. Safe to report as not executed.
    #[error("the provider could not be reached; nothing was sent")]
    NotSent(#[source] reqwest::Error),
    /// No time was left for the request, so it was not sent. Safe to report as not executed.
    #[error("no time was left to ask the provider; nothing was sent")]
    OutOfTime,
    /// The provider says that it turned the request away before executing anything: too many requests (429), or our
    /// API key is wrong or not allowed to do this (401, 403). Safe to report as not executed; never final, because it
    /// says nothing about the payment.
    #[error("the provider executed nothing: {0}")]
    NotExecuted(String),
    /// It may have happened, or may still happen. Everything that is not one of the other answers ends up here.
    #[error("the outcome at the provider is not known: {why}")]
    Unknown {
        /// What was seen.
        why: String,
        /// Whether the provider says that the idempotency key was used for something else, or that a request under it
        /// is running: something was asked for under it, whatever became of that.
        key_used: bool,
        /// What broke the connection, if that was it.
        source: Option<reqwest::Error>,
    },
}

impl ProviderError {
    pub(super) fn unknown(why: impl Into<String>) -> Self {
        Self::Unknown { why: why.into(), key_used: false, source: None }
    }

    pub(super) fn key_used(why: impl Into<String>) -> Self {
        Self::Unknown { why: why.into(), key_used: true, source: None }
    }

    /// Whether something was asked for before under the idempotency key, and this was therefore refused.
    pub fn is_key_used(&self) -> bool {
        match self {
            Self::NotSent(_) | Self::NotExecuted(_) | Self::OutOfTime => false,
            Self::Unknown { key_used, .. } => *key_used,
        }
    }

    /// From connecting to the head of the answer. Only while connecting it is certain that no byte of the request
    /// left; a timeout that does not say where it struck may have struck later.
    pub(super) fn sending(error: reqwest::Error) -> Self {
        if error.is_connect() || error.is_builder() {
            return Self::NotSent(error);
        }
        let why = if error.is_timeout() { "no answer in time" } else { "the connection was lost before an answer" };
        Self::Unknown { why: why.to_owned(), key_used: false, source: Some(error) }
    }

    /// After the head of the answer. Its status alone settles nothing: the body says which kind of error it is, and
    /// which charge.
    pub(super) fn reading(error: reqwest::Error) -> Self {
        let why = if error.is_timeout() { "no whole answer in time" } else { "the connection was lost in the answer" };
        Self::Unknown { why: why.to_owned(), key_used: false, source: Some(error) }
    }
}

/// Settings that the client cannot work with. None of them shows the API key.
#[derive(Debug, thiserror::Error)]
pub enum SettingsError {
    /// The base URL is not one of `https` or `http`.
    #[error("the provider's base URL must be an http or https URL")]
    Url,
    /// The API key has characters that no header can carry.
    #[error("the provider's API key must be visible ASCII")]
    ApiKey,
    /// TLS could not be set up.
    #[error("the provider's client could not be made")]
    Client(#[source] reqwest::Error),
}
