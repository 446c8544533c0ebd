//! Scores each window once, under the lock.
//!
//! A window's memories are written under conditions that recognise an earlier try, and the progress is stored with
//! calibration and sample in one transaction. So a run that was interrupted scores its window again, from the same
//! memories, and changes nothing that it has done already.

use std::panic::AssertUnwindSafe;
use std::time::Duration;

use futures::FutureExt;
use futures::stream::{self, StreamExt, TryStreamExt};
use idempotency::lock::Fenced;
use idempotency::protocol::EpochMs;
use idempotency::{DynamoDbStore, Engine, RecordLock};
use lambda_runtime::Error;
use payments::Invocation;
use serde::Serialize;
use signals::{Calibration, Evidence, Kind, Memory, Moment, WindowTime, score};

use crate::table::{Label, Remembered, Signal, Signals, State, StoredMemory, TableError, Window};

/// Writes at a time.
const CONCURRENCY: usize = 32;

/// How long before its deadline a run begins no other window.
const RESERVE: Duration = Duration::from_secs(10);

/// How far back the first run begins, limited by a number of windows.
const FIRST_S: u64 = 60 * 60;
const FIRST_WINDOWS: u64 = 120;

/// The number of days whose labels count: those that the calibration keeps.
const LABELLED_DAYS: u32 = 28;

/// Days read at a time.
const DAYS_AT_ONCE: usize = 8;

/// Scores the windows that are due.
#[derive(Debug)]
pub struct Scorer {
    engine: Engine<DynamoDbStore>,
    table: Signals,
    alerts_per_day: f64,
}

/// What a run did.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize)]
pub struct Report {
    /// Another run holds the lock.
    pub held_elsewhere: bool,
    /// Windows of time that were scored.
    pub windows: u64,
    /// Windows of entities that were scored.
    pub entities: u64,
    /// New signals.
    pub raised: u64,
    /// Whether a model was learned.
    pub learned: bool,
}

/// A window of an entity, with the findings.
struct Scored {
    kind: Kind,
    entity: String,
    window: Window,
    stored: StoredMemory,
    /// The entity's memory after the window.
    memory: Memory,
    evidence: Evidence,
}

impl Scorer {
    /// Creates a scorer that raises about this many entities a day wrongly.
    #[must_use]
    pub const fn new(engine: Engine<DynamoDbStore>, table: Signals, alerts_per_day: f64) -> Self {
        Self { engine, table, alerts_per_day }
    }

    /// Scores every window that is closed and not scored yet, as far as the time allows.
    ///
    /// # Errors
    /// If a table does not answer. The next run continues.
    pub async fn run(&self, invocation: Invocation) -> Result<Report, Error> {
        let left = invocation.deadline.since(self.engine.now());
        // The lock of a killed run expires shortly after its deadline.
        let lock = RecordLock::new(self.engine.clone(), "retry-signals", left + Duration::from_secs(2));
        let Some(held) = lock.acquire(invocation.id).await? else {
            tracing::info!("another run holds the lock");
            return Ok(Report { held_elsewhere: true, ..Report::default() });
        };
        let end = self.engine.now().plus(left.saturating_sub(RESERVE));
        let ended = AssertUnwindSafe(self.locked(held.fence().get(), end)).catch_unwind().await;
        if let Err(error) = held.release().await {
            let error = &error as &dyn std::error::Error;
            tracing::error!(error, "the lock was not released; it is free when its lease ends");
        }
        let report = ended.unwrap_or_else(|_panic| Err("the run panicked".into()))?;
        metrics::counter!("SignalsHeartbeat").increment(1);
        metrics::counter!("SignalWindows").increment(report.entities);
        tracing::info!(report = %serde_json::to_string(&report)?, "scored");
        Ok(report)
    }

    async fn locked(&self, fence: u64, end: EpochMs) -> Result<Report, Error> {
        let mut report = Report::default();
        let mut state = self.table.state().await?;
        let mut labels = None;
        let now_s = self.engine.now().0 / 1000;
        let mut next = self.first(&state, now_s);
        // The last window has no requests: its progress is stored with that of a later one.
        let mut empty = None;
        while self.table.closed_at_s(next) <= now_s && self.engine.now() < end {
            let found = self.found(next).await?;
            if found.is_empty() {
                empty = Some(next);
            } else {
                empty = None;
                state.begin_day(next);
                report.learned |= self.table.learn(&mut state, next, fence).await?;
                if labels.is_none() {
                    labels = Some(self.labelled(next.day()).await?);
                }
                let labelled = labels.as_deref().unwrap_or_default();
                self.window(&mut state, found, labelled, next, fence, &mut report).await?;
            }
            report.windows += 1;
            next = WindowTime::containing(next.end_s(), self.table.window_s());
        }
        if let Some(last) = empty {
            self.table.advance(&state, last, fence).await?;
        }
        Ok(report)
    }

