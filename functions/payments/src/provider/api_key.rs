use reqwest::header::HeaderValue;

use crate::{Secret, SecretError, secret::SecretVersion};

/// Our key for the provider's API. It is never logged.
#[derive(Clone, Debug)]
pub struct ApiKey(Source);

#[derive(Clone, Debug)]
enum Source {
    /// The text `api_key` of a secret, in its current version.
    Secret(Secret),
    Fixed(HeaderValue),
}

/// The key, as a request sends it, and the version of the secret that has it.
pub(super) struct Credential {
    pub(super) authorization: HeaderValue,
    version: Option<SecretVersion>,
}

impl ApiKey {
    /// The text `api_key` of a secret. A rotation takes effect within five minutes, and at once when the provider
    /// refuses the old key.
    #[must_use]
    pub const fn secret(secret: Secret) -> Self {
        Self(Source::Secret(secret))
    }

    /// Always this key; `None` if it is not visible ASCII.
    #[must_use]
    pub fn fixed(key: &str) -> Option<Self> {
        authorization(key).map(|key| Self(Source::Fixed(key)))
    }

    pub(super) async fn current(&self) -> Result<Credential, SecretError> {
        match &self.0 {
            Source::Secret(secret) => {
                let (authorization, version) = secret.text("api_key", authorization).await?;
                Ok(Credential { authorization, version: Some(version) })
            }
            Source::Fixed(key) => Ok(Credential { authorization: key.clone(), version: None }),
        }
    }

    /// A key other than the one that the provider has refused, if there is one.
    pub(super) async fn other_than(&self, refused: &Credential) -> Result<Option<Credential>, SecretError> {
        let (Source::Secret(secret), Some(version)) = (&self.0, &refused.version) else { return Ok(None) };
        if secret.other_than(version).await?.is_none() {
            return Ok(None);
        }
        let newer = self.current().await?;
        // Another version can have the same key.
        Ok((newer.authorization != refused.authorization).then_some(newer))
    }
}

fn authorization(key: &str) -> Option<HeaderValue> {
    let mut value = HeaderValue::try_from(format!("Bearer {key}")).ok()?;
    value.set_sensitive(true);
    Some(value)
}
