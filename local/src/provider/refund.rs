//! Refunds (Stripe, "The Refund object").
//!
//! What was paid by `pm_card_pendingRefund` is given back later, and what was paid by `pm_card_refundFail` fails later
//! (Stripe, "Testing", "Refunds"): when `POST /_local/provider/deliver` says so.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::{
    error::ApiError,
    intent::{self, Intent, identifier, now},
};

#[derive(Debug, Clone, Serialize, Deserialize)]
pub(super) struct Refund {
    pub(super) id: String,
    object: String,
    pub(super) amount: u64,
    currency: String,
    payment_intent: String,
    charge: Option<String>,
    reason: Option<String>,
    status: Status,
    metadata: BTreeMap<String, String>,
    created: u64,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
enum Status {
    Pending,
    Succeeded,
    Failed,
}

impl Refund {
    /// Without an amount, all that is left of the charge.
    pub(super) fn of(
        intent: &Intent,
        earlier: &[Self],
        amount: Option<u64>,
        reason: Option<String>,
        metadata: BTreeMap<String, String>,
    ) -> Result<Self, ApiError> {
        if intent.status != intent::Status::Succeeded {
            let message = format!("This PaymentIntent ({}) does not have a successful charge to refund.", intent.id);
            return Err(ApiError::unexpected_state(&message, serde_json::to_value(intent)?));
        }
        let refunded: u64 = earlier.iter().map(Self::given_back).sum();
        let left = intent.amount_received.saturating_sub(refunded);
        if left == 0 {
            let charge = intent.latest_charge.as_deref().unwrap_or_default();
            return Err(ApiError::invalid(&format!("Charge {charge} has already been refunded."))
                .with_code("charge_already_refunded"));
        }
        let amount = amount.unwrap_or(left);
        if amount > left {
            return Err(ApiError::invalid(&format!(
                "Refund amount ({amount}) is greater than unrefunded amount on charge ({left})"
            ))
            .with_code("amount_too_large")
            .with_parameter("amount"));
        }
        Ok(Self {
            id: identifier("re"),
            object: "refund".to_owned(),
            amount,
            currency: intent.currency.clone(),
            payment_intent: intent.id.clone(),
            charge: intent.latest_charge.clone(),
            reason,
            status: match intent.payment_method.as_deref() {
                Some("pm_card_pendingRefund") => Status::Pending,
                _ => Status::Succeeded,
            },
            metadata,
            created: now(),
        })
    }

    pub(super) fn intent(&self) -> &str {
        &self.payment_intent
    }

    pub(super) fn is_of_charge(&self, charge: &str) -> bool {
        self.charge.as_deref() == Some(charge)
    }

    /// What cannot be given back once more.
    pub(super) fn given_back(&self) -> u64 {
        match self.status {
            Status::Pending | Status::Succeeded => self.amount,
            Status::Failed => 0,
        }
    }

    /// What becomes of it when the bank has answered, if that is something else.
    pub(super) fn settled(self, payment_method: Option<&str>) -> Option<Self> {
        match (self.status, payment_method) {
            (Status::Pending, _) => Some(Self { status: Status::Succeeded, ..self }),
            (Status::Succeeded, Some("pm_card_refundFail")) => Some(Self { status: Status::Failed, ..self }),
            (Status::Succeeded | Status::Failed, _) => None,
        }
    }
}
