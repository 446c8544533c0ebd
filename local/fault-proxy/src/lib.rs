//! An HTTP/1.1 proxy in front of DynamoDB, or of an API behind API Gateway, for tests and benchmarks.
//!
//! It injects [faults](Fault), adds latency, counts [traffic](Traffic) per operation with read and write units, and
//! refuses requests for reasons that DynamoDB has and an embedded database never has: conflicting transactions, and
//! partitions that are too hot.
//!
//! Each client connection has one connection to the server, so a fault that breaks a connection affects one client
//! only.

pub use fault::{Fault, FaultPlan, Moment, Recorder, Refusal};
pub use message::Request;
pub use partition::PartitionLimits;
pub use proxy::Proxy;
pub use traffic::Traffic;

mod contention;
mod fault;
mod message;
mod partition;
mod proxy;
mod reply_body;
mod traffic;
mod units;
