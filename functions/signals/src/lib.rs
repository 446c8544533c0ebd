//! Retry signals: which callers and accounts repeat, fail or probe in a way that is unusual for their peers *and* for
//! themselves, at this moment.
//!
//! ```text
//! a line of the request log ─► Facts ─► Counts of an entity and window ─┬─► Pair (k of n) of each Detector
//!                                                                       │
//! Counts of all entities of the window ─► Moment (the gate) ────────────┤
//! Memory (faded counts, own past) ──────────────────────────────────────┼─► score ─► Evidence ─► Reason
//! Sample ─► Model (what peers do) ──────────────────────────────────────┘               │
//!                                                        Calibration (the threshold) ◄──┘
//! ```
//!
//! It is **advice**. It needs no labels and no example of an attack, but it sees only what is counted: misbehaviour
//! that leaves none of the twelve counts is not found. `docs/signals.md` has the measured detection rates and the
//! limits.
//!
//! This crate is pure: it depends on no AWS service, clock or randomness. The caller passes times in, stores the byte
//! forms of [`Memory`], [`Model`], [`Sample`] and [`Calibration`], and keeps [`Counts`] as additive attributes of an
//! item.
//!
//! # The steps for a window
//!
//! 1. Each line becomes [`Facts`], which [`Counts::add`] adds to the counts of its principal and of its account, in the
//!    window of the *event's* time. [`BatchId`] names the delivery, so that a repeated one counts once.
//! 2. When the window is closed, [`Moment::of`] summarises the counts of all entities of one kind.
//! 3. For each entity, call [`score`], then [`Sample::observe`], [`Memory::absorb`] and [`Calibration::observe`]. Above
//!    [`Calibration::threshold`] the entity is raised, with [`Reason`]s in words.
//! 4. Once a day, call [`Model::learn`] with the samples of the last seven days.

#![warn(missing_docs, missing_debug_implementations)]

mod batch;
mod calibration;
mod class;
mod codec;
mod counts;
mod detector;
mod distinct;
mod evidence;
mod facts;
mod grid;
mod learning;
mod memory;
mod model;
mod moment;
#[cfg(test)]
mod population;
mod prior;
mod reason;
mod sample;
mod window;

pub use batch::{BatchId, CountedWindow};
pub use calibration::{Calibration, EntityTag, STARTING_THRESHOLD};
pub use codec::Unreadable;
pub use counts::{Counts, Pair};
pub use detector::{Detector, Horizon, Kind};
pub use distinct::Distinct;
pub use evidence::{Evidence, Finding, Findings, score};
pub use facts::{Answer, Facts};
pub use memory::{ForgottenPast, Memory, Silence};
pub use model::Model;
pub use moment::Moment;
pub use reason::Reason;
pub use sample::Sample;
pub use window::WindowTime;
