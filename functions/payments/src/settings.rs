use std::env;

/// Reads a setting that the template gives a function in its environment.
///
/// # Errors
///
/// When it is missing or empty: the function is not deployed as the template says.
pub fn setting(name: &'static str) -> Result<String, MissingSetting> {
    env::var(name).ok().filter(|value| !value.is_empty()).ok_or(MissingSetting(name))
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
