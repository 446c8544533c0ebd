use std::{env, num::ParseIntError, time::Duration};

use crate::{Provider, SettingsError};

/// Reads a setting that the template gives a function in its environment.
///
/// # Errors
///
/// When it is missing or empty: the function is not deployed as the template says.
pub fn setting(name: &'static str) -> Result<String, MissingSetting> {
    env::var(name).ok().filter(|value| !value.is_empty()).ok_or(MissingSetting(name))
}

/// The payment provider's client, as the environment of a function says: its address, our key, and for how long a
/// tombstone is evidence.
///
/// # Errors
///
/// When a setting is missing or makes no sense.
pub fn provider() -> Result<Provider, ProviderSettingError> {
    let provider = Provider::new(&setting("PROVIDER_URL")?, &setting("PROVIDER_API_KEY")?, CONNECT_TIMEOUT)?;
    Ok(provider.tombstones_within(Duration::from_secs(setting("TOMBSTONES_WITHIN_S")?.parse()?)))
}

const CONNECT_TIMEOUT: Duration = Duration::from_secs(2);

/// Why there is no client of the provider.
#[derive(Debug, thiserror::Error)]
pub enum ProviderSettingError {
    /// The template gave no such setting.
    #[error(transparent)]
    Missing(#[from] MissingSetting),
    /// A client cannot work with it.
    #[error(transparent)]
    Client(#[from] SettingsError),
    /// It is no number of seconds.
    #[error("TOMBSTONES_WITHIN_S must be a whole number of seconds")]
    Seconds(#[from] ParseIntError),
}

/// A setting that the environment does not have.
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
