//! Write and read units of each outcome, by the length of the answer.

use anyhow::{Result, ensure};
use serde::Serialize;

use crate::database::Database;
use crate::event::{self, Order};
use crate::sandbox::Sandbox;
use crate::subject::{Mode, Subject};
use fault_proxy::Traffic;

/// The lengths: 0.3, 1, 4, 40 and 400 KB.
pub const ANSWER_BYTES: [usize; 5] = [300, 1024, 4 * 1024, 40 * 1024, 400 * 1024];

/// The units of an outcome.
#[derive(Clone, Debug, Serialize)]
pub struct UnitCost {
    /// The subject.
    pub subject: String,
    /// `first run`, `replay`, `mismatch`.
    pub outcome: &'static str,
    /// The approximate length of the answer.
    pub answer_bytes: usize,
    /// Requests and units; `None` if the answer was not the expected one.
    pub traffic: Option<Traffic>,
}

/// Measures every outcome of a subject at every length.
///
/// # Errors
/// When the subject cannot be started.
pub async fn of(subject: &Subject) -> Result<Vec<UnitCost>> {
    let mut costs = Vec::new();
    for answer_bytes in ANSWER_BYTES {
        let order = Order { answer_bytes, ..Order::default() };
        let other = Order { amount: order.amount + 1, ..order };
        let database = Database::start().await?;
        database.proxy.count_units();
        for (outcome, order, status) in [("first run", order, 201), ("replay", order, 201), ("mismatch", other, 422)] {
            // Each outcome has its own sandbox, so that nothing is cached in the process.
            let mut sandbox = Sandbox::start(subject, Mode::Http, &database).await?;
            let before = database.proxy.traffic();
            let answer = sandbox.invoke(event::request("units", &order, false)).await?;
            let traffic = database.proxy.traffic() - before;
            let is_right = answer.status() == Some(status);
            ensure!(is_right || !subject.is_ours, "{outcome}, {answer_bytes} bytes: {:?}", answer.payload);
            let traffic = is_right.then_some(traffic);
            costs.push(UnitCost { subject: subject.name.clone(), outcome, answer_bytes, traffic });
        }
    }
    Ok(costs)
}
