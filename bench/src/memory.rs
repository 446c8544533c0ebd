//! The memory of a sandbox, and its growth.

use anyhow::Result;
use serde::Serialize;

use crate::cases::Case;
use crate::stage::Stage;
use crate::subject::Subject;

/// The peak memory of a sandbox, in bytes.
#[derive(Clone, Debug, Serialize)]
pub struct Memory {
    /// The subject.
    pub subject: String,
    /// At the first poll for an invocation.
    pub started_bytes: u64,
    /// After a tenth of the invocations.
    pub early_bytes: u64,
    /// After all of them.
    pub late_bytes: u64,
}

/// Measures the memory over this many first runs in one sandbox.
///
/// # Errors
/// When a request does not get the expected answer.
pub async fn of(subject: &Subject, invocations: usize) -> Result<Memory> {
    let mut stage = Stage::prepare(subject, Case::FirstRun, invocations).await?;
    let process = stage.sandbox().process()?;
    let started_bytes = process.peak_bytes()?;
    stage.turn(invocations / 10).await?;
    let early_bytes = process.peak_bytes()?;
    stage.turn(invocations - invocations / 10).await?;
    Ok(Memory { subject: subject.name.clone(), started_bytes, early_bytes, late_bytes: process.peak_bytes()? })
}
