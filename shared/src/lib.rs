//! wip
#![deny(missing_docs)]
pub mod protocol;
pub mod store;
