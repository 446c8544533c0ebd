//! What was applied, and whether that fits together.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use idempotency::metrics::{Metric, Metrics};

/// Writes down what happens in a schedule. A clone is another handle.
#[derive(Clone, Default)]
pub(super) struct Judge(Arc<Mutex<Book>>);

#[derive(Default)]
struct Book {
    /// The names of the effects, in the order in which they were applied.
    applied: Vec<String>,
    broken: Vec<String>,
    noted: BTreeMap<&'static str, u64>,
    told: Vec<String>,
}

/// How often what occurred.
pub type Occurred = BTreeMap<&'static str, u64>;

impl Judge {
    /// An effect was applied.
    pub(super) fn applied(&self, name: &str) {
        self.tell(format!("applied {name}"));
        self.book().applied.push(name.to_owned());
    }

    /// The effects, in the order in which they were applied.
    pub(super) fn order(&self) -> Vec<String> {
        self.book().applied.clone()
    }

    /// A promise that must hold.
    pub(super) fn expect(&self, holds: bool, promise: &str) {
        if !holds {
            self.book().broken.push(promise.to_owned());
        }
    }

    /// Something happened that must happen now and then, or nothing is proved.
    pub(super) fn note(&self, what: &'static str) {
        *self.book().noted.entry(what).or_default() += 1;
    }

    /// For whoever looks at a schedule.
    pub(super) fn tell(&self, what: String) {
        self.book().told.push(what);
    }

    /// How often what occurred.
    pub(super) fn occurred(&self) -> Occurred {
        self.book().noted.clone()
    }

    /// What was told; or what was broken, and what was told until then.
    pub(super) fn verdict(&self) -> Result<Vec<String>, String> {
        let mut book = self.book();
        let told = std::mem::take(&mut book.told);
        match book.broken.is_empty() {
            true => Ok(told),
            false => Err(format!("{}\n{}", book.broken.join("\n"), told.join("\n"))),
        }
    }

    fn book(&self) -> MutexGuard<'_, Book> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Metrics for Judge {
    fn count(&self, metric: Metric, _: &str) {
        self.note(metric.name());
    }

    fn duration(&self, _: Metric, _: &str, _: Duration) {}
    fn gauge(&self, _: Metric, _: f64) {}
    fn flush(&self) {}
}
