//! The local stack: runs `template.yaml` on this machine, without an AWS account.
//!
//! ```text
//!            ┌─ api_gateway ─ authorizer ────┐                       ┌─ provider (Stripe's API)
//! requests ──┤                               ├─► function ─► sandbox ┤
//!            └─ control (/_local/)           │   (pool)     (process)├─► dynamodb ── stream ─┐
//!                    sqs_mapping, streams ───┤                       └─► sqs ◄──── pipe ─────┘
//!                                schedule ───┘                            │
//!                             ▲───────────────────────────────────────────┘
//! ```
//!
//! The functions are the deployed binaries, as processes on Lambda's Runtime API. They cannot detect that they run
//! here: only endpoints and credentials differ.

use std::{
    io::{IsTerminal, Write},
    process::ExitCode,
};

use anyhow::{Context, Result};
use tokio::signal::unix::{Signal, SignalKind, signal};

pub use options::{Options, RecordStore};
pub use output::LogFormat;
pub use stack::Stack;
pub use valkey::Valkey;

mod access;
mod activity;
mod alarms;
mod api_gateway;
mod banner;
mod build;
mod control;
mod definitions;
mod demo;
mod docs;
mod dynamodb;
mod events;
mod function;
mod invocation;
mod kinesis;
mod listener;
mod live;
mod log_lines;
mod log_query;
mod logs;
mod metrics;
mod monitoring;
mod now;
mod options;
mod output;
mod parameters;
mod pipe;
mod problem;
mod process_group;
mod provider;
mod request_line;
mod sandbox;
mod schedule;
mod scheduler;
mod secrets;
mod shard;
mod shard_mapping;
mod sign_in;
mod sqs;
mod sqs_mapping;
mod stack;
mod storage;
mod streams;
pub mod template;
mod token;
mod valkey;
mod wildcard;

/// Runs the stack until Ctrl-C or SIGTERM. A second one does not wait for the processes.
pub async fn run(options: Options) -> Result<ExitCode> {
    let mut signals = Signals::listen().context("cannot listen for signals")?;
    let stack = tokio::select! {
        stack = Stack::start(&options) => stack?,
        () = signals.next() => return Ok(ExitCode::FAILURE),
    };
    if options.demo {
        let shown = tokio::select! {
            shown = demo::run(&stack, options.seed, options.orders, options.record.as_deref()) => shown,
            () = signals.next() => Ok(ExitCode::FAILURE),
        };
        tokio::select! {
            () = stack.stop() => {}
            () = signals.next() => {}
        }
        return shown;
    }
    // A reader that waits for the line `ready` may close the pipe after it; that is no reason to stop.
    let mut output = std::io::stdout();
    let _ = writeln!(output, "{}", stack.banner()).and_then(|()| output.flush());
    repeat_on_request(stack.banner().to_owned());
    signals.next().await;
    tracing::info!("stopping when running requests have ended; Ctrl-C again does not wait");
    tokio::select! {
        () = stack.stop() => {}
        () = signals.next() => {}
    }
    Ok(ExitCode::SUCCESS)
}

/// Prints the banner again whenever `b` is typed: requests have pushed it out of sight.
fn repeat_on_request(banner: String) {
    if !std::io::stdin().is_terminal() {
        return;
    }
    // A thread of its own, which ends with the process: reading a terminal cannot be given up.
    std::thread::spawn(move || {
        for line in std::io::stdin().lines().map_while(Result::ok) {
            if line.trim() == "b" {
                println!("{banner}");
            }
        }
    });
}

struct Signals {
    interrupt: Signal,
    terminate: Signal,
}

impl Signals {
    fn listen() -> std::io::Result<Self> {
        Ok(Self { interrupt: signal(SignalKind::interrupt())?, terminate: signal(SignalKind::terminate())? })
    }

    async fn next(&mut self) {
        tokio::select! {
            _ = self.interrupt.recv() => {}
            _ = self.terminate.recv() => {}
        }
    }
}
