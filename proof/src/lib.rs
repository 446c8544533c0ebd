//! The proofs of the library's promises: a model that is checked exhaustively, an exploration of the code in every
//! order, a simulation of the engine, and deliberate breakages that these must detect.

mod backend;
pub mod exploration;
mod fault;
pub mod fuzz;
pub mod model;
mod oracle;
mod schedule;
pub mod simulation;
pub mod soak;

pub use backend::Server;
pub use schedule::{Runner, Summary};

/// Whether an environment variable selects the larger sizes of the gate and the soak.
pub fn soaks(variable: &str) -> bool {
    std::env::var_os(variable).is_some_and(|value| !value.is_empty() && value != "0")
}
