//! The provider of the local stack ([`provider_simulator`]) in simulated time, behind a network that loses, repeats and
//! delays requests.
//!
//! It remembers the result of the first request under an id for a limited [time](MEMORY), including its own errors.
//! After that the id is like one that was never used. The objects stay, but the search may show them late.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use idempotency::protocol::TransactionId;
use parking_lot::{Mutex, MutexGuard};
use provider_simulator::{Admission, Answer, Breakdown, Form, Intent, Key, Status, When, Write};
use tokio::time::Instant;

use super::network::send;
use super::random_source::RandomSource;
use crate::fault::{Fault, Reply};

/// How long the provider remembers an id, from the first request on. No request is in transit, and no process is
/// frozen, for that long.
const MEMORY: Duration = Duration::from_secs(6 * 60 * 60);

/// How long after the creation of an id a tombstone under it is evidence: shorter than the provider's memory by more
/// than clocks differ.
pub(super) const TOMBSTONES_WITHIN: Duration = Duration::from_secs(5 * 60 * 60);

/// The amount of a charge for body 0; that for body 1 is one more.
const AMOUNT: u64 = 1000;

const CREATE: &str = "/v1/payment_intents";

/// The provider. A clone is another handle.
#[derive(Clone)]
pub(super) struct Provider {
    random: Arc<RandomSource>,
    started: Instant,
    state: Arc<Mutex<State>>,
}

struct State {
    provider: provider_simulator::Provider,
    /// The card behind each id: whether it is declined.
    is_declined: HashMap<TransactionId, bool>,
    /// When the search begins to show each intent, in order of creation.
    shown: Vec<Duration>,
}

/// The provider's entry for a transaction id.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Entry {
    /// Charged, under this number; it is even for body 0 and odd for body 1.
    Charged(u64),
    /// Refused for good.
    Declined,
    /// A tombstone holds the id.
    Tombstone,
}

#[derive(Clone, Copy)]
enum Request {
    Charge(u8),
    Prevent,
    Look,
}

/// No reply arrived, so it is unknown whether it happened.
pub(super) struct NoAnswer;

impl Provider {
    pub(super) fn new(random: Arc<RandomSource>) -> Self {
        let provider = provider_simulator::Provider::new(0, Some(MEMORY));
        let state = State { provider, is_declined: HashMap::new(), shown: Vec::new() };
        Self { random, started: Instant::now(), state: Arc::new(Mutex::new(state)) }
    }

    /// Charges under a transaction id, or returns the result of the first request under it.
    ///
    /// Another request under a used id is an error without further information.
    pub(super) async fn charge(&self, id: TransactionId, body: u8) -> Result<Entry, NoAnswer> {
        let is_declined = self.random.once_in(5);
        self.state.lock().is_declined.entry(id).or_insert(is_declined);
        self.send(id, Request::Charge(body)).await?.ok_or(NoAnswer)
    }

    /// Whether a charge is one for this body.
    pub(super) const fn is_for(charge: u64, body: u8) -> bool {
        charge % 2 == body as u64
    }

    /// Creates a tombstone under the id, unless the provider remembers another request under it.
    pub(super) async fn prevent(&self, id: TransactionId) -> Result<Entry, NoAnswer> {
        self.send(id, Request::Prevent).await?.ok_or(NoAnswer)
    }

    /// The result of the search for the id.
    pub(super) async fn look(&self, id: TransactionId) -> Result<Option<Entry>, NoAnswer> {
        self.send(id, Request::Look).await
    }

    /// The number of charges.
    pub(super) fn charges(&self) -> u64 {
        self.state.lock().provider.charges().len() as u64
    }

    /// Whether the search shows nothing for the id.
    pub(super) fn shows_nothing(&self, id: TransactionId) -> bool {
        matches!(self.state.lock().search(id, self.started.elapsed()), Ok(None))
    }

    async fn send(&self, id: TransactionId, request: Request) -> Result<Option<Entry>, NoAnswer> {
        let provider = self.clone();
        match send(&self.random, move || provider.answer(id, request)).await {
            Reply::Answer(answer) => answer,
            Reply::Refused | Reply::Silence => Err(NoAnswer),
        }
    }

