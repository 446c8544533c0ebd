//! Measures how well retry signals work, on simulated tenants: `cargo run --release -p signals-evaluation`.
//!
//! ```text
//! seed ─► Simulated (14 days of requests, attacks, bugs, outages) ─► windows of counts ─► each Scorer
//!                                                                                             │
//!                              docs/signals.md ◄─ Report ◄─ figures ◄─ Tally of a tenant ◄────┘
//! ```
//!
//! Week 1 is for learning and has no labels. Week 2 is the test: an attack episode is found if one of its windows is
//! above the threshold; a false alert is an entity (principal or account) that has a window above it on a day without
//! an attack or a bug of its own, or in the two days after one.

mod figures;
mod in_time;
mod learning;
mod list;
mod mutant;
mod plot;
mod report;
mod run;
mod scorer;
mod simulator;

pub use figures::{Figures, Interval};
pub use list::list;
pub use mutant::Mutant;
pub use report::{markdown, plots};
pub use run::{Tally, run};
pub use scorer::ScorerName;
pub use simulator::{Family, Setting, Simulated};
