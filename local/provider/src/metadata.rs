//! What callers write beside an object (Stripe, "Metadata": 50 keys of 40 characters without square brackets, values of
//! 500 characters).

use std::collections::BTreeMap;

use crate::{error::ApiError, form::Form};

const KEYS: usize = 50;
const KEY: usize = 40;
const VALUE: usize = 500;

/// The metadata of a new object. A value that is empty unsets its key.
pub(crate) fn of(form: &Form) -> Result<BTreeMap<String, String>, ApiError> {
    let metadata: BTreeMap<String, String> =
        form.map("metadata").into_iter().filter(|(_, value)| !value.is_empty()).collect();
    if metadata.len() > KEYS {
        return refuse(format!("Metadata can have up to {KEYS} keys, but you've set {}.", metadata.len()));
    }
    for (key, value) in &metadata {
        let (key_length, value_length) = (key.chars().count(), value.chars().count());
        if key.contains(['[', ']']) {
            return refuse(format!("Metadata keys can't contain square brackets, but you passed in `{key}`."));
        }
        if key_length > KEY {
            return refuse(format!(
                "Metadata keys can have up to {KEY} characters, but you passed in a key that is {key_length} characters. \
                 Invalid value: {key}"
            ));
        }
        if value_length > VALUE {
            return refuse(format!(
                "Metadata values can have up to {VALUE} characters, but you passed in a value that is {value_length} \
                 characters. Invalid value: {value}"
            ));
        }
    }
    Ok(metadata)
}

fn refuse<T>(message: String) -> Result<T, ApiError> {
    Err(ApiError::invalid(&message).with_parameter("metadata"))
}
