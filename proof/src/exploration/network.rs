//! The requests in transit and the order of their arrival. A schedule is the sequence of these decisions.
//!
//! A process runs until it waits for a reply. Between two requests it shares nothing with other processes, so schedules
//! can differ only in the order of requests, their faults, and the processes that die.

use std::future::poll_fn;
use std::pin::pin;
use std::sync::Arc;
use std::task::{Poll, Waker};
use std::time::Duration;

use futures::future::BoxFuture;
use futures::stream::{FuturesUnordered, StreamExt};
use idempotency::engine::Clock;
use idempotency::protocol::EpochMs;
use parking_lot::{Mutex, MutexGuard};

use super::choice::{Choices, Step};
use crate::backend::BEGIN;
use crate::fault::{self, Fault, Reply};

/// A network, its clock, and the choices of the schedule. A clone is another handle.
#[derive(Clone)]
pub(super) struct Network(Arc<Mutex<Traffic>>);

struct Traffic {
    choices: Choices,
    on_the_way: Vec<Parked>,
    /// The processes that have died, by the number of their life.
    dead: Vec<u64>,
    lives: u64,
    requests: u64,
    steps: u64,
    times: usize,
    now: EpochMs,
}

/// A request that waits for its turn.
struct Parked {
    id: u64,
    life: u64,
    kind: Kind,
    /// The step before which the request does not arrive.
    frozen_until: u64,
    waiting: Waiting,
}

enum Waiting {
    /// A process, to be woken with the fault of its request.
    Process(Option<Waker>),
    /// Notified of its fault, but not yet awake.
    Woken(Option<Fault>),
    /// No process waits: the request arrives late.
    Nobody(Box<dyn FnOnce() + Send>),
}

/// The kind of a request, which determines its possible faults.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    /// No request: a process takes its turn. It has no faults.
    Turn,
    /// A read.
    Read,
    /// A write.
    Write,
}

impl Kind {
    const fn faults(self) -> &'static [Fault] {
        match self {
            Self::Turn => &[],
            Self::Read => &Fault::OF_READS,
            Self::Write => &Fault::OF_WRITES,
        }
    }
}

/// The longest pause, with jitter, of a process that waits for another.
const LONGEST_PAUSE: Duration = Duration::from_secs(1);

/// The length of each pause in a schedule, chosen so that a wait has few pauses.
const PAUSE: Duration = Duration::from_secs(1);

/// The longest freeze of a process, in steps.
const FREEZE: usize = 30;

/// A number of steps that no terminating schedule reaches.
const ENDLESS: u64 = 20_000;

impl Network {
    pub(super) fn new(choices: Choices) -> Self {
        let (on_the_way, dead) = (Vec::new(), Vec::new());
        let traffic = Traffic { choices, on_the_way, dead, lives: 0, requests: 0, steps: 0, times: 0, now: BEGIN };
        Self(Arc::new(Mutex::new(traffic)))
    }

    pub(super) fn choices<T>(&self, choose: impl FnOnce(&mut Choices) -> T) -> T {
        choose(&mut self.traffic().choices)
    }

    pub(super) fn occurs(&self, fault: Fault) -> bool {
        self.choices(|choices| choices.occurs(fault))
    }

    /// Stops all faults.
    pub(super) fn stop_faults(&self) {
        self.choices(Choices::stop_faults);
    }

    /// Lets so much time pass that every lease and every deadline is over.
    pub(super) fn pass_time(&self) {
        let mut traffic = self.traffic();
        traffic.times += 1;
        traffic.now = traffic.now.plus(Duration::from_secs(3600));
    }

    /// How many times time has passed.
    pub(super) fn times(&self) -> usize {
        self.traffic().times
    }

    /// Creates a process, which lives until it dies.
    pub(super) fn process(&self) -> Process {
        let mut traffic = self.traffic();
        traffic.lives += 1;
        Process { network: self.clone(), life: traffic.lives }
    }

    /// Schedules something for a later time.
    pub(super) fn later(&self, happens: impl FnOnce() + Send + 'static) {
        self.traffic().park(0, Kind::Turn, Waiting::Nobody(Box::new(happens)));
    }

    /// Runs all processes to their end, and lets every request arrive.
    pub(super) async fn run(&self, players: Vec<BoxFuture<'_, ()>>) {
        let mut players: FuturesUnordered<_> = players.into_iter().collect();
        loop {
            poll_fn(|context| {
                while let Poll::Ready(Some(())) = players.poll_next_unpin(context) {}
                Poll::Ready(())
            })
            .await;
            if self.is_endless() {
                return;
            }
            if self.step() {
                continue;
            }
            if players.is_empty() {
                return;
            }
            // All are waiting for a timer: the SDK before a retry, or a versioned item before it is stored again.
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
    }

    /// Whether there were more steps than any terminating schedule needs.
    pub(super) fn is_endless(&self) -> bool {
        self.traffic().steps > ENDLESS
    }

    /// Lets one request arrive, if there is one.
    fn step(&self) -> bool {
        let mut traffic = self.traffic();
        traffic.steps += 1;
        let steps = traffic.steps;
        let waits = |parked: &Parked| !matches!(parked.waiting, Waiting::Woken(_));
        let mut open: Vec<usize> = Vec::new();
        open.extend((0..traffic.on_the_way.len()).filter(|index| waits(&traffic.on_the_way[*index])));
        if open.is_empty() {
            return false;
        }
        if open.iter().any(|index| traffic.on_the_way[*index].frozen_until <= steps) {
            open.retain(|index| traffic.on_the_way[*index].frozen_until <= steps);
        }
        let faults: Vec<_> = open.iter().map(|index| traffic.on_the_way[*index].kind.faults()).collect();
        match traffic.choices.step(&faults) {
            Step::TimePasses => {
                drop(traffic);
                self.pass_time();
            }
            Step::Request(place, fault) => {
                let stray = traffic.wake(open[place], fault);
                drop(traffic);
                if let Some(happens) = stray {
                    happens();
                }
            }
        }
        true
    }

    fn traffic(&self) -> MutexGuard<'_, Traffic> {
        self.0.lock()
    }
}

