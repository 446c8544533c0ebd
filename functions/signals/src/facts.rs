//! The counted facts of one line of the request log.

/// One request, as its line in the request log describes it. It contains no key, amount, body or address.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Facts<'l> {
    /// The kind of answer.
    pub answer: Answer,
    /// Whether this call ran the handler. A retry that got an earlier outcome did not.
    pub ran: bool,
    /// Whether the run took longer than [`SLOW_MS`](Self::SLOW_MS).
    pub slow: bool,
    /// Whether it was a request for a refund.
    pub refund: bool,
    /// For a declined payment: whether the code says that the card does not exist or that its secret is wrong.
    pub hard: bool,
    /// Whether the amount is below two units of its currency.
    pub small: bool,
    /// The pseudonym of the payment method, if there was one.
    pub instrument: Option<&'l [u8]>,
    /// For the counts of an account: the pseudonym of the principal.
    pub caller: Option<&'l [u8]>,
    /// The digest of its record, if it had a key.
    pub record: Option<&'l [u8]>,
}

impl Facts<'_> {
    /// The duration above which a run is slow, in milliseconds: longer than an answer usually takes, and shorter than
    /// clients wait for one.
    pub const SLOW_MS: u64 = 2_000;
}

/// How a request was answered.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Answer {
    /// It ran and succeeded.
    Succeeded,
    /// It ran, and the payment was declined.
    Declined,
    /// It ran, and was refused as invalid.
    Refused,
    /// It got the recorded answer.
    Replayed {
        /// The age of the record, in seconds.
        age_s: u64,
    },
    /// Another request under its key was running.
    InProgress,
    /// Its key was used with another request.
    Mismatch,
    /// The outcome is unknown: of its own run, or of an earlier one.
    Unknown,
    /// It had no usable key.
    NoKey,
    /// Any other answer. It is counted only as a request.
    Other,
}

impl Answer {
    /// The answer of a request log line with this `outcome`, `status` and, for a replay, `age_s`.
    #[must_use]
    pub fn of_log(outcome: &str, status: Option<u16>, age_s: Option<u64>) -> Self {
        match (outcome, status) {
            ("executed", Some(402)) => Self::Declined,
            ("executed" | "not executed", Some(400..=499)) => Self::Refused,
            ("executed", _) => Self::Succeeded,
            ("replayed", _) => Self::Replayed { age_s: age_s.unwrap_or(0) },
            ("in progress", _) => Self::InProgress,
            ("mismatch", _) => Self::Mismatch,
            ("unknown", _) => Self::Unknown,
            ("missing-key" | "invalid-key" | "no key", _) => Self::NoKey,
            (_, _) => Self::Other,
        }
    }

    /// Whether a decline's code says that the card does not exist, or that its number, date or secret is wrong.
    #[must_use]
    pub fn is_hard(code: &str) -> bool {
        matches!(
            code,
            "incorrect_number"
                | "invalid_number"
                | "invalid_account"
                | "incorrect_cvc"
                | "invalid_cvc"
                | "expired_card"
                | "invalid_expiry_month"
                | "invalid_expiry_year"
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_tells_its_answer_by_outcome_and_status() {
        for (outcome, status, answer) in [
            ("executed", 201, Answer::Succeeded),
            ("executed", 402, Answer::Declined),
            ("executed", 422, Answer::Refused),
            ("not executed", 400, Answer::Refused),
            ("not executed", 503, Answer::Other),
            ("replayed", 402, Answer::Replayed { age_s: 7 }),
            ("in progress", 409, Answer::InProgress),
            ("mismatch", 422, Answer::Mismatch),
            ("unknown", 503, Answer::Unknown),
            ("missing-key", 400, Answer::NoKey),
            ("invalid-key", 400, Answer::NoKey),
            ("store-unavailable", 503, Answer::Other),
        ] {
            assert_eq!(Answer::of_log(outcome, Some(status), Some(7)), answer, "{outcome} {status}");
        }
    }

    #[test]
    fn a_wrong_number_is_hard_and_a_lack_of_funds_is_not() {
        assert!(Answer::is_hard("incorrect_number"));
        assert!(!Answer::is_hard("insufficient_funds"));
    }
}
