//! Settling a record: the record, the audit entry and the use of the preview or approval in one transaction.
//!
//! If records are on another store, the other two are written first. So the entry states what is about to be done, and
//! a second one follows after it was done; if the console dies in between, only the first exists.

pub(crate) mod bulk;
pub(crate) mod changes;
pub(crate) mod confirmable;
pub(crate) mod confirmation;
pub(crate) mod evidence;
pub(crate) mod form;
pub(crate) mod reconciliation;
pub(crate) mod recorded;

use std::sync::OnceLock;

use aws_sdk_dynamodb::types::TransactWriteItem;
use idempotency::Attempt;
use idempotency::http::HttpAnswer;
use idempotency::protocol::{EpochMs, Record};
use idempotency::reconcile::{Evidence, Reconciled, Resolver};
use payments::{
    Action, AuditEntry, AuditKind, Invocation, Payment, Proposal, ProviderResolver, ProviderStatus, Refund, Refunded,
    Subject, operations, record_payment, record_refund, reply,
};
use uuid::Uuid;

use crate::auth::Actor;
use crate::error::ConsoleError;
use crate::provider_status::ProviderAnswer;
use crate::settlement::evidence::ProviderCheck;
use crate::state::Console;

/// A confirmed proposal, with the evidence for it.
pub(crate) struct Settlement<'a> {
    /// The id of the audit entry.
    pub(crate) id: Uuid,
    pub(crate) proposal: &'a Proposal,
    /// The operator who confirmed it.
    pub(crate) actor: &'a Actor,
    /// The operator who requested it, if that is another one.
    pub(crate) requested_by: Option<&'a str>,
    pub(crate) check: &'a ProviderCheck,
    pub(crate) invocation: &'a Invocation,
    /// The write that marks the preview or approval as used.
    pub(crate) used: TransactWriteItem,
}

/// Why an outcome stays unknown.
type Unclear = Box<dyn std::error::Error + Send + Sync>;

impl Console {
    /// Settles a record; `false` if something else holds or has settled it, or a write was refused.
    pub(crate) async fn settle(&self, record: &Record, settlement: Settlement<'_>) -> Result<bool, ConsoleError> {
        let Invocation { id, deadline } = *settlement.invocation;
        let resolver = ConfirmedEvidence { console: self, settlement, intention: OnceLock::new() };
        let reconciled = self.engine.reconcile(record, operations(), deadline, id, &resolver).await;
        match reconciled.map_err(|error| ConsoleError::uncertain(&error))? {
            Reconciled::Happened | Reconciled::Refused | Reconciled::Prevented => {
                if let Some(intention) = resolver.intention.into_inner() {
                    self.audit_after(intention.followed(self.now().0)).await;
                }
                Ok(true)
            }
            Reconciled::NotOpen | Reconciled::Unclear => Ok(false),
            Reconciled::Foreign => Err(ConsoleError::not_ours(&record.operation)),
        }
    }

    /// Adds the audit entry that an action was carried out. If this fails, the action is still done: the record's
    /// history has it.
    pub(crate) async fn audit_after(&self, entry: AuditEntry) {
        if let Err(error) = self.table.audit(&entry).await {
            tracing::error!(%error, entry = %entry.id, what = %entry.kind, "done, but not in the audit: see the record's history");
        }
    }
}

/// The evidence that operators have confirmed.
struct ConfirmedEvidence<'a> {
    console: &'a Console,
    settlement: Settlement<'a>,
    /// The entry that is written before the record, if the record is on another store.
    intention: OnceLock<AuditEntry>,
}

impl Resolver<TransactWriteItem, HttpAnswer> for ConfirmedEvidence<'_> {
    async fn resolve(&self, record: &Record, attempt: Attempt<TransactWriteItem>) -> Evidence<HttpAnswer> {
        attempt.add_effect(self.settlement.used.clone());
        attempt.add_effect(self.console.table.audited(&self.first_entry(record, attempt.now())));
        match &self.settlement.proposal.action {
            Action::Succeed { reference, .. } => match self.success(record, reference, &attempt).await {
                Ok(answer) => Evidence::Happened(answer),
                Err(unclear) => Evidence::Unclear(unclear.into()),
            },
            Action::Fail { .. } => Evidence::Refused(HttpAnswer::new(reply::settled_as_failed())),
            Action::Release => Evidence::Prevented,
        }
    }
}

