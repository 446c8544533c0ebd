use std::time::Duration;

use idempotency::protocol::{EpochMs, Record};
use idempotency::store::unsettled::After;
use serde::{Deserialize, Serialize};

use crate::record::subject::SubjectSummary;
use crate::record::{id_of, short};

/// The filter of the list, as in the URL; all conditions must hold, and an empty one always does.
#[derive(Clone, Debug, Default, Deserialize, Serialize)]
#[serde(default)]
pub(crate) struct Filter {
    /// The full name of an operation.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub(crate) operation: String,
    /// The minimum age in seconds.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub(crate) age_s: String,
    /// The account; of a refund, that of its payment.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub(crate) account: String,
    /// The lowest and the highest amount, in minor units.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub(crate) amount_min: String,
    #[serde(skip_serializing_if = "String::is_empty")]
    pub(crate) amount_max: String,
    /// The beginning of the principal's digest.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub(crate) principal: String,
    /// The full transaction id.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub(crate) transaction: String,
    /// Where the page starts.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub(crate) after: String,
}

impl Filter {
    pub(crate) fn is_empty(&self) -> bool {
        let conditions = [
            &self.operation,
            &self.age_s,
            &self.account,
            &self.amount_min,
            &self.amount_max,
            &self.principal,
            &self.transaction,
        ];
        conditions.into_iter().all(|text| text.trim().is_empty())
    }

    /// Whether the record matches the conditions that need only the record.
    pub(super) fn matches(&self, record: &Record, now: EpochMs) -> bool {
        let [operation, age_s, principal, transaction] =
            [&self.operation, &self.age_s, &self.principal, &self.transaction].map(|text| text.trim());
        let age = age_s.parse().map_or(Duration::ZERO, Duration::from_secs);
        let digest = || record.principal.map(|digest| digest.to_string()).unwrap_or_default();
        (operation.is_empty() || *record.operation == *operation)
            && now.since(record.created) >= age
            && (principal.is_empty() || digest().starts_with(&principal.to_ascii_lowercase()))
            && (transaction.is_empty() || record.transaction.to_string() == transaction.to_ascii_lowercase())
    }

    /// What is decided by the subject. A record without an account or an amount matches no condition on them.
    /// Whether a condition is about the account or the amount.
    pub(super) fn asks_about_subject(&self) -> bool {
        [&self.account, &self.amount_min, &self.amount_max].iter().any(|text| !text.trim().is_empty())
    }

    pub(super) fn matches_subject(&self, subject: Option<&SubjectSummary>) -> bool {
        let [account, least, most] = [&self.account, &self.amount_min, &self.amount_max].map(|text| text.trim());
        let amount = subject.and_then(|subject| subject.amount);
        // A text that is not a number matches nothing, instead of being ignored.
        let within = |bound: &str, holds: fn(u64, u64) -> bool| {
            bound.is_empty() || amount.zip(bound.parse().ok()).is_some_and(|(amount, bound)| holds(amount, bound))
        };
        (account.is_empty() || subject.and_then(|subject| subject.account.as_deref()) == Some(account))
            && within(least, |amount, least| amount >= least)
            && within(most, |amount, most| amount <= most)
    }

    pub(super) fn start(&self) -> Option<After> {
        let (created, id) = self.after.split_once('.')?;
        Some(After { created: EpochMs(created.parse().ok()?), id: id_of(id)? })
    }

    pub(super) fn beginning_after(&self, last: &Record) -> Self {
        let after = format!("{}.{}", last.created.0, short(last.id.as_str()));
        Self { after, ..self.clone() }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn account_and_amount_must_be_known_to_match() {
        let subject = SubjectSummary {
            account: Some("acct-1".to_owned()),
            amount: Some(9_007_199_254_740_993),
            ..SubjectSummary::default()
        };
        let matches = |account: &str, least: &str, most: &str, subject: Option<&SubjectSummary>| {
            let [account, amount_min, amount_max] = [account, least, most].map(str::to_owned);
            Filter { account, amount_min, amount_max, ..Filter::default() }.matches_subject(subject)
        };
        for (account, least, most) in
            [("", "", ""), (" acct-1 ", "", ""), ("", "9007199254740993", "9007199254740993"), ("acct-1", "1", "")]
        {
            assert!(matches(account, least, most, Some(&subject)), "{account} {least} {most}");
        }
        for (account, least, most) in [
            ("acct-12", "", ""),
            ("acct", "", ""),
            ("", "9007199254740994", ""),
            ("", "", "9007199254740992"),
            ("", "19.99", ""),
            ("", "", "-1"),
        ] {
            assert!(!matches(account, least, most, Some(&subject)), "{account} {least} {most}");
            assert!(!matches(account, least, most, None), "{account} {least} {most}");
        }
        assert!(matches("", "", "", None));
    }
}
