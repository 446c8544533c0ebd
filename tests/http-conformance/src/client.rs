//! Sends the requests of a case to the implementation under test.

use std::collections::HashMap;
use std::time::Duration;

use anyhow::{Context, Result, anyhow, bail, ensure};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use reqwest::header::{HeaderMap, HeaderName, HeaderValue};
use serde_json::Value;
use tokio::sync::Mutex;
use uuid::Uuid;

use crate::operation::Operation;
use crate::vector::Request;

/// How a request identifies its caller.
#[derive(Clone, Debug)]
pub enum Principals {
    /// By a bearer token, which is the response of this URL; `{principal}` in the URL is replaced.
    TokenUrl(String),
    /// By a header, such as `x-user: {principal}`.
    Header(HeaderName, String),
    /// By these headers, the same for every caller.
    Fixed(HeaderMap),
}

/// Sends requests.
pub struct Client {
    http: reqwest::Client,
    base: String,
    principals: Principals,
    tokens: Mutex<HashMap<String, HeaderValue>>,
}

/// An answer.
#[derive(Clone, Debug)]
pub(crate) struct Answer {
    pub(crate) status: u16,
    pub(crate) headers: HeaderMap,
    pub(crate) body: Vec<u8>,
}

impl Answer {
    pub(crate) fn header(&self, name: &str) -> Option<String> {
        let values: Vec<_> =
            self.headers.get_all(name).iter().map(|value| String::from_utf8_lossy(value.as_bytes())).collect();
        if values.is_empty() { None } else { Some(values.join(", ")) }
    }

    pub(crate) fn json(&self) -> Value {
        serde_json::from_slice(&self.body).unwrap_or_default()
    }

    pub(crate) fn shown(&self) -> String {
        let body = String::from_utf8_lossy(&self.body[..self.body.len().min(200)]);
        format!("{} {body}", self.status)
    }
}

/// The identifiers of one run of one case.
#[derive(Clone, Debug)]
pub(crate) struct Names {
    pub(crate) case: String,
    pub(crate) key: String,
}

impl Names {
    pub(crate) fn new() -> Self {
        Self { case: Uuid::new_v4().to_string(), key: format!("k-{}", Uuid::new_v4()) }
    }

    /// Replaces `{key}` by the key of the case, and `{key:N}` by a key of N bytes.
    fn fill(&self, text: &str) -> String {
        let mut filled = text.replace("{key}", &self.key);
        while let Some(start) = filled.find("{key:")
            && let Some(end) = filled[start..].find('}')
        {
            let length = filled[start + 5..start + end].parse().unwrap_or(0);
            let mut key = self.key.clone();
            key.extend(std::iter::repeat_n('k', length));
            key.truncate(length);
            filled.replace_range(start..=start + end, &key);
        }
        filled
    }
}

impl Client {
    /// Creates a client for the implementation at a URL.
    ///
    /// # Errors
    /// The HTTP client cannot be created.
    pub fn new(base: &str, principals: Principals) -> Result<Self> {
        let http = reqwest::Client::builder()
            .redirect(reqwest::redirect::Policy::none())
            .timeout(Duration::from_secs(60))
            .build()?;
        Ok(Self { http, base: base.trim_end_matches('/').to_owned(), principals, tokens: Mutex::default() })
    }

    /// Checks that the implementation answers, and that credentials can be obtained.
    ///
    /// # Errors
    /// The implementation does not answer, or there is no token.
    pub async fn reach(&self) -> Result<()> {
        self.http.get(&self.base).send().await.with_context(|| format!("nothing answers at {}", self.base))?;
        self.credentials("alice", false).await.context("no credentials; see --token-url and --principal-header")?;
        Ok(())
    }

    /// Checks that the operation accepts its body under a new key, so that later failures are about keys.
    ///
    /// # Errors
    /// The operation does not accept its body.
    pub async fn accepts(&self, operation: &Operation) -> Result<()> {
        let answer = self.send(&operation.request(), &Names::new()).await?;
        let is_accepted = (200..300).contains(&answer.status);
        ensure!(
            is_accepted,
            "{operation} answers {} to the body under a new key; see --body, --header and --bare-key",
            answer.shown()
        );
        Ok(())
    }

