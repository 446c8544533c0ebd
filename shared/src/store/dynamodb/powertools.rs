//! Taking over from Powertools for AWS Lambda (Python, TypeScript): what it has completed is not done again.
//!
//! A function that takes the place of one with Powertools finds none of its own records for requests that the old one has
//! answered, and would run them again. A [`Predecessor`] looks into the old function's table, under the key that Powertools
//! computes, before an operation runs:
//!
//! | the old table says | what happens |
//! |---|---|
//! | nothing, or its `expiration` is over | the operation runs |
//! | COMPLETED | the old answer is recorded as this library's own, and given |
//! | COMPLETED or INPROGRESS, with another `validation` | a mismatch |
//! | INPROGRESS, before its `in_progress_expiration` and a second | in progress: nothing runs, and a retry looks again |
//! | INPROGRESS, after that | **not known**: the record becomes UNKNOWN, unless [declared otherwise](Predecessor::uncertain) |
//!
//! It does so under a claim of this library's record, so our record always comes first. While the old function may still
//! run, as in a rolling deployment, the attempt is also written into the old table under the very condition that Powertools
//! uses: of an old and a new attempt one is first, and the other one finds it. The answer is written there in the transaction
//! that settles our record. Once the old function is gone for good, [`Predecessor::stopped`] leaves only a read.
//!
//! ```no_run
//! use aws_sdk_dynamodb::types::TransactWriteItem;
//! use idempotency::engine::InputKey;
//! use idempotency::powertools::Predecessor;
//! use idempotency::protocol::{EpochMs, Pointer};
//! use idempotency::store::dynamodb;
//! use idempotency::{Attempt, Call, DynamoDbStore, Engine, Operation, Verdict};
//! use serde_json::{Value, json};
//!
//! # async fn charge(_: Attempt<TransactWriteItem>, _: &Value) -> Verdict<Value> { Verdict::Success(json!(null)) }
//! /// It was, in Python: `@idempotent_function(data_keyword_argument="order", config=IdempotencyConfig(event_key_jmespath=
//! /// "id"), …)` around `charge` in `app.py` of the Lambda function `pay`.
//! async fn handler(order: Value, deadline: u64) -> Result<Value, Box<dyn std::error::Error>> {
//!     let client = dynamodb::client();
//!     let engine = Engine::builder(DynamoDbStore::new(client.clone(), "Records")).build();
//!     let old = Predecessor::python(client, "IdempotencyTable", "pay.app.charge");
//!     let call = Call::of_input(
//!         Operation::new("pay", "charge"),
//!         InputKey::At(&Pointer::new("/id")?),
//!         &order,
//!         EpochMs(deadline),
//!     )?;
//!     let outcome = old.run(&engine, &call, &old.key(&order["id"])?, |attempt| charge(attempt, &order)).await?;
//!     Ok(outcome.into_result()?)
//! }
//! ```
//!
//! For an API set it on the [layer](crate::http::IdempotencyLayer::predecessor); in a handler of messages call
//! [`Predecessor::guard`].
//!
//! # What cannot be promised
//!
//! Powertools completes and deletes its records **without a condition**. A late owner of the old function, one that goes on
//! after its deadline, can therefore overwrite or remove what this library has written in the old table; our own record
//! stays as it is. And an old attempt whose deadline is over is run again by the old function itself, as ever, while one of
//! its instances is left. To be certain, stop the old function, wait for its time-out, and start the new one then.

mod aside;
mod item;
mod json;
mod key;

use std::time::Duration;

use aws_sdk_dynamodb::Client;
use aws_sdk_dynamodb::types::{AttributeValue, Put, ReturnValuesOnConditionCheckFailure, TransactWriteItem};
use futures::FutureExt;
use futures::future::BoxFuture;
use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::Value;

pub(crate) use aside::Aside;
pub use aside::NotRun;
pub use item::OldNames;
pub use key::{Hash, NoOldKey, OldKey};

