use serde::Serialize;

use crate::{AccountId, Currency, PaymentId};

/// A customer's account, as `GET /accounts/{account}` shows it: `{"account","balances":[{"currency","balance",
/// "entries"}]}`, with one balance per currency that was ever posted, in alphabetical order. It exists once something
/// has been posted to it. The origin of the account is not shown.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Account {
    /// The account.
    pub account: AccountId,
    /// Its balances, at least one. Different currencies are never added up.
    pub balances: Vec<Balance>,
    /// The payment that opened the account: the earliest, if payments in several currencies did. `None` if a terminal's
    /// sale opened one of its balances, or if the origin of one was not recorded at the time.
    #[serde(skip)]
    pub opened_by: Option<PaymentId>,
}

/// The origin of a balance: the first posting in its currency.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Opening {
    /// A payment, or a refund of it that was posted before it.
    Payment(PaymentId),
    /// A terminal's sale; or unknown, because a version that did not record the origin posted to the balance.
    Other,
}

impl Opening {
    /// The payment that opened the account with these balances, if nothing else did. Payment ids sort by the time of
    /// their first request.
    pub(crate) fn of_account(openings: &[Self]) -> Option<PaymentId> {
        let payments: Option<Vec<PaymentId>> = openings
            .iter()
            .map(|opening| match opening {
                Self::Payment(payment) => Some(*payment),
                Self::Other => None,
            })
            .collect();
        payments?.into_iter().min()
    }
}

/// The sum of an account's entries in one currency.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Balance {
    /// The currency.
    pub currency: Currency,
    /// In minor units; negative if more was refunded than paid in.
    pub balance: i64,
    /// The number of entries in the balance: one per payment or refund, however often its message was delivered.
    pub entries: u64,
}

/// One entry of the ledger: a change of an account.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct LedgerEntry {
    /// The account: a customer's, or one of the ledger's own.
    pub account: String,
    /// The change in minor units, positive or negative.
    pub amount: i64,
    /// The currency.
    pub currency: Currency,
}

impl Balance {
    /// The maximum distance of a balance from zero: 2^53 - 1, the largest integer that every JSON parser reads exactly.
    /// The condition of a posting beyond it fails.
    pub const LIMIT: i64 = (1 << 53) - 1;
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn balances_are_exact_integers_and_may_be_negative() {
        let balance =
            |code, balance, entries| Balance { currency: Currency::from_code(code).unwrap(), balance, entries };
        let account = Account {
            account: AccountId::parse("acct_1").unwrap(),
            balances: vec![balance("EUR", -1, 2), balance("JPY", Balance::LIMIT, 1)],
            opened_by: Some(PaymentId::of(crate::samples::transaction(1))),
        };
        assert_eq!(
            serde_json::to_string(&account).unwrap(),
            r#"{"account":"acct_1","balances":[{"currency":"EUR","balance":-1,"entries":2},{"currency":"JPY","balance":9007199254740991,"entries":1}]}"#
        );
    }

    #[test]
    fn the_earliest_payment_opens_an_account_unless_something_else_opened_one_of_its_balances() {
        let payment = |id| PaymentId::of(crate::samples::transaction(id));
        let [early, late] = [1, 2].map(|id| Opening::Payment(payment(id)));
        for (openings, expected) in [
            (&[late][..], Some(payment(2))),
            (&[late, early], Some(payment(1))),
            (&[early, Opening::Other], None),
            (&[Opening::Other, early], None),
            (&[], None),
        ] {
            assert_eq!(Opening::of_account(openings), expected, "{openings:?}");
        }
    }
}
