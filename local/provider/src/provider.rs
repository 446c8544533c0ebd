//! The provider: keys, objects and faults.

use std::time::Duration;

use serde::Serialize;
use serde_json::Value;

use crate::{
    answer::Answer,
    breakdown::{Breakdown, When},
    change::Change,
    command::Command,
    error::ApiError,
    faults::{self, Fault},
    form::Form,
    ids::Ids,
    intent::Intent,
    keys::{Key, Keys, Lookup, Saved},
    objects::{Charge, Objects},
    perform::Performance,
    refund::Refund,
};

/// The state of the provider.
#[derive(Debug)]
pub struct Provider {
    keys: Keys,
    objects: Objects,
    ids: Ids,
    /// Requests that were neither executed nor answered: still on their way.
    held: Vec<Write>,
    /// Requests whose first try met a fault and lost its key; under their next key they meet none.
    exempt: Vec<String>,
    breakdown: Option<Breakdown>,
    changes: Vec<Change>,
}

/// A request that changes something: its path, its parameters and its idempotency key.
#[derive(Debug, Clone)]
pub struct Write {
    pub path: String,
    pub form: Form,
    pub key: Option<Key>,
}

/// A valid request that is not executed yet. Its key is in use until [`Provider::execute`] or [`Provider::hold`].
#[derive(Debug)]
#[must_use]
pub struct AdmittedWrite {
    write: Write,
    /// Path and parameters, in which the idempotency key must not vary.
    request: String,
    command: Command,
    is_first_attempt: bool,
}

/// The outcome of [`Provider::admit`].
#[derive(Debug)]
pub enum Admission {
    New(Box<AdmittedWrite>),
    /// The request was executed before, with this result.
    Saved(Answer),
}

/// The result of a request that arrived late.
#[derive(Debug, Serialize)]
pub struct Delivered {
    pub idempotency_key: Option<String>,
    pub status: u16,
    pub body: Value,
}

impl Provider {
    /// An empty provider. `memory` is how long it remembers a key; `None`: until [`Provider::forget_keys`].
    pub fn new(seed: u64, memory: Option<Duration>) -> Self {
        Self {
            keys: Keys::new(memory),
            objects: Objects::default(),
            ids: Ids::new(seed),
            held: Vec::new(),
            exempt: Vec::new(),
            breakdown: None,
            changes: Vec::new(),
        }
    }

    /// Adds the objects and keys of an earlier run, from its [changes](Change).
    pub fn restore(
        &mut self,
        intents: Vec<(Intent, Option<String>)>,
        refunds: Vec<Refund>,
        keys: impl IntoIterator<Item = (Key, Saved)>,
    ) {
        self.objects = Objects::restore(intents, refunds);
        keys.into_iter().for_each(|(key, saved)| self.keys.save(key, saved.request, saved.answer, saved.first_used));
    }

    /// The changes since the last call, in order.
    pub fn take_changes(&mut self) -> Vec<Change> {
        let mut changes = self.objects.take_changes();
        changes.append(&mut self.changes);
        changes
    }

    /// Looks up the key, then validates the parameters: a request that is not valid leaves its key free (Stripe,
    /// "Idempotent requests").
    pub fn admit(&mut self, write: Write, now: Duration) -> Result<Admission, ApiError> {
        let request = write.to_text();
        let lookup = match &write.key {
            Some(key) => self.keys.reserve(key, &request, now)?,
            None => Lookup::New { earlier: None },
        };
        let earlier = match lookup {
            Lookup::Saved(answer) => return Ok(Admission::Saved(answer)),
            Lookup::New { earlier } => earlier,
        };
        let command = match Command::read(&write.path, &write.form, &self.objects, &mut self.ids, now) {
            Ok(command) => command,
            Err(error) => {
                self.release(&write);
                return Err(error);
            }
        };
        let is_first_attempt = earlier.is_none();
        let displaced = earlier.filter(|earlier| *earlier != request);
        self.exempt.extend(displaced.map(|earlier| faults::without_transaction(&earlier)));
        Ok(Admission::New(Box::new(AdmittedWrite { write, request, command, is_first_attempt })))
    }