use super::error::Failure;
use super::item::{number, string};
use super::{Item, boxed};
use crate::engine::{Attempt, Call, Engine, Error, Outcome, Verdict};
use crate::mutex::Mutex;
#[cfg(feature = "jmespath")]
use crate::protocol::{Document, Expression};
use crate::protocol::{EpochMs, Uncertain};
use crate::store::{BoxError, Store, StoreError};
use aside::Forwarded;
use item::{AFTER, ATTEMPT, COMPLETED, IN_PROGRESS, SUCCESSOR, Said};
use key::{Language, Style};

/// How long an attempt that did not end keeps the old function from running: longer than both functions are deployed side
/// by side.
const UNENDED: Duration = Duration::from_secs(7 * 24 * 60 * 60);

/// The longest that an invocation of the old function can have run before its deadline: Lambda's limit.
const LONGEST_INVOCATION: Duration = Duration::from_secs(15 * 60);

/// The longest answer that is written for the old function. With a longer one the item might not fit into DynamoDB's
/// 400 KB, and the transaction would be rejected.
const LONGEST_ANSWER_BYTES: usize = 256 * 1024;

/// The expiration of what is kept: 9999-12-31T23:59:59Z.
const NEVER_S: u64 = 253_402_300_799;

const RETRY_AFTER: Duration = Duration::from_secs(1);

/// Where the item changes at this moment.
const LOOK_AGAIN: NotRun = NotRun::InProgress { retry_after: RETRY_AFTER };

/// A function with Powertools whose place this one takes, and its table.
#[derive(Clone, Debug)]
pub struct Predecessor {
    client: Client,
    table: String,
    prefix: String,
    style: Style,
    names: OldNames,
    retention: Duration,
    uncertain: Uncertain,
    may_run: bool,
}

impl Predecessor {
    /// A function with Powertools for Python. `table` is in the account and Region of the effects.
    ///
    /// `prefix` is what the ids in it have before the `#`: the names of the Lambda function, of the module and of the
    /// decorated function (`pay.app.handler`), or the decorator's `key_prefix`.
    pub fn python(client: Client, table: impl Into<String>, prefix: impl Into<String>) -> Self {
        Self::new(client, table.into(), prefix.into(), Language::Python)
    }

    /// A function with Powertools for TypeScript; see [`python`](Self::python). `prefix` is the name of the Lambda
    /// function, or `keyPrefix`.
    pub fn typescript(client: Client, table: impl Into<String>, prefix: impl Into<String>) -> Self {
        Self::new(client, table.into(), prefix.into(), Language::TypeScript)
    }

    fn new(client: Client, table: String, prefix: String, language: Language) -> Self {
        Self {
            client,
            table,
            prefix,
            style: Style { language, hash: Hash::default() },
            names: OldNames::default(),
            retention: Duration::from_secs(60 * 60),
            uncertain: Uncertain::Reconcile,
            may_run: true,
        }
    }

    /// Other attribute names, or a table with a sort key.
    #[must_use]
    pub fn names(self, names: OldNames) -> Self {
        Self { names, ..self }
    }

    /// Another hash function (`hash_function`). Default: MD5.
    #[must_use]
    pub fn hash(self, hash: Hash) -> Self {
        Self { style: Style { hash, ..self.style }, ..self }
    }

    /// How long the old function may replay an answer of this one: its `expires_after_seconds`. Default: an hour, as there.
    #[must_use]
    pub const fn retention(mut self, retention: Duration) -> Self {
        self.retention = retention;
        self
    }

    /// What an attempt of the old function means that did not end before its deadline. Default: [`Uncertain::Reconcile`].
    /// The outcome is unknown, and nothing runs without evidence.
    ///
    /// What the operation declares about its own attempts does not apply here: those carry its transaction id, by which
    /// other systems deduplicate, and the old function sent another one. With [`Uncertain::Repeat`] the operation runs, as
    /// it would have with Powertools. Declare that only if the systems that you call recognise both as one, for example
    /// because both functions pass on an id of the client. Its time is counted from the earliest moment at which the old
    /// attempt can have begun: 15 minutes before its deadline.
    #[must_use]
    pub const fn uncertain(mut self, uncertain: Uncertain) -> Self {
        self.uncertain = uncertain;
        self
    }

