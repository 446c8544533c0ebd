//! The bank's reply to each test card (Stripe, "Testing", "Decline codes").

use crate::faults::Fault;

pub(crate) enum Verdict {
    Approved,
    Declined(Decline),
    /// The card's holder has to authenticate the payment.
    Authentication,
}

#[derive(Debug, Clone, Copy)]
pub(crate) struct Decline {
    pub(crate) code: &'static str,
    pub(crate) decline_code: Option<&'static str>,
    pub(crate) message: &'static str,
}

/// Whether the card's holder can be asked (Stripe, parameters `off_session` and `error_on_requires_action`).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Holder {
    Present,
    /// `off_session`: a payment without its holder.
    Absent,
    /// `error_on_requires_action`: the caller cannot pass the question on.
    NotAsked,
}

impl Decline {
    const GENERIC: Self =
        Self { code: "card_declined", decline_code: Some("generic_decline"), message: "Your card was declined." };

    /// The decline of a payment that needs its holder, if the holder cannot be asked.
    pub(crate) fn without_holder(holder: Holder) -> Option<Self> {
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
    /// `None`: there is no such card.
    pub(crate) fn of(payment_method: &str) -> Option<Self> {
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
            "pm_card_chargeDeclinedExpiredCard" => {
                declined(Decline { code: "expired_card", decline_code: None, message: "Your card has expired." })
            }
            "pm_card_chargeDeclinedIncorrectCvc" => declined(Decline {
                code: "incorrect_cvc",
                decline_code: None,
                message: "Your card's security code is incorrect.",
            }),
            "pm_card_visa_chargeDeclinedLostCard" => {
                declined(Decline { decline_code: Some("lost_card"), ..Decline::GENERIC })
            }
            "pm_card_visa_chargeDeclinedStolenCard" => {
                declined(Decline { decline_code: Some("stolen_card"), ..Decline::GENERIC })
            }
            "pm_card_chargeDeclinedProcessingError" => declined(Decline {
                code: "processing_error",
                decline_code: None,
                message: "An error occurred while processing your card. Try again in a little bit.",
            }),
            "pm_card_authenticationRequired" | "pm_card_threeDSecure2Required" => Some(Self::Authentication),
            other => Fault::is_known(other).then_some(Self::Approved),
        }
    }
}
