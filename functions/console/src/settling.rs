//! Settling a record by hand: a form becomes a preview, and a preview that is confirmed becomes one transaction of the
//! record, the audit entry and the preview's use.

use std::time::Duration;

use aws_sdk_dynamodb::types::TransactWriteItem;
use idempotency::http::HttpAnswer;
use idempotency::protocol::{EpochMs, Record};
use idempotency::reconcile::{Evidence, Reconciled, Resolver};
use idempotency::store::Store;
use idempotency::{Attempt, Operation};
use payments::{Action, AuditEntry, PaymentId, Preview, RefundId, Statement, reply};
use serde::Deserialize;
use uuid::Uuid;

use crate::access::{Actor, Invocation};
use crate::console::Console;
use crate::line::Told;
use crate::record::{About, Standing, id_of, short, shown};
use crate::refusal::{Drift, Refusal};
use crate::words;

/// What an operator can do with a record that is open; the last part of a URL.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Verb {
    Succeed,
    Fail,
    Release,
}

/// What a form or a script asks for. Which fields count depends on the verb.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(crate) struct Wish {
    /// The provider's id of what happened.
    pub(crate) reference: String,
    /// What shows that it did not happen.
    pub(crate) evidence: String,
    /// Why it is done by hand.
    pub(crate) reason: String,
    /// Whether the danger of a release is understood; any text says yes.
    pub(crate) understood: String,
    /// Of forms only.
    pub(crate) csrf: String,
}

/// Why there is no preview.
#[derive(Debug)]
pub(crate) enum NotPreviewed {
    /// Fields and what is wrong with them.
    Invalid(Vec<(&'static str, String)>),
    Refused(Refusal),
}

/// A preview, with the record as it is now.
#[derive(Debug)]
pub(crate) enum Look {
    /// It can be confirmed.
    Open(Preview, Box<Record>),
    /// It was confirmed.
    Used(Preview),
}

/// What a confirmation came to.
#[derive(Debug)]
pub(crate) struct Confirmed {
    pub(crate) preview: Preview,
    /// The record that was settled; nothing if that had been done before.
    settled: Option<Box<Record>>,
}

impl Confirmed {
    pub(crate) fn told(&self, actor: &Actor) -> Told {
        match &self.settled {
            Some(record) => Told::done(words::audited(self.preview.action.kind()), actor).about(record),
            None => Told::done("done before", actor).about_id(&self.preview.record),
        }
    }
}

impl Verb {
    pub(crate) const ALL: [Self; 3] = [Self::Succeed, Self::Fail, Self::Release];

    pub(crate) fn as_str(self) -> &'static str {
        match self {
            Self::Succeed => "succeed",
            Self::Fail => "fail",
            Self::Release => "release",
        }
    }

    pub(crate) fn title(self) -> &'static str {
        match self {
            Self::Succeed => "Settle as succeeded",
            Self::Fail => "Settle as failed",
            Self::Release => "Release for retry",
        }
    }
}

impl From<Refusal> for NotPreviewed {
    fn from(refusal: Refusal) -> Self {
        Self::Refused(refusal)
    }
}

impl Console {
    /// Checks what an operator wants, and stores it as a preview.
    pub(crate) async fn preview(
        &self,
        actor: &Actor,
        record: &str,
        verb: Verb,
        wish: &Wish,
    ) -> Result<(Preview, Box<Record>), NotPreviewed> {
        actor.may_act()?;
        let record = self.record(record).await?;
        is_open(&record)?;
        let (action, reason) = self.checked(&record, verb, wish).await?;
        let preview = Preview {
            token: token()?,
            actor: actor.name.clone(),
            record: record.id.as_str().to_owned(),
            shown: shown(&record),
            action,
            reason,
            created: words::now().0,
            used: None,
        };
        self.table.store_preview(&preview).await.map_err(|error| Refusal::unavailable(&error))?;
        Ok((preview, Box::new(record)))
    }

    /// The action and the reason, or all that is wrong with the fields.
    async fn checked(&self, record: &Record, verb: Verb, wish: &Wish) -> Result<(Action, String), NotPreviewed> {
        const STATEMENT: &str = "must have 10 to 500 characters";
        let mut problems = Vec::new();
        let reason = Statement::parse(&wish.reason);
        if reason.is_none() {
            problems.push(("reason", STATEMENT.to_owned()));
        }
        let action = match verb {
            Verb::Succeed => match self.verified(record, wish.reference.trim()).await {
                Ok(verified) => Some(Action::Succeed { reference: wish.reference.trim().to_owned(), verified }),
                Err(problem) => {
                    problems.push(("reference", problem));
                    None
                }
            },
            Verb::Fail => {
                let evidence = Statement::parse(&wish.evidence);
                if evidence.is_none() {
                    problems.push(("evidence", STATEMENT.to_owned()));
                }
                evidence.map(|evidence| Action::Fail { evidence: evidence.to_string() })
            }
            Verb::Release if wish.understood.is_empty() => {
                problems.push(("understood", "must be confirmed: the next call with this key runs again".to_owned()));
                None
            }
            Verb::Release => Some(Action::Release),
        };
        match (action, reason) {
            (Some(action), Some(reason)) if problems.is_empty() => Ok((action, reason.to_string())),
            _ => Err(NotPreviewed::Invalid(problems)),
        }
    }