    /// The fault that an admitted request meets, because of its payment method.
    pub fn fault(&mut self, admitted: &AdmittedWrite) -> Option<Fault> {
        admitted.command.fault().filter(|_| admitted.is_first_attempt && !self.is_exempt(&admitted.request))
    }

    /// Executes a request and saves its result under its key.
    pub fn execute(&mut self, admitted: AdmittedWrite, now: Duration) -> Answer {
        let AdmittedWrite { write, request, command, .. } = admitted;
        let broken = self.breakdown.as_mut().and_then(|breakdown| breakdown.affects(&write.path));
        let result = if broken == Some(When::Before) {
            Ok(Value::Null)
        } else {
            let key = write.key.as_ref().map(|key| key.key.clone());
            Performance { objects: &mut self.objects, ids: &mut self.ids, now, key }.perform(command)
        };
        let answer = match result {
            _ if broken.is_some() => ApiError::breakdown().answer(),
            Ok(body) => Answer::new(200, &body),
            Err(error) => error.answer(),
        };
        self.save(&write, request, Some(&answer), now);
        self.release(&write);
        answer
    }

    /// Records that an admitted request was tried: the next one under its key is not the first.
    pub fn remember_attempt(&mut self, admitted: &AdmittedWrite, now: Duration) {
        self.save(&admitted.write, admitted.request.clone(), None, now);
    }

    /// Holds a request back, as if it were on its way from a frozen sandbox, until [`Provider::deliver`].
    pub fn hold(&mut self, admitted: AdmittedWrite) {
        self.release(&admitted.write);
        self.held.push(admitted.write);
    }

    /// Delivers everything that is on its way: held requests, after their callers have gone, and the banks' final
    /// replies on refunds.
    pub fn deliver(&mut self, now: Duration) -> Vec<Delivered> {
        self.objects.settle_refunds();
        let held = std::mem::take(&mut self.held);
        held.into_iter().map(|write| self.deliver_one(write, now)).collect()
    }

    fn deliver_one(&mut self, write: Write, now: Duration) -> Delivered {
        let idempotency_key = write.key.as_ref().map(|key| key.key.clone());
        let answer = match self.admit(write, now) {
            Ok(Admission::New(admitted)) => self.execute(*admitted, now),
            Ok(Admission::Saved(answer)) => answer,
            Err(error) => error.answer(),
        };
        Delivered { idempotency_key, status: answer.status, body: answer.json() }
    }

    /// Ends a breakdown. Returns whether requests were still to fail.
    pub fn mend(&mut self) -> bool {
        self.breakdown.take().is_some_and(|breakdown| breakdown.times > 0)
    }

    /// From now on requests fail at the provider, as described.
    pub fn break_down(&mut self, breakdown: Breakdown) {
        self.breakdown = Some(breakdown);
    }

    /// Forgets all idempotency keys, as Stripe does after a day; returns their number. The objects stay.
    pub fn forget_keys(&mut self) -> usize {
        self.changes.push(Change::KeysForgotten);
        self.keys.forget()
    }

    /// The request and result that it remembers under a key.
    pub fn saved(&self, key: &Key, now: Duration) -> Option<&Saved> {
        self.keys.get(key, now)
    }

    /// All intents, oldest first.
    pub fn intents(&self) -> impl DoubleEndedIterator<Item = &Intent> {
        self.objects.intents()
    }

    /// An intent.
    pub fn intent(&self, id: &str) -> Result<&Intent, ApiError> {
        self.objects.expect(id)
    }

    /// All refunds, oldest first.
    pub fn refunds(&self) -> impl DoubleEndedIterator<Item = &Refund> {
        self.objects.refunds()
    }

    /// A refund.
    pub fn refund(&self, id: &str) -> Result<&Refund, ApiError> {
        let mut refunds = self.objects.refunds();
        refunds.find(|refund| refund.id == id).ok_or_else(|| ApiError::missing("refund", id).with_status(404))
    }

