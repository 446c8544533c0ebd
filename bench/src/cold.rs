//! Cold starts: the times from spawning the process to its first poll and to its first answer.

use std::time::Duration;

use anyhow::{Result, ensure};
use serde::Serialize;

use crate::cases::Case;
use crate::database::Database;
use crate::sandbox::Sandbox;
use crate::statistics::median;
use crate::subject::Subject;

/// Medians of a number of starts.
#[derive(Clone, Debug, Serialize)]
pub struct Start {
    /// The subject.
    pub subject: String,
    /// The time from spawning to the first poll.
    pub first_poll: Duration,
    /// The time from spawning to the first answer, which is a first run's.
    pub first_answer: Duration,
}

/// Starts each subject `count` times, in turn.
///
/// # Errors
/// When one does not start or answer.
pub async fn starts(subjects: &[Subject], count: usize) -> Result<Vec<Start>> {
    starts_on(Database::start, subjects, count).await
}

/// The same, each on a database that this function starts.
///
/// # Errors
/// When one does not start or answer.
pub async fn starts_on<D: Future<Output = Result<Database>>>(
    database: impl Fn() -> D,
    subjects: &[Subject],
    count: usize,
) -> Result<Vec<Start>> {
    let mut times = vec![(Vec::new(), Vec::new()); subjects.len()];
    let case = Case::FirstRun;
    for number in 0..count {
        for (subject, (polls, answers)) in subjects.iter().zip(&mut times) {
            let database = database().await?;
            let mut sandbox = Sandbox::start(subject, case.mode(), &database).await?;
            let answer = sandbox.invoke(case.event(number)).await?;
            ensure!(answer.status() == case.status(), "{}: {:?}", subject.name, answer.payload);
            polls.push(sandbox.first_poll);
            answers.push(answer.since_start);
        }
    }
    let starts = subjects.iter().zip(times).map(|(subject, (polls, answers))| Start {
        subject: subject.name.clone(),
        first_poll: median(&polls),
        first_answer: median(&answers),
    });
    Ok(starts.collect())
}