    /// Declares that no instance of the old function runs or will run any more. Its records are then read, at one consistent
    /// read for each first run, until the last answer has expired. Written is only what must not be forgotten: an attempt that
    /// did not end, and an answer that cannot be read, are kept in the old table, so the function needs `PutItem` there, too.
    #[must_use]
    pub const fn stopped(mut self) -> Self {
        self.may_run = false;
        self
    }

    /// The key of a call: `selected` is what `event_key_jmespath` selects from the event, or all of it without one.
    ///
    /// # Errors
    /// [`NoOldKey`] if the old function would have found no key in it, or if it cannot be hashed as Powertools does.
    pub fn key(&self, selected: &impl Serialize) -> Result<OldKey, NoOldKey> {
        self.key_of_json(&serde_json::to_vec(selected).map_err(NoOldKey::NotJson)?)
    }

    /// Like [`key`](Self::key), for the text of a JSON document, whose numbers stay as they are written. Python keeps
    /// integers of more than 64 bits, which `serde_json::Value` does not.
    ///
    /// # Errors
    /// As for [`key`](Self::key).
    pub fn key_of_json(&self, selected: &[u8]) -> Result<OldKey, NoOldKey> {
        OldKey::of_json(&self.prefix, self.style, selected)
    }

    /// Like [`key`](Self::key), by the old `event_key_jmespath` itself.
    ///
    /// # Errors
    /// As for [`key`](Self::key).
    #[cfg(feature = "jmespath")]
    pub fn key_selected(&self, by: &Expression, event: &Document) -> Result<OldKey, NoOldKey> {
        OldKey::selected(&self.prefix, self.style, by, event)
    }

    /// Runs a call of the engine, like [`Engine::run`], if neither this function nor the old one has.
    ///
    /// # Errors
    /// As for [`Engine::run`]; [`Error::StoreUnavailable`] also if the old table cannot be read.
    pub async fn run<S, T, F, R>(
        &self,
        engine: &Engine<S>,
        call: &Call,
        key: &OldKey,
        run: F,
    ) -> Result<Outcome<T>, Error>
    where
        S: Store<Effect = TransactWriteItem>,
        T: Serialize + DeserializeOwned,
        F: FnOnce(Attempt<TransactWriteItem>) -> R,
        R: Future<Output = Verdict<T>>,
    {
        let aside = Mutex::new(None);
        let run = async |attempt| match self.run_or_replay(key, attempt, run).await {
            Ok((verdict, is_replay)) => {
                *aside.lock() = is_replay.then_some(Aside::Replayed);
                forwarded(verdict)
            }
            Err(not_run) => {
                *aside.lock() = Some(Aside::NotRun(not_run));
                Verdict::NotExecuted(Forwarded(None))
            }
        };
        let outcome = engine.run(call, run).await;
        Forwarded::unwrapped(Aside::over(outcome, aside.into_inner()))
    }

    /// Runs one attempt if the old function has not run the operation: for a handler that already has an attempt, such as
    /// that of a [`Queue`](crate::Queue). Call it under a claim, and let it be all that the attempt does.
    ///
    /// # Errors
    /// [`NotRun`] if nothing ran, and a retry must look again. Answer with [`Verdict::NotExecuted`].
    pub async fn guard<T, F, R>(
        &self,
        key: &OldKey,
        attempt: Attempt<TransactWriteItem>,
        run: F,
    ) -> Result<Verdict<T>, NotRun>
    where
        T: Serialize + DeserializeOwned,
        F: FnOnce(Attempt<TransactWriteItem>) -> R,
        R: Future<Output = Verdict<T>>,
    {
        self.run_or_replay(key, attempt, run).await.map(|(verdict, _)| verdict)
    }

