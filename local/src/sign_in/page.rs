//! The issuer's pages.

use maud::{DOCTYPE, Markup, html};

use super::Fields;

/// The page to sign in. The request goes along with its form.
pub(super) fn sign_in(request: &Fields) -> Markup {
    page(
        "Sign in locally",
        html! {
            p { "This issuer belongs to the local stack. It accepts any name and role." }
            form method="post" {
                @for (name, value) in request { input type="hidden" name=(name) value=(value); }
                label for="name" { "Name" }
                input #name name="name" value="olga" required autocomplete="off";
                label for="role" { "Role" }
                select #role name="role" {
                    option value="operator" { "operator" }
                    option value="viewer" { "viewer" }
                    option value="" { "no role" }
                }
                button type="submit" { "Sign in" }
                button.quiet type="submit" name="cancel" value="yes" formnovalidate { "Cancel" }
            }
        },
    )
}

pub(super) fn refused(why: &str) -> Markup {
    page("The request is not valid", html! { p role="alert" { (why) } })
}

fn page(title: &str, content: Markup) -> Markup {
    html! {
        (DOCTYPE)
        html lang="en" {
            head {
                meta charset="utf-8";
                meta name="viewport" content="width=device-width, initial-scale=1";
                meta name="color-scheme" content="light dark";
                title { (title) }
                style { (STYLE) }
            }
            body { main { h1 { (title) } (content) } }
        }
    }
}

const STYLE: &str = "body { font: 1rem/1.5 system-ui, sans-serif; margin: 0 auto; max-width: 26rem; padding: 2rem 1rem } \
    form { display: grid; gap: .5rem } input, select, button { font: inherit; padding: .5rem } \
    button { margin-top: .5rem }";
