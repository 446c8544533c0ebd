use std::collections::BTreeMap;

use idempotency::protocol::EpochMs;

use super::{Item, Window};

/// The number, age and amount of all matches that were counted.
#[derive(Clone, Debug, Default)]
pub(crate) struct Summary {
    pub(crate) count: usize,
    /// Whether there may be more than were counted.
    pub(crate) at_least: bool,
    /// When the oldest started.
    pub(crate) oldest: Option<EpochMs>,
    /// Minor units by currency, of the records whose amount is known.
    pub(crate) at_risk: BTreeMap<String, u128>,
    /// The number of records whose amount is not known.
    pub(crate) without_amount: usize,
}

impl Summary {
    pub(super) fn of(window: &Window) -> Self {
        let mut summary = Self { at_least: window.more, ..Self::default() };
        window.items.iter().for_each(|item| summary.add(item));
        summary
    }

    /// Adds an item; the oldest must come first.
    pub(crate) fn add(&mut self, Item { record, subject }: &Item) {
        self.count += 1;
        self.oldest = self.oldest.or(Some(record.created));
        match subject.as_ref().and_then(|subject| Some((subject.currency.clone()?, subject.amount?))) {
            Some((currency, amount)) => *self.at_risk.entry(currency).or_default() += u128::from(amount),
            None => self.without_amount += 1,
        }
    }
}
