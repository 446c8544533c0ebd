//! Authentication and roles. API Gateway's authorizer reads headers only, and a browser sends no `Authorization` when
//! it follows a link; so the console checks the token itself, by the same rules.

mod cookie;
mod csrf;
mod issuer;
mod pending;
mod roles;
mod settings;
mod sign_in;
mod target;
mod token;

pub(crate) use cookie::{Cookie, cookie};
pub(crate) use csrf::Csrf;
pub(crate) use roles::Roles;
pub(crate) use settings::sign_in;
pub(crate) use sign_in::{Callback, SignIn, SignInError, SignedIn, Started};
pub(crate) use target::Target;
pub(crate) use token::{Denied, Flaw, Tokens};

/// A person or script whose token is valid and has a role.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Actor {
    /// The name in the token.
    pub(crate) name: String,
    pub(crate) role: Role,
}

/// What a person or script may do. A token without a role has no access.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
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
