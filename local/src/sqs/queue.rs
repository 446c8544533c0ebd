//! One queue's messages: visible, delayed, in flight; retained, redriven, deduplicated.
//!
//! Every rule is a statement on one table, so nothing is kept twice and a restart finds each message as it was.
//! Behaviour: AWS, "Amazon SQS visibility timeout", "dead-letter queues", "FIFO queue delivery logic".

use std::time::Duration;

use rusqlite::{Connection, OptionalExtension, Row, params};
use rustack_sqs_core::message::{generate_receipt_handle, md5_of_body, md5_of_message_attributes};
use rustack_sqs_model::{
    error::SqsErrorCode,
    input::{ReceiveMessageInput, SendMessageInput},
    output::SendMessageOutput,
    types::Message,
};
use serde::Serialize;
use uuid::Uuid;

use super::error::{Error, Result};
use crate::{now, template::Queue};

/// Five minutes (AWS, "Exactly-once processing in Amazon SQS").
const DEDUPLICATION_WINDOW: Duration = Duration::from_secs(300);

pub(super) const SCHEMA: &str = "
    CREATE TABLE IF NOT EXISTS messages (
        sequence         INTEGER PRIMARY KEY AUTOINCREMENT,
        queue            TEXT NOT NULL,
        id               TEXT NOT NULL UNIQUE,
        body             TEXT NOT NULL,
        attributes       TEXT NOT NULL,
        message_group    TEXT,
        deduplication    TEXT,
        trace            TEXT,
        source           TEXT,
        sent             INTEGER NOT NULL,
        visible          INTEGER NOT NULL,
        receives         INTEGER NOT NULL DEFAULT 0,
        first_received   INTEGER,
        receipt          TEXT
    ) STRICT;
    CREATE INDEX IF NOT EXISTS messages_by_visibility ON messages (queue, visible);
    CREATE TABLE IF NOT EXISTS deduplications (
        queue TEXT NOT NULL, id TEXT NOT NULL, message TEXT NOT NULL, sequence INTEGER NOT NULL, expires INTEGER NOT NULL,
        PRIMARY KEY (queue, id)
    ) STRICT, WITHOUT ROWID;";

/// The contents of a queue, without receiving from it.
#[derive(Debug, PartialEq, Serialize)]
pub(crate) struct Contents {
    pub visible: usize,
    pub in_flight: usize,
    pub delayed: usize,
    /// The age of the oldest message in seconds.
    pub oldest_s: u64,
    /// In the order of arrival.
    pub bodies: Vec<String>,
    /// Their other properties, in the same order.
    pub messages: Vec<ListedMessage>,
}

