//! The command line of the local stack: `cargo run -p local`.

use std::process::ExitCode;

use clap::Parser;
use local::Options;
use tracing_subscriber::{
    filter::{LevelFilter, Targets},
    layer::SubscriberExt,
    util::SubscriberInitExt,
};

#[tokio::main]
async fn main() -> ExitCode {
    let options = Options::parse();
    // Standard output is for the banner. The embedded DynamoDB warns of every condition that does not hold, which is
    // how claims are meant to fail.
    let levels = Targets::new().with_target("local", LevelFilter::INFO).with_default(LevelFilter::ERROR);
    let output = tracing_subscriber::fmt::layer().with_writer(std::io::stderr).with_target(false);
    tracing_subscriber::registry().with(output).with(levels).init();
    match local::run(options).await {
        Ok(code) => code,
        Err(error) => {
            eprintln!("error: {error:#}");
            ExitCode::FAILURE
        }
    }
}
