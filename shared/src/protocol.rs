//! The protocol, pure: what is remembered, what a claim decides, which condition guards each write.
//!
//! Nothing here knows AWS, an asynchronous runtime, a clock or a random source: time and randomness are
//! arguments. The stores, the engine, the tests and the model all call the same functions, so what is
//! proved of them holds for what runs.
//!
//! ```text
//!                 ┌────────────────────── release ◄────────────────┐
//!                 ▼                                                │
//! (vacant) ──► PROCESSING, no owner ──► PROCESSING under a claim ──┼──► SUCCESS / FAILED ──► (expired)
//!     └───────────── begin ───────────────────▲                    │           ▲
//!                                             │                    └─► UNKNOWN ┘ evidence
//!                                             └── repeat, if declared ──┘
//! ```

#![deny(clippy::wildcard_enum_match_arm)]

mod canonical_json;
mod compare;
mod condition;
mod decision;
mod document;
mod fingerprint;
mod history;
mod key;
pub mod machine;
mod pointer;
mod record;
mod time;
mod trace_context;
mod transition;

pub use canonical_json::canonical_json;
pub use compare::{Compare, NotComparable, Selection};
pub use condition::{Condition, RecordVersion};
pub use decision::{ClaimRequest, Decision, Uncertain, decide};
pub use document::{Document, InvalidJson, NotOfType};
pub(crate) use document::{Node, Pointed};
pub use fingerprint::{Fingerprint, Fingerprinter};
pub use history::{History, HistoryEntry, HistoryEvent, InvocationId};
pub(crate) use key::check_value;
pub use key::{InvalidKey, InvalidPrincipal, Key, Principal, PrincipalDigest, RecordId};
pub use pointer::{InvalidPointer, Pointer};
pub use record::{Holder, OwnerToken, Record, Resolution, Response, Settled, State, Status, Subject, TransactionId};
pub use time::{EpochMs, EpochS};
pub use trace_context::{Trace, TraceId};
pub use transition::{Write, abandon, begin_settled, extend, give_up, mark_unknown, release, reopen, restart, settle};
