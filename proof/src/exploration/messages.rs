//! SQS queues, with message groups or with the numbered messages of devices, and sandboxes that receive from them.

use std::sync::Arc;

use aws_lambda_events::event::sqs::{SqsEvent, SqsMessage};
use aws_sdk_dynamodb::types::TransactWriteItem;
use futures::future::FutureExt;
use idempotency::engine::Clock;
use idempotency::protocol::{Pointer, Principal};
use idempotency::sqs::{Contention, KeySource, Message as Delivered};
use idempotency::{Attempt, Engine, Queue, Verdict};
use parking_lot::Mutex;

use super::network::Process;
use super::numbered::{Numbered, numbered};
use super::sandbox::{REPEAT, Remote, deadline, operation};
use super::table::effect;
use super::{Breakage, Scenario, World};
use crate::fault::Fault;

struct Messages<'a> {
    world: &'a World,
    shelf: Arc<Mutex<Vec<Message>>>,
}

/// A message, and its state in the queue.
struct Message {
    /// The message of a FIFO group, or of a device.
    sent: Numbered,
    poison: bool,
    receives: u64,
    state: State,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    Visible,
    /// Received this many times.
    InFlight(u64),
    Deleted,
    Dead,
}

/// The number of receives after which the redrive policy moves a message.
const MAX_RECEIVES: u64 = 3;

pub(super) async fn run(world: &World) {
    let messages = Messages { world, shelf: Arc::new(Mutex::new(sent(world))) };
    let sandboxes = (0..2).map(|_| messages.sandbox(world.size(1, 4)).boxed());
    world.network.run(sandboxes.collect()).await;
    world.network.stop_faults();
    for _ in 0..20 {
        world.network.pass_time();
        world.network.run(vec![messages.sandbox(1).boxed()]).await;
    }
    messages.count();
}

/// The initial content of the queue. The messages of devices come in any order, and some of them under a second key as
/// well.
fn sent(world: &World) -> Vec<Message> {
    let (is_fifo, has_other) = (world.scenario.is_fifo(), world.scenario.has_other_content());
    let mut sent = numbered(match (is_fifo, has_other, world.is_large) {
        (true, _, false) => "a 1, a 2",
        (true, _, true) => "a 1, b 1, a 2, b 2, a 3, c 1, c 2",
        (false, true, false) => "a 1, a 1 other",
        (false, true, true) => "a 1, a 2, a 1 other, a 2 again, b 1, a 2 other, b 1 other, a 3",
        (false, false, false) => "a 2, a 1, a 1 again",
        (false, false, true) => "a 1, a 2, b 1, a 2 again, a 3, b 2, a 5",
    });
    if !is_fifo && world.is_large {
        (1..sent.len()).for_each(|place| sent.swap(place, world.network.choices(|choices| choices.pick(place + 1))));
    }
    let message = |sent: Numbered| Message {
        poison: is_fifo && sent.of == "b" && sent.number == 1,
        sent,
        receives: 0,
        state: State::Visible,
    };
    sent.into_iter().map(message).collect()
}

