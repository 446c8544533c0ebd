//! When a changed value of a parameter takes effect on this machine.

use serde::Serialize;

/// When a changed value takes effect.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Effect {
    /// Never: nothing that runs here uses it.
    Nowhere,
    /// While the stack runs.
    AtOnce,
    /// When the stack starts with it.
    AtStart,
}

/// A property that a parameter is used for.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Use {
    pub(super) effect: Effect,
    /// `RESOURCE.PROPERTY`.
    pub(super) place: String,
}
