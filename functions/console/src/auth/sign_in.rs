use std::sync::Arc;
use std::time::Duration;

use futures::future::BoxFuture;
use idempotency::engine::SystemClock;
use oauth2::basic::{BasicErrorResponseType, BasicTokenType};
use oauth2::{
    AsyncHttpClient, AuthUrl, AuthorizationCode, ClientId, ClientSecret, CsrfToken, EndpointNotSet, EndpointSet,
    ExtraTokenFields, HttpRequest, HttpResponse, PkceCodeChallenge, PkceCodeVerifier, RedirectUrl, RequestTokenError,
    Scope, StandardRevocableToken, StandardTokenResponse, TokenUrl, basic,
};
use payments::{Secret, SecretError};
use serde::{Deserialize, Serialize};
use subtle::ConstantTimeEq;

use super::issuer::{Configuration, Issuer, IssuerError};
use super::pending::Pending;
use super::{Actor, Denied, Roles, Target, Tokens};

/// Access to the console: people sign in at an OpenID Connect issuer, by the authorization code flow with PKCE, and
/// scripts send a token of the same issuer.
///
/// The function stores nothing between two requests: a sign-in that has been started is in one cookie, the ID token in
/// another.
pub(crate) struct SignIn {
    tokens: Tokens,
    /// The client id, and the key that signs cookies.
    secret: Secret,
    /// The client's own secret, if the issuer gave it one.
    client_secret: Option<Secret>,
    /// The audience of scripts' tokens, besides the client id.
    audience: String,
    scopes: Vec<String>,
}

/// The settings of the console's sign-in.
pub(crate) struct Settings {
    /// The issuer's identifier.
    pub(crate) issuer: String,
    /// A secret with `client_id` and `cookie_key`.
    pub(crate) secret: Secret,
    /// A secret with `client_secret`.
    pub(crate) client_secret: Option<Secret>,
    /// The audience of scripts' tokens, besides the client id.
    pub(crate) audience: String,
    /// Separated by spaces, `openid` among them.
    pub(crate) scopes: String,
    pub(crate) roles: Roles,
}

/// The beginning of a sign-in.
pub(crate) struct Started {
    /// The issuer's page.
    pub(crate) url: String,
    /// The value of the cookie that the end of the sign-in needs.
    pub(crate) cookie: String,
}

/// What the issuer sends back with the browser.
#[derive(Default, Deserialize)]
#[serde(default)]
pub(crate) struct Callback {
    state: String,
    code: String,
    error: String,
    error_description: String,
    /// The issuer, if it names itself (RFC 9207).
    iss: Option<String>,
}

/// The end of a sign-in.
pub(crate) struct SignedIn {
    pub(crate) actor: Actor,
    pub(crate) id_token: String,
    pub(crate) target: Target,
}

