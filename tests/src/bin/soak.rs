//! Tries for a night to break the promises.

use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::Result;
use clap::{Parser, ValueEnum};
use tests::soak::{Kind, Summary, run};
use tokio::signal::unix::{SignalKind, signal};

/// Tries for a night to break the promises: larger models, 10 million schedules of the simulation, a hundred times the
/// drawn schedules of the exploration, and 100,000 kills and 10,000 freezes of the application's processes.
///
/// It takes hours, and some gigabytes of memory for the models. Each part that comes to its end is a line in the summary,
/// and is not done again when the command is started again with it. Ctrl-C stops it, and all processes that it started.
///
/// Exits with 0 if nothing was broken, with 1 if something was, with 2 if it could not run, with 130 if it was stopped.
#[derive(Debug, Parser)]
#[command(name = "soak")]
struct Arguments {
    /// The file that says what is done already and gets what is done now; made if it is not there.
    summary: PathBuf,

    /// Only this; may be repeated [default: all].
    #[arg(long, value_enum)]
    only: Vec<Kind>,
}

#[tokio::main]
async fn main() -> ExitCode {
    let Arguments { summary, only } = Arguments::parse();
    let kinds = if only.is_empty() { Kind::value_variants().to_vec() } else { only };
    let code = tokio::select! {
        kept = soak(summary, kinds) => match kept {
            Ok(true) => 0,
            Ok(false) => 1,
            Err(error) => {
                eprintln!("error: {error:#}");
                2
            }
        },
        stopped = interrupted() => {
            eprintln!("{}", stopped.map_or_else(|error| error.to_string(), |()| "stopped; goes on when started again".to_owned()));
            130
        }
    };
    // A model's threads do not listen.
    std::process::exit(code)
}

async fn soak(summary: PathBuf, kinds: Vec<Kind>) -> Result<bool> {
    run(&mut Summary::open(&summary)?, &kinds).await
}

async fn interrupted() -> Result<()> {
    let (mut interrupt, mut terminate) = (signal(SignalKind::interrupt())?, signal(SignalKind::terminate())?);
    tokio::select! {
        _ = interrupt.recv() => Ok(()),
        _ = terminate.recv() => Ok(()),
    }
}
