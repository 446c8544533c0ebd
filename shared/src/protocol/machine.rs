//! One call as a state machine without I/O: from the first read of its record to its answer.
//!
//! [`poll`](Machine::poll) returns the next action; [`handle`](Machine::handle) takes its result and the time. The
//! machine depends on no store, clock, random source or runtime. The same code is therefore driven by the engine, by
//! the exhaustively checked model, and, through the engine, by the exploration and the simulation.
//!
//! ```text
//! Recall ─► (LookUp) ─► Write(claim) ─► Run ─► Write(commit | release | abandon) ─► Done
//!               │ refused            │ no reply: Write(abandon) finds out what became of it
//!               ├─► Wait ─► Read ─► …│
//!               └─► Resolve ─► Write(commit | restart | reopen | abandon) ─► Run | Done
//! ```
//!
//! ```
//! use std::time::Duration;
//! use idempotency::protocol::machine::{Action, End, Input, Machine, Ran, Reply, Terms, Wait};
//! use idempotency::protocol::{
//!     ClaimRequest, EpochMs, Fingerprinter, Key, LeaseLimit, OwnerToken, Principal, RecordId, TransactionId, Uncertain,
//! };
//!
//! # fn main() -> Result<(), Box<dyn std::error::Error>> {
//! let now = EpochMs(1_000);
//! let request = ClaimRequest {
//!     id: RecordId::new("orders", &Principal::new("alice")?, &Key::new("k")?),
//!     operation: "place order".into(),
//!     principal: None,
//!     subject: None,
//!     invocation: None,
//!     trace: None,
//!     fingerprint: Fingerprinter::new().finish(),
//!     owner: OwnerToken([1; 16]),
//!     transaction: TransactionId::new(now, [0; 10]),
//!     lease: LeaseLimit { at_most: Duration::from_secs(5), by: EpochMs(11_000) },
//!     uncertain: Uncertain::Reconcile,
//! };
//! let terms = Terms {
//!     retention: Duration::from_secs(60),
//!     start_by: EpochMs(9_000),
//!     write_by: EpochMs(61_000),
//!     wait: Wait::No,
//! };
//! let mut machine = Machine::call(request, terms);
//! machine.handle(Input::Recalled(None), now);
//! assert!(matches!(machine.poll(), Action::Write { .. }), "the claim");
//! machine.handle(Input::Written(Reply::Applied), now);
//! assert!(matches!(machine.poll(), Action::Run(_)));
//! machine.handle(Input::Ran(Ran::NotExecuted), now);
//! machine.handle(Input::Written(Reply::Applied), now);
//! assert!(matches!(machine.poll(), Action::Done(End::NotExecuted)));
//! # Ok(())
//! # }
//! ```

mod acquire;
mod action;
mod conclude;
mod end;
mod event;
mod input;
mod stage;
mod terms;

pub use action::{Action, Purpose};
pub use end::{End, Failure};
pub use event::{Event, FencedClaim};
pub use input::{EffectRefusal, Input, Proof, Ran, Reply};
pub use terms::{Terms, Wait};

use std::sync::Arc;

use super::{ClaimRequest, EpochMs, EpochS, Record};
use acquire::{fetched, not_fetched};
use stage::Stage;

/// The maximum number of rounds of a call if other calls are faster. Each round decides again about the record that it
/// finds.
pub const ROUNDS: u8 = 8;

/// One call to an operation.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Machine {
    mode: Mode,
    terms: Terms,
    request: ClaimRequest,
    rounds_left: u8,
    /// Whether the record is looked up before the first write.
    looks_up: bool,
    /// Whether the claim was acquired too late to run under it.
    too_late: bool,
    stage: Stage,
    events: Vec<Event>,
}

/// How a call uses its record.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
enum Mode {
    /// Claims, runs, commits. An uncertain record is marked as UNKNOWN, or held and resolved.
    Claim { resolves: bool },
    /// Runs without a claim and puts the settled record with the effects.
    SingleWrite,
    /// Holds a record that was found uncertain and settles it by evidence.
    Reconcile,
    /// Holds the record as a lock, which is released but never settled.
    Lock,
}

