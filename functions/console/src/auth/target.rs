use axum::http::Uri;
use serde::{Deserialize, Serialize};

/// A page of the console that was asked for before the sign-in, and is shown after it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Target(String);

/// The cookie of a sign-in has room for a target of this length.
const LONGEST: usize = 1024;

impl Target {
    pub(crate) fn home() -> Self {
        Self("/console".to_owned())
    }

    /// The page of a request.
    pub(crate) fn of(uri: &Uri) -> Self {
        Self::parse(uri.path_and_query().map_or("", |path| path.as_str()))
    }

    /// The page with this path; the home page if the path is not one of the console's, so that no link leads elsewhere.
    pub(crate) fn parse(path: &str) -> Self {
        let rest = path.strip_prefix("/console").filter(|_| path.len() <= LONGEST);
        let is_page = rest.is_some_and(|rest| rest.is_empty() || rest.starts_with(['/', '?']));
        let is_plain = path.bytes().all(|byte| byte.is_ascii_graphic() && byte != b'\\');
        let is_sign_in = ["/console/sign-in", "/console/signed-", "/console/callback", "/console/session"];
        match is_page && is_plain && !is_sign_in.iter().any(|page| path.starts_with(page)) {
            true => Self(path.to_owned()),
            false => Self::home(),
        }
    }

    pub(crate) fn path(&self) -> &str {
        &self.0
    }

    /// The URL of a page of the sign-in with this target.
    pub(crate) fn after(&self, page: &str) -> String {
        // A pair of strings always serialises.
        let separator = if page.contains('?') { '&' } else { '?' };
        format!("{page}{separator}{}", serde_urlencoded::to_string([("to", &self.0)]).unwrap_or_default())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_pages_of_the_console_are_a_target() {
        for page in ["/console", "/console/", "/console/audit?actor=x&record=a%2Fb", "/console?age_s=60"] {
            assert_eq!(Target::parse(page).path(), page);
        }
        for elsewhere in [
            "",
            "/",
            "//evil.example",
            "https://evil.example/console",
            "/\\evil.example",
            "/console\\evil",
            "/consoles",
            "/console.evil.example",
            "/console@evil.example",
            "/payments",
            "javascript:alert(1)",
            "/console/a b",
            "/console/\r\nset-cookie: a=b",
            "/console/sign-in?to=/console",
            "/console/callback?code=1",
            &format!("/console/{}", "x".repeat(LONGEST)),
        ] {
            assert_eq!(Target::parse(elsewhere), Target::home(), "{elsewhere}");
        }
        assert_eq!(
            Target::parse("/console/audit?a=b").after("/console/sign-in"),
            "/console/sign-in?to=%2Fconsole%2Faudit%3Fa%3Db"
        );
    }
}
