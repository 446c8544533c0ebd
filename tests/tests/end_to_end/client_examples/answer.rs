//! Every row of the table "What comes back, and what to do then" of `docs/http.md`, as bytes on a connection.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use serde_json::json;

/// What a client gets for one request.
#[derive(Clone, Debug)]
pub(super) struct Answer {
    bytes: Vec<u8>,
    retry_after: RetryAfter,
    pub(super) meaning: Meaning,
}

/// What the contract says about an answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Meaning {
    /// The operation happened.
    Happened,
    /// It did not happen, and will not under this key.
    DidNotHappen,
    /// This request was refused; the answer says nothing about an earlier one.
    RefusesThisRequest,
    /// The same request is to be sent again.
    Again,
}

/// A header in one of its forms.
#[derive(Clone, Copy, Debug)]
pub(super) enum RetryAfter {
    None,
    Seconds(u64),
    /// A date so many seconds from now, or before.
    Date(i64),
    /// Text that is neither.
    Malformed(&'static str),
}

const PAYMENT: &str = r#"{"id":"pay_0190","account":"acct-1","amount":1999,"currency":"EUR","status":"succeeded"}"#;

impl Answer {
    /// The bytes, as they are sent now.
    pub(super) fn bytes(&self) -> Vec<u8> {
        let header = match self.retry_after {
            RetryAfter::None => String::new(),
            RetryAfter::Seconds(seconds) => format!("Retry-After: {seconds}\r\n"),
            RetryAfter::Date(seconds) => format!("Retry-After: {}\r\n", date(seconds)),
            RetryAfter::Malformed(text) => format!("Retry-After: {text}\r\n"),
        };
        // After the status line, if there is one.
        let text = self.bytes.windows(2).position(|pair| pair == b"\r\n").map_or(0, |line| line + 2);
        [&self.bytes[..text], header.as_bytes(), &self.bytes[text..]].concat()
    }

    /// How long the answer demands to wait, in seconds, and how far from that a client may be.
    pub(super) fn wait(&self) -> (i64, i64) {
        match self.retry_after {
            RetryAfter::Seconds(seconds) => (i64::try_from(seconds).expect("fits"), 0),
            RetryAfter::Date(seconds) => (seconds, 5),
            RetryAfter::None | RetryAfter::Malformed(_) => (0, 0),
        }
    }

    fn after(self, retry_after: RetryAfter) -> Self {
        Self { retry_after, ..self }
    }

    fn raw(bytes: impl Into<Vec<u8>>) -> Self {
        Self { bytes: bytes.into(), retry_after: RetryAfter::None, meaning: Meaning::Again }
    }

    fn of(status: u16, media_type: &str, more: &str, body: &str) -> Self {
        Self::raw(format!(
            "HTTP/1.1 {status} Said\r\nContent-Type: {media_type}\r\nContent-Length: {}\r\nConnection: close\r\n{more}\r\n{body}",
            body.len()
        ))
    }

    /// A refusal of the application.
    fn problem(status: u16, code: &str, retryable: bool, meaning: Meaning) -> Self {
        let body = json!({
            "type": format!("/problems/{code}"), "title": "Not now", "status": status,
            "detail": r#"It says "retryable":true, and "code":"missing-key"."#, "code": code, "retryable": retryable,
        });
        Self { meaning, ..Self::of(status, "application/problem+json", "", &body.to_string()) }
    }

    /// A refusal of API Gateway.
    fn gateway(status: u16, message: &str) -> Self {
        Self::of(status, "application/json", "", &json!({ "message": message }).to_string())
    }

    /// What comes when a script has nothing left.
    pub(super) fn last() -> Self {
        Self::gateway(503, "Service Unavailable")
    }

    pub(super) fn paid() -> Self {
        Self {
            meaning: Meaning::Happened,
            ..Self::of(201, "application/json", "Location: /payments/pay_0190\r\n", PAYMENT)
        }
    }

    /// The answers after which a client is done.
    pub(super) fn ends() -> Vec<Self> {
        use Meaning::{DidNotHappen, Happened, RefusesThisRequest};
        let replayed = "Idempotency-Replayed: true\r\n";
        let mut ends = vec![
            Self::paid(),
            Self { meaning: Happened, ..Self::of(201, "application/json", replayed, PAYMENT) },
            Self { meaning: Happened, ..Self::of(200, "application/json; charset=utf-8", "", PAYMENT) },
        ];
        for (status, body, meaning) in
            [(201, "", Happened), (402, "{\"reason\":1}", DidNotHappen), (500, "", DidNotHappen)]
        {
            ends.push(Self { meaning, ..Self::of(status, "application/json", replayed, body) });
        }
        for (status, code) in [
            (402, "insufficient_funds"),
            (404, "not-found"),
            (422, "amount_too_small"),
            (422, "settled-as-failed"),
            (400, "invalid-request"),
        ] {
            ends.push(Self::problem(status, code, false, DidNotHappen));
        }
        for (status, code) in [
            (400, "missing-key"),
            (400, "invalid-key"),
            (400, "missing-value"),
            (403, "missing-principal"),
            (413, "content-too-large"),
            (422, "fingerprint-mismatch"),
            (500, "answer-unreadable"),
        ] {
            ends.push(Self::problem(status, code, false, RefusesThisRequest));
        }
        for (status, message) in [
            (400, "Bad Request"),
            (401, "Unauthorized"),
            (403, "Forbidden"),
            (404, "Not Found"),
            (413, "Request Entity Too Large"),
        ] {
            ends.push(Self { meaning: RefusesThisRequest, ..Self::gateway(status, message) });
        }
        let page = Self::of(403, "text/html", "", "<html>\"retryable\":true \"code\":\"declined\"</html>");
        ends.push(Self { meaning: RefusesThisRequest, ..page });
        ends
    }