impl Machine {
    /// Creates a call that marks an uncertain record as UNKNOWN and leaves its reconciliation to other processes.
    #[must_use]
    pub const fn call(request: ClaimRequest, terms: Terms) -> Self {
        Self::new(Mode::Claim { resolves: false }, request, terms, Stage::Recalling)
    }

    /// Creates a call that resolves an uncertain record by evidence.
    #[must_use]
    pub const fn resolving_call(request: ClaimRequest, terms: Terms) -> Self {
        Self::new(Mode::Claim { resolves: true }, request, terms, Stage::Recalling)
    }

    /// Creates a call in single-write mode.
    #[must_use]
    pub const fn single_write(request: ClaimRequest, terms: Terms) -> Self {
        Self::new(Mode::SingleWrite, request, terms, Stage::Recalling)
    }

    /// Creates a reconciliation of a found record. The found version may be stale: only the takeover's condition
    /// decides.
    #[must_use]
    pub fn reconciliation(request: ClaimRequest, terms: Terms, found: &Record, now: EpochMs) -> Self {
        let mut machine = Self::new(Mode::Reconcile, request, terms, Stage::Recalling);
        machine.stage = machine.look(Some(found), now);
        machine
    }

    /// Creates the acquisition of a lock. A lease that ends later than twice
    /// [`LeaseLimit::at_most`](crate::protocol::LeaseLimit::at_most) from now is ignored, because the clock that wrote
    /// it was ahead.
    #[must_use]
    pub fn lock(request: ClaimRequest, terms: Terms, now: EpochMs) -> Self {
        let mut machine = Self::new(Mode::Lock, request, terms, Stage::Recalling);
        machine.stage = machine.look(None, now);
        machine
    }

    const fn new(mode: Mode, request: ClaimRequest, terms: Terms, stage: Stage) -> Self {
        Self { mode, terms, request, rounds_left: ROUNDS, looks_up: false, too_late: false, stage, events: Vec::new() }
    }

    /// Looks up the record by an eventually consistent read before the first write, for a call that is probably a
    /// duplicate: the read costs a fraction of a refused write.
    ///
    /// The read may return an older version or nothing. Therefore it is used only if an older version suffices for the
    /// answer; otherwise the call writes as if it had read nothing. A stale read thus costs the write that it was meant
    /// to save.
    #[must_use]
    pub fn looking_up(self) -> Self {
        Self { looks_up: true, ..self }
    }

    /// The claim request of this call.
    #[must_use]
    pub const fn request(&self) -> &ClaimRequest {
        &self.request
    }

    /// Whether an attempt before the current one may have had its effects. In that case the claim is never released.
    #[must_use]
    pub fn follows_uncertain(&self) -> bool {
        self.stage.claim().is_some_and(|claim| claim.follows_uncertain)
    }

    /// The record, while this call holds it.
    #[must_use]
    pub fn held(&self) -> Option<&Record> {
        self.stage.claim().map(|claim| &claim.record)
    }

