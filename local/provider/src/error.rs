//! Errors in Stripe's shape (Stripe, "Error handling", "Error codes").

use serde::Serialize;
use serde_json::{Value, json};

use crate::{answer::Answer, card::Decline};

#[derive(Debug, Clone, Serialize, thiserror::Error)]
#[error("{kind}: {message}")]
pub struct ApiError {
    #[serde(skip)]
    status: u16,
    #[serde(rename = "type")]
    kind: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    code: Option<&'static str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    decline_code: Option<&'static str>,
    message: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    param: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    payment_intent: Option<Box<Value>>,
}

impl ApiError {
    pub fn invalid(message: &str) -> Self {
        Self::new(400, "invalid_request_error", message)
    }

    pub fn required(parameter: &str) -> Self {
        Self::invalid(&format!("Missing required param: {parameter}."))
            .with_code("parameter_missing")
            .with_parameter(parameter)
    }

    pub(crate) fn unknown_parameter(parameter: &str) -> Self {
        Self::invalid(&format!("Received unknown parameter: {parameter}"))
            .with_code("parameter_unknown")
            .with_parameter(parameter)
    }

    pub fn missing(kind: &str, id: &str) -> Self {
        Self::invalid(&format!("No such {kind}: '{id}'")).with_code("resource_missing").with_parameter(kind)
    }

    pub(crate) fn no_such_method(method: &str) -> Self {
        Self::invalid(&format!("No such PaymentMethod: '{method}'"))
            .with_code("resource_missing")
            .with_parameter("payment_method")
    }

    pub(crate) fn unexpected_state(message: &str, intent: Value) -> Self {
        Self {
            payment_intent: Some(Box::new(intent)),
            ..Self::invalid(message).with_code("payment_intent_unexpected_state")
        }
    }

    pub(crate) fn declined(decline: Decline, intent: Value) -> Self {
        let Decline { code, decline_code, message } = decline;
        let error = Self::new(402, "card_error", message).with_code(code);
        Self { decline_code, payment_intent: Some(Box::new(intent)), ..error }
    }

    pub(crate) fn key_in_use() -> Self {
        let message = "There is currently another in-progress request using this Idempotency Key (that probably means you \
                       submitted twice, and the other request is still going through). Please try again later.";
        Self::new(409, "idempotency_error", message).with_code("idempotency_key_in_use")
    }

    pub(crate) fn key_reused(key: &str) -> Self {
        let message = format!(
            "Keys for idempotent requests can only be used with the same parameters they were first used with. Try using \
             a key other than '{key}' if you meant to execute a different request."
        );
        Self::new(400, "idempotency_error", &message)
    }

    pub fn unauthorized() -> Self {
        Self::new(
            401,
            "invalid_request_error",
            "You did not provide an API key. You need to provide your API key in the Authorization header, using Bearer \
             auth (e.g. 'Authorization: Bearer YOUR_SECRET_KEY').",
        )
    }

    pub fn expired_api_key() -> Self {
        Self::new(401, "invalid_request_error", "Expired API Key provided").with_code("api_key_expired")
    }

    /// The provider itself failed, for example to store its state.
    pub fn internal(message: &str) -> Self {
        Self::new(500, "api_error", message)
    }

    pub fn outage() -> Self {
        Self::new(503, "api_error", "The payment provider is down.")
    }

    pub(crate) fn breakdown() -> Self {
        let message = "An error occurred internally with Stripe's API.";
        Self::new(500, "api_error", message)
    }

    pub fn with_status(self, status: u16) -> Self {
        Self { status, ..self }
    }

    pub(crate) fn with_code(self, code: &'static str) -> Self {
        Self { code: Some(code), ..self }
    }

    pub(crate) fn with_parameter(self, parameter: &str) -> Self {
        Self { param: Some(parameter.to_owned()), ..self }
    }

    pub fn answer(&self) -> Answer {
        Answer::new(self.status, &json!({ "error": self }))
    }

    fn new(status: u16, kind: &'static str, message: &str) -> Self {
        Self {
            status,
            kind,
            code: None,
            decline_code: None,
            message: message.to_owned(),
            param: None,
            payment_intent: None,
        }
    }
}

impl From<serde_json::Error> for ApiError {
    fn from(error: serde_json::Error) -> Self {
        Self::new(500, "api_error", &error.to_string())
    }
}
