use serde::Serialize;

use crate::{AccountId, Currency};

/// A customer's account, as `GET /accounts/{account}` shows it: `{"account","balances":[{"currency","balance",
/// "entries"}]}`, one balance per currency that was ever posted, in alphabetical order.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Account {
    /// The account.
    pub account: AccountId,
    /// Its balances. Currencies are never added up.
    pub balances: Vec<Balance>,
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
        };
        assert_eq!(
            serde_json::to_string(&account).unwrap(),
            r#"{"account":"acct_1","balances":[{"currency":"EUR","balance":-1,"entries":2},{"currency":"JPY","balance":9007199254740991,"entries":1}]}"#
        );
    }
}
