//! `cargo run --release -p proof -- SUMMARY`

use std::path::PathBuf;
use std::process::ExitCode;

fn main() -> ExitCode {
    let Some(summary) = std::env::args_os().nth(1).map(PathBuf::from) else {
        eprintln!("usage: proof SUMMARY, the file that says what is done already and gets what is done now");
        return ExitCode::FAILURE;
    };
    match proof::nightly::run(&summary) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {error}");
            ExitCode::FAILURE
        }
    }
}
