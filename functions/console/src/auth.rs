//! Who may do what. API Gateway's authorizer reads headers only, and a browser sends none of its own when it follows a
//! link; so the console checks the token itself, by the same rules.

mod cookie;
mod csrf;
mod extract;
mod token;

pub(crate) use cookie::{Cookie, cookie};
pub(crate) use csrf::Csrf;
pub(crate) use extract::{Caller, Invocation, Visit, is_from_elsewhere};
pub(crate) use token::{Denied, Tokens};

/// Somebody whose token was checked, and who has a role.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Actor {
    /// The token's subject.
    pub(crate) name: String,
    pub(crate) role: Role,
}

/// The claim `role`. Without one of these words the console is closed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, serde::Deserialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Role {
    /// Reads everything, changes nothing.
    Viewer,
    /// Settles.
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
