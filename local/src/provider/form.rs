//! Form-encoded parameters, with Stripe's brackets for maps and lists: `metadata[transaction]=…`, `types[]=card`.

use std::{collections::BTreeMap, fmt};

use percent_encoding::percent_decode;

use super::error::ApiError;

#[derive(Debug, Default)]
pub(super) struct Form(BTreeMap<String, String>);

impl Form {
    pub(super) fn parse(body: &[u8]) -> Result<Self, ApiError> {
        let mut form = BTreeMap::new();
        for pair in body.split(|byte| *byte == b'&').filter(|pair| !pair.is_empty()) {
            let mut halves = pair.splitn(2, |byte| *byte == b'=');
            let (name, value) =
                (decode(halves.next().unwrap_or_default())?, decode(halves.next().unwrap_or_default())?);
            form.insert(name, value);
        }
        Ok(Self(form))
    }

    pub(super) fn get(&self, name: &str) -> Option<&str> {
        self.0.get(name).map(String::as_str)
    }

    pub(super) fn integer(&self, name: &str) -> Result<Option<u64>, ApiError> {
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
    pub(super) fn map(&self, name: &str) -> BTreeMap<String, String> {
        let member = |key: &str| Some(key.strip_prefix(name)?.strip_prefix('[')?.strip_suffix(']')?.to_owned());
        self.0.iter().filter_map(|(key, value)| Some((member(key)?, value.clone()))).collect()
    }

    /// Stripe refuses a parameter that it does not know.
    pub(super) fn only(&self, known: &[&str]) -> Result<(), ApiError> {
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

fn decode(text: &[u8]) -> Result<String, ApiError> {
    let spaces: Vec<u8> = text.iter().map(|byte| if *byte == b'+' { b' ' } else { *byte }).collect();
    percent_decode(&spaces)
        .decode_utf8()
        .map(|text| text.into_owned())
        .map_err(|_| ApiError::invalid("Invalid UTF-8 in the parameters."))
}
