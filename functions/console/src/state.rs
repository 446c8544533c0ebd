use idempotency::protocol::EpochMs;
use idempotency::{DynamoDbStore, Engine};
use payments::{Provider, Table};

use crate::auth::SignIn;

/// The clients that all requests share. The modules of this crate add what a request does with them.
pub(crate) struct Console {
    pub(crate) store: DynamoDbStore,
    pub(crate) engine: Engine<DynamoDbStore>,
    pub(crate) table: Table,
    pub(crate) provider: Provider,
    pub(crate) sign_in: SignIn,
}

impl Console {
    /// The time of day. Where a decision depends on it, a condition of the write decides again.
    pub(crate) fn now(&self) -> EpochMs {
        self.engine.now()
    }
}
