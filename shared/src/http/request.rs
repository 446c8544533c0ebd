//! The parts of a request: key, principal, route, body and fingerprint.

use http::HeaderMap;
use http::header::{CONTENT_TYPE, HeaderName};
use lambda_http::aws_lambda_events::apigw;
use lambda_http::request::RequestContext;
use lambda_http::{Body, Request, RequestExt};
use sfv::{BareItem, Item, Parser};

use crate::protocol::{Compare, Document, Fingerprint, Fingerprinter, Key, NotComparable, Principal, Trace};

const IDEMPOTENCY_KEY: HeaderName = HeaderName::from_static("idempotency-key");
/// The maximum length of a key in the header. Its characters are printable ASCII in either spelling.
const MAX_KEY_BYTES: usize = 255;

/// The reason that a request has no valid key.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum KeyError {
    Missing,
    Invalid(String),
}

/// Parses the `Idempotency-Key` header: a structured-field string (`"k"`, draft-07 section 2.1, RFC 9651), or bare
/// visible ASCII, which clients of existing APIs send. Both spellings are the same key.
///
/// A malformed key is an error. Structured fields would have it ignored, but then the request would run unprotected.
pub(super) fn key(headers: &HeaderMap) -> Result<Key, KeyError> {
    match header(headers, &IDEMPOTENCY_KEY)? {
        quoted if quoted.starts_with('"') => header_key(&structured_string(quoted)?),
        bare if bare.contains([',', ';', '"', '\\', ' ', '\t']) => {
            Err(invalid("a bare key has no comma, semicolon, quote, backslash or space; quote it"))
        }
        bare => header_key(bare),
    }
}

/// The header's whole value, without surrounding space.
pub(super) fn header<'h>(headers: &'h HeaderMap, name: &HeaderName) -> Result<&'h str, KeyError> {
    let mut values = headers.get_all(name).iter();
    let value = values.next().ok_or(KeyError::Missing)?;
    if values.next().is_some() {
        return Err(invalid("the header is sent more than once"));
    }
    let value = value.to_str().map_err(|_| invalid("the key has a character that is not printable ASCII"))?;
    Ok(value.trim_matches([' ', '\t']))
}

/// A key from a header.
pub(super) fn header_key(text: &str) -> Result<Key, KeyError> {
    match text.len() {
        ..=MAX_KEY_BYTES => valid_key(text),
        bytes => Err(invalid(format!("the key has {bytes} bytes; at most {MAX_KEY_BYTES} are accepted"))),
    }
}

/// A key from anywhere in the request.
pub(super) fn valid_key(text: &str) -> Result<Key, KeyError> {
    Key::new(text).map_err(|error| invalid(error.to_string()))
}

fn invalid(reason: impl Into<String>) -> KeyError {
    KeyError::Invalid(reason.into())
}

/// Ignores parameters of the item, since the draft defines none.
fn structured_string(value: &str) -> Result<String, KeyError> {
    let invalid = || invalid("the key is not a structured-field string such as \"8e03978e\"");
    let item: Item = Parser::new(value).parse().map_err(|_| invalid())?;
    match item.bare_item {
        BareItem::String(text) => Ok(text.into()),
        _ => Err(invalid()),
    }
}

/// The subject of the request's JWT, as verified by API Gateway's authorizer. `None` without a JWT.
#[must_use]
pub fn jwt_subject(request: &Request) -> Option<Principal> {
    let subject = match context(request)? {
        Context::V2(context) => context.authorizer.as_ref()?.jwt.as_ref()?.claims.get("sub")?,
        // In payload format 1.0 the claims are one member among those of other authorizers.
        #[cfg(feature = "apigw_rest")]
        Context::V1(context) => context.authorizer.fields.get("claims")?.get("sub")?.as_str()?,
    };
    Principal::new(subject).ok()
}

/// The IAM identity that signed the request: the ARN of a user, or that of a role's session
/// (`arn:aws:sts::…:assumed-role/ROLE/SESSION`). For credentials of a Cognito identity pool, whose users all have the
/// role's ARN, the id of the Cognito identity. `None` if the request is not signed.
///
/// A service that names its session differently in each task or process is another principal each time, so its retry is
/// not recognised. Set your own [principal](super::IdempotencyLayer::principal) function for such callers.
#[must_use]
pub fn iam_user(request: &Request) -> Option<Principal> {
    #[cfg(feature = "vpc_lattice")]
    if let RequestContext::VpcLattice(context) = request.request_context_ref()? {
        let identity =
            context.identity.as_ref().filter(|identity| identity.identity_type.as_deref() == Some("AWS_IAM"))?;
        return Principal::new(identity.principal.as_ref()?).ok();
    }
    let (cognito, arn) = match context(request)? {
        Context::V2(context) => {
            let iam = context.authorizer.as_ref()?.iam.as_ref()?;
            let cognito = iam.cognito_identity.as_ref().and_then(|identity| identity.identity_id.as_ref());
            (cognito, iam.user_arn.as_ref())
        }
        #[cfg(feature = "apigw_rest")]
        Context::V1(context) => (context.identity.cognito_identity_id.as_ref(), context.identity.user_arn.as_ref()),
    };
    Principal::new(cognito.or(arn)?).ok()
}

