//! Another system that charges, deduplicates by the transaction id, and can be told to refuse an id for ever.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

use idempotency::protocol::TransactionId;

use super::dice::{Dice, Fault};

/// The other system. A clone is another handle.
#[derive(Clone)]
pub(super) struct Provider {
    dice: Arc<Dice>,
    books: Arc<Mutex<Books>>,
}

#[derive(Default)]
struct Books {
    entries: HashMap<TransactionId, Entry>,
    charges: u64,
}

/// What it remembers of a transaction id.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Entry {
    /// Charged, under this number; it is even or odd as is what was asked for.
    Charged(u64),
    /// Refused for good.
    Declined,
    /// The id is taken.
    Tombstone,
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
        match self.ask(id, Some(new)).await?.unwrap_or(new) {
            Entry::Charged(charge) if !Self::is_for(charge, body) => Err(NoAnswer),
            entry => Ok(entry),
        }
    }

    /// Whether what was charged is what was asked for.
    pub(super) const fn is_for(charge: u64, body: u8) -> bool {
        charge % 2 == body as u64
    }

    /// Takes the id, unless it was used before; says what is there then.
    pub(super) async fn prevent(&self, id: TransactionId) -> Result<Entry, NoAnswer> {
        self.ask(id, Some(Entry::Tombstone)).await.map(|entry| entry.unwrap_or(Entry::Tombstone))
    }

    /// What was done under the id so far.
    pub(super) async fn look(&self, id: TransactionId) -> Result<Option<Entry>, NoAnswer> {
        self.ask(id, None).await
    }

    /// How often it charged.
    pub(super) fn charges(&self) -> u64 {
        self.books().charges
    }

    async fn ask(&self, id: TransactionId, new: Option<Entry>) -> Result<Option<Entry>, NoAnswer> {
        tokio::time::sleep(self.dice.below_ms(40)).await;
        match Fault::OF_REQUESTS.into_iter().find(|fault| self.dice.strikes(*fault)) {
            None => Ok(self.answer(id, new)),
            Some(Fault::Duplicate) => {
                self.later(id, new);
                Ok(self.answer(id, new))
            }
            Some(Fault::Repeat) => {
                self.answer(id, new);
                tokio::time::sleep(self.dice.below_ms(1000)).await;
                Ok(self.answer(id, new))
            }
            Some(Fault::LoseReply) => {
                self.answer(id, new);
                Err(NoAnswer)
            }
            Some(Fault::Late) => {
                self.later(id, new);
                Err(NoAnswer)
            }
            Some(Fault::Refuse | Fault::LoseRequest | Fault::Freeze | Fault::Crash) => Err(NoAnswer),
        }
    }

    fn later(&self, id: TransactionId, new: Option<Entry>) {
        let (provider, delay) = (self.clone(), self.dice.below_ms(300_000));
        tokio::spawn(async move {
            tokio::time::sleep(delay).await;
            provider.answer(id, new);
        });
    }

    fn answer(&self, id: TransactionId, new: Option<Entry>) -> Option<Entry> {
        let mut books = self.books();
        if let Some(entry) = books.entries.get(&id) {
            return Some(*entry);
        }
        let entry = match new? {
            Entry::Charged(body) => {
                books.charges += 1;
                Entry::Charged(books.charges * 2 + body)
            }
            other @ (Entry::Declined | Entry::Tombstone) => other,
        };
        books.entries.insert(id, entry);
        Some(entry)
    }

    fn books(&self) -> std::sync::MutexGuard<'_, Books> {
        self.books.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
