//! The command line.

use std::{path::PathBuf, time::Duration};

use clap::{Parser, ValueEnum};

use crate::output::LogFormat;

/// Runs the application of template.yaml on this machine, without an AWS account.
///
/// Builds the functions, starts embedded DynamoDB and SQS, an HTTP API with JWT checks, the pipe, the schedule and a
/// payment provider simulator, and prints `ready http://127.0.0.1:PORT` when all of it serves. Ctrl-C stops all of it.
#[derive(Debug, Clone, Parser)]
#[command(name = "local", version)]
pub struct Options {
    /// Port of the HTTP API on 127.0.0.1; 0 takes any free one.
    #[arg(long, default_value_t = 3000)]
    pub port: u16,

    /// Folder for data that survives a restart [default: memory].
    #[arg(long, value_name = "DIR")]
    pub data: Option<PathBuf>,

    /// The template [default: template.yaml here or in a folder above].
    #[arg(long, value_name = "FILE")]
    pub template: Option<PathBuf>,

    /// Address of a Kafka broker whose topics are used [default: a stand-in, whose topics are kept with the other
    /// data].
    #[arg(long, value_name = "HOST:PORT")]
    pub kafka: Option<String>,

    /// Where the records of requests and messages are. `valkey` starts a server that is found on this machine.
    #[arg(long, value_enum, default_value_t = RecordStore::Dynamodb)]
    pub store: RecordStore,

    /// A value for a parameter of the template, as `sam deploy --parameter-overrides` takes it; can be repeated.
    #[arg(long = "parameter", value_name = "NAME=VALUE", value_parser = parameter)]
    pub parameters: Vec<(String, String)>,

    /// Shows what the application is for, in about a minute: orders under kills, time-outs and duplicates, beside a
    /// handler that stores its result after the work. Exits with 1 if the application charges or posts an order other
    /// than once.
    #[arg(long)]
    pub demo: bool,

    /// The seed of the demonstration's orders.
    #[arg(long, value_name = "NUMBER", default_value_t = 1, requires = "demo")]
    pub seed: u64,

    /// How many orders the demonstration places at each of the two.
    #[arg(long, value_name = "NUMBER", default_value_t = 120, requires = "demo")]
    pub orders: usize,

    /// Records the demonstration as an animated picture.
    #[arg(long, value_name = "FILE.svg", requires = "demo")]
    pub record: Option<PathBuf>,

    /// Starts a function at its first event, as Lambda does. Without it each function starts before `ready`, so that
    /// one that cannot start is an error then.
    #[arg(long)]
    pub on_demand: bool,

    /// What the terminal shows of the functions' output.
    #[arg(long, value_enum, default_value_t)]
    pub log: LogFormat,

    /// Folder of `sam build`: runs the programs there, instead of building.
    #[arg(long, value_name = "DIR", hide = true)]
    pub built: Option<PathBuf>,

    /// File with the key that signs tokens (PKCS #8), made if there is none [default: with the other data].
    #[arg(long, value_name = "FILE", hide = true)]
    pub signing_key: Option<PathBuf>,

    /// Seconds between two sweeps for expired items.
    #[arg(long, value_name = "SECONDS", default_value = "10", value_parser = seconds, hide = true)]
    pub time_to_live_sweep: Duration,

    /// Port of the embedded DynamoDB on 127.0.0.1; 0 takes any free one.
    #[arg(long, default_value_t = 0, hide = true)]
    pub dynamodb_port: u16,

    /// Endpoint at which the functions reach DynamoDB, if not directly: that of a fault proxy.
    #[arg(long, value_name = "URL", hide = true)]
    pub dynamodb_endpoint: Option<String>,

    /// Maximum number of sandboxes of a function without reserved concurrency.
    #[arg(long, value_name = "NUMBER", default_value_t = 8, hide = true)]
    pub sandboxes: usize,

    /// Seconds for which a sandbox keeps running after its time-out, so that a frozen one can resume.
    #[arg(long, value_name = "SECONDS", default_value = "0", value_parser = whole_seconds, hide = true)]
    pub overtime: Duration,
}

/// Where records are.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum RecordStore {
    /// In the embedded DynamoDB.
    Dynamodb,
    /// On a real Valkey or Redis server.
    Valkey,
}

fn parameter(text: &str) -> Result<(String, String), String> {
    let (name, value) = text.split_once('=').ok_or("expected NAME=VALUE")?;
    Ok((name.to_owned(), value.to_owned()))
}

fn whole_seconds(text: &str) -> Result<Duration, std::num::ParseIntError> {
    text.parse().map(Duration::from_secs)
}

fn seconds(text: &str) -> Result<Duration, String> {
    match text.parse() {
        Ok(seconds) if seconds > 0 => Ok(Duration::from_secs(seconds)),
        _ => Err("expected a number of seconds above 0".to_owned()),
    }
}
