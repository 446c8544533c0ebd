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
//! The functions are the deployed binaries, as processes on Lambda's Runtime API. They cannot tell that they run
//! here: only endpoints and credentials differ.

use std::io::Write;

use anyhow::{Context, Result};
use tokio::signal::unix::{Signal, SignalKind, signal};

pub use options::Options;
pub use stack::Stack;

mod access;
mod api_gateway;
mod banner;
mod build;
mod control;
mod docs;
mod dynamodb;
mod events;
mod function;
mod invocation;
mod listener;
mod logs;
mod options;
mod pipe;
mod problem;
mod process_group;
mod provider;
mod sandbox;
mod schedule;
mod scheduler;
mod secrets;
mod sign_in;
mod sqs;
mod sqs_mapping;
mod stack;
mod storage;
mod streams;
pub mod template;
mod token;

/// Runs the stack until Ctrl-C or SIGTERM. A second one does not wait for the processes.
pub async fn run(options: Options) -> Result<()> {
    let mut signals = Signals::listen().context("cannot listen for signals")?;
    let stack = tokio::select! {
        stack = Stack::start(&options) => stack?,
        () = signals.next() => return Ok(()),
    };
    // A reader that waits for the line `ready` may close the pipe after it; that is no reason to stop.
    let mut output = std::io::stdout();
    let _ = writeln!(output, "{}", stack.banner()).and_then(|()| output.flush());
    signals.next().await;
    tracing::info!("stopping; Ctrl-C again does not wait");
    tokio::select! {
        () = stack.stop() => {}
        () = signals.next() => {}
    }
    Ok(())
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
