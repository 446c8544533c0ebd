/// What the provider said to a charge. All three are final: a repeat under the same transaction id gets them again.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Charge {
    /// The money was taken.
    Succeeded {
        /// The payment intent (`pi_…`).
        id: String,
    },
    /// The card's bank, or the provider on its behalf, said no; nothing was taken.
    Declined {
        /// Why, for programs: `card_declined`, `expired_card`, `authentication_required`, …
        code: String,
        /// The bank's reason, where it gave one: `insufficient_funds`, `generic_decline`, …
        decline_code: Option<String>,
        /// Why, for the cardholder.
        message: String,
    },
    /// The provider does not accept the request as it is; nothing was taken.
    Refused(Refusal),
}

impl Charge {
    pub(super) fn declined(code: Option<String>, decline_code: Option<String>, message: Option<String>) -> Self {
        Self::Declined {
            code: code.unwrap_or_else(|| "card_declined".to_owned()),
            decline_code,
            message: message.unwrap_or_else(|| "The card was declined.".to_owned()),
        }
    }
}

/// What the provider said to a refund. Both are final.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Reversal {
    /// The money goes back.
    Succeeded {
        /// The provider's refund (`re_…`).
        id: String,
    },
    /// The provider does not accept the request, for example because nothing is left; this request gave nothing back.
    Refused(Refusal),
}

/// What the provider does not accept about a request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Refusal {
    /// Why, for programs: `amount_too_small`, `resource_missing`, `charge_already_refunded`, …
    pub code: Option<String>,
    /// The parameter that is meant; for a charge it has the name of the request's member.
    pub param: Option<String>,
    /// Why, for people.
    pub message: String,
}
