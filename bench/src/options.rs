//! Command-line options.

use std::path::PathBuf;

use clap::{Args, Parser, Subcommand, ValueEnum};

use crate::cases::Case;
use crate::kind::Kind;

/// Compares the library with an empty function, hand-written DynamoDB calls and, when installed, the peers.
#[derive(Debug, Parser)]
#[command(name = "bench")]
pub struct Options {
    /// The command [default: run].
    #[command(subcommand)]
    pub command: Option<Command>,
}

/// A command.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Measure times, requests, memory, starts and units; print the tables, and write them as Markdown and JSON.
    Run(Choice),
    /// Redraw the plots of an earlier run.
    Plots {
        /// The results of the run.
        #[arg(long, default_value = "target/bench/results.json")]
        results: PathBuf,
        /// The folder for the plots; `docs/performance` has those of the documentation.
        #[arg(long, default_value = "target/bench")]
        plots: PathBuf,
    },
    /// Count the instructions of the hot paths under valgrind, and compare them with the committed baseline.
    Instructions {
        /// Make the counts the new baseline.
        #[arg(long)]
        update: bool,
    },
    /// Simulate a Region from a hundred to a hundred thousand requests a second, and write the output and the plots
    /// into `docs/scale.md` and `docs/scale/`.
    Scale,
    /// The peers that the library is compared with.
    Peers {
        /// The action.
        #[command(subcommand)]
        action: PeersAction,
    },
}

/// An action on the peers.
#[derive(Debug, Subcommand)]
pub enum PeersAction {
    /// Install Powertools for Python and for TypeScript into `target/peers`, from PyPI and npm.
    Install,
}

impl Default for Command {
    fn default() -> Self {
        Self::Run(Choice::default())
    }
}

/// The parts of `run`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Part {
    /// Times, CPU time, requests and bytes of each case.
    Cases,
    /// From spawning the process to its first poll and first answer.
    Cold,
    /// Memory after the start and after many invocations.
    Memory,
    /// Write and read units by the length of the answer.
    Units,
    /// Times and starts at the CPU share of Lambda's memory sizes; needs control groups, and the right to create them.
    Sizes,
}

/// The parts, subjects and cases to measure, and the size of the run.
#[derive(Clone, Debug, Args)]
pub struct Choice {
    /// Parts to measure.
    #[arg(long, value_delimiter = ',', default_values_t = Part::value_variants().to_vec())]
    pub parts: Vec<Part>,
    /// Subjects to measure; subjects that are not installed are left out.
    #[arg(long, value_delimiter = ',', default_values_t = Kind::value_variants().to_vec())]
    pub subjects: Vec<Kind>,
    /// Cases to measure.
    #[arg(long, value_delimiter = ',', default_values_t = Case::value_variants().to_vec())]
    pub cases: Vec<Case>,
    /// Minimum time of each request to the store, in milliseconds.
    #[arg(long, value_delimiter = ',', default_values_t = [0, 5])]
    pub delays_ms: Vec<u64>,
    /// Invocations of each case without delay; a fifth of that with a delay, a third for batches of 10, a tenth for
    /// batches of 100.
    #[arg(long, default_value_t = 2_000)]
    pub invocations: usize,
    /// Number of turns, in each of which all subjects run one after another, so that other load on the machine affects
    /// all of them alike.
    #[arg(long, default_value_t = 25)]
    pub rounds: usize,
    /// Invocations before the last measurement of memory.
    #[arg(long, default_value_t = 10_000)]
    pub memory_invocations: usize,
    /// Starts of each subject.
    #[arg(long, default_value_t = 15)]
    pub starts: usize,
    /// The folder for `results.md` and `results.json`.
    #[arg(long, default_value = "target/bench")]
    pub output: PathBuf,
    /// The folder for the plots of these results; `docs/performance` has those of the documentation [default: as
    /// above].
    #[arg(long)]
    pub plots: Option<PathBuf>,
}

impl Default for Choice {
    fn default() -> Self {
        match Options::parse_from(["bench", "run"]).command {
            Some(Command::Run(choice)) => choice,
            _ => unreachable!("the command is `run`"),
        }
    }
}

macro_rules! shown_as_on_the_command_line {
    ($($kind:ty),*) => {$(
        impl std::fmt::Display for $kind {
            fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                formatter.write_str(self.to_possible_value().as_ref().map_or("", |value| value.get_name()))
            }
        }
    )*};
}

shown_as_on_the_command_line!(Part, Kind, Case);