    /// The number of executions of a case.
    pub(crate) async fn executions(&self, names: &Names) -> Result<u64> {
        let request = Request { path: Some(format!("/executions/{}", names.case)), ..Request::default() };
        let request = Request { method: Some("GET".into()), ..request };
        let answer = self.send(&request, names).await?;
        answer.json()["executions"]
            .as_u64()
            .with_context(|| format!("the executions are not counted: {}", answer.shown()))
    }

    pub(crate) async fn send(&self, request: &Request, names: &Names) -> Result<Answer> {
        let method = request.method.as_deref().unwrap_or("POST").parse()?;
        let path = request.path.as_deref().ok_or_else(|| anyhow!("the request has no path"))?;
        let mut sent = self.http.request(method, format!("{}{}", self.base, names.fill(path)));
        let mut headers = HeaderMap::new();
        headers.insert("x-case", HeaderValue::try_from(&names.case)?);
        for (name, value) in &request.headers {
            let name: HeaderName = name.parse()?;
            for value in texts(value)? {
                headers.append(&name, latin_1(&names.fill(&value))?);
            }
        }
        if let Some(principal) = request.principal.clone().unwrap_or_else(|| Some("alice".into())) {
            headers.extend(self.credentials(&principal, request.fresh_token).await?);
        }
        if let Some(body) = body(request)? {
            sent = sent.body(body);
        }
        let response = sent.headers(headers).send().await?;
        let (status, headers) = (response.status().as_u16(), response.headers().clone());
        Ok(Answer { status, headers, body: response.bytes().await?.to_vec() })
    }

    async fn credentials(&self, principal: &str, fresh: bool) -> Result<HeaderMap> {
        let url = match &self.principals {
            Principals::Fixed(headers) => return Ok(headers.clone()),
            Principals::Header(name, value) => {
                let value = HeaderValue::try_from(value.replace("{principal}", principal))?;
                return Ok(HeaderMap::from_iter([(name.clone(), value)]));
            }
            Principals::TokenUrl(url) => url.replace("{principal}", principal),
        };
        let token = self.token(principal, fresh, url).await?;
        Ok(HeaderMap::from_iter([(reqwest::header::AUTHORIZATION, token)]))
    }

    async fn token(&self, principal: &str, fresh: bool, url: String) -> Result<HeaderValue> {
        let mut tokens = self.tokens.lock().await;
        if let Some(token) = tokens.get(principal).filter(|_| !fresh) {
            return Ok(token.clone());
        }
        // The claim `jti` makes each token different.
        let url = format!("{url}{}jti={}", if url.contains('?') { '&' } else { '?' }, Uuid::new_v4());
        let response = self.http.get(&url).send().await?;
        if !response.status().is_success() {
            bail!("{url} answers {} instead of a token", response.status());
        }
        let token = HeaderValue::try_from(format!("Bearer {}", response.text().await?.trim()))?;
        tokens.insert(principal.to_owned(), token.clone());
        Ok(token)
    }
}

fn body(request: &Request) -> Result<Option<Vec<u8>>> {
    Ok(match (&request.body, &request.body_base64, request.body_bytes) {
        (Some(text), ..) => Some(text.clone().into_bytes()),
        (None, Some(text), _) => Some(STANDARD.decode(text)?),
        (None, None, Some(bytes)) => Some(vec![b'x'; bytes]),
        (None, None, None) => None,
    })
}

fn texts(value: &Value) -> Result<Vec<String>> {
    match value {
        Value::Null => Ok(Vec::new()),
        Value::String(text) => Ok(vec![text.clone()]),
        Value::Array(values) => Ok(values.iter().map(texts).collect::<Result<Vec<_>>>()?.concat()),
        Value::Bool(_) | Value::Number(_) | Value::Object(_) => {
            bail!("a header is a string, a list of strings or null")
        }
    }
}

/// Converts each character to one byte, so that a case can contain any byte.
fn latin_1(text: &str) -> Result<HeaderValue> {
    let bytes: Vec<u8> = text.chars().map(|character| u8::try_from(u32::from(character))).collect::<Result<_, _>>()?;
    Ok(HeaderValue::from_bytes(&bytes)?)
}
