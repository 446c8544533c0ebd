//! Idempotent APIs and message handlers for AWS Lambda in Rust, on DynamoDB:
//! **at-least-once delivery, exactly-once effect, one answer**.
//!
//! Clients retry, gateways time out, queues deliver twice, and a sandbox can die between a side effect and its
//! answer. With this library an operation still takes effect once, and every caller that gets a final answer gets the
//! same one.
//!
//! ```text
//! event ─► key, principal, fingerprint ─► claim ─┬ acquired ─► run(Attempt) ─► commit ┬ applied ─► answer
//!                                                │                                    └ fenced ──► the recorded answer
//!                                                ├ settled ──► replay
//!                                                ├ uncertain ► UNKNOWN, or run again if declared repeatable
//!                                                └ refused ──► in progress · mismatch
//! ```
//!
//! # What is guaranteed
//!
//! *Transactional effects*, which are written in the commit's DynamoDB transaction, are applied at most once, whatever
//! crashes, is repeated, delayed or lost. *External effects*, in another system, always carry the same transaction id;
//! they take effect once if that system deduplicates by it. An unknown outcome is never forgotten, and nothing runs
//! again over it without evidence or your [declaration](protocol::Uncertain::Repeat) that repeating is safe. Safety
//! does not depend on any clock: every write is conditional.
//!
//! # Quick start
//!
//! To protect a handler of API Gateway requests, wrap it in the [layer](http::IdempotencyLayer):
//!
#![cfg_attr(all(feature = "dynamodb", feature = "http"), doc = "```no_run")]
#![cfg_attr(not(all(feature = "dynamodb", feature = "http")), doc = "```ignore")]
//! use idempotency::reconcile::OnlyTransactionalEffects;
//! use idempotency::{DynamoDbStore, Engine, IdempotencyLayer, store::dynamodb};
//! use lambda_http::{Body, Error, Request, Response, service_fn, tower::Layer};
//!
//! async fn handler(_request: Request) -> Result<Response<Body>, Error> {
//!     Ok(Response::builder().status(201).body("{\"id\":\"order-1\"}".into())?)
//! }
//!
//! # async fn start() -> Result<(), Error> {
//! let store = DynamoDbStore::new(dynamodb::client(), "Records");
//! let layer = IdempotencyLayer::new(Engine::builder(store).build(), "orders")
//!     // A run may take this long. A retry after a crash waits for little longer, so the function's time-out is 20 s.
//!     .run_within(std::time::Duration::from_secs(5))
//!     // Only for handlers that call no other system. After an error, a panic or a time-out a retry then runs again;
//!     // without a resolver nothing does until a person settles the record.
//!     .resolver(OnlyTransactionalEffects);
//! lambda_http::run(layer.layer(service_fn(handler))).await
//! # }
//! ```
//!
//! To protect any other operation, run it with the engine, here on the [memory store](store::memory::MemoryStore):
//!
#![cfg_attr(feature = "system", doc = "```")]
#![cfg_attr(not(feature = "system"), doc = "```ignore")]
//! use std::time::Duration;
//! use idempotency::protocol::{Fingerprinter, Key, Principal};
//! use idempotency::store::memory::{Effect, MemoryStore};
//! use idempotency::{Call, Engine, Operation, Outcome, Verdict};
//!
//! # #[tokio::main(flavor = "current_thread")]
//! # async fn main() -> Result<(), Box<dyn std::error::Error>> {
//! let store = MemoryStore::new();
//! let engine = Engine::builder(store.clone()).build();
//! let call = Call::new(
//!     Operation::new("orders", "place order"),
//!     Principal::new("alice")?,
//!     Key::new("8e03978e-40d5-43dd-bc93-6894a57f9324")?,
//!     Fingerprinter::new().value(br#"{"item":"tea"}"#).finish(),
//!     engine.now().plus(Duration::from_secs(10)),
//! );
//! for _ in 0..3 {
//!     let outcome = engine.run(&call, |attempt| async move {
//!         attempt.add_effect(Effect::named("order placed"));
//!         Verdict::Success(String::from("order-1"))
//!     });
//!     match outcome.await? {
//!         Outcome::Executed(answered) | Outcome::Replayed(answered) => assert_eq!(answered.answer, "order-1"),
//!         other => panic!("{other:?}"),
//!     }
//! }
//! assert_eq!(store.applied("order placed"), 1);
//! # Ok(())
//! # }
//! ```
//!
//! # Features
//!
//! | feature | what it adds | default |
//! |---|---|---|
//! | `dynamodb` | [`DynamoDbStore`], [`sequence`] numbers, [`versioned`] items | yes |
//! | `valkey` | [`ValkeyStore`] on Valkey or Redis, with TLS; sequence numbers, versioned values; [`lock::redlock`] | |
//! | `valkey-iam` | login to ElastiCache and MemoryDB by IAM | |
//! | `static-user-agent` | the SDK's user agent, computed once per process; relies on internals of the SDK | |
//! | `http` | [`http`]: the layer for API Gateway | yes |
//! | `apigw_rest` | REST APIs (payload format 1.0) | |
//! | `alb`, `vpc_lattice` | requests from an Application Load Balancer, from a VPC Lattice service | |
//! | `axum` | the layer around an axum router or its routes, and extractors; see the module `http::axum` | |
//! | `sqs` | [`sqs`]: SQS queues | |
//! | `sqs-visibility` | `ChangeMessageVisibility` for messages that are in progress elsewhere | |
//! | `streams` | [`streams`]: Kafka, Kinesis, DynamoDB Streams | |
//! | `follow-up` | [`follow_up`]: settles claims that were left open, from the table's stream | |
//! | `zookeeper` | [`lock::zookeeper`]: a lock in a ZooKeeper ensemble | |
//! | `powertools` | [`powertools`]: the takeover from a function with Powertools for AWS Lambda | |
//! | `jmespath` | JMESPath expressions with Powertools' functions, in addition to JSON pointers | |
//! | `emf` | metrics in CloudWatch's embedded metric format | |
//! | `log` | a function's log, set up for Lambda's logging controls | |
//! | `otel` | spans for OpenTelemetry | |
//! | `system` | the system's clock and random numbers, and Tokio's timer; enabled by every edge feature | |
//! | `test-util` | [`events`] as AWS sends them, fault injection, and the conformance suite for stores | |
//! | `embedded-dynamodb` | an in-process DynamoDB for tests | |
//!
//! Without features, the crate contains the protocol, the engine and the memory store, and depends on no AWS crate and
//! not on Tokio. In that case build the engine [with](Engine::builder_with) your own clock and random source.
//!
//! # Modules
//!
//! [`protocol`] is pure: the [decision](protocol::decide) of each claim and the [condition](protocol::Condition) of
//! each write. [`engine`] runs claim → run → commit. [`store`] contains the stores. [`http`], [`sqs`] and [`streams`]
//! are the edges for API Gateway, SQS, and streams (Kafka, Kinesis, DynamoDB). [`reconcile`] turns UNKNOWN into SUCCESS
//! or FAILED, by evidence, and [`follow_up`] finds the records that need it.

