//! The HTTP contract as vectors, and a runner for any implementation in any language.
//!
//! `tests/vectors/http/README.md` says what a vector is and what the implementation under test must offer.

mod check;
mod client;
mod report;
mod run;
mod vector;

pub use client::{Client, Principals};
pub use report::{Outcome, Report, Verdict};
pub use run::{Options, run};
pub use vector::{Case, Need, Tier, load};
