//! The fields of forms, and the errors in them.

use maud::{Markup, html};

use crate::error::FieldProblem;

/// The problems as a list of links to their fields. It takes the focus.
pub(super) fn problems(problems: &[FieldProblem]) -> Markup {
    html! {
        @if !problems.is_empty() {
            div.problem role="alert" tabindex="-1" autofocus {
                p { "This cannot be previewed yet:" }
                ul { @for (field, problem) in problems { li { a href={ "#" (field) } { (label(field)) } " " (problem) } } }
            }
        }
    }
}

pub(super) fn label(field: &str) -> &'static str {
    match field {
        "reference" => "The provider’s reference",
        "evidence" => "Evidence that it did not happen and no longer can",
        "understood" => "I understand that the next call with this key runs again, and that this may charge twice.",
        "name" => "Name of this bulk action, for the audit (an incident, a ticket)",
        _ => "Reason (at least 10 characters)",
    }
}

pub(super) fn input(field: &'static str, value: &str, problems: &[FieldProblem]) -> Markup {
    html! {
        label for=(field) { (label(field)) }
        input id=(field) name=(field) value=(value) required maxlength="255" spellcheck="false" autocomplete="off"
            aria-invalid=[invalid(field, problems)];
    }
}

pub(super) fn textarea(field: &'static str, value: &str, problems: &[FieldProblem]) -> Markup {
    html! {
        label for=(field) { (label(field)) }
        textarea id=(field) name=(field) rows="3" required minlength="10" maxlength="500" aria-invalid=[invalid(field, problems)] {
            // HTML drops a line break at the beginning, so one is added.
            "\n" (value)
        }
    }
}

/// The checkbox by which the operator confirms that a danger is understood.
pub(super) fn understood(value: &str, problems: &[FieldProblem]) -> Markup {
    html! {
        label.check for="understood" {
            input #understood type="checkbox" name="understood" value="yes" checked[!value.is_empty()]
                aria-invalid=[invalid("understood", problems)];
            " " (label("understood"))
        }
    }
}

fn invalid(field: &str, problems: &[FieldProblem]) -> Option<&'static str> {
    problems.iter().any(|(other, _)| *other == field).then_some("true")
}
