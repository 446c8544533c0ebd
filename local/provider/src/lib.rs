//! A simulated payment provider: the parts of Stripe's payment-intent API that payments need, as a state machine.
//!
//! It does no I/O: time is an argument, identifiers come from a seed, and every [`Change`] of its state is returned to
//! be stored. The local stack serves it over HTTP; the simulation calls it in simulated time.
//!
//! Its behaviour follows Stripe's documentation: "Payment Intents", "Refunds", "Idempotent requests", "Error handling",
//! "Search".

pub use answer::Answer;
pub use breakdown::{Breakdown, When};
pub use change::Change;
pub use error::ApiError;
pub use faults::{Fault, Moment};
pub use form::Form;
pub use intent::{Intent, Status};
pub use keys::{Key, Saved};
pub use objects::Charge;
pub use page::Page;
pub use provider::{Admission, AdmittedWrite, Delivered, Provider, Write};
pub use refund::Refund;
pub use search::Query;

mod answer;
mod breakdown;
mod card;
mod change;
mod command;
mod currency;
mod error;
mod faults;
mod form;
mod ids;
mod intent;
mod keys;
mod metadata;
mod objects;
mod page;
mod perform;
mod provider;
mod refund;
mod search;