/// The user whom an Application Load Balancer has signed in, by its action `authenticate-oidc` or
/// `authenticate-cognito`: the header `x-amzn-oidc-identity`, the token's subject.
///
/// **Only if every rule of the listener that forwards to the function has such an action**: otherwise a client can send
/// the header itself and read another user's answers. If a rule has no such action, verify the signed
/// `x-amzn-oidc-data` in your own function.
#[cfg(feature = "alb")]
#[must_use]
pub fn alb_user(request: &Request) -> Option<Principal> {
    let RequestContext::Alb(_) = request.request_context_ref()? else { return None };
    let mut values = request.headers().get_all("x-amzn-oidc-identity").iter();
    match (values.next(), values.next()) {
        (Some(subject), None) => Principal::new(subject.to_str().ok()?).ok(),
        (_, _) => None,
    }
}

/// Finds the principal in the context that a Lambda authorizer returns, under this name: a text, or a number. With
/// payload format 1.0, `principalId` is the authorizer's principal.
pub fn authorized(name: impl Into<String>) -> impl Fn(&Request) -> Option<Principal> + Send + Sync + 'static {
    let name = name.into();
    move |request| {
        let value = match context(request)? {
            Context::V2(context) => context.authorizer.as_ref()?.fields.get(&name)?,
            #[cfg(feature = "apigw_rest")]
            Context::V1(context) => context.authorizer.fields.get(&name)?,
        };
        match value {
            serde_json::Value::String(text) => Principal::new(text.as_str()).ok(),
            serde_json::Value::Number(number) => Principal::new(number.to_string()).ok(),
            _ => None,
        }
    }
}

/// One principal for all callers, for an API without an authorizer. **A caller that sends another caller's key gets
/// that caller's answer**, or a refusal that shows that the key was used (guarantee G7 does not hold). Clients must
/// therefore choose keys that nobody can guess.
#[must_use]
pub fn everyone(_: &Request) -> Option<Principal> {
    Principal::new("everyone").ok()
}

/// The route as API Gateway names it (`POST /payments/{id}/refunds`). There is none for `$default` and behind a
/// function URL.
pub(super) fn route(request: &Request) -> Option<String> {
    match context(request)? {
        Context::V2(context) => context.route_key.clone().filter(|key| key != "$default"),
        #[cfg(feature = "apigw_rest")]
        Context::V1(context) => context.resource_path.as_ref().map(|path| format!("{} {path}", request.method())),
    }
}

/// The trace that a request belongs to: the client's, otherwise X-Ray's of the invocation.
pub(super) fn trace(request: &Request) -> Option<Trace> {
    let header = request.headers().get(Trace::NAME).and_then(|value| value.to_str().ok());
    let of_xray = || request.lambda_context_ref()?.xray_trace_id.as_deref().and_then(Trace::from_xray);
    header.and_then(Trace::from_traceparent).or_else(of_xray)
}

/// The request context of API Gateway, by payload format.
enum Context<'a> {
    V2(&'a apigw::ApiGatewayV2httpRequestContext),
    #[cfg(feature = "apigw_rest")]
    V1(&'a apigw::ApiGatewayProxyRequestContext),
}

fn context(request: &Request) -> Option<Context<'_>> {
    match request.request_context_ref()? {
        RequestContext::ApiGatewayV2(context) => Some(Context::V2(context)),
        #[cfg(feature = "apigw_rest")]
        RequestContext::ApiGatewayV1(context) => Some(Context::V1(context)),
        // More variants exist if another crate enables more features of lambda_http.
        #[allow(unreachable_patterns)]
        _ => None,
    }
}

/// The path as API Gateway passes it on, usually without the stage, which depends on the deployment.
pub(super) fn path(request: &Request) -> &str {
    match request.raw_http_path() {
        "" => request.uri().path(),
        path => path,
    }
}

/// The path after the stage's name, if API Gateway puts that name at the beginning of the path.
pub(super) fn path_behind_stage(request: &Request) -> Option<&str> {
    let stage = match context(request)? {
        Context::V2(context) => context.stage.as_deref()?,
        #[cfg(feature = "apigw_rest")]
        Context::V1(_) => return None,
    };
    let path = path(request).strip_prefix('/')?.strip_prefix(stage)?;
    path.starts_with('/').then_some(path)
}

