//! One operation of any API, and the cases that need no other route.

use anyhow::{Context, Result, ensure};
use reqwest::Method;
use serde_json::{Value, json};

use crate::cases::read;
use crate::vector::{Case, Request};

/// The cases of the tier `operation`: in their requests, `{method}`, `{path}`, `{body}` and `{other}` stand for those
/// of the operation.
const CASES: &str = include_str!("../vectors/operation.json");

/// An operation that takes an idempotency key, with a body that it accepts.
#[derive(Clone, Debug)]
pub struct Operation {
    method: Method,
    path: String,
    body: String,
    other: String,
    bare_key: bool,
}

impl Operation {
    /// Parses an operation such as `POST /payments`. The other payload is the body with one value changed.
    ///
    /// # Errors
    /// The text is not a method and a path.
    pub fn new(operation: &str, body: &str) -> Result<Self> {
        let expected = || format!("an operation is METHOD PATH, such as POST /payments, and not {operation:?}");
        let (method, path) = operation.trim().split_once(char::is_whitespace).with_context(expected)?;
        let (method, path) = (method.parse().with_context(expected)?, path.trim().to_owned());
        ensure!(path.starts_with('/'), "{}", expected());
        Ok(Self { method, path, body: body.to_owned(), other: changed(body), bare_key: false })
    }

    /// Sets the body of another request that the operation accepts.
    #[must_use]
    pub fn other_body(mut self, body: &str) -> Self {
        body.clone_into(&mut self.other);
        self
    }

    /// Sends keys without quotes, for an API that does not accept the draft's form.
    #[must_use]
    pub const fn bare_key(mut self) -> Self {
        self.bare_key = true;
        self
    }

    /// The cases, with the requests of this operation.
    ///
    /// # Errors
    /// The cases of this package are not valid.
    pub fn cases(&self) -> Result<Vec<Case>> {
        let mut cases = read([Ok(("operation.json".to_owned(), CASES.to_owned()))].into_iter())?;
        for step in cases.iter_mut().flat_map(|case| &mut case.steps) {
            step.with = self.fill(std::mem::take(&mut step.with));
            step.send = step.send.take().map(|request| self.fill(request));
        }
        Ok(cases)
    }

    /// A request with its own key.
    pub(crate) fn request(&self) -> Request {
        let key = json!("\"{key}\"");
        self.fill(Request {
            method: Some("{method}".into()),
            path: Some("{path}".into()),
            headers: [("idempotency-key".to_owned(), key)].into(),
            body: Some("{body}".into()),
            ..Request::default()
        })
    }

    fn fill(&self, request: Request) -> Request {
        let body = request.body.map(|body| match body.as_str() {
            "{body}" => self.body.clone(),
            "{other}" => self.other.clone(),
            _ => body,
        });
        let mut headers = request.headers;
        if let Some(Value::String(key)) = headers.get_mut("idempotency-key").filter(|_| self.bare_key) {
            *key = key.replace('"', "");
        }
        let is_json = body.as_ref().is_some_and(|body| serde_json::from_str::<Value>(body).is_ok());
        if is_json {
            headers.insert("content-type".into(), "application/json".into());
        }
        let method = request.method.map(|_| self.method.to_string());
        Request { method, path: request.path.map(|_| self.path.clone()), headers, body, ..request }
    }
}

impl std::fmt::Display for Operation {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(formatter, "{} {}", self.method, self.path)
    }
}

/// The body with one change: the first number plus one, otherwise the first string plus a letter, otherwise the body
/// plus a letter.
fn changed(body: &str) -> String {
    let Ok(mut document) = serde_json::from_str::<Value>(body) else { return format!("{body}x") };
    let is_changed = change(&mut document, &|value| {
        let number = value.as_i64().and_then(|number| number.checked_add(1));
        number.map(Value::from)
    }) || change(&mut document, &|value| value.as_str().map(|text| json!(format!("{text}x"))));
    if is_changed { document.to_string() } else { json!([document, "x"]).to_string() }
}

/// Changes the first value, depth first, for which `other` returns another one.
fn change(value: &mut Value, other: &impl Fn(&Value) -> Option<Value>) -> bool {
    if let Some(other) = other(value) {
        *value = other;
        return true;
    }
    match value {
        Value::Array(values) => values.iter_mut().any(|value| change(value, other)),
        Value::Object(members) => members.values_mut().any(|value| change(value, other)),
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn another_payload_differs_in_one_value() {
        for (body, other) in [
            (r#"{"account":"a","amount":1}"#, r#"{"account":"a","amount":2}"#),
            (r#"{"lines":[{"count":2}]}"#, r#"{"lines":[{"count":3}]}"#),
            (r#"{"name":"a"}"#, r#"{"name":"ax"}"#),
            ("{}", r#"[{},"x"]"#),
            ("a=1", "a=1x"),
        ] {
            assert_eq!(changed(body), other);
        }
    }

    #[test]
    fn every_request_is_that_of_the_operation() {
        let operation = Operation::new("PUT /things/1", r#"{"a":1}"#).expect("valid").bare_key();
        let cases = format!("{:?}", operation.cases().expect("valid"));
        for placeholder in ["{method}", "{path}", "{body}", "{other}"] {
            assert!(!cases.contains(placeholder), "{placeholder} is left in {cases}");
        }
        let request = operation.request();
        assert_eq!((request.method.as_deref(), request.path.as_deref()), (Some("PUT"), Some("/things/1")));
        assert_eq!(request.headers["idempotency-key"], json!("{key}"));
    }

    #[test]
    fn what_is_not_a_method_and_a_path_is_refused() {
        for wrong in ["", "POST", "/payments", "POST payments", "PO ST /payments", "POST: /payments"] {
            assert!(Operation::new(wrong, "{}").is_err(), "{wrong}");
        }
    }
}
