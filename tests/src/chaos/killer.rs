//! Who kills and freezes the functions' processes.

use std::collections::HashMap;
use std::time::{Duration, Instant};

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use reqwest::Method;
use serde::Deserialize;

use super::tally::{Doing, Function, Place, Sandbox, Toll};
use crate::local_stack::Stack;

/// How long a process stands still: longer than its time-out and its lease, and until a client has asked again.
const FREEZE: Duration = Duration::from_secs(10);

/// At most so many stand still at a time, or nobody is left to serve.
const FROZEN: usize = 48;

/// With so many that are only starting, nobody else is killed: there would be starts and no work.
const STARTING: usize = 6;

/// How long a rage may take, and a second for each kill.
const PATIENCE: Duration = Duration::from_secs(300);

/// Kills and freezes the sandboxes of a stack.
pub(super) struct Killer<'s> {
    stack: &'s Stack,
    rng: fastrand::Rng,
    toll: Toll,
    frozen: HashMap<i32, Instant>,
}

impl<'s> Killer<'s> {
    pub(super) fn new(stack: &'s Stack, seed: u64, toll: Toll) -> Self {
        Self { stack, rng: fastrand::Rng::with_seed(seed), toll, frozen: HashMap::new() }
    }

    /// Returns when that many were killed and frozen by all, and `enough` agrees.
    pub(super) async fn rage(mut self, kills: u64, freezes: u64, enough: impl Fn() -> bool) {
        let (started, patience) = (Instant::now(), PATIENCE + Duration::from_secs(kills));
        loop {
            tokio::time::sleep(Duration::from_millis(self.rng.u64(0..50))).await;
            self.thaw();
            let (killed, frozen) = {
                let counts = self.toll.counts();
                (counts.kills, counts.freezes + self.frozen.len() as u64)
            };
            let is_done = killed >= kills && frozen >= freezes && self.frozen.is_empty();
            if is_done && enough() {
                return;
            }
            assert!(started.elapsed() < patience, "still not enough: {}", self.toll.counts().progress());
            self.look().await;
            if (frozen < freezes || is_done) && self.frozen.len() < FROZEN {
                self.freeze();
            }
            if killed < kills {
                self.kill();
            }
        }
    }

    /// Somebody who serves, most often one who holds a claim meanwhile.
    fn freeze(&mut self) {
        let is_likely = self.rng.u8(0..4) > 0;
        let some = self.some(|sandbox| {
            sandbox.doing == Doing::Serving && (!is_likely || sandbox.function == Function::PaymentsApi)
        });
        if let Some(process) = self.rng.choice(some)
            && kill(Pid::from_raw(process), Signal::SIGSTOP).is_ok()
        {
            self.frozen.insert(process, Instant::now());
        }
    }

    /// One or some, most of them at work; nobody while many are only starting.
    fn kill(&mut self) {
        if self.some(|sandbox| sandbox.doing == Doing::Starting).len() >= STARTING {
            return;
        }
        for _ in 0..self.rng.u8(1..4) {
            let (doing, place) = match self.rng.u8(0..8) {
                0 => (Doing::Waiting, Place::Waiting),
                _ => (Doing::Serving, Place::Serving),
            };
            if let Some(process) = self.rng.choice(self.some(|sandbox| sandbox.doing == doing)) {
                self.toll.kill(process, place);
            }
        }
    }

    /// The processes of such sandboxes that are neither dead nor frozen.
    fn some(&self, is_such: impl Fn(&Sandbox) -> bool) -> Vec<i32> {
        let counts = self.toll.counts();
        let such = counts.sandboxes.values().filter(|sandbox| is_such(sandbox)).map(|sandbox| sandbox.process);
        such.filter(|process| !self.frozen.contains_key(process) && !counts.is_dead(*process)).collect()
    }

    /// Lets those go on that stood still for long enough.
    fn thaw(&mut self) {
        let toll = &self.toll;
        self.frozen.retain(|process, since| {
            let is_over = since.elapsed() >= FREEZE;
            if is_over && kill(Pid::from_raw(*process), Signal::SIGCONT).is_ok() {
                toll.thawed(*process);
            }
            !is_over
        });
    }

    /// What each sandbox is doing; if the stack does not say, what it did before.
    async fn look(&self) {
        let Ok(answer) = self.stack.local(Method::GET, "functions").send().await else { return };
        let Ok(seen) = answer.json::<Seen>().await else { return };
        let Seen { payments_api, ledger_worker, reconciler } = seen;
        let of = |states: Vec<State>, function| {
            let sandbox = move |State { sandbox, process, doing }| {
                Some((sandbox, Sandbox { process: process?, function, doing }))
            };
            states.into_iter().filter_map(sandbox)
        };
        let all = of(payments_api, Function::PaymentsApi)
            .chain(of(ledger_worker, Function::LedgerWorker))
            .chain(of(reconciler, Function::Reconciler));
        self.toll.counts().sandboxes = all.collect();
    }
}

/// The functions that are killed.
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
    doing: Doing,
}
