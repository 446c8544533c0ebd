//! The command line of the conformance runner.

use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::{Context, Result, ensure};
use clap::Parser;
use http_conformance::{Case, Client, Need, Operation, Options, Principals, Tier, cases, load, run};
use reqwest::header::{HeaderMap, HeaderName, HeaderValue};

/// Checks whether an HTTP API implements the Idempotency-Key header (draft-ietf-httpapi-idempotency-key-header-07).
///
/// Sends the requests of each case to the implementation at URL, compares its answers, and prints a table. The
/// implementation can be written in any language.
///
/// Any API can be checked from outside, at one of its operations. The operation is executed at least six times, so use
/// a test account:
///
///   http-conformance --url https://api.example --operation 'POST /orders' --body '{"item":1}' --header 'Authorization:
///   Bearer …'
///
/// All other cases need the routes that the README of this package lists.
///
/// Exits with 0 if no case failed, with 1 if one failed, and with 2 if the run could not start. A skipped case has not
/// passed.
#[derive(Debug, Parser)]
#[command(name = "http-conformance")]
struct Arguments {
    /// The implementation's address, such as http://127.0.0.1:3000.
    #[arg(long)]
    url: String,

    /// The operation to check, such as 'POST /orders': runs the cases of the tier `operation`.
    #[arg(long, value_name = "METHOD PATH", requires = "body")]
    operation: Option<String>,

    /// A body that the operation accepts, or @FILE.
    #[arg(long, value_name = "TEXT", requires = "operation")]
    body: Option<String>,

    /// Another body that the operation accepts, or @FILE [default: the body with one value changed].
    #[arg(long, value_name = "TEXT", requires = "operation")]
    other_body: Option<String>,

    /// A header of every request to the operation, such as its credentials; may be repeated.
    #[arg(long, value_name = "HEADER", requires = "operation")]
    header: Vec<String>,

    /// Sends keys without quotes, for an API that refuses the draft's form.
    #[arg(long, requires = "operation")]
    bare_key: bool,

    /// Runs only the cases of this tier; may be repeated [default: draft and profile].
    #[arg(long, value_enum)]
    tier: Vec<Tier>,

    /// Runs only the cases whose names contain this text.
    #[arg(long, value_name = "TEXT")]
    only: Option<String>,

    /// Facilities that the implementation lacks; cases that need one are skipped; may be repeated.
    #[arg(long, value_enum, value_delimiter = ',')]
    lacks: Vec<Need>,

    /// A URL that answers with a bearer token for {principal}, such as
    /// http://127.0.0.1:3000/_local/token?sub={principal}.
    #[arg(long, value_name = "URL", required_unless_present_any = ["principal_header", "operation"])]
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
    let (tiers, cases) = selection(&arguments, &client).await?;
    let options =
        Options { tiers, only: arguments.only, lacks: arguments.lacks.into_iter().collect(), jobs: arguments.jobs };
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

/// The cases to run, after a check that the implementation answers.
async fn selection(arguments: &Arguments, client: &Client) -> Result<(Vec<Tier>, Vec<Case>)> {
    let Some(operation) = operation(arguments)? else {
        ensure!(!arguments.tier.contains(&Tier::Operation), "the tier operation needs --operation and --body");
        client.reach().await?;
        let all = vec![Tier::Draft, Tier::Profile];
        let tiers = if arguments.tier.is_empty() { all } else { arguments.tier.clone() };
        return Ok((tiers, arguments.vectors.as_deref().map_or_else(cases, load)?));
    };
    let only_this = arguments.tier.iter().all(|tier| *tier == Tier::Operation) && arguments.vectors.is_none();
    ensure!(only_this, "the cases of the other tiers need their own routes: leave --operation out");
    client.reach().await?;
    client.accepts(&operation).await?;
    Ok((vec![Tier::Operation], operation.cases()?))
}

fn operation(arguments: &Arguments) -> Result<Option<Operation>> {
    let (Some(operation), Some(body)) = (&arguments.operation, &arguments.body) else { return Ok(None) };
    let mut operation = Operation::new(operation, &text(body)?)?;
    if let Some(other) = &arguments.other_body {
        operation = operation.other_body(&text(other)?);
    }
    Ok(Some(if arguments.bare_key { operation.bare_key() } else { operation }))
}

/// The text itself, or the content of `@FILE`.
fn text(argument: &str) -> Result<String> {
    match argument.strip_prefix('@') {
        Some(file) => std::fs::read_to_string(file).with_context(|| format!("cannot read {file}")),
        None => Ok(argument.to_owned()),
    }
}

fn principals(arguments: &Arguments) -> Result<Principals> {
    if arguments.operation.is_some() && arguments.token_url.is_none() && arguments.principal_header.is_none() {
        let headers = arguments.header.iter().map(|line| header(line)).collect::<Result<HeaderMap>>()?;
        return Ok(Principals::Fixed(headers));
    }
    ensure!(arguments.header.is_empty(), "--header already names the caller: leave the other option out");
    match (&arguments.principal_header, &arguments.token_url) {
        (Some(line), _) => {
            let (name, value) = header(line)?;
            Ok(Principals::Header(name, value.to_str()?.to_owned()))
        }
        (None, Some(url)) => Ok(Principals::TokenUrl(url.clone())),
        (None, None) => anyhow::bail!("either --token-url or --principal-header is needed"),
    }
}

fn header(line: &str) -> Result<(HeaderName, HeaderValue)> {
    let expected = || format!("a header is NAME: VALUE, and not {line:?}");
    let (name, value) = line.split_once(':').with_context(expected)?;
    Ok((name.trim().parse().with_context(expected)?, value.trim().parse().with_context(expected)?))
}
