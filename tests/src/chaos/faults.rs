//! What the functions say to DynamoDB is lost, repeated and late, and some of them do not live to hear the reply.

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use super::kill_point::{MOMENTS, Step};
use super::tally::{Place, Sandbox, Toll};
use crate::proxy::{self, Loss, Moment};

/// Loses what chance says, and waits at the named points.
pub(super) struct Weather {
    pub(super) losses: Arc<AtomicU64>,
    pub(super) toll: Toll,
    /// How often somebody is to be killed at each point.
    pub(super) goal: u64,
    pub(super) rng: fastrand::Rng,
    /// What those do who are to be killed.
    pub(super) doomed: HashMap<i32, Step>,
}

impl proxy::Weather for Weather {
    fn over(&mut self, request: &[u8]) -> Loss {
        if let Some((step, moment, process)) = self.victim(request) {
            self.doomed.insert(process, step);
            return Loss::Killed(moment, process);
        }
        let loss = match self.rng.u8(0..100) {
            0..2 => Loss::Request,
            2..5 => Loss::Reply,
            5..7 => Loss::Repeat,
            7..9 => Loss::Delay(Duration::from_millis(self.rng.u64(0..300))),
            _ => return Loss::None,
        };
        self.losses.fetch_add(1, Ordering::Relaxed);
        loss
    }

    fn kill(&mut self, moment: Moment, process: i32) {
        if let Some(step) = self.doomed.remove(&process) {
            self.toll.kill(process, Place::At((step, moment)));
        }
    }
}

impl Weather {
    /// Who is to be killed over this request, and when: the rarer, the likelier.
    fn victim(&mut self, request: &[u8]) -> Option<(Step, Moment, i32)> {
        let (step, counts) = (Step::of(request)?, self.toll.counts());
        let is_rare = MOMENTS.into_iter().any(|moment| counts.at((step, moment)) < self.goal);
        if counts.is_over || self.rng.u8(0..if is_rare { 2 } else { 12 }) != 0 {
            return None;
        }
        let Sandbox { process, function, .. } = counts.sandboxes.get(&sender(request)?)?;
        let step = step.by(*function);
        let moment = MOMENTS.into_iter().min_by_key(|moment| counts.at((step, *moment)))?;
        Some((step, moment, *process))
    }
}

/// The number of the sandbox that sent it: each has an access key of its own.
fn sender(request: &[u8]) -> Option<u16> {
    const BEFORE: &[u8] = b"Credential=sandbox";
    let start = request.windows(BEFORE.len()).position(|window| window == BEFORE)? + BEFORE.len();
    let digits = request[start..].split(|byte| !byte.is_ascii_digit()).next()?;
    str::from_utf8(digits).ok()?.parse().ok()
}