#[derive(Debug, PartialEq, Serialize)]
pub(crate) struct ListedMessage {
    pub id: String,
    pub state: State,
    pub receive_count: u32,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub group: Option<String>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum State {
    Visible,
    InFlight,
    Delayed,
}

pub(super) fn send(connection: &mut Connection, queue: &Queue, input: &SendMessageInput) -> Result<SendMessageOutput> {
    check(queue, input)?;
    let deduplication = deduplication(queue, input)?;
    let transaction = connection.transaction()?;
    let earlier = match &deduplication {
        Some(deduplication) => remembered(&transaction, queue, deduplication)?,
        None => None,
    };
    let (id, sequence) = match earlier {
        Some(earlier) => earlier,
        None => insert(&transaction, queue, input, deduplication.as_deref())?,
    };
    transaction.commit()?;
    Ok(SendMessageOutput {
        message_id: Some(id),
        md5_of_message_body: Some(md5_of_body(&input.message_body)),
        md5_of_message_attributes: md5_of_message_attributes(&input.message_attributes),
        md5_of_message_system_attributes: None,
        sequence_number: queue.fifo.then(|| sequence_number(sequence)),
    })
}

/// Moves what was received too often, then takes up to `maximum` visible messages.
pub(super) fn receive(connection: &mut Connection, queue: &Queue, input: &ReceiveMessageInput) -> Result<Vec<Message>> {
    let now = now::milliseconds();
    let visibility = input.visibility_timeout.map_or(millis(queue.visibility), |seconds| i64::from(seconds) * 1000);
    let maximum = input.max_number_of_messages.unwrap_or(1);
    if !(1..=10).contains(&maximum) {
        return Err(Error::invalid(format!(
            "Value {maximum} for parameter MaxNumberOfMessages is invalid. Reason: Must be between 1 and 10, if provided."
        )));
    }
    let transaction = connection.transaction()?;
    expire(&transaction, queue, now)?;
    dead_letter(&transaction, queue, now)?;
    let mut messages = Vec::new();
    for row in visible(&transaction, queue, now, i64::from(maximum))? {
        let receipt = generate_receipt_handle(&row.id);
        transaction.execute(
            "UPDATE messages
                 SET visible = ?1, receives = receives + 1, first_received = ifnull(first_received, ?2), receipt = ?3
                 WHERE id = ?4",
            params![now + visibility, now, receipt, row.id],
        )?;
        messages.push(row.received(queue, receipt, now)?);
    }
    transaction.commit()?;
    Ok(messages)
}

/// The latest receipt deletes, even after the visibility timeout, as long as nobody received the message again
/// (AWS, "DeleteMessage"). A FIFO queue refuses an expired one.
pub(super) fn delete(connection: &Connection, queue: &Queue, receipt: &str) -> Result<()> {
    let visible: Option<i64> = connection
        .query_row(
            "SELECT visible FROM messages WHERE queue = ?1 AND receipt = ?2",
            params![queue.name, receipt],
            |row| row.get(0),
        )
        .optional()?;
    match visible {
        Some(visible) if queue.fifo && visible <= now::milliseconds() => Err(Error::invalid(format!(
            "Value {receipt} for parameter ReceiptHandle is invalid. Reason: The receipt handle has expired."
        ))),
        Some(_) => Ok(connection
            .execute("DELETE FROM messages WHERE queue = ?1 AND receipt = ?2", params![queue.name, receipt])
            .map(drop)?),
        None => Ok(()),
    }
}

pub(super) fn change_visibility(connection: &Connection, queue: &Queue, receipt: &str, seconds: i32) -> Result<()> {
    if !(0..=43_200).contains(&seconds) {
        return Err(Error::invalid(format!(
            "Value {seconds} for parameter VisibilityTimeout is invalid. Reason: Must be between 0 and 43200, if provided."
        )));
    }
    let now = now::milliseconds();
    let changed = connection.execute(
        "UPDATE messages SET visible = ?1 WHERE queue = ?2 AND receipt = ?3 AND visible > ?4",
        params![now + i64::from(seconds) * 1000, queue.name, receipt, now],
    )?;
    match changed {
        0 => Err(Error::new(
            SqsErrorCode::MessageNotInflight,
            "Message does not exist or is not available for visibility timeout change.",
        )),
        _ => Ok(()),
    }
}

pub(super) fn purge(connection: &Connection, queue: &Queue) -> Result<()> {
    Ok(connection.execute("DELETE FROM messages WHERE queue = ?1", [&queue.name]).map(drop)?)
}

/// Moves dead letters to where they came from; one that was put here by hand goes to the default. A redriven message
/// is a new one: new id, enqueued now (AWS, "Configure a dead-letter queue redrive").
pub(super) fn redrive(connection: &mut Connection, queue: &Queue, default_source: Option<&str>) -> Result<Vec<String>> {
    let now = now::milliseconds();
    let transaction = connection.transaction()?;
    let letters: Vec<(i64, String)> = {
        let sql = "SELECT sequence, ifnull(source, ?3) AS target FROM messages
                   WHERE queue = ?1 AND visible <= ?2 AND target IS NOT NULL ORDER BY sequence";
        let mut statement = transaction.prepare(sql)?;
        let rows =
            statement.query_map(params![queue.name, now, default_source], |row| Ok((row.get(0)?, row.get(1)?)))?;
        rows.collect::<rusqlite::Result<_>>()?
    };
    let mut targets = Vec::new();
    for (sequence, source) in letters {
        let target = source.rsplit(':').next().unwrap_or_default();
        let sql = "INSERT INTO messages (queue, id, body, attributes, message_group, deduplication, trace, sent, visible)
                   SELECT ?1, ?2, body, attributes, message_group, deduplication, trace, ?3, ?3 FROM messages WHERE sequence = ?4";
        transaction.execute(sql, params![target, Uuid::new_v4().to_string(), now, sequence])?;
        transaction.execute("DELETE FROM messages WHERE sequence = ?1", [sequence])?;
        targets.push(target.to_owned());
    }
    transaction.commit()?;
    Ok(targets)
}

pub(super) fn contents(connection: &Connection, queue: &Queue) -> Result<Contents> {
    let now = now::milliseconds();
    expire(connection, queue, now)?;
    let mut statement = connection.prepare("SELECT * FROM messages WHERE queue = ?1 ORDER BY sequence")?;
    let rows = statement.query_map([&queue.name], Stored::read)?;
    let listed = rows.map(|row| row.map(|row| row.listed(now))).collect::<rusqlite::Result<Vec<_>>>()?;
    let oldest: Option<i64> =
        connection.query_row("SELECT min(sent) FROM messages WHERE queue = ?1", [&queue.name], |row| row.get(0))?;
    let (bodies, messages): (Vec<_>, Vec<_>) = listed.into_iter().unzip();
    let count = |state: State| messages.iter().filter(|message: &&ListedMessage| message.state == state).count();
    Ok(Contents {
        visible: count(State::Visible),
        in_flight: count(State::InFlight),
        delayed: count(State::Delayed),
        oldest_s: oldest.map_or(0, |sent| (now - sent).max(0).unsigned_abs() / 1000),
        bodies,
        messages,
    })
}

/// How long until a message becomes visible that was delayed or in flight at that time; zero if it is by now.
pub(super) fn next_visible(connection: &Connection, queue: &Queue, after: i64) -> Result<Option<Duration>> {
    let next: Option<i64> = connection.query_row(
        "SELECT min(visible) FROM messages WHERE queue = ?1 AND visible > ?2",
        params![queue.name, after],
        |row| row.get(0),
    )?;
    Ok(next.map(|next| Duration::from_millis(next.saturating_sub(now::milliseconds()).max(0).unsigned_abs())))
}

/// The receivers of the run before are gone with it, and nobody else holds their receipts.
pub(super) fn release_all(connection: &Connection) -> rusqlite::Result<()> {
    connection.execute("UPDATE messages SET visible = 0, receipt = NULL WHERE receipt IS NOT NULL", []).map(drop)
}

struct Stored {
    sequence: i64,
    id: String,
    body: String,
    attributes: String,
    group: Option<String>,
    deduplication: Option<String>,
    trace: Option<String>,
    source: Option<String>,
    sent: i64,
    visible: i64,
    receives: u32,
    first_received: Option<i64>,
    receipt: Option<String>,
}

impl Stored {
    fn read(row: &Row<'_>) -> rusqlite::Result<Self> {
        Ok(Self {
            sequence: row.get("sequence")?,
            id: row.get("id")?,
            body: row.get("body")?,
            attributes: row.get("attributes")?,
            group: row.get("message_group")?,
            deduplication: row.get("deduplication")?,
            trace: row.get("trace")?,
            source: row.get("source")?,
            sent: row.get("sent")?,
            visible: row.get("visible")?,
            receives: row.get("receives")?,
            first_received: row.get("first_received")?,
            receipt: row.get("receipt")?,
        })
    }

