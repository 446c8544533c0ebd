use std::error::Error;
use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use aws_sdk_secretsmanager::error::DisplayErrorContext;
use aws_sdk_secretsmanager::{Client, Config};
use idempotency::engine::{Clock, SystemClock};
use idempotency::protocol::EpochMs;
use idempotency::store::dynamodb::sdk_config;
use serde_json::{Map, Value};
use tokio::sync::Mutex;

/// A secret of AWS Secrets Manager, read when it is needed and remembered for five minutes.
///
/// If Secrets Manager does not answer after that, the known version stays in use, and the next try is half a minute
/// later: the issuer of the secret decides whether it is still valid, not its age. It is kept only in this process.
///
/// It uses the SDK instead of the AWS Parameters and Secrets Lambda Extension: the extension is a second process in
/// each sandbox, has a different ARN in each Region, cannot bypass its cache when the provider refuses a key, and runs
/// only on Lambda.
#[derive(Clone)]
pub struct Secret(Arc<Inner>);

struct Inner {
    client: Client,
    /// Its name or ARN.
    id: String,
    /// The time of day: a monotonic clock may stand still while a sandbox is frozen.
    clock: Arc<dyn Clock>,
    /// Locked during a request, so that there is one at a time.
    known: Mutex<Option<Known>>,
}

struct Known {
    version: SecretVersion,
    /// Until then it is used without a request.
    until: EpochMs,
}

/// One version of a secret, whose value is a JSON object. It cannot be printed.
#[derive(Clone)]
pub struct SecretVersion(Arc<Map<String, Value>>);

/// Why a secret is not available. No message shows its value.
#[derive(Clone, Debug, thiserror::Error)]
pub enum SecretError {
    /// Secrets Manager gave no value.
    #[error("the secret {id} could not be read: {why}")]
    NotRead {
        /// The name or ARN of the secret.
        id: String,
        /// The reason of Secrets Manager, or of the connection.
        why: String,
    },
    /// Its value has no such text, or one that cannot be used.
    #[error("the secret {id} has no usable text `{member}`")]
    NoMember {
        /// The name or ARN of the secret.
        id: String,
        /// The member that was looked for.
        member: &'static str,
    },
}

/// How long a version is used without checking for a newer one.
const FRESH: Duration = Duration::from_secs(5 * 60);
/// The pause after a request without an answer.
const REST: Duration = Duration::from_secs(30);

/// Makes a client of Secrets Manager from the environment of a Lambda function. Make it once per process.
///
/// It waits as long as the client of DynamoDB: 1 s for one attempt, 1.8 s for all.
#[must_use]
pub fn secrets_client() -> Client {
    Client::from_conf(Config::from(&sdk_config("SECRETS_MANAGER")))
}

impl Secret {
    /// The secret with this name or ARN. Nothing is read yet.
    #[must_use]
    pub fn new(client: Client, id: String) -> Self {
        Self::by_clock(client, id, Arc::new(SystemClock))
    }

    pub(crate) fn by_clock(client: Client, id: String, clock: Arc<dyn Clock>) -> Self {
        Self(Arc::new(Inner { client, id, clock, known: Mutex::default() }))
    }

    /// The current version, at most five minutes old unless Secrets Manager does not answer.
    ///
    /// # Errors
    ///
    /// When there is none yet, and Secrets Manager gives none.
    async fn version(&self) -> Result<SecretVersion, SecretError> {
        let mut known = self.0.known.lock().await;
        if let Some(Known { version, until }) = &*known
            && self.0.clock.now() < *until
        {
            return Ok(version.clone());
        }
        match self.read().await {
            Ok(version) => Ok(self.remember(&mut known, version)),
            Err(error) => {
                let Some(Known { version, until }) = &mut *known else { return Err(error) };
                tracing::warn!(error = &error as &dyn Error, "the known version of a secret stays in use");
                *until = self.0.clock.now().plus(REST);
                Ok(version.clone())
            }
        }
    }

