//! What the tests share: an embedded DynamoDB, a proxy that loses replies, the local stack as a process, what its
//! functions print, and what the template watches.

pub mod browser;
pub mod chaos;
pub mod console;
pub mod dynamodb;
pub mod http_conformance;
pub mod local_stack;
pub mod log;
pub mod monitoring;
pub mod proxy;
pub mod soak;