    /// Whether the provider confirms that this is what came of the record. Where it contradicts, nothing is previewed;
    /// where it does not answer, the preview says so.
    async fn verified(&self, record: &Record, reference: &str) -> Result<bool, String> {
        let valid = (4..=255).contains(&reference.len())
            && reference.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'_');
        if !valid {
            return Err("must be the provider's id, for example pi_3Nabc or re_3Nabc".to_owned());
        }
        let answer = self.ask_for(record, reference).await;
        match answer.reference() {
            _ if answer.allows(reference) => Ok(answer.reference().is_some()),
            Some(found) => Err(format!("is not what the provider has of this transaction, which is {found}")),
            None => Err(format!("is not confirmed by the provider. {}", answer.in_words())),
        }
    }

    /// What becomes of a preview if it is confirmed now.
    pub(crate) async fn look(&self, actor: &Actor, token: &str) -> Result<Look, Refusal> {
        let preview = self.preview_of(actor, token).await?;
        if preview.used.is_some() {
            return Ok(Look::Used(preview));
        }
        if preview.expires() <= words::now().0 {
            return Err(Refusal::expired());
        }
        let record = match self.as_shown(&preview).await {
            Ok(record) => record,
            // Another click may have changed it between our two reads. The record and the preview's use are written
            // together, so a preview that is still unused was not what changed it.
            Err(refusal) => {
                let preview = self.preview_of(actor, token).await?;
                return if preview.used.is_some() { Ok(Look::Used(preview)) } else { Err(refusal) };
            }
        };
        is_open(&record)?;
        Ok(Look::Open(preview, Box::new(record)))
    }

    async fn preview_of(&self, actor: &Actor, token: &str) -> Result<Preview, Refusal> {
        let token = Uuid::try_parse(token).map_err(|_| Refusal::no_preview())?;
        let preview = self.table.preview(token).await.map_err(|error| Refusal::unavailable(&error))?;
        preview.filter(|preview| preview.actor == actor.name).ok_or_else(Refusal::no_preview)
    }

    /// The record, if it is still what was shown.
    async fn as_shown(&self, preview: &Preview) -> Result<Record, Refusal> {
        let id = id_of(short(&preview.record)).ok_or_else(Refusal::no_record)?;
        let record = self.store.read(&id).await.map_err(|error| Refusal::unavailable(&error))?;
        let now = record.as_ref().map(shown);
        let held =
            record.as_ref().is_some_and(|record| matches!(Standing::of(record, words::now()), Standing::Held(_)));
        match record {
            Some(record) if now.as_ref().is_some_and(|now| now.version == preview.shown.version) => Ok(record),
            _ => Err(Refusal::drifted(Drift {
                record: short(&preview.record).to_owned(),
                shown: preview.shown.clone(),
                now,
                held,
            })),
        }
    }

    /// Does what was previewed, once. Doing it again tells that it was done.
    pub(crate) async fn confirm(
        &self,
        actor: &Actor,
        invocation: &Invocation,
        token: &str,
    ) -> Result<Confirmed, Refusal> {
        actor.may_act()?;
        let mut tried = false;
        for _ in 0..ROUNDS {
            match self.look(actor, token).await {
                Ok(Look::Used(preview)) => return Ok(Confirmed { preview, settled: None }),
                Ok(Look::Open(preview, record)) if !tried => {
                    tried = true;
                    if self.settle(&preview, &record, invocation).await? {
                        let preview = Preview { used: Some(words::now().0), ..preview };
                        return Ok(Confirmed { preview, settled: Some(record) });
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

    /// Whether the record was settled, with the audit entry and the preview's use.
    async fn settle(&self, preview: &Preview, record: &Record, invocation: &Invocation) -> Result<bool, Refusal> {
        let operation = Operation::new("payments", record.operation.clone());
        let decided = Decided { console: self, preview, request: invocation.request.clone() };
        let reconciled = self
            .engine
            .reconcile(record, &operation, invocation.deadline, invocation.request_id(), &decided)
            .await
            .map_err(|error| Refusal::uncertain(&error))?;
        match reconciled {
            Reconciled::Happened | Reconciled::Refused | Reconciled::Prevented => Ok(true),
            Reconciled::NotOpen | Reconciled::Unclear => Ok(false),
        }
    }
}

/// How often, and how long apart, a confirmation looks for what another is doing.
const ROUNDS: usize = 12;
const MOMENT: Duration = Duration::from_millis(250);

fn is_open(record: &Record) -> Result<(), Refusal> {
    match Standing::of(record, words::now()) {
        Standing::Open => Ok(()),
        Standing::Held(until) => {
            Err(Refusal::not_open(format!("Somebody holds it until {}. Look again then.", words::time(until))))
        }
        Standing::Closed => Err(Refusal::not_open("Its outcome is known already. Look at the record.")),
    }
}

fn token() -> Result<Uuid, Refusal> {
    let mut bytes = [0; 16];
    getrandom::fill(&mut bytes).map_err(|error| Refusal::unavailable(&error))?;
    Ok(Uuid::from_bytes(bytes))
}

/// The evidence that an operator confirmed.
struct Decided<'a> {
    console: &'a Console,
    preview: &'a Preview,
    request: Option<String>,
}

impl Decided<'_> {
    fn entry(&self, record: &Record, at: EpochMs) -> AuditEntry {
        AuditEntry {
            id: self.preview.token,
            at: at.0,
            kind: self.preview.action.kind(),
            record: record.id.as_str().to_owned(),
            transaction: record.transaction.uuid(),
            attempt: record.attempt,
            actor: self.preview.actor.clone(),
            request: self.request.clone(),
            reason: Some(self.preview.reason.clone()),
            evidence: self.preview.action.evidence(),
        }
    }
}

impl Resolver<TransactWriteItem, HttpAnswer> for Decided<'_> {
    async fn resolve(&self, record: &Record, attempt: Attempt<TransactWriteItem>) -> Evidence<HttpAnswer> {
        let (table, now) = (&self.console.table, attempt.now());
        attempt.add_effect(table.preview_used(self.preview, now.0));
        attempt.add_effect(table.audited(&self.entry(record, now)));
        match &self.preview.action {
            Action::Succeed { reference, .. } => match self.console.succeeded(record, reference, &attempt).await {
                Ok(answer) => Evidence::Happened(answer),
                Err(unclear) => Evidence::Unclear(unclear.into()),
            },
            Action::Fail { .. } => Evidence::Refused(HttpAnswer::new(reply::settled_as_failed())),
            Action::Release => Evidence::Prevented,
        }
    }
}

/// What an action changes, in words.
pub(crate) struct Change {
    pub(crate) what: &'static str,
    pub(crate) before: String,
    pub(crate) after: String,
}

/// All that an action changes: what is written, and what callers will hear.
pub(crate) fn changes(action: &Action, record: &Record) -> Vec<Change> {
    let transaction = record.transaction;
    let about = About::of(record).unwrap_or_default();
    let made = match about.payment {
        Some(_) => format!("refund {}", RefundId::of(transaction.uuid())),
        None => format!("payment {}", PaymentId::of(transaction.uuid())),
    };
    let money = about.money().map(|money| format!(" of {money}")).unwrap_or_default();
    let status = record.state.status().as_str().to_owned();
    let retry = "409 outcome-unknown, or the provider is asked".to_owned();
    let change = |what, before: &str, after: &str| Change { what, before: before.to_owned(), after: after.to_owned() };
    match action {
        Action::Succeed { reference, .. } => vec![
            change("Status", &status, "SUCCESS"),
            change("The client’s retry gets", &retry, &format!("201 with the {made}")),
            change("Payments", "nothing of this transaction", &format!("{made}{money}, at the provider {reference}")),
            change("Ledger", "nothing of this transaction", "posted once, through the queue"),
            change("Record is kept", "until it is settled", "for 24 hours"),
        ],
        Action::Fail { .. } => vec![
            change("Status", &status, "FAILED"),
            change("The client’s retry gets", &retry, "422 settled-as-failed"),
            change("Payments", "nothing of this transaction", "nothing"),
            change("Record is kept", "until it is settled", "for 24 hours"),
        ],
        Action::Release => vec![
            change("Status", &status, "PROCESSING, released"),
            change("The client’s retry gets", &retry, "it runs again, and may charge"),
            change("Transaction id", &transaction.to_string(), "a new one, which the provider does not know"),
            change("Record is kept", "until it is settled", "for 24 hours"),
        ],
    }
}
