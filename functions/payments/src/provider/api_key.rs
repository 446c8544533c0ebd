use reqwest::header::HeaderValue;

use crate::{Secret, SecretError, secret::SecretVersion};

/// Our key for the provider's API. It is never printed.
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
            Source::Secret(secret) => Credential::of(secret, secret.version().await?),
            Source::Fixed(key) => Ok(Credential { authorization: key.clone(), version: None }),
        }
    }

    /// Another key than one that the provider has refused, if there is one.
    pub(super) async fn other_than(&self, refused: &Credential) -> Result<Option<Credential>, SecretError> {
        let (Source::Secret(secret), Some(version)) = (&self.0, &refused.version) else { return Ok(None) };
        let Some(version) = secret.other_than(version).await? else { return Ok(None) };
        let newer = Credential::of(secret, version)?;
        // Another version can have the same key.
        Ok((newer.authorization != refused.authorization).then_some(newer))
    }
}

impl Credential {
    fn of(secret: &Secret, version: SecretVersion) -> Result<Self, SecretError> {
        const MEMBER: &str = "api_key";
        match authorization(secret.text(&version, MEMBER)?) {
            Some(authorization) => Ok(Self { authorization, version: Some(version) }),
            None => Err(secret.unusable(MEMBER)),
        }
    }
}

fn authorization(key: &str) -> Option<HeaderValue> {
    let mut value = HeaderValue::try_from(format!("Bearer {key}")).ok()?;
    value.set_sensitive(true);
    Some(value)
}