impl Messages<'_> {
    async fn sandbox(&self, rounds: usize) {
        for _ in 0..rounds {
            let process = self.world.begin().await;
            let batch = self.receive();
            if batch.is_empty() {
                continue;
            }
            let answered = process.live(self.handle(&process, &batch)).await;
            self.world.oracle.log(format!("{batch:?} returned {answered:?}"));
            self.settle(&batch, answered);
        }
    }

    /// Receives messages: their indexes, and how often each was received. No message of a group is delivered while an
    /// earlier one is in flight.
    fn receive(&self) -> Vec<(usize, u64)> {
        if self.world.scenario.has_gate() && self.world.network.occurs(Fault::Expire) {
            self.world.oracle.note("records expired");
            self.world.table.forget();
        }
        let mut shelf = self.shelf.lock();
        let mut batch = Vec::new();
        for place in 0..shelf.len() {
            let of = shelf[place].sent.of;
            let is_held = self.world.scenario.is_fifo()
                && shelf.iter().enumerate().any(|(other, message)| {
                    message.sent.of == of
                        && matches!(message.state, State::InFlight(_))
                        && batch.iter().all(|(taken, _)| *taken != other)
                });
            let message = &mut shelf[place];
            if message.state != State::Visible || is_held {
                continue;
            }
            message.receives += 1;
            if message.receives > MAX_RECEIVES {
                message.state = State::Dead;
                self.world.oracle.note("a message is dead");
            } else {
                message.state = State::InFlight(message.receives);
                batch.push((place, message.receives));
            }
        }
        drop(shelf);
        if !batch.is_empty() && self.world.network.occurs(Fault::Redeliver) {
            self.show_later(batch.clone());
        }
        batch
    }

    /// Ends the visibility timeout while the messages are handled.
    fn show_later(&self, batch: Vec<(usize, u64)>) {
        let (shelf, oracle) = (Arc::clone(&self.shelf), self.world.oracle.clone());
        self.world.network.later(move || {
            let mut shelf = shelf.lock();
            for (place, receives) in batch {
                if shelf[place].state == State::InFlight(receives) {
                    oracle.note("delivered again");
                    shelf[place].state = State::Visible;
                }
            }
        });
    }

    /// Handles a batch. Returns the indexes of the messages to deliver again.
    async fn handle(&self, process: &Process, batch: &[(usize, u64)]) -> Vec<usize> {
        let queue = self.queue(self.world.engine(process));
        let deadline = deadline(&process.network);
        let mut event = SqsEvent::default();
        event.records = batch.iter().map(|(place, receives)| self.delivered(*place, *receives)).collect();
        let begun = Mutex::new(Vec::new());
        let run = |attempt, message: Delivered<'_>| {
            let place = place(message.message_id.as_deref());
            begun.lock().push(place);
            std::future::ready(self.work(&attempt, place))
        };
        let event = event.into();
        let response = queue.handle(&event, deadline, run).await.expect("every message has an id");
        let returned = response.batch_item_failures.iter().map(|failure| place(Some(&failure.item_identifier)));
        let begun = begun.into_inner();
        if begun.len() < batch.len() && process.network.now() > deadline {
            self.world.oracle.note("left for the deadline");
        }
        match self.world.breakage {
            Some(Breakage::ResponseAlwaysEmpty) => Vec::new(),
            Some(Breakage::NotBegunTakenForSettled) => returned.filter(|place| begun.contains(place)).collect(),
            _ => returned.collect(),
        }
    }

    fn queue(&self, engine: Engine<Remote>) -> Queue<Remote> {
        let principal = Principal::new("producer").expect("valid");
        let key = KeySource::pointer(Pointer::new("/id").expect("valid"));
        let queue = Queue::new(engine, operation().uncertain(REPEAT), principal, key);
        let ranks = self.world.size(0, 1);
        match self.world.scenario {
            Scenario::Fifo => queue,
            Scenario::GateHolds | Scenario::GateAccepts | Scenario::GateMeetsOtherContent => {
                queue.single_write().contention(move |message| {
                    let body = message.body.as_deref().unwrap_or_default();
                    let number = body.bytes().find(u8::is_ascii_digit).map_or(0, |digit| u64::from(digit - b'0'));
                    Contention::none().on(&body[..r#"{"id":"a"#.len()]).rank(number * ranks)
                })
            }
            _ => queue.single_write(),
        }
    }

    fn delivered(&self, place: usize, receives: u64) -> SqsMessage {
        let shelf = self.shelf.lock();
        let mut message = SqsMessage::default();
        message.message_id = Some(place.to_string());
        message.body = Some(format!(r#"{{"id":"{}"}}"#, shelf[place].sent.id));
        let suffix =
            if self.world.scenario.is_fifo() && !self.world.is(Breakage::GroupsForgotten) { ".fifo" } else { "" };
        message.event_source_arn = Some(format!("arn:aws:sqs:eu-central-1:123456789012:Queue{suffix}"));
        message.attributes.insert("ApproximateReceiveCount".to_owned(), receives.to_string());
        message.attributes.insert("MessageGroupId".to_owned(), shelf[place].sent.of.to_owned());
        message
    }

    fn work(&self, attempt: &Attempt<TransactWriteItem>, place: usize) -> Verdict<()> {
        let shelf = self.shelf.lock();
        let Message { sent, poison, .. } = shelf[place];
        if poison || self.world.network.occurs(Fault::FailHandler) {
            return Verdict::NotExecuted(());
        }
        if self.world.scenario.has_gate() {
            sent.pass(attempt, self.world.gap(self.world.scenario.gap()));
        } else {
            attempt.add_effect(effect(&format!("{} {}", sent.of, sent.number)));
        }
        Verdict::Success(())
    }

    /// Settles the messages of a batch; all are redelivered if the process died. A FIFO queue does not return or delete
    /// a message that is visible again.
    fn settle(&self, batch: &[(usize, u64)], returned: Option<Vec<usize>>) {
        if returned.is_none() {
            self.world.oracle.note("a process died");
        }
        let mut shelf = self.shelf.lock();
        for (place, receives) in batch {
            let is_returned = returned.as_ref().is_none_or(|returned| returned.contains(place));
            let message = &mut shelf[*place];
            let is_ours = message.state == State::InFlight(*receives);
            match (is_returned, is_ours) {
                (true, true) => message.state = State::Visible,
                (false, true) => message.state = State::Deleted,
                (false, false) if !self.world.scenario.is_fifo() && message.state != State::Dead => {
                    message.state = State::Deleted;
                }
                (true | false, false) => {}
            }
        }
    }

    fn count(&self) {
        let (shelf, oracle) = (self.shelf.lock(), &self.world.oracle);
        for message in shelf.iter() {
            let is_open = matches!(message.state, State::Visible | State::InFlight(_));
            oracle.expect(!is_open, "in the end a message is deleted or dead");
        }
        for of in ["a", "b", "c"] {
            let done = || shelf.iter().filter(|message| message.sent.of == of && message.state == State::Deleted);
            if self.world.scenario.is_fifo() {
                let numbers = oracle.numbers(of);
                let once = numbers.iter().all(|one| numbers.iter().filter(|other| *other == one).count() == 1);
                oracle.expect(once, "effects of messages once");
                oracle.expect(done().all(|message| numbers.contains(&message.sent.number)), "G9: a message was lost");
                let settled = numbers.iter().filter(|number| done().any(|message| message.sent.number == **number));
                oracle.expect(settled.is_sorted(), "effects of a group in order");
            } else {
                oracle.expect_in_sequence(self.world.scenario.gap(), of, done().map(|message| message.sent.number));
            }
        }
        if self.world.scenario.has_other_content() {
            let done = || shelf.iter().filter(|message| message.state == State::Deleted);
            let kept = |message: &Message| message.sent.is_kept(&self.world.table);
            oracle.expect(done().all(kept), "G6: other content under a used number was swallowed");
        } else {
            oracle.expect(oracle.count_of("SequenceConflict") == 0, "a duplicate was taken for a conflict");
        }
    }
}

fn place(id: Option<&str>) -> usize {
    id.and_then(|id| id.parse().ok()).expect("a place")
}
