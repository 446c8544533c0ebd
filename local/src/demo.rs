//! `--demo`: the same orders, under the same kills, time-outs and duplicates, at the application and at a handler that
//! stores its result after the work. Who is charged twice?

use std::{
    fmt::Write as _,
    io::{IsTerminal, Write as _},
    path::Path,
    process::ExitCode,
    time::{Duration, Instant},
};

use anyhow::{Context, Result, ensure};
use futures::{StreamExt, stream};
use tokio_util::sync::CancellationToken;

use crate::{function::Function, provider::Charge, stack::Stack};
use naive::Naive;
use order::{Order, Tried};
use recording::Recording;

mod naive;
mod order;
mod recording;

/// How many clients send orders at once.
const CLIENTS: usize = 8;

/// Between two kills of the application's sandboxes.
const KILL: Duration = Duration::from_secs(10);

/// How long the ledger may be behind at the end.
const SETTLING: Duration = Duration::from_secs(60);

/// What became of the orders at one of the two.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
struct Score {
    requests: u64,
    /// Orders with a final answer.
    done: usize,
    charges: usize,
    /// Charges beyond the first of an order.
    twice: usize,
}

/// Runs it on a stack that serves; fails if an order was not charged once and posted once.
pub(crate) async fn run(stack: &Stack, seed: u64, count: usize, record: Option<&Path>) -> Result<ExitCode> {
    let function = stack.function("PaymentsApi").context("the demonstration needs the application's own template")?;
    println!("{count} orders at each of the two, under kills, time-outs and duplicates; seed {seed}\n");
    let naive = Naive::start(stack.provider()).await?;
    let (ours, theirs) = (Tried::default(), Tried::default());
    let (mut screen, started) = (Screen::new(count), Instant::now());
    let end = CancellationToken::new();
    tokio::spawn(kill_again_and_again(function.clone(), end.clone()));
    let at_ours = order::Shop::ours(stack.url()).await?;
    let at_theirs = order::Shop::naive(naive.url());
    let place = async |shop: &order::Shop, tried: &Tried| {
        let orders = stream::iter(Order::random(seed, count));
        orders.for_each_concurrent(CLIENTS, async |order| shop.place(&order, tried).await).await;
    };
    let work = async { tokio::join!(place(&at_ours, &ours), place(&at_theirs, &theirs)) };
    tokio::pin!(work);
    let mut clock = tokio::time::interval(Duration::from_secs(1));
    loop {
        tokio::select! {
            ((), ()) = &mut work => break,
            _ = clock.tick() => screen.show(started.elapsed(), &scores(stack, &ours, &theirs)),
        }
    }
    end.cancel();
    let scores = scores(stack, &ours, &theirs);
    screen.show(started.elapsed(), &scores);
    let posted = posted_once(&at_ours, count).await?;
    let table = table(&scores, count, posted);
    println!("\n{table}");
    screen.recording.end(started.elapsed(), &table);
    if let Some(path) = record {
        std::fs::write(path, screen.recording.to_svg()).with_context(|| format!("cannot write {}", path.display()))?;
        println!("recorded in {}", path.display());
    }
    let [ours, _] = &scores;
    let is_right = (ours.done, ours.charges, ours.twice, posted) == (count, count, 0, count);
    println!(
        "{}",
        if is_right {
            "Each order was charged once, posted once and answered."
        } else {
            "An order was not charged once, posted once and answered: this is a fault of the application."
        }
    );
    Ok(if is_right { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

async fn kill_again_and_again(function: Function, end: CancellationToken) {
    let kills = async {
        loop {
            tokio::time::sleep(KILL).await;
            function.kill().await;
        }
    };
    tokio::select! {
        () = kills => {}
        () = end.cancelled() => {}
    }
}

fn scores(stack: &Stack, ours: &Tried, theirs: &Tried) -> [Score; 2] {
    let charges = stack.provider().charges();
    [(ours, Order::OURS), (theirs, Order::NAIVE)].map(|(tried, prefix)| {
        let own: Vec<&Charge> = charges
            .iter()
            .filter(|charge| charge.metadata.get("reference").is_some_and(|name| name.starts_with(prefix)))
            .collect();
        let mut orders: Vec<&String> = own.iter().filter_map(|charge| charge.metadata.get("reference")).collect();
        orders.sort_unstable();
        orders.dedup();
        let (requests, done) = tried.counts();
        Score { requests, done, charges: own.len(), twice: own.len() - orders.len() }
    })
}

/// Waits until the ledger has every order, and returns how many it has exactly once.
async fn posted_once(shop: &order::Shop, count: usize) -> Result<usize> {
    let end = Instant::now() + SETTLING;
    loop {
        let mut once = 0;
        for number in 0..count {
            let entries = shop.entries(number).await?;
            ensure!(entries <= 1, "order {number} was posted {entries} times");
            once += entries;
        }
        if once == count || Instant::now() > end {
            return Ok(once);
        }
        tokio::time::sleep(Duration::from_secs(1)).await;
    }
}

fn table([ours, theirs]: &[Score; 2], count: usize, posted: usize) -> String {
    let mut table = format!("{:<22}{:>14}{:>26}\n", "", "this project", "result stored afterwards");
    let rows: [(&str, u64, Option<u64>); 6] = [
        ("orders", count as u64, Some(count as u64)),
        ("requests sent", ours.requests, Some(theirs.requests)),
        ("finally answered", ours.done as u64, Some(theirs.done as u64)),
        ("charges", ours.charges as u64, Some(theirs.charges as u64)),
        ("charged twice", ours.twice as u64, Some(theirs.twice as u64)),
        ("posted once", posted as u64, None),
    ];
    for (name, ours, theirs) in rows {
        let theirs = theirs.map_or_else(|| "–".to_owned(), |number| number.to_string());
        let _ = writeln!(table, "{name:<22}{ours:>14}{theirs:>26}");
    }
    table
}

/// The progress: one line that is written over in a terminal, a line every five seconds elsewhere.
struct Screen {
    orders: usize,
    recording: Recording,
    shown: u64,
}

impl Screen {
    fn new(orders: usize) -> Self {
        Self { orders, recording: Recording::new(orders), shown: 0 }
    }

    fn show(&mut self, at: Duration, [ours, theirs]: &[Score; 2]) {
        let second = at.as_secs();
        let text = format!(
            "{second:>3} s  this project: {:>3} of {} answered, {:>3} charges, {} charged twice  |  stored afterwards: \
             {:>3} answered, {:>3} charges, {} charged twice",
            ours.done, self.orders, ours.charges, ours.twice, theirs.done, theirs.charges, theirs.twice
        );
        self.recording.add(at, ours, theirs);
        if std::io::stdout().is_terminal() {
            print!("\r{text}");
            let _ = std::io::stdout().flush();
        } else if second >= self.shown {
            println!("{text}");
            self.shown = second + 5;
        }
    }
}
