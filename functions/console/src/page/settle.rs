//! Acting: a form, what it would do, and that it was done.

use std::sync::Arc;

use axum::Form;
use axum::extract::{Path, State};
use axum::http::StatusCode;
use axum::response::{IntoResponse, Redirect, Response};
use idempotency::protocol::{EpochMs, Record};
use maud::{Markup, html};
use payments::{Action, AuditKind, Preview};
use serde::Deserialize;

use super::layout::{Time, comparison, csrf, page, record_link, status};
use super::{approvals, refused};
use crate::auth::Visit;
use crate::changes::changes;
use crate::confirmation::Look;
use crate::format;
use crate::provider_status::Answer;
use crate::record::{About, ours, short};
use crate::request_log::Told;
use crate::settlement::{NotPreviewed, Verb, Wish};
use crate::state::Console;

type Problems = Vec<(&'static str, String)>;

#[derive(Deserialize)]
pub(super) struct Bare {
    pub(super) csrf: String,
}

/// Asks the provider, writes what it says into the audit, and shows the record with it.
pub(super) async fn ask(
    State(console): State<Arc<Console>>,
    visit: Visit,
    Path(record): Path<String>,
    Form(form): Form<Bare>,
) -> Response {
    let asked = async {
        visit.may_act(&form.csrf)?;
        console.ask_for_audit(&visit.actor, &visit.invocation, &record).await
    };
    match asked.await {
        Ok((asked, _)) => {
            let told = Told::done(format::audited(AuditKind::Asked), &visit.actor).about(&asked);
            (told, Redirect::to(&format!("/console/records/{record}#audit"))).into_response()
        }
        Err(refusal) => refused(Some(&visit), &refusal),
    }
}

pub(super) async fn form(
    State(console): State<Arc<Console>>,
    visit: Visit,
    Path((record, verb)): Path<(String, Verb)>,
) -> Response {
    let shown = async {
        visit.actor.may_act()?;
        let record = console.record(&record).await?;
        ours(&record)?;
        let found = console.ask(&record).await;
        let reference = found.reference().unwrap_or_default().to_owned();
        let wish = Wish { reference, ..Wish::default() };
        Ok((record, wish, found))
    };
    match shown.await {
        Ok((record, wish, found)) => {
            let content = wish_form(&visit, &record, verb, &wish, Some(&found), &[]);
            (Told::shown(&visit.actor).about(&record), page(verb.title(), Some(&visit), content)).into_response()
        }
        Err(refusal) => refused(Some(&visit), &refusal),
    }
}

pub(super) async fn preview(
    State(console): State<Arc<Console>>,
    visit: Visit,
    Path((record, verb)): Path<(String, Verb)>,
    Form(wish): Form<Wish>,
) -> Response {
    if let Err(refusal) = visit.may_act(&wish.csrf) {
        return refused(Some(&visit), &refusal);
    }
    match console.preview(&visit.actor, &record, verb, &wish).await {
        Ok((preview, record)) => {
            let told = Told::done("previewed", &visit.actor).about(&record);
            (told, Redirect::to(&format!("/console/previews/{}", preview.token.simple()))).into_response()
        }
        Err(NotPreviewed::Refused(refusal)) => refused(Some(&visit), &refusal),
        Err(NotPreviewed::Invalid(problems)) => again(&console, &visit, &record, verb, &wish, &problems).await,
    }
}

/// The form with all that was typed in, and what is wrong with it.
async fn again(
    console: &Console,
    visit: &Visit,
    record: &str,
    verb: Verb,
    wish: &Wish,
    problems: &Problems,
) -> Response {
    match console.record(record).await {
        Ok(record) => {
            let content = wish_form(visit, &record, verb, wish, None, problems);
            let told = Told::refused("invalid", None).about(&record);
            (StatusCode::UNPROCESSABLE_ENTITY, told, page(verb.title(), Some(visit), content)).into_response()
        }
        Err(refusal) => refused(Some(visit), &refusal),
    }
}

fn wish_form(
    visit: &Visit,
    record: &Record,
    verb: Verb,
    wish: &Wish,
    found: Option<&Answer>,
    problems: &[(&'static str, String)],
) -> Markup {
    let base = format!("/console/records/{}", short(record.id.as_str()));
    html! {
        h1 { (verb.title()) }
        (subject(record))
        @if !problems.is_empty() {
            div.problem role="alert" tabindex="-1" autofocus {
                p { "This cannot be previewed yet:" }
                ul { @for (field, problem) in problems { li { a href={ "#" (field) } { (label(field)) } " " (problem) } } }
            }
        }
        p.hint.problem[verb == Verb::Release] { (advice(verb)) }
        @if let Some(found) = found { p.hint { "The provider says: " (found.in_words()) } }
        form.card method="post" action={ (base) "/" (verb.as_str()) } {
            (csrf(&visit.csrf))
            @match verb {
                Verb::Succeed => (input("reference", &wish.reference, problems)),
                Verb::Fail => (textarea("evidence", &wish.evidence, problems)),
                Verb::Release => label.check for="understood" {
                    input #understood type="checkbox" name="understood" value="yes" checked[!wish.understood.is_empty()]
                        aria-invalid=[invalid("understood", problems)];
                    " " (label("understood"))
                }
            }
            (textarea("reason", &wish.reason, problems))
            div.buttons {
                button type="submit" { "Preview" }
                a href=(base) { "Cancel" }
            }
        }
    }
}

fn label(field: &str) -> &'static str {
    match field {
        "reference" => "The provider’s reference",
        "evidence" => "Evidence that it did not happen and cannot happen any more",
        "understood" => "I understand that the next call with this key runs again, and that this may charge twice.",
        _ => "Reason (at least 10 characters)",
    }
}

fn advice(verb: Verb) -> &'static str {
    match verb {
        Verb::Succeed => {
            "The client’s next retry will hear that it happened, and the payment will be recorded and posted."
        }
        Verb::Fail => {
            "The client’s next retry will hear that it did not happen. A mere “not found” at the provider is no evidence: \
             an attempt that is only frozen may still send its request."
        }
        Verb::Release => {
            "Dangerous. The next call with the key runs again, under a new transaction id, so that the provider cannot \
             tell it from a new order. If the first attempt did take effect, it happens twice."
        }
    }
}

fn invalid(field: &str, problems: &[(&'static str, String)]) -> Option<&'static str> {
    problems.iter().any(|(other, _)| *other == field).then_some("true")
}

fn input(field: &'static str, value: &str, problems: &[(&'static str, String)]) -> Markup {
    html! {
        label for=(field) { (label(field)) }
        input id=(field) name=(field) value=(value) required maxlength="255" spellcheck="false" autocomplete="off"
            aria-invalid=[invalid(field, problems)];
    }
}

fn textarea(field: &'static str, value: &str, problems: &[(&'static str, String)]) -> Markup {
    html! {
        label for=(field) { (label(field)) }
        textarea id=(field) name=(field) rows="3" required minlength="10" maxlength="500" aria-invalid=[invalid(field, problems)] {
            // HTML drops a line break at the beginning.
            "\n" (value)
        }
    }
}

