/// The provider's answer to a charge. All three are final: a repeat under the same transaction id gets the same answer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Charge {
    /// The money was taken.
    Succeeded {
        /// The payment intent (`pi_…`).
        id: String,
    },
    /// The card's bank, or the provider on its behalf, declined; nothing was taken.
    Declined(Decline),
    /// The provider does not accept the request as it is; nothing was taken.
    Refused(ProviderRejection),
}

/// Why a card was declined.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Decline {
    /// For programs: `card_declined`, `expired_card`, `authentication_required`, …
    pub code: String,
    /// The bank's reason, where it gave one: `insufficient_funds`, `generic_decline`, …
    pub decline_code: Option<String>,
    /// For the cardholder.
    pub message: String,
}

impl Decline {
    pub(super) fn new(code: Option<String>, decline_code: Option<String>, message: Option<String>) -> Self {
        Self {
            code: code.unwrap_or_else(|| "card_declined".to_owned()),
            decline_code,
            message: message.unwrap_or_else(|| "The card was declined.".to_owned()),
        }
    }

    /// The most specific code.
    pub fn reason(&self) -> &str {
        self.decline_code.as_ref().unwrap_or(&self.code)
    }
}

/// The provider's answer to a refund. Both are final.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Reversal {
    /// The refund was made.
    Succeeded {
        /// The provider's refund (`re_…`).
        id: String,
    },
    /// The provider does not accept the request, for example because nothing is left; nothing was refunded.
    Refused(ProviderRejection),
}

/// Why the provider does not accept a request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ProviderRejection {
    /// For programs: `amount_too_small`, `resource_missing`, `charge_already_refunded`, …
    pub code: Option<String>,
    /// The rejected parameter; for a charge it has the name of the request's member.
    pub param: Option<String>,
    /// For people.
    pub message: String,
}

impl ProviderRejection {
    /// The code, or the one for all rejections.
    pub fn code(&self) -> &str {
        self.code.as_deref().unwrap_or(crate::problems::REFUSED.code)
    }
}
