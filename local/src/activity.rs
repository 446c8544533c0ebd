//! What happens in the stack, for whoever watches it: the steps of requests from place to place, and their counts.

use std::{
    collections::{HashMap, HashSet, VecDeque},
    sync::Arc,
    time::Duration,
};

use parking_lot::Mutex;
use serde::Serialize;
use tokio::sync::broadcast;

use crate::{request_line::RequestLine, template};

/// How many steps a slow watcher may be behind before it misses some.
const BACKLOG: usize = 1024;

/// How many request lines are kept until the gateway asks for them.
const LINES: usize = 256;

/// How many answered requests a new watcher hears of.
const LATEST: usize = 12;

/// How long a line may arrive after the answer that it is about.
const LATE: Duration = Duration::from_secs(1);

#[derive(Clone)]
pub(crate) struct Activity(Arc<Inner>);

struct Inner {
    events: broadcast::Sender<Event>,
    counts: Mutex<Counts>,
    lines: Mutex<Lines>,
    /// The latest answered requests, oldest first.
    latest: Mutex<VecDeque<Answered>>,
}

/// What a watcher hears of.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(untagged)]
pub(crate) enum Event {
    Step(Step),
    Answered(Box<Answered>),
}

/// A request, message or answer on its way from one place to the next.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub(crate) struct Step {
    pub from: Place,
    pub to: Place,
    pub tone: Tone,
}

/// A request that the gateway has answered.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub(crate) struct Answered {
    /// The epoch second.
    pub at: u64,
    pub method: String,
    pub path: String,
    pub status: u16,
    pub milliseconds: u64,
    /// What the function says of it, if it says anything.
    #[serde(flatten)]
    pub line: Option<RequestLine>,
}

/// The places of the live page, in the order of a request's way.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Place {
    Client,
    Gateway,
    /// A sandbox of a function behind the API, or of one that has a place nowhere else.
    Sandbox,
    Records,
    Provider,
    Outbox,
    Queue,
    /// A sandbox of a function that a queue invokes.
    Worker,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Tone {
    Normal,
    /// Answered from the record, or refused by a condition: nothing ran.
    Duplicate,
    Failed,
}

/// Counts since the start.
#[derive(Debug, Default)]
struct Counts {
    requests: u64,
    /// The idempotency keys that requests came with, each with whose it is and what for.
    keys: HashSet<String>,
    /// The names of the records of messages that took effect.
    postings: HashSet<String>,
}

/// The counts as the live page shows them.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub(crate) struct Totals {
    pub requests: u64,
    pub keys: usize,
    pub postings: usize,
}

/// The latest request lines, by invocation.
#[derive(Debug, Default)]
struct Lines {
    lines: HashMap<String, RequestLine>,
    order: VecDeque<String>,
}

impl Activity {
    pub(crate) fn new() -> Self {
        let (events, _) = broadcast::channel(BACKLOG);
        let (counts, lines, latest) = (Mutex::default(), Mutex::default(), Mutex::default());
        Self(Arc::new(Inner { events, counts, lines, latest }))
    }

    /// The latest answered requests, oldest first, and what happens from now on.
    pub(crate) fn watch(&self) -> (Vec<Answered>, broadcast::Receiver<Event>) {
        // Held meanwhile, so that no request is in both, or in neither.
        let latest = self.0.latest.lock();
        (latest.iter().cloned().collect(), self.0.events.subscribe())
    }

    pub(crate) fn totals(&self) -> Totals {
        let counts = self.0.counts.lock();
        Totals { requests: counts.requests, keys: counts.keys.len(), postings: counts.postings.len() }
    }

    pub(crate) fn step(&self, from: Place, to: Place, tone: Tone) {
        self.tell(Event::Step(Step { from, to, tone }));
    }

    /// A request has reached the API.
    pub(crate) fn requested(&self) {
        self.0.counts.lock().requests += 1;
    }

    /// A request has come with this idempotency key. It is counted before anything is done for it, so that there are
    /// never more charges than keys.
    pub(crate) fn keyed(&self, key: String) {
        self.0.counts.lock().keys.insert(key);
    }

    /// The API has answered a request.
    pub(crate) fn answered(&self, answered: Answered) {
        let mut latest = self.0.latest.lock();
        if latest.len() == LATEST {
            latest.pop_front();
        }
        latest.push_back(answered.clone());
        self.tell(Event::Answered(Box::new(answered)));
    }

    fn tell(&self, event: Event) {
        // Fails if nobody watches.
        let _ = self.0.events.send(event);
    }

    /// A function has written the line of a request or a message.
    pub(crate) fn logged(&self, function: &template::Function, line: RequestLine) {
        if let Some(record) = &line.record
            && Place::of(function) == Place::Worker
            && line.took_effect()
        {
            self.0.counts.lock().postings.insert(record.clone());
        }
        if let (Some(_), Some(invocation)) = (line.status, line.invocation.clone()) {
            self.0.lines.lock().add(invocation, line);
        }
    }

    /// The line that a function wrote of a request: it may arrive a moment after the answer. `None`: it wrote none.
    pub(crate) async fn line_of(&self, invocation: &str) -> Option<RequestLine> {
        let end = tokio::time::Instant::now() + LATE;
        loop {
            match self.0.lines.lock().lines.remove(invocation) {
                None if tokio::time::Instant::now() < end => {}
                found => return found,
            }
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    }
}

impl Event {
    /// The name of its server-sent event.
    pub(crate) const fn name(&self) -> &'static str {
        match self {
            Self::Step(_) => "step",
            Self::Answered(_) => "answered",
        }
    }
}

impl Place {
    /// The place of a function's sandboxes.
    pub(crate) fn of(function: &template::Function) -> Self {
        if function.mappings.is_empty() { Self::Sandbox } else { Self::Worker }
    }
}

impl Lines {
    fn add(&mut self, invocation: String, line: RequestLine) {
        if self.order.len() == LINES
            && let Some(oldest) = self.order.pop_front()
        {
            self.lines.remove(&oldest);
        }
        self.order.push_back(invocation.clone());
        self.lines.insert(invocation, line);
    }
}
