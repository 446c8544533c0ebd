use axum::http::{HeaderMap, header};

/// A cookie of the console. With `__Host-`, browsers require Secure and the exact host, so no other host and no
/// plain-text response can set it; with SameSite=Strict they do not send it with requests from other sites.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Cookie {
    /// Has the token.
    Session,
    /// Has a random value that binds the sign-in form, while there is no token yet.
    SignIn,
}

impl Cookie {
    const fn name(self) -> &'static str {
        match self {
            Self::Session => "__Host-session",
            Self::SignIn => "__Host-sign-in",
        }
    }

    /// The header value that sets it until the browser is closed.
    pub(crate) fn set(self, value: &str) -> String {
        format!("{}={value}; Path=/; Secure; HttpOnly; SameSite=Strict", self.name())
    }

    /// The header value that removes it.
    pub(crate) fn clear(self) -> String {
        format!("{}; Max-Age=0", self.set(""))
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