/// Which record it is, and what is at stake.
pub(super) fn subject(record: &Record) -> Markup {
    let about = About::of(record).unwrap_or_default();
    html! {
        p {
            (status(record.state.status().as_str())) " " (record.operation)
            @if let Some(money) = about.money() { ", " strong.money { (money) } }
            @if let Some(account) = &about.account { " on " (account) }
            ", record " (record_link(record.id.as_str()))
        }
    }
}

/// The preview's page: before, it shows what will be done; after, that it was done.
pub(super) async fn look(State(console): State<Arc<Console>>, visit: Visit, Path(token): Path<String>) -> Response {
    match console.look::<Preview>(&visit.actor, &token).await {
        Ok(Look::Open(preview, record)) => {
            let told = Told::shown(&visit.actor).about(&record);
            (told, page("Preview", Some(&visit), open(&visit, &preview, &record))).into_response()
        }
        Ok(Look::Used(preview)) => {
            let told = Told::shown(&visit.actor).about_id(&preview.record);
            match preview.approval {
                Some(approval) => (told, approvals::requested(approval)).into_response(),
                None => (told, page("Done", Some(&visit), used(&preview))).into_response(),
            }
        }
        Err(refusal) => refused(Some(&visit), &refusal),
    }
}

pub(super) async fn confirm(
    State(console): State<Arc<Console>>,
    visit: Visit,
    Path(token): Path<String>,
    Form(form): Form<Bare>,
) -> Response {
    let confirmed = async {
        visit.may_act(&form.csrf)?;
        console.confirm::<Preview>(&visit.actor, &visit.invocation, &token).await
    };
    match confirmed.await {
        Ok(confirmed) => {
            let to = match confirmed.warrant.approval {
                Some(approval) => approvals::requested(approval),
                None => Redirect::to(&format!("/console/previews/{}", confirmed.warrant.token.simple())),
            };
            (confirmed.told(&visit.actor), to).into_response()
        }
        Err(refusal) => refused(Some(&visit), &refusal),
    }
}