    fn received(self, queue: &Queue, receipt: String, now: i64) -> Result<Message> {
        let attributes = serde_json::from_str(&self.attributes)?;
        let optional = [
            ("MessageGroupId", self.group),
            ("MessageDeduplicationId", self.deduplication),
            ("SequenceNumber", queue.fifo.then(|| sequence_number(self.sequence))),
            ("DeadLetterQueueSourceArn", self.source),
            ("AWSTraceHeader", self.trace),
        ];
        let system = [
            ("SenderId", Some("local".to_owned())),
            ("SentTimestamp", Some(self.sent.to_string())),
            ("ApproximateReceiveCount", Some((self.receives + 1).to_string())),
            ("ApproximateFirstReceiveTimestamp", Some(self.first_received.unwrap_or(now).to_string())),
        ];
        Ok(Message {
            message_id: Some(self.id),
            receipt_handle: Some(receipt),
            md5_of_body: Some(md5_of_body(&self.body)),
            body: Some(self.body),
            md5_of_message_attributes: md5_of_message_attributes(&attributes),
            message_attributes: attributes,
            attributes: system
                .into_iter()
                .chain(optional)
                .filter_map(|(name, value)| Some((name.to_owned(), value?)))
                .collect(),
        })
    }

    /// Its body and its other visible properties.
    fn listed(self, now: i64) -> (String, ListedMessage) {
        let state = match (self.visible > now, self.receipt) {
            (false, _) => State::Visible,
            (true, Some(_)) => State::InFlight,
            (true, None) => State::Delayed,
        };
        (self.body, ListedMessage { id: self.id, state, receive_count: self.receives, group: self.group })
    }
}

/// The message that was sent under this deduplication id within the window.
fn remembered(connection: &Connection, queue: &Queue, deduplication: &str) -> Result<Option<(String, i64)>> {
    connection.execute("DELETE FROM deduplications WHERE expires <= ?1", [now::milliseconds()])?;
    let sql = "SELECT message, sequence FROM deduplications WHERE queue = ?1 AND id = ?2";
    Ok(connection.query_row(sql, [&queue.name, deduplication], |row| Ok((row.get(0)?, row.get(1)?))).optional()?)
}

fn insert(
    connection: &Connection,
    queue: &Queue,
    input: &SendMessageInput,
    deduplication: Option<&str>,
) -> Result<(String, i64)> {
    let now = now::milliseconds();
    let id = Uuid::new_v4().to_string();
    // A FIFO queue knows a delay for the whole queue only.
    let own_delay = input.delay_seconds.filter(|_| !queue.fifo).map(|seconds| i64::from(seconds) * 1000);
    let visible = now + own_delay.unwrap_or(millis(queue.delay));
    let attributes = serde_json::to_string(&input.message_attributes)?;
    let trace = input.message_system_attributes.get("AWSTraceHeader").and_then(|value| value.string_value.as_ref());
    let (group, own_deduplication) = (&input.message_group_id, &input.message_deduplication_id);
    connection.execute(
        "INSERT INTO messages
             (queue, id, body, attributes, message_group, deduplication, trace, sent, visible)
         VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9)",
        params![queue.name, id, input.message_body, attributes, group, own_deduplication, trace, now, visible],
    )?;
    let sequence = connection.last_insert_rowid();
    if let Some(deduplication) = deduplication {
        let sql = "INSERT INTO deduplications (queue, id, message, sequence, expires) VALUES (?1, ?2, ?3, ?4, ?5)";
        let expires = now + millis(DEDUPLICATION_WINDOW);
        connection.execute(sql, params![queue.name, deduplication, id, sequence, expires])?;
    }
    Ok((id, sequence))
}

