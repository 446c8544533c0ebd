//! One subject in one case: a database, a sandbox, and the prepared state.

use std::time::Duration;

use anyhow::{Result, ensure};
use serde::Serialize;

use crate::cases::{Before, Case};
use crate::database::Database;
use crate::sandbox::{Answer, Sandbox};
use crate::subject::Subject;
use fault_proxy::Traffic;

/// A subject that is ready to be measured.
pub struct Stage {
    case: Case,
    database: Database,
    sandbox: Sandbox,
    /// The sandbox that holds the claim.
    _holder: Option<Sandbox>,
    next: usize,
}

/// The request by which every subject claims.
const CLAIM: &str = "PutItem";

/// The figures of one turn.
#[derive(Clone, Debug, Default, Serialize)]
pub struct Turn {
    /// The duration of each invocation.
    #[serde(skip)]
    pub durations: Vec<Duration>,
    /// The CPU time of all invocations.
    pub cpu: Duration,
    /// The traffic to the store, of all invocations.
    pub traffic: Traffic,
}

impl Stage {
    /// Starts the sandbox and prepares the state that this many invocations need.
    ///
    /// # Errors
    /// When the subject does not behave as expected.
    pub async fn prepare(subject: &Subject, case: Case, invocations: usize) -> Result<Self> {
        Self::prepare_on(Database::start().await?, subject, case, invocations).await
    }

    /// The same as [`prepare`](Self::prepare), on this database.
    ///
    /// # Errors
    /// When the subject does not behave as expected.
    pub async fn prepare_on(database: Database, subject: &Subject, case: Case, invocations: usize) -> Result<Self> {
        let mut sandbox = Sandbox::start(subject, case.mode(), &database).await?;
        let mut holder = None;
        match case.before() {
            Before::Nothing => {}
            Before::RunHere => drop(sandbox.invoke(case.earlier_event(0)).await?),
            Before::RunElsewhere => {
                let mut other = Sandbox::start(subject, case.mode(), &database).await?;
                for number in 0..invocations {
                    other.invoke(case.earlier_event(number)).await?;
                }
            }
            Before::HeldElsewhere => {
                let mut other = Sandbox::start(subject, case.mode(), &database).await?;
                other.send(case.earlier_event(0))?;
                // The existence of the record would not be enough: at that time its request may not be counted yet.
                while !database.proxy.operations().contains_key(CLAIM) {
                    tokio::time::sleep(Duration::from_millis(1)).await;
                }
                holder = Some(other);
            }
        }
        Ok(Self { case, database, sandbox, _holder: holder, next: 0 })
    }

    /// Makes each request to the store take at least this long from now on.
    pub fn delay(&self, delay: Duration) {
        self.database.proxy.set_latency(delay);
    }

    /// The sandbox.
    pub const fn sandbox(&self) -> &Sandbox {
        &self.sandbox
    }

    /// The database.
    pub const fn database(&self) -> &Database {
        &self.database
    }

    /// Runs the next invocations.
    ///
    /// # Errors
    /// When an invocation does not get the answer that the case expects.
    pub async fn turn(&mut self, invocations: usize) -> Result<Turn> {
        let process = self.sandbox.process()?;
        let (cpu, traffic) = (process.cpu()?, self.database.proxy.traffic());
        let mut durations = Vec::with_capacity(invocations);
        for _ in 0..invocations {
            let answer = self.sandbox.invoke(self.case.event(self.next)).await?;
            self.check(&answer)?;
            durations.push(answer.duration);
            self.next += 1;
        }
        Ok(Turn { durations, cpu: process.cpu()? - cpu, traffic: self.database.proxy.traffic() - traffic })
    }

    fn check(&self, answer: &Answer) -> Result<()> {
        let shown = || String::from_utf8_lossy(&answer.payload).into_owned();
        match self.case.status() {
            Some(status) => ensure!(answer.status() == Some(status), "{}: {}", self.case, shown()),
            None => ensure!(returned(answer) == Some(0), "{}: {}", self.case, shown()),
        }
        Ok(())
    }
}

/// The number of messages that a batch response returns.
fn returned(answer: &Answer) -> Option<usize> {
    let report: serde_json::Value = serde_json::from_slice(&answer.payload).ok()?;
    Some(report["batchItemFailures"].as_array()?.len())
}