    /// A version other than the one that was refused, if there is one: the version that another request has read since,
    /// or else the current one in Secrets Manager.
    ///
    /// # Errors
    ///
    /// When Secrets Manager does not answer.
    pub async fn other_than(&self, refused: &SecretVersion) -> Result<Option<SecretVersion>, SecretError> {
        let mut known = self.0.known.lock().await;
        if let Some(Known { version, .. }) = &*known
            && version.0 != refused.0
        {
            return Ok(Some(version.clone()));
        }
        let version = self.read().await?;
        let version = self.remember(&mut known, version);
        Ok((version.0 != refused.0).then_some(version))
    }

    /// A text of the current version, as `read` reads it, and that version. A version whose text is missing or empty,
    /// or that `read` cannot use, is not remembered: a correction takes effect at once.
    ///
    /// # Errors
    ///
    /// When there is no version, or none that can be used.
    pub async fn text<T>(
        &self,
        member: &'static str,
        read: impl Fn(&str) -> Option<T>,
    ) -> Result<(T, SecretVersion), SecretError> {
        let version = self.version().await?;
        if let Some(text) = version.text(member).and_then(&read) {
            return Ok((text, version));
        }
        let version = self.other_than(&version).await?.unwrap_or(version);
        let text = version.text(member).and_then(read);
        let text = text.ok_or_else(|| SecretError::NoMember { id: self.0.id.clone(), member })?;
        Ok((text, version))
    }

    fn remember(&self, known: &mut Option<Known>, version: SecretVersion) -> SecretVersion {
        *known = Some(Known { version: version.clone(), until: self.0.clock.now().plus(FRESH) });
        version
    }

    async fn read(&self) -> Result<SecretVersion, SecretError> {
        let not_read = |why: String| SecretError::NotRead { id: self.0.id.clone(), why };
        let answer = self.0.client.get_secret_value().secret_id(&self.0.id).send().await;
        let answer = answer.map_err(|error| not_read(DisplayErrorContext(error).to_string()))?;
        let text = answer.secret_string().ok_or_else(|| not_read("it is binary".to_owned()))?;
        // The parser's error could show a part of the value.
        let members = serde_json::from_str(text).map_err(|_| not_read("it is not a JSON object".to_owned()))?;
        Ok(SecretVersion(Arc::new(members)))
    }
}

impl SecretVersion {
    fn text(&self, member: &str) -> Option<&str> {
        self.0.get(member)?.as_str().filter(|text| !text.is_empty())
    }
}

/// Shows the id, and never the value.
impl fmt::Debug for Secret {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_tuple("Secret").field(&self.0.id).finish()
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicU64, Ordering};

    use aws_sdk_secretsmanager::config::Region;

    use super::*;

    #[derive(Default)]
    struct Hand(AtomicU64);

    impl Clock for Hand {
        fn now(&self) -> EpochMs {
            EpochMs(self.0.load(Ordering::SeqCst))
        }
    }

    /// Secrets Manager is out of reach from the start.
    async fn known_for(time: Duration) -> (Arc<Hand>, Secret) {
        let hand = Arc::new(Hand::default());
        let config = sdk_config("SECRETS_MANAGER").into_builder().endpoint_url("http://127.0.0.1:9");
        let client = Client::new(&config.region(Region::from_static("us-east-1")).build());
        let secret = Secret::by_clock(client, "s".to_owned(), Arc::clone(&hand) as Arc<dyn Clock>);
        let version = SecretVersion(Arc::new(Map::from_iter([("api_key".to_owned(), Value::from("k"))])));
        secret.remember(&mut *secret.0.known.lock().await, version);
        hand.0.store(u64::try_from(time.as_millis()).unwrap(), Ordering::SeqCst);
        (hand, secret)
    }

    #[tokio::test]
    async fn a_known_version_stays_in_use_while_secrets_manager_is_out_of_reach() {
        let (hand, secret) = known_for(FRESH + Duration::from_secs(1)).await;
        let (text, version) = secret.text("api_key", |text| Some(text.to_owned())).await.expect("the known one");
        assert_eq!(text, "k");
        let until = secret.0.known.lock().await.as_ref().expect("known").until;
        assert_eq!(until, hand.now().plus(REST), "the next try is later");
        assert!(secret.other_than(&version).await.is_err(), "whoever needs another one hears that there is none");
        assert_eq!(format!("{secret:?}"), "Secret(\"s\")");
    }
}
