//! Transactions that conflict, which an embedded database never has: it runs one after another.

use std::collections::HashSet;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use parking_lot::Mutex;
use serde_json::Value;

use crate::message::Request;

/// Which items the transactions in progress write.
#[derive(Debug, Default)]
pub(crate) struct Contention {
    /// How long a transaction takes; `None`: nothing conflicts.
    duration: Mutex<Option<Duration>>,
    locked: Mutex<HashSet<String>>,
    conflicts: AtomicU64,
}

impl Contention {
    pub(crate) fn enable(&self, duration: Duration) {
        *self.duration.lock() = Some(duration);
    }

    pub(crate) fn conflicts(&self) -> u64 {
        self.conflicts.load(Ordering::SeqCst)
    }

    /// Locks the items of a transaction and waits as long as it takes; `None` if another has locked one of them.
    pub(crate) async fn lock(&self, request: &Request) -> Option<Lock<'_>> {
        let duration = *self.duration.lock();
        let Some(duration) = duration else { return Some(Lock { contention: self, items: Vec::new() }) };
        let items = written_items(request);
        {
            let mut locked = self.locked.lock();
            if items.iter().any(|item| locked.contains(item)) {
                self.conflicts.fetch_add(1, Ordering::SeqCst);
                return None;
            }
            locked.extend(items.iter().cloned());
        }
        let lock = Lock { contention: self, items };
        tokio::time::sleep(duration).await;
        Some(lock)
    }
}

/// The items of a transaction in progress; dropping it unlocks them.
pub(crate) struct Lock<'a> {
    contention: &'a Contention,
    items: Vec<String>,
}

impl Drop for Lock<'_> {
    fn drop(&mut self) {
        self.contention.locked.lock().retain(|item| !self.items.contains(item));
    }
}

/// The keys of the items that a transaction writes.
fn written_items(request: &Request) -> Vec<String> {
    let body = request.json();
    let actions = body["TransactItems"].as_array().map(Vec::as_slice).unwrap_or_default();
    let writes = actions.iter().filter_map(|action| action.as_object()?.values().next());
    let key = |write: &Value| {
        let item = if write["Key"].is_object() { &write["Key"] } else { &write["Item"] };
        format!("{} {} {} {}", write["TableName"], item["id"], item["pk"], item["sk"])
    };
    writes.map(key).collect()
}
