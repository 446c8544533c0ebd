//! Idempotency keys (Stripe, "Idempotent requests"): the first result under a key is kept and replayed, errors
//! included; other parameters under the key are refused; so is a repeat while the first request is running.

use std::{
    collections::{HashMap, HashSet},
    time::Duration,
};

use crate::{answer::Answer, error::ApiError};

/// An idempotency key. The keys of one account mean nothing to another.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Key {
    /// The API key.
    pub account: String,
    pub key: String,
}

/// The first request under a key.
#[derive(Debug, Clone)]
pub struct Saved {
    /// Its path and parameters.
    pub request: String,
    /// `None`: it was not executed yet.
    pub answer: Option<Answer>,
    pub first_used: Duration,
}

#[derive(Debug, Default)]
pub(crate) struct Keys {
    saved: HashMap<Key, Saved>,
    running: HashSet<Key>,
    /// How long a key is remembered, from its first use; `None`: until it is told to forget.
    memory: Option<Duration>,
}

/// The outcome of [`Keys::reserve`].
pub(crate) enum Lookup {
    /// The key is reserved; with the earlier request under it that was not executed, if there is one.
    New {
        earlier: Option<String>,
    },
    Saved(Answer),
}

impl Keys {
    pub(crate) fn new(memory: Option<Duration>) -> Self {
        Self { memory, ..Self::default() }
    }

    /// What is remembered under a key.
    pub(crate) fn get(&self, key: &Key, now: Duration) -> Option<&Saved> {
        let is_remembered = |saved: &&Saved| self.memory.is_none_or(|memory| now < saved.first_used + memory);
        self.saved.get(key).filter(is_remembered)
    }

    /// Reserves a key for a request, until [`Keys::release`].
    pub(crate) fn reserve(&mut self, key: &Key, request: &str, now: Duration) -> Result<Lookup, ApiError> {
        if self.running.contains(key) {
            return Err(ApiError::key_in_use());
        }
        let saved = self.get(key, now);
        if let Some(Saved { request: first, answer: Some(answer), .. }) = saved {
            return if first == request {
                Ok(Lookup::Saved(answer.clone()))
            } else {
                Err(ApiError::key_reused(&key.key))
            };
        }
        let earlier = saved.map(|saved| saved.request.clone());
        self.running.insert(key.clone());
        Ok(Lookup::New { earlier })
    }

    pub(crate) fn release(&mut self, key: &Key) {
        self.running.remove(key);
    }

    pub(crate) fn save(&mut self, key: Key, request: String, answer: Option<Answer>, now: Duration) {
        let first_used = self.get(&key, now).map_or(now, |saved| saved.first_used);
        self.saved.insert(key, Saved { request, answer, first_used });
    }

    /// Forgets all keys; returns their number.
    pub(crate) fn forget(&mut self) -> usize {
        let count = self.saved.len();
        self.saved.clear();
        count
    }
}