    /// The verdict, and whether it is the old function's.
    async fn run_or_replay<T, F, R>(
        &self,
        key: &OldKey,
        attempt: Attempt<TransactWriteItem>,
        run: F,
    ) -> Result<(Verdict<T>, bool), NotRun>
    where
        T: Serialize + DeserializeOwned,
        F: FnOnce(Attempt<TransactWriteItem>) -> R,
        R: Future<Output = Verdict<T>>,
    {
        Ok(match self.take(key, &attempt).await? {
            Taken::Run(held) => {
                let verdict = run(attempt.clone()).await;
                held.end(&attempt, &verdict, json).await;
                (verdict, false)
            }
            Taken::Completed(answered) => (self.completed(answered, read_json).await?, true),
            Taken::Unknown(reason) => (Verdict::Unknown(reason.into()), false),
        })
    }

    /// Looks for the call in the old table. If it is not there, and the old function may still run, takes it there.
    pub(crate) async fn take(&self, key: &OldKey, attempt: &Attempt<TransactWriteItem>) -> Result<Taken, NotRun> {
        let (now, successor) = (attempt.now(), successor(attempt));
        let held = |is_new| {
            let (successor, number) = (successor.clone(), attempt.number());
            Taken::Run(Box::new(Held { old: self.clone(), key: key.clone(), successor, attempt: number, is_new }))
        };
        let ours = || self.names.in_progress(key, &successor, attempt.number(), unended_until(now));
        let found = match self.may_run {
            true => match self.put(ours(), Condition::Free(now)).await? {
                Refused::No => return Ok(held(true)),
                Refused::By(found) => found,
            },
            false => self.get(key).await?,
        };
        let Some(found) = found else {
            // Without an item the condition holds, so it has been deleted since.
            return if self.may_run { Err(LOOK_AGAIN) } else { Ok(held(false)) };
        };
        let said = self.names.read(&found, key, &successor, now).map_err(|problem| unreadable(key, problem))?;
        match said {
            Said::Completed(answer) => {
                tracing::info!(table = self.table, "the old function has completed the operation");
                Ok(Taken::Completed(Completed { answer, item: found }))
            }
            Said::Unreadable(problem) => self.keep_answer(found).await.map(|()| Taken::Unknown(problem)),
            // After an attempt of the old function that may be repeated for a while only.
            Said::Ours { after: Some(deadline), .. } if !self.may_repeat(Some(deadline), now) => {
                Ok(Taken::Unknown(ABANDONED.to_owned()))
            }
            // The reply to this attempt's own write was lost.
            Said::Ours { attempt: written, after } if written == attempt.number() => Ok(held(after.is_none())),
            // An earlier attempt's, whose delayed removal must not find this one.
            Said::Ours { attempt: written, after } => {
                match self.put(after_old(ours(), after), Condition::Ours(successor.clone(), written)).await? {
                    Refused::No => Ok(held(false)),
                    Refused::By(_) => Err(LOOK_AGAIN),
                }
            }
            Said::Mismatch => Err(NotRun::Mismatch),
            Said::InProgress(until) => {
                Err(NotRun::InProgress { retry_after: until.since(now).clamp(RETRY_AFTER, LONGEST_INVOCATION) })
            }
            Said::Expired if self.may_run => Err(LOOK_AGAIN),
            Said::Expired => Ok(held(false)),
            Said::Abandoned(deadline) if !self.may_repeat(deadline, now) => self.keep(found, deadline).await,
            Said::Abandoned(_) if !self.may_run => Ok(held(false)),
            Said::Abandoned(deadline) => {
                match self.put(after_old(ours(), deadline), Condition::Abandoned(deadline)).await? {
                    // What the old attempt may have done stays, so the item is never removed.
                    Refused::No => Ok(held(false)),
                    Refused::By(_) => Err(LOOK_AGAIN),
                }
            }
        }
    }

