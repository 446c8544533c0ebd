//! The protocol as pure functions: what a record contains, what a claim decides, and which condition guards each write.
//!
//! Nothing here depends on AWS, an asynchronous runtime, a clock or a random source: time and randomness are arguments.
//! The stores, the engine, the tests and the model all call the same functions, so proofs about these functions hold
//! for the production code.
//!
//! ```text
//!                 ┌────────────────────── release ◄────────────────┐
//!                 ▼                                                │
//! (vacant) ──► PROCESSING, no owner ──► PROCESSING under a claim ──┼──► SUCCESS / FAILED ──► (expired)
//!     └───────────── begin ───────────────────▲                    │           ▲
//!                                             │                    └─► UNKNOWN ┘ evidence
//!                                             └── repeat, if declared ──┘
//! ```

//! Several enums of this module ([`Decision`], [`Condition`], [`State`], [`Status`], [`Resolution`], [`Response`],
//! [`Uncertain`], [`HistoryEvent`], [`Compare`], [`Look`]) are exhaustive on purpose: a store, a model or an
//! application must handle every case. A new variant changes the protocol, and a `match` without it must not compile.

#![deny(clippy::wildcard_enum_match_arm)]

mod canonical_json;
mod compare;
mod condition;
mod decision;
mod document;
#[cfg(feature = "jmespath")]
mod expression;
mod fingerprint;
mod follow_up;
mod history;
mod key;
mod lease;
pub mod machine;
mod pointer;
mod position;
mod record;
mod time;
mod trace_context;
mod transition;
pub mod watermark;

pub use canonical_json::canonical_json;
pub use compare::{Compare, NotComparable, Selection};
pub use condition::{Condition, RecordVersion};
pub use decision::{ClaimRequest, Decision, Uncertain, decide};
pub use document::{Document, InvalidJson, NotOfType};
pub(crate) use document::{Node, Pointed};
#[cfg(feature = "jmespath")]
pub use expression::{Expression, InvalidExpression};
pub use fingerprint::{Fingerprint, Fingerprinter};
pub use follow_up::{FollowUp, LONGEST_INTERVAL, Look, SHORTEST_INTERVAL};
pub use history::{History, HistoryEntry, HistoryEvent, InvocationId};
pub(crate) use key::check_value;
pub use key::{InvalidKey, InvalidPrincipal, Key, Principal, PrincipalDigest, RecordId};
pub use lease::LeaseLimit;
pub use pointer::{InvalidPointer, Pointer};
pub use position::{InvalidPosition, Position};
pub use record::{Holder, OwnerToken, Record, Resolution, Response, Settled, State, Status, Subject, TransactionId};
pub use time::{EpochMs, EpochS};
pub use trace_context::{Trace, TraceId};
pub use transition::{Write, abandon, begin_settled, extend, give_up, mark_unknown, release, reopen, restart, settle};
