//! A record's history as a picture: time runs downwards, and each kind of actor has its own lane. The distances are
//! equal, because an attempt takes milliseconds and an operator days; the times are next to it.

use std::time::Duration;

use idempotency::protocol::{EpochMs, HistoryEntry, HistoryEvent};
use maud::{Markup, html};
use payments::{AuditEntry, AuditKind, PaymentId, ProviderStatus};

use crate::details::Details;
use crate::format;
use crate::provider_status::ProviderAnswer;

/// One thing that happened.
struct Event {
    at: EpochMs,
    lane: Lane,
    tone: Tone,
    label: String,
    /// The attempt that begins or ends with this event.
    attempt: Option<(u64, Edge)>,
}

/// The actors' lanes, from left to right.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Lane {
    Attempt,
    Provider,
    Operator,
}

#[derive(Clone, Copy)]
enum Tone {
    Neutral,
    Happened,
    NotHappened,
    Uncertain,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Edge {
    Begin,
    End,
}

/// The dimensions of the picture, in its own units.
const WIDTH: usize = 340;
const ROW: usize = 46;
const TOP: usize = 22;
const LEGEND: usize = 26;

impl Lane {
    const ALL: [(Self, &'static str); 3] =
        [(Self::Attempt, "attempt and lease"), (Self::Provider, "provider"), (Self::Operator, "operator")];

    const fn x(self) -> usize {
        match self {
            Self::Attempt => 16,
            Self::Provider => 42,
            Self::Operator => 68,
        }
    }
}

impl Tone {
    const fn class(self) -> &'static str {
        match self {
            Self::Neutral => "neutral",
            Self::Happened => "happened",
            Self::NotHappened => "not-happened",
            Self::Uncertain => "uncertain",
        }
    }
}

impl Event {
    fn of_history(entry: &HistoryEntry) -> Self {
        let number = entry.attempt;
        let (label, tone, edge) = match entry.event {
            HistoryEvent::Claimed => {
                (format!("Attempt {number} starts, under a lease"), Tone::Neutral, Some(Edge::Begin))
            }
            HistoryEvent::Released => {
                (format!("Attempt {number}: nothing executed"), Tone::NotHappened, Some(Edge::End))
            }
            HistoryEvent::Abandoned => {
                (format!("Attempt {number} ends, outcome unknown"), Tone::Uncertain, Some(Edge::End))
            }
            HistoryEvent::LeaseOver => (format!("Lease of attempt {number} is over"), Tone::Uncertain, Some(Edge::End)),
            HistoryEvent::Reconciling => (format!("Search for evidence ({number})"), Tone::Neutral, Some(Edge::Begin)),
            HistoryEvent::Prevented => {
                ("Released: it can no longer happen".to_owned(), Tone::NotHappened, Some(Edge::End))
            }
            HistoryEvent::Succeeded => ("Settled: it happened".to_owned(), Tone::Happened, Some(Edge::End)),
            HistoryEvent::Failed => ("Settled: it did not happen".to_owned(), Tone::NotHappened, Some(Edge::End)),
            HistoryEvent::Unrecognised(_) => ("An event from a newer version".to_owned(), Tone::Neutral, None),
        };
        Self { at: entry.at, lane: Lane::Attempt, tone, label, attempt: edge.map(|edge| (number, edge)) }
    }

    fn of_audit(entry: &AuditEntry) -> Self {
        let tone = match entry.kind {
            AuditKind::FencedAttempt | AuditKind::Intended(_) => Tone::Uncertain,
            AuditKind::Asked
            | AuditKind::Reconciled
            | AuditKind::Redriven
            | AuditKind::Requested
            | AuditKind::Settled(_) => Tone::Neutral,
        };
        let lane = match entry.kind {
            AuditKind::FencedAttempt => Lane::Attempt,
            _ => Lane::Operator,
        };
        let label = format!("{}: {}", short(&entry.actor), format::audit_event(entry.kind));
        Self { at: EpochMs(entry.at), lane, tone, label, attempt: None }
    }