/// The fingerprint of method, path, sorted query, content type and body.
///
/// JSON bodies are compared by value or as the operation declares, all others byte by byte after base64 decoding. Of
/// the content type only the media type counts, in lower case and without parameters. For an empty body it does not
/// count, because API Gateway adds one.
///
/// `document` is the parsed [body](document).
///
/// # Errors
/// [`NotComparable`] if a JSON body lacks a value by which it is compared.
pub(super) fn fingerprint(
    request: &Request,
    document: Option<&Document>,
    compare: &Compare,
) -> Result<Fingerprint, NotComparable> {
    let body = bytes(request.body());
    let media_type = if body.is_empty() { String::new() } else { media_type(request.headers()) };
    let parts = Fingerprinter::new()
        .bytes(request.method().as_str().as_bytes())
        .bytes(path(request).as_bytes())
        .bytes(sorted_query(request.uri().query().unwrap_or_default()).as_bytes())
        .bytes(media_type.as_bytes());
    let parts = match document {
        Some(document) => parts.document(body, document, compare)?,
        None => parts.bytes(body),
    };
    Ok(parts.finish())
}

/// The body as JSON, if it has a JSON media type and is valid JSON.
pub(super) fn document(request: &Request) -> Option<Document> {
    let media_type = media_type(request.headers());
    let is_json = media_type == "application/json" || media_type.ends_with("+json");
    is_json.then(|| Document::parse(bytes(request.body())).ok())?
}

fn bytes(body: &Body) -> &[u8] {
    body.as_ref()
}

fn media_type(headers: &HeaderMap) -> String {
    let value = headers.get(CONTENT_TYPE).and_then(|value| value.to_str().ok()).unwrap_or_default();
    value.split(';').next().unwrap_or_default().trim().to_ascii_lowercase()
}

/// The query sorted by name. Parameters with the same name keep their order.
fn sorted_query(query: &str) -> String {
    let mut pairs: Vec<&str> = query.split('&').filter(|pair| !pair.is_empty()).collect();
    pairs.sort_by_key(|pair| pair.split('=').next());
    pairs.join("&")
}

#[cfg(test)]
mod tests {
    use http::HeaderValue;
    use proptest::prelude::*;

    use super::*;

    fn parse(values: &[&[u8]]) -> Result<String, KeyError> {
        let mut headers = HeaderMap::new();
        for value in values {
            headers.append(IDEMPOTENCY_KEY, HeaderValue::from_bytes(value).unwrap());
        }
        key(&headers).map(|key| key.as_str().to_owned())
    }

    fn ok(value: &str) -> String {
        parse(&[value.as_bytes()]).unwrap()
    }

    #[test]
    fn quoted_and_bare_are_one_key() {
        assert_eq!(ok("\"k-1\""), "k-1");
        assert_eq!(ok("k-1"), "k-1");
        assert_eq!(ok("  k-1 "), "k-1");
        assert_eq!(ok("\"a, b; \\\"c\\\" \\\\\""), "a, b; \"c\" \\");
    }

    #[test]
    fn a_bare_uuid_is_a_key_whatever_its_first_character() {
        // Parsed as a structured-field token, the first of these would be invalid.
        for uuid in ["8e03978e-40d5-43dd-bc93-6894a57f9324", "ce03978e-40d5-43dd-bc93-6894a57f9324"] {
            assert_eq!(ok(uuid), uuid);
        }
    }

    #[test]
    fn parameters_are_ignored() {
        assert_eq!(ok("\"k\";p=1;q"), "k");
    }

    #[test]
    fn the_longest_key_has_255_bytes() {
        let longest = "k".repeat(255);
        assert_eq!(ok(&longest), longest);
        assert_eq!(ok(&format!("\"{longest}\"")), longest);
        assert!(matches!(parse(&["k".repeat(256).as_bytes()]), Err(KeyError::Invalid(_))));
    }

    proptest! {
        #[test]
        fn what_a_header_carries_is_1_to_255_printable_ascii_characters_or_no_key(
            bytes in prop::collection::vec(prop_oneof![32_u8..127, prop::sample::select(b"\t\"\\\x80\xff;,".to_vec())], 0..300),
            quoted: bool,
        ) {
            let value = if quoted { [&b"\""[..], &bytes, b"\""].concat() } else { bytes };
            if let Ok(key) = parse(&[&value]) {
                prop_assert!((1..=255).contains(&key.len()) && key.bytes().all(|byte| matches!(byte, b' '..=b'~')));
            }
        }
    }