    /// Keeps an attempt that did not end, for as long as our record of it is unknown. That record may be reopened by evidence
    /// about our own transaction id, which proves nothing about the old one; the next attempt must find this item again.
    async fn keep(&self, found: Item, deadline: Option<EpochMs>) -> Result<Taken, NotRun> {
        tracing::warn!(table = self.table, "an attempt of the old function did not end: its outcome is not known");
        self.keep_if(found, Condition::Abandoned(deadline)).await.map(|()| Taken::Unknown(ABANDONED.to_owned()))
    }

    /// Keeps an answer that cannot be read, for the same reason: the operation must not run when it expires.
    async fn keep_answer(&self, found: Item) -> Result<(), NotRun> {
        tracing::error!(table = self.table, "an answer of the old function cannot be read");
        let expiration = found.get(&self.names.expiration).cloned();
        self.keep_if(found, Condition::Answered(expiration)).await
    }

    async fn keep_if(&self, mut found: Item, condition: Condition) -> Result<(), NotRun> {
        let is_kept = found.insert(self.names.expiration.clone(), number(NEVER_S)) == Some(number(NEVER_S));
        if is_kept {
            return Ok(());
        }
        match self.put(found, condition).await? {
            Refused::No => Ok(()),
            Refused::By(_) => Err(LOOK_AGAIN),
        }
    }

    /// The old answer as a verdict. What it returned is final, whatever it says; if it cannot be read, it is kept, and the
    /// operation does not run again because of that.
    ///
    /// # Errors
    /// [`NotRun`] if it cannot be kept.
    pub(crate) async fn completed<T>(
        &self,
        Completed { answer, item }: Completed,
        read: impl FnOnce(Value) -> Result<Verdict<T>, BoxError>,
    ) -> Result<Verdict<T>, NotRun> {
        match read(answer) {
            Ok(verdict) => Ok(verdict),
            Err(error) => {
                self.keep_answer(item).await?;
                let reason = format!("the old function has completed it, and its answer cannot be read: {error}");
                Ok(Verdict::Unknown(reason.into()))
            }
        }
    }

    /// Whether an attempt with this deadline may be repeated. Without one it is not known when it began.
    fn may_repeat(&self, deadline: Option<EpochMs>, now: EpochMs) -> bool {
        match (self.uncertain, deadline) {
            (Uncertain::Reconcile, _) | (Uncertain::Repeat { .. }, None) => false,
            (Uncertain::Repeat { within }, Some(deadline)) => now < deadline.minus(LONGEST_INVOCATION).plus(within),
        }
    }

    async fn get(&self, key: &OldKey) -> Result<Option<Item>, NotRun> {
        let request = self.client.get_item().table_name(&self.table).set_key(Some(self.names.key(key)));
        let found = boxed(request.consistent_read(true).send()).await;
        Ok(found.map_err(|error| NotRun::Store(StoreError::NotApplied(error.into())))?.item)
    }

