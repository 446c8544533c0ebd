//! What the bank says to each test card (Stripe, "Testing", "Decline codes").

use super::misbehaviour::Misbehaviour;

pub(super) enum Verdict {
    Approved,
    Declined(Decline),
    /// The card's holder has to authenticate the payment.
    Authentication,
}

#[derive(Debug, Clone, Copy)]
pub(super) struct Decline {
    pub(super) code: &'static str,
    pub(super) decline_code: Option<&'static str>,
    pub(super) message: &'static str,
}

/// Whether somebody can ask the card's holder (Stripe, parameters `off_session` and `error_on_requires_action`).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Holder {
    Present,
    /// `off_session`: a payment without its holder.
    Absent,
    /// `error_on_requires_action`: a caller that could not pass the question on.
    NotAsked,
}

impl Decline {
    const GENERIC: Self = Self {
        code: "card_declined",
        decline_code: Some("generic_decline"),
        message: "Your card was declined.",
    };

    /// Of a payment that asks for its holder where nobody asks him.
    pub(super) fn for_want_of(holder: Holder) -> Option<Self> {
        let code = "authentication_required";
        match holder {
            Holder::Present => None,
            Holder::Absent => Some(Self {
                code,
                decline_code: Some("authentication_required"),
                message: "Your card was declined. This transaction requires authentication.",
            }),
            Holder::NotAsked => Some(Self {
                code,
                decline_code: Some("authentication_not_handled"),
                message: "This payment required an authentication action to complete, but `error_on_requires_action` was \
                          set.",
            }),
        }
    }
}

impl Verdict {
    /// Nothing for a card that there is not.
    pub(super) fn of(payment_method: &str) -> Option<Self> {
        let declined = |decline| Some(Self::Declined(decline));
        match payment_method {
            "pm_card_visa" | "pm_card_mastercard" | "pm_card_amex" | "pm_card_pendingRefund" | "pm_card_refundFail" => {
                Some(Self::Approved)
            }
            "pm_card_chargeDeclined" | "pm_timeout_after_decline" => declined(Decline::GENERIC),
            "pm_card_chargeDeclinedInsufficientFunds" => declined(Decline {
                decline_code: Some("insufficient_funds"),
                message: "Your card has insufficient funds.",
                ..Decline::GENERIC
            }),
            "pm_card_chargeDeclinedExpiredCard" => declined(Decline {
                code: "expired_card",
                decline_code: None,
                message: "Your card has expired.",
            }),
            "pm_card_chargeDeclinedProcessingError" => declined(Decline {
                code: "processing_error",
                decline_code: None,
                message: "An error occurred while processing your card. Try again in a little bit.",
            }),
            "pm_card_authenticationRequired" | "pm_card_threeDSecure2Required" => Some(Self::Authentication),
            other => Misbehaviour::is_known(other).then_some(Self::Approved),
        }
    }
}
