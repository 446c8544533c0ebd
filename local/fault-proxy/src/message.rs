//! Requests and replies, each read to its end.

use http_body_util::{BodyExt, Full};
use hyper::body::{Bytes, Incoming};
use hyper::header::{self, HeaderMap, HeaderName, HeaderValue};
use hyper::{StatusCode, http};
use serde_json::Value;

use crate::reply_body::ReplyBody;

/// A request that has arrived at the proxy.
#[derive(Debug)]
pub struct Request {
    head: http::request::Parts,
    body: Bytes,
}

impl Request {
    pub(crate) async fn read(request: http::Request<Incoming>) -> hyper::Result<Self> {
        let (head, body) = request.into_parts();
        Ok(Self { head, body: body.collect().await?.to_bytes() })
    }

    /// A request of this DynamoDB operation.
    #[cfg(test)]
    pub(crate) fn of_dynamodb(operation: &str, body: &Value) -> Self {
        let request = http::Request::post("/").header("x-amz-target", format!("DynamoDB_20120810.{operation}"));
        let (head, ()) = request.body(()).expect("a request").into_parts();
        Self { head, body: body.to_string().into() }
    }

    /// The DynamoDB operation, from the target header: `DynamoDB_20120810.PutItem`.
    #[must_use]
    pub fn operation(&self) -> &str {
        self.header("x-amz-target").and_then(|target| target.rsplit('.').next()).unwrap_or_default()
    }

    /// A header, if it is there and is text.
    #[must_use]
    pub fn header(&self, name: &str) -> Option<&str> {
        self.head.headers.get(name)?.to_str().ok()
    }

    /// The body as JSON; null if it is not JSON.
    #[must_use]
    pub fn json(&self) -> Value {
        serde_json::from_slice(&self.body).unwrap_or_default()
    }

    pub(crate) fn set_body(&mut self, body: impl Into<Bytes>) {
        self.body = body.into();
    }

    /// The size of head and body on the wire.
    pub(crate) fn bytes(&self) -> u64 {
        let line = self.head.method.as_str().len() + self.head.uri.to_string().len() + " HTTP/1.1\r\n ".len();
        (line + header_bytes(&self.head.headers) + self.body.len()) as u64
    }

    pub(crate) fn to_http(&self) -> http::Request<Full<Bytes>> {
        let mut head = self.head.clone();
        remove_framing(&mut head.headers);
        http::Request::from_parts(head, Full::new(self.body.clone()))
    }
}

/// A reply of the server, or of the proxy in its place.
#[derive(Debug)]
pub(crate) struct Reply {
    head: http::response::Parts,
    body: Bytes,
    is_cut: bool,
}

impl Reply {
    pub(crate) fn new(status: StatusCode, body: impl Into<Bytes>) -> Self {
        let mut response = http::Response::new(());
        *response.status_mut() = status;
        Self { head: response.into_parts().0, body: body.into(), is_cut: false }
    }

    pub(crate) async fn read(response: http::Response<Incoming>) -> hyper::Result<Self> {
        let (head, body) = response.into_parts();
        Ok(Self { head, body: body.collect().await?.to_bytes(), is_cut: false })
    }

    /// Half of its body will be sent.
    pub(crate) fn cut(&mut self) {
        self.is_cut = true;
    }

    /// Sets a header, if the value can be one.
    pub(crate) fn set_header(&mut self, name: HeaderName, value: &str) {
        self.head.headers.extend(HeaderValue::try_from(value).map(|value| (name, value)));
    }

    pub(crate) fn status(&self) -> u16 {
        self.head.status.as_u16()
    }

    pub(crate) fn body(&self) -> &[u8] {
        &self.body
    }

    /// The size of head and body on the wire.
    pub(crate) fn bytes(&self) -> u64 {
        let reason = self.head.status.canonical_reason().unwrap_or_default();
        let line = "HTTP/1.1 200 \r\n".len() + reason.len();
        (line + header_bytes(&self.head.headers) + self.body.len()) as u64
    }

    pub(crate) fn into_http(self) -> http::Response<ReplyBody> {
        let Self { mut head, mut body, is_cut } = self;
        remove_framing(&mut head.headers);
        if is_cut {
            head.headers.insert(header::CONTENT_LENGTH, body.len().into());
            body.truncate(body.len() / 2);
        }
        http::Response::from_parts(head, if is_cut { ReplyBody::cut(body) } else { ReplyBody::whole(body) })
    }
}

fn header_bytes(headers: &HeaderMap) -> usize {
    let lines = headers.iter().map(|(name, value)| name.as_str().len() + value.len() + ": \r\n".len());
    lines.sum::<usize>() + "\r\n".len()
}

/// hyper frames the body of the next connection itself.
fn remove_framing(headers: &mut HeaderMap) {
    headers.remove(header::CONTENT_LENGTH);
    headers.remove(header::TRANSFER_ENCODING);
}
