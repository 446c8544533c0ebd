//! The event that a function gets for a request (AWS, "Create AWS Lambda proxy integrations for HTTP APIs", payload
//! format 2.0).

use std::{
    collections::BTreeMap,
    net::SocketAddr,
    time::{SystemTime, UNIX_EPOCH},
};

use axum::{
    body::Bytes,
    http::{HeaderMap, header, request::Parts},
};
use base64::{Engine, engine::general_purpose::STANDARD};
use chrono::Utc;
use serde_json::{Map, Value, json};

use super::routes::Found;

/// The properties of the call, in addition to those of the request.
pub(super) struct Context<'c> {
    pub(super) id: &'c str,
    pub(super) peer: SocketAddr,
    pub(super) api: &'c str,
    pub(super) account: &'c str,
}

pub(super) fn build(
    request: &Parts,
    body: &Bytes,
    found: &Found<'_>,
    authorizer: Option<Value>,
    context: &Context<'_>,
) -> Value {
    let headers = headers(&request.headers, context);
    let path = request.uri.path();
    let query = request.uri.query().unwrap_or_default();
    let mut event = Map::from_iter([
        ("version".to_owned(), json!("2.0")),
        ("routeKey".to_owned(), json!(found.key())),
        ("rawPath".to_owned(), json!(path)),
        ("rawQueryString".to_owned(), json!(query)),
        ("requestContext".to_owned(), request_context(request, &headers, found, authorizer, context)),
        ("headers".to_owned(), json!(headers)),
        ("isBase64Encoded".to_owned(), json!(false)),
    ]);
    let cookies = cookies(&request.headers);
    if !cookies.is_empty() {
        event.insert("cookies".to_owned(), json!(cookies));
    }
    if !query.is_empty() {
        event.insert("queryStringParameters".to_owned(), json!(joined(parse_query(query))));
    }
    if !found.parameters.is_empty() {
        event.insert("pathParameters".to_owned(), json!(found.parameters));
    }
    if !body.is_empty() {
        let text = std::str::from_utf8(body).ok().filter(|_| is_text(&request.headers));
        event.insert("isBase64Encoded".to_owned(), json!(text.is_none()));
        event.insert("body".to_owned(), text.map_or_else(|| json!(STANDARD.encode(body)), |text| json!(text)));
    }
    Value::Object(event)
}

fn request_context(
    request: &Parts,
    headers: &BTreeMap<String, String>,
    found: &Found<'_>,
    authorizer: Option<Value>,
    context: &Context<'_>,
) -> Value {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    let domain =
        headers.get("host").map_or("127.0.0.1", |host| host.rsplit_once(':').map_or(host.as_str(), |(name, _)| name));
    let mut value = json!({
        "accountId": context.account,
        "apiId": context.api,
        "domainName": domain,
        "domainPrefix": domain.split('.').next(),
        "http": {
            "method": request.method.as_str(),
            "path": request.uri.path(),
            "protocol": "HTTP/1.1",
            "sourceIp": context.peer.ip().to_string(),
            "userAgent": headers.get("user-agent").map_or("", String::as_str),
        },
        "requestId": context.id,
        "routeKey": found.key(),
        "stage": "$default",
        "time": Utc::now().format("%d/%b/%Y:%H:%M:%S +0000").to_string(),
        "timeEpoch": u64::try_from(now.as_millis()).unwrap_or(u64::MAX),
    });
    if let Some(authorizer) = authorizer {
        value["authorizer"] = authorizer;
    }
    value
}

/// Lower case, duplicates joined by commas, cookies apart; and what API Gateway adds.
fn headers(request: &HeaderMap, context: &Context<'_>) -> BTreeMap<String, String> {
    let named = request.iter().filter(|(name, _)| *name != header::COOKIE);
    let mut headers = joined(
        named.map(|(name, value)| (name.as_str().to_owned(), String::from_utf8_lossy(value.as_bytes()).into_owned())),
    );
    let forwarded = headers
        .get("x-forwarded-for")
        .map_or(context.peer.ip().to_string(), |earlier| format!("{earlier}, {}", context.peer.ip()));
    headers.insert("x-forwarded-for".to_owned(), forwarded);
    headers.insert("x-forwarded-proto".to_owned(), "http".to_owned());
    let port = headers.get("host").and_then(|host| host.rsplit_once(':')).map_or("80", |(_, port)| port).to_owned();
    headers.insert("x-forwarded-port".to_owned(), port);
    headers.entry("x-amzn-trace-id".to_owned()).or_insert_with(runtime_api::trace);
    headers.entry("content-length".to_owned()).or_insert_with(|| "0".to_owned());
    headers
}

fn cookies(request: &HeaderMap) -> Vec<String> {
    let headers = request.get_all(header::COOKIE).iter().filter_map(|value| value.to_str().ok());
    headers
        .flat_map(|value| value.split(';'))
        .map(|cookie| cookie.trim().to_owned())
        .filter(|cookie| !cookie.is_empty())
        .collect()
}

