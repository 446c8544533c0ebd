//! A Kafka partition or a shard of a table's stream, its event source mapping, and pollers that run independently of
//! each other.

use std::collections::{BTreeMap, BTreeSet};

use aws_lambda_events::event::dynamodb::EventRecord;
use aws_sdk_dynamodb::types::TransactWriteItem;
use futures::future::FutureExt;
use idempotency::protocol::Principal;
use idempotency::sequence::Gap;
use idempotency::streams::{Kafka, KafkaBatch, Record, Stream, TableBatch, TableStream};
use idempotency::{Attempt, Verdict};
use parking_lot::Mutex;
use serde_json::json;

use super::network::Process;
use super::numbered::{Numbered, numbered};
use super::sandbox::{REPEAT, deadline, operation};
use super::table::effect;
use super::{Breakage, Scenario, World};
use crate::fault::Fault;

struct Partition<'a> {
    world: &'a World,
    /// The content of the records if they are numbered.
    numbered: Vec<Numbered>,
    mapping: Mutex<Mapping>,
}

/// The state of the event source mapping.
#[derive(Default)]
struct Mapping {
    /// How often the topic was recreated.
    life: u64,
    /// The offset below which everything is done or given up.
    checkpoint: u64,
    /// How often a record was returned.
    returned: BTreeMap<(u64, u64), usize>,
    /// The records given up, for the on-failure destination.
    given_up: BTreeSet<(u64, u64)>,
}

/// The records of one life of the topic between two offsets.
#[derive(Clone, Copy, Debug)]
struct Batch {
    life: u64,
    first: u64,
    end: u64,
}

/// The content of a record, by its offset.
enum Content {
    /// It always fails.
    Poison,
    /// It has its own effect, and may write an item that other records write as well.
    Plain { shares: bool },
    /// A device's message.
    Numbered(Numbered),
}

/// The offset of the record that always fails.
const POISON: u64 = 1;

pub(super) async fn run(world: &World) {
    let partition = Partition { world, numbered: devices_messages(world), mapping: Mutex::default() };
    let rounds = world.size(if world.scenario == Scenario::StreamOfAClockAhead { 2 } else { 1 }, 4);
    let pollers = (0..2).map(|_| partition.poller(rounds).boxed());
    world.network.run(pollers.collect()).await;
    world.network.stop_faults();
    for _ in 0..40 {
        if partition.mapping.lock().checkpoint == partition.records() {
            break;
        }
        if world.scenario.is_of_a_table() {
            world.network.pass_time();
        }
        world.network.run(vec![partition.poller(1).boxed()]).await;
    }
    partition.count();
}

/// The devices' messages if records are numbered: some twice, some too early, some with other content.
fn devices_messages(world: &World) -> Vec<Numbered> {
    numbered(match (world.scenario, world.is_large) {
        (Scenario::StreamThroughTheGate, false) => "a 1, a 1",
        (Scenario::StreamThroughTheGate, true) => "a 1, b 1, a 2, a 2, b 1, a 3, b 2, a 4",
        (Scenario::StreamAtAGap, false) => "a 1, a 3",
        (Scenario::StreamAtAGap, true) => "a 1, a 2, a 2, b 1, a 3, b 3, b 2, a 4",
        (Scenario::StreamMeetsOtherContent, false) => "a 1, a 1 other",
        (Scenario::StreamMeetsOtherContent, true) => "a 1, b 1, a 1 other, a 2, b 1 other, a 2, a 2 other, a 3",
        _ => "",
    })
}

