//! The command line of the soak test.

use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::Result;
use clap::{Parser, ValueEnum};
use tests::soak::{Kind, Summary, run};
use tokio::signal::unix::{SignalKind, signal};

/// Runs the soak test: larger models, 10 million schedules of the simulation, a hundred times the random schedules of
/// the exploration, 100,000 kills and 10,000 freezes of the application's processes, and 20,000 kills with clients that
/// never repeat a request.
///
/// It takes hours, and the models need several gigabytes of memory. Each finished part is a line in the summary; if the
/// command is started again with the same file, it continues with the other parts. Ctrl-C stops it and all processes
/// that it started.
///
/// Exits with 0 if no promise was broken, with 1 if one was, with 2 if it could not run, and with 130 if it was
/// stopped.
#[derive(Debug, Parser)]
#[command(name = "soak")]
struct Arguments {
    /// The file with the results so far, to which new ones are added; created if it does not exist.
    summary: PathBuf,

    /// Runs only this kind of part; may be repeated [default: all].
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
            eprintln!("{}", stopped.map_or_else(|error| error.to_string(), |()| "stopped; continues when started again".to_owned()));
            130
        }
    };
    // This is the only way to stop the threads of a model.
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