pub(super) fn parse_query(query: &str) -> Vec<(String, String)> {
    form_urlencoded::parse(query.as_bytes()).into_owned().collect()
}

fn joined(pairs: impl IntoIterator<Item = (String, String)>) -> BTreeMap<String, String> {
    let mut map = BTreeMap::new();
    for (name, value) in pairs {
        map.entry(name).and_modify(|earlier: &mut String| *earlier = format!("{earlier},{value}")).or_insert(value);
    }
    map
}

/// API Gateway passes only these as text; anything else, forms included, arrives in base64.
fn is_text(headers: &HeaderMap) -> bool {
    let Some(kind) = headers.get(header::CONTENT_TYPE).and_then(|value| value.to_str().ok()) else { return true };
    let kind = kind.split(';').next().unwrap_or_default().trim().to_ascii_lowercase();
    kind.starts_with("text/")
        || kind.ends_with("+json")
        || kind.ends_with("+xml")
        || matches!(kind.as_str(), "application/json" | "application/xml" | "application/javascript")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::template::{Authorization, Route};
    use aws_lambda_events::event::apigw::ApiGatewayV2httpRequest;
    use axum::http::Request;

    fn event(request: axum::http::request::Builder, body: &'static [u8]) -> Value {
        let (parts, ()) = request.body(()).expect("a request").into_parts();
        let route = Route {
            function: "F".to_owned(),
            event: "E".to_owned(),
            method: "POST".to_owned(),
            path: "/payments/{id}/refunds".to_owned(),
            authorization: Authorization::Inherited,
        };
        let found = Found { route: &route, parameters: BTreeMap::from([("id".to_owned(), "p-1".to_owned())]) };
        let context = Context {
            id: "request-1",
            peer: SocketAddr::from(([127, 0, 0, 1], 5000)),
            api: "local",
            account: "000000000000",
        };
        build(
            &parts,
            &Bytes::from_static(body),
            &found,
            Some(json!({"jwt": {"claims": {"sub": "ann"}, "scopes": null}})),
            &context,
        )
    }

    #[test]
    fn an_event_has_the_shape_of_payload_format_2() {
        let request = Request::post("/payments/p-1/refunds?a=1&b=x%20y&a=2&c")
            .header("Host", "127.0.0.1:3000")
            .header("User-Agent", "curl/8")
            .header("Content-Type", "application/json; charset=utf-8")
            .header("X-Twice", "one")
            .header("X-Twice", "two")
            .header("Cookie", "a=1; b=2");
        let event = event(request, br#"{"amount":5}"#);
        assert_eq!(event["version"], "2.0");
        assert_eq!(event["routeKey"], "POST /payments/{id}/refunds");
        assert_eq!(event["rawPath"], "/payments/p-1/refunds");
        assert_eq!(event["rawQueryString"], "a=1&b=x%20y&a=2&c");
        assert_eq!(event["queryStringParameters"], json!({"a": "1,2", "b": "x y", "c": ""}));
        assert_eq!(event["pathParameters"], json!({"id": "p-1"}));
        assert_eq!(event["cookies"], json!(["a=1", "b=2"]));
        assert_eq!(event["headers"]["x-twice"], "one,two");
        assert_eq!(event["headers"].get("cookie"), None);
        assert_eq!(event["body"], r#"{"amount":5}"#);
        assert_eq!(event["isBase64Encoded"], false);
        let context = &event["requestContext"];
        assert_eq!(context["http"]["method"], "POST");
        assert_eq!(context["http"]["userAgent"], "curl/8");
        assert_eq!(context["stage"], "$default");
        assert_eq!(context["domainName"], "127.0.0.1");
        assert_eq!(context["authorizer"]["jwt"]["claims"]["sub"], "ann");
        assert!(context["timeEpoch"].as_u64().is_some_and(|millis| millis > 1_700_000_000_000));
        let typed: ApiGatewayV2httpRequest = serde_json::from_value(event).expect("the event of aws_lambda_events");
        assert_eq!(
            typed
                .request_context
                .authorizer
                .and_then(|authorizer| authorizer.jwt)
                .and_then(|jwt| jwt.claims.get("sub").cloned())
                .as_deref(),
            Some("ann")
        );
    }

    #[test]
    fn a_body_that_is_not_text_arrives_in_base64() {
        let form = event(Request::post("/").header("Content-Type", "application/x-www-form-urlencoded"), b"a=1");
        assert_eq!((&form["body"], &form["isBase64Encoded"]), (&json!("YT0x"), &json!(true)));
        let broken = event(Request::post("/").header("Content-Type", "application/json"), b"\xff");
        assert_eq!((&broken["body"], &broken["isBase64Encoded"]), (&json!("/w=="), &json!(true)));
        let empty = event(Request::post("/"), b"");
        assert_eq!((empty.get("body"), &empty["isBase64Encoded"]), (None, &json!(false)));
        assert_eq!(empty.get("queryStringParameters"), None);
        assert_eq!(empty.get("cookies"), None);
    }
}
