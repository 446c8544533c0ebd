//! Answers of the API.

use reqwest::Response;
use serde_json::Value;

/// An answer that was read to its end.
#[derive(Clone, Debug)]
pub struct Answer {
    /// The status.
    pub status: u16,
    headers: reqwest::header::HeaderMap,
    /// The body.
    pub body: Vec<u8>,
}

impl Answer {
    /// Reads a response to its end.
    pub async fn of(response: Response) -> Self {
        Self::read(response).await.expect("a body")
    }

    /// Reads a response to its end, if it has one.
    ///
    /// # Errors
    /// If the connection breaks before the end.
    pub async fn read(response: Response) -> reqwest::Result<Self> {
        let (status, headers) = (response.status().as_u16(), response.headers().clone());
        Ok(Self { status, headers, body: response.bytes().await?.to_vec() })
    }

    /// The names of its headers.
    pub fn header_names(&self) -> impl Iterator<Item = &str> {
        self.headers.keys().map(reqwest::header::HeaderName::as_str)
    }

    /// A header.
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.get(name).and_then(|value| value.to_str().ok())
    }

    /// All headers of this name.
    pub fn headers(&self, name: &str) -> impl Iterator<Item = &str> {
        self.headers.get_all(name).iter().filter_map(|value| value.to_str().ok())
    }

    /// Whether it is marked as a replay.
    pub fn is_replay(&self) -> bool {
        self.header("idempotency-replayed") == Some("true")
    }

    /// The body as JSON, or null.
    pub fn json(&self) -> Value {
        serde_json::from_slice(&self.body).unwrap_or_default()
    }

    /// The body as text.
    pub fn text(&self) -> String {
        String::from_utf8_lossy(&self.body).into_owned()
    }

    /// Status and code of a problem.
    pub fn problem(&self) -> String {
        format!("{} {}", self.status, self.json()["code"].as_str().unwrap_or("-"))
    }
}
