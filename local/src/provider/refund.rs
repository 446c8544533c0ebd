//! Refunds (Stripe, "The Refund object").

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::{
    error::ApiError,
    intent::{Intent, Status, identifier, now},
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
    status: String,
    metadata: BTreeMap<String, String>,
    created: u64,
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
        if intent.status != Status::Succeeded {
            let message = format!("This PaymentIntent ({}) does not have a successful charge to refund.", intent.id);
            return Err(ApiError::unexpected_state(&message, serde_json::to_value(intent)?));
        }
        let refunded: u64 = earlier.iter().map(|refund| refund.amount).sum();
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
            status: "succeeded".to_owned(),
            metadata,
            created: now(),
        })
    }
}
