//! A response: its recorded form, its replay, and its verdict.

use http::header::{
    CACHE_CONTROL, CONTENT_ENCODING, CONTENT_LANGUAGE, CONTENT_TYPE, ETAG, HeaderName, HeaderValue, LINK, LOCATION,
};
use http::{Response, StatusCode};
use lambda_http::Body;
use std::sync::Arc;

use crate::engine::{Answer, UnreadableAnswer, Verdict};

pub(super) const IDEMPOTENCY_REPLAYED: HeaderName = HeaderName::from_static("idempotency-replayed");

/// The header that marks a replay whose body was too long to record.
const IDEMPOTENCY_BODY: HeaderName = HeaderName::from_static("idempotency-body");

/// The verdict of a handler's response: the one in its extensions if there is one, otherwise that of the layer's
/// function, otherwise that of its status.
pub(super) fn verdict(
    response: Response<Body>,
    by_layer: Option<Verdict<()>>,
    replayed_headers: &[HeaderName],
) -> Verdict<HttpAnswer> {
    let declared = response.extensions().get::<Verdict<()>>().cloned();
    let verdict = declared.or(by_layer).unwrap_or_else(|| by_status(response.status()));
    let answer = HttpAnswer::of(response, replayed_headers);
    match verdict {
        Verdict::Success(()) => Verdict::Success(answer),
        Verdict::Failed(()) => Verdict::Failed(answer),
        Verdict::NotExecuted(()) => Verdict::NotExecuted(answer),
        Verdict::Unknown(reason) => Verdict::Unknown(reason),
    }
}

fn by_status(status: StatusCode) -> Verdict<()> {
    match status.as_u16() {
        ..=399 => Verdict::Success(()),
        // Request Timeout, Too Early and Too Many Requests mean that nothing was done.
        408 | 425 | 429 => Verdict::NotExecuted(()),
        400..=499 => Verdict::Failed(()),
        500.. => Verdict::Unknown(format!("the handler answered {status}").into()),
    }
}

/// The headers of a response that a replay repeats by default. They include the content encoding, without which a body
/// would be misread.
pub(super) const REPLAYED_HEADERS: [HeaderName; 6] =
    [CONTENT_TYPE, CONTENT_ENCODING, CONTENT_LANGUAGE, LOCATION, ETAG, LINK];

/// A response as the layer records it.
///
/// Code that settles a request by evidence, outside the layer, creates one: a later retry by the client replays it.
#[derive(Debug)]
pub struct HttpAnswer {
    response: Response<Body>,
    replayed_headers: Arc<[HeaderName]>,
}

impl HttpAnswer {
    /// Creates an answer from a response, with the headers that are replayed by default.
    #[must_use]
    pub fn new(response: Response<Body>) -> Self {
        Self::of(response, &REPLAYED_HEADERS)
    }

    fn of(response: Response<Body>, replayed_headers: &[HeaderName]) -> Self {
        Self { response, replayed_headers: replayed_headers.into() }
    }

    /// The response.
    #[must_use]
    pub const fn response(&self) -> &Response<Body> {
        &self.response
    }

    /// The response as the handler made it, without a replay marker: only this layer may set that.
    pub(super) fn into_first(self) -> Response<Body> {
        let mut response = self.response;
        response.headers_mut().remove(IDEMPOTENCY_REPLAYED);
        response
    }

    /// The response as it was recorded, marked as a replay.
    pub(super) fn into_replay(self) -> Response<Body> {
        let mut response = self.response;
        response.headers_mut().insert(IDEMPOTENCY_REPLAYED, HeaderValue::from_static("true"));
        // The response belongs to one principal and one key.
        response.headers_mut().insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
        response
    }

