//! wip
#![deny(missing_docs)]
pub mod engine;
pub mod metrics;
pub mod protocol;
pub mod store;