/// Why a sign-in did not succeed. Nobody is signed in then.
#[derive(Debug, thiserror::Error)]
pub(crate) enum SignInError {
    #[error("the sign-in was not started in this browser, or more than ten minutes ago")]
    NotStarted,
    #[error("the answer belongs to another sign-in")]
    OtherState,
    #[error("the answer is from another issuer")]
    OtherIssuer,
    #[error("the issuer refused the sign-in: {0}")]
    Refused(String),
    #[error("the issuer refused the code: {0}")]
    CodeRefused(String),
    #[error("the issuer refused the console itself: {0}")]
    ClientRefused(String),
    #[error("the issuer's answer cannot be used: {0}")]
    NoIdToken(String),
    #[error("the ID token is too long for a cookie")]
    TooLong,
    #[error("the issuer did not answer")]
    NoAnswer(#[source] IssuerError),
    #[error(transparent)]
    Denied(#[from] Denied),
}

/// The members of a token response that OpenID Connect adds.
#[derive(Debug, Serialize, Deserialize)]
struct IdToken {
    id_token: Option<String>,
}

impl ExtraTokenFields for IdToken {}

type Client = oauth2::Client<
    basic::BasicErrorResponse,
    StandardTokenResponse<IdToken, BasicTokenType>,
    basic::BasicTokenIntrospectionResponse,
    StandardRevocableToken,
    basic::BasicRevocationErrorResponse,
    EndpointSet,
    EndpointNotSet,
    EndpointNotSet,
    EndpointNotSet,
    EndpointSet,
>;

/// Where the issuer sends the browser back to. Both are registered there.
const CALLBACK: &str = "/console/callback";
const SIGNED_OUT: &str = "/console/signed-out";
/// The time for redeeming a code.
const TIMEOUT: Duration = Duration::from_secs(5);
/// Browsers drop a longer cookie, and the sign-in would start again without end.
const LONGEST_COOKIE: usize = 3900;

impl SignIn {
    /// # Errors
    /// When TLS cannot be set up on this machine.
    pub(crate) fn new(settings: Settings) -> Result<Self, reqwest::Error> {
        let Settings { issuer, secret, client_secret, audience, scopes, roles } = settings;
        let tokens = Tokens::new(Issuer::new(issuer, Arc::new(SystemClock))?, roles);
        let scopes = scopes.split_whitespace().map(str::to_owned).collect();
        Ok(Self { tokens, secret, client_secret, audience, scopes })
    }

    /// The host of the issuer, for people.
    pub(crate) fn issuer(&self) -> &str {
        let name = self.tokens.issuer().name();
        let name = name.split_once("://").map_or(name, |(_, rest)| rest);
        name.split('/').next().unwrap_or(name)
    }

    /// The visitor with this cookie.
    pub(crate) async fn visitor(&self, id_token: &str) -> Result<Actor, Denied> {
        let client = self.client_id().await.map_err(Denied::SecretUnavailable)?;
        self.tokens.actor(id_token, &[&client]).await
    }

    /// The caller of the API with this token.
    pub(crate) async fn caller(&self, token: &str) -> Result<Actor, Denied> {
        let client = self.client_id().await.map_err(Denied::SecretUnavailable)?;
        self.tokens.actor(token, &[&self.audience, &client]).await
    }

    /// Starts a sign-in. `origin` is the console's own; with `again` the issuer asks for credentials even if it has a
    /// session.
    pub(crate) async fn start(&self, origin: &str, target: Target, again: bool) -> Result<Started, SignInError> {
        let configuration = self.tokens.issuer().configuration().await.map_err(Denied::IssuerUnavailable)?;
        let client = self.client(&configuration, origin).await?;
        let (challenge, verifier) = PkceCodeChallenge::new_random_sha256();
        let nonce = CsrfToken::new_random().into_secret();
        let scopes = self.scopes.iter().cloned().map(Scope::new);
        let request = client.authorize_url(CsrfToken::new_random).add_scopes(scopes).set_pkce_challenge(challenge);
        let request = request.add_extra_param("nonce", &nonce);
        let request = if again { request.add_extra_param("prompt", "login") } else { request };
        let (url, state) = request.url();
        let now = self.tokens.issuer().now();
        let pending = Pending::new(state.into_secret(), nonce, verifier.into_secret(), target, now);
        let cookie =
            pending.sign(&self.cookie_key().await?).map_err(|error| SignInError::Refused(error.to_string()))?;
        Ok(Started { url: url.into(), cookie })
    }

    /// The page that a sign-in with this cookie was started for, even if the sign-in failed.
    pub(crate) async fn target(&self, cookie: Option<&str>) -> Target {
        self.pending(cookie).await.map_or_else(|_| Target::home(), |pending| pending.target)
    }

    /// Ends a sign-in: redeems the code, and checks the ID token.
    pub(crate) async fn finish(
        &self,
        origin: &str,
        cookie: Option<&str>,
        callback: Callback,
    ) -> Result<SignedIn, SignInError> {
        let pending = self.pending(cookie).await?;
        if !bool::from(pending.state.as_bytes().ct_eq(callback.state.as_bytes())) {
            return Err(SignInError::OtherState);
        }
        if callback.iss.as_ref().is_some_and(|issuer| issuer != self.tokens.issuer().name()) {
            return Err(SignInError::OtherIssuer);
        }
        if !callback.error.is_empty() {
            return Err(SignInError::Refused(format!("{} {}", callback.error, callback.error_description)));
        }
        let id_token = self.redeem(origin, callback.code, pending.verifier).await?;
        let client = self.client_id().await.map_err(Denied::SecretUnavailable)?;
        let actor = self.tokens.signed_in(&id_token, &client, &pending.nonce).await?;
        if id_token.len() > LONGEST_COOKIE {
            return Err(SignInError::TooLong);
        }
        Ok(SignedIn { actor, id_token, target: pending.target })
    }

    /// The issuer's page that ends the session there; `None` if the issuer has no such page or does not answer.
    ///
    /// OpenID Connect names the page to return to `post_logout_redirect_uri`, Amazon Cognito `logout_uri`. Each ignores
    /// the other's parameters.
    pub(crate) async fn sign_out_url(&self, origin: &str, id_token: &str) -> Option<String> {
        let configuration = self.tokens.issuer().configuration().await.ok()?;
        let end = configuration.end_session_endpoint?;
        let client = self.client_id().await.ok()?;
        let mut url = reqwest::Url::parse(&end).ok()?;
        let back = format!("{origin}{SIGNED_OUT}");
        let parameters = [
            ("id_token_hint", id_token),
            ("client_id", &client),
            ("post_logout_redirect_uri", &back),
            ("logout_uri", &back),
        ];
        url.query_pairs_mut().extend_pairs(parameters);
        Some(url.into())
    }

    async fn pending(&self, cookie: Option<&str>) -> Result<Pending, SignInError> {
        let cookie = cookie.ok_or(SignInError::NotStarted)?;
        let key = self.cookie_key().await?;
        Pending::open(cookie, &key, self.tokens.issuer().now()).ok_or(SignInError::NotStarted)
    }

    async fn redeem(&self, origin: &str, code: String, verifier: String) -> Result<String, SignInError> {
        let configuration = self.tokens.issuer().configuration().await.map_err(Denied::IssuerUnavailable)?;
        let client = self.client(&configuration, origin).await?;
        let http = Http(self.tokens.issuer().http().clone());
        let request = client.exchange_code(AuthorizationCode::new(code));
        let answer = request.set_pkce_verifier(PkceCodeVerifier::new(verifier)).request_async(&http).await;
        match answer {
            Ok(tokens) => {
                let id_token = tokens.extra_fields().id_token.clone();
                id_token.ok_or_else(|| SignInError::NoIdToken("it has no id_token".to_owned()))
            }
            Err(RequestTokenError::ServerResponse(error)) => Err(match error.error() {
                BasicErrorResponseType::InvalidGrant => SignInError::CodeRefused(error.to_string()),
                _ => SignInError::ClientRefused(error.to_string()),
            }),
            Err(RequestTokenError::Request(error)) => Err(SignInError::NoAnswer(error)),
            // A parser's error message could contain part of a token.
            Err(RequestTokenError::Parse(..)) => Err(SignInError::NoIdToken("it is not a token response".to_owned())),
            Err(RequestTokenError::Other(why)) => Err(SignInError::NoIdToken(why)),
        }
    }

    async fn client(&self, configuration: &Configuration, origin: &str) -> Result<Client, SignInError> {
        let unusable = |error: oauth2::url::ParseError| SignInError::NoIdToken(error.to_string());
        let id = self.client_id().await.map_err(Denied::SecretUnavailable)?;
        let client = oauth2::Client::new(ClientId::new(id))
            .set_auth_uri(AuthUrl::new(configuration.authorization_endpoint.clone()).map_err(unusable)?)
            .set_token_uri(TokenUrl::new(configuration.token_endpoint.clone()).map_err(unusable)?)
            .set_redirect_uri(RedirectUrl::new(format!("{origin}{CALLBACK}")).map_err(unusable)?);
        let Some(secret) = &self.client_secret else { return Ok(client) };
        let text = text(secret, "client_secret").await.map_err(Denied::SecretUnavailable)?;
        Ok(client.set_client_secret(ClientSecret::new(text)))
    }

    async fn client_id(&self) -> Result<String, SecretError> {
        text(&self.secret, "client_id").await
    }

    async fn cookie_key(&self) -> Result<String, Denied> {
        text(&self.secret, "cookie_key").await.map_err(Denied::SecretUnavailable)
    }
}

async fn text(secret: &Secret, member: &'static str) -> Result<String, SecretError> {
    Ok(secret.text(member, |text| Some(text.to_owned())).await?.0)
}

/// Adapts our HTTP client to the OAuth client.
struct Http(reqwest::Client);

impl<'c> AsyncHttpClient<'c> for Http {
    type Error = IssuerError;
    type Future = BoxFuture<'c, Result<HttpResponse, IssuerError>>;

    fn call(&'c self, request: HttpRequest) -> Self::Future {
        Box::pin(send(&self.0, request))
    }
}

async fn send(http: &reqwest::Client, request: HttpRequest) -> Result<HttpResponse, IssuerError> {
    let mut request = reqwest::Request::try_from(request)?;
    *request.timeout_mut() = Some(TIMEOUT);
    let answer = http.execute(request).await?;
    let (status, headers) = (answer.status(), answer.headers().clone());
    let mut response = HttpResponse::new(answer.bytes().await?.into());
    *response.status_mut() = status;
    *response.headers_mut() = headers;
    Ok(response)
}
