//! Takes over from Powertools for AWS Lambda (Python, TypeScript): requests that it has completed do not run again.
//!
//! A function that replaces one with Powertools has no records for requests that the old function has answered, and
//! would run them again. Before an operation runs, a [`Predecessor`] looks into the old function's table, under the key
//! that Powertools computes:
//!
//! | item in the old table | result |
//! |---|---|
//! | none, or its `expiration` is over | the operation runs |
//! | COMPLETED | the old answer is recorded in this library's record, and returned |
//! | COMPLETED or INPROGRESS, with another `validation` | a mismatch |
//! | INPROGRESS, before its `in_progress_expiration` and a second | in progress: nothing runs, and a retry looks again |
//! | INPROGRESS, after that | **unknown**: the record becomes UNKNOWN, unless [declared otherwise](Predecessor::uncertain) |
//!
//! This happens under a claim of this library's record, so our record always comes first. While the old function may
//! still run, as in a rolling deployment, the attempt is also written to the old table under the same condition that
//! Powertools uses: of an old and a new attempt one is first, and the other finds it. The answer is written there in
//! the transaction that settles our record. Once the old function is permanently gone, [`Predecessor::stopped`] reduces
//! this to a read.
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
//! For an API, set it on the [layer](crate::http::IdempotencyLayer::predecessor); in a message handler, call
//! [`Predecessor::guard`].
//!
//! # What cannot be promised
//!
//! Powertools completes and deletes its records **without a condition**. A late owner in the old function, which
//! continues after its deadline, can therefore overwrite or remove this library's item in the old table; our own record
//! is not affected. Furthermore, while instances of the old function are left, they run an old attempt again after its
//! deadline, as Powertools always does. To be certain, stop the old function, wait for its time-out, and only then
//! start the new one.

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
use json::Language;
use key::Style;

/// How long an attempt that did not end blocks the old function: longer than both functions are deployed together.
const UNENDED: Duration = Duration::from_secs(7 * 24 * 60 * 60);

/// The longest time for which an invocation of the old function can have run before its deadline: Lambda's limit.
const LONGEST_INVOCATION: Duration = Duration::from_secs(15 * 60);

/// The longest answer that is written for the old function. With a longer one the item might not fit into DynamoDB's
/// 400 KB, and the transaction would be rejected.
const LONGEST_ANSWER_BYTES: usize = 256 * 1024;

/// The expiration of kept items: 9999-12-31T23:59:59Z.
const NEVER_S: u64 = 253_402_300_799;

const RETRY_AFTER: Duration = Duration::from_secs(1);

/// The result if the item is changing at this moment.
const LOOK_AGAIN: NotRun = NotRun::InProgress { retry_after: RETRY_AFTER };

