//! Measures one case at one delay: all subjects in turn, so that other load on the machine slows all of them alike.

use std::time::Duration;

use anyhow::{Context, Result};
use serde::{Deserialize, Serialize};

use crate::cases::Case;
use crate::options::Choice;
use crate::stage::{Stage, Turn};
use crate::statistics::{median, quantile};
use crate::subject::Subject;

/// The figures of a subject in a case.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Row {
    /// The case.
    pub case: String,
    /// The delay that was added to each request to the store.
    pub delay_ms: u64,
    /// The subject.
    pub subject: String,
    /// The number of measured invocations.
    pub invocations: usize,
    /// The number of operations in an invocation. The figures below are per operation, except the times of invocations.
    pub operations: usize,
    /// The median time of an invocation, in microseconds.
    pub p50_us: f64,
    /// The time below which 99 of 100 invocations stayed, in microseconds.
    pub p99_us: f64,
    /// CPU time for 1,000 operations, in seconds, over all turns: it is counted in ticks of 10 ms, which is too coarse
    /// for a single turn.
    pub cpu_s_per_1000: f64,
    /// The number of requests to the store.
    pub requests: f64,
    /// Bytes sent to the store, including HTTP headers.
    pub sent_bytes: f64,
    /// Bytes received from the store, including HTTP headers.
    pub received_bytes: f64,
}

/// Measures a case.
///
/// # Errors
/// When a subject does not behave as expected.
pub async fn measure(case: Case, delay_ms: u64, subjects: &[&Subject], choice: &Choice) -> Result<Vec<Row>> {
    let rounds = choice.rounds.max(1);
    let invocations = case.invocations(choice.invocations, delay_ms).div_ceil(rounds);
    // The warm-up depends on all invocations, not on those of a turn: with more turns, the subjects must be equally
    // warm.
    let warm_up = (rounds * invocations / 25).clamp(1, 50);
    let mut stages = Vec::new();
    for subject in subjects {
        let prepare = async {
            let mut stage = Stage::prepare(subject, case, warm_up + rounds * invocations).await?;
            stage.turn(warm_up).await?;
            stage.delay(Duration::from_millis(delay_ms));
            anyhow::Ok(stage)
        };
        stages.push((*subject, prepare.await.with_context(|| subject.name.clone())?, Vec::new()));
    }
    for _ in 0..rounds {
        for (subject, stage, turns) in &mut stages {
            turns.push(stage.turn(invocations).await.with_context(|| subject.name.clone())?);
        }
    }
    Ok(stages.into_iter().map(|(subject, _, turns)| row(case, delay_ms, subject, &turns)).collect())
}

#[expect(clippy::cast_precision_loss, reason = "counts are far below 2^52")]
fn row(case: Case, delay_ms: u64, subject: &Subject, turns: &[Turn]) -> Row {
    let durations: Vec<Duration> = turns.iter().flat_map(|turn| turn.durations.iter().copied()).collect();
    let operations = (durations.len() * case.operations()) as f64;
    let cpu: Duration = turns.iter().map(|turn| turn.cpu).sum();
    let sum = |of: fn(&Turn) -> u64| turns.iter().map(of).sum::<u64>() as f64 / operations;
    let us = |duration: Duration| duration.as_secs_f64() * 1e6;
    Row {
        case: case.to_string(),
        delay_ms,
        subject: subject.name.clone(),
        invocations: durations.len(),
        operations: case.operations(),
        p50_us: us(median(&durations)),
        p99_us: us(quantile(&durations, 0.99)),
        cpu_s_per_1000: cpu.as_secs_f64() / operations * 1000.0,
        requests: sum(|turn| turn.traffic.requests),
        sent_bytes: sum(|turn| turn.traffic.sent_bytes),
        received_bytes: sum(|turn| turn.traffic.received_bytes),
    }
}
