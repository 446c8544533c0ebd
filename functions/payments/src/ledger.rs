mod account;

pub(crate) use account::Opening;
pub use account::{Account, Balance, LedgerEntry};

use std::fmt;

use uuid::Uuid;

use crate::{AccountId, Currency, Event, EventKind, Money, PaymentId, Sale};

/// The ledger's posting of an event or a sale: two entries that sum to zero, so that money is moved and never created.
///
/// A payment or a terminal's sale credits the customer's account and debits what the provider owes us; a refund does
/// the reverse.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Posting {
    /// The id of the posted event or sale; an account has at most one entry for it.
    pub event: Uuid,
    /// The reason for the posting.
    pub origin: Origin,
    /// The currency of both entries.
    pub currency: Currency,
    /// The customer's side.
    pub customer: Entry<AccountId>,
    /// The provider's side.
    pub clearing: Entry<Clearing>,
}

/// The reason for a posting.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Origin {
    /// Something happened to a payment.
    Payment {
        /// What happened.
        kind: EventKind,
        /// The payment.
        payment: PaymentId,
    },
    /// A terminal made a sale.
    Sale(Sale),
}

/// The change of one account, positive or negative, in minor units.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Entry<A> {
    /// The account.
    pub account: A,
    /// The change; never 0.
    pub amount: i64,
}

/// The account of the money that the provider has collected for us, divided into sixteen parts.
///
/// Every posting has an entry here, so a single account would send all writes of the application to one partition (1000
/// write units a second). The part derives from the event's random bits, so a repetition meets its own entry. The parts
/// have only entries and no balance: a running total would be an item that all postings contend for, and nobody needs
/// it immediately. Accountants who close the books sum up the entries.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Clearing(u8);

impl Posting {
    /// The posting of an event.
    pub fn of(event: &Event) -> Self {
        let sign = match event.kind {
            EventKind::PaymentSucceeded => 1,
            EventKind::PaymentRefunded => -1,
        };
        let origin = Origin::Payment { kind: event.kind, payment: event.payment };
        Self::new(event.id, origin, &event.account, event.money, sign)
    }

    /// The posting of a terminal's sale.
    pub fn of_sale(sale: &Sale) -> Self {
        Self::new(sale.id(), Origin::Sale(sale.clone()), &sale.account, sale.money, 1)
    }

    fn new(event: Uuid, origin: Origin, account: &AccountId, money: Money, sign: i64) -> Self {
        let amount = sign * money.amount.signed();
        Self {
            event,
            origin,
            currency: money.currency,
            customer: Entry { account: account.clone(), amount },
            clearing: Entry { account: Clearing::of(event), amount: -amount },
        }
    }
}

impl Origin {
    /// The `type` of the message.
    pub fn kind(&self) -> &'static str {
        match self {
            Self::Payment { kind, .. } => kind.as_str(),
            Self::Sale(_) => Sale::TYPE,
        }
    }
}

impl Clearing {
    /// The clearing account for this event's entry.
    pub(crate) fn of(event: Uuid) -> Self {
        Self(event.as_bytes()[15] & 0x0f)
    }
}

/// With a colon, which no customer's account can contain.
impl fmt::Display for Clearing {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "provider:clearing#{:x}", self.0)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::{Amount, Money, samples};

    fn event(kind: EventKind, id: u128, amount: u64) -> Event {
        Event {
            id: Uuid::from_u128(id),
            kind,
            payment: PaymentId::of(samples::transaction(1)),
            account: AccountId::parse("acct_1").unwrap(),
            money: Money { amount: Amount::new(amount).unwrap(), currency: Currency::from_code("EUR").unwrap() },
        }
    }

    proptest! {
        #[test]
        fn a_posting_sums_to_zero_and_is_the_same_each_time(id: u128, amount in 1_u64..=99_999_999, refund: bool) {
            let kind = if refund { EventKind::PaymentRefunded } else { EventKind::PaymentSucceeded };
            let posting = Posting::of(&event(kind, id, amount));
            prop_assert_eq!(posting.customer.amount + posting.clearing.amount, 0);
            prop_assert_eq!(posting.customer.amount, if refund { -(amount as i64) } else { amount as i64 });
            prop_assert_eq!(posting, Posting::of(&event(kind, id, amount)));
        }
    }

    #[test]
    fn clearing_is_spread_over_sixteen_accounts_that_no_customer_can_name() {
        let parts: std::collections::HashSet<_> = (0..512).map(|_| Clearing::of(Uuid::now_v7()).to_string()).collect();
        assert_eq!(parts.len(), 16);
        assert!(parts.iter().all(|part| AccountId::parse(part).is_none()));
    }
}
