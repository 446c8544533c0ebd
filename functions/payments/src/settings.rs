use std::{env, num::ParseIntError, time::Duration};

use crate::{ApiKey, Provider, Secret, SettingsError};

/// Reads a setting from the function's environment, where the template puts it.
///
/// # Errors
///
/// When it is missing or empty: the function was not deployed with this template.
pub fn setting(name: &'static str) -> Result<String, MissingSetting> {
    env::var(name).ok().filter(|value| !value.is_empty()).ok_or(MissingSetting(name))
}

/// The payment provider's client, from the function's environment: its URL, the secret with our API key, and how old a
/// transaction may be for a tombstone to be evidence. The secret is read later.
///
/// # Errors
///
/// When a setting is missing or invalid.
pub fn provider(secrets: aws_sdk_secretsmanager::Client) -> Result<Provider, ProviderSettingError> {
    let api_key = ApiKey::secret(Secret::new(secrets, setting("PROVIDER_SECRET")?));
    let provider = Provider::new(&setting("PROVIDER_URL")?, api_key, CONNECT_TIMEOUT)?;
    Ok(provider.tombstones_within(Duration::from_secs(setting("TOMBSTONES_WITHIN_S")?.parse()?)))
}

const CONNECT_TIMEOUT: Duration = Duration::from_secs(2);

/// Why the provider's client could not be created.
#[derive(Debug, thiserror::Error)]
pub enum ProviderSettingError {
    /// A setting is missing.
    #[error(transparent)]
    Missing(#[from] MissingSetting),
    /// The URL is invalid.
    #[error(transparent)]
    Client(#[from] SettingsError),
    /// It is not a number of seconds.
    #[error("TOMBSTONES_WITHIN_S must be a whole number of seconds")]
    Seconds(#[from] ParseIntError),
}

/// A setting is missing from the environment.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
#[error("the environment variable {0} is missing or empty")]
pub struct MissingSetting(&'static str);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_missing_setting_is_named() {
        assert_eq!(setting("PAYMENTS_NO_SUCH_SETTING"), Err(MissingSetting("PAYMENTS_NO_SUCH_SETTING")));
        assert!(setting("PATH").is_ok());
    }
}
