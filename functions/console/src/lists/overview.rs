//! The UNKNOWN records at a glance: by operation and age.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use crate::error::ConsoleError;
use crate::lists::unknown::{Filter, Summary};
use crate::state::Console;

/// The minimum ages, in seconds, of the columns.
pub(crate) const AGES: [u64; 4] = [0, 300, 3600, 86_400];

#[derive(Clone, Debug, Default)]
pub(crate) struct Overview {
    /// Of all of them.
    pub(crate) total: Group,
    pub(crate) by_operation: BTreeMap<Arc<str>, Group>,
}

#[derive(Clone, Debug, Default)]
pub(crate) struct Group {
    /// How many are at least as old as each of [`AGES`].
    pub(crate) by_age: [usize; 4],
    pub(crate) summary: Summary,
}

impl Console {
    pub(crate) async fn overview(&self) -> Result<Overview, ConsoleError> {
        let now = self.now();
        let window = self.unknown_window(&Filter::default()).await?;
        let mut overview = Overview::default();
        overview.total.summary.at_least = window.more;
        for item in &window.items {
            let age = now.since(item.record.created);
            let group = overview.by_operation.entry(Arc::clone(&item.record.operation)).or_default();
            for group in [&mut overview.total, group] {
                group.summary.add(item);
                for (count, age_s) in group.by_age.iter_mut().zip(AGES) {
                    *count += usize::from(age >= Duration::from_secs(age_s));
                }
            }
        }
        for group in overview.by_operation.values_mut() {
            group.summary.at_least = window.more;
        }
        Ok(overview)
    }
}
