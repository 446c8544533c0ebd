//! What the tests share: an embedded DynamoDB, the local stack as a process, what its functions print, and what the
//! template watches.

pub mod browser;
pub mod chaos;
pub mod console;
pub mod dynamodb;
pub mod http_conformance;
pub mod log;
pub mod nightly;
pub mod stack;
pub mod watched;
