//! Checks whether an HTTP API implements the `Idempotency-Key` header.
//!
//! A [`Case`] is a sequence of requests with the expected answers; [`cases`] returns those of this package. [`run`]
//! sends them to an implementation in any language, and returns a [`Report`]. The package's README describes the cases,
//! and the routes that the implementation under test must offer.

mod cases;
mod check;
mod client;
mod operation;
mod report;
mod run;
mod vector;

pub use cases::{cases, load};
pub use client::{Client, Principals};
pub use operation::Operation;
pub use report::{Outcome, Report, Verdict};
pub use run::{Options, run};
pub use vector::{Case, Need, Tier};
