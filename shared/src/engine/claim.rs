//! A claim that is held, and how it ends.

use super::outcome::Stored;
use super::{Answer, Attempt, Driver, Error, Outcome, Reason, Verdict};
use crate::protocol::machine::{Action, Ran};
use crate::protocol::{Record, Resolution};
use crate::store::Store;

/// What came of a claim.
pub enum Claimed<S: Store> {
    /// The claim is ours: run, then end it.
    Acquired(Box<Claim<S>>),
    /// There is nothing to run.
    Answered(Outcome<Stored>),
}

/// The exclusive right to run one attempt.
///
/// It ends by [`commit`](Self::commit), [`release`](Self::release) or [`abandon`](Self::abandon), each of which
/// consumes it. Dropping it does nothing: a sandbox can freeze before any clean-up, so what counts is the lease.
#[must_use = "a claim that is not ended blocks its key until the lease is over, and leaves the outcome uncertain"]
pub struct Claim<S: Store> {
    driver: Box<Driver<S>>,
    attempt: Attempt<S::Effect>,
}

impl<S: Store> Claim<S> {
    /// The claim, if the driver has come to one.
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

    /// A handle of the attempt, for what runs under the claim.
    #[must_use]
    pub fn attempt(&self) -> Attempt<S::Effect> {
        self.attempt.clone()
    }

    /// Whether an earlier attempt may have had its effects. Such a claim is not to be [released](Self::release).
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
    /// If the claim was taken over meanwhile, nothing is written and the recorded outcome is the answer, never
    /// our own.
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

    /// Releases the claim: nothing was executed, and anybody may begin again under the same transaction id, even with
    /// another request.
    ///
    /// If an earlier attempt may have had its effects ([`follows_uncertain`](Self::follows_uncertain)), the claim is
    /// abandoned instead: one attempt cannot speak for another.
    ///
    /// # Errors
    /// [`Error::NotRecorded`] if the store cannot be reached.
    pub async fn release(mut self) -> Result<(), Error> {
        self.driver.end_run(Ran::NotExecuted).await;
        self.driver.advance().await?;
        self.driver.released()
    }

    /// Abandons the claim: whether anything was executed is not known. The record becomes UNKNOWN.
    ///
    /// # Errors
    /// [`Error::NotRecorded`] if the store cannot be reached.
    pub async fn abandon(mut self, reason: Reason) -> Result<Outcome<Stored>, Error> {
        self.driver.end_run_unknown(reason).await;
        self.driver.advance().await?;
        self.driver.stored_outcome()
    }
}
