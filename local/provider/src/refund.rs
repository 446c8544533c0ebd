//! Refunds (Stripe, "The Refund object").
//!
//! The refund of a payment by `pm_card_pendingRefund` succeeds later, that of one by `pm_card_refundFail` fails later
//! (Stripe, "Testing", "Refunds"): at [`Provider::deliver`](crate::Provider::deliver).

use std::{collections::BTreeMap, time::Duration};

use serde::{Deserialize, Serialize};

use crate::{
    error::ApiError,
    intent::{self, Intent},
};

#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Refund {
    pub id: String,
    object: String,
    pub(crate) amount: u64,
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
    /// Without an amount, all that is left of the charge after the earlier refunds.
    pub(crate) fn new(
        id: String,
        intent: &Intent,
        refunded: u64,
        amount: Option<u64>,
        reason: Option<String>,
        metadata: BTreeMap<String, String>,
        now: Duration,
    ) -> Result<Self, ApiError> {
        if intent.status != intent::Status::Succeeded {
            let message = format!("This PaymentIntent ({}) does not have a successful charge to refund.", intent.id);
            return Err(ApiError::unexpected_state(&message, serde_json::to_value(intent)?));
        }
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
            id,
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
            created: now.as_secs(),
        })
    }

    pub fn intent(&self) -> &str {
        &self.payment_intent
    }

    pub fn is_of_charge(&self, charge: &str) -> bool {
        self.charge.as_deref() == Some(charge)
    }

    /// The amount that cannot be refunded again.
    pub(crate) fn given_back(&self) -> u64 {
        match self.status {
            Status::Pending | Status::Succeeded => self.amount,
            Status::Failed => 0,
        }
    }

    /// The refund after the bank's reply, if that changes it.
    pub(crate) fn settled(self, payment_method: Option<&str>) -> Option<Self> {
        match (self.status, payment_method) {
            (Status::Pending, _) => Some(Self { status: Status::Succeeded, ..self }),
            (Status::Succeeded, Some("pm_card_refundFail")) => Some(Self { status: Status::Failed, ..self }),
            (Status::Succeeded | Status::Failed, _) => None,
        }
    }
}
