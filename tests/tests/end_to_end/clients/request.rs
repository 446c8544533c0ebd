//! A request, and how it ends.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use serde_json::Value;

/// A request, as `tests/clients/run.py` and its like take it.
#[derive(Clone, Serialize)]
pub(crate) struct Request {
    pub(crate) name: String,
    pub(crate) url: String,
    pub(crate) headers: BTreeMap<&'static str, String>,
    pub(crate) body: String,
    pub(crate) timeout: Option<u64>,
}

/// How a request ended for the client's caller.
#[derive(Clone, Deserialize)]
pub(crate) struct Ending {
    pub(crate) name: String,
    pub(crate) status: Option<u16>,
    pub(crate) body: String,
    pub(crate) error: String,
    pub(crate) seconds: f64,
}

impl Ending {
    pub(crate) fn json(&self) -> Value {
        serde_json::from_str(&self.body).unwrap_or_default()
    }
}
