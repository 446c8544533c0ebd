//! The queues of the template, and the long polls that wait for their messages.

use std::{
    collections::BTreeMap,
    sync::Arc,
    time::{Duration, Instant},
};

use rustack_sqs_model::{
    error::SqsError,
    input::{ReceiveMessageInput, SendMessageInput},
    output::SendMessageOutput,
    types::Message,
};
use tokio::sync::Notify;

use super::{
    error::Result,
    queue::{self, Contents},
};
use crate::{
    now,
    storage::Storage,
    template::{Deployment, Queue},
};

#[derive(Clone)]
pub(crate) struct Queues(pub(super) Arc<Inner>);

pub(super) struct Inner {
    pub(super) storage: Storage,
    pub(super) deployment: Deployment,
    /// By name.
    pub(super) queues: BTreeMap<String, Entry>,
}

pub(super) struct Entry {
    pub(super) queue: Queue,
    /// Wakes long polls when a message may have become visible.
    arrival: Notify,
}

impl Queues {
    pub(crate) fn open<'q>(
        storage: Storage,
        deployment: Deployment,
        queues: impl IntoIterator<Item = &'q Queue>,
    ) -> rusqlite::Result<Self> {
        storage.connection().execute_batch(queue::SCHEMA)?;
        queue::release_all(&storage.connection())?;
        let queues = queues
            .into_iter()
            .map(|queue| (queue.name.clone(), Entry { queue: queue.clone(), arrival: Notify::new() }))
            .collect();
        Ok(Self(Arc::new(Inner { storage, deployment, queues })))
    }

    pub(crate) fn send(&self, name: &str, input: SendMessageInput) -> Result<SendMessageOutput> {
        let entry = self.entry(name)?;
        let output = queue::send(&mut self.0.storage.connection(), &entry.queue, &input)?;
        entry.arrival.notify_waiters();
        Ok(output)
    }

    /// Waits up to `wait` for the first message (AWS, "Amazon SQS short and long polling").
    pub(crate) async fn receive(
        &self,
        name: &str,
        input: &ReceiveMessageInput,
        wait: Duration,
    ) -> Result<Vec<Message>> {
        let entry = self.entry(name)?;
        let until = Instant::now() + wait;
        loop {
            let arrival = entry.arrival.notified();
            tokio::pin!(arrival);
            // Listening starts before the look, or a message sent in between would wake nobody.
            arrival.as_mut().enable();
            let (messages, next) = {
                let mut connection = self.0.storage.connection();
                // Before the look: what becomes visible during it would be missed by both, and wake nobody.
                let before = now::milliseconds();
                let messages = queue::receive(&mut connection, &entry.queue, input)?;
                (messages, queue::next_visible(&connection, &entry.queue, before)?)
            };
            self.wake_dead_letters(&entry.queue);
            let rest = until.saturating_duration_since(Instant::now());
            if !messages.is_empty() || rest.is_zero() {
                return Ok(messages);
            }
            let sleep = next.map_or(rest, |next| next.max(Duration::from_millis(1)).min(rest));
            tokio::select! {
                () = arrival => {}
                () = tokio::time::sleep(sleep) => {}
            }
        }
    }

    pub(crate) fn delete(&self, name: &str, receipt: &str) -> Result<()> {
        let entry = self.entry(name)?;
        queue::delete(&self.0.storage.connection(), &entry.queue, receipt)?;
        // On a FIFO queue this may free a group.
        entry.arrival.notify_waiters();
        Ok(())
    }

    pub(crate) fn change_visibility(&self, name: &str, receipt: &str, seconds: i32) -> Result<()> {
        let entry = self.entry(name)?;
        queue::change_visibility(&self.0.storage.connection(), &entry.queue, receipt, seconds)?;
        entry.arrival.notify_waiters();
        Ok(())
    }

    pub(crate) fn contents(&self, name: &str) -> Result<Contents> {
        queue::contents(&self.0.storage.connection(), &self.entry(name)?.queue)
    }

    /// Back to the sources; how many went.
    pub(crate) fn redrive(&self, name: &str) -> Result<usize> {
        let sources = queue::redrive(&mut self.0.storage.connection(), &self.entry(name)?.queue, self.source_of(name))?;
        for source in &sources {
            self.entry(source)?.arrival.notify_waiters();
        }
        Ok(sources.len())
    }

    /// A queue whose dead letters go to `name`.
    fn source_of(&self, name: &str) -> Option<&str> {
        let is_target = |queue: &&Queue| {
            queue.redrive.as_ref().is_some_and(|redrive| redrive.dead_letter_target_arn.ends_with(&format!(":{name}")))
        };
        self.0.queues.values().map(|entry| &entry.queue).find(is_target).map(|queue| queue.name.as_str())
    }

    pub(super) fn entry(&self, name: &str) -> Result<&Entry> {
        self.0
            .queues
            .get(name)
            .ok_or_else(|| SqsError::non_existent_queue("The specified queue does not exist.").into())
    }

    pub(super) fn entry_of_url(&self, url: &str) -> Result<&Entry> {
        self.entry(url.rsplit('/').next().unwrap_or_default())
    }

    fn wake_dead_letters(&self, queue: &Queue) {
        let target = queue.redrive.as_ref().and_then(|redrive| redrive.dead_letter_target_arn.rsplit(':').next());
        if let Some(entry) = target.and_then(|target| self.0.queues.get(target)) {
            entry.arrival.notify_waiters();
        }
    }
}