/// The function with Powertools that this function replaces, and its table.
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
    /// Describes a function with Powertools for Python. `table` is in the account and Region of the effects.
    ///
    /// `prefix` is the part of the table's ids before the `#`: the names of the Lambda function, of the module and of
    /// the decorated function (`pay.app.handler`), or the decorator's `key_prefix`.
    pub fn python(client: Client, table: impl Into<String>, prefix: impl Into<String>) -> Self {
        Self::new(client, table.into(), prefix.into(), Language::Python)
    }

    /// Describes a function with Powertools for TypeScript; see [`python`](Self::python). `prefix` is the name of the
    /// Lambda function, or `keyPrefix`.
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

    /// Sets other attribute names, or a table with a sort key.
    #[must_use]
    pub fn names(self, names: OldNames) -> Self {
        Self { names, ..self }
    }

    /// Sets another hash function (`hash_function`). Default: MD5.
    #[must_use]
    pub fn hash(self, hash: Hash) -> Self {
        Self { style: Style { hash, ..self.style }, ..self }
    }

    /// Sets how long the old function may replay an answer of this one: its `expires_after_seconds`. Default: an hour,
    /// as in Powertools.
    #[must_use]
    pub const fn retention(mut self, retention: Duration) -> Self {
        self.retention = retention;
        self
    }

    /// Sets how an attempt of the old function is handled that did not end before its deadline. Default:
    /// [`Uncertain::Reconcile`]: the outcome is unknown, and nothing runs without evidence.
    ///
    /// The operation's declaration for its own attempts does not apply here: those carry its transaction id, by which
    /// other systems deduplicate, whereas the old function sent another id. With [`Uncertain::Repeat`] the operation
    /// runs, as it would have with Powertools. Declare that only if the systems that you call recognise both calls as
    /// one, for example because both functions pass on an id of the client. The time of `Repeat` is counted from the
    /// earliest moment at which the old attempt can have begun: 15 minutes before its deadline.
    #[must_use]
    pub const fn uncertain(mut self, uncertain: Uncertain) -> Self {
        self.uncertain = uncertain;
        self
    }

    /// Declares that no instance of the old function runs or will ever run again. Its table is then only read, at one
    /// consistent read for each first run, until the last answer has expired. There is one exception: an attempt that
    /// did not end and an answer that cannot be read must not be lost, so they are kept in the old table, for which the
    /// function needs `PutItem`.
    #[must_use]
    pub const fn stopped(mut self) -> Self {
        self.may_run = false;
        self
    }

    /// Computes the old key of a call. `selected` is the part of the event that `event_key_jmespath` selects, or the
    /// whole event without that setting.
    ///
    /// # Errors
    /// [`NoOldKey`] if the old function would have found no key in the selection, or if it cannot be hashed as
    /// Powertools does.
    pub fn key(&self, selected: &impl Serialize) -> Result<OldKey, NoOldKey> {
        self.key_of_json(&serde_json::to_vec(selected).map_err(NoOldKey::NotJson)?)
    }

    /// Like [`key`](Self::key), for the text of a JSON document, whose numbers are kept as they are written. Python
    /// keeps integers of more than 64 bits, which `serde_json::Value` does not.
    ///
    /// # Errors
    /// The same as for [`key`](Self::key).
    pub fn key_of_json(&self, selected: &[u8]) -> Result<OldKey, NoOldKey> {
        OldKey::of_json(&self.prefix, self.style, selected)
    }

    /// Like [`key`](Self::key), with the old `event_key_jmespath` itself.
    ///
    /// # Errors
    /// The same as for [`key`](Self::key).
    #[cfg(feature = "jmespath")]
    pub fn key_selected(&self, by: &Expression, event: &Document) -> Result<OldKey, NoOldKey> {
        OldKey::selected(&self.prefix, self.style, by, event)
    }

    /// Runs a call of the engine, like [`Engine::run`], if neither this function nor the old one has run it.
    ///
    /// # Errors
    /// The same as for [`Engine::run`]; also [`Error::StoreUnavailable`] if the old table cannot be read.
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

    /// Runs one attempt if the old function has not run the operation. This is for a handler that already has an
    /// attempt, such as that of a [`Queue`](crate::Queue). Call it under a claim, and do nothing else in the attempt.
    ///
    /// # Errors
    /// [`NotRun`] if nothing ran and a retry must look again. Return [`Verdict::NotExecuted`] then.
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

    /// Looks up the call in the old table. If it is not there and the old function may still run, writes our attempt
    /// there.
    pub(crate) async fn take(&self, key: &OldKey, attempt: &Attempt<TransactWriteItem>) -> Result<Taken, NotRun> {
        let (now, successor) = (attempt.now(), successor(attempt));
        let held = |is_new| {
            let (successor, number) = (successor.clone(), attempt.number());
            Taken::Run(Box::new(Held { old: self.clone(), key: key.clone(), successor, attempt: number, is_new }))
        };
        let ours = || self.names.in_progress(key, &successor, attempt.number(), now.plus(UNENDED).seconds().0);
        let found = match self.may_run {
            true => match self.put(ours(), Condition::Free(now)).await? {
                Ok(()) => return Ok(held(true)),
                Err(found) => found,
            },
            false => self.get(key).await?,
        };
        let Some(found) = found else {
            // Without an item the condition holds, so the item has been deleted since.
            return if self.may_run { Err(LOOK_AGAIN) } else { Ok(held(false)) };
        };
        let said = self.names.read(&found, key, &successor, now).map_err(|problem| unreadable(key, problem))?;
        match said {
            Said::Completed(answer) => {
                tracing::info!(table = self.table, "the old function has completed the operation");
                Ok(Taken::Completed(Completed { answer, item: found }))
            }
            Said::Unreadable(problem) => self.keep_answer(found).await.map(|()| Taken::Unknown(problem)),
            // Our attempt followed one of the old function that may be repeated only for a limited time.
            Said::Ours { after: Some(deadline), .. } if !self.may_repeat(Some(deadline), now) => {
                Ok(Taken::Unknown(ABANDONED.to_owned()))
            }
            // This attempt wrote the item itself, and the reply was lost.
            Said::Ours { attempt: written, after } if written == attempt.number() => Ok(held(after.is_none())),
            // An earlier attempt of ours wrote the item. Its delayed removal must not find this attempt's item.
            Said::Ours { attempt: written, after } => {
                let put = self.put(after_old(ours(), after), Condition::Ours(successor.clone(), written)).await?;
                put.map(|()| held(false)).map_err(|_| LOOK_AGAIN)
            }
            Said::Mismatch => Err(NotRun::Mismatch),
            Said::InProgress(until) => {
                Err(NotRun::InProgress { retry_after: until.since(now).clamp(RETRY_AFTER, LONGEST_INVOCATION) })
            }
            Said::Expired if self.may_run => Err(LOOK_AGAIN),
            Said::Expired => Ok(held(false)),
            Said::Abandoned(deadline) if !self.may_repeat(deadline, now) => self.keep(found, deadline).await,
            Said::Abandoned(_) if !self.may_run => Ok(held(false)),
            // The old attempt may have had effects, so its item is never removed.
            Said::Abandoned(deadline) => {
                let put = self.put(after_old(ours(), deadline), Condition::Abandoned(deadline)).await?;
                put.map(|()| held(false)).map_err(|_| LOOK_AGAIN)
            }
        }
    }

    /// Keeps an attempt that did not end, for as long as our record of it is unknown. That record may be reopened by
    /// evidence about our own transaction id, which proves nothing about the old one; the next attempt must find this
    /// item again.
    async fn keep(&self, found: Item, deadline: Option<EpochMs>) -> Result<Taken, NotRun> {
        tracing::warn!(table = self.table, "an attempt of the old function did not end; its outcome is unknown");
        self.keep_if(found, Condition::Abandoned(deadline)).await.map(|()| Taken::Unknown(ABANDONED.to_owned()))
    }

    /// Keeps an answer that cannot be read, for the same reason: the operation must not run when the answer expires.
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
        self.put(found, condition).await?.map_err(|_| LOOK_AGAIN)
    }

    /// Converts the old answer to a verdict. Whatever the old function returned is final. An answer that cannot be read
    /// is kept, and the operation does not run again because of it.
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
                let reason =
                    format!("the old function has completed the operation, but its answer cannot be read: {error}");
                Ok(Verdict::Unknown(reason.into()))
            }
        }
    }

    /// Whether an attempt with this deadline may be repeated. Without a deadline its start is unknown.
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

    /// Writes an item, or returns the item that refused the write, if there is one.
    async fn put(&self, item: Item, condition: Condition) -> Result<Result<(), Option<Item>>, NotRun> {
        let names = &self.names;
        let put = self
            .client
            .put_item()
            .table_name(&self.table)
            .set_item(Some(item))
            .expression_attribute_names("#status", &names.status)
            .return_values_on_condition_check_failure(ReturnValuesOnConditionCheckFailure::AllOld);
        let put = match condition {
            Condition::Free(now) => put
                .condition_expression(
                    "attribute_not_exists(#key) \
                     OR (#expiration < :now AND (#status <> :in_progress OR attribute_exists(#successor)))",
                )
                .expression_attribute_names("#key", &names.key)
                .expression_attribute_names("#expiration", &names.expiration)
                .expression_attribute_names("#successor", SUCCESSOR)
                .expression_attribute_values(":in_progress", string(IN_PROGRESS))
                .expression_attribute_values(":now", number(now.seconds().0)),
            Condition::Abandoned(Some(deadline)) => put
                .condition_expression("#status = :status AND #deadline = :deadline")
                .expression_attribute_names("#deadline", &names.in_progress_expiration)
                .expression_attribute_values(":status", string(IN_PROGRESS))
                .expression_attribute_values(":deadline", number(deadline.0)),
            Condition::Abandoned(None) => put
                .condition_expression(
                    "#status = :status AND attribute_not_exists(#deadline) AND attribute_not_exists(#successor)",
                )
                .expression_attribute_names("#deadline", &names.in_progress_expiration)
                .expression_attribute_names("#successor", SUCCESSOR)
                .expression_attribute_values(":status", string(IN_PROGRESS)),
            Condition::Ours(successor, attempt) => put
                .condition_expression("#status = :status AND #successor = :successor AND #attempt = :attempt")
                .expression_attribute_names("#successor", SUCCESSOR)
                .expression_attribute_names("#attempt", ATTEMPT)
                .expression_attribute_values(":status", string(IN_PROGRESS))
                .expression_attribute_values(":successor", string(successor))
                .expression_attribute_values(":attempt", number(attempt)),
            Condition::Answered(expiration) => put
                .condition_expression("#status = :status AND #expiration = :expiration")
                .expression_attribute_names("#expiration", &names.expiration)
                .expression_attribute_values(":status", string(COMPLETED))
                .expression_attribute_values(":expiration", expiration.unwrap_or(AttributeValue::Null(true))),
        };
        match boxed(put.send()).await {
            Ok(_) => Ok(Ok(())),
            Err(error) => match Failure::from_put(error) {
                Failure::Refused(found) => Ok(Err(found)),
                other => Err(NotRun::Store(other.into())),
            },
        }
    }
}

