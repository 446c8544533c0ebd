//! Another system that charges, deduplicates by the transaction id, and can be told to refuse an id.
//!
//! It remembers what was done under an id for a [time](MEMORY): an error of its own, too, which it repeats like any other
//! result. Then the id is as free as one that was never used. What it did is there for ever, but its search may take
//! long to show it.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use idempotency::protocol::TransactionId;
use tokio::time::Instant;

use super::dice::{Dice, Fault};

/// For how long it remembers what was done under an id, from the first request on. No request travels, and no process
/// stands still, for so long.
const MEMORY: Duration = Duration::from_secs(6 * 60 * 60);

/// For how long after an id was made a tombstone under it is evidence: shorter by more than clocks differ.
pub(super) const TOMBSTONES_WITHIN: Duration = Duration::from_secs(5 * 60 * 60);

/// The other system. A clone is another handle.
#[derive(Clone)]
pub(super) struct Provider {
    dice: Arc<Dice>,
    books: Arc<Mutex<Books>>,
}

#[derive(Default)]
struct Books {
    keys: HashMap<TransactionId, Kept>,
    done: HashMap<TransactionId, Vec<Done>>,
    charges: u64,
}

/// The result of the first request under an id.
#[derive(Clone, Copy)]
struct Kept {
    result: Entry,
    /// It failed, whatever it had done until then, and every repeat gets that failure.
    failed: bool,
    until: Instant,
}

#[derive(Clone, Copy)]
struct Done {
    entry: Entry,
    /// From when on the search shows it.
    shown: Instant,
}

/// What it has under a transaction id.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Entry {
    /// Charged, under this number; it is even or odd as is what was asked for.
    Charged(u64),
    /// Refused for good.
    Declined,
    /// The id is taken.
    Tombstone,
}

#[derive(Clone, Copy)]
enum Ask {
    Charge(Entry),
    Prevent,
    Look,
}

/// Whether it happened is not known.
pub(super) struct NoAnswer;

impl Provider {
    pub(super) fn new(dice: Arc<Dice>) -> Self {
        Self { dice, books: Arc::default() }
    }

    /// Charges under a transaction id, or says what was done under it before.
    ///
    /// Something else under a used id is an error, of which the caller learns nothing.
    pub(super) async fn charge(&self, id: TransactionId, body: u8) -> Result<Entry, NoAnswer> {
        let new = if self.dice.once_in(5) { Entry::Declined } else { Entry::Charged(u64::from(body)) };
        match self.ask(id, Ask::Charge(new)).await?.unwrap_or(new) {
            Entry::Charged(charge) if !Self::is_for(charge, body) => Err(NoAnswer),
            entry => Ok(entry),
        }
    }

    /// Whether what was charged is what was asked for.
    pub(super) const fn is_for(charge: u64, body: u8) -> bool {
        charge % 2 == body as u64
    }

    /// Takes the id, unless it remembers that it was used before.
    pub(super) async fn prevent(&self, id: TransactionId) -> Result<Entry, NoAnswer> {
        self.ask(id, Ask::Prevent).await?.ok_or(NoAnswer)
    }

    /// What its search shows under the id.
    pub(super) async fn look(&self, id: TransactionId) -> Result<Option<Entry>, NoAnswer> {
        self.ask(id, Ask::Look).await
    }

    /// How often it charged.
    pub(super) fn charges(&self) -> u64 {
        self.books().charges
    }

    /// Whether its search shows nothing under the id.
    pub(super) fn shows_nothing(&self, id: TransactionId) -> bool {
        matches!(self.books().shown(id), Ok(None))
    }

