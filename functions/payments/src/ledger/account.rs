use serde::Serialize;

use crate::{AccountId, Currency, PaymentId};

/// A customer's account, as `GET /accounts/{account}` shows it: `{"account","balances":[{"currency","balance",
/// "entries"}]}`, one balance per currency that was ever posted, in alphabetical order. There is one as soon as
/// something was posted to it. What opened it stays inside.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Account {
    /// The account.
    pub account: AccountId,
    /// Its balances; at least one. Currencies are never added up.
    pub balances: Vec<Balance>,
    /// The payment that opened it: the earliest, if payments in several currencies did. Nothing if a terminal's sale
    /// opened one of its balances, or if what opened one was not noted down at the time.
    #[serde(skip)]
    pub opened_by: Option<PaymentId>,
}

/// What the first posting in a currency was.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Opening {
    /// A payment, or a refund of it that was posted before it.
    Payment(PaymentId),
    /// A terminal's sale; or it is not known, because a version posted to the balance that did not note it down.
    Other,
}

impl Opening {
    /// The payment that opened the account of these balances, if nothing else did. Identifiers of payments sort by the
    /// time of their first request.
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
    /// In minor units; negative when more was refunded than paid in.
    pub balance: i64,
    /// How many entries make the balance: one per payment or refund, however often its message was delivered.
    pub entries: u64,
}

/// One change of an account, as the ledger has it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct LedgerEntry {
    /// The account: a customer's, or one of the ledger's own.
    pub account: String,
    /// What it gained, in minor units; negative when it gave.
    pub amount: i64,
    /// The currency.
    pub currency: Currency,
}

impl Balance {
    /// How far a balance may be from zero: 2^53 - 1, the largest integer that every JSON reader takes exactly. A
    /// posting beyond it is refused by its condition.
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
