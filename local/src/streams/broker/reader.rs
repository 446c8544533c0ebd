//! A function's membership in its group.
//!
//! Records are kept here until they are checkpointed: a failed place comes again from here, and the group's commit
//! follows the function's answer. While the function runs, the membership is kept up, so that partitions can be taken
//! away and given to another member. What was collected before that is recognised by its generation and not committed.

use std::{
    collections::{BTreeMap, VecDeque},
    convert::Infallible,
    sync::Arc,
    time::Duration,
};

use anyhow::{Context, Result};
use krafka::{
    Kafka,
    admin::TopicPartition,
    consumer::{
        AutoOffsetReset, Consumer, ConsumerRebalanceListener, IsolationLevel, OffsetAndMetadata,
        PartitionAssignmentStrategy,
    },
};
use parking_lot::Mutex;
use tokio::sync::{mpsc, oneshot};

use super::place;
use crate::streams::{
    Record,
    source::{Batch, Part, Partition, Source},
};

/// How many records of a partition are kept ahead. Beyond that it is paused.
const AHEAD: usize = 1000;

/// How long one poll waits while the function runs.
const POLL: Duration = Duration::from_millis(100);

/// How long the group waits for this member after the stack was killed.
const SESSION: Duration = Duration::from_secs(10);

/// How long a rebalance waits for a member that does not take part. The stack polls all the time, also while a function
/// runs. Less than a session, which for noida-db ends while a member waits for others.
const REBALANCE: Duration = Duration::from_secs(6);

pub(super) type Done = oneshot::Sender<Result<()>>;

/// What `/_local/` changes in a group.
pub(super) enum Change {
    /// Sets a partition back, if its place is beyond this offset.
    Rewind { partition: Partition, offset: i64, done: Done },
    /// Sets partitions to their start.
    Begin { partitions: Vec<Partition>, done: Done },
}

pub(super) struct Reader {
    servers: String,
    group: String,
    consumer: Consumer,
    generations: Generations,
    kept: BTreeMap<Partition, Kept>,
    changes: mpsc::UnboundedReceiver<Change>,
}

/// Records of a partition that are not checkpointed yet.
#[derive(Default)]
struct Kept {
    generation: u64,
    records: VecDeque<Record>,
}

/// How often each partition was taken away or set back.
#[derive(Clone, Default)]
struct Generations(Arc<Mutex<BTreeMap<Partition, u64>>>);

impl Generations {
    fn of(&self, partition: &Partition) -> u64 {
        self.0.lock().get(partition).copied().unwrap_or(0)
    }

    fn next(&self, partition: &Partition) {
        *self.0.lock().entry(partition.clone()).or_default() += 1;
    }

    fn end(&self, partitions: &[TopicPartition], how: &str) {
        for place in partitions {
            tracing::info!("{}-{} was {how}", place.topic(), place.partition());
            self.next(&(place.topic().to_owned(), place.partition().unsigned_abs()));
        }
    }
}

impl ConsumerRebalanceListener for Generations {
    async fn on_partitions_assigned(&self, partitions: &[TopicPartition]) {
        for place in partitions {
            tracing::info!("{}-{} was assigned", place.topic(), place.partition());
        }
    }

    async fn on_partitions_revoked(&self, partitions: &[TopicPartition]) {
        self.end(partitions, "taken away");
    }

    async fn on_partitions_lost(&self, partitions: &[TopicPartition]) {
        self.end(partitions, "lost");
    }
}

impl Reader {
    pub(super) async fn join(
        kafka: &Kafka,
        servers: String,
        group: &str,
        topics: &[String],
        from_latest: bool,
        changes: mpsc::UnboundedReceiver<Change>,
    ) -> Result<Self> {
        let generations = Generations::default();
        let start = if from_latest { AutoOffsetReset::Latest } else { AutoOffsetReset::Earliest };
        let consumer = kafka
            .consumer(group)
            .auto_offset_reset(start)
            .enable_auto_commit(false)
            .isolation_level(IsolationLevel::ReadCommitted)
            // Each rebalance takes all partitions away, so that more batches come again than with the cooperative
            // strategy. Every broker has it; noida-db does not finish the second round of the cooperative one.
            .partition_assignment_strategy(PartitionAssignmentStrategy::Range)
            .session_timeout(SESSION)
            .max_poll_interval(REBALANCE)
            .heartbeat_interval(SESSION / 10)
            .fetch_max_wait(POLL)
            .metrics_push(false)
            .rebalance_listener(generations.clone())
            .build()
            .await
            .with_context(|| format!("cannot read as the group {group}"))?;
        consumer.subscribe(topics).await?;
        Ok(Self { servers, group: group.to_owned(), consumer, generations, kept: BTreeMap::new(), changes })
    }

