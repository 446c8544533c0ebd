//! One retry signal: its reasons, its counts compared with peers and with its own past, a strip of 24 hours, and its
//! label.

use std::sync::Arc;

use axum::extract::{Path, State};
use axum::response::Redirect;
use idempotency::protocol::EpochMs;
use maud::{Markup, html};
use retry_signals::{Label, Signal};
use serde::Deserialize;
use signals::{Counts, Detector, Horizon, Reason, WindowTime};

use super::layout::{Time, csrf, page, record_link};
use super::signals::kind_title;
use crate::auth::Role;
use crate::error::ConsoleError;
use crate::extract::{VerifiedForm, Visitor};
use crate::request_log::{LogOutcome, LogSummary};
use crate::signals::{Place, SignalDetails, address, date, label_named, label_title};
use crate::state::Console;

pub(super) async fn show(
    State(console): State<Arc<Console>>,
    visitor: Visitor,
    Path(place): Path<Place>,
) -> Result<(LogSummary, Markup), ConsoleError> {
    let details = console.signal_details(&place).await?;
    Ok((LogSummary::shown(&visitor.actor), page("Retry signal", Some(&visitor), content(&visitor, &details))))
}

/// The form of the label buttons.
#[derive(Debug, Deserialize)]
pub(super) struct LabelForm {
    /// A label's name, or `none` to take it back.
    label: String,
}

pub(super) async fn label(
    State(console): State<Arc<Console>>,
    Path(place): Path<Place>,
    VerifiedForm { visitor, fields: LabelForm { label } }: VerifiedForm<LabelForm>,
) -> Result<(LogSummary, Redirect), ConsoleError> {
    visitor.actor.require_operator()?;
    let label = label_named(&label)?;
    let signal = console.label_signal(&visitor.actor, visitor.invocation.id, &place, label).await?;
    let summary = LogSummary::new(LogOutcome::Labelled, &visitor.actor);
    Ok((summary, Redirect::to(&format!("{}#labels", address(&signal)))))
}

fn content(visitor: &Visitor, details: &SignalDetails) -> Markup {
    let SignalDetails { signal, strip } = details;
    html! {
        p { a href="/console/signals" { "Retry signals" } }
        h1 { (kind_title(signal.kind)) " " span.code { (signal.entity) } }
        p.lead { (signal.reasons.first().map_or("", String::as_str)) }
        (comparison(signal))
        dl.facts {
            dt { "Odds" } dd { (signal.odds) "; about " (percent(signal.share)) " of callers’ and accounts’ days reach this" }
            dt { "Day" } dd { (date(signal.day)) " (UTC)" }
            dt { "First seen" } dd { (Time(EpochMs(signal.first_s * 1000))) }
            dt { "Last seen" } dd { (Time(EpochMs(signal.last_window().end_s() * 1000))) ", in " (signal.windows) " windows of " (signal.window_s) " s" }
        }
        @if signal.reasons.len() > 1 {
            h2 { "All that was unusual" }
            ul { @for reason in &signal.reasons { li { (reason) } } }
        }
        h2 { "The 24 hours before" }
        (strip_of(signal.detector, strip))
        @if !signal.records.is_empty() {
            h2 { "Records" }
            p { "Examples of requests that were not ordinary successes; records expire a day after they are settled." }
            ul.records { @for id in &signal.records { li { (record_link(id)) } } }
        }
        (labels(visitor, signal))
    }
}

/// The counts, compared with the rates of peers and of its own past.
fn comparison(signal: &Signal) -> Markup {
    let rate = if signal.n > 0.0 { f64::from(signal.k / signal.n) } else { 0.0 };
    let over = match signal.horizon {
        Horizon::Window => "in one window",
        Horizon::Hour => "in the last hours, faded",
        Horizon::HalfDay => "in the last day, faded",
    };
    html! {
        dl.summary {
            div { dt { (Reason::title(signal.detector)) ", " (over) } dd { (percent(rate)) " " small { (whole(signal.k)) " of " (whole(signal.n)) } } }
            div { dt { "Peers, at that moment" } dd { (percent(signal.peers)) } }
            div { dt { "Its own past" } dd { @match signal.own { Some(own) => (percent(own)), None => "none" } } }
        }
    }
}