    /// The next action. It stays the same until [`handle`](Self::handle) has taken its result.
    #[must_use]
    pub fn poll(&self) -> Action<'_> {
        self.stage.action(&self.request)
    }

    /// The events since the previous call of this function, oldest first, for metrics and logs. Nothing depends on
    /// them.
    pub fn take_events(&mut self) -> Vec<Event> {
        std::mem::take(&mut self.events)
    }

    /// Lets a model merge states that differ only in irrelevant details: `change` removes from each record the data
    /// that only people read, such as the history, and the call gets back all its [`ROUNDS`].
    #[cfg(any(test, feature = "test-util"))]
    pub fn simplify(&mut self, mut change: impl FnMut(&mut Record)) {
        self.rounds_left = ROUNDS;
        self.stage.change_records(&mut change);
    }

    /// Processes the result of the last [action](Self::poll) at the time `now`.
    ///
    /// # Panics
    /// If the input is not a result of that action.
    pub fn handle(&mut self, input: Input, now: EpochMs) {
        let stage = std::mem::replace(&mut self.stage, Stage::Recalling);
        self.stage = match (stage, input) {
            (Stage::Recalling, Input::Recalled(found)) => self.recalled(found, now),
            (Stage::LookingUp, Input::Read(found)) => self.looked_up(found.map(Arc::from), now),
            // The write will show the record's state.
            (Stage::LookingUp, Input::NotRead) => self.look(None, now),
            (Stage::Waiting { .. }, Input::Elapsed) => Stage::Reading,
            (Stage::Reading, Input::Read(found)) => self.looked_again(found.as_deref(), now),
            (Stage::Reading, Input::NotRead) => self.failed(Failure::StoreUnavailable),
            (Stage::Marking(mark), Input::Written(reply)) => self.marked(&mark, reply, now),
            (Stage::Claiming(claim), Input::Written(reply)) => self.claimed(claim, reply, now),
            (Stage::GivingUp(_), Input::Written(_)) => self.failed(Failure::StoreUnavailable),
            (Stage::Held(claim), Input::Ran(ran)) => self.ran(claim, ran, now),
            (Stage::Held(claim), Input::Renew) => self.renew(claim, now),
            (Stage::Renewing { claim, extend }, Input::Written(reply)) => self.renewed(*claim, extend, reply, now),
            (Stage::Resolving(claim), Input::Evidence(proof)) => self.resolved(claim, proof, now),
            (Stage::Committing { claim, commit, by_evidence }, Input::Written(reply)) => {
                self.committed(claim, commit, by_evidence, reply, now)
            }
            (Stage::Committing { claim, commit, by_evidence }, Input::Rejected(short)) => {
                Stage::Committing { claim, commit: self.shorten(commit, short), by_evidence }
            }
            (Stage::FindingOut { claim, made, by_evidence, .. }, Input::Written(reply)) => {
                self.found_out(claim, made, by_evidence, reply, now)
            }
            (Stage::Releasing { claim, release, again }, Input::Written(reply)) => {
                self.released(claim, release, again, reply)
            }
            (Stage::Abandoning { claim, by_evidence, .. }, Input::Written(reply)) => {
                self.abandoned(*claim, by_evidence, reply, now)
            }
            (Stage::Restarting { claim, restart }, Input::Written(reply)) => {
                self.restarted(*claim, restart, reply, now)
            }
            (Stage::Reopening { claim, reopen }, Input::Written(reply)) => self.reopened(claim, reopen, reply, now),
            (Stage::Beginning(begin), Input::Ran(ran)) => self.ran_unclaimed(*begin, ran, now),
            (Stage::Settling { settle, with_effects }, Input::Written(reply)) => {
                self.settled(settle, with_effects, reply)
            }
            (Stage::Settling { settle, with_effects }, Input::Rejected(short)) => {
                let settle = self.shorten(settle, short);
                self.settling(settle, with_effects, now)
            }
            (Stage::Drawing(found), Input::Token(owner)) => {
                self.request.owner = owner;
                self.look(found.as_deref(), now)
            }
            (Stage::Fetching { record, resolution, .. }, Input::Parts(whole)) => fetched(record, resolution, whole),
            (Stage::Fetching { record, after_run, .. }, Input::NotRead) => not_fetched(&record, after_run),
            (stage, input) => panic!("{input:?} does not answer {:?}", stage.action(&self.request)),
        };
    }

    fn expiration(&self, now: EpochMs) -> EpochS {
        match self.mode {
            // 9999-12-31T23:59:59Z: a lock must not expire, or its fencing token would begin again at 1.
            Mode::Lock => EpochS(253_402_300_799),
            Mode::Claim { .. } | Mode::SingleWrite | Mode::Reconcile => now.seconds().plus(self.terms.retention),
        }
    }

    fn failed(&self, failure: Failure) -> Stage {
        self.ends(End::Failed(failure))
    }

    fn ends(&self, end: End) -> Stage {
        match self.too_late {
            true => Stage::Done(End::Failed(Failure::DeadlineAtHand)),
            false => Stage::Done(end),
        }
    }
}
