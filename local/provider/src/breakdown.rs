//! Failures of the provider itself: a 500, which it keeps under the request's key like any other result and repeats for as
//! long as it remembers the key (Stripe, "Idempotent requests"). Without a key nothing is kept.

use serde::Deserialize;

/// The next requests that change something at a path are answered with 500.
#[derive(Debug, Clone, Deserialize)]
pub struct Breakdown {
    /// How the path ends, for example `/cancel`; empty for every path.
    #[serde(default)]
    pub path: String,
    /// How many requests; repeats that get a saved result do not count.
    #[serde(default = "once")]
    pub times: u32,
    #[serde(default)]
    pub when: When,
}

/// Before or after the request is executed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum When {
    #[default]
    Before,
    After,
}

const fn once() -> u32 {
    1
}

impl Breakdown {
    /// Whether it affects a request to this path, which then counts.
    pub(crate) fn affects(&mut self, path: &str) -> Option<When> {
        let affects = self.times > 0 && path.ends_with(&self.path);
        affects.then(|| {
            self.times -= 1;
            self.when
        })
    }
}
