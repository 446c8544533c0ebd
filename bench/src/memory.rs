//! Memory of a sandbox, and whether it grows.

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
    /// At its first poll for an invocation.
    pub started_bytes: u64,
    /// After a tenth of the invocations.
    pub early_bytes: u64,
    /// After all of them.
    pub late_bytes: u64,
}

/// Makes so many first runs in one sandbox.
///
/// # Errors
/// When one is not answered as it should be.
pub async fn of(subject: &Subject, invocations: usize) -> Result<Memory> {
    let mut stage = Stage::prepare(subject, Case::FirstRun, invocations).await?;
    let process = stage.sandbox().process()?;
    let started_bytes = process.peak_bytes()?;
    stage.turn(invocations / 10).await?;
    let early_bytes = process.peak_bytes()?;
    stage.turn(invocations - invocations / 10).await?;
    Ok(Memory { subject: subject.name.clone(), started_bytes, early_bytes, late_bytes: process.peak_bytes()? })
}
