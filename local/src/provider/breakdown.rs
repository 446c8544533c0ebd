//! Failures of the provider itself: a 500, which it keeps under the request's key like any other result and repeats for as
//! long as it remembers the key (Stripe, "Idempotent requests"). Without a key nothing is kept.

use serde::Deserialize;

/// The next requests that change something at a path are answered with 500.
#[derive(Debug, Clone, Deserialize)]
pub(crate) struct Breakdown {
    /// How the path ends, for example `/cancel`; nothing for every path.
    #[serde(default)]
    path: String,
    /// How many requests; repeats that get a saved result do not count.
    #[serde(default = "once")]
    times: u32,
    #[serde(default)]
    when: When,
}

/// Before or after what was asked for is done.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum When {
    #[default]
    Before,
    After,
}

const fn once() -> u32 {
    1
}

impl Breakdown {
    /// Whether it strikes a request, which is told by the first line of its fingerprint.
    pub(super) fn strikes(&mut self, fingerprint: &str) -> Option<When> {
        let request = fingerprint.lines().next().unwrap_or_default();
        let strikes = self.times > 0 && request.ends_with(&self.path);
        strikes.then(|| {
            self.times -= 1;
            self.when
        })
    }
}
