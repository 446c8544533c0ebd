//! The oracle: records what callers receive, and checks it against the applied effects and charges.

use idempotency::protocol::Resolution;
use idempotency::{Error, Outcome};
use parking_lot::Mutex;

/// Records what every caller received.
#[derive(Default)]
pub(super) struct Oracle {
    history: Mutex<History>,
}

#[derive(Default)]
struct History {
    told: Vec<String>,
    final_answer: Option<(u8, Resolution, u64)>,
    fences: Vec<u64>,
    broken: Vec<String>,
    /// The writes, if they are logged.
    written: Option<Vec<String>>,
}

impl Oracle {
    /// Records the outcome of a caller's request.
    pub(super) fn heard(&self, body: u8, outcome: &Result<Outcome<u64>, Error>) {
        let mut history = self.history();
        history.told.push(match outcome {
            Ok(outcome) => format!("{body}: {outcome:?}"),
            Err(error) => format!("{body}: {error}"),
        });
        let (Ok(Outcome::Executed(answered)) | Ok(Outcome::Replayed(answered))) = outcome else { return };
        let heard = (body, answered.resolution, answered.answer);
        let first = *history.final_answer.get_or_insert(heard);
        if first != heard {
            history.broken.push(format!("G2: the answer was {first:?}, and then {heard:?}"));
        }
    }

    /// Records that a caller's process died before it received an outcome.
    pub(super) fn died(&self) {
        self.history().told.push("died".into());
    }

    /// The final answer, if any was given.
    pub(super) fn final_answer(&self) -> Option<(Resolution, u64)> {
        self.history().final_answer.map(|(_, resolution, answer)| (resolution, answer))
    }

    /// Records the fencing token of an acquisition.
    pub(super) fn fence(&self, fence: u64) {
        let mut history = self.history();
        if history.fences.contains(&fence) {
            history.broken.push(format!("two holders of the lock have the fence {fence}"));
        }
        history.fences.push(fence);
        history.told.push(format!("fence {fence}"));
    }

    /// Logs writes as well from now on.
    pub(super) fn be_verbose(&self) {
        self.history().written = Some(Vec::new());
    }

    /// Logs a write, if that is enabled.
    pub(super) fn wrote(&self, what: impl FnOnce() -> String) {
        if let Some(written) = &mut self.history().written {
            written.push(what());
        }
    }

    /// Checks a promise.
    pub(super) fn expect(&self, holds: bool, promise: &str) {
        if !holds {
            self.history().broken.push(promise.into());
        }
    }

    /// The outcomes that callers received, or the broken promises.
    pub(super) fn verdict(&self) -> Result<Vec<String>, String> {
        let history = std::mem::take(&mut *self.history());
        if history.broken.is_empty() {
            Ok([history.told, history.written.unwrap_or_default()].concat())
        } else {
            Err(format!("{}\n{}", history.broken.join("\n"), history.told.join("\n")))
        }
    }

    fn history(&self) -> parking_lot::MutexGuard<'_, History> {
        self.history.lock()
    }
}
