//! The client's preference whether a duplicate waits for the running request (RFC 7240).

use std::time::Duration;

use http::header::HeaderName;
use http::{HeaderMap, HeaderValue, Response};
use lambda_http::Body;

use crate::engine::Call;

const PREFER: HeaderName = HeaderName::from_static("prefer");
const PREFERENCE_APPLIED: HeaderName = HeaderName::from_static("preference-applied");

/// The client's preference for how long a duplicate waits.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Preference {
    /// The client leaves it to the API.
    None,
    /// `wait=N`: for N seconds (section 4.3), also with `respond-async`, which applies after the wait.
    Wait(u64),
    /// `respond-async`: the duplicate does not wait (section 4.1).
    RespondAsync,
}

impl Preference {
    /// The preference in the request. If a preference is repeated, the first one counts; unknown and malformed ones are
    /// ignored (section 2).
    pub(super) fn of(headers: &HeaderMap) -> Self {
        match find(headers, "wait").and_then(|seconds| seconds.parse().ok()) {
            Some(seconds) => Self::Wait(seconds),
            None if find(headers, "respond-async").is_some() => Self::RespondAsync,
            None => Self::None,
        }
    }

    /// The preference as far as the API can fulfil it: it waits for at most this time.
    pub(super) fn within(self, longest: Duration) -> Self {
        match self {
            Self::Wait(seconds) => Self::Wait(seconds.min(longest.as_secs())),
            Self::None | Self::RespondAsync => self,
        }
    }

    /// Makes the call wait as preferred. Without a preference it waits for up to `max_wait`, but only if the running
    /// request's lease ends within that time.
    pub(super) fn apply(self, call: Call, max_wait: Duration) -> Call {
        match self {
            Self::None => call.wait_for_lease(max_wait),
            Self::Wait(seconds) => call.wait(Duration::from_secs(seconds)),
            Self::RespondAsync => call,
        }
    }

    /// Reports to the client of a duplicate that its preference was fulfilled (section 3).
    pub(super) fn report(self, mut response: Response<Body>) -> Response<Body> {
        let applied = match self {
            Self::None => return response,
            Self::Wait(seconds) => HeaderValue::try_from(format!("wait={seconds}")),
            Self::RespondAsync => Ok(HeaderValue::from_static("respond-async")),
        };
        if let Ok(applied) = applied {
            response.headers_mut().insert(PREFERENCE_APPLIED, applied);
        }
        response
    }
}

/// The value of a preference, empty if it has none.
fn find<'a>(headers: &'a HeaderMap, wanted: &str) -> Option<&'a str> {
    let values = headers.get_all(PREFER).iter().filter_map(|value| value.to_str().ok());
    values.flat_map(|value| value.split(',')).find_map(|preference| {
        let preference = preference.split(';').next()?;
        let (name, value) = preference.split_once('=').unwrap_or((preference, ""));
        name.trim().eq_ignore_ascii_case(wanted).then(|| value.trim().trim_matches('"'))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn preference(values: &[&str]) -> Preference {
        let mut headers = HeaderMap::new();
        for value in values {
            headers.append(PREFER, HeaderValue::from_str(value).unwrap());
        }
        Preference::of(&headers)
    }

    #[test]
    fn preferences_are_read_as_rfc_7240_says() {
        for values in [
            &["wait=5"][..],
            &["Wait = 5"],
            &["wait=\"5\""],
            &["respond-async, wait=5;x=1"],
            &["a", "wait=5", "wait=9"],
        ] {
            assert_eq!(preference(values), Preference::Wait(5), "{values:?}");
        }
        for values in [&["respond-async"][..], &["Respond-Async; x=1", "a"], &["wait=soon, respond-async"]] {
            assert_eq!(preference(values), Preference::RespondAsync, "{values:?}");
        }
        for values in [&[][..], &["wait"], &["wait=soon"], &["wait=-1"], &["await=5"], &["return=minimal"]] {
            assert_eq!(preference(values), Preference::None, "{values:?}");
        }
    }

    #[test]
    fn a_wait_is_lowered_to_what_the_api_can_do() {
        assert_eq!(Preference::Wait(9).within(Duration::from_millis(7999)), Preference::Wait(7));
        assert_eq!(Preference::Wait(6).within(Duration::from_secs(7)), Preference::Wait(6));
    }
}
