//! The table `Signals`: windows, memories, the learned model, and the signals.
//!
//! | item | partition key | sort key | life |
//! |---|---|---|---|
//! | counts of an entity in a window | `window#KIND#START#SHARD` | pseudonym | 2 days |
//! | memory of an entity | `memory#KIND#PSEUDONYM` | `memory` | 35 days without a request |
//! | state of the scorer, model, sample of a day | `scorer` | `state`, `model`, `sample#DAY` | the samples 9 days |
//! | signal: an entity that was raised on a day | `signal#DAY` | `KIND#PSEUDONYM` | 400 days |
//!
//! Every write has a condition that recognises its own earlier try, so that a lost reply changes nothing.

mod item;
mod label;
mod memory;
mod signal;
mod state;
mod window;

use std::time::Duration;

use aws_sdk_dynamodb::Client;
use signals::{Kind, WindowTime};

pub(crate) use memory::{Remembered, StoredMemory};
pub use signal::{Label, Labelling, Signal};
pub(crate) use state::State;
pub use window::EntityWindow;
pub(crate) use window::Window;

/// The table and the length of its windows. A cheap handle.
#[derive(Clone, Debug)]
pub struct Signals {
    client: Client,
    name: String,
    window_s: u32,
}

/// Why the table could not be read or written.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum TableError {
    /// DynamoDB refused the request or did not answer. It may have taken effect; a repetition is recognised.
    #[error("the table of signals could not be read or written")]
    DynamoDb(#[source] Box<aws_sdk_dynamodb::Error>),
    /// An item cannot be read.
    #[error("the item {0} cannot be read")]
    Item(String),
    /// Another writer changed the item in the meantime.
    #[error("the item {0} was changed meanwhile")]
    Changed(String),
    /// Another run has taken over.
    #[error("a later run has scored this window")]
    Fenced,
}

impl<E: Into<aws_sdk_dynamodb::Error>> From<E> for TableError {
    fn from(error: E) -> Self {
        Self::DynamoDb(Box::new(error.into()))
    }
}

impl Signals {
    /// The table of this name, with windows of this length (in whole seconds, at least one).
    #[must_use]
    pub fn new(client: Client, name: String, window: Duration) -> Self {
        Self { client, name, window_s: u32::try_from(window.as_secs()).unwrap_or(u32::MAX).max(1) }
    }

    /// The length of a window in seconds.
    #[must_use]
    pub const fn window_s(&self) -> u32 {
        self.window_s
    }

    /// The time from which a window may be scored, in epoch seconds: two fifths of its length after its end, for five
    /// minutes two minutes. Lines that are delivered later are counted, but never scored.
    #[must_use]
    pub fn closed_at_s(&self, window: WindowTime) -> u64 {
        window.end_s() + u64::from(window.length_s) * 2 / 5
    }
}

/// `principal#W8lJIn2aGdO7`.
fn entity_key(kind: Kind, entity: &str) -> String {
    format!("{}#{entity}", kind.name())
}