fn open(visit: &Visit, preview: &Preview, record: &Record) -> Markup {
    let dangerous = preview.action == Action::Release;
    html! {
        h1 { "Preview: " (title(&preview.action)) }
        (subject(record))
        p { "Nothing is written yet." }
        @if let Action::Succeed { verified: false, .. } = &preview.action {
            p.problem { "The provider did not answer, so its reference is not verified. If it does not answer at the confirmation either, another operator must approve it." }
        }
        @if dangerous { p.problem { (advice(Verb::Release)) } }
        @match &preview.action {
            Action::Fail { .. } | Action::Release => p.hint {
                "At the confirmation the provider is asked, and the request’s key is taken away there. If it says that it "
                "happened or still may, nothing is done; if it cannot say, another operator must approve it."
            },
            Action::Succeed { .. } => {},
        }
        (what_changes(&preview.action, record))
        (because(preview))
        form method="post" action={ "/console/previews/" (preview.token.simple()) } {
            (csrf(&visit.csrf))
            p.hint { "Can be confirmed once, by you, until " (Time(EpochMs(preview.expires()))) "." }
            div.buttons {
                button.danger[dangerous] type="submit" { "Confirm: " (title(&preview.action)) }
                a href={ "/console/records/" (short(&preview.record)) } { "Cancel" }
            }
        }
    }
}

fn used(preview: &Preview) -> Markup {
    html! {
        h1 { "Done: " (title(&preview.action)) }
        p.done role="status" {
            "It was done"
            @if let Some(at) = preview.used { ", " (Time(EpochMs(at))) }
            ". Confirming again changes nothing."
        }
        (because(preview))
        p { a.button href={ "/console/records/" (short(&preview.record)) } { "Look at the record" } }
    }
}

fn because(preview: &Preview) -> Markup {
    html! {
        dl.facts {
            dt { "Reason" } dd.words { (preview.reason) }
            @if let Some(evidence) = preview.action.evidence() { dt { "Evidence" } dd.words { (evidence) } }
            dt { "Operator" } dd { (preview.actor) }
        }
    }
}

pub(super) fn what_changes(action: &Action, record: &Record) -> Markup {
    let changes = changes(action, record);
    let rows = changes.iter().map(|change| (change.what, [html! { (change.before) }, html! { (change.after) }]));
    html! { (comparison("What changes", ["Before", "After"], rows)) }
}

pub(super) fn title(action: &Action) -> &'static str {
    match action {
        Action::Succeed { .. } => Verb::Succeed.title(),
        Action::Fail { .. } => Verb::Fail.title(),
        Action::Release => Verb::Release.title(),
    }
}
