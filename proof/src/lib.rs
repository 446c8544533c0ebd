//! What tries to break the promises of the library: a model that is checked exhaustively, an exploration of
//! the code in every order, a simulation of the engine, and the breakages that they must notice.

pub mod exploration;
pub mod fuzz;
pub mod model;
pub mod nightly;
pub mod simulation;
