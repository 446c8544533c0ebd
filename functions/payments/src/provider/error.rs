use crate::SecretError;

/// A request that got no final answer.
///
/// It is about this one request only, not about earlier requests under the same transaction id: a caller that may have
/// sent one before must treat every variant as [`ProviderError::Unknown`].
#[derive(Debug, thiserror::Error)]
pub enum ProviderError {
    /// No connection was established, so nothing reached the provider. Safe to report as not executed.
    #[error("the provider could not be reached; nothing was sent")]
    NotSent(#[source] reqwest::Error),
    /// Our API key is not available, so nothing was sent. Safe to report as not executed.
    #[error("the provider's API key is not available; nothing was sent")]
    NoApiKey(#[source] SecretError),
    /// No time was left for the request, so it was not sent. Safe to report as not executed.
    #[error("no time was left to ask the provider; nothing was sent")]
    OutOfTime,
    /// The provider rejected the request before executing anything: too many requests (429), or our API key is wrong or
    /// not allowed to do this (401, 403). Safe to report as not executed; never final, because it is not about the
    /// payment.
    #[error("the provider executed nothing: {0}")]
    NotExecuted(String),
    /// It may have happened, or may still happen. Every other reply is one of these.
    #[error("the outcome at the provider is not known: {why}")]
    Unknown {
        /// What was seen.
        why: String,
        /// Whether the provider reports that the idempotency key was used with other parameters, or that a request
        /// under it is running: some request was made under it, whatever its outcome.
        key_used: bool,
        /// The connection's error, if that was the cause.
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

    /// Whether this was refused because of an earlier request under the idempotency key.
    pub fn is_key_used(&self) -> bool {
        match self {
            Self::NotSent(_) | Self::NoApiKey(_) | Self::NotExecuted(_) | Self::OutOfTime => false,
            Self::Unknown { key_used, .. } => *key_used,
        }
    }

    /// An error between connecting and the head of the reply. Only while connecting is it certain that no byte of the
    /// request was sent; a timeout without a phase may have occurred later.
    pub(super) fn sending(error: reqwest::Error) -> Self {
        if error.is_connect() || error.is_builder() {
            return Self::NotSent(error);
        }
        let why = if error.is_timeout() { "no answer in time" } else { "the connection was lost before an answer" };
        Self::Unknown { why: why.to_owned(), key_used: false, source: Some(error) }
    }

    /// An error after the head of the reply. The status alone is not final: the body has the kind of error and the
    /// charge.
    pub(super) fn reading(error: reqwest::Error) -> Self {
        let why = if error.is_timeout() { "no whole answer in time" } else { "the connection was lost in the answer" };
        Self::Unknown { why: why.to_owned(), key_used: false, source: Some(error) }
    }
}

/// Invalid settings of the client. No message shows the API key.
#[derive(Debug, thiserror::Error)]
pub enum SettingsError {
    /// The base URL is not one of `https` or `http`.
    #[error("the provider's base URL must be an http or https URL")]
    Url,
    /// TLS could not be initialised.
    #[error("the provider's client could not be made")]
    Client(#[source] reqwest::Error),
}
