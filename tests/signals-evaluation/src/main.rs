//! The command line of the evaluation: `cargo run --release -p signals-evaluation -- --seeds 1,2,3`.

use std::fs;
use std::path::PathBuf;
use std::sync::Mutex;
use std::thread;

use anyhow::{Result, anyhow};
use clap::Parser;
use signals::Detector;
use signals_evaluation::{Mutant, ScorerName, Setting, Simulated, Tally, list, markdown, plots, run};

/// Measures the retry signals on simulated tenants.
#[derive(Parser)]
struct Options {
    /// The tenants, by their seeds.
    #[arg(long, value_delimiter = ',', default_value = "101,102,103")]
    seeds: Vec<u64>,
    /// What is compared; everything, unless given.
    #[arg(long, value_delimiter = ',')]
    scorers: Vec<ScorerName>,
    /// The model without each of its detectors, too.
    #[arg(long)]
    leave_out: bool,
    /// What is unusual about the tenants.
    #[arg(long, default_value = "usual")]
    setting: Setting,
    /// A mistake that must be noticed.
    #[arg(long)]
    mutant: Option<Mutant>,
    /// Lists each attack and each false alert, with what was found.
    #[arg(long)]
    list: bool,
    /// Writes the plots into this folder.
    #[arg(long)]
    plots: Option<PathBuf>,
    /// How many tenants at a time.
    #[arg(long, default_value_t = 2)]
    threads: usize,
}

fn main() -> Result<()> {
    let mut options = Options::parse();
    if options.scorers.is_empty() {
        options.scorers = ScorerName::ALL.to_vec();
    }
    if options.leave_out {
        options.scorers.extend(Detector::ALL.map(ScorerName::Without));
    }
    let options = &options;
    let rest = Mutex::new(options.seeds.iter().rev().copied().collect::<Vec<_>>());
    let mut tallies = thread::scope(|scope| {
        let workers: Vec<_> = (0..options.threads.max(1)).map(|_| scope.spawn(|| work(&rest, options))).collect();
        let mut tallies = Vec::new();
        for worker in workers {
            tallies.extend(worker.join().map_err(|_| anyhow!("a worker panicked"))??);
        }
        Ok::<_, anyhow::Error>(tallies)
    })?;
    tallies.sort_by_key(Tally::seed);
    print!("{}", markdown(&tallies));
    if options.list {
        print!("\n{}", list(&tallies));
    }
    if let Some(folder) = &options.plots {
        for (name, plot) in plots(&tallies) {
            fs::write(folder.join(name), plot)?;
        }
    }
    Ok(())
}

fn work(rest: &Mutex<Vec<u64>>, options: &Options) -> Result<Vec<Tally>> {
    let mut tallies = Vec::new();
    loop {
        let seed = rest.lock().map_err(|_| anyhow!("a worker panicked"))?.pop();
        match seed {
            Some(seed) => {
                let mut progress = |progress: &str| eprintln!("{progress}");
                progress(&format!("tenant {seed}: simulating two weeks"));
                let simulated = Simulated::with(seed, options.setting);
                tallies.push(run(&simulated, &options.scorers, options.mutant, &mut progress)?);
            }
            None => return Ok(tallies),
        }
    }
}
