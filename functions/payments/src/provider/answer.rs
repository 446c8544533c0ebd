use reqwest::StatusCode;
use serde::Deserialize;

use super::{Charge, ProviderError, Refusal, Reply, Reversal};
use crate::Money;

/// A whole answer that settles something. What settles nothing became a [`ProviderError`] on reading.
///
/// The meaning of a status and an error type is Stripe's: "Errors", "Error codes" and "Advanced error handling" in its
/// documentation.
pub(super) enum Answer {
    Done(Object),
    Declined(Fault),
    Refused(Fault),
}

/// A payment intent or a refund, as far as we look at it.
#[derive(Deserialize)]
pub(super) struct Object {
    id: String,
    object: String,
    status: String,
    amount: u64,
    currency: String,
}

#[derive(Deserialize)]
pub(super) struct Fault {
    #[serde(rename = "type")]
    kind: String,
    code: Option<String>,
    decline_code: Option<String>,
    param: Option<String>,
    message: Option<String>,
    /// What the request met, if it was about an intent.
    payment_intent: Option<Met>,
}

#[derive(Deserialize)]
struct Met {
    status: Option<String>,
}

impl Answer {
    /// Tells what was settled from what was not. An error counts only with the type that goes with its status, so that
    /// a page from something between us and the provider never passes for its word.
    pub(super) fn of(Reply { status, body, .. }: Reply) -> Result<Self, ProviderError> {
        if status.is_success() {
            // Whatever it says, it was executed: never "refused", and not "succeeded" without an id.
            let unreadable =
                |error| ProviderError::unknown(format!("status {status} with an unreadable body: {error}"));
            return serde_json::from_slice(&body).map(Self::Done).map_err(unreadable);
        }
        let Some(fault) = Fault::read(&body) else {
            let seen = format!("status {status} without the provider's account of it");
            // A rate limit may be enforced at the edge, which has other words but the same meaning.
            return Err(if status == StatusCode::TOO_MANY_REQUESTS {
                ProviderError::NotExecuted(seen)
            } else {
                ProviderError::unknown(seen)
            });
        };
        let seen = format!("status {status}, type {}, code {}", fault.kind, fault.code.as_deref().unwrap_or("none"));
        match (status.as_u16(), fault.kind.as_str(), fault.code.as_deref()) {
            // The bank's answer. Kept under the idempotency key like any other result.
            (402, "card_error", _) => Ok(Self::Declined(fault)),
            // Found wrong before a charge was tried. 404 is a payment method or intent that does not exist.
            (400 | 404, "invalid_request_error", _) => Ok(Self::Refused(fault)),
            // Turned away before the request was looked at, for a reason that is ours to put right.
            (401 | 403, _, _) => Err(ProviderError::NotExecuted(seen)),
            // Another request is at work on the same object, and it may be one of ours.
            (429, _, Some("lock_timeout")) => Err(ProviderError::unknown(seen)),
            // The rate limit comes before the execution and before the idempotency key.
            (429, _, _) => Err(ProviderError::NotExecuted(seen)),
            // Our key was used with other parameters, so that something was done under it, only not this; or our first
            // request is still running.
            (400, "idempotency_error", _) | (409, _, _) => Err(ProviderError::key_used(seen)),
            // Among them: 5xx, which the documentation tells to treat as indeterminate.
            _ => Err(ProviderError::unknown(seen)),
        }
    }

    pub(super) fn charge(self, asked: Money) -> Result<Charge, ProviderError> {
        match self {
            Self::Done(intent) => Ok(Charge::Succeeded { id: intent.succeeded("payment_intent", asked)? }),
            Self::Declined(Fault { code, decline_code, message, .. }) => {
                Ok(Charge::declined(code, decline_code, message))
            }
            Self::Refused(fault) => Ok(Charge::Refused(fault.into())),
        }
    }

    pub(super) fn reversal(self, asked: Money) -> Result<Reversal, ProviderError> {
        match self {
            Self::Done(refund) => Ok(Reversal::Succeeded { id: refund.succeeded("refund", asked)? }),
            Self::Declined(_) => Err(ProviderError::unknown("a refund was answered with a card error")),
            Self::Refused(fault) => Ok(Reversal::Refused(fault.into())),
        }
    }
}

impl Object {
    pub(super) fn id(&self) -> &str {
        &self.id
    }

    pub(super) fn status(&self) -> &str {
        &self.status
    }

    /// The id, if this is what was asked for and it has come to its end. An intent that is `processing`, or a refund
    /// that is `pending`, may still go either way.
    fn succeeded(self, kind: &str, asked: Money) -> Result<String, ProviderError> {
        let Self { id, object, status, amount, currency } = self;
        if object != kind || amount != asked.amount.get() || !currency.eq_ignore_ascii_case(asked.currency.code()) {
            return Err(ProviderError::unknown(format!(
                "{id} is a {object} of {amount} {currency}, not what was asked"
            )));
        }
        if status != "succeeded" || id.is_empty() {
            return Err(ProviderError::unknown(format!("{object} {id} is in the state {status}")));
        }
        Ok(id)
    }
}

impl Fault {
    /// The state of the intent that the request was about, where the provider says it.
    pub(super) fn intent_status(&self) -> Option<&str> {
        self.payment_intent.as_ref()?.status.as_deref()
    }

    /// Whether the provider has something against this parameter.
    pub(super) fn is_about(&self, parameter: &str) -> bool {
        self.param.as_deref() == Some(parameter)
    }

    fn read(body: &[u8]) -> Option<Self> {
        #[derive(Deserialize)]
        struct Body {
            error: Fault,
        }
        serde_json::from_slice(body).ok().map(|Body { error }| error)
    }
}

impl From<Fault> for Refusal {
    fn from(fault: Fault) -> Self {
        let Fault { kind, code, param, message, .. } = fault;
        Self { code, param, message: message.unwrap_or(kind) }
    }
}