    async fn put(&self, item: Item, condition: Condition) -> Result<Refused, NotRun> {
        let names = &self.names;
        let put = self
            .client
            .put_item()
            .table_name(&self.table)
            .set_item(Some(item))
            .return_values_on_condition_check_failure(ReturnValuesOnConditionCheckFailure::AllOld);
        let put = match condition {
            Condition::Free(now) => put
                .condition_expression(
                    "attribute_not_exists(#key) \
                     OR (#expiration < :now AND (#status <> :in_progress OR attribute_exists(#successor)))",
                )
                .expression_attribute_names("#key", &names.key)
                .expression_attribute_names("#expiration", &names.expiration)
                .expression_attribute_names("#status", &names.status)
                .expression_attribute_names("#successor", SUCCESSOR)
                .expression_attribute_values(":in_progress", string(IN_PROGRESS))
                .expression_attribute_values(":now", number(now.seconds().0)),
            Condition::Abandoned(Some(deadline)) => put
                .condition_expression("#status = :status AND #deadline = :deadline")
                .expression_attribute_names("#status", &names.status)
                .expression_attribute_names("#deadline", &names.in_progress_expiration)
                .expression_attribute_values(":status", string(IN_PROGRESS))
                .expression_attribute_values(":deadline", number(deadline.0)),
            Condition::Abandoned(None) => put
                .condition_expression(
                    "#status = :status AND attribute_not_exists(#deadline) AND attribute_not_exists(#successor)",
                )
                .expression_attribute_names("#status", &names.status)
                .expression_attribute_names("#deadline", &names.in_progress_expiration)
                .expression_attribute_names("#successor", SUCCESSOR)
                .expression_attribute_values(":status", string(IN_PROGRESS)),
            Condition::Ours(successor, attempt) => put
                .condition_expression("#status = :status AND #successor = :successor AND #attempt = :attempt")
                .expression_attribute_names("#status", &names.status)
                .expression_attribute_names("#successor", SUCCESSOR)
                .expression_attribute_names("#attempt", ATTEMPT)
                .expression_attribute_values(":status", string(IN_PROGRESS))
                .expression_attribute_values(":successor", string(successor))
                .expression_attribute_values(":attempt", number(attempt)),
            Condition::Answered(expiration) => put
                .condition_expression("#status = :status AND #expiration = :expiration")
                .expression_attribute_names("#status", &names.status)
                .expression_attribute_names("#expiration", &names.expiration)
                .expression_attribute_values(":status", string(COMPLETED))
                .expression_attribute_values(":expiration", expiration.unwrap_or(AttributeValue::Null(true))),
        };
        match boxed(put.send()).await {
            Ok(_) => Ok(Refused::No),
            Err(error) => match Failure::from_put(error) {
                Failure::Refused(found) => Ok(Refused::By(found)),
                other => Err(NotRun::Store(other.into())),
            },
        }
    }
}

/// When the old table takes an item of ours.
enum Condition {
    /// If Powertools would take a new attempt, but for an attempt of its own that did not end: neither its deadline nor its
    /// expiration says that it did nothing.
    Free(EpochMs),
    /// If the old attempt with this deadline, or with none, is still there.
    Abandoned(Option<EpochMs>),
    /// If the attempt of this number at this record is still there.
    Ours(String, u64),
    /// If the answer with this expiration is still there.
    Answered(Option<AttributeValue>),
}

/// What refused a write.
enum Refused {
    No,
    By(Option<Item>),
}

/// What the old table says about a call that is claimed.
pub(crate) enum Taken {
    /// Nothing that counts: the operation runs.
    Run(Box<Held>),
    /// The old function's answer.
    Completed(Completed),
    /// It is not known what the old function did, for this reason.
    Unknown(String),
}

/// An answer of the old function, and its item.
pub(crate) struct Completed {
    answer: Value,
    item: Item,
}

/// Why an outcome is not known that the old function left.
const ABANDONED: &str = "an attempt of the old function, under Powertools, did not end before its deadline";

/// Our attempt in the old table, if the old function may still run.
pub(crate) struct Held {
    old: Predecessor,
    key: OldKey,
    successor: String,
    attempt: u64,
    /// Whether this attempt has written it, so that no earlier one, of ours or of the old function, may have had effects.
    is_new: bool,
}

