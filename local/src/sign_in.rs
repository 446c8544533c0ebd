//! An issuer of OpenID Connect with a page to sign in: whoever comes chooses a name and a role.
//!
//! It is at `localhost` while the application is at 127.0.0.1, so that a browser sees two sites, as it does in the
//! field: a cookie with SameSite or a policy of the pages that stands in the way of a sign-in does so here, too.
//!
//! Specifications: OpenID Connect Core 1.0, Discovery 1.0, RP-Initiated Logout 1.0; RFC 6749, 7636 (PKCE), 9207.

use std::{
    collections::BTreeMap,
    net::SocketAddr,
    sync::Arc,
    time::{Duration, Instant},
};

use aws_lc_rs::digest::{SHA256, digest};
use axum::{
    Form, Json, Router,
    extract::{Query, State},
    http::{HeaderMap, StatusCode, Uri, header},
    middleware,
    response::{IntoResponse, Redirect, Response},
    routing::{get, post},
};
use base64::{
    Engine,
    engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD},
};
use form_urlencoded::Serializer;
use parking_lot::Mutex;
use serde_json::{Value, json};
use uuid::Uuid;

use crate::{access, template::LOCAL_SECRET, token::Issuer};

mod page;

/// The parameter that names the console's client.
pub(crate) const CLIENT_ID: &str = "ConsoleClientId";

/// The issuer's identifier is this path at [`identifier`]'s host.
const PATH: &str = "/_local/issuer";

/// A code is for one use, soon (RFC 6749, section 4.1.2).
const CODE_TIME: Duration = Duration::from_secs(60);

/// The session at the issuer, which lets the next sign-in pass without the page.
const COOKIE: &str = "local-issuer";

/// Names and values, as in a query or a form.
type Fields = BTreeMap<String, String>;

#[derive(Clone)]
pub(crate) struct SignIn(Arc<Inner>);

struct Inner {
    issuer: Issuer,
    address: SocketAddr,
    client: String,
    /// Whether the client must prove itself by [`LOCAL_SECRET`].
    has_secret: bool,
    codes: Mutex<BTreeMap<String, Grant>>,
}

/// What a code stands for.
struct Grant {
    redirect_uri: String,
    challenge: String,
    claims: Fields,
    made: Instant,
}

/// The issuer of the stack at this address.
pub(crate) fn identifier(address: SocketAddr) -> String {
    format!("http://localhost:{}{PATH}", address.port())
}

impl SignIn {
    pub(crate) fn new(issuer: Issuer, address: SocketAddr, client: String, has_secret: bool) -> Self {
        Self(Arc::new(Inner { issuer, address, client, has_secret, codes: Mutex::default() }))
    }

    pub(crate) fn router(&self) -> Router {
        Router::new()
            .route(&format!("{PATH}/.well-known/openid-configuration"), get(configuration))
            .route(&format!("{PATH}/authorize"), get(authorize).post(sign_in))
            .route(&format!("{PATH}/token"), post(token))
            .route(&format!("{PATH}/end-session"), get(end_session))
            // Pages of other sites lead here; that is what it is for.
            .layer(middleware::from_fn(access::by_its_own_name))
            .with_state(self.clone())
    }

    fn url(&self, path: &str) -> String {
        format!("{}{path}", identifier(self.0.address))
    }

    /// Whether the browser may be sent there: to the console of this stack, by any of its names.
    fn is_registered(&self, url: &str, path: &str) -> bool {
        url.parse::<Uri>().is_ok_and(|url| {
            url.scheme_str() == Some("http")
                && matches!(url.host(), Some("127.0.0.1" | "localhost"))
                && url.port_u16() == Some(self.0.address.port())
                && url.path() == path
        })
    }

