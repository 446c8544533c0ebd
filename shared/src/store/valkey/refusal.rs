//! Classifies the errors of a request: whether it may have taken effect, and whether another try can help.

use std::io;
use std::sync::Arc;

use redis::{ErrorKind, RedisError};

use super::server::Address;
use crate::store::BoxError;

/// The reason that a try failed.
#[derive(Debug)]
pub(super) enum Failure {
    /// No connection was made, so nothing was sent. Another try may make one.
    Unreachable(BoxError),
    /// The server rejects the login, or its certificate is not trusted.
    Rejected(BoxError),
    /// The request was sent, and the connection ended or no reply came in time.
    Silent(BoxError),
    /// Another node owns the slot. Nothing was written.
    Moved(Address, BoxError),
    /// Another node is taking over the slot and has these keys. Nothing was written.
    Asked(Address, BoxError),
    /// The server cannot accept the request now: it is loading, its cluster is down, or the slot is partly moved.
    /// Nothing was written.
    Later(BoxError),
    /// The server has become a replica. Nothing was written.
    Demoted(BoxError),
    /// The server refuses the request: its memory is full, or the user lacks permission. Nothing was written.
    Refused(BoxError),
    /// The script stopped with an error, which should never happen.
    Broken(BoxError),
}

impl Failure {
    pub(super) fn not_connected(error: RedisError) -> Self {
        let hopeless = match error.kind() {
            ErrorKind::AuthenticationFailed | ErrorKind::InvalidClientConfig | ErrorKind::Client => true,
            _ => matches!(error.code(), Some("WRONGPASS" | "NOAUTH" | "NOPERM")) || is_about_a_certificate(&error),
        };
        match hopeless {
            true => Self::Rejected(error.into()),
            false => Self::Unreachable(error.into()),
        }
    }

    /// Classifies a node's error reply to a request, or the loss of the connection.
    pub(super) fn answered(error: RedisError, node: &Address, is_write: bool) -> Self {
        let Some(code) = error.code().map(str::to_owned) else { return Self::Silent(error.into()) };
        // The message of an error inside the script names the script. Its earlier writes are not undone.
        if is_write && error.detail().is_some_and(|detail| detail.contains("script:") || detail.contains("user_script"))
        {
            return Self::Broken(error.into());
        }
        let target = error.redirect_node().and_then(|(address, _)| Address::parse(address, &node.host));
        match (code.as_str(), target) {
            ("MOVED", Some(owner)) => Self::Moved(owner, error.into()),
            ("ASK", Some(node)) => Self::Asked(node, error.into()),
            ("TRYAGAIN" | "CLUSTERDOWN" | "LOADING" | "MASTERDOWN" | "BUSY" | "MOVED" | "ASK", _) => {
                Self::Later(error.into())
            }
            ("READONLY", _) => Self::Demoted(error.into()),
            (
                "OOM" | "NOREPLICAS" | "NOPERM" | "MISCONF" | "CROSSSLOT" | "NOAUTH" | "WRONGPASS" | "NOSCRIPT"
                | "WRONGKEY",
                _,
            ) => Self::Refused(error.into()),
            _ => Self::Broken(error.into()),
        }
    }

    /// Whether the request may have been executed.
    pub(super) const fn may_have_taken_effect(&self) -> bool {
        match self {
            Self::Silent(_) | Self::Broken(_) => true,
            Self::Unreachable(_)
            | Self::Rejected(_)
            | Self::Moved(..)
            | Self::Asked(..)
            | Self::Later(_)
            | Self::Demoted(_)
            | Self::Refused(_) => false,
        }
    }

    /// Whether another try may succeed.
    pub(super) const fn is_passing(&self) -> bool {
        match self {
            Self::Unreachable(_)
            | Self::Silent(_)
            | Self::Moved(..)
            | Self::Asked(..)
            | Self::Later(_)
            | Self::Demoted(_) => true,
            Self::Rejected(_) | Self::Refused(_) | Self::Broken(_) => false,
        }
    }

    pub(super) const fn is_redirection(&self) -> bool {
        matches!(self, Self::Moved(..) | Self::Asked(..))
    }

    /// Whether the connection can still be used.
    pub(super) const fn keeps_connection(&self) -> bool {
        match self {
            Self::Asked(..) | Self::Later(_) | Self::Refused(_) | Self::Broken(_) => true,
            Self::Unreachable(_) | Self::Rejected(_) | Self::Silent(_) | Self::Moved(..) | Self::Demoted(_) => false,
        }
    }

    pub(super) fn into_source(self) -> BoxError {
        match self {
            Self::Unreachable(source)
            | Self::Rejected(source)
            | Self::Silent(source)
            | Self::Moved(_, source)
            | Self::Asked(_, source)
            | Self::Later(source)
            | Self::Demoted(source)
            | Self::Refused(source)
            | Self::Broken(source) => source,
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