impl Partition<'_> {
    fn records(&self) -> u64 {
        let small = if self.world.scenario == Scenario::TableStream { 2 } else { 3 };
        if self.numbered.is_empty() { self.world.size(small, 8) } else { self.numbered.len() as u64 }
    }

    fn content(&self, offset: u64) -> Content {
        match (self.numbered.get(offset as usize), offset) {
            (Some(numbered), _) => Content::Numbered(*numbered),
            (None, POISON) if self.records() > 2 => Content::Poison,
            (None, _) => Content::Plain { shares: offset % 3 == 2 },
        }
    }

    async fn poller(&self, rounds: usize) {
        for _ in 0..rounds {
            let process = self.world.begin().await;
            let Some(batch) = self.receive() else { return };
            let answered = process.live(self.handle(&process, batch)).await;
            self.world.oracle.log(format!("{batch:?}: {answered:?}"));
            match answered {
                Some(returned) => self.settle(batch, returned),
                None => self.world.oracle.note("a process died"),
            }
        }
    }

    fn receive(&self) -> Option<Batch> {
        let network = &self.world.network;
        let mut mapping = self.mapping.lock();
        if self.world.scenario == Scenario::StreamCreatedAnew && mapping.life < 2 && network.occurs(Fault::Recreate) {
            self.world.oracle.note("created anew");
            mapping.life += 1;
            mapping.checkpoint = 0;
        }
        let mut first = mapping.checkpoint;
        if first > 0 && network.occurs(Fault::Redeliver) {
            self.world.oracle.note("delivered again");
            first -= 1 + network.choices(|choices| choices.pick(first as usize)) as u64;
        }
        let end = (first + self.world.size(3, 5) as u64).min(self.records());
        (first < end).then_some(Batch { life: mapping.life, first, end })
    }

    /// Handles a batch. Returns the offset to deliver again from.
    async fn handle(&self, process: &Process, batch: Batch) -> Option<u64> {
        if self.world.scenario.is_of_a_table() {
            return self.handle_changes(process, batch).await;
        }
        let (engine, deadline) = (self.world.engine(process), deadline(&process.network));
        let kafka = Kafka::new(Stream::new(engine, operation(), "cluster"));
        let run = |attempt, record: Record| {
            std::future::ready(self.work(&attempt, offset(Some(&record.position.to_string())), batch.life))
        };
        let response =
            kafka.handle(batch.event(self.ahead()), deadline, run).await.expect("every offset can be reported");
        response.batch_item_failures.first().map(|failure| failure.item_identifier.offset.unsigned_abs())
    }

    async fn handle_changes(&self, process: &Process, batch: Batch) -> Option<u64> {
        let (engine, deadline) = (self.world.engine(process), deadline(&process.network));
        let (operation, principal) = (operation().uncertain(REPEAT), Principal::new("table").expect("valid"));
        let stream = TableStream::new(engine, operation, principal);
        let stream = if self.world.scenario == Scenario::TableStream { stream } else { stream.single_write() };
        let run = |attempt, change: EventRecord| {
            std::future::ready(self.work(&attempt, offset(change.change.sequence_number.as_deref()), batch.life))
        };
        let response = stream.handle(self.changes(batch), deadline, run).await.expect("every change has a number");
        response.batch_item_failures.first().map(|failure| offset(failure.item_identifier.as_deref()))
    }

    fn changes(&self, batch: Batch) -> TableBatch {
        let changes = (batch.first..batch.end).map(|offset| {
            let delivery = if self.world.is(Breakage::EventIdsChange) { fastrand::u64(..) } else { 0 };
            json!({
                "eventID": format!("{offset} {delivery}"), "eventName": "INSERT", "awsRegion": "eu-central-1",
                "dynamodb": {"ApproximateCreationDateTime": 1, "SequenceNumber": offset.to_string(), "SizeBytes": 1},
            })
        });
        serde_json::from_value(json!({"Records": Vec::from_iter(changes)})).expect("an event")
    }

    fn work(&self, attempt: &Attempt<TransactWriteItem>, offset: u64, life: u64) -> Verdict<()> {
        if self.world.network.occurs(Fault::FailHandler) {
            return Verdict::NotExecuted(());
        }
        match self.content(offset) {
            Content::Poison => return Verdict::NotExecuted(()),
            Content::Plain { shares } => {
                attempt.add_effect(effect(&format!("{life} {offset}")));
                if shares {
                    attempt.add_effect(effect("shared"));
                }
            }
            Content::Numbered(message) => message.pass(attempt, self.world.gap(Gap::Hold)),
        }
        Verdict::Success(())
    }

    fn settle(&self, batch: Batch, returned: Option<u64>) {
        let mut mapping = self.mapping.lock();
        if mapping.life != batch.life {
            return self.world.oracle.note("of an earlier life");
        }
        let done = match returned {
            Some(_) if self.world.is(Breakage::ResponseAlwaysEmpty) => batch.end,
            Some(offset) if self.world.is(Breakage::CheckpointPastTheFailed) => offset + 1,
            Some(offset) => {
                let returned = mapping.returned.entry((batch.life, offset)).or_default();
                *returned += 1;
                if *returned > self.retries() {
                    mapping.given_up.insert((batch.life, offset));
                    self.world.oracle.note("a record was given up");
                    offset + 1
                } else {
                    offset
                }
            }
            None => batch.end,
        };
        mapping.checkpoint = mapping.checkpoint.max(done);
    }

    /// The mapping's `MaximumRetryAttempts`.
    fn retries(&self) -> usize {
        if self.world.scenario == Scenario::StreamOfAClockAhead { 0 } else { 2 }
    }

    /// The record whose producer's clock is far ahead of all others.
    fn ahead(&self) -> Option<u64> {
        (self.world.scenario == Scenario::StreamOfAClockAhead).then_some(POISON)
    }

    fn count(&self) {
        let (mapping, oracle) = (self.mapping.lock(), &self.world.oracle);
        if self.world.scenario != Scenario::StreamCreatedAnew {
            oracle.expect(oracle.count_of("WatermarkRegression") == 0, "a false alarm: the topic is the same");
        }
        if !self.world.scenario.has_other_content() {
            oracle.expect(oracle.count_of("SequenceConflict") == 0, "a duplicate was taken for a conflict");
        }
        oracle.expect(mapping.checkpoint == self.records(), "in the end the partition is done");
        match self.numbered.is_empty() {
            true => self.count_plain(&mapping),
            false => self.count_numbered(&mapping),
        }
    }

    fn count_plain(&self, mapping: &Mapping) {
        let oracle = &self.world.oracle;
        for life in 0..=mapping.life {
            let offsets = oracle.numbers(&life.to_string());
            let is_given_up = |offset: &u64| mapping.given_up.contains(&(life, *offset));
            let once = offsets.iter().all(|one| offsets.iter().filter(|other| *other == one).count() == 1);
            // A change that is in progress when the mapping gives it up may still complete, after later ones.
            let mut in_order = offsets.clone();
            in_order.retain(|offset| !self.world.scenario.is_of_a_table() || !is_given_up(offset));
            oracle.expect(once && in_order.is_sorted(), "records once, and in order");
            for offset in (0..self.records()).filter(|_| life == mapping.life) {
                oracle.expect(offsets.contains(&offset) || is_given_up(&offset), "G9: a record was skipped");
            }
        }
    }

    fn count_numbered(&self, mapping: &Mapping) {
        let done = self.numbered.iter().zip(0..).filter(|(_, offset)| !mapping.given_up.contains(&(0, *offset)));
        let done = Vec::from_iter(done.map(|(message, _)| message));
        let kept = done.iter().all(|message| message.is_kept(&self.world.table));
        self.world.oracle.expect(kept, "G6: other content under a used number was swallowed");
        for device in ["a", "b"] {
            let own = done.iter().filter(|message| message.of == device).map(|message| message.number);
            self.world.oracle.expect_in_sequence(Gap::Hold, device, own);
        }
    }
}

impl Batch {
    fn event(self, ahead: Option<u64>) -> KafkaBatch {
        // The timestamps distinguish a record from the one at the same offset in an earlier life.
        let born = [1_700_000_000_000, 32_000_000_000_000, 33_000_000_000_000][self.life as usize];
        let records = (self.first..self.end).map(|offset| {
            let clock = if ahead == Some(offset) { 90_000_000_000_000 } else { born };
            let timestamp = clock + 1000 * offset;
            json!({"topic": "topic", "partition": 0, "offset": offset, "timestamp": timestamp, "headers": []})
        });
        serde_json::from_value(json!({"records": {"topic-0": Vec::from_iter(records)}})).expect("an event")
    }
}

/// The offset for a sequence number.
fn offset(number: Option<&str>) -> u64 {
    number.and_then(|number| number.parse().ok()).expect("an offset")
}
