use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use idempotency::engine::Clock;
use idempotency::protocol::EpochMs;
use jsonwebtoken::jwk::{Jwk, JwkSet};
use reqwest::{Client, redirect};
use serde::Deserialize;
use tokio::sync::OwnedMutexGuard;

/// What the issuer publishes: its configuration (OpenID Connect Discovery 1.0) and its public keys. A client without a
/// valid token can cause a request for them, so requests are limited: one at a time, with a pause after each,
/// successful or not. Cached configuration and keys are used without waiting for a request.
#[derive(Clone)]
pub(super) struct Issuer(Arc<Inner>);

struct Inner {
    /// Its identifier, as in `iss`.
    name: String,
    configuration_url: String,
    http: Client,
    /// The time of day: a monotonic clock may stand still while a sandbox is frozen.
    clock: Arc<dyn Clock>,
    known: Mutex<Known>,
    /// Held during a request.
    asking: Arc<tokio::sync::Mutex<()>>,
}

/// The issuer's configuration, as far as it is used here.
#[derive(Clone, Debug, Deserialize)]
pub(super) struct Configuration {
    issuer: String,
    pub(super) authorization_endpoint: String,
    pub(super) token_endpoint: String,
    jwks_uri: String,
    /// OpenID Connect RP-Initiated Logout 1.0; not every issuer has it.
    pub(super) end_session_endpoint: Option<String>,
}

/// Why the issuer's configuration or keys are not available.
#[derive(Debug, thiserror::Error)]
pub(crate) enum IssuerError {
    #[error("the issuer did not answer in time")]
    OutOfTime,
    #[error("the issuer gave no usable answer")]
    Request(#[from] reqwest::Error),
    #[error("the configuration is that of another issuer: {0}")]
    Foreign(String),
}

#[derive(Default)]
struct Known {
    /// What the issuer published last, and when it was fetched.
    published: Option<(Published, EpochMs)>,
    /// When the last request ended, and its error if it failed.
    asked: Option<(EpochMs, Option<Arc<IssuerError>>)>,
}

struct Published {
    configuration: Configuration,
    keys: JwkSet,
}

/// How to obtain the issuer's configuration or a key.
enum Step<T> {
    Use(T),
    /// Use it, and fetch everything again.
    Refresh(T),
    Ask,
    /// The issuer has not published it.
    Unknown,
    Unavailable(Arc<IssuerError>),
}

/// How long a key set is used without fetching it again.
const FRESH: Duration = Duration::from_secs(60 * 60);
/// How long a key set is used if the issuer does not answer. A key that was withdrawn in the meantime is accepted for
/// that long.
const KEPT: Duration = Duration::from_secs(24 * 60 * 60);
/// The pause after each request.
const REST: Duration = Duration::from_secs(30);
/// The time for configuration and keys together.
const TIMEOUT: Duration = Duration::from_secs(2);

impl Issuer {
    /// The issuer with this identifier. Its configuration is at the path that OpenID Connect Discovery defines.
    ///
    /// # Errors
    /// When TLS cannot be set up on this machine.
    pub(super) fn new(name: String, clock: Arc<dyn Clock>) -> Result<Self, reqwest::Error> {
        let url = format!("{}/.well-known/openid-configuration", name.trim_end_matches('/'));
        Self::configured_at(url, name, clock)
    }

    pub(super) fn configured_at(
        configuration_url: String,
        name: String,
        clock: Arc<dyn Clock>,
    ) -> Result<Self, reqwest::Error> {
        // An issuer has no reason to redirect, and a redirect could lead anywhere.
        let http = Client::builder().redirect(redirect::Policy::none()).no_proxy().build()?;
        let (known, asking) = (Mutex::default(), Arc::default());
        Ok(Self(Arc::new(Inner { name, configuration_url, http, clock, known, asking })))
    }

    pub(super) fn name(&self) -> &str {
        &self.0.name
    }

    pub(super) fn http(&self) -> &Client {
        &self.0.http
    }

    pub(super) fn now(&self) -> EpochMs {
        self.0.clock.now()
    }

