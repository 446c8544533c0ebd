//! Runs the HTTP conformance vectors against an implementation.

use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::{Context, Result};
use clap::Parser;
use reqwest::header::HeaderName;
use tests::http_conformance::{Client, Need, Options, Principals, Tier, load, run};

/// Runs the HTTP conformance vectors against an implementation in any language, and prints a table.
///
/// Exits with 0 if nothing failed, with 1 if something did, with 2 if it could not run. What is skipped has not passed.
/// What the implementation must offer is written down in tests/vectors/http/README.md.
#[derive(Debug, Parser)]
#[command(name = "http-conformance")]
struct Arguments {
    /// Where the implementation listens, such as http://127.0.0.1:3000.
    #[arg(long)]
    url: String,

    /// Only this tier; may be repeated [default: all].
    #[arg(long, value_enum)]
    tier: Vec<Tier>,

    /// Only cases whose names contain this.
    #[arg(long, value_name = "TEXT")]
    only: Option<String>,

    /// What the implementation cannot offer: cases that need it are skipped; may be repeated.
    #[arg(long, value_enum, value_delimiter = ',')]
    lacks: Vec<Need>,

    /// Where a token for {principal} is to be had [default: URL/_local/token?sub={principal}].
    #[arg(long, value_name = "URL", conflicts_with = "principal_header")]
    token_url: Option<String>,

    /// The header that says who asks, instead of a token, such as "x-user: {principal}".
    #[arg(long, value_name = "HEADER")]
    principal_header: Option<String>,

    /// How many cases at a time.
    #[arg(long, default_value_t = 4)]
    jobs: usize,

    /// Writes the result as JSON.
    #[arg(long, value_name = "FILE")]
    json: Option<PathBuf>,

    /// Writes the result as JUnit XML.
    #[arg(long, value_name = "FILE")]
    junit: Option<PathBuf>,

    /// The folder of the vectors.
    #[arg(long, value_name = "DIR", default_value = concat!(env!("CARGO_MANIFEST_DIR"), "/vectors/http"))]
    vectors: PathBuf,
}

#[tokio::main]
async fn main() -> ExitCode {
    match conformance(Arguments::parse()).await {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::from(1),
        Err(error) => {
            eprintln!("http-conformance: {error:#}");
            ExitCode::from(2)
        }
    }
}

async fn conformance(arguments: Arguments) -> Result<bool> {
    let client = Client::new(&arguments.url, principals(&arguments)?)?;
    client.reach().await?;
    let everything = vec![Tier::Draft, Tier::Profile];
    let options = Options {
        tiers: if arguments.tier.is_empty() { everything } else { arguments.tier },
        only: arguments.only,
        lacks: arguments.lacks.into_iter().collect(),
        jobs: arguments.jobs,
    };
    let report = run(client, load(&arguments.vectors)?, &options, |done, all, outcome| {
        eprintln!("[{done:>3}/{all}] {} {}", outcome.verdict.word(), outcome.name);
    })
    .await;
    println!("{}\n{}", report.table(), report.summary());
    if let Some(file) = arguments.json {
        std::fs::write(&file, report.json().to_string()).with_context(|| format!("cannot write {}", file.display()))?;
    }
    if let Some(file) = arguments.junit {
        std::fs::write(&file, report.junit()).with_context(|| format!("cannot write {}", file.display()))?;
    }
    Ok(report.conforms())
}

fn principals(arguments: &Arguments) -> Result<Principals> {
    match &arguments.principal_header {
        Some(header) => {
            let (name, value) = header.split_once(':').context("a principal header is NAME: VALUE")?;
            let name: HeaderName = name.trim().parse().context("a principal header is NAME: VALUE")?;
            Ok(Principals::Header(name, value.trim().to_owned()))
        }
        None => {
            let default = || format!("{}/_local/token?sub={{principal}}", arguments.url.trim_end_matches('/'));
            Ok(Principals::TokenUrl(arguments.token_url.clone().unwrap_or_else(default)))
        }
    }
}
