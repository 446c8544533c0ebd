//! Authentication and roles. API Gateway's authorizer reads headers only, and a browser sends no `Authorization` when
//! it follows a link; so the console checks the token itself, by the same rules.

mod cookie;
mod csrf;
mod extract;
mod token;

pub(crate) use cookie::{Cookie, cookie};
pub(crate) use csrf::Csrf;
pub(crate) use extract::{Caller, NoFields, VerifiedForm, Visitor, VisitorSlot, is_cross_site};
pub(crate) use token::{Denied, Tokens};

/// A person or script whose token is valid and has a role.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Actor {
    /// The token's subject.
    pub(crate) name: String,
    pub(crate) role: Role,
}

/// The claim `role`. A token without one of these has no access.
#[derive(Clone, Copy, Debug, PartialEq, Eq, serde::Deserialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Role {
    /// Reads everything, changes nothing.
    Viewer,
    /// Reads and settles.
    Operator,
}

impl Role {
    pub(crate) fn as_str(self) -> &'static str {
        match self {
            Self::Viewer => "viewer",
            Self::Operator => "operator",
        }
    }
}
