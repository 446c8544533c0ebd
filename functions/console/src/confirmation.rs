//! Doing what was previewed, or approved: once, and only while the record is what was shown.

use std::time::Duration;

use aws_sdk_dynamodb::types::TransactWriteItem;
use idempotency::Attempt;
use idempotency::http::HttpAnswer;
use idempotency::protocol::{EpochMs, Record};
use idempotency::reconcile::{Evidence, Reconciled, Resolver};
use idempotency::store::Store;
use payments::{Action, AuditEntry, operations, reply};

use crate::auth::{Actor, Invocation};
use crate::confirmable::Warrant;
use crate::error::{Drift, Refusal};
use crate::evidence::Word;
use crate::format;
use crate::record::{Standing, id_of, short, shown};
use crate::request_log::Told;
use crate::settlement::is_open;
use crate::state::Console;

/// A warrant, with the record as it is now.
#[derive(Debug)]
pub(crate) enum Look<W> {
    /// It can be used.
    Open(W, Box<Record>),
    /// It was used.
    Used(W),
}

/// What a confirmation came to.
#[derive(Debug)]
pub(crate) struct Confirmed<W> {
    /// As it is now.
    pub(crate) warrant: W,
    /// What was done, and with which record; nothing if it had been done before.
    pub(crate) done: Option<(&'static str, Box<Record>)>,
}

impl<W: Warrant> Confirmed<W> {
    pub(crate) fn told(&self, actor: &Actor) -> Told {
        match &self.done {
            Some((outcome, record)) => Told::done(outcome, actor).about(record),
            None => Told::done("done before", actor).about_id(self.warrant.record()),
        }
    }
}

/// How often, and how long apart, a confirmation looks for what another is doing.
const ROUNDS: usize = 12;
const MOMENT: Duration = Duration::from_millis(250);

impl Console {
    /// What becomes of a warrant if it is used now.
    pub(crate) async fn look<W: Warrant>(&self, actor: &Actor, id: &str) -> Result<Look<W>, Refusal> {
        let warrant = W::read(self, actor, id).await?;
        if warrant.is_used() {
            return Ok(Look::Used(warrant));
        }
        if warrant.expires() <= format::now().0 {
            return Err(W::expired());
        }
        let record = match self.as_shown(&warrant).await {
            Ok(record) => record,
            // Another click may have changed it between our two reads. The record and the warrant's use are written
            // together, so a warrant that is still unused was not what changed it.
            Err(refusal) => {
                let warrant = W::read(self, actor, id).await?;
                return if warrant.is_used() { Ok(Look::Used(warrant)) } else { Err(refusal) };
            }
        };
        is_open(&record)?;
        Ok(Look::Open(warrant, Box::new(record)))
    }

    /// The record, if it is still what was shown.
    async fn as_shown(&self, warrant: &impl Warrant) -> Result<Record, Refusal> {
        let id = id_of(short(warrant.record())).ok_or_else(Refusal::no_record)?;
        let record = self.store.read(&id).await.map_err(|error| Refusal::unavailable(&error))?;
        let now = record.as_ref().map(shown);
        let held =
            record.as_ref().is_some_and(|record| matches!(Standing::of(record, format::now()), Standing::Held(_)));
        match record {
            Some(record) if now.as_ref().is_some_and(|now| now.version == warrant.shown().version) => Ok(record),
            _ => Err(Refusal::drifted(Drift {
                record: short(warrant.record()).to_owned(),
                shown: warrant.shown().clone(),
                now,
                held,
            })),
        }
    }

    /// Does what was previewed or approved, once, if the provider says nothing against it now. Doing it again tells that
    /// it was done.
    pub(crate) async fn confirm<W: Warrant>(
        &self,
        actor: &Actor,
        invocation: &Invocation,
        id: &str,
    ) -> Result<Confirmed<W>, Refusal> {
        actor.may_act()?;
        let mut tried = false;
        for _ in 0..ROUNDS {
            match self.look::<W>(actor, id).await {
                Ok(Look::Used(warrant)) => return Ok(Confirmed { warrant, done: None }),
                Ok(Look::Open(warrant, record)) if !tried => {
                    warrant.admits(actor)?;
                    tried = true;
                    let word = self.weigh(&record, warrant.action()).await?;
                    if let Some((warrant, outcome)) = warrant.act(self, actor, invocation, &record, &word).await? {
                        return Ok(Confirmed { warrant, done: Some((outcome, record)) });
                    }
                }
                // A second click may find the first at work: what it holds is settled in a moment.
                Err(refusal) if refusal.drift.as_ref().is_some_and(|drift| drift.held) => {
                    tokio::time::sleep(MOMENT).await;
                }
                Err(refusal) if refusal.drift.is_none() || !tried => return Err(refusal),
                Ok(Look::Open(..)) | Err(_) => break,
            }
        }
        Err(Refusal::not_done("Somebody else holds the record, or one of the writes was refused. Look at it again."))
    }

    /// Whether the record was settled, with the audit entry and the warrant's use.
    pub(crate) async fn settle(
        &self,
        warrant: &impl Warrant,
        actor: &Actor,
        invocation: &Invocation,
        record: &Record,
        word: &Word,
    ) -> Result<bool, Refusal> {
        let decided = Decided { console: self, warrant, actor, word, request: invocation.request.as_deref() };
        let reconciled = self
            .engine
            .reconcile(record, operations(), invocation.deadline, invocation.request_id(), &decided)
            .await
            .map_err(|error| Refusal::uncertain(&error))?;
        match reconciled {
            Reconciled::Happened | Reconciled::Refused | Reconciled::Prevented => Ok(true),
            Reconciled::NotOpen | Reconciled::Unclear => Ok(false),
            Reconciled::Foreign => Err(Refusal::not_ours(&record.operation)),
        }
    }
}

/// The evidence that an operator confirmed.
struct Decided<'a, W> {
    console: &'a Console,
    warrant: &'a W,
    /// Who confirmed it.
    actor: &'a Actor,
    word: &'a Word,
    request: Option<&'a str>,
}

impl<W: Warrant> Decided<'_, W> {
    fn entry(&self, record: &Record, at: EpochMs) -> AuditEntry {
        let action = self.warrant.action();
        AuditEntry {
            id: self.warrant.id(),
            at: at.0,
            kind: action.kind(),
            record: record.id.as_str().to_owned(),
            transaction: record.transaction.uuid(),
            attempt: record.attempt,
            actor: self.actor.name.clone(),
            requested_by: self.warrant.requested_by().map(str::to_owned),
            request: self.request.map(str::to_owned),
            reason: Some(self.warrant.reason().to_owned()),
            evidence: action.evidence(),
            provider: Some(self.word.in_words()),
        }
    }
}

impl<W: Warrant> Resolver<TransactWriteItem, HttpAnswer> for Decided<'_, W> {
    async fn resolve(&self, record: &Record, attempt: Attempt<TransactWriteItem>) -> Evidence<HttpAnswer> {
        let (table, now) = (&self.console.table, attempt.now());
        attempt.add_effect(self.warrant.used_up(table, self.actor, now.0));
        attempt.add_effect(table.audited(&self.entry(record, now)));
        match self.warrant.action() {
            Action::Succeed { reference, .. } => {
                match self.console.succeeded(record, reference, &self.word.answer, &attempt).await {
                    Ok(answer) => Evidence::Happened(answer),
                    Err(unclear) => Evidence::Unclear(unclear.into()),
                }
            }
            Action::Fail { .. } => Evidence::Refused(HttpAnswer::new(reply::settled_as_failed())),
            Action::Release => Evidence::Prevented,
        }
    }
}
