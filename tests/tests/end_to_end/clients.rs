//! HTTP clients that people use, with their retries, in front of the payments API: what [`docs/clients.md`] says of
//! them.
//!
//! [`docs/clients.md`]: ../../../docs/clients.md

mod arrivals;
mod cell;
mod client;
mod gateway;
mod installed;
mod matrix;
mod page;
mod program;
mod request;
mod rules;
mod scenario;

use std::time::Duration;

use client::CLIENTS;
use matrix::Matrix;
use page::Page;
use rules::Rules;
use scenario::Scenario;

/// The clients whose usual rules repeat their own time-outs.
const REPEAT_THEIR_TIME_OUTS: [&str; 6] = ["requests", "httpx-retries", "tenacity", "backoff", "got", "curl"];

#[tokio::test(flavor = "multi_thread")]
#[cfg_attr(not(soak_all), ignore = "SOAK_ALL=1 runs it, as the gate does")]
async fn no_client_charges_a_card_twice_or_posts_a_charge_twice_or_never() {
    let Some(matrix) = matrix::observed().await else { return };
    for (client, rules, scenario) in Matrix::cells() {
        let cell = matrix.cell(client, rules, scenario);
        assert!(cell.charges <= 1, "{client} with its {rules:?} rules, {scenario:?}: {cell}");
        assert_eq!(cell.entries, cell.charges, "{client} with its {rules:?} rules, {scenario:?}: {cell}");
    }
}

#[tokio::test(flavor = "multi_thread")]
#[cfg_attr(not(soak_all), ignore = "SOAK_ALL=1 runs it, as the gate does")]
async fn with_the_lines_of_the_page_every_client_ends_with_the_payment() {
    let Some(matrix) = matrix::observed().await else { return };
    for client in CLIENTS {
        for scenario in Scenario::FAULTS {
            let cell = matrix.cell(client.name, Rules::Page, scenario);
            assert!(cell.has_paid() && cell.charges == 1, "{}, {scenario:?}: {cell}", client.name);
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
#[cfg_attr(not(soak_all), ignore = "SOAK_ALL=1 runs it, as the gate does")]
async fn with_the_lines_of_the_page_no_client_repeats_a_refusal() {
    let Some(matrix) = matrix::observed().await else { return };
    for client in CLIENTS {
        let cell = matrix.cell(client.name, Rules::Page, Scenario::Declined);
        assert_eq!((cell.has_paid(), cell.tries.len(), cell.charges), (false, 1, 0), "{}: {cell}", client.name);
    }
}

#[tokio::test(flavor = "multi_thread")]
#[cfg_attr(not(soak_all), ignore = "SOAK_ALL=1 runs it, as the gate does")]
async fn with_the_lines_of_the_page_every_client_waits_for_a_date() {
    let Some(matrix) = matrix::observed().await else { return };
    for client in CLIENTS {
        let cell = matrix.cell(client.name, Rules::Page, Scenario::Maintenance);
        let [first, second] = cell.tries[..] else { panic!("{}: {cell}", client.name) };
        let fraction = Duration::from_secs(1);
        assert!(second - first >= Scenario::MAINTENANCE - fraction, "{}: {cell}", client.name);
    }
}

#[tokio::test(flavor = "multi_thread")]
#[cfg_attr(not(soak_all), ignore = "SOAK_ALL=1 runs it, as the gate does")]
async fn with_usual_rules_a_client_ends_with_the_payment_if_it_repeats_what_it_met() {
    let Some(matrix) = matrix::observed().await else { return };
    for client in CLIENTS.map(|client| client.name) {
        let has_paid = |scenario| matrix.cell(client, Rules::Usual, scenario).has_paid();
        // httpx-retries does not repeat a 500.
        assert_eq!(has_paid(Scenario::Kill), client != "httpx-retries", "{client}");
        assert!(has_paid(Scenario::TimeOut), "{client}");
        assert_eq!(has_paid(Scenario::Slow), REPEAT_THEIR_TIME_OUTS.contains(&client), "{client}");
    }
}

#[test]
fn the_page_names_the_versions_that_run() {
    let page = Page::read();
    for version in installed::versions() {
        assert!(page.contains(&version), "docs/clients.md should name {version}");
    }
}

#[tokio::test(flavor = "multi_thread")]
#[cfg_attr(not(soak_all), ignore = "SOAK_ALL=1 runs it, as the gate does")]
async fn the_page_shows_what_the_clients_did() {
    let Some(matrix) = matrix::observed().await else { return };
    let observed = matrix.table();
    assert_eq!(Page::read().results(), observed, "docs/clients.md should show:\n\n{observed}");
}
