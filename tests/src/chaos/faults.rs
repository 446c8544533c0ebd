//! Faults of the requests to DynamoDB: lost, repeated and delayed requests, and killed senders.

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use fault_proxy::{Fault, FaultPlan, Moment, Request};

use super::kill_point::{MOMENTS, Step};
use super::tally::{FREEZE, KillTally, Place, Sandbox};

/// Injects random faults, and kills processes at the named points.
pub(super) struct Faults {
    pub(super) losses: Arc<AtomicU64>,
    pub(super) tally: KillTally,
    /// The number of kills to reach.
    pub(super) kills: u64,
    /// The number of kills to reach at each point.
    pub(super) goal: u64,
    /// The number of freezes to reach.
    pub(super) freezes: u64,
    pub(super) rng: fastrand::Rng,
    /// Processes to be killed, with the write that each of them sent.
    pub(super) pending_kills: HashMap<i32, Step>,
}

impl FaultPlan for Faults {
    fn fault_for(&mut self, request: &Request) -> Fault {
        if let Some((step, moment, process)) = self.pick_target(request) {
            self.pending_kills.insert(process, step);
            return Fault::Kill(moment, process);
        }
        if self.freezes_sender(request) {
            return Fault::Delay(FREEZE);
        }
        let loss = match self.rng.u8(0..100) {
            0..2 => Fault::LoseRequest,
            2..5 => Fault::LoseReply,
            5..7 => Fault::Repeat,
            7..9 => Fault::Delay(Duration::from_millis(self.rng.u64(0..300))),
            _ => return Fault::None,
        };
        self.losses.fetch_add(1, Ordering::Relaxed);
        loss
    }

    fn kill(&mut self, moment: Moment, process: i32) {
        if let Some(step) = self.pending_kills.remove(&process) {
            self.tally.kill(process, Place::At((step, moment)));
        }
    }
}

impl Faults {
    /// Freezes the sender of an outcome. Its request arrives when its lease has ended and, most often, another owner has
    /// settled the record: a late owner, whose write must be refused.
    fn freezes_sender(&mut self, request: &Request) -> bool {
        let is_outcome = matches!(Step::of(request), Some(Step::Commit | Step::Effects));
        if !is_outcome || self.tally.counts().all_freezes() >= self.freezes || self.rng.bool() {
            return false;
        }
        let process = sender(request)
            .and_then(|number| self.tally.counts().sandboxes.get(&number).map(|sandbox| sandbox.process));
        process.is_some_and(|process| self.tally.freeze(process))
    }

    /// Decides whether to kill the sender of this request, and when. The fewer kills a point has had, the more likely
    /// they are.
    fn pick_target(&mut self, request: &Request) -> Option<(Step, Moment, i32)> {
        let (step, counts) = (Step::of(request)?, self.tally.counts());
        let is_rare = MOMENTS.into_iter().any(|moment| counts.at((step, moment)) < self.goal);
        let is_needed = is_rare || counts.kills < self.kills;
        if counts.is_over || !is_needed || self.rng.u8(0..if is_rare { 2 } else { 12 }) != 0 {
            return None;
        }
        let Sandbox { process, function, .. } = counts.sandboxes.get(&sender(request)?)?;
        let step = step.by(*function);
        let moment = MOMENTS.into_iter().min_by_key(|moment| counts.at((step, *moment)))?;
        Some((step, moment, *process))
    }
}

/// The number of the sandbox that sent a request: each has its own access key.
fn sender(request: &Request) -> Option<u16> {
    let (_, credential) = request.header("authorization")?.split_once("Credential=sandbox")?;
    credential.split(|character: char| !character.is_ascii_digit()).next()?.parse().ok()
}
