use idempotency::Engine;
use idempotency::protocol::EpochMs;
use payments::{Provider, ProviderResolver, Records, Table};
use retry_signals::Signals;

use crate::auth::SignIn;
use crate::queues::Queues;

/// The clients that all requests share. The modules of this crate add what a request does with them.
pub(crate) struct Console {
    pub(crate) store: Records,
    pub(crate) engine: Engine<Records>,
    pub(crate) table: Table,
    pub(crate) provider: Provider,
    /// The reconciler's resolver.
    pub(crate) resolver: ProviderResolver,
    pub(crate) queues: Queues,
    pub(crate) sign_in: SignIn,
    /// `None`: the stack has no retry signals.
    pub(crate) signals: Option<Signals>,
}

impl Console {
    /// The time of day. If a decision depends on it, a condition of the write checks it again.
    pub(crate) fn now(&self) -> EpochMs {
        self.engine.now()
    }
}