    fn at_provider(at: u64, label: &str) -> Self {
        Self { at: EpochMs(at), lane: Lane::Provider, tone: Tone::Happened, label: label.to_owned(), attempt: None }
    }
}

/// A name that fits into a line of the picture; the audit has all of it.
fn short(name: &str) -> String {
    const MOST: usize = 12;
    match name.chars().nth(MOST) {
        Some(_) => name.chars().take(MOST - 1).chain(['…']).collect(),
        None => name.to_owned(),
    }
}

/// All known events, in order of time. Clocks differ, so cause and effect may change places within that difference.
fn events(details: &Details) -> Vec<Event> {
    let record = &details.record;
    let mut events: Vec<_> = record.history.entries().iter().map(Event::of_history).collect();
    events.extend(details.audit.iter().rev().map(Event::of_audit));
    let own = details.payment.as_ref().filter(|payment| payment.id == PaymentId::of(record.transaction));
    match (&details.provider, own) {
        (Some(ProviderAnswer::Status(ProviderStatus::Charged(charged))), _) => {
            events.push(Event::at_provider(charged.created, "Charged, by the provider’s clock"));
        }
        (Some(ProviderAnswer::Status(ProviderStatus::Refunded(refunded))), _) => {
            events.push(Event::at_provider(refunded.created, "Refunded, by the provider’s clock"));
        }
        (_, Some(payment)) => events.push(Event::at_provider(payment.created, "Charged, by the provider’s clock")),
        (_, None) => {}
    }
    // The provider's clock has whole seconds: an event in the second of the first claim happened after the claim.
    let first = record.history.entries().first().map(|entry| entry.at);
    events.sort_by_key(|event| match (event.lane, first) {
        (Lane::Provider, Some(first)) if event.at.0 / 1000 == first.0 / 1000 => first,
        _ => event.at,
    });
    events
}

/// The picture, with a text alternative.
pub(super) fn picture(details: &Details, now: EpochMs) -> Markup {
    let events = events(details);
    let lease = details.record.holder().map(|holder| holder.lease);
    let rows = events.len() + usize::from(lease.is_some());
    let y = |row: usize| TOP + row * ROW;
    let height = y(rows) + LEGEND;
    html! {
        @if !events.is_empty() {
            figure.timeline {
                svg viewBox=(format!("0 0 {WIDTH} {height}")) role="img" aria-labelledby="timeline-title timeline-text" {
                    title #timeline-title { "What happened, and when" }
                    desc #timeline-text { (in_words(&events, lease, now)) }
                    @for (lane, _) in Lane::ALL {
                        line.rail x1=(lane.x()) x2=(lane.x()) y1=(TOP) y2=(y(rows.saturating_sub(1))) {}
                    }
                    @for (begin, end) in runs(&events, rows) {
                        rect.run x=(Lane::Attempt.x() - 4) width="8" y=(y(begin)) height=(y(end) - y(begin)) rx="4" {}
                    }
                    @for (row, event) in events.iter().enumerate() {
                        (shape(event, y(row)))
                        text.label x="90" y=(y(row) + 1) { (event.label) }
                        text.at x="90" y=(y(row) + 17) { (format::time(event.at)) (since(&events, row)) }
                    }
                    @if let Some(lease) = lease {
                        circle.uncertain.open cx=(Lane::Attempt.x()) cy=(y(events.len())) r="6" {}
                        text.label x="90" y=(y(events.len()) + 1) { @if lease > now { "The lease ends" } @else { "The lease has ended" } }
                        text.at x="90" y=(y(events.len()) + 17) { (format::time(lease)) }
                    }
                    @for ((lane, name), x) in Lane::ALL.into_iter().zip([10, 152, 242]) {
                        (mark(lane, "neutral", x, height - 12))
                        text.at x=(x + 12) y=(height - 8) { (name) }
                    }
                }
            }
        }
    }
}

fn shape(event: &Event, y: usize) -> Markup {
    mark(event.lane, event.tone.class(), event.lane.x(), y)
}

/// Each lane has its own shape, so that the meaning does not depend on colour alone.
fn mark(lane: Lane, class: &str, x: usize, y: usize) -> Markup {
    html! {
        @match lane {
            Lane::Attempt => circle class=(class) cx=(x) cy=(y) r="6" {},
            Lane::Provider => rect class=(class) x=(x - 6) y=(y - 6) width="12" height="12" {},
            Lane::Operator => path class=(class) d=(format!("M{x} {} l8 8 l-8 8 l-8 -8z", y - 8)) {},
        }
    }
}

/// The rows between which an attempt held the record. An attempt that has not ended holds it up to the last row.
fn runs(events: &[Event], rows: usize) -> Vec<(usize, usize)> {
    let edges = events.iter().enumerate().filter_map(|(row, event)| Some((row, event.attempt?)));
    let begins = edges.clone().filter(|(_, (_, edge))| *edge == Edge::Begin);
    begins
        .map(|(begin, (attempt, _))| {
            let end =
                edges.clone().find(|(row, (other, edge))| *row > begin && *other == attempt && *edge == Edge::End);
            (begin, end.map_or(rows.saturating_sub(1), |(row, _)| row))
        })
        .collect()
}

/// The time since the event before.
fn since(events: &[Event], row: usize) -> String {
    let before = row.checked_sub(1).and_then(|before| events.get(before));
    match (before, events.get(row)) {
        (Some(before), Some(event)) => format!(", +{}", gap(event.at.since(before.at))),
        _ => String::new(),
    }
}

fn gap(gap: Duration) -> String {
    if gap < Duration::from_secs(1) { format!("{} ms", gap.as_millis()) } else { format::duration(gap) }
}

fn in_words(events: &[Event], lease: Option<EpochMs>, now: EpochMs) -> String {
    let told = events.iter().enumerate().map(|(row, event)| {
        let since = match row {
            0 => format::time(event.at),
            _ => since(events, row).trim_start_matches(", +").to_owned() + " later",
        };
        format!("{since}: {}.", event.label)
    });
    let lease = lease.map(|lease| {
        let word = if lease > now { "ends" } else { "has ended" };
        format!("The lease {word} at {}.", format::time(lease))
    });
    told.chain(lease).collect::<Vec<_>>().join(" ")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn history(entries: &[(u64, u64, HistoryEvent)]) -> Vec<Event> {
        let entry = |(at, attempt, event): &(u64, u64, HistoryEvent)| {
            Event::of_history(&HistoryEntry { event: *event, at: EpochMs(*at), attempt: *attempt, request: None })
        };
        entries.iter().map(entry).collect()
    }

    #[test]
    fn an_attempt_reaches_to_its_own_end_or_to_the_last_row() {
        use HistoryEvent::{Abandoned, Claimed, LeaseOver, Reconciling, Succeeded};
        let events = history(&[(0, 1, Claimed), (10, 1, LeaseOver), (10, 2, Reconciling), (20, 2, Succeeded)]);
        assert_eq!(runs(&events, 4), [(0, 1), (2, 3)]);
        let running = history(&[(0, 1, Claimed), (5, 1, Abandoned), (10, 2, Reconciling)]);
        assert_eq!(runs(&running, 4), [(0, 1), (2, 3)]);
    }

    #[test]
    fn the_words_say_what_the_picture_shows() {
        let events =
            history(&[(1_795_494_059_000, 1, HistoryEvent::Claimed), (1_795_494_059_250, 1, HistoryEvent::Succeeded)]);
        assert_eq!(
            in_words(&events, Some(EpochMs(1_795_494_060_000)), EpochMs(0)),
            "2026-11-24 04:20:59 UTC: Attempt 1 starts, under a lease. 250 ms later: Settled: it happened. \
             The lease ends at 2026-11-24 04:21:00 UTC."
        );
    }

    #[test]
    fn a_long_name_is_cut_and_a_short_one_is_not() {
        assert_eq!((short("olga"), short("olga.the.operator")), ("olga".to_owned(), "olga.the.op…".to_owned()));
    }
}
