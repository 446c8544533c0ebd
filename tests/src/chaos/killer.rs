//! Who kills and freezes the functions' processes.

use std::collections::HashMap;
use std::time::{Duration, Instant};

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

use super::Tally;

/// The functions' programs, as `/proc` names them.
const FUNCTIONS: [&str; 3] = ["payments-api", "ledger-worker", "reconciler"];

/// How long a process stands still: longer than its time-out and its lease, and until a client has asked again.
const FREEZE: Duration = Duration::from_secs(9);

/// At most so many stand still at a time, or nobody is left to serve.
const FROZEN: usize = 8;

/// Kills and freezes the children of a stack.
pub(super) struct Killer {
    stack: u32,
    rng: fastrand::Rng,
    frozen: HashMap<i32, Instant>,
}

impl Killer {
    pub(super) fn new(stack: u32, seed: u64) -> Self {
        Self { stack, rng: fastrand::Rng::with_seed(seed), frozen: HashMap::new() }
    }

    /// Returns when that many were killed and frozen.
    pub(super) async fn rage(mut self, kills: u64, freezes: u64, tally: &mut Tally) {
        let goal = (tally.kills + kills, tally.freezes + freezes);
        while (tally.kills, tally.freezes) != goal || !self.frozen.is_empty() {
            tokio::time::sleep(Duration::from_millis(self.rng.u64(0..40))).await;
            tally.freezes += self.thaw();
            let alive = self.children();
            let Some(victim) = self.rng.choice(&alive).copied() else { continue };
            let wanted = tally.freezes + (self.frozen.len() as u64) < goal.1;
            if wanted && self.frozen.len() < FROZEN && self.rng.u8(0..10) == 0 {
                if kill(Pid::from_raw(victim), Signal::SIGSTOP).is_ok() {
                    self.frozen.insert(victim, Instant::now());
                }
            } else if tally.kills < goal.0 && kill(Pid::from_raw(victim), Signal::SIGKILL).is_ok() {
                tally.kills += 1;
            }
        }
    }

    /// Lets those go on that stood still for long enough; how many of them there are.
    fn thaw(&mut self) -> u64 {
        let due: Vec<i32> =
            self.frozen.iter().filter(|(_, since)| since.elapsed() >= FREEZE).map(|(process, _)| *process).collect();
        for process in &due {
            self.frozen.remove(process);
        }
        due.into_iter().filter(|process| kill(Pid::from_raw(*process), Signal::SIGCONT).is_ok()).count() as u64
    }

    /// The functions' processes that are neither dead nor frozen.
    fn children(&self) -> Vec<i32> {
        let Ok(threads) = std::fs::read_dir(format!("/proc/{}/task", self.stack)) else { return Vec::new() };
        threads
            .flatten()
            .filter_map(|thread| std::fs::read_to_string(thread.path().join("children")).ok())
            .flat_map(|children| children.split_whitespace().filter_map(|id| id.parse().ok()).collect::<Vec<i32>>())
            .filter(|process| !self.frozen.contains_key(process) && is_function(*process))
            .collect()
    }
}

fn is_function(process: i32) -> bool {
    let Ok(stat) = std::fs::read_to_string(format!("/proc/{process}/stat")) else { return false };
    let name = stat.split(['(', ')']).nth(1).unwrap_or_default();
    let state = stat.rsplit(')').next().unwrap_or_default().trim_start().chars().next();
    FUNCTIONS.contains(&name) && state != Some('Z')
}
