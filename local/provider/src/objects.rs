//! The intents and refunds.

use std::collections::{BTreeMap, HashMap};

use serde::Serialize;

use crate::{
    change::Change,
    error::ApiError,
    intent::{Intent, Status},
    refund::Refund,
};

/// What was really charged.
#[derive(Debug, Serialize)]
pub struct Charge {
    pub id: String,
    pub payment_intent: String,
    pub amount: u64,
    pub amount_refunded: u64,
    pub currency: String,
    pub payment_method: Option<String>,
    pub idempotency_key: Option<String>,
    pub metadata: BTreeMap<String, String>,
    pub created: u64,
}

/// Each list is in order of creation.
#[derive(Debug, Default)]
pub(crate) struct Objects {
    intents: Vec<(Intent, Option<String>)>,
    by_id: HashMap<String, usize>,
    refunds: Vec<Refund>,
    changes: Vec<Change>,
}

impl Objects {
    pub(crate) fn restore(intents: Vec<(Intent, Option<String>)>, refunds: Vec<Refund>) -> Self {
        let by_id = intents.iter().enumerate().map(|(index, (intent, _))| (intent.id.clone(), index)).collect();
        Self { intents, by_id, refunds, changes: Vec::new() }
    }

    pub(crate) fn intents(&self) -> impl DoubleEndedIterator<Item = &Intent> {
        self.intents.iter().map(|(intent, _)| intent)
    }

    pub(crate) fn refunds(&self) -> impl DoubleEndedIterator<Item = &Refund> {
        self.refunds.iter()
    }

    pub(crate) fn intent(&self, id: &str) -> Option<&Intent> {
        self.by_id.get(id).map(|index| &self.intents[*index].0)
    }

    /// An intent that a request's path names.
    pub(crate) fn expect(&self, id: &str) -> Result<&Intent, ApiError> {
        self.intent(id).ok_or_else(|| ApiError::missing("payment_intent", id).with_status(404))
    }

    pub(crate) fn refunds_of<'s>(&'s self, intent: &'s str) -> impl DoubleEndedIterator<Item = &'s Refund> {
        self.refunds.iter().filter(move |refund| refund.intent() == intent)
    }

    pub(crate) fn charges(&self) -> Vec<Charge> {
        let charge = |(intent, idempotency_key): &(Intent, Option<String>)| {
            let id = intent.latest_charge.clone().filter(|_| intent.status == Status::Succeeded)?;
            Some(Charge {
                id,
                payment_intent: intent.id.clone(),
                amount: intent.amount_received,
                amount_refunded: self.refunds_of(&intent.id).map(Refund::given_back).sum(),
                currency: intent.currency.clone(),
                payment_method: intent.payment_method.clone(),
                idempotency_key: idempotency_key.clone(),
                metadata: intent.metadata.clone(),
                created: intent.created,
            })
        };
        self.intents.iter().filter_map(charge).collect()
    }

    /// Adds or replaces an intent. A key replaces the one of an earlier request: the last confirmation is what charged.
    pub(crate) fn put_intent(&mut self, intent: Intent, key: Option<String>) {
        let changed = match self.by_id.get(&intent.id) {
            Some(&index) => {
                let earlier = self.intents[index].1.take();
                self.intents[index] = (intent, key.or(earlier));
                &self.intents[index]
            }
            None => {
                self.by_id.insert(intent.id.clone(), self.intents.len());
                self.intents.push((intent, key));
                &self.intents[self.intents.len() - 1]
            }
        };
        self.changes.push(Change::Intent { intent: changed.0.clone(), idempotency_key: changed.1.clone() });
    }

    pub(crate) fn add_refund(&mut self, refund: Refund) {
        self.refunds.push(refund.clone());
        self.changes.push(Change::Refund(refund));
    }

    /// The banks reply: a pending refund succeeds, and a refund that only seemed to have succeeded fails.
    pub(crate) fn settle_refunds(&mut self) {
        for index in 0..self.refunds.len() {
            let refund = &self.refunds[index];
            let method = self.intent(refund.intent()).and_then(|intent| intent.payment_method.clone());
            if let Some(settled) = refund.clone().settled(method.as_deref()) {
                self.refunds[index] = settled.clone();
                self.changes.push(Change::Refund(settled));
            }
        }
    }

    pub(crate) fn take_changes(&mut self) -> Vec<Change> {
        std::mem::take(&mut self.changes)
    }
}