#![deny(missing_docs)]
#![warn(missing_debug_implementations)]
// Without some of the edges, parts of their shared code are unused.
#![cfg_attr(not(all(feature = "http", feature = "sqs", feature = "streams")), allow(dead_code, unused_imports))]

mod backoff;
pub mod engine;
#[cfg(any(feature = "sqs", feature = "streams"))]
mod envelope;
#[cfg(any(test, feature = "test-util"))]
pub mod events;
#[cfg(feature = "follow-up")]
pub mod follow_up;
#[cfg(feature = "http")]
pub mod http;
pub mod lock;
mod mutex;
pub mod protocol;
pub mod reconcile;
#[cfg(any(feature = "dynamodb", feature = "valkey"))]
pub mod sequence;
#[cfg(feature = "sqs")]
pub mod sqs;
pub mod store;
#[cfg(feature = "streams")]
pub mod streams;
pub mod telemetry;
#[cfg(feature = "dynamodb")]
pub mod versioned;

pub use engine::{Answered, Attempt, Call, Engine, Error, ErrorKind, Operation, Outcome, Verdict};
#[cfg(feature = "follow-up")]
pub use follow_up::FollowUps;
#[cfg(feature = "http")]
pub use http::IdempotencyLayer;
pub use lock::RecordLock;
pub use protocol::Uncertain;
#[cfg(feature = "sqs")]
pub use sqs::Queue;
#[cfg(feature = "dynamodb")]
pub use store::dynamodb::DynamoDbStore;
#[cfg(feature = "powertools")]
pub use store::dynamodb::powertools;
#[cfg(feature = "valkey")]
pub use store::valkey::ValkeyStore;
