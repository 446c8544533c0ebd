//! The keys that Powertools computes.

use std::fmt;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use md5::Md5;
use serde::Serialize;
use sha2::{Digest, Sha256, Sha512};

use super::json::{self, Ambiguous, Language};
#[cfg(feature = "jmespath")]
use crate::protocol::Expression;
use crate::protocol::{Document, InvalidJson};

/// The hash function of the old keys: `hash_function` in the old configuration.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum Hash {
    /// The default of Powertools.
    #[default]
    Md5,
    /// SHA-256.
    Sha256,
    /// SHA-512.
    Sha512,
}

/// The form in which an old function writes keys.
#[derive(Clone, Copy, Debug)]
pub(super) struct Style {
    pub(super) language: Language,
    pub(super) hash: Hash,
}

/// The key of one call in the old function's table, made by [`Predecessor::key`](super::Predecessor::key).
///
/// `Debug` does not show the hash, because the hash of a short value can be guessed.
#[derive(Clone)]
pub struct OldKey {
    /// The id of the item: the prefix, `#` and a hash.
    pub(super) id: String,
    /// The hash of the payload that the old function validated.
    pub(super) validation: Option<String>,
    pub(super) style: Style,
}

/// The reason that a call has no old key.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum NoOldKey {
    /// Nothing is selected, so the old function ran such calls unprotected, or refused them.
    #[error("nothing is selected for the old key")]
    NothingSelected,
    /// The selection cannot be written as JSON.
    #[error("the selection for the old key cannot be written as JSON: {0}")]
    NotJson(#[source] serde_json::Error),
    /// The selection is not a JSON document.
    #[error(transparent)]
    Invalid(#[from] InvalidJson),
    /// Two members of an object have names that differ only in case. Powertools for TypeScript keeps them in their
    /// original order, which is not known here.
    #[error("two members of the selection for the old key have names that differ only in case")]
    Ambiguous,
}

impl From<Ambiguous> for NoOldKey {
    fn from(_: Ambiguous) -> Self {
        Self::Ambiguous
    }
}

impl OldKey {
    pub(super) fn of_json(prefix: &str, style: Style, selected: &[u8]) -> Result<Self, NoOldKey> {
        let document = Document::parse(selected)?;
        if style.selects_nothing(&document) {
            return Err(NoOldKey::NothingSelected);
        }
        Ok(Self { id: format!("{prefix}#{}", style.digest(&document)?), validation: None, style })
    }

    #[cfg(feature = "jmespath")]
    pub(super) fn selected(prefix: &str, style: Style, by: &Expression, event: &Document) -> Result<Self, NoOldKey> {
        Self::of_json(prefix, style, &by.value(event).ok_or(NoOldKey::NothingSelected)?)
    }

    /// Also compares the payload that the old function validated (`payload_validation_jmespath`): an old record with
    /// another payload is a mismatch, which is neither replayed nor run. `selected` is the part of the event that the
    /// expression selects.
    ///
    /// # Errors
    /// [`NoOldKey`] if the selection cannot be hashed.
    pub fn validated(mut self, selected: &impl Serialize) -> Result<Self, NoOldKey> {
        let json = serde_json::to_vec(selected).map_err(NoOldKey::NotJson)?;
        self.validation = Some(self.style.digest(&Document::parse(&json)?)?);
        Ok(self)
    }

    /// The id of the item, for example to look it up by hand.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.id
    }
}

impl fmt::Debug for OldKey {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let prefix = self.id.rsplit_once('#').map_or("", |(prefix, _)| prefix);
        formatter.debug_struct("OldKey").field("prefix", &prefix).finish_non_exhaustive()
    }
}

impl Style {
    /// Whether the old function would have found no key in the selection.
    fn selects_nothing(self, selected: &Document) -> bool {
        match self.language {
            Language::Python => selected.root().is_nothing_in_python(),
            Language::TypeScript => selected.root().is_null(),
        }
    }

    fn digest(self, document: &Document) -> Result<String, Ambiguous> {
        let text = json::text(document.root(), self.language)?;
        let digest = match self.hash {
            Hash::Md5 => Md5::digest(text).to_vec(),
            Hash::Sha256 => Sha256::digest(text).to_vec(),
            Hash::Sha512 => Sha512::digest(text).to_vec(),
        };
        Ok(match self.language {
            Language::Python => digest.iter().map(|byte| format!("{byte:02x}")).collect(),
            Language::TypeScript => STANDARD.encode(digest),
        })
    }
}
