//! What is counted and measured, for tests.

use std::sync::Arc;
use std::time::Duration;

use super::{Kind, Metric, Metrics};
use crate::mutex::Mutex;

/// Keeps each count and each duration, with its operation.
#[derive(Clone, Default)]
pub(crate) struct Counts(Arc<Mutex<Vec<(Metric, String)>>>);

impl Counts {
    /// What was counted or measured since the previous call.
    pub(crate) fn take(&self) -> Vec<(Metric, String)> {
        std::mem::take(&mut *self.0.lock())
    }

    /// What was counted since the previous call.
    pub(crate) fn counted(&self) -> Vec<Metric> {
        let metrics = self.take().into_iter().map(|(metric, _)| metric);
        metrics.filter(|metric| metric.kind() == Kind::Counter).collect()
    }
}

impl Metrics for Counts {
    fn count(&self, metric: Metric, operation: &str) {
        self.0.lock().push((metric, operation.to_owned()));
    }

    fn duration(&self, metric: Metric, operation: &str, _: Duration) {
        self.count(metric, operation);
    }

    fn gauge(&self, _: Metric, _: f64) {}
    fn flush(&self) {}
}
