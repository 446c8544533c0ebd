//! The ledger's dead letters, and sending one of them again.

use std::sync::Arc;

use axum::extract::State;
use axum::response::Redirect;
use maud::{Markup, html};
use payments::{AuditKind, Message};
use serde::Deserialize;

use super::layout::{Time, csrf, page};
use crate::auth::Role;
use crate::error::ConsoleError;
use crate::extract::{VerifiedForm, Visitor};
use crate::format;
use crate::queues::{DeadLetter, Depth};
use crate::request_log::LogSummary;
use crate::state::Console;

pub(super) async fn list(
    State(console): State<Arc<Console>>,
    visitor: Visitor,
) -> Result<(LogSummary, Markup), ConsoleError> {
    let (depths, letters) = tokio::join!(console.queues.depths(), console.dead_letters());
    let content = content(&visitor, depths.ledger_dead_letters.as_ref().ok(), &letters?);
    Ok((LogSummary::shown(&visitor.actor), page("Dead letters", Some(&visitor), content)))
}

#[derive(Deserialize)]
pub(super) struct Chosen {
    #[serde(default)]
    message: String,
}

pub(super) async fn redrive(
    State(console): State<Arc<Console>>,
    VerifiedForm { visitor, fields: Chosen { message } }: VerifiedForm<Chosen>,
) -> Result<(LogSummary, Redirect), ConsoleError> {
    console.redrive(&visitor.actor, &visitor.invocation, &message).await?;
    let summary = LogSummary::audited(AuditKind::Redriven, &visitor.actor);
    Ok((summary, Redirect::to("/console/audit")))
}

fn content(visitor: &Visitor, depth: Option<&Depth>, letters: &[DeadLetter]) -> Markup {
    html! {
        h1 { "Dead letters of the ledger" }
        p.lead {
            "Messages that could not be posted after several tries. Correct the cause first. Sending a message again is safe "
            "any number of times: it is posted once."
        }
        @if let Some(depth) = depth {
            p { "About " strong #count { (depth.waiting + depth.in_flight) } ", of which up to ten are shown. "
                "SQS returns only some of them each time: load the page again to see others." }
        }
        @if letters.is_empty() {
            p.empty { "SQS returned none." }
        } @else {
            ol.entries { @for letter in letters { li { (one(visitor, letter)) } } }
        }
    }
}

fn one(visitor: &Visitor, letter: &DeadLetter) -> Markup {
    html! {
        (summary(letter))
        dl {
            dt { "Message" } dd.code { (letter.id) }
            @if let Some(sent) = letter.sent { dt { "Sent" } dd { (Time(sent)) } }
            @match letter.content() {
                Ok(Message::Event(event)) => {
                    dt { "Payment" } dd { a.code href={ "/console/payments/" (event.payment) } { (event.payment) } }
                    dt { "Account" } dd { a href={ "/console/accounts/" (event.account) } { (event.account) } }
                    dt { "Transaction" } dd.code { (event.id) }
                }
                Ok(Message::Sale(sale)) => {
                    dt { "Terminal" } dd.code { (sale.terminal) ", number " (sale.sequence) }
                    dt { "Account" } dd { a href={ "/console/accounts/" (sale.account) } { (sale.account) } }
                }
                Err(why) => { dt { "What is wrong" } dd.words { (why) } }
            }
        }
        @match visitor.actor.role {
            Role::Operator => form method="post" action="/console/dead-letters" {
                (csrf(&visitor.csrf))
                input type="hidden" name="message" value=(letter.id);
                div.buttons { button.quiet type="submit" { "Send it to the ledger again" } }
            },
            Role::Viewer => {},
        }
    }
}

fn summary(letter: &DeadLetter) -> Markup {
    let money = |money: &payments::Money| format::money(&money.amount.to_string(), money.currency.code());
    html! {
        p {
            @match letter.content() {
                Ok(Message::Event(event)) => strong { (money(&event.money)) ", " (event.kind) },
                Ok(Message::Sale(sale)) => strong { (money(&sale.money)) ", sale" },
                Err(_) => strong { "A message that the ledger cannot read" },
            }
        }
    }
}
