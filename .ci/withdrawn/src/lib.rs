//! Nothing: only what it depends on matters.
