//! What the home page shows.

use std::time::Duration;

use idempotency::protocol::EpochMs;

use crate::error::ConsoleError;
use crate::lists::overview::Overview;
use crate::queues::Depths;
use crate::signals::Filter;
use crate::state::Console;

pub(crate) struct Home {
    pub(crate) at: EpochMs,
    pub(crate) overview: Overview,
    /// When the reconciler's last complete run ended.
    pub(crate) reconciler_ran: Option<EpochMs>,
    pub(crate) depths: Depths,
    /// How many actions wait for a second operator.
    pub(crate) approvals: usize,
    /// How many retry signals have no label; `None` if the stack has none.
    pub(crate) signals: Option<usize>,
}

impl Home {
    /// The age at which the reconciler counts as late, as in HeartbeatAlarm.
    const LATE: Duration = Duration::from_secs(15 * 60);

    /// Whether the reconciler's last complete run is too old.
    pub(crate) fn reconciler_is_late(&self) -> bool {
        self.reconciler_ran.is_none_or(|ran| self.at.since(ran) > Self::LATE)
    }
}

impl Console {
    pub(crate) async fn home(&self) -> Result<Home, ConsoleError> {
        let at = self.now();
        let ran = async { self.table.reconciler_ran().await.map_err(|error| ConsoleError::unavailable(&error)) };
        let signals = async {
            match &self.signals {
                Some(_) => {
                    let filter = Filter { label: "none".to_owned(), ..Filter::default() };
                    self.signal_list(&filter).await.map(|signals| Some(signals.len()))
                }
                None => Ok(None),
            }
        };
        let depths = async { Ok(self.queues.depths().await) };
        let (overview, reconciler_ran, depths, approvals, signals) =
            tokio::try_join!(self.overview(), ran, depths, self.approvals(), signals)?;
        Ok(Home { at, overview, reconciler_ran, depths, approvals: approvals.len(), signals })
    }
}
