use axum::http::{HeaderMap, header};

use super::pending::SIGN_IN_TIME;

/// A cookie of the console. With the prefix `__Host-`, browsers require Secure and the exact host, so no other host and
/// no plain-text response can set it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Cookie {
    /// Stores the ID token until the browser is closed. With SameSite=Strict, browsers do not send it with requests
    /// from other sites.
    Session,
    /// Stores a sign-in that has been started. With SameSite=Lax, browsers also send it when the issuer, which is
    /// another site, redirects them back; but not with its forms.
    SignIn,
}

impl Cookie {
    const fn name(self) -> &'static str {
        match self {
            Self::Session => "__Host-session",
            Self::SignIn => "__Host-sign-in",
        }
    }

    const fn same_site(self) -> &'static str {
        match self {
            Self::Session => "Strict",
            Self::SignIn => "Lax",
        }
    }

    /// The header value that sets it.
    pub(crate) fn set(self, value: &str) -> String {
        match self {
            Self::Session => self.with(value),
            Self::SignIn => format!("{}; Max-Age={}", self.with(value), SIGN_IN_TIME.as_secs()),
        }
    }

    /// The header value that removes it.
    pub(crate) fn clear(self) -> String {
        format!("{}; Max-Age=0", self.with(""))
    }

    fn with(self, value: &str) -> String {
        format!("{}={value}; Path=/; Secure; HttpOnly; SameSite={}", self.name(), self.same_site())
    }
}

/// The value of a cookie; `None` if there are two of that name, because either could be ours.
pub(crate) fn cookie(headers: &HeaderMap, cookie: Cookie) -> Option<&str> {
    let values = headers.get_all(header::COOKIE).iter().filter_map(|value| value.to_str().ok());
    let mut found = values
        .flat_map(|value| value.split(';'))
        .filter_map(|pair| pair.trim().split_once('='))
        .filter(|(name, value)| *name == cookie.name() && !value.is_empty());
    let (_, value) = found.next()?;
    found.next().is_none().then_some(value)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn session(header: &str) -> Option<String> {
        let headers = HeaderMap::from_iter([(header::COOKIE, header.parse().unwrap())]);
        cookie(&headers, Cookie::Session).map(str::to_owned)
    }

    #[test]
    fn a_cookie_is_found_among_others_and_only_if_there_is_one() {
        assert_eq!(session("a=1; __Host-session=x.y.z; b=2").as_deref(), Some("x.y.z"));
        for header in ["a=1", "__Host-session=", "session=x", "__Host-session=x; __Host-session=y", "__Host-session"] {
            assert_eq!(session(header), None, "{header}");
        }
    }
}
