//! Kills and freezes the functions' processes.

use std::time::{Duration, Instant};

use reqwest::Method;
use serde::Deserialize;

use super::function::Function;
use super::tally::{KillTally, Phase, Place, Sandbox};
use crate::local_stack::Stack;

/// While this many processes are starting, none is killed: otherwise the functions would only start and do no work.
const STARTING: usize = 6;

/// The time limit of a run, plus a second for each kill.
const TIME_LIMIT: Duration = Duration::from_secs(300);

/// Kills and freezes the sandboxes of a stack.
pub(super) struct Killer<'s> {
    stack: &'s Stack,
    rng: fastrand::Rng,
    tally: KillTally,
}

impl<'s> Killer<'s> {
    pub(super) fn new(stack: &'s Stack, seed: u64, tally: KillTally) -> Self {
        Self { stack, rng: fastrand::Rng::with_seed(seed), tally }
    }

    /// Kills and freezes until these numbers are reached and `enough` returns true.
    pub(super) async fn run(mut self, kills: u64, freezes: u64, enough: impl Fn() -> bool) {
        let (started, limit) = (Instant::now(), TIME_LIMIT + Duration::from_secs(kills));
        loop {
            tokio::time::sleep(Duration::from_millis(self.rng.u64(0..50))).await;
            self.tally.thaw();
            let (killed, frozen, has_frozen) = {
                let counts = self.tally.counts();
                (counts.kills, counts.all_freezes(), counts.has_frozen())
            };
            let is_done = killed >= kills && frozen >= freezes && !has_frozen;
            if is_done && enough() {
                return;
            }
            assert!(started.elapsed() < limit, "still not enough: {}", self.tally.counts().progress());
            self.list_sandboxes().await;
            // The others freeze with their outcome on its way.
            if frozen < freezes / 2 || is_done {
                self.freeze();
            }
            if killed < kills {
                self.kill();
            }
        }
    }

    /// Freezes a serving process, most often one that holds a claim at that time.
    fn freeze(&mut self) {
        let is_likely = self.rng.u8(0..4) > 0;
        let some = self.some(|sandbox| {
            sandbox.phase == Phase::Serving && (!is_likely || sandbox.function == Function::PaymentsApi)
        });
        if let Some(process) = self.rng.choice(some) {
            self.tally.freeze(process);
        }
    }

    /// Kills up to three processes, most of them at work; none while many are starting.
    fn kill(&mut self) {
        if self.some(|sandbox| sandbox.phase == Phase::Starting).len() >= STARTING {
            return;
        }
        for _ in 0..self.rng.u8(1..4) {
            let (phase, place) = match self.rng.u8(0..8) {
                0 => (Phase::Waiting, Place::Waiting),
                _ => (Phase::Serving, Place::Serving),
            };
            if let Some(process) = self.rng.choice(self.some(|sandbox| sandbox.phase == phase)) {
                self.tally.kill(process, place);
            }
        }
    }

    /// The processes of matching sandboxes that are neither dead nor frozen.
    fn some(&self, is_such: impl Fn(&Sandbox) -> bool) -> Vec<i32> {
        let counts = self.tally.counts();
        let such = counts.sandboxes.values().filter(|sandbox| is_such(sandbox)).map(|sandbox| sandbox.process);
        such.filter(|process| counts.is_free(*process)).collect()
    }

    /// Reads the phase of each sandbox. If the stack does not answer, the previous list stays.
    async fn list_sandboxes(&self) {
        let Ok(answer) = self.stack.local(Method::GET, "functions").send().await else { return };
        let Ok(seen) = answer.json::<Seen>().await else { return };
        let Seen { payments_api, ledger_worker, reconciler } = seen;
        let of = |states: Vec<State>, function| {
            let sandbox = move |State { sandbox, process, phase }| {
                Some((sandbox, Sandbox { process: process?, function, phase }))
            };
            states.into_iter().filter_map(sandbox)
        };
        let all = of(payments_api, Function::PaymentsApi)
            .chain(of(ledger_worker, Function::LedgerWorker))
            .chain(of(reconciler, Function::Reconciler));
        self.tally.counts().sandboxes = all.collect();
    }
}

/// A sandbox, as the stack lists it.
#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Seen {
    payments_api: Vec<State>,
    ledger_worker: Vec<State>,
    reconciler: Vec<State>,
}

#[derive(Deserialize)]
struct State {
    sandbox: u16,
    process: Option<i32>,
    #[serde(rename = "doing")]
    phase: Phase,
}
