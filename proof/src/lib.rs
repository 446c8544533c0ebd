//! What tries to break the promises of the library: a model that is checked exhaustively, a simulation of the engine,
//! and the breakages that both must notice.

pub mod exploration;
pub mod fuzz;
pub mod model;
pub mod nightly;
pub mod simulation;
