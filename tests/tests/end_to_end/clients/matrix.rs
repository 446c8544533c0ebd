//! Every client with each of its rules in every scenario, on one local stack.

use std::collections::BTreeMap;
use std::fmt::Write;

use futures::future::join_all;
use tests::local_stack::{Setup, Stack, User};
use tests::wait::eventually;
use tokio::sync::OnceCell;

use super::cell::Cell;
use super::client::CLIENTS;
use super::gateway::{Gateway, name};
use super::installed::Installed;
use super::program::Program;
use super::rules::Rules;
use super::scenario::Scenario;

/// One for each request of a phase, and one for its repetition.
const SANDBOXES: usize = 2 * 2 * CLIENTS.len();

/// The scenarios that run at the same time. The first start the sandboxes, for whose start others have no time.
const PHASES: [&[Scenario]; 5] = [
    &[Scenario::Throttled, Scenario::Cut],
    &[Scenario::Maintenance, Scenario::Declined],
    &[Scenario::Outage],
    &[Scenario::Slow],
    &[Scenario::Kill, Scenario::TimeOut],
];

/// All cells.
pub(crate) struct Matrix(BTreeMap<String, Cell>);

/// The matrix, observed once for all tests; `None` if the clients cannot be installed.
pub(crate) async fn observed() -> Option<&'static Matrix> {
    static MATRIX: OnceCell<Option<Matrix>> = OnceCell::const_new();
    let observe = || async {
        let installed = tokio::task::spawn_blocking(Installed::new).await.expect("installs")?;
        Some(Matrix::observe(&installed).await)
    };
    MATRIX.get_or_init(observe).await.as_ref()
}

impl Matrix {
    pub(crate) fn cells() -> impl Iterator<Item = (&'static str, Rules, Scenario)> {
        let of_client = |client: &'static str| {
            Rules::ALL.into_iter().flat_map(move |rules| Scenario::ALL.map(|scenario| (client, rules, scenario)))
        };
        CLIENTS.into_iter().flat_map(move |client| of_client(client.name))
    }

    pub(crate) fn cell(&self, client: &str, rules: Rules, scenario: Scenario) -> &Cell {
        &self.0[&name(client, rules, scenario)]
    }

    /// As it is on the page.
    pub(crate) fn table(&self) -> String {
        let titles: Vec<_> = Scenario::FAULTS.into_iter().map(Scenario::title).collect();
        let mut table = format!("| client | rules | {} |\n", titles.join(" | "));
        let _ = writeln!(table, "|---|---|{}", "---|".repeat(titles.len()));
        for client in CLIENTS.map(|client| client.name) {
            for rules in Rules::ALL {
                let cells = Scenario::FAULTS.map(|scenario| self.cell(client, rules, scenario).shown());
                let _ = writeln!(table, "| {client} | {} | {} |", rules.name(), cells.join(" | "));
            }
        }
        table
    }

    async fn observe(installed: &Installed) -> Self {
        // As deployed, but the reconciler looks for abandoned requests whenever it runs.
        let setup = Setup::deployed().parameter("ScanIntervalSeconds", 0).option("sandboxes", SANDBOXES);
        let stack = setup.reconciled_on_demand().start().await;
        let programs = CLIENTS.into_iter().flat_map(|client| Rules::ALL.map(|rules| (client, rules)));
        let mut programs = join_all(programs.map(|(client, rules)| Program::start(client, rules, installed))).await;
        let gateway = Gateway::start(&stack).await;

        let mut endings = Vec::new();
        for scenarios in PHASES {
            endings.extend(match scenarios {
                [Scenario::Outage] => gateway.outage(&mut programs).await,
                _ => gateway.send(&mut programs, scenarios).await,
            });
        }
        let charges = stack.charges().await;
        let cells = endings.into_iter().map(|ending| {
            let charges = charges.iter().filter(|charge| charge["metadata"]["account"] == ending.name.as_str()).count();
            let tries = gateway.arrivals.tries(&ending.name);
            (ending.name.clone(), Cell { ending, tries, charges, entries: 0 })
        });
        let mut matrix = Self(cells.collect());
        matrix.count_entries(&stack).await;
        matrix
    }

    /// Waits until each charge is in the ledger, through the reconciler if its client has given up.
    async fn count_entries(&mut self, stack: &Stack) {
        let auditor = &stack.auditor().await;
        for (account, cell) in &self.0 {
            eventually(&format!("{account} is posted"), || async {
                let is_posted = entries(auditor, account).await >= cell.charges;
                if !is_posted {
                    stack.reconcile().await;
                }
                is_posted.then_some(())
            })
            .await;
        }
        // What would be posted twice has been by now.
        stack.until_empty("LedgerQueue").await;
        for (account, cell) in &mut self.0 {
            cell.entries = entries(auditor, account).await;
        }
    }
}

async fn entries(auditor: &User<'_>, account: &str) -> usize {
    let balances = auditor.get(&format!("/accounts/{account}")).await.json();
    balances["balances"][0]["entries"].as_u64().map_or(0, |entries| entries as usize)
}
