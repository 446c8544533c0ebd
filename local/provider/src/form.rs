//! Form-encoded parameters, with Stripe's brackets for maps and lists: `metadata[transaction]=…`, `types[]=card`.

use std::{collections::BTreeMap, fmt};

use crate::error::ApiError;

#[derive(Debug, Clone, Default)]
pub struct Form(BTreeMap<String, String>);

impl Form {
    /// Reads `application/x-www-form-urlencoded` text.
    pub fn parse(text: &[u8]) -> Self {
        Self(form_urlencoded::parse(text).into_owned().collect())
    }

    /// A form of these parameters.
    pub fn new<N: Into<String>, V: Into<String>>(parameters: impl IntoIterator<Item = (N, V)>) -> Self {
        Self(parameters.into_iter().map(|(name, value)| (name.into(), value.into())).collect())
    }

    /// A parameter.
    pub fn get(&self, name: &str) -> Option<&str> {
        self.0.get(name).map(String::as_str)
    }

    pub(crate) fn integer(&self, name: &str) -> Result<Option<u64>, ApiError> {
        self.get(name)
            .map(|text| {
                text.parse().map_err(|_| {
                    ApiError::invalid(&format!("Invalid integer: {text}"))
                        .with_code("parameter_invalid_integer")
                        .with_parameter(name)
                })
            })
            .transpose()
    }

    /// The members of `name[…]`.
    pub(crate) fn map(&self, name: &str) -> BTreeMap<String, String> {
        let member = |key: &str| Some(key.strip_prefix(name)?.strip_prefix('[')?.strip_suffix(']')?.to_owned());
        self.0.iter().filter_map(|(key, value)| Some((member(key)?, value.clone()))).collect()
    }

    /// Stripe refuses a parameter that it does not know.
    pub fn only(&self, known: &[&str]) -> Result<(), ApiError> {
        let base = |name: &str| name.split('[').next().unwrap_or_default().to_owned();
        match self.0.keys().map(|name| base(name)).find(|name| !known.contains(&name.as_str())) {
            Some(unknown) => Err(ApiError::unknown_parameter(&unknown)),
            None => Ok(()),
        }
    }
}

/// Sorted, so that the order of parameters does not matter to an idempotency key.
impl fmt::Display for Form {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|(name, value)| writeln!(formatter, "{name:?}={value:?}"))
    }
}
