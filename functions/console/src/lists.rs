//! The lists of the console.

mod approvals;
pub(crate) mod audit;
pub(crate) mod unknown;