/// A FIFO group with a message in flight is blocked, so that its order holds; a free group's messages may share a
/// batch.
fn visible(connection: &Connection, queue: &Queue, now: i64, maximum: i64) -> Result<Vec<Stored>> {
    let sql = if queue.fifo {
        "SELECT * FROM messages m WHERE queue = ?1 AND visible <= ?2 AND NOT EXISTS (
             SELECT 1 FROM messages o WHERE o.queue = m.queue AND o.message_group = m.message_group AND o.visible > ?2
         ) ORDER BY sequence LIMIT ?3"
    } else {
        "SELECT * FROM messages WHERE queue = ?1 AND visible <= ?2 ORDER BY visible, sequence LIMIT ?3"
    };
    let mut statement = connection.prepare_cached(sql)?;
    let rows = statement.query_map(params![queue.name, now, maximum], Stored::read)?;
    Ok(rows.collect::<rusqlite::Result<_>>()?)
}

fn expire(connection: &Connection, queue: &Queue, now: i64) -> Result<()> {
    let oldest = now - millis(queue.retention);
    connection.execute("DELETE FROM messages WHERE queue = ?1 AND sent < ?2", params![queue.name, oldest])?;
    Ok(())
}

/// A message that was received `maxReceiveCount` times moves at what would be the next receive. It keeps its id and,
/// on a standard queue, the time it was sent (AWS, "Using dead-letter queues in Amazon SQS").
fn dead_letter(connection: &Connection, queue: &Queue, now: i64) -> Result<()> {
    let Some(redrive) = &queue.redrive else { return Ok(()) };
    // Both queues are of one account and region.
    let (home, target) = redrive.dead_letter_target_arn.rsplit_once(':').unwrap_or_default();
    let source = format!("{home}:{}", queue.name);
    let sql = "UPDATE messages SET queue = ?1, source = ?2, receipt = NULL
               WHERE queue = ?3 AND visible <= ?4 AND receives >= ?5";
    connection.execute(sql, params![target, source, queue.name, now, redrive.max_receive_count])?;
    Ok(())
}

