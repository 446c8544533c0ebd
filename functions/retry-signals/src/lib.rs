//! Retry signals: which callers and accounts repeat, fail or probe in an unusual way.
//!
//! ```text
//! request log ─► CloudWatch Logs ─► count ─► windows ─┐
//!                                                     ├─► score ─► signals ─► pipe ─► event bus
//!                         schedule ───────────────────┘               └─► console
//! ```
//!
//! The model is in the crate `signals`; this crate counts each delivery once, scores each window once, and stores the
//! results. They are **advice**: nothing in the payment path reads them.

mod addition;
pub mod count;
pub mod delivery;
pub mod handler;
pub mod line;
pub mod score;
pub mod table;

pub use table::{Label, Labelling, Signal, Signals, TableError};