    fn encode(&self, body: &Body) -> Vec<u8> {
        let (kind, body): (u8, &[u8]) = match body {
            Body::Empty => (EMPTY, b""),
            Body::Text(text) => (TEXT, text.as_bytes()),
            // `Body` may get more variants, all of which are bytes.
            other => (BINARY, other.as_ref()),
        };
        let headers: Vec<_> = self
            .replayed_headers
            .iter()
            .flat_map(|name| self.response.headers().get_all(name).iter().map(move |value| (name, value)))
            .collect();
        let mut bytes = vec![VERSION, kind];
        bytes.extend_from_slice(&self.response.status().as_u16().to_be_bytes());
        bytes.extend_from_slice(&length(headers.len()));
        for (name, value) in headers {
            for part in [name.as_str().as_bytes(), value.as_bytes()] {
                bytes.extend_from_slice(&length(part.len()));
                bytes.extend_from_slice(part);
            }
        }
        bytes.extend_from_slice(body);
        bytes
    }
}

/// The version of the form below. Zero and one denote other forms of answers; see [`Answer`].
const VERSION: u8 = 2;
const EMPTY: u8 = 0;
const TEXT: u8 = 1;
const BINARY: u8 = 2;
const OMITTED: u8 = 3;

/// The form: one version byte, one byte for the kind of the body, two bytes for the status, the headers in order, the
/// body. Lengths have four bytes; all numbers are big-endian.
impl Answer for HttpAnswer {
    fn write(&self, limit_bytes: usize) -> Vec<u8> {
        let whole = self.encode(self.response.body());
        if whole.len() <= limit_bytes {
            return whole;
        }
        let mut without_body = self.encode(&Body::Empty);
        without_body[1] = OMITTED;
        without_body
    }

    fn read(bytes: &[u8]) -> Result<Self, UnreadableAnswer> {
        let mut reader = Reader(bytes);
        let response = reader.response().ok_or_else(|| UnreadableAnswer::OtherForm("not a response".into()))?;
        Ok(Self { response, replayed_headers: Arc::default() })
    }
}

fn length(length: usize) -> [u8; 4] {
    u32::try_from(length).unwrap_or(u32::MAX).to_be_bytes()
}

struct Reader<'a>(&'a [u8]);

impl<'a> Reader<'a> {
    fn response(&mut self) -> Option<Response<Body>> {
        let [VERSION, kind] = *self.take(2)? else { return None };
        let status = u16::from_be_bytes(self.take(2)?.try_into().ok()?);
        let mut response = Response::builder().status(status);
        for _ in 0..self.length()? {
            let (name, value) = (self.part()?, self.part()?);
            response = response.header(name, value);
        }
        let body = match kind {
            EMPTY => Body::Empty,
            TEXT => Body::Text(String::from_utf8(self.0.to_vec()).ok()?),
            BINARY => Body::Binary(self.0.to_vec()),
            OMITTED => {
                response = response.header(IDEMPOTENCY_BODY, "omitted");
                Body::Empty
            }
            _ => return None,
        };
        response.body(body).ok()
    }

    fn part(&mut self) -> Option<&'a [u8]> {
        let length = self.length()?;
        self.take(length)
    }

    fn length(&mut self) -> Option<usize> {
        let length = u32::from_be_bytes(self.take(4)?.try_into().ok()?);
        usize::try_from(length).ok()
    }

    fn take(&mut self, count: usize) -> Option<&'a [u8]> {
        let (taken, rest) = self.0.split_at_checked(count)?;
        self.0 = rest;
        Some(taken)
    }
}

#[cfg(test)]
mod tests {
    use http::header::{CONTENT_TYPE, LOCATION, SET_COOKIE};
    use proptest::prelude::*;

    use super::*;

    fn answer(response: Response<Body>) -> HttpAnswer {
        HttpAnswer { response, replayed_headers: Arc::new([CONTENT_TYPE, LOCATION]) }
    }

    fn response(body: impl Into<Body>) -> Response<Body> {
        Response::builder()
            .status(201)
            .header(SET_COOKIE, "session=1")
            .header(CONTENT_TYPE, "application/json")
            .header(LOCATION, "/a")
            .header(LOCATION, "/b")
            .header(IDEMPOTENCY_REPLAYED, "handler")
            .body(body.into())
            .unwrap()
    }

