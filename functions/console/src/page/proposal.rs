//! The parts that the pages of previews and approvals share.

use idempotency::protocol::Record;
use maud::{Markup, html};
use payments::{Action, Proposal};

use super::layout::{comparison, record_link, status};
use crate::format;
use crate::record::subject::SubjectSummary;
use crate::settlement::changes::changes;

pub(super) fn title(action: &Action) -> &'static str {
    format::action_title(action.kind())
}

/// The record, with the amount at risk.
pub(super) fn record_line(record: &Record) -> Markup {
    let subject = SubjectSummary::of(record).unwrap_or_default();
    html! {
        p {
            (status(record.state.status().as_str())) " " (record.operation)
            @if let Some(money) = subject.money() { ", " strong.money { (money) } }
            @if let Some(account) = &subject.account { " for " (account) }
            ", record " (record_link(record.id.as_str()))
        }
    }
}

pub(super) fn what_changes(action: &Action, record: &Record) -> Markup {
    let changes = changes(action, record);
    let rows = changes.iter().map(|change| (change.what, [html! { (change.before) }, html! { (change.after) }]));
    html! { (comparison("What changes", ["Before", "After"], rows)) }
}

/// Items for a list of facts.
pub(super) fn reason(proposal: &Proposal) -> Markup {
    html! {
        dt { "Reason" } dd.words { (proposal.reason) }
        @if let Some(evidence) = proposal.action.evidence() { dt { "Evidence" } dd.words { (evidence) } }
    }
}