    /// Why a request cannot be authorized. None of it may be told to the address in the request.
    fn refusal(&self, request: &Fields) -> Option<String> {
        let field = |name: &str| request.get(name).map_or("", String::as_str);
        let redirect_uri = field("redirect_uri");
        if field("client_id") != self.0.client {
            return Some(format!("client_id must be {}, not {}", self.0.client, field("client_id")));
        }
        if !self.is_registered(redirect_uri, "/console/callback") {
            return Some(format!("the redirect_uri {redirect_uri} is not registered"));
        }
        let required = [("response_type", "code"), ("code_challenge_method", "S256")];
        let wrong = required.into_iter().find(|(name, value)| field(name) != *value);
        if let Some((name, value)) = wrong {
            return Some(format!("{name} must be {value}"));
        }
        if field("code_challenge").len() != 43 {
            return Some("code_challenge must be a SHA-256 in base64url".to_owned());
        }
        let has_openid = field("scope").split(' ').any(|scope| scope == "openid");
        (!has_openid).then(|| "scope must have openid".to_owned())
    }

    /// Sends the browser back with a code. Fields `claim.NAME` become claims.
    fn grant(&self, request: &Fields) -> Redirect {
        let field = |name: &str| request.get(name).map_or("", String::as_str).to_owned();
        let mut claims = Fields::from([("nonce".to_owned(), field("nonce"))]);
        claims.extend([("sub".to_owned(), field("name")), ("role".to_owned(), field("role"))]);
        let others = request.iter().filter_map(|(name, value)| Some((name.strip_prefix("claim.")?, value)));
        claims.extend(others.map(|(name, value)| (name.to_owned(), value.clone())));
        let code = Uuid::new_v4().simple().to_string();
        let grant = Grant {
            redirect_uri: field("redirect_uri"),
            challenge: field("code_challenge"),
            claims,
            made: Instant::now(),
        };
        let issuer = self.url("");
        let answer = [("code", code.as_str()), ("state", &field("state")), ("iss", &issuer)];
        let answer = Serializer::new(String::new()).extend_pairs(answer).finish();
        let back = Redirect::to(&format!("{}?{answer}", grant.redirect_uri));
        self.0.codes.lock().insert(code, grant);
        back
    }

    /// The ID token for a code, which is then used up, whatever comes of it.
    fn redeem(&self, headers: &HeaderMap, request: &Fields) -> Result<Value, (StatusCode, &'static str, &'static str)> {
        let refused = |error, why| (StatusCode::BAD_REQUEST, error, why);
        let field = |name: &str| request.get(name).map_or("", String::as_str);
        if !self.knows_client(headers, field("client_id")) {
            return Err((
                StatusCode::UNAUTHORIZED,
                "invalid_client",
                "the client is not known, or its secret is wrong",
            ));
        }
        if field("grant_type") != "authorization_code" {
            return Err(refused("unsupported_grant_type", "grant_type must be authorization_code"));
        }
        let grant = self.0.codes.lock().remove(field("code"));
        let grant = grant.filter(|grant| grant.made.elapsed() < CODE_TIME);
        let Some(grant) = grant else {
            return Err(refused("invalid_grant", "the code is not known, was used before, or is too old"));
        };
        let challenge = URL_SAFE_NO_PAD.encode(digest(&SHA256, field("code_verifier").as_bytes()));
        if grant.redirect_uri != field("redirect_uri") || grant.challenge != challenge {
            return Err(refused("invalid_grant", "redirect_uri or code_verifier is not that of the request"));
        }
        let id_token = self.0.issuer.token(&self.url(""), &self.0.client, &grant.claims);
        let id_token = id_token.map_err(|_| refused("invalid_request", "a claim cannot be signed"))?;
        Ok(json!({
            "access_token": Uuid::new_v4().simple().to_string(),
            "token_type": "Bearer",
            "expires_in": 3600,
            "id_token": id_token,
        }))
    }

    /// A public client names itself; any other proves itself (RFC 6749, section 2.3.1).
    fn knows_client(&self, headers: &HeaderMap, named: &str) -> bool {
        if !self.0.has_secret {
            return named == self.0.client;
        }
        let basic = headers.get(header::AUTHORIZATION).and_then(|value| value.to_str().ok()?.strip_prefix("Basic "));
        let basic = basic.and_then(|basic| String::from_utf8(STANDARD.decode(basic).ok()?).ok());
        basic.is_some_and(|basic| basic == format!("{}:{LOCAL_SECRET}", self.0.client))
    }
}