/// The condition under which an item of ours is written to the old table.
enum Condition {
    /// If Powertools would accept a new attempt, except after its own attempt that did not end: neither the deadline
    /// nor the expiration of that attempt proves that it did nothing.
    Free(EpochMs),
    /// If the old attempt with this deadline, or with none, is still there.
    Abandoned(Option<EpochMs>),
    /// If the attempt of this number at this record is still there.
    Ours(String, u64),
    /// If the answer with this expiration is still there.
    Answered(Option<AttributeValue>),
}

/// The state of a claimed call in the old table.
pub(crate) enum Taken {
    /// The old table has no valid item: the operation runs.
    Run(Box<Held>),
    /// The old function's answer.
    Completed(Completed),
    /// It is unknown what the old function did, for this reason.
    Unknown(String),
}

/// An answer of the old function, and its item.
pub(crate) struct Completed {
    answer: Value,
    item: Item,
}

/// The reason of an unknown outcome that the old function left.
const ABANDONED: &str = "an attempt of the old function, under Powertools, did not end before its deadline";

/// Our attempt in the old table, if the old function may still run.
pub(crate) struct Held {
    old: Predecessor,
    key: OldKey,
    successor: String,
    attempt: u64,
    /// Whether this attempt has created the item, so that no earlier attempt, ours or the old function's, can have had
    /// effects.
    is_new: bool,
}

impl Held {
    /// Ends the attempt in the old table as well: an answer is added as an effect, and if nothing was executed, the
    /// item is removed. For an unknown outcome the item stays.
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
                        "the answer does not fit the old table, so the old function finds the operation in progress"
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

    /// Replaces the item of our attempt by the answer. If the item contains an answer of the old function, that
    /// function has also run the operation, and an operator must investigate: Powertools completes an item without
    /// checking whose it is.
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

/// The id of our attempts in the old table: that of their record, which is the same for all attempts.
fn successor(attempt: &Attempt<TransactWriteItem>) -> String {
    attempt.record_id().map_or_else(|| attempt.transaction().to_string(), |id| id.as_str().to_owned())
}

fn unreadable(key: &OldKey, problem: String) -> NotRun {
    NotRun::Store(StoreError::Unreadable { digest: format!("{key:?}"), problem })
}

/// The item of our attempt after an attempt of the old function that did not end.
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