impl ConfirmedEvidence<'_> {
    /// The entry that is written with the record, or before it if the record is on another store.
    fn first_entry(&self, record: &Record, at: EpochMs) -> AuditEntry {
        let entry = self.entry(record, at);
        if self.console.store.are_with_effects() {
            return entry;
        }
        let kind = AuditKind::Intended(self.settlement.proposal.action.kind());
        self.intention.get_or_init(|| AuditEntry { kind, ..entry }).clone()
    }

    fn entry(&self, record: &Record, at: EpochMs) -> AuditEntry {
        let Settlement { id, proposal, actor, requested_by, check, invocation, used: _ } = &self.settlement;
        AuditEntry {
            id: *id,
            at: at.0,
            kind: AuditKind::Settled(proposal.action.kind()),
            record: record.id.as_str().to_owned(),
            transaction: Some(record.transaction),
            attempt: Some(record.attempt),
            actor: actor.name.clone(),
            requested_by: requested_by.map(str::to_owned),
            request: invocation.id.map(|id| id.to_string()),
            reason: Some(proposal.reason.clone()),
            evidence: proposal.action.evidence().map(str::to_owned),
            provider: Some(check.to_text()),
        }
    }

    /// Records the payment or refund: as the provider has it, or without its answer, as the operators have confirmed
    /// it. If it is recorded already, that is the answer, and nothing is written.
    async fn success(
        &self,
        record: &Record,
        reference: &str,
        attempt: &Attempt<TransactWriteItem>,
    ) -> Result<HttpAnswer, Unclear> {
        let table = &self.console.table;
        let recorded = self.console.recorded(record).await?;
        match (&self.settlement.check.answer, recorded) {
            (
                ProviderAnswer::Status(ProviderStatus::Charged(_) | ProviderStatus::Refunded(_))
                | ProviderAnswer::None(_),
                Some(recorded),
            ) => {
                if recorded.reference() != reference {
                    return Err(format!("it is recorded as {recorded}").into());
                }
                Ok(recorded.answer())
            }
            (ProviderAnswer::Status(ProviderStatus::Charged(charged)), None) => {
                let payment = ProviderResolver::payment_of(record, (**charged).clone())?;
                Ok(HttpAnswer::new(record_payment(table, &payment, attempt)))
            }
            (ProviderAnswer::Status(ProviderStatus::Refunded(refunded)), None) => {
                let payment = self.console.refunded_payment(record).await?.ok_or("the record is not about a refund")?;
                let Refunded { reversal, amount, reason, created } = (**refunded).clone();
                let refund = Refund::new(record.transaction, &payment, amount, reason, reversal, created);
                Ok(HttpAnswer::new(record_refund(table, &payment, &refund, attempt)))
            }
            (ProviderAnswer::None(_), None) => self.unverified_success(record, reference, attempt).await,
            (answer @ (ProviderAnswer::Status(_) | ProviderAnswer::Prevented | ProviderAnswer::NotPrevented(_)), _) => {
                Err(format!("the provider contradicts it: {}", answer.to_text()).into())
            }
        }
    }

    async fn unverified_success(
        &self,
        record: &Record,
        reference: &str,
        attempt: &Attempt<TransactWriteItem>,
    ) -> Result<HttpAnswer, Unclear> {
        let (table, reference, now) = (&self.console.table, reference.to_owned(), attempt.now().0);
        let subject = record.subject.as_ref().and_then(|subject| Subject::parse(subject.as_str()));
        match subject.ok_or("the record has no subject of this application")? {
            Subject::Payment { account, money } => {
                let owner = record.principal.ok_or("the record has no principal")?;
                let payment = Payment::unverified(record.transaction, owner, account, money, reference, now);
                Ok(HttpAnswer::new(record_payment(table, &payment, attempt)))
            }
            Subject::Invalid => Err("the request was not valid, so nothing was sent for it".into()),
            Subject::Refund { amount, .. } => {
                let payment = self.console.refunded_payment(record).await?.ok_or("the record is not about a refund")?;
                let amount = amount.or_else(|| payment.refundable()).ok_or("nothing is left to refund")?;
                let refund = Refund::new(record.transaction, &payment, amount, None, reference, now);
                Ok(HttpAnswer::new(record_refund(table, &payment, &refund, attempt)))
            }
        }
    }
}