    /// The answers after which the same request is to be sent again.
    pub(super) fn again() -> Vec<Self> {
        let mut again = Vec::new();
        for (code, after) in [
            ("outcome-unknown", RetryAfter::Seconds(5)),
            ("store-unavailable", RetryAfter::Seconds(1)),
            ("deadline-at-hand", RetryAfter::Date(40)),
            ("provider-unavailable", RetryAfter::Seconds(60)),
        ] {
            again.push(Self::problem(503, code, true, Meaning::Again).after(after));
        }
        for after in
            [RetryAfter::Seconds(1), RetryAfter::Seconds(10), RetryAfter::Seconds(300), RetryAfter::Seconds(301)]
        {
            again.push(Self::problem(409, "in-progress", true, Meaning::Again).after(after));
        }
        for (status, after) in [
            (408, RetryAfter::None),
            (425, RetryAfter::Seconds(2)),
            (429, RetryAfter::None),
            (429, RetryAfter::Seconds(20)),
            (429, RetryAfter::Date(250)),
            (429, RetryAfter::Date(3600)),
            (500, RetryAfter::None),
            (502, RetryAfter::Malformed("soon")),
            (503, RetryAfter::Malformed("1.5")),
            (503, RetryAfter::Malformed("-3")),
            (503, RetryAfter::Malformed("")),
            (503, RetryAfter::Malformed("Fri, 31 Foo 2027 99:99:99 GMT")),
            (503, RetryAfter::Date(-100)),
            (504, RetryAfter::Seconds(0)),
            (504, RetryAfter::Seconds(9_999_999_999)),
        ] {
            again.push(Self::gateway(status, "Not now").after(after));
        }
        again.push(Self::problem(429, "slow-down", true, Meaning::Again).after(RetryAfter::Seconds(3)));
        again.push(Self::problem(425, "too-early", false, Meaning::Again));
        again.push(Self::of(502, "text/html", "", "<html><h1>Bad gateway</h1></html>"));
        again.push(Self::of(503, "application/problem+json", "", "not JSON"));
        again.extend(Self::none());
        again.extend(Self::not_the_applications());
        again
    }

    /// No answer, or not a whole one.
    fn none() -> Vec<Self> {
        let cut = |status: u16, media_type: &str, body: &str| {
            format!("HTTP/1.1 {status} Said\r\nContent-Type: {media_type}\r\nContent-Length: 500\r\n\r\n{body}")
        };
        vec![
            Self::raw(""),
            Self::raw("garbage \0\x01\r\n\r\n"),
            Self::raw("HTTP/1.1 abc\r\n\r\n"),
            Self::raw("HTTP/1.1 201 Created\r\nContent-Ty"),
            Self::raw(cut(201, "application/json", PAYMENT)),
            Self::raw(cut(402, "application/problem+json", r#"{"code":"declined","retryable":false}"#)),
            Self::raw("HTTP/1.1 201 Created\r\nTransfer-Encoding: chunked\r\n\r\n5\r\n{\"id\"\r\n"),
            Self::raw("HTTP/1.1 201 Created\r\nTransfer-Encoding: chunked\r\n\r\nxyz\r\n"),
            Self::raw(b"HTTP/1.1 201 Created\r\nContent-Type: application/json\r\nContent-Length: 9\r\nConnection: close\r\nContent-Encoding: gzip\r\n\r\nnot gzip!".as_slice()),
        ]
    }

    /// Statuses of success that the application cannot have sent.
    fn not_the_applications() -> Vec<Self> {
        vec![
            Self::of(201, "application/json", "", ""),
            Self::of(201, "application/json", "", "{}"),
            Self::of(200, "application/json", "", "[1]"),
            Self::of(200, "text/html", "", "<html>Please sign in to this network</html>"),
            Self::raw("HTTP/1.1 204 No Content\r\nConnection: close\r\n\r\n"),
            // Without a length, a cut body looks whole.
            Self::raw(
                "HTTP/1.1 201 Created\r\nContent-Type: application/json\r\nConnection: close\r\n\r\n{\"id\":\"pay_0190\",\"acc",
            ),
            Self::of(201, "application/json", "", &"[".repeat(100_000)),
            Self::of(302, "text/html", "Location: http://127.0.0.1:9/sign-in\r\n", ""),
            Self::raw(
                b"HTTP/1.1 302 Found\r\nLocation: http://\xff\xfe[/\r\nContent-Length: 0\r\nConnection: close\r\n\r\n"
                    .as_slice(),
            ),
        ]
    }
}

/// An HTTP date so many seconds from now.
fn date(seconds: i64) -> String {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).expect("after 1970");
    let then = if seconds < 0 {
        now - Duration::from_secs(seconds.unsigned_abs())
    } else {
        now + Duration::from_secs(seconds.unsigned_abs())
    };
    httpdate::fmt_http_date(UNIX_EPOCH + then)
}
