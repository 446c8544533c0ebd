//! What a function's answer becomes (AWS, same page as the event, "Lambda function response format for 2.0").

use axum::{
    body::Body,
    http::{HeaderName, HeaderValue, Response, StatusCode, header},
};
use base64::{Engine, engine::general_purpose::STANDARD};
use serde_json::Value;

/// `None`: not an answer that API Gateway understands, which is a 500.
pub(super) fn build(payload: &[u8]) -> Option<Response<Body>> {
    let answer: Value = serde_json::from_slice(payload).ok()?;
    match answer.get("statusCode") {
        Some(status) => structured(&answer, status),
        // Without a status the whole answer is the body.
        None => Some(inferred(answer, payload)),
    }
}

fn structured(answer: &Value, status: &Value) -> Option<Response<Body>> {
    let status = status.as_u64().or_else(|| status.as_str()?.parse().ok())?;
    let status = StatusCode::from_u16(u16::try_from(status).ok()?).ok().filter(|status| status.as_u16() >= 200)?;
    let body = match answer.get("body") {
        None | Some(Value::Null) => Vec::new(),
        Some(Value::String(text)) if answer["isBase64Encoded"] == true => STANDARD.decode(text).ok()?,
        Some(Value::String(text)) => text.clone().into_bytes(),
        Some(other) => other.to_string().into_bytes(),
    };
    let mut response = Response::new(Body::from(body));
    *response.status_mut() = status;
    let headers = response.headers_mut();
    for (name, value) in answer["headers"].as_object().into_iter().flatten() {
        // The server counts the bytes itself.
        if name.eq_ignore_ascii_case("content-length") {
            continue;
        }
        headers.append(HeaderName::from_bytes(name.as_bytes()).ok()?, HeaderValue::from_str(&text(value)).ok()?);
    }
    for cookie in answer["cookies"].as_array().into_iter().flatten() {
        headers.append(header::SET_COOKIE, HeaderValue::from_str(&text(cookie)).ok()?);
    }
    headers.entry(header::CONTENT_TYPE).or_insert(HeaderValue::from_static("text/plain;charset=UTF-8"));
    Some(response)
}

/// A string is the body itself; anything else is the body as the function wrote it.
fn inferred(answer: Value, payload: &[u8]) -> Response<Body> {
    let body = match answer {
        Value::String(text) => text.into_bytes(),
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::Array(_) | Value::Object(_) => payload.to_vec(),
    };
    let mut response = Response::new(Body::from(body));
    response.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static("application/json"));
    response
}

fn text(value: &Value) -> String {
    value.as_str().map_or_else(|| value.to_string(), str::to_owned)
}

#[cfg(test)]
mod tests {
    use super::*;
    use axum::body::to_bytes;

    async fn built(payload: &str) -> Option<(u16, Vec<(String, String)>, Vec<u8>)> {
        let response = build(payload.as_bytes())?;
        let status = response.status().as_u16();
        let headers = response
            .headers()
            .iter()
            .map(|(name, value)| (name.to_string(), value.to_str().unwrap_or_default().to_owned()))
            .collect();
        Some((status, headers, to_bytes(response.into_body(), 1024).await.ok()?.to_vec()))
    }

    fn headers(pairs: &[(&str, &str)]) -> Vec<(String, String)> {
        pairs.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect()
    }

    #[tokio::test]
    async fn an_answer_maps_as_api_gateway_maps_it() {
        let json = headers(&[("content-type", "application/json")]);
        let text = headers(&[("content-type", "text/plain;charset=UTF-8")]);
        let cases = [
            (
                r#"{"statusCode":201,"headers":{"Content-Type":"application/json"},"body":"{}"}"#,
                Some((201, json.clone(), b"{}".to_vec())),
            ),
            (r#"{"statusCode":200,"body":"/w==","isBase64Encoded":true}"#, Some((200, text.clone(), vec![0xff]))),
            (r#"{"statusCode":204}"#, Some((204, text, vec![]))),
            (
                r#"{"statusCode":200,"headers":{"content-type":"application/json"},"cookies":["a=1","b=2"]}"#,
                Some((
                    200,
                    headers(&[("content-type", "application/json"), ("set-cookie", "a=1"), ("set-cookie", "b=2")]),
                    vec![],
                )),
            ),
            (r#"{"n": 1.10}"#, Some((200, json.clone(), br#"{"n": 1.10}"#.to_vec()))),
            (r#""hello""#, Some((200, json, b"hello".to_vec()))),
            (r#"{"statusCode":"soon"}"#, None),
            (r#"{"statusCode":200,"headers":{"bad name":"x"}}"#, None),
            ("not json", None),
        ];
        for (payload, expected) in cases {
            assert_eq!(built(payload).await, expected, "{payload}");
        }
    }
}
