//! The soak test: all proofs and the chaos tests, in sizes that take hours. It runs in parts; the result of each is
//! written immediately, so that a stopped run continues with the next part.

mod summary;

use std::any::Any;
use std::panic::AssertUnwindSafe;
use std::time::{Duration, Instant};

use anyhow::Result;
use clap::ValueEnum;
use futures::FutureExt;
use proof::exploration::Scenario;
use proof::model::Settings;
use proof::soak::{EXPLORATIONS, PART, SCHEDULES, explorations, model, schedules};

use crate::chaos::{self, Plan, silent};

pub use summary::Summary;

/// Parts of the chaos tests, with 5,000 kills and 500 freezes each.
const KILLINGS: u64 = 20;

/// Parts of the chaos test whose clients never repeat a request, with 1,000 kills each.
const SILENCES: u64 = 20;

/// The time between two lines of progress.
const INTERVAL: Duration = Duration::from_secs(10);

/// A kind of part.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Kind {
    /// The protocol in every order: more than 50 million states.
    Models,
    /// The engine in a simulated environment: 10 million schedules.
    Schedules,
    /// The code in random orders: a hundred times the schedules of `cargo test`.
    Explorations,
    /// The application's processes on real sockets: 100,000 kills, 10,000 freezes.
    Kills,
    /// The application's processes with clients that never repeat a request: 20,000 kills.
    SilentKills,
}

enum Work {
    Model(Settings),
    Schedules(u64),
    Explorations(Scenario, u64),
    Kills(Plan),
    SilentKills(u64),
}

struct Part {
    name: String,
    work: Work,
}

/// Runs the parts that the summary does not list as done, and adds their results. Returns whether every promise held.
///
/// # Errors
/// If the summary cannot be written.
pub async fn run(summary: &mut Summary, kinds: &[Kind]) -> Result<bool> {
    let parts: Vec<Part> = kinds.iter().flat_map(|kind| kind.parts()).collect();
    let open: Vec<Part> = parts.into_iter().filter(|part| !summary.is_done(&part.name)).collect();
    let (all, started) = (open.len(), Instant::now());
    summary.begin()?;
    for (index, Part { name, work }) in open.into_iter().enumerate() {
        println!("[{}/{all}] {name}, {} s after the start", index + 1, started.elapsed().as_secs());
        summary.write(&name, &work.done().await)?;
    }
    summary.end()
}

impl Kind {
    fn parts(self) -> Vec<Part> {
        match self {
            Self::Models => Settings::soak().into_iter().map(Part::model).collect(),
            Self::Schedules => (0..SCHEDULES).step_by(PART as usize).map(Part::schedules).collect(),
            Self::Explorations => {
                let parts = |scenario| (0..EXPLORATIONS).map(move |number| Part::explorations(scenario, number));
                Scenario::ALL.iter().copied().flat_map(parts).collect()
            }
            Self::Kills => (0..KILLINGS).map(Part::kills).collect(),
            Self::SilentKills => (0..SILENCES).map(Part::silent_kills).collect(),
        }
    }
}

impl Part {
    fn model(settings: Settings) -> Self {
        Self { name: format!("model: {}", settings.name), work: Work::Model(settings) }
    }

    fn schedules(first: u64) -> Self {
        Self { name: format!("schedules from {first}"), work: Work::Schedules(first) }
    }

    fn explorations(scenario: Scenario, number: u64) -> Self {
        let name = format!("explorations: {scenario:?}, part {} of {EXPLORATIONS}", number + 1);
        Self { name, work: Work::Explorations(scenario, number) }
    }

    fn kills(number: u64) -> Self {
        let plan = Plan {
            valkey: false,
            kills: 5000,
            at_each_point: 20,
            freezes: 500,
            restarts: 4,
            seed: 1_000_000 * (number + 1),
        };
        Self { name: format!("kills: part {} of {KILLINGS}", number + 1), work: Work::Kills(plan) }
    }

    fn silent_kills(number: u64) -> Self {
        let name = format!("silent kills: part {} of {SILENCES}", number + 1);
        Self { name, work: Work::SilentKills(1_000_000 * (number + 1)) }
    }
}

impl Work {
    /// Runs the part. Returns its figures, or the promise that was broken.
    async fn done(self) -> Result<String, String> {
        match self {
            Self::Model(settings) => blocking(move || model(settings, now_and_then())).await,
            Self::Schedules(first) => blocking(move || schedules(first)).await,
            Self::Explorations(scenario, part) => blocking(move || explorations(scenario, part)).await,
            Self::Kills(plan) => unless_it_panics(plan.seed, chaos::run(plan, now_and_then())).await,
            Self::SilentKills(seed) => unless_it_panics(seed, silent::run(1000, seed)).await,
        }
    }
}

/// The figures of a part, or the promise that a panic reports as broken.
async fn unless_it_panics(seed: u64, part: impl Future<Output = impl ToString>) -> Result<String, String> {
    let figures = AssertUnwindSafe(part).catch_unwind().await;
    figures.map(|figures| figures.to_string()).map_err(|panic| format!("seed {seed}: {}", text(&*panic)))
}

async fn blocking(work: impl FnOnce() -> Result<String, String> + Send + 'static) -> Result<String, String> {
    tokio::task::spawn_blocking(work).await.unwrap_or_else(|panic| Err(panic.to_string()))
}

/// Prints progress, at most one line in each interval.
pub fn now_and_then() -> impl FnMut(&str) + Send {
    let mut last = Instant::now();
    move |progress| {
        if last.elapsed() >= INTERVAL {
            last = Instant::now();
            println!("    {progress}");
        }
    }
}

fn text(panic: &(dyn Any + Send)) -> &str {
    let text = panic.downcast_ref::<String>().map(String::as_str);
    text.or_else(|| panic.downcast_ref::<&str>().copied()).unwrap_or("a panic")
}
