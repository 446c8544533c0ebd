use axum::http::{HeaderMap, header};

/// A cookie of the console. `__Host-` makes browsers insist on Secure and the whole host, so that no other host or
/// plain-text answer can plant it; SameSite=Strict keeps other sites' requests without it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Cookie {
    /// The token.
    Session,
    /// A random value for the form of signing in, when there is no token yet.
    SignIn,
}

impl Cookie {
    const fn name(self) -> &'static str {
        match self {
            Self::Session => "__Host-session",
            Self::SignIn => "__Host-sign-in",
        }
    }

    /// The header that sets it, until the browser ends.
    pub(crate) fn set(self, value: &str) -> String {
        format!("{}={value}; Path=/; Secure; HttpOnly; SameSite=Strict", self.name())
    }

    /// The header that removes it.
    pub(crate) fn clear(self) -> String {
        format!("{}; Max-Age=0", self.set(""))
    }
}

/// The value of a cookie; nothing where two of that name make it uncertain which one is ours.
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