    /// Its configuration.
    ///
    /// # Errors
    /// When it is not known, and the last request to the issuer failed.
    pub(super) async fn configuration(&self) -> Result<Configuration, Arc<IssuerError>> {
        let configuration = self.find(|published| Some(published.configuration.clone())).await?;
        // If there is none, the issuer has not answered in time: everything that it published includes a configuration.
        configuration.ok_or_else(|| Arc::new(IssuerError::OutOfTime))
    }

    /// The key with this id, if the issuer has published it.
    ///
    /// # Errors
    /// When the key is not known, and the last request to the issuer failed.
    pub(super) async fn key(&self, id: &str) -> Result<Option<Jwk>, Arc<IssuerError>> {
        self.find(|published| published.keys.find(id).cloned()).await
    }

    async fn find<T>(&self, pick: impl Fn(&Published) -> Option<T>) -> Result<Option<T>, Arc<IssuerError>> {
        if let Step::Ask = self.step(&pick) {
            let asking = Arc::clone(&self.0.asking).lock_owned().await;
            // The previous request may have fetched it.
            if let Step::Ask = self.step(&pick) {
                self.ask(asking).await;
            }
        }
        match self.step(&pick) {
            Step::Use(found) => Ok(Some(found)),
            Step::Refresh(found) => {
                self.refresh();
                Ok(Some(found))
            }
            Step::Ask | Step::Unknown => Ok(None),
            Step::Unavailable(error) => Err(error),
        }
    }

    fn step<T>(&self, pick: impl Fn(&Published) -> Option<T>) -> Step<T> {
        self.0.known.lock().unwrap_or_else(PoisonError::into_inner).step(pick, self.now())
    }

    /// Fetches everything in the background. If the sandbox is frozen in the meantime, a later invocation completes the
    /// request.
    fn refresh(&self) {
        if let Ok(asking) = Arc::clone(&self.0.asking).try_lock_owned() {
            let issuer = self.clone();
            tokio::spawn(async move { issuer.ask(asking).await });
        }
    }

    async fn ask(&self, _asking: OwnedMutexGuard<()>) {
        let answer = tokio::time::timeout(TIMEOUT, self.fetch()).await.unwrap_or(Err(IssuerError::OutOfTime));
        let now = self.now();
        let mut known = self.0.known.lock().unwrap_or_else(PoisonError::into_inner);
        let error = match answer {
            Ok(published) => {
                known.published = Some((published, now));
                None
            }
            Err(error) => Some(Arc::new(error)),
        };
        known.asked = Some((now, error));
    }

    async fn fetch(&self) -> Result<Published, IssuerError> {
        let configuration: Configuration = self.get(&self.0.configuration_url).await?.json().await?;
        if configuration.issuer != self.0.name {
            return Err(IssuerError::Foreign(configuration.issuer));
        }
        let keys = self.get(&configuration.jwks_uri).await?.json().await?;
        Ok(Published { configuration, keys })
    }

    async fn get(&self, url: &str) -> Result<reqwest::Response, reqwest::Error> {
        self.0.http.get(url).send().await?.error_for_status()
    }
}

impl Known {
    fn step<T>(&self, pick: impl Fn(&Published) -> Option<T>, now: EpochMs) -> Step<T> {
        let published = self.published.as_ref().filter(|(_, fetched)| is_within(KEPT, *fetched, now));
        let found = published.and_then(|(published, _)| pick(published));
        let is_fresh = published.is_some_and(|(_, fetched)| is_within(FRESH, *fetched, now));
        let asked = self.asked.as_ref().filter(|(at, _)| is_within(REST, *at, now));
        match (found, asked) {
            (Some(found), None) if !is_fresh => Step::Refresh(found),
            (Some(found), _) => Step::Use(found),
            (None, None) => Step::Ask,
            (None, Some((_, None))) => Step::Unknown,
            (None, Some((_, Some(error)))) => Step::Unavailable(Arc::clone(error)),
        }
    }
}

/// Whether a time is less than this long ago. A time in the future was read before the clock was set back.
fn is_within(limit: Duration, at: EpochMs, now: EpochMs) -> bool {
    at <= now && now.since(at) < limit
}