    fn answer(&self, id: TransactionId, request: Request) -> Result<Option<Entry>, NoAnswer> {
        let (mut state, now) = (self.state.lock(), self.started.elapsed());
        let write = match request {
            Request::Look => return state.search(id, now),
            Request::Charge(body) => charge(id, body, state.is_declined[&id]),
            Request::Prevent => tombstone(id),
        };
        match (state.provider.admit(write, now), request) {
            (Ok(Admission::New(admitted)), _) => {
                self.break_down(&mut state, request);
                let answer = state.provider.execute(*admitted, now);
                self.index(&mut state, now);
                state.entry(&answer).map(Some)
            }
            // A tombstone whose creation failed also holds the id: the provider repeats the failure.
            (Ok(Admission::Saved(_)), Request::Prevent) => Ok(Some(Entry::Tombstone)),
            (Ok(Admission::Saved(answer)), _) => state.entry(&answer).map(Some),
            (Err(_), Request::Charge(_)) if state.is_taken(id, now) => Ok(Some(Entry::Tombstone)),
            (Err(_), _) => Err(NoAnswer),
        }
    }

    /// The provider itself may fail, before it executes a request or after.
    fn break_down(&self, state: &mut MutexGuard<'_, State>, request: Request) {
        let fails = self.random.occurs(Fault::Refuse);
        let when = match request {
            Request::Charge(_) if fails && !self.random.once_in(2) => When::After,
            Request::Charge(_) | Request::Prevent | Request::Look => When::Before,
        };
        state.provider.break_down(Breakdown { path: String::new(), times: u32::from(fails), when });
    }

    /// Makes the search show a new intent, immediately or after some time.
    fn index(&self, state: &mut MutexGuard<'_, State>, now: Duration) {
        if state.provider.intents().count() == state.shown.len() {
            return;
        }
        let lag = match self.random.pick(10) {
            0 => self.random.below_ms(24 * 60 * 60 * 1000),
            1 => self.random.below_ms(60_000),
            _ => Duration::ZERO,
        };
        state.shown.push(now + lag);
    }
}

impl State {
    /// Searches for the id. With several intents for one id the result is ambiguous, and nothing is returned.
    fn search(&self, id: TransactionId, now: Duration) -> Result<Option<Entry>, NoAnswer> {
        let id = id.to_string();
        let intents = self.provider.intents().enumerate().zip(&self.shown);
        let mut found = intents
            .filter(|((_, intent), shown)| **shown <= now && intent.metadata.get("transaction") == Some(&id))
            .map(|((index, intent), _)| Entry::of(index, intent));
        match (found.next(), found.next()) {
            (None, _) => Ok(None),
            (Some(entry), None) => Ok(entry),
            (Some(_), Some(_)) => Err(NoAnswer),
        }
    }

    /// Whether a tombstone holds the id.
    fn is_taken(&self, id: TransactionId, now: Duration) -> bool {
        let saved = self.provider.saved(&key(id), now);
        saved.is_some_and(|saved| saved.request == tombstone(id).to_text())
    }

    fn entry(&self, answer: &Answer) -> Result<Entry, NoAnswer> {
        match answer.status {
            200 => {
                let body = answer.json();
                let mut intents = self.provider.intents().enumerate();
                let found = intents.find(|(_, intent)| body["id"] == *intent.id);
                found.and_then(|(index, intent)| Entry::of(index, intent)).ok_or(NoAnswer)
            }
            402 => Ok(Entry::Declined),
            _ => Err(NoAnswer),
        }
    }
}

impl Entry {
    fn of(index: usize, intent: &Intent) -> Option<Self> {
        if intent.metadata.contains_key("tombstone") {
            return Some(Self::Tombstone);
        }
        match intent.status {
            Status::Succeeded => Some(Self::Charged(index as u64 * 2 + (intent.amount - AMOUNT))),
            _ => intent.last_payment_error.as_ref().map(|_| Self::Declined),
        }
    }
}

fn charge(id: TransactionId, body: u8, is_declined: bool) -> Write {
    let method = if is_declined { "pm_card_chargeDeclined" } else { "pm_card_visa" };
    let amount = (AMOUNT + u64::from(body)).to_string();
    write(id, [("amount", amount.as_str()), ("payment_method", method), ("confirm", "true")])
}

/// An intent that is never confirmed: its request takes the id.
fn tombstone(id: TransactionId) -> Write {
    write(id, [("amount", "1000"), ("metadata[tombstone]", "true")])
}

fn write<const N: usize>(id: TransactionId, parameters: [(&str, &str); N]) -> Write {
    let transaction = id.to_string();
    let common = [("currency", "eur"), ("metadata[transaction]", &transaction)];
    Write { path: CREATE.to_owned(), form: Form::new(parameters.into_iter().chain(common)), key: Some(key(id)) }
}

fn key(id: TransactionId) -> Key {
    Key { account: "simulation".to_owned(), key: id.to_string() }
}