impl Traffic {
    fn park(&mut self, life: u64, kind: Kind, waiting: Waiting) -> u64 {
        self.requests += 1;
        let frozen_until = match self.choices.freezes() {
            true => self.steps + self.choices.pick(FREEZE) as u64,
            false => 0,
        };
        self.on_the_way.push(Parked { id: self.requests, life, kind, frozen_until, waiting });
        self.requests
    }

    /// Notifies a process of its request's fault; or returns the action, if no process waits for it.
    fn wake(&mut self, index: usize, fault: Option<Fault>) -> Option<Box<dyn FnOnce() + Send>> {
        if fault == Some(Fault::Crash) {
            let life = self.on_the_way[index].life;
            self.dead.push(life);
        }
        match std::mem::replace(&mut self.on_the_way[index].waiting, Waiting::Woken(fault)) {
            Waiting::Process(waker) => {
                waker.into_iter().for_each(Waker::wake);
                None
            }
            Waiting::Nobody(happens) => {
                self.on_the_way.remove(index);
                Some(happens)
            }
            Waiting::Woken(_) => None,
        }
    }
}

/// A process, or its sandbox.
#[derive(Clone)]
pub(super) struct Process {
    pub(super) network: Network,
    life: u64,
}

impl Process {
    /// Runs a future in this process; `None` if the process dies.
    pub(super) async fn live<F: Future>(&self, future: F) -> Option<F::Output> {
        let mut future = pin!(future);
        let live = poll_fn(move |context| {
            let polled = if self.is_dead() { Poll::Pending } else { future.as_mut().poll(context).map(Some) };
            if polled.is_pending() && self.is_dead() { Poll::Ready(None) } else { polled }
        });
        let output = live.await;
        if output.is_none() {
            self.network.traffic().on_the_way.retain(|parked| parked.life != self.life);
        }
        output
    }

    /// Waits for the process's turn.
    pub(super) async fn turn(&self) {
        self.meets(Kind::Turn).await;
    }

    /// Makes a request. `apply` is executed when the request arrives.
    pub(super) async fn send<T>(&self, kind: Kind, apply: impl Fn() -> T + Send + Sync + 'static) -> Reply<T> {
        let fault = match self.meets(kind).await {
            Some(Fault::Crash) => std::future::pending().await,
            Some(Fault::CrashAfter) => {
                apply();
                self.network.traffic().dead.push(self.life);
                std::future::pending().await
            }
            fault => fault,
        };
        let apply = Arc::new(apply);
        let later = || {
            let apply = Arc::clone(&apply);
            self.network.later(move || drop(apply()));
        };
        fault::request(fault, || apply(), later, std::future::ready(())).await
    }

    /// The fault of the process's request, when its turn comes.
    async fn meets(&self, kind: Kind) -> Option<Fault> {
        let id = self.network.traffic().park(self.life, kind, Waiting::Process(None));
        poll_fn(|context| {
            let mut traffic = self.network.traffic();
            let Some(index) = traffic.on_the_way.iter().position(|parked| parked.id == id) else {
                return Poll::Pending;
            };
            match &mut traffic.on_the_way[index].waiting {
                Waiting::Woken(fault) => {
                    let fault = *fault;
                    traffic.on_the_way.remove(index);
                    Poll::Ready(fault)
                }
                Waiting::Process(waker) => {
                    *waker = Some(context.waker().clone());
                    Poll::Pending
                }
                Waiting::Nobody(_) => Poll::Pending,
            }
        })
        .await
    }

    fn is_dead(&self) -> bool {
        self.network.traffic().dead.contains(&self.life)
    }
}

impl Clock for Network {
    fn now(&self) -> EpochMs {
        self.traffic().now
    }
}

/// The clock of a process.
impl Clock for Process {
    fn now(&self) -> EpochMs {
        self.network.now()
    }

    /// A pause ends in the process's turn, in which a whole pause passes for all processes. A longer duration is a time
    /// limit, which never ends, because waiting for replies takes no time here.
    fn sleep(&self, duration: Duration) -> BoxFuture<'static, ()> {
        let process = self.clone();
        Box::pin(async move {
            if duration > LONGEST_PAUSE {
                return std::future::pending().await;
            }
            process.turn().await;
            let mut traffic = process.network.traffic();
            traffic.now = traffic.now.plus(PAUSE);
        })
    }
}
