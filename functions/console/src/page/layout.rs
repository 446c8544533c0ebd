//! The frame of every page, and the parts that several pages use.

use idempotency::protocol::EpochMs;
use maud::{DOCTYPE, Markup, Render, html};

use crate::auth::Csrf;
use crate::extract::Visitor;
use crate::format;
use crate::record::short;

/// A whole page.
pub(super) fn page(title: &str, visitor: Option<&Visitor>, content: Markup) -> Markup {
    document(title, visitor, None, content)
}

/// A whole page that a browser loads again after some seconds, if there are any.
pub(super) fn page_that_refreshes(title: &str, visitor: &Visitor, seconds: Option<u32>, content: Markup) -> Markup {
    document(title, Some(visitor), seconds.map(|seconds| seconds.to_string()).as_deref(), content)
}

/// A page that redirects to another one by itself; its content has the link for browsers that do not follow.
pub(super) fn page_on_the_way(title: &str, next: &str, content: Markup) -> Markup {
    document(title, None, Some(&format!("0; url={next}")), content)
}

fn document(title: &str, visitor: Option<&Visitor>, refresh: Option<&str>, content: Markup) -> Markup {
    html! {
        (DOCTYPE)
        html lang="en" {
            head {
                meta charset="utf-8";
                meta name="viewport" content="width=device-width, initial-scale=1";
                meta name="color-scheme" content="light dark";
                @if let Some(refresh) = refresh { meta http-equiv="refresh" content=(refresh); }
                title { (title) " · Operators’ console" }
                link rel="icon" href="/console/icon.svg" type="image/svg+xml";
                link rel="stylesheet" href="/console/style.css";
            }
            body {
                a.skip href="#content" { "Skip to the content" }
                header {
                    a.brand href="/console" { "Operators’ console" }
                    @if let Some(visitor) = visitor { (navigation(visitor)) }
                }
                main #content tabindex="-1" { (content) }
            }
        }
    }
}

fn navigation(visitor: &Visitor) -> Markup {
    html! {
        nav aria-label="Pages" {
            a href="/console" { "Home" }
            a href="/console/unresolved" { "Unresolved" }
            a href="/console/approvals" { "Approvals" }
            a href="/console/audit" { "Audit" }
            a href="/console/dead-letters" { "Dead letters" }
            @if visitor.has_signals { a href="/console/signals" { "Signals" } }
        }
        (search(visitor))
        form.who method="post" action="/console/session/end" {
            (csrf(&visitor.csrf))
            span { (visitor.actor.name) " " small { "(" (visitor.actor.role.as_str()) ")" } }
            button.quiet type="submit" { "Sign out" }
        }
    }
}

/// The search box. It is sent by POST, so that a client's key and its principal are in no URL, history or log.
fn search(visitor: &Visitor) -> Markup {
    html! {
        form.search role="search" method="post" action="/console/find" {
            (csrf(&visitor.csrf))
            input #search type="search" name="text" aria-label="Find a payment, transaction, record, account, or principal and key"
                placeholder="pay_…, pi_…, record, account" required maxlength="2600" spellcheck="false" autocomplete="off";
            button.quiet type="submit" { "Find" }
        }
    }
}

/// The hidden field of every form.
pub(super) fn csrf(csrf: &Csrf) -> Markup {
    html! { input type="hidden" name="csrf" value=(csrf.as_str()); }
}

/// A point in time.
pub(super) struct Time(pub(super) EpochMs);

impl Render for Time {
    fn render(&self) -> Markup {
        html! { time datetime=(format::rfc3339(self.0)) { (format::time(self.0)) } }
    }
}

/// The meaning of a mark's colour; its word has the same meaning.
#[derive(Clone, Copy)]
pub(super) enum Mark {
    Good,
    Bad,
}

/// A word about a value.
pub(super) fn mark(mark: Mark, word: &str) -> Markup {
    let class = match mark {
        Mark::Good => "mark good",
        Mark::Bad => "mark bad",
    };
    html! { span class=(class) { (word) } }
}

/// A status, as a word; its colour is decoration.
pub(super) fn status(word: &str) -> Markup {
    html! { span.status data-status=(word) { (word) } }
}

/// A table that compares two columns. On a narrow screen each row becomes a block; the roles keep it a table for screen
/// readers.
pub(super) fn comparison<'a>(
    caption: &str,
    columns: [&str; 2],
    rows: impl IntoIterator<Item = (&'a str, [Markup; 2])>,
) -> Markup {
    html! {
        table.compare.stacked role="table" {
            caption { (caption) }
            thead role="rowgroup" {
                tr role="row" {
                    td role="cell" {}
                    @for column in columns { th role="columnheader" scope="col" { (column) } }
                }
            }
            tbody role="rowgroup" {
                @for (name, cells) in rows {
                    tr role="row" {
                        th role="rowheader" scope="row" { (name) }
                        @for (column, cell) in columns.iter().zip(cells) { td role="cell" data-label=(column) { (cell) } }
                    }
                }
            }
        }
    }
}

/// A link with an abbreviated record id.
pub(super) fn record_link(id: &str) -> Markup {
    let short = short(id);
    let label: String = short.chars().take(12).collect();
    html! { a.code href={ "/console/records/" (short) } { (label) } }
}

pub(super) fn record_button(id: &str) -> Markup {
    html! { a.button href={ "/console/records/" (short(id)) } { "Look at the record" } }
}