    /// One poll: keeps up the membership, makes the changes that were asked for, and keeps what comes in.
    async fn poll(&mut self, wait: Duration) -> Result<()> {
        self.pause_what_is_full().await;
        let polled = tokio::select! {
            biased;
            Some(change) = self.changes.recv() => return self.change(change).await,
            polled = self.consumer.poll(wait) => polled,
        };
        self.drop_what_was_taken_away();
        for record in polled? {
            let partition = (record.topic.to_string(), record.partition.unsigned_abs());
            let generation = self.generations.of(&partition);
            let kept = self.kept.entry(partition).or_default();
            kept.generation = generation;
            kept.records.push_back(record.into());
        }
        Ok(())
    }

    fn drop_what_was_taken_away(&mut self) {
        self.kept.retain(|partition, kept| kept.generation == self.generations.of(partition));
    }

    async fn pause_what_is_full(&self) {
        for ((topic, partition), kept) in &self.kept {
            let Ok(partition) = i32::try_from(*partition) else { continue };
            match kept.records.len() >= AHEAD {
                true => self.consumer.pause(topic, &[partition]).await,
                false => self.consumer.resume(topic, &[partition]).await,
            }
        }
    }

    fn take(&mut self, limits: &BTreeMap<Partition, usize>) -> Batch {
        self.drop_what_was_taken_away();
        let parts = self.kept.iter().filter_map(|(partition, kept)| {
            let records: Vec<Record> = kept.records.iter().take(*limits.get(partition)?).cloned().collect();
            let part = Part { records, generation: kept.generation };
            (!part.records.is_empty()).then(|| (partition.clone(), part))
        });
        parts.collect()
    }

    /// An answer nobody waits for any more is no failure of the change.
    async fn change(&mut self, change: Change) -> Result<()> {
        match change {
            Change::Rewind { partition, offset, done } => {
                let made = self.rewind(&partition, offset).await;
                let _ = done.send(made);
            }
            Change::Begin { partitions, done } => {
                let mut made = Ok(());
                for partition in &partitions {
                    made = made.and(self.set(partition, 0).await);
                }
                let _ = done.send(made);
            }
        }
        Ok(())
    }

    async fn rewind(&mut self, partition: &Partition, offset: i64) -> Result<()> {
        let kept = self.kept.get(partition).and_then(|kept| kept.records.front()).map(|record| record.offset);
        let place = match kept {
            Some(offset) => Some(offset),
            None => self.consumer.position(&partition.0, i32::try_from(partition.1)?).await,
        };
        match place {
            Some(place) if offset < place => self.set(partition, offset).await,
            _ => Ok(()),
        }
    }

    /// The group's place becomes this offset, and what was collected is void.
    async fn set(&mut self, partition: &Partition, offset: i64) -> Result<()> {
        self.generations.next(partition);
        self.kept.remove(partition);
        let number = i32::try_from(partition.1)?;
        let is_ours = self.consumer.assignment().await.get(&partition.0).is_some_and(|ours| ours.contains(&number));
        if is_ours {
            self.consumer.seek(&partition.0, number, offset).await?;
        }
        self.commit(partition, offset).await
    }

    async fn commit(&self, (topic, partition): &Partition, offset: i64) -> Result<()> {
        Ok(self.consumer.commit_offsets([(place(topic, *partition)?, OffsetAndMetadata::new(offset))]).await?)
    }
}

impl Source for Reader {
    fn bootstrap_servers(&self) -> &str {
        &self.servers
    }

    async fn partitions(&mut self) -> Result<Vec<Partition>> {
        let assigned = self.consumer.assignment().await;
        let places = assigned.into_iter().flat_map(|(topic, partitions)| {
            partitions.into_iter().map(move |partition| (topic.clone(), partition.unsigned_abs()))
        });
        Ok(places.collect())
    }

    async fn collect(&mut self, limits: &BTreeMap<Partition, usize>, wait: Duration) -> Result<Batch> {
        let batch = self.take(limits);
        // Also with records at hand: the membership lives on polls.
        self.poll(if batch.is_empty() { wait } else { Duration::ZERO }).await?;
        Ok(self.take(limits))
    }

    async fn remain(&mut self) -> Result<Infallible> {
        loop {
            self.poll(POLL).await?;
        }
    }

    async fn checkpoint(&mut self, partition: &Partition, part: &Part, next: i64) -> Result<()> {
        if part.generation != self.generations.of(partition) {
            tracing::warn!(
                "{}: {} records of {}-{} from offset {} on were handled by a function while the partition was taken away \
                 or set back; they are not committed and come again",
                self.group,
                part.records.len(),
                partition.0,
                partition.1,
                part.first()
            );
            return Ok(());
        }
        if next > part.first() {
            self.commit(partition, next).await?;
        }
        if let Some(kept) = self.kept.get_mut(partition) {
            while kept.records.front().is_some_and(|record| record.offset < next) {
                kept.records.pop_front();
            }
        }
        Ok(())
    }
}
