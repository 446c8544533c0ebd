//! The provider's answer about a record's transaction. A lookup changes nothing.

use std::time::Duration;

use idempotency::protocol::Record;
use payments::{AuditEntry, AuditKind, Invocation, ProviderError, ProviderStatus};
use serde_json::{Value, json};

use crate::audit::record_entry;
use crate::auth::Actor;
use crate::error::ConsoleError;
use crate::format;
use crate::records::own_operation;
use crate::state::Console;

#[derive(Clone, Debug)]
pub(crate) enum ProviderAnswer {
    /// The provider's status for the transaction id.
    Status(ProviderStatus),
    /// A tombstone holds the request's idempotency key: it did not happen and no longer can.
    Prevented,
    /// The provider has nothing, and a tombstone could not be put under the key, for this reason.
    NotPrevented(String),
    /// The provider gave no answer, for this reason.
    None(String),
}

/// How long a page waits for the provider.
const TIMEOUT: Duration = Duration::from_secs(3);

impl ProviderAnswer {
    /// The provider's id of the charge or refund, if it succeeded.
    pub(crate) fn reference(&self) -> Option<&str> {
        match self {
            Self::Status(ProviderStatus::Charged(charged)) => Some(&charged.intent),
            Self::Status(ProviderStatus::Refunded(refunded)) => Some(&refunded.reversal),
            Self::Status(_) | Self::Prevented | Self::NotPrevented(_) | Self::None(_) => None,
        }
    }

    pub(crate) fn to_text(&self) -> String {
        match self {
            Self::Status(status) => status_text(status),
            Self::Prevented => {
                "The provider had nothing, and a tombstone now holds the request’s idempotency key: it did not happen and \
                 no longer can."
                    .to_owned()
            }
            Self::NotPrevented(why) => {
                format!("The request’s idempotency key could not be blocked by a tombstone: {why}.")
            }
            Self::None(why) => format!("The provider gave no answer: {why}."),
        }
    }

    pub(crate) fn to_json(&self) -> Value {
        let answer = match self {
            Self::Status(ProviderStatus::Charged(_) | ProviderStatus::Refunded(_)) => "happened",
            Self::Status(ProviderStatus::Declined(_)) => "declined",
            Self::Status(ProviderStatus::Cancelled | ProviderStatus::RefundFailed) | Self::Prevented => "gone",
            Self::Status(
                ProviderStatus::Pending(_) | ProviderStatus::Waiting { .. } | ProviderStatus::OpenTombstone(_),
            ) => "open",
            Self::Status(ProviderStatus::NotFound) => "nothing",
            Self::Status(ProviderStatus::LateTombstone) | Self::NotPrevented(_) | Self::None(_) => "none",
        };
        json!({ "answer": answer, "reference": self.reference(), "detail": self.to_text() })
    }
}

fn status_text(status: &ProviderStatus) -> String {
    match status {
        ProviderStatus::Charged(charged) => {
            let money = format::money(&charged.money.amount.to_string(), charged.money.currency.code());
            format!("It happened: {money} was charged for {}, as {}.", charged.account, charged.intent)
        }
        ProviderStatus::Refunded(refunded) => {
            format!("It happened: {} minor units were refunded, as {}.", refunded.amount, refunded.reversal)
        }
        ProviderStatus::Declined(decline) => format!("It did not happen: the card was declined. {}", decline.message),
        ProviderStatus::RefundFailed => "It did not happen and no longer can: the refund failed.".to_owned(),
        ProviderStatus::Cancelled => "It did not happen and no longer can: the charge was cancelled.".to_owned(),
        ProviderStatus::OpenTombstone(_) => {
            "It did not happen. A tombstone holds the idempotency key, but is not cancelled yet.".to_owned()
        }
        ProviderStatus::LateTombstone => {
            "There is a tombstone, but it was made too late to be evidence: the provider may have forgotten an earlier \
             request."
                .to_owned()
        }
        ProviderStatus::Waiting { state, .. } | ProviderStatus::Pending(state) => {
            format!("The provider reports the state {state}. It may still succeed or fail.")
        }
        ProviderStatus::NotFound => {
            "The provider finds nothing. That is no evidence: its search lags behind, and a frozen attempt may still send \
             its request."
                .to_owned()
        }
    }
}

impl From<Result<ProviderStatus, ProviderError>> for ProviderAnswer {
    fn from(found: Result<ProviderStatus, ProviderError>) -> Self {
        found.map_or_else(|error| Self::None(error.to_string()), Self::Status)
    }
}

impl Console {
    /// Looks up a record's transaction at the provider.
    pub(crate) async fn ask(&self, record: &Record) -> ProviderAnswer {
        match self.refunded_payment(record).await {
            Ok(Some(payment)) => self.provider.find_refund(record.transaction, &payment.intent, TIMEOUT).await.into(),
            Ok(None) => self.provider.find_charge(record.transaction, TIMEOUT).await.into(),
            Err(why) => ProviderAnswer::None(why),
        }
    }

    /// Like [`ask`](Self::ask); if the search finds nothing, the operator's reference is looked up.
    pub(crate) async fn ask_for(&self, record: &Record, reference: &str) -> ProviderAnswer {
        match self.ask(record).await {
            ProviderAnswer::Status(ProviderStatus::NotFound) => {
                let found = self.provider.get_charge(reference, TIMEOUT).await;
                ProviderAnswer::Status(match found {
                    Ok(ProviderStatus::Charged(charged)) if charged.transaction == Some(record.transaction) => {
                        ProviderStatus::Charged(charged)
                    }
                    Ok(_) | Err(_) => ProviderStatus::NotFound,
                })
            }
            answer => answer,
        }
    }

    /// Queries the provider, and writes its answer into the audit. `why` is the name of the operator's bulk action.
    pub(crate) async fn ask_for_audit(
        &self,
        actor: &Actor,
        invocation: &Invocation,
        record: &str,
        why: Option<&str>,
    ) -> Result<(Record, ProviderAnswer), ConsoleError> {
        actor.require_operator()?;
        let record = self.record(record).await?;
        own_operation(&record)?;
        let answer = self.ask(&record).await;
        let entry = AuditEntry {
            reason: why.map(str::to_owned),
            provider: Some(answer.to_text()),
            ..record_entry(&record, AuditKind::Asked, actor, invocation, self.now())
        };
        self.table.audit(&entry).await.map_err(|error| ConsoleError::unavailable(&error))?;
        Ok((record, answer))
    }
}
