use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use idempotency::engine::Clock;
use idempotency::protocol::EpochMs;
use jsonwebtoken::jwk::{Jwk, JwkSet};
use tokio::sync::OwnedMutexGuard;

/// The issuer's public keys. A client without a valid token can cause a request for them, so requests are limited: one
/// at a time, with a pause after each, successful or not. A known key never waits for a request.
#[derive(Clone)]
pub(super) struct Keys(Arc<Inner>);

struct Inner {
    url: String,
    http: reqwest::Client,
    /// The time of day: a monotonic clock may stand still while a sandbox is frozen.
    clock: Arc<dyn Clock>,
    known: Mutex<Known>,
    /// Held during a request.
    asking: Arc<tokio::sync::Mutex<()>>,
}

#[derive(Default)]
struct Known {
    /// The issuer's last key set, and when it was fetched.
    set: Option<(JwkSet, EpochMs)>,
    /// When the last request ended, and its error if it failed.
    asked: Option<(EpochMs, Option<Arc<reqwest::Error>>)>,
}

/// How the key of a token is obtained.
enum Step {
    Use(Jwk),
    /// Use it, and fetch the key set again.
    Refresh(Jwk),
    Ask,
    /// The issuer has not published this key.
    Unknown,
    Unavailable(Arc<reqwest::Error>),
}

/// How long a key set is used without fetching it again.
const FRESH: Duration = Duration::from_secs(60 * 60);
/// How long it is used if the issuer does not answer. A key that was withdrawn in the meantime is accepted that long.
const KEPT: Duration = Duration::from_secs(24 * 60 * 60);
/// The pause after each request.
const REST: Duration = Duration::from_secs(30);
/// The timeout of a request.
const TIMEOUT: Duration = Duration::from_secs(2);

impl Keys {
    pub(super) fn new(url: String, clock: Arc<dyn Clock>) -> Result<Self, reqwest::Error> {
        let http = reqwest::Client::builder().timeout(TIMEOUT).no_proxy().build()?;
        Ok(Self(Arc::new(Inner { url, http, clock, known: Mutex::default(), asking: Arc::default() })))
    }

    #[cfg(test)]
    pub(super) fn url(&self) -> &str {
        &self.0.url
    }

    /// The key with this id, if the issuer has published it.
    ///
    /// # Errors
    /// When the key is not known, and the last request to the issuer failed.
    pub(super) async fn find(&self, id: &str) -> Result<Option<Jwk>, Arc<reqwest::Error>> {
        if let Step::Ask = self.step(id) {
            let asking = Arc::clone(&self.0.asking).lock_owned().await;
            // The request before ours may have found it.
            if let Step::Ask = self.step(id) {
                self.ask(asking).await;
            }
        }
        match self.step(id) {
            Step::Use(key) => Ok(Some(key)),
            Step::Refresh(key) => {
                self.refresh();
                Ok(Some(key))
            }
            Step::Ask | Step::Unknown => Ok(None),
            Step::Unavailable(error) => Err(error),
        }
    }

    fn step(&self, id: &str) -> Step {
        self.0.known.lock().unwrap_or_else(PoisonError::into_inner).step(id, self.0.clock.now())
    }

    /// Fetches the key set in the background. If the sandbox is frozen meanwhile, a later invocation completes it.
    fn refresh(&self) {
        if let Ok(asking) = Arc::clone(&self.0.asking).try_lock_owned() {
            let keys = self.clone();
            tokio::spawn(async move { keys.ask(asking).await });
        }
    }

    async fn ask(&self, _asking: OwnedMutexGuard<()>) {
        let answer = self.fetch().await;
        let now = self.0.clock.now();
        let mut known = self.0.known.lock().unwrap_or_else(PoisonError::into_inner);
        let error = match answer {
            Ok(set) => {
                known.set = Some((set, now));
                None
            }
            Err(error) => Some(Arc::new(error)),
        };
        known.asked = Some((now, error));
    }

    async fn fetch(&self) -> Result<JwkSet, reqwest::Error> {
        self.0.http.get(&self.0.url).send().await?.error_for_status()?.json().await
    }
}

impl Known {
    fn step(&self, id: &str, now: EpochMs) -> Step {
        let set = self.set.as_ref().filter(|(_, fetched)| is_within(KEPT, *fetched, now));
        let key = set.and_then(|(set, _)| set.find(id)).cloned();
        let is_fresh = set.is_some_and(|(_, fetched)| is_within(FRESH, *fetched, now));
        let asked = self.asked.as_ref().filter(|(at, _)| is_within(REST, *at, now));
        match (key, asked) {
            (Some(key), None) if !is_fresh => Step::Refresh(key),
            (Some(key), _) => Step::Use(key),
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
