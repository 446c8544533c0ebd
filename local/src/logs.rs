//! CloudWatch Logs, as far as subscriptions show it: what functions print, in gzipped batches, to the functions that
//! subscribe to their log groups (AWS, "Real-time processing of log data with subscriptions").
//!
//! As on AWS, a batch has lines of one log stream, which is one sandbox, and Lambda repeats a failed delivery twice: at
//! least once, in no order. Delivered batches are kept for a while, so that a test can deliver them again.

use std::{
    collections::{BTreeMap, VecDeque},
    io::Write,
    sync::{
        Arc,
        atomic::{AtomicU64, AtomicUsize, Ordering},
    },
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use anyhow::Result;
use axum::body::Bytes;
use base64::{Engine, engine::general_purpose::STANDARD};
use flate2::{Compression, write::GzEncoder};
use futures::future::BoxFuture;
use parking_lot::Mutex;
use serde::Serialize;
use serde_json::{Value, json};
use tokio::sync::mpsc;
use uuid::Uuid;

use crate::invocation::Outcome;
use filter_pattern::FilterPattern;

pub(crate) mod filter_pattern;

/// Invokes a subscriber with a batch.
pub(crate) type Invoke = Box<dyn Fn(Bytes) -> BoxFuture<'static, Outcome> + Send + Sync>;

/// How long a batch collects lines.
const WINDOW: Duration = Duration::from_millis(500);

/// The most lines of a batch.
const BATCH: usize = 1000;

/// How often Lambda repeats a failed asynchronous invocation (AWS, "Error handling for asynchronous invocation").
const RETRIES: u32 = 2;

/// Before each of them. A minute and two on AWS.
const RETRY: Duration = Duration::from_secs(1);

/// How many delivered batches are kept for each log group.
const KEPT: usize = 1000;

/// All log groups.
#[derive(Clone)]
pub(crate) struct Logs(Arc<Inner>);

struct Inner {
    account: String,
    groups: Mutex<BTreeMap<String, Arc<Group>>>,
    /// Makes ids unique.
    lines: AtomicU64,
}

/// A log group that somebody subscribes to.
struct Group {
    name: String,
    subscriptions: Mutex<Vec<Arc<Subscription>>>,
    /// Lines that were printed and not delivered yet.
    waiting: AtomicUsize,
}

struct Subscription {
    name: String,
    pattern: FilterPattern,
    invoke: Invoke,
    delivered: Mutex<VecDeque<Bytes>>,
}

/// What one sandbox prints. Dropping it ends the stream.
#[derive(Clone)]
pub(crate) struct LogStream {
    group: Arc<Group>,
    lines: mpsc::UnboundedSender<Line>,
}

#[derive(Debug, Clone, Serialize)]
struct Line {
    id: String,
    timestamp: u64,
    message: String,
}

/// A log group, as `GET /_local/logs/NAME` shows it.
#[derive(Debug, Serialize)]
pub(crate) struct Contents {
    /// Lines that subscribers do not have yet.
    waiting: usize,
    /// Batches that each subscription got, by its name.
    delivered: BTreeMap<String, usize>,
}

impl Logs {
    pub(crate) fn new(account: &str) -> Self {
        Self(Arc::new(Inner { account: account.to_owned(), groups: Mutex::default(), lines: AtomicU64::default() }))
    }

    /// Delivers what passes the pattern, from now on.
    pub(crate) fn subscribe(&self, group: &str, name: String, pattern: FilterPattern, invoke: Invoke) {
        let mut groups = self.0.groups.lock();
        let group = groups.entry(group.to_owned()).or_insert_with(|| {
            Arc::new(Group { name: group.to_owned(), subscriptions: Mutex::default(), waiting: AtomicUsize::default() })
        });
        let subscription = Subscription { name, pattern, invoke, delivered: Mutex::default() };
        group.subscriptions.lock().push(Arc::new(subscription));
    }

    /// Forgets all subscribers: each is a function, whose sandboxes hold this.
    pub(crate) fn end(&self) {
        self.0.groups.lock().clear();
    }

    /// Opens a stream for a new sandbox; `None` if nobody subscribes to its log group.
    pub(crate) fn open(&self, group: &str) -> Option<LogStream> {
        let group = self.group(group)?;
        let (lines, received) = mpsc::unbounded_channel();
        let name = format!("{}/[$LATEST]{}", chrono::Utc::now().format("%Y/%m/%d"), Uuid::new_v4().simple());
        tokio::spawn(batches(self.0.account.clone(), Arc::clone(&group), name, received));
        Some(LogStream { group, lines })
    }

    pub(crate) fn groups(&self) -> Vec<String> {
        self.0.groups.lock().keys().cloned().collect()
    }

    pub(crate) fn contents(&self, group: &str) -> Option<Contents> {
        let group = self.group(group)?;
        let subscriptions = group.subscriptions.lock();
        let delivered = subscriptions.iter().map(|each| (each.name.clone(), each.delivered.lock().len()));
        Some(Contents { waiting: group.waiting.load(Ordering::SeqCst), delivered: delivered.collect() })
    }

    /// Delivers every kept batch once more, as CloudWatch Logs may. Returns their number, and of how many the function
    /// failed.
    pub(crate) async fn deliver_again(&self, group: &str) -> Option<(usize, usize)> {
        let subscriptions = self.group(group)?.subscriptions.lock().clone();
        let (mut batches, mut failed) = (0, 0);
        for subscription in subscriptions {
            let delivered: Vec<Bytes> = subscription.delivered.lock().iter().cloned().collect();
            for batch in delivered {
                batches += 1;
                failed += usize::from((subscription.invoke)(batch).await.is_err());
            }
        }
        Some((batches, failed))
    }

    fn group(&self, name: &str) -> Option<Arc<Group>> {
        self.0.groups.lock().get(name).cloned()
    }

    /// The line as an event with an id of its own: 56 digits.
    fn line(&self, message: String) -> Line {
        let timestamp = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_millis();
        let number = self.0.lines.fetch_add(1, Ordering::Relaxed);
        Line {
            id: format!("{timestamp:016}{number:040}"),
            timestamp: u64::try_from(timestamp).unwrap_or(u64::MAX),
            message,
        }
    }
}

impl LogStream {
    pub(crate) fn print(&self, logs: &Logs, line: String) {
        self.group.waiting.fetch_add(1, Ordering::SeqCst);
        if self.lines.send(logs.line(line)).is_err() {
            self.group.waiting.fetch_sub(1, Ordering::SeqCst);
        }
    }
}

/// Collects the lines of a stream into batches until it ends.
async fn batches(account: String, group: Arc<Group>, stream: String, mut lines: mpsc::UnboundedReceiver<Line>) {
    while let Some(first) = lines.recv().await {
        let mut batch = vec![first];
        let end = tokio::time::Instant::now() + WINDOW;
        while batch.len() < BATCH {
            match tokio::time::timeout_at(end, lines.recv()).await {
                Ok(Some(line)) => batch.push(line),
                Ok(None) | Err(_) => break,
            }
        }
        tokio::spawn(deliver(account.clone(), Arc::clone(&group), stream.clone(), batch));
    }
}

/// Delivers a batch to each subscriber that wants some of it.
async fn deliver(account: String, group: Arc<Group>, stream: String, batch: Vec<Line>) {
    let subscriptions = group.subscriptions.lock().clone();
    for subscription in subscriptions {
        let wanted: Vec<&Line> = batch.iter().filter(|line| subscription.pattern.passes(&line.message)).collect();
        if wanted.is_empty() {
            continue;
        }
        let data = json!({
            "messageType": "DATA_MESSAGE",
            "owner": account,
            "logGroup": group.name,
            "logStream": stream,
            "subscriptionFilters": [subscription.name],
            "logEvents": wanted,
        });
        match event(&data) {
            Ok(event) => subscription.deliver(event).await,
            Err(error) => tracing::error!("{}: a batch cannot be packed: {error}", subscription.name),
        }
    }
    group.waiting.fetch_sub(batch.len(), Ordering::SeqCst);
}

impl Subscription {
    async fn deliver(&self, event: Bytes) {
        {
            let mut delivered = self.delivered.lock();
            delivered.push_back(event.clone());
            if delivered.len() > KEPT {
                delivered.pop_front();
            }
        }
        for _ in 0..=RETRIES {
            // The sandbox has logged why, if it failed.
            if (self.invoke)(event.clone()).await.is_ok() {
                return;
            }
            tokio::time::sleep(RETRY).await;
        }
        tracing::error!("{}: a batch is given up after {RETRIES} retries", self.name);
    }
}

/// The event that a function gets (AWS, "Using Lambda with CloudWatch Logs").
fn event(data: &Value) -> Result<Bytes> {
    let mut gzip = GzEncoder::new(Vec::new(), Compression::fast());
    gzip.write_all(data.to_string().as_bytes())?;
    Ok(json!({ "awslogs": { "data": STANDARD.encode(gzip.finish()?) } }).to_string().into())
}

#[cfg(test)]
mod tests {
    use aws_lambda_events::cloudwatch_logs::LogsEvent;

    use super::*;

    #[test]
    fn an_event_is_what_lambdas_own_types_read() {
        let logs = Logs::new("000000000000");
        let (one, two) = (logs.line("one".to_owned()), logs.line("two".to_owned()));
        assert!(one.id.len() == 56 && one.id < two.id, "{} {}", one.id, two.id);
        let data = json!({
            "messageType": "DATA_MESSAGE", "owner": "000000000000", "logGroup": "G", "logStream": "S",
            "subscriptionFilters": ["F"], "logEvents": [one, two],
        });
        let event: LogsEvent = serde_json::from_slice(&event(&data).expect("packed")).expect("an event");
        let data = event.aws_logs.data;
        assert_eq!(
            (data.owner.as_str(), data.log_group.as_str(), data.log_stream.as_str()),
            ("000000000000", "G", "S")
        );
        let messages: Vec<&str> = data.log_events.iter().map(|event| event.message.as_str()).collect();
        assert_eq!(messages, ["one", "two"]);
    }

    #[test]
    fn nobody_pays_for_a_log_group_without_subscribers() {
        assert!(Logs::new("0").open("G").is_none());
    }
}
