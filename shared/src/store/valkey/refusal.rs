//! Classifies the errors of a request: whether it may have taken effect, and whether another try can help.

use std::io;
use std::sync::Arc;

use redis::{ErrorKind, RedisError};

use super::server::Address;
use crate::store::BoxError;

/// A try that failed.
#[derive(Debug)]
pub(super) struct Failure {
    pub(super) why: Why,
    pub(super) source: BoxError,
}

/// The reason that a try failed.
#[derive(Debug)]
pub(super) enum Why {
    /// No connection was made, so nothing was sent. Another try may make one.
    Unreachable,
    /// The server does not let us in, or is not the one we trust.
    Rejected,
    /// The request was sent, and the connection ended or was silent.
    Silent,
    /// Another node owns the slot. Nothing was written.
    Moved(Address),
    /// Another node is taking over the slot and has these keys. Nothing was written.
    Asked(Address),
    /// The server cannot take it now: it is loading, its cluster is down, the slot is half moved. Nothing was written.
    Later,
    /// The server is a replica by now. Nothing was written.
    Demoted,
    /// The server refuses it: its memory is full, the user may not. Nothing was written.
    Refused,
    /// The script broke off, which it should never do.
    Broken,
}

impl Failure {
    pub(super) fn new(why: Why, source: impl Into<BoxError>) -> Self {
        Self { why, source: source.into() }
    }

    pub(super) fn not_connected(error: RedisError) -> Self {
        let hopeless = match error.kind() {
            ErrorKind::AuthenticationFailed | ErrorKind::InvalidClientConfig | ErrorKind::Client => true,
            _ => matches!(error.code(), Some("WRONGPASS" | "NOAUTH" | "NOPERM")) || is_about_a_certificate(&error),
        };
        Self::new(if hopeless { Why::Rejected } else { Why::Unreachable }, error)
    }

    /// Classifies a node's error reply to a request, or the loss of the connection.
    pub(super) fn answered(error: RedisError, node: &Address, is_write: bool) -> Self {
        Self::new(Why::of_answer(&error, node, is_write), error)
    }
}

impl Why {
    fn of_answer(error: &RedisError, node: &Address, is_write: bool) -> Self {
        let Some(code) = error.code() else { return Self::Silent };
        // The message of an error inside the script names the script. Its earlier writes are not undone.
        if is_write && error.detail().is_some_and(|detail| detail.contains("script:") || detail.contains("user_script"))
        {
            return Self::Broken;
        }
        let target = error.redirect_node().and_then(|(address, _)| Address::parse(address, &node.host));
        match (code, target) {
            ("MOVED", Some(owner)) => Self::Moved(owner),
            ("ASK", Some(node)) => Self::Asked(node),
            ("TRYAGAIN" | "CLUSTERDOWN" | "LOADING" | "MASTERDOWN" | "BUSY" | "MOVED" | "ASK", _) => Self::Later,
            ("READONLY", _) => Self::Demoted,
            (
                "OOM" | "NOREPLICAS" | "NOPERM" | "MISCONF" | "CROSSSLOT" | "NOAUTH" | "WRONGPASS" | "NOSCRIPT"
                | "WRONGKEY",
                _,
            ) => Self::Refused,
            _ => Self::Broken,
        }
    }

    /// Whether the request may have been executed.
    pub(super) const fn may_have_taken_effect(&self) -> bool {
        match self {
            Self::Silent | Self::Broken => true,
            Self::Unreachable
            | Self::Rejected
            | Self::Moved(_)
            | Self::Asked(_)
            | Self::Later
            | Self::Demoted
            | Self::Refused => false,
        }
    }

    /// Whether another try may succeed.
    pub(super) const fn is_passing(&self) -> bool {
        match self {
            Self::Unreachable | Self::Silent | Self::Moved(_) | Self::Asked(_) | Self::Later | Self::Demoted => true,
            Self::Rejected | Self::Refused | Self::Broken => false,
        }
    }

    pub(super) const fn is_redirection(&self) -> bool {
        matches!(self, Self::Moved(_) | Self::Asked(_))
    }

    /// Whether the connection can still be used.
    pub(super) const fn keeps_connection(&self) -> bool {
        match self {
            Self::Asked(_) | Self::Later | Self::Refused | Self::Broken => true,
            Self::Unreachable | Self::Rejected | Self::Silent | Self::Moved(_) | Self::Demoted => false,
        }
    }
}

/// Whether a handshake failed because of a certificate, which the socket reports as invalid data.
fn is_about_a_certificate(error: &RedisError) -> bool {
    let source = std::error::Error::source(error).and_then(|source| source.downcast_ref::<SharedError>());
    let source = source.and_then(|source| source.downcast_ref::<io::Error>());
    source.is_some_and(|source| source.kind() == io::ErrorKind::InvalidData)
}

type SharedError = Arc<dyn std::error::Error + Send + Sync>;
