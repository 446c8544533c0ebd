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

mod compare;
mod condition;
mod decision;
mod fingerprint;
mod json;
mod key;
mod pointer;
mod record;
mod story;
mod time;
mod trace;
mod transition;

pub use compare::{Compare, NotComparable, Selection};
pub use condition::{Condition, Seen};
pub use decision::{Decision, Request, Uncertain, decide};
pub use fingerprint::{Fingerprint, Fingerprinter};
pub(crate) use json::{Document, Pointed, text};
pub use json::{InvalidJson, canonical_json};
pub(crate) use key::check_value;
pub use key::{InvalidKey, InvalidPrincipal, Key, Principal, PrincipalDigest, RecordId};
pub use pointer::{InvalidPointer, Pointer};
pub use record::{Finding, Holder, OwnerToken, Record, Response, Settled, State, Status, Subject, TransactionId};
pub use story::{Event, RequestId, Step, Story};
pub use time::{EpochMs, EpochS};
pub use trace::{Trace, TraceId};
pub use transition::{Write, abandon, begin_settled, extend, give_up, mark_unknown, release, reopen, restart, settle};
