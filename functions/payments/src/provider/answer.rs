use reqwest::StatusCode;
use serde::Deserialize;

use super::{Charge, Decline, ProviderError, ProviderRejection, Reversal};
use crate::Money;

/// A reply of the provider, before it is interpreted.
pub(super) struct Reply {
    pub(super) status: StatusCode,
    /// Whether it is the saved result of an earlier request under the same key, with the same parameters.
    pub(super) is_replayed: bool,
    pub(super) body: Vec<u8>,
}

/// A complete and final answer. Any other reply became a [`ProviderError`].
///
/// The meaning of a status and an error type is Stripe's: "Errors", "Error codes" and "Advanced error handling" in its
/// documentation.
pub(super) enum Answer {
    Done(Object),
    Declined(StripeError),
    Refused(StripeError),
}

/// A payment intent or a refund, as far as we read it.
#[derive(Deserialize)]
pub(super) struct Object {
    id: String,
    object: String,
    status: String,
    amount: u64,
    currency: String,
}

#[derive(Deserialize)]
pub(super) struct StripeError {
    #[serde(rename = "type")]
    kind: String,
    code: Option<String>,
    decline_code: Option<String>,
    param: Option<String>,
    message: Option<String>,
    /// The intent that the request was about, if it was about one.
    payment_intent: Option<IntentStatus>,
}

#[derive(Deserialize)]
struct IntentStatus {
    status: Option<String>,
}

impl Answer {
    /// Separates final answers from all others. An error counts only with the type that belongs to its status, so that
    /// the error page of an intermediary never passes for the provider's answer.
    pub(super) fn of(Reply { status, body, .. }: Reply) -> Result<Self, ProviderError> {
        if status.is_success() {
            // The request was executed, whatever the body is: never "refused", and not "succeeded" without an id.
            let unreadable =
                |error| ProviderError::unknown(format!("status {status} with an unreadable body: {error}"));
            return serde_json::from_slice(&body).map(Self::Done).map_err(unreadable);
        }
        let Some(error) = StripeError::read(&body) else {
            let seen = format!("status {status} without the provider's account of it");
            // A rate limit may be enforced at the provider's edge, with a different body but the same meaning.
            return Err(if status == StatusCode::TOO_MANY_REQUESTS {
                ProviderError::NotExecuted(seen)
            } else {
                ProviderError::unknown(seen)
            });
        };
        let seen = format!("status {status}, type {}, code {}", error.kind, error.code.as_deref().unwrap_or("none"));
        match (status.as_u16(), error.kind.as_str(), error.code.as_deref()) {
            // The bank's answer. Kept under the idempotency key like any other result.
            (402, "card_error", _) => Ok(Self::Declined(error)),
            // The provider found the request invalid before it tried a charge. 404 is a payment method or intent that
            // does not exist.
            (400 | 404, "invalid_request_error", _) => Ok(Self::Refused(error)),
            // Rejected before the request was examined, for a reason that we must fix.
            (401 | 403, _, _) => Err(ProviderError::NotExecuted(seen)),
            // Another request is changing the same object, and it may be one of ours.
            (429, _, Some("lock_timeout")) => Err(ProviderError::unknown(seen)),
            // The rate limit comes before the execution and before the idempotency key.
            (429, _, _) => Err(ProviderError::NotExecuted(seen)),
            // Our key was used with other parameters, for another request; or our first request is still running.
            (400, "idempotency_error", _) | (409, _, _) => Err(ProviderError::key_used(seen)),
            // These include 5xx, which the documentation calls indeterminate.
            _ => Err(ProviderError::unknown(seen)),
        }
    }

    pub(super) fn charge(self, asked: Money) -> Result<Charge, ProviderError> {
        match self {
            Self::Done(intent) => Ok(Charge::Succeeded { id: intent.succeeded("payment_intent", asked)? }),
            Self::Declined(StripeError { code, decline_code, message, .. }) => {
                Ok(Charge::Declined(Decline::new(code, decline_code, message)))
            }
            Self::Refused(error) => Ok(Charge::Refused(error.into())),
        }
    }

    pub(super) fn reversal(self, asked: Money) -> Result<Reversal, ProviderError> {
        match self {
            Self::Done(refund) => Ok(Reversal::Succeeded { id: refund.succeeded("refund", asked)? }),
            Self::Declined(_) => Err(ProviderError::unknown("a refund was answered with a card error")),
            Self::Refused(error) => Ok(Reversal::Refused(error.into())),
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

    /// The id, if this is what was requested and it has succeeded. An intent that is `processing`, or a refund that is
    /// `pending`, may still fail.
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

impl StripeError {
    /// The state of the intent that the request was about, if the provider sends it.
    pub(super) fn intent_status(&self) -> Option<&str> {
        self.payment_intent.as_ref()?.status.as_deref()
    }

    /// Whether the provider rejects this parameter.
    pub(super) fn is_about(&self, parameter: &str) -> bool {
        self.param.as_deref() == Some(parameter)
    }

    fn read(body: &[u8]) -> Option<Self> {
        #[derive(Deserialize)]
        struct Body {
            error: StripeError,
        }
        serde_json::from_slice(body).ok().map(|Body { error }| error)
    }
}

impl From<StripeError> for ProviderRejection {
    fn from(error: StripeError) -> Self {
        let StripeError { kind, code, param, message, .. } = error;
        Self { code, param, message: message.unwrap_or(kind) }
    }
}