    fn replay(answer: &HttpAnswer) -> Response<Body> {
        HttpAnswer::read(&answer.write(1_000_000)).unwrap().into_replay()
    }

    #[test]
    fn a_replay_has_the_same_status_and_bytes_the_allowed_headers_and_the_marker() {
        let all_bytes = Body::Binary((0..=255).collect());
        for body in [Body::Text("{\"é\":1}".into()), all_bytes, Body::Empty] {
            let replayed = replay(&answer(response(body.clone())));
            assert_eq!((replayed.status().as_u16(), replayed.body()), (201, &body));
            let locations: Vec<_> = replayed.headers().get_all(LOCATION).iter().collect();
            assert_eq!(locations, ["/a", "/b"]);
            assert_eq!(replayed.headers()[CONTENT_TYPE], "application/json");
            assert_eq!(replayed.headers()[IDEMPOTENCY_REPLAYED], "true");
            assert_eq!(replayed.headers()[CACHE_CONTROL], "no-store");
            assert!(!replayed.headers().contains_key(SET_COOKIE));
        }
    }

    #[test]
    fn the_first_answer_never_carries_the_marker() {
        let first = answer(response("x")).into_first();
        assert!(!first.headers().contains_key(IDEMPOTENCY_REPLAYED));
        assert_eq!(first.headers()[SET_COOKIE], "session=1");
    }

    #[test]
    fn a_body_that_does_not_fit_is_replayed_as_omitted() {
        let long = answer(response("x".repeat(1000)));
        let exact = long.write(1_000_000).len();
        assert_eq!(long.write(exact).len(), exact);
        let replayed = HttpAnswer::read(&long.write(exact - 1)).unwrap().into_replay();
        assert_eq!((replayed.status().as_u16(), replayed.body()), (201, &Body::Empty));
        assert_eq!(replayed.headers()[IDEMPOTENCY_BODY], "omitted");
    }

    #[test]
    fn the_status_is_read_as_a_verdict() {
        let shown = |status: u16| match by_status(StatusCode::from_u16(status).unwrap()) {
            Verdict::Success(()) => "success",
            Verdict::Failed(()) => "failed",
            Verdict::NotExecuted(()) => "not executed",
            Verdict::Unknown(_) => "unknown",
        };
        let statuses = [200, 201, 204, 302, 304, 400, 402, 404, 409, 422, 408, 425, 429, 500, 503, 599];
        assert_eq!(
            statuses.map(shown).join(" "),
            "success success success success success failed failed failed failed failed \
             not executed not executed not executed unknown unknown unknown"
        );
    }

    #[test]
    fn a_handler_can_say_otherwise() {
        let mut declared = response("x");
        declared.extensions_mut().insert(Verdict::NotExecuted(()));
        assert!(matches!(verdict(declared, Some(Verdict::Failed(())), &[]), Verdict::NotExecuted(_)));
    }

    #[test]
    fn the_form_is_stable_across_releases() {
        // Records outlive deployments: this version must keep reading these bytes.
        let recorded = b"\x02\x01\x00\xc9\x00\x00\x00\x01\x00\x00\x00\x08location\x00\x00\x00\x02/ahello";
        let replayed = HttpAnswer::read(recorded).unwrap().into_replay();
        assert_eq!((replayed.status().as_u16(), &replayed.headers()[LOCATION]), (201, &HeaderValue::from_static("/a")));
        assert_eq!(replayed.body(), &Body::Text("hello".into()));
    }

    proptest! {
        #[test]
        fn no_recorded_bytes_panic(bytes in prop::collection::vec(any::<u8>(), 0..100)) {
            let _ = HttpAnswer::read(&bytes);
            let _ = HttpAnswer::read(&[&[VERSION, BINARY], &bytes[..]].concat());
        }
    }
}