    /// The real charges, oldest first.
    pub fn charges(&self) -> Vec<Charge> {
        self.objects.charges()
    }

    /// Whether the request follows one that met a fault and lost its key. Once.
    fn is_exempt(&mut self, request: &str) -> bool {
        let request = faults::without_transaction(request);
        let position = self.exempt.iter().position(|other| *other == request);
        position.map(|position| self.exempt.swap_remove(position)).is_some()
    }

    fn save(&mut self, write: &Write, request: String, answer: Option<&Answer>, now: Duration) {
        let Some(key) = &write.key else { return };
        self.keys.save(key.clone(), request.clone(), answer.cloned(), now);
        self.changes.push(Change::Key { key: key.clone(), request, answer: answer.cloned() });
    }

    fn release(&mut self, write: &Write) {
        if let Some(key) = &write.key {
            self.keys.release(key);
        }
    }
}

impl Write {
    /// Path and parameters: what must be the same in each request under one key.
    pub fn to_text(&self) -> String {
        format!("POST {}\n{}", self.path, self.form)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const DAY: Duration = Duration::from_secs(24 * 60 * 60);

    fn charge(amount: &str) -> Write {
        let form = Form::new([
            ("amount", amount),
            ("currency", "eur"),
            ("payment_method", "pm_card_visa"),
            ("confirm", "true"),
        ]);
        let key = Key { account: "account".to_owned(), key: "key".to_owned() };
        Write { path: "/v1/payment_intents".to_owned(), form, key: Some(key) }
    }

    /// The result of a request, and whether it was executed for that.
    fn send(provider: &mut Provider, write: Write, now: Duration) -> (u16, String, bool) {
        let (answer, is_new) = match provider.admit(write, now) {
            Ok(Admission::New(admitted)) => (provider.execute(*admitted, now), true),
            Ok(Admission::Saved(answer)) => (answer, false),
            Err(error) => (error.answer(), false),
        };
        (answer.status, answer.body, is_new)
    }

    #[test]
    fn a_key_is_remembered_from_its_first_use_for_as_long_as_the_provider_remembers() {
        let mut provider = Provider::new(1, Some(DAY));
        let first = send(&mut provider, charge("1999"), Duration::ZERO);
        assert_eq!((first.0, first.2), (200, true));
        let late = DAY - Duration::from_millis(1);
        assert_eq!(send(&mut provider, charge("1999"), late), (200, first.1.clone(), false));
        assert_eq!(send(&mut provider, charge("2000"), late).0, 400, "other parameters under the key");
        assert_eq!(provider.charges().len(), 1);
        let forgotten = send(&mut provider, charge("1999"), DAY);
        assert_eq!((forgotten.0, forgotten.2, provider.charges().len()), (200, true, 2));
        assert_ne!(forgotten.1, first.1);
    }

    #[test]
    fn the_same_requests_to_the_same_seed_have_the_same_results_and_restore_the_state() {
        let run = || {
            let mut provider = Provider::new(7, None);
            let body = send(&mut provider, charge("1999"), DAY).1;
            (body, provider.take_changes())
        };
        let ((first, changes), (second, _)) = (run(), run());
        assert_eq!(first, second);

        let (mut intents, mut keys) = (Vec::new(), Vec::new());
        for change in changes {
            match change {
                Change::Intent { intent, idempotency_key } => intents = vec![(*intent, idempotency_key)],
                Change::Key { key, request, answer } => keys.push((key, Saved { request, answer, first_used: DAY })),
                Change::Refund(_) | Change::KeysForgotten => unreachable!("only a charge"),
            }
        }
        let mut restored = Provider::new(8, None);
        restored.restore(intents, Vec::new(), keys);
        assert_eq!(send(&mut restored, charge("1999"), DAY), (200, first, false));
        assert_eq!(restored.charges()[0].idempotency_key.as_deref(), Some("key"));
    }
}
