//! The lists of the console.

mod approvals;
pub(crate) mod audit;
pub(crate) mod export;
pub(crate) mod found;
pub(crate) mod home;
pub(crate) mod overview;
pub(crate) mod unknown;