impl Held {
    /// Ends the attempt for the old function, too: an answer becomes an effect, and where nothing was executed the item goes.
    /// An unknown outcome stays.
    pub(crate) fn end<T>(
        self,
        attempt: &Attempt<TransactWriteItem>,
        verdict: &Verdict<T>,
        answer: impl Fn(&T) -> Option<Value>,
    ) -> BoxFuture<'static, ()> {
        let is_removed = match verdict {
            Verdict::Success(_) | Verdict::Failed(_) | Verdict::NotExecuted(_) if !self.old.may_run => false,
            Verdict::Success(given) | Verdict::Failed(given) => {
                match answer(given).and_then(|json| self.completed(&json, attempt)) {
                    Some(effect) => attempt.add_effect(effect),
                    None => tracing::warn!(
                        "the answer does not fit into the old table: the old function finds it in progress"
                    ),
                }
                false
            }
            Verdict::NotExecuted(_) => self.is_new,
            Verdict::Unknown(_) => false,
        };
        let removing = is_removed.then(|| async move { self.remove().await }.boxed());
        removing.unwrap_or_else(|| std::future::ready(()).boxed())
    }

    /// Puts the answer where our attempt is. If an answer of the old function is there, it has run the operation, too, and
    /// the outcome must be looked at: Powertools completes an item whoever's it is.
    fn completed(&self, answer: &Value, attempt: &Attempt<TransactWriteItem>) -> Option<TransactWriteItem> {
        if answer.to_string().len() > LONGEST_ANSWER_BYTES {
            return None;
        }
        let names = &self.old.names;
        let expiration = attempt.now().plus(self.old.retention).seconds();
        let item = names.completed(&self.key, &self.successor, answer, expiration.0)?;
        let put = Put::builder()
            .table_name(&self.old.table)
            .condition_expression(
                "attribute_not_exists(#key) OR (#successor = :successor AND (#status <> :completed OR #data = :data))",
            )
            .expression_attribute_names("#successor", SUCCESSOR)
            .expression_attribute_names("#key", &names.key)
            .expression_attribute_names("#status", &names.status)
            .expression_attribute_names("#data", &names.data)
            .expression_attribute_values(":successor", AttributeValue::S(self.successor.clone()))
            .expression_attribute_values(":completed", string(COMPLETED))
            .expression_attribute_values(":data", item.get(&names.data)?.clone())
            .set_item(Some(item));
        Some(TransactWriteItem::builder().put(put.build().ok()?).build())
    }

    async fn remove(&self) {
        let names = &self.old.names;
        let delete = self
            .old
            .client
            .delete_item()
            .table_name(&self.old.table)
            .set_key(Some(names.key(&self.key)))
            .condition_expression("#successor = :successor AND #attempt = :attempt AND #status <> :completed")
            .expression_attribute_names("#successor", SUCCESSOR)
            .expression_attribute_names("#attempt", ATTEMPT)
            .expression_attribute_values(":attempt", number(self.attempt))
            .expression_attribute_names("#status", &names.status)
            .expression_attribute_values(":successor", string(self.successor.as_str()))
            .expression_attribute_values(":completed", string(COMPLETED));
        if let Err(error) = boxed(delete.send()).await {
            let error = &error as &dyn std::error::Error;
            tracing::warn!(
                error,
                "an attempt that executed nothing stays in the old table, where it blocks the old function"
            );
        }
    }
}

fn unended_until(now: EpochMs) -> u64 {
    now.plus(UNENDED).seconds().0
}

/// Whose an attempt is: its record's, which stays the same over all attempts.
fn successor(attempt: &Attempt<TransactWriteItem>) -> String {
    attempt.record_id().map_or_else(|| attempt.transaction().to_string(), |id| id.as_str().to_owned())
}

fn unreadable(key: &OldKey, problem: String) -> NotRun {
    NotRun::Store(StoreError::Unreadable { digest: format!("{key:?}"), problem })
}

/// Our attempt after one of the old function that did not end.
fn after_old(mut ours: Item, deadline: Option<EpochMs>) -> Item {
    if let Some(EpochMs(deadline)) = deadline {
        ours.insert(AFTER.to_owned(), number(deadline));
    }
    ours
}

fn json<T: Serialize>(answer: &T) -> Option<Value> {
    serde_json::to_value(answer).ok()
}

fn read_json<T: DeserializeOwned>(answer: Value) -> Result<Verdict<T>, BoxError> {
    Ok(Verdict::Success(serde_json::from_value(answer)?))
}

fn forwarded<T>(verdict: Verdict<T>) -> Verdict<Forwarded<T>> {
    match verdict {
        Verdict::Success(answer) => Verdict::Success(Forwarded(Some(answer))),
        Verdict::Failed(answer) => Verdict::Failed(Forwarded(Some(answer))),
        Verdict::NotExecuted(answer) => Verdict::NotExecuted(Forwarded(Some(answer))),
        Verdict::Unknown(reason) => Verdict::Unknown(reason),
    }
}
