//! A held claim, and how it ends.

use derive_where::derive_where;

use super::outcome::Stored;
use super::{Answer, Attempt, Driver, Error, Outcome, Reason, Verdict};
use crate::protocol::machine::{Action, Ran};
use crate::protocol::{Record, Resolution};
use crate::store::Store;

/// The result of a claim.
#[derive_where(Debug)]
pub enum Claimed<S: Store> {
    /// The call holds the claim: run the operation, then end the claim.
    Acquired(Box<Claim<S>>),
    /// There is nothing to run; this is the outcome.
    Answered(Outcome<Stored>),
}

/// The exclusive right to run one attempt.
///
/// End it with [`commit`](Self::commit), [`release`](Self::release) or [`abandon`](Self::abandon), each of which
/// consumes it. Dropping it does nothing, since a sandbox can freeze before any clean-up: the claim then ends with its
/// lease.
#[must_use = "a claim that is not ended blocks its key until the lease is over, and leaves the outcome uncertain"]
#[derive_where(Debug)]
pub struct Claim<S: Store> {
    #[derive_where(skip)]
    driver: Box<Driver<S>>,
    attempt: Attempt<S::Effect>,
}

impl<S: Store> Claim<S> {
    /// The claim if the driver holds one; otherwise returns the driver.
    pub(super) fn of(driver: Box<Driver<S>>) -> Result<Self, Box<Driver<S>>> {
        match driver.attempt() {
            Some(attempt) => Ok(Self { driver, attempt }),
            None => Err(driver),
        }
    }

    /// The record as it was claimed.
    #[must_use]
    pub fn record(&self) -> &Record {
        match self.driver.machine().poll() {
            Action::Run(record) => record,
            action => unreachable!("a claim is held until it is consumed: {action:?}"),
        }
    }

    /// A handle to the attempt, for the code that runs under the claim.
    #[must_use]
    pub fn attempt(&self) -> Attempt<S::Effect> {
        self.attempt.clone()
    }

    /// Whether an earlier attempt may have had its effects. Do not [release](Self::release) such a claim.
    #[must_use]
    pub fn follows_uncertain(&self) -> bool {
        self.driver.machine().follows_uncertain()
    }

    /// Runs under the claim and ends it.
    pub(super) async fn run<T, F, R>(mut self, run: F) -> Result<Outcome<T>, Error>
    where
        T: Answer,
        F: FnOnce(Attempt<S::Effect>) -> R,
        R: Future<Output = Verdict<T>>,
    {
        let attempt = self.attempt;
        if attempt.remaining().is_zero() {
            self.driver.end_run(Ran::NotBegun).await;
            self.driver.advance().await?;
            return self.driver.outcome(None);
        }
        let answer = self.driver.run(&attempt, run).await;
        self.driver.advance().await?;
        let (engine, operation) = (self.driver.engine().clone(), self.driver.machine().request().operation.clone());
        let outcome = self.driver.outcome(answer);
        engine.count_retry(attempt.number(), &operation, &outcome);
        outcome
    }

    /// Settles the record with its answer and writes the effects, in one transaction.
    ///
    /// If another call has taken over the claim, nothing is written, and the outcome is the recorded one, not this
    /// answer.
    ///
    /// # Errors
    /// [`Error::NotRecorded`] if the store cannot be reached.
    pub async fn commit<T: Answer>(
        mut self,
        resolution: Resolution,
        answer: T,
        effects: Vec<S::Effect>,
    ) -> Result<Outcome<T>, Error> {
        self.driver.end_run_with(resolution, &answer, effects).await;
        self.driver.advance().await?;
        self.driver.outcome(Some(answer))
    }

    /// Releases the claim because nothing was executed: the next call begins again under the same transaction id, even
    /// with another request.
    ///
    /// If an earlier attempt may have had its effects ([`follows_uncertain`](Self::follows_uncertain)), the claim is
    /// abandoned instead: this attempt knows nothing about the effects of the earlier one.
    ///
    /// # Errors
    /// [`Error::NotRecorded`] if the store cannot be reached.
    pub async fn release(mut self) -> Result<(), Error> {
        self.driver.end_run(Ran::NotExecuted).await;
        self.driver.advance().await?;
        self.driver.released()
    }

    /// Abandons the claim because it is unknown whether anything was executed. The record becomes UNKNOWN.
    ///
    /// # Errors
    /// [`Error::NotRecorded`] if the store cannot be reached.
    pub async fn abandon(mut self, reason: Reason) -> Result<Outcome<Stored>, Error> {
        self.driver.end_run_unknown(reason).await;
        self.driver.advance().await?;
        self.driver.stored_outcome()
    }
}