    #[test]
    fn what_is_no_key_is_an_error_and_never_ignored() {
        assert_eq!(parse(&[]), Err(KeyError::Missing));
        let malformed: [&[u8]; 14] = [
            b"",
            b"\"\"",
            b"a,b",
            b"a;b",
            b"a b",
            b"a\\b",
            b"a\"b",
            b"\"a",
            b"\"a\\n\"",
            b"\"a\", \"b\"",
            b"\"a\" b",
            b"k\xe4",
            b"\"k\xe4\"",
            b"a\tb",
        ];
        for value in malformed {
            assert!(matches!(parse(&[value]), Err(KeyError::Invalid(_))), "{:?}", String::from_utf8_lossy(value));
        }
        assert!(matches!(parse(&[b"k", b"k"]), Err(KeyError::Invalid(_))), "a repeated header");
    }

    #[test]
    fn the_trace_is_the_clients_or_else_that_of_the_invocation() {
        let mut context = lambda_http::Context::default();
        context.xray_trace_id =
            Some("Root=1-11111111-111111111111111111111111;Parent=00f067aa0ba902b7;Sampled=1".into());
        let trace = |parent: Option<&str>, context: &lambda_http::Context| {
            let request = http::Request::post("/");
            let request = match parent {
                Some(parent) => request.header("traceparent", parent),
                None => request,
            };
            let request = request.body(Body::Empty).unwrap().with_lambda_context(context.clone());
            super::trace(&request).map(|trace| trace.id().to_string())
        };
        let of_client = "00-22222222222222222222222222222222-00f067aa0ba902b7-01";
        assert_eq!(trace(Some(of_client), &context), Some("2".repeat(32)));
        assert_eq!(trace(None, &context), Some("1".repeat(32)));
        assert_eq!(trace(Some("anything"), &context), Some("1".repeat(32)));
        assert_eq!(trace(None, &lambda_http::Context::default()), None);
    }

    fn request(method: &str, uri: &str, media_type: &str, body: impl Into<Body>) -> Request {
        http::Request::builder().method(method).uri(uri).header(CONTENT_TYPE, media_type).body(body.into()).unwrap()
    }

    fn same(a: &Request, b: &Request) -> bool {
        let of = |request| fingerprint(request, document(request).as_ref(), &Compare::Value).unwrap();
        of(a) == of(b)
    }

    #[test]
    fn everything_that_makes_a_request_another_one_counts() {
        let first = || request("POST", "/a?x=1&y=2", "application/json", r#"{"a":1}"#);
        assert!(same(&first(), &first()));
        for other in [
            request("PATCH", "/a?x=1&y=2", "application/json", r#"{"a":1}"#),
            request("POST", "/b?x=1&y=2", "application/json", r#"{"a":1}"#),
            request("POST", "/a?x=1&y=3", "application/json", r#"{"a":1}"#),
            request("POST", "/a?x=1", "application/json", r#"{"a":1}"#),
            request("POST", "/a?x=1&y=2", "text/plain", r#"{"a":1}"#),
            request("POST", "/a?x=1&y=2", "application/json", r#"{"a":2}"#),
            request("POST", "/a?x=1&y=2", "application/json", ""),
        ] {
            assert!(!same(&first(), &other), "{other:?}");
        }
    }

    #[test]
    fn spelling_does_not_count() {
        let first = request("POST", "/a?x=1&y=2", "application/json", r#"{"a":1,"b":[2]}"#);
        let same_again = request("POST", "/a?y=2&x=1", "Application/JSON; charset=utf-8", "{ \"b\": [2], \"a\": 1 }");
        assert!(same(&first, &same_again));
        let two_values = |query| request("POST", query, "text/plain", "t");
        assert!(!same(&two_values("/a?x=1&x=2"), &two_values("/a?x=2&x=1")), "the order within one name counts");
    }

    #[test]
    fn bodies_that_are_not_json_compare_by_bytes_however_they_were_transported() {
        let text = request("POST", "/a", "text/plain", "ab");
        let binary = request("POST", "/a", "text/plain", Body::Binary(b"ab".to_vec()));
        assert!(same(&text, &binary));
        let spaced = request("POST", "/a", "text/plain", "ab ");
        assert!(!same(&text, &spaced));
        let broken = |body: &str| request("POST", "/a", "application/json", body);
        assert!(!same(&broken("{a"), &broken("{a ")), "malformed JSON, too");
    }

    #[test]
    fn an_empty_body_has_no_content_type() {
        let named = request("POST", "/a", "text/plain", "");
        let mut unnamed = request("POST", "/a", "text/plain", "");
        unnamed.headers_mut().remove(CONTENT_TYPE);
        assert!(same(&named, &unnamed));
    }
}