    /// The window after the last one that was scored.
    fn first(&self, state: &State, now_s: u64) -> WindowTime {
        let length_s = self.table.window_s();
        let first_s = match state.progress.scored_s {
            Some(scored_s) => scored_s + u64::from(length_s),
            None => now_s.saturating_sub(FIRST_S.min(FIRST_WINDOWS * u64::from(length_s))),
        };
        WindowTime::containing(first_s, length_s)
    }

    /// The windows of all entities at a time.
    async fn found(&self, at: WindowTime) -> Result<Vec<(Kind, Vec<(String, Window)>)>, TableError> {
        let mut found = Vec::new();
        for kind in Kind::ALL {
            let windows = self.table.windows(kind, at).await?;
            if !windows.is_empty() {
                found.push((kind, windows));
            }
        }
        Ok(found)
    }

    /// The entity-days that operators labelled as abuse or a client bug.
    async fn labelled(&self, today: u32) -> Result<Vec<Signal>, TableError> {
        let days = (today.saturating_sub(LABELLED_DAYS)..=today).map(|day| self.table.signals(day));
        let days: Vec<_> = stream::iter(days).buffer_unordered(DAYS_AT_ONCE).try_collect().await?;
        let is_unusual = |signal: &Signal| match signal.label() {
            Some(Label::Abuse | Label::ClientBug) => true,
            Some(Label::Fine) | None => false,
        };
        Ok(days.into_iter().flatten().filter(is_unusual).collect())
    }

    /// Scores a window of all entities, and stores memories, signals and progress.
    async fn window(
        &self,
        state: &mut State,
        found: Vec<(Kind, Vec<(String, Window)>)>,
        labelled: &[Signal],
        at: WindowTime,
        fence: u64,
        report: &mut Report,
    ) -> Result<(), Error> {
        let calibration = without(&state.calibration, labelled);
        let threshold = calibration.threshold(self.alerts_per_day, at);
        for (kind, windows) in found {
            let entities: Vec<&str> = windows.iter().map(|(entity, _)| entity.as_str()).collect();
            let remembered = self.table.memories(kind, &entities).await?;
            let scored = score_all(state, kind, windows, remembered, labelled, at);
            report.entities += scored.len() as u64;
            let writes =
                scored.iter().map(|each| self.table.absorb(kind, &each.entity, &each.stored, &each.memory, at));
            stream::iter(writes).buffer_unordered(CONCURRENCY).try_collect::<()>().await?;
            for each in scored.iter().filter(|each| each.evidence.score() > threshold) {
                let share = calibration.share_of_days(each.evidence.score());
                let signal = Signal::of(each.kind, &each.entity, &each.window, &each.evidence, share, at);
                if let Some(signal) = signal
                    && self.table.raise(signal).await?
                {
                    report.raised += 1;
                    metrics::counter!("SignalRaised").increment(1);
                }
            }
        }
        self.table.advance(state, at, fence).await?;
        Ok(())
    }
}

/// Scores the windows of a kind, and adds them to calibration and sample, except entity-days that operators labelled as
/// abuse or a client bug.
fn score_all(
    state: &mut State,
    kind: Kind,
    windows: Vec<(String, Window)>,
    mut remembered: Remembered,
    labelled: &[Signal],
    at: WindowTime,
) -> Vec<Scored> {
    let moment = Moment::of(kind, windows.iter().map(|(_, window)| &window.counts), &state.model);
    let mut all = Vec::with_capacity(windows.len());
    for (entity, window) in windows {
        let stored = remembered.remove(&entity).unwrap_or_default();
        let before = stored.before(at).clone();
        let evidence = score(&window.counts, &before, &state.model, &moment, at);
        let is_labelled =
            labelled.iter().any(|signal| (signal.kind, &signal.entity, signal.day) == (kind, &entity, at.day()));
        if !is_labelled {
            state.sample.sample.observe(&window.counts, &before, &moment, at);
            state.sample.windows += 1;
        }
        state.calibration.observe(tag(&entity), evidence.score(), before.is_first_of_day(at), at);
        let mut memory = before;
        memory.absorb(&window.counts, &moment, at);
        all.push(Scored { kind, entity, window, stored, memory, evidence });
    }
    all
}

/// The calibration without the entity-days that operators labelled as abuse or a client bug. The stored one keeps them,
/// so that a label can be taken back.
fn without(calibration: &Calibration, labelled: &[Signal]) -> Calibration {
    let mut calibration = calibration.clone();
    for signal in labelled {
        calibration.forget(tag(&signal.entity), signal.day);
    }
    calibration
}

/// The first eight bytes of a pseudonym.
fn tag(entity: &str) -> u64 {
    entity.bytes().take(8).fold(0, |tag, byte| tag << 8 | u64::from(byte))
}
