//! The cost of the library compared with an empty function, hand-written calls and the peers, in one run.
//!
//! ```text
//!            ┌ Runtime API ─► sandbox (a process) ─► proxy ─► DynamoDB (embedded)
//! cases ─────┤                   │                     │
//!            └ times             └ /proc: time, memory └ requests, bytes, units
//! ```
//!
//! Figures from different runs are not comparable; compare subjects within one run.

pub mod cases;
pub mod cold;
pub mod database;
pub mod event;
pub mod instructions;
pub mod kind;
pub mod machine;
pub mod measurement;
pub mod memory;
pub mod options;
pub mod peers;
pub mod plots;
pub mod process;
pub mod report;
pub mod sandbox;
pub mod scale;
pub mod share;
pub mod sizes;
pub mod stage;
pub mod statistics;
pub mod subject;
pub mod tls;
pub mod unit_costs;

use anyhow::Result;

use options::Command;
pub use options::Options;

/// Runs the command that the options select.
///
/// # Errors
/// When a subject does not behave as expected; the figures of such a run would be meaningless.
pub async fn run(options: Options) -> Result<()> {
    match options.command.unwrap_or_default() {
        Command::Run(choice) => report::run(&choice).await,
        Command::Plots { results, plots } => plots::draw_again(&results, &plots),
        Command::Instructions { update } => instructions::check(update),
        Command::Scale => scale::run(&subject::workspace().join("docs")),
        Command::Peers { action: options::PeersAction::Install } => peers::install(),
    }
}
