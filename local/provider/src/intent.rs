//! Payment intents (Stripe, "The PaymentIntent object", "How intents work").

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use serde_json::Value;

#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Intent {
    pub id: String,
    pub(crate) object: String,
    pub amount: u64,
    pub(crate) amount_received: u64,
    pub(crate) currency: String,
    pub status: Status,
    pub(crate) payment_method: Option<String>,
    pub(crate) payment_method_types: Vec<String>,
    pub(crate) latest_charge: Option<String>,
    pub last_payment_error: Option<Value>,
    /// What the card's holder has to do.
    #[serde(default)]
    pub(crate) next_action: Option<Value>,
    pub(crate) description: Option<String>,
    pub metadata: BTreeMap<String, String>,
    pub(crate) client_secret: String,
    pub(crate) canceled_at: Option<u64>,
    pub(crate) cancellation_reason: Option<String>,
    pub(crate) livemode: bool,
    pub(crate) created: u64,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Status {
    RequiresPaymentMethod,
    RequiresConfirmation,
    RequiresAction,
    Succeeded,
    Canceled,
}

impl Status {
    /// As it is written in the API.
    pub(crate) const fn as_str(self) -> &'static str {
        match self {
            Self::RequiresPaymentMethod => "requires_payment_method",
            Self::RequiresConfirmation => "requires_confirmation",
            Self::RequiresAction => "requires_action",
            Self::Succeeded => "succeeded",
            Self::Canceled => "canceled",
        }
    }
}