fn whole(count: f32) -> String {
    format!("{count:.0}")
}

fn percent(rate: f64) -> String {
    let percent = rate * 100.0;
    match percent {
        0.0 => "0 %".to_owned(),
        percent if percent < 0.1 => "under 0.1 %".to_owned(),
        percent if percent < 10.0 => format!("{percent:.1} %"),
        percent => format!("{percent:.0} %"),
    }
}

/// The height of the strip, in its own units.
const HEIGHT: f32 = 60.0;

/// One bar per window: the possible count in grey, and the actual count on top of it.
fn strip_of(detector: Detector, strip: &[(WindowTime, Option<Counts>)]) -> Markup {
    let pairs: Vec<_> =
        strip.iter().map(|(at, counts)| (at, counts.as_ref().map(|counts| counts.pair(detector)))).collect();
    let most = pairs.iter().filter_map(|(_, pair)| pair.map(|pair| pair.n)).fold(1.0_f32, f32::max);
    let counted = pairs.iter().filter(|(_, pair)| pair.is_some_and(|pair| pair.k > 0.0)).count();
    let (first, last) = (strip.first().map(|(at, _)| at.start_s), strip.last().map(|(at, _)| at.end_s()));
    let title = format!(
        "{} of {} windows had {}; the highest possible count in one window was {}",
        counted,
        pairs.len(),
        Reason::title(detector),
        whole(most)
    );
    html! {
        figure.strip {
            svg viewBox={ "0 0 " (pairs.len()) " " (HEIGHT) } preserveAspectRatio="none" role="img" aria-label=(title) {
                @for (index, (_, pair)) in pairs.iter().enumerate() {
                    @if let Some(pair) = pair {
                        rect.of x=(index) y=(HEIGHT - HEIGHT * pair.n / most) width="1" height=(HEIGHT * pair.n / most) {}
                        @if pair.k > 0.0 {
                            rect.counted x=(index) y=(HEIGHT - HEIGHT * pair.k / most) width="1" height=(HEIGHT * pair.k / most) {}
                        }
                    }
                }
            }
            figcaption {
                @if let (Some(first), Some(last)) = (first, last) {
                    (Time(EpochMs(first * 1000))) " to " (Time(EpochMs(last * 1000))) ". "
                }
                "Dark: " (Reason::title(detector)) ". Light: the highest possible count. The highest bar is " (whole(most)) ". "
                "Counts are kept for two days."
            }
        }
    }
}

fn labels(visitor: &Visitor, signal: &Signal) -> Markup {
    let now = signal.label();
    html! {
        section #labels {
            h2 { "What is it?" }
            @match now {
                Some(label) => { p.done { "Labelled as " strong { (label_title(label)) } ". " (effect(label)) } },
                None => { p { "Nobody has labelled it." } },
            }
            @match visitor.actor.role {
                Role::Operator => {
                    form method="post" action=(address(signal)) {
                        (csrf(&visitor.csrf))
                        div.buttons {
                            @for label in Label::ALL {
                                @if now != Some(label) { button type="submit" name="label" value=(label.name()) { (label_title(label)) } }
                            }
                            @if now.is_some() { button.quiet type="submit" name="label" value="none" { "Take the label back" } }
                        }
                    }
                    ul.hint { @for label in Label::ALL { li { strong { (label_title(label)) } ": " (effect(label)) } } }
                },
                Role::Viewer => { p.hint { "Labelling needs the role operator." } },
            }
            @if !signal.labellings.is_empty() {
                h3 { "Audit" }
                ol.entries {
                    @for act in signal.labellings.iter().rev() {
                        li {
                            p {
                                strong { @match act.label { Some(label) => (label_title(label)), None => "Label taken back" } }
                                " by " span.actor { (act.by) } ", " (Time(EpochMs(act.at_ms)))
                            }
                            dl { dt { "Request" } dd.code { (act.request) } }
                        }
                    }
                }
            }
        }
    }
}

const fn effect(label: Label) -> &'static str {
    match label {
        Label::Abuse | Label::ClientBug => {
            "Its day is left out of the threshold and of the samples for peers, and its own past is set aside."
        }
        Label::Fine => {
            "Today’s counts belong to its past at once, and this pattern stays silent for 30 days unless its rate doubles."
        }
    }
}