    async fn ask(&self, id: TransactionId, ask: Ask) -> Result<Option<Entry>, NoAnswer> {
        tokio::time::sleep(self.dice.below_ms(40)).await;
        match Fault::OF_REQUESTS.into_iter().find(|fault| self.dice.strikes(*fault)) {
            None => self.answer(id, ask),
            Some(Fault::Duplicate) => {
                self.later(id, ask);
                self.answer(id, ask)
            }
            Some(Fault::Repeat) => {
                _ = self.answer(id, ask);
                tokio::time::sleep(self.dice.below_ms(1000)).await;
                self.answer(id, ask)
            }
            Some(Fault::LoseReply) => {
                _ = self.answer(id, ask);
                Err(NoAnswer)
            }
            Some(Fault::Late) => {
                self.later(id, ask);
                Err(NoAnswer)
            }
            Some(Fault::Refuse | Fault::LoseRequest | Fault::Freeze | Fault::Crash) => Err(NoAnswer),
        }
    }

    fn later(&self, id: TransactionId, ask: Ask) {
        let (provider, delay) = (self.clone(), self.dice.below_ms(300_000));
        tokio::spawn(async move {
            tokio::time::sleep(delay).await;
            _ = provider.answer(id, ask);
        });
    }

    fn answer(&self, id: TransactionId, ask: Ask) -> Result<Option<Entry>, NoAnswer> {
        let now = Instant::now();
        let mut books = self.books();
        let kept = books.keys.get(&id).copied().filter(|kept| now < kept.until);
        match (ask, kept) {
            (Ask::Look, _) => books.shown(id),
            (Ask::Charge(new), None) => {
                let failed = self.dice.strikes(Fault::Refuse);
                // It may have failed before it did anything, or after.
                let entry = if failed && self.dice.once_in(2) { None } else { Some(books.numbered(new)) };
                books.done.entry(id).or_default().extend(entry.map(|entry| self.done(entry, now)));
                books.keys.insert(id, Kept { result: entry.unwrap_or(new), failed, until: now + MEMORY });
                if failed { Err(NoAnswer) } else { Ok(entry) }
            }
            (Ask::Prevent, None) => {
                let failed = self.dice.strikes(Fault::Refuse);
                let done = self.done(Entry::Tombstone, now);
                books.done.entry(id).or_default().extend((!failed).then_some(done));
                books.keys.insert(id, Kept { result: Entry::Tombstone, failed, until: now + MEMORY });
                if failed { Err(NoAnswer) } else { Ok(Some(Entry::Tombstone)) }
            }
            // The saved failure of a tombstone holds the id all the same.
            (Ask::Charge(_) | Ask::Prevent, Some(Kept { result: Entry::Tombstone, .. })) => Ok(Some(Entry::Tombstone)),
            (Ask::Charge(_), Some(Kept { result, failed: false, .. })) => Ok(Some(result)),
            (Ask::Charge(_), Some(Kept { failed: true, .. })) | (Ask::Prevent, Some(_)) => Err(NoAnswer),
        }
    }

    fn done(&self, entry: Entry, now: Instant) -> Done {
        let lag = match self.dice.pick(10) {
            0 => self.dice.below_ms(24 * 60 * 60 * 1000),
            1 => self.dice.below_ms(60_000),
            _ => Duration::ZERO,
        };
        Done { entry, shown: now + lag }
    }

    fn books(&self) -> std::sync::MutexGuard<'_, Books> {
        self.books.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Books {
    fn numbered(&mut self, new: Entry) -> Entry {
        match new {
            Entry::Charged(body) => {
                self.charges += 1;
                Entry::Charged(self.charges * 2 + body)
            }
            Entry::Declined | Entry::Tombstone => new,
        }
    }

    /// Of several it says nothing.
    fn shown(&self, id: TransactionId) -> Result<Option<Entry>, NoAnswer> {
        let now = Instant::now();
        let done = self.done.get(&id).map(Vec::as_slice).unwrap_or_default();
        let mut shown = done.iter().filter(|done| done.shown <= now);
        match (shown.next(), shown.next()) {
            (None, _) => Ok(None),
            (Some(done), None) => Ok(Some(done.entry)),
            (Some(_), Some(_)) => Err(NoAnswer),
        }
    }
}