fn check(queue: &Queue, input: &SendMessageInput) -> Result<()> {
    let attributes: usize = input
        .message_attributes
        .iter()
        .map(|(name, value)| {
            name.len()
                + value.data_type.len()
                + value.string_value.as_ref().map_or(0, String::len)
                + value.binary_value.as_ref().map_or(0, Vec::len)
        })
        .sum();
    if input.message_body.is_empty() {
        return Err(Error::missing("The request must contain the parameter MessageBody."));
    }
    if input.message_body.len() + attributes > queue.maximum_message_size {
        return Err(Error::invalid(format!(
            "One or more parameters are invalid. Reason: Message must be shorter than {} bytes.",
            queue.maximum_message_size
        )));
    }
    if input.message_attributes.len() > 10 {
        return Err(Error::invalid("Number of message attributes exceeds the allowed maximum [10]."));
    }
    if queue.fifo && input.message_group_id.is_none() {
        return Err(Error::missing("The request must contain the parameter MessageGroupId."));
    }
    if !queue.fifo && input.message_deduplication_id.is_some() {
        return Err(Error::invalid(
            "The request include parameter that is not valid for this queue type: MessageDeduplicationId",
        ));
    }
    Ok(())
}

fn deduplication(queue: &Queue, input: &SendMessageInput) -> Result<Option<String>> {
    if !queue.fifo {
        return Ok(None);
    }
    let id = match &input.message_deduplication_id {
        Some(id) => id.clone(),
        // SQS hashes the body with SHA-256; the body itself tells equal bodies apart just as well.
        None if queue.content_based_deduplication => input.message_body.clone(),
        None => {
            return Err(Error::invalid(
                "The queue should either have ContentBasedDeduplication enabled or MessageDeduplicationId provided explicitly",
            ));
        }
    };
    let scope = input.message_group_id.as_deref().filter(|_| queue.deduplicated_by_group).unwrap_or_default();
    Ok(Some(format!("{scope}\n{id}")))
}

fn sequence_number(sequence: i64) -> String {
    format!("{sequence:020}")
}

fn millis(duration: Duration) -> i64 {
    i64::try_from(duration.as_millis()).unwrap_or(i64::MAX)
}
