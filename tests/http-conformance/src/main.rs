//! The command line of the conformance runner.

use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::{Context, Result};
use clap::Parser;
use http_conformance::{Client, Need, Options, Principals, Tier, cases, load, run};
use reqwest::header::HeaderName;

/// Checks whether an HTTP API implements the Idempotency-Key header (draft-ietf-httpapi-idempotency-key-header-07).
///
/// Sends the requests of each case to the implementation at URL, compares its answers, and prints a table. The
/// implementation can be written in any language; it must have the routes that the README of this package lists.
///
/// Exits with 0 if no case failed, with 1 if one failed, and with 2 if the run could not start. A skipped case has not
/// passed.
#[derive(Debug, Parser)]
#[command(name = "http-conformance")]
struct Arguments {
    /// The implementation's address, such as http://127.0.0.1:3000.
    #[arg(long)]
    url: String,

    /// Runs the cases of this tier only; may be repeated [default: all].
    #[arg(long, value_enum)]
    tier: Vec<Tier>,

    /// Runs only the cases whose names contain this text.
    #[arg(long, value_name = "TEXT")]
    only: Option<String>,

    /// Facilities that the implementation does not have: cases that need one are skipped; may be repeated.
    #[arg(long, value_enum, value_delimiter = ',')]
    lacks: Vec<Need>,

    /// A URL that answers with a bearer token for {principal}, such as
    /// http://127.0.0.1:3000/_local/token?sub={principal}.
    #[arg(long, value_name = "URL", required_unless_present = "principal_header")]
    token_url: Option<String>,

    /// A header that names the caller, instead of a token, such as "x-user: {principal}".
    #[arg(long, value_name = "HEADER", conflicts_with = "token_url")]
    principal_header: Option<String>,

    /// The number of cases that run at the same time.
    #[arg(long, default_value_t = 4)]
    jobs: usize,

    /// Writes the result as JSON.
    #[arg(long, value_name = "FILE")]
    json: Option<PathBuf>,

    /// Writes the result as JUnit XML.
    #[arg(long, value_name = "FILE")]
    junit: Option<PathBuf>,

    /// Runs the cases of the JSON files in this folder instead of the built-in ones.
    #[arg(long, value_name = "DIR")]
    vectors: Option<PathBuf>,
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
    let cases = arguments.vectors.as_deref().map_or_else(cases, load)?;
    let all = vec![Tier::Draft, Tier::Profile];
    let options = Options {
        tiers: if arguments.tier.is_empty() { all } else { arguments.tier },
        only: arguments.only,
        lacks: arguments.lacks.into_iter().collect(),
        jobs: arguments.jobs,
    };
    let report = run(client, cases, &options, |done, all, outcome| {
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
    match (&arguments.principal_header, &arguments.token_url) {
        (Some(header), _) => {
            let (name, value) = header.split_once(':').context("a principal header is NAME: VALUE")?;
            let name: HeaderName = name.trim().parse().context("a principal header is NAME: VALUE")?;
            Ok(Principals::Header(name, value.trim().to_owned()))
        }
        (None, Some(url)) => Ok(Principals::TokenUrl(url.clone())),
        (None, None) => anyhow::bail!("either --token-url or --principal-header is needed"),
    }
}