async fn configuration(State(sign_in): State<SignIn>) -> Json<Value> {
    Json(json!({
        "issuer": sign_in.url(""),
        "authorization_endpoint": sign_in.url("/authorize"),
        "token_endpoint": sign_in.url("/token"),
        "end_session_endpoint": sign_in.url("/end-session"),
        "jwks_uri": format!("http://localhost:{}{}", sign_in.0.address.port(), Issuer::KEYS_PATH),
        "response_types_supported": ["code"],
        "subject_types_supported": ["public"],
        "id_token_signing_alg_values_supported": ["RS256"],
        "code_challenge_methods_supported": ["S256"],
        "scopes_supported": ["openid"],
        "token_endpoint_auth_methods_supported": ["none", "client_secret_basic"],
        "authorization_response_iss_parameter_supported": true,
    }))
}

/// Whom the issuer knows by its cookie is sent back at once, unless the request wants it otherwise.
async fn authorize(State(sign_in): State<SignIn>, headers: HeaderMap, Query(mut request): Query<Fields>) -> Response {
    if let Some(why) = sign_in.refusal(&request) {
        return (StatusCode::BAD_REQUEST, page::refused(&why)).into_response();
    }
    match session(&headers) {
        Some(session) if request.get("prompt").is_none_or(|prompt| prompt != "login") => {
            request.extend(session);
            sign_in.grant(&request).into_response()
        }
        _ => page::sign_in(&request).into_response(),
    }
}

async fn sign_in(State(sign_in): State<SignIn>, Form(request): Form<Fields>) -> Response {
    if let Some(why) = sign_in.refusal(&request) {
        return (StatusCode::BAD_REQUEST, page::refused(&why)).into_response();
    }
    if request.contains_key("cancel") {
        let redirect_uri = request.get("redirect_uri").map_or("", String::as_str);
        let state = request.get("state").map_or("", String::as_str);
        let answer = [("error", "access_denied"), ("error_description", "The person cancelled."), ("state", state)];
        let answer = Serializer::new(String::new()).extend_pairs(answer).finish();
        return Redirect::to(&format!("{redirect_uri}?{answer}")).into_response();
    }
    let known = request.iter().filter(|(name, _)| matches!(name.as_str(), "name" | "role"));
    let session = Serializer::new(String::new()).extend_pairs(known).finish();
    // A separator of forms would end the cookie's value.
    let cookie = cookie(&URL_SAFE_NO_PAD.encode(session));
    ([(header::SET_COOKIE, cookie)], sign_in.grant(&request)).into_response()
}

async fn token(State(sign_in): State<SignIn>, headers: HeaderMap, Form(request): Form<Fields>) -> Response {
    let no_store = [(header::CACHE_CONTROL, "no-store")];
    match sign_in.redeem(&headers, &request) {
        Ok(tokens) => (no_store, Json(tokens)).into_response(),
        Err((status, error, why)) => {
            (status, no_store, Json(json!({ "error": error, "error_description": why }))).into_response()
        }
    }
}

async fn end_session(State(sign_in): State<SignIn>, Query(request): Query<Fields>) -> Response {
    let back = request.get("post_logout_redirect_uri").map_or("", String::as_str);
    let is_ours = request.get("client_id") == Some(&sign_in.0.client);
    if !is_ours || !sign_in.is_registered(back, "/console/signed-out") {
        let why = format!("client_id or the post_logout_redirect_uri {back} is not registered");
        return (StatusCode::BAD_REQUEST, page::refused(&why)).into_response();
    }
    ([(header::SET_COOKIE, format!("{}; Max-Age=0", cookie("")))], Redirect::to(back)).into_response()
}

fn cookie(value: &str) -> String {
    format!("{COOKIE}={value}; Path={PATH}; HttpOnly; SameSite=Lax")
}

fn session(headers: &HeaderMap) -> Option<Fields> {
    let cookies = headers.get(header::COOKIE)?.to_str().ok()?;
    let mut pairs = cookies.split("; ").filter_map(|pair| pair.split_once('='));
    let (_, value) = pairs.find(|(name, value)| *name == COOKIE && !value.is_empty())?;
    let session = URL_SAFE_NO_PAD.decode(value).ok()?;
    Some(form_urlencoded::parse(&session).into_owned().collect())
}
