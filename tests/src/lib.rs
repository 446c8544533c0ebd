//! What the tests share: an embedded DynamoDB, a proxy that loses replies, and the local stack as a process.

pub mod browser;
pub mod chaos;
pub mod console;
pub mod dynamodb;
pub mod http_conformance;
pub mod proxy;
pub mod stack;
