//! Names: the client's key, the principal, and the id of the record that follows from both.

use std::fmt;
use std::sync::{Arc, OnceLock};

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use derive_where::derive_where;
use sha2::{Digest, Sha256};

/// An idempotency key: the name that a client or producer chose for one operation.
///
/// A key is any text of any length, because a record stores only its hash; except the empty text and the [placeholders
/// that programs write for a missing value](InvalidKey::NoValue). Keys are compared byte by byte: `abc` and `ABC` are
/// two keys. The [HTTP layer](crate::http) checks what a header can carry.
///
/// `Debug` shows only a digest, so that a key does not reach a log by accident.
#[derive(Clone, PartialEq, Eq, Hash)]
pub struct Key(String);

impl Key {
    /// Validates a key.
    ///
    /// # Errors
    /// [`InvalidKey`], which names the rule that the text breaks.
    pub fn new(text: impl Into<String>) -> Result<Self, InvalidKey> {
        let text = text.into();
        if text.is_empty() {
            return Err(InvalidKey::Empty);
        }
        check_value(&text)?;
        Ok(Self(text))
    }

    /// The key in clear text. Do not put it into logs, metrics or answers.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for Key {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "Key(sha256:{})", short_digest(self.0.as_bytes()))
    }
}

/// The reason that a text is not an idempotency key.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum InvalidKey {
    /// The text is empty.
    #[error("the key is empty; send a text that is unique to the operation, for example a UUID")]
    Empty,
    /// The text is a program's placeholder for a missing value, such as `undefined`. All operations of such a program
    /// would have the same key: the first would run, and all others would get its answer or be refused.
    #[error(
        "the key is {0}, a placeholder for a missing value, so all operations would share it; send a text that is unique \
         to the operation, for example a UUID"
    )]
    NoValue(&'static str),
}

/// The texts that languages and their libraries write for a missing value. Only exact matches count: `Nullarbor` is a
/// valid key.
const NO_VALUES: [&str; 17] = [
    "undefined",                            // JavaScript
    "null",                                 // JavaScript, Java, JSON
    "NaN",                                  // JavaScript, Java, Rust
    "[object Object]",                      // JavaScript: an object where its text was meant
    "[object Promise]",                     // JavaScript: without await
    "None",                                 // Python, Rust
    "nan",                                  // Python, C
    "<NA>",                                 // pandas
    "nil",                                  // Ruby, Swift, Lua
    "<nil>",                                // Go
    "NULL",                                 // SQL, C, R
    "(null)",                               // C, Objective-C
    "<null>",                               // Objective-C
    "Optional.empty",                       // Java
    "00000000-0000-0000-0000-000000000000", // the nil UUID (RFC 9562): .NET's `default(Guid)`
    "\"\"",                                 // a text that is empty and was put between quotes
    "''",
];

/// Refuses a text that stands for a missing value.
pub(crate) fn check_value(text: &str) -> Result<(), InvalidKey> {
    match NO_VALUES.into_iter().find(|no_value| *no_value == text) {
        Some(no_value) => Err(InvalidKey::NoValue(no_value)),
        None => Ok(()),
    }
}

/// The caller's identity: the subject of a token, an IAM ARN, an account.
///
/// It is part of every lookup, so that no principal can read, block or probe another's record (guarantee G7). There is
/// no default and no "anonymous" principal.
///
/// `Debug` shows only a digest.
///
/// A cheap handle: clones share the digest, which is computed once.
#[derive(Clone, PartialEq, Eq, Hash)]
pub struct Principal(Arc<Named>);

#[derive_where(PartialEq, Eq, Hash)]
struct Named {
    text: Box<str>,
    #[derive_where(skip)]
    digest: OnceLock<PrincipalDigest>,
}

impl Principal {
    /// The maximum length of a principal in bytes: that of the longest IAM ARN.
    pub const MAX_BYTES: usize = 2048;

    /// Validates a principal.
    ///
    /// # Errors
    /// [`InvalidPrincipal`] if the text is empty or longer than [`Principal::MAX_BYTES`].
    pub fn new(text: impl Into<String>) -> Result<Self, InvalidPrincipal> {
        let text = text.into();
        if text.is_empty() || text.len() > Self::MAX_BYTES {
            return Err(InvalidPrincipal);
        }
        Ok(Self(Arc::new(Named { text: text.into(), digest: OnceLock::new() })))
    }

    /// The principal in clear text. Do not put it into logs, metrics or answers.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0.text
    }

    /// The digest that a record stores.
    #[must_use]
    pub fn digest(&self) -> PrincipalDigest {
        *self.0.digest.get_or_init(|| PrincipalDigest(Sha256::digest(self.as_str()).into()))
    }
}

/// The SHA-256 of a principal: enough to distinguish principals, and to find the records of a known one.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct PrincipalDigest(pub [u8; 32]);

/// Writes the digest in hexadecimal.
impl fmt::Display for PrincipalDigest {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|byte| write!(formatter, "{byte:02x}"))
    }
}

impl fmt::Debug for PrincipalDigest {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "PrincipalDigest({self})")
    }
}

impl fmt::Debug for Principal {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "Principal(sha256:{})", short_digest(self.as_str().as_bytes()))
    }
}

/// The text does not identify a principal: it is empty, or longer than [`Principal::MAX_BYTES`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("a principal has 1 to {max} bytes", max = Principal::MAX_BYTES)]
pub struct InvalidPrincipal;

/// The primary key of a record: `idempotency:` and the base64url SHA-256 of namespace, principal and key.
///
/// It has a fixed size, spreads evenly over partitions, and contains neither key nor principal in clear text. Each part
/// is hashed after its length, so that no two different triples have the same input.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct RecordId(Arc<str>);

impl RecordId {
    /// The prefix of the ids of all operations' records.
    pub const PREFIX: &str = "idempotency:";

    /// Computes the id of the record for `key` of `principal` in `namespace`.
    #[must_use]
    pub fn new(namespace: &str, principal: &Principal, key: &Key) -> Self {
        let mut hash = Sha256::new();
        for part in [namespace, principal.as_str(), key.as_str()] {
            hash.update((part.len() as u64).to_be_bytes());
            hash.update(part.as_bytes());
        }
        Self::of_hash(hash)
    }

    /// The id of a lock's record. It has its own prefix, so that a scan for abandoned operations does not find it.
    #[must_use]
    pub fn of_lock(name: &str) -> Self {
        Self(format!("lock:{name}").into())
    }

    /// A variant of this id, which no other call has if the bytes are random.
    pub(crate) fn only_once(&self, random: [u8; 16]) -> Self {
        Self::of_hash(Sha256::new().chain_update(self.as_str()).chain_update(random))
    }

    fn of_hash(hash: Sha256) -> Self {
        let mut id = String::with_capacity(Self::PREFIX.len() + 43);
        id.push_str(Self::PREFIX);
        URL_SAFE_NO_PAD.encode_string(hash.finalize(), &mut id);
        Self(id.into())
    }

    /// Creates an id from its stored text. Only stores need this.
    #[must_use]
    pub fn from_stored(text: String) -> Self {
        Self(text.into())
    }

    /// The whole id, as it is stored.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The id without its prefix: the 43 characters that identify the record in logs and in a console. People look up
    /// the record by it; it does not reveal key or principal.
    #[must_use]
    pub fn name(&self) -> &str {
        self.0.strip_prefix(Self::PREFIX).unwrap_or(&self.0)
    }

    /// Twelve characters of the hash: enough to distinguish the records of an application.
    #[must_use]
    pub fn digest(&self) -> &str {
        self.name().get(..12).unwrap_or(self.name())
    }
}

fn short_digest(bytes: &[u8]) -> String {
    let mut text = URL_SAFE_NO_PAD.encode(Sha256::digest(bytes));
    text.truncate(12);
    text
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn id(namespace: &str, principal: &str, key: &str) -> RecordId {
        RecordId::new(namespace, &Principal::new(principal).unwrap(), &Key::new(key).unwrap())
    }

    #[test]
    fn a_key_is_any_text_but_the_empty_one_and_what_stands_for_no_value() {
        for text in ["k", " ~", "a\tb", "ä", "注文", "a\0", "Undefined", "null1", "0", &"k".repeat(100_000)] {
            assert_eq!(Key::new(text).map(|key| key.0).as_deref(), Ok(text));
        }
        assert_eq!(Key::new(""), Err(InvalidKey::Empty));
        for text in ["undefined", "null", "None", "NaN", "[object Object]", "nil", "\"\"", "NULL", "(null)"] {
            assert_eq!(Key::new(text), Err(InvalidKey::NoValue(text)));
        }
    }

    #[test]
    fn the_published_form_of_an_id_is_that_of_the_code() {
        let page = include_str!("../../../docs/reference/records.md");
        let example = "print(record_id(\"payments\", \"ann\", \"order-17\"))\n```\n```text\n";
        let printed = page.split(example).nth(1).expect("an example").lines().next();
        assert_eq!(printed, Some(id("payments", "ann", "order-17").as_str()));
    }

    #[test]
    fn neither_key_nor_principal_shows_in_debug_or_in_the_id() {
        let shown = format!(
            "{:?} {:?} {}",
            Key::new("secret-key").unwrap(),
            Principal::new("alice").unwrap(),
            id("n", "alice", "secret-key").as_str(),
        );
        assert!(!shown.contains("secret-key") && !shown.contains("alice"), "{shown}");
    }

    #[test]
    fn moving_a_character_between_the_parts_makes_another_id() {
        assert_ne!(id("ab", "c", "d"), id("a", "bc", "d"));
        assert_ne!(id("a", "bc", "d"), id("a", "b", "cd"));
    }

    #[test]
    fn the_id_is_stable_across_releases() {
        // Records outlive deployments: if this value changed, no record of a key in use would be found.
        assert_eq!(id("payments", "alice", "k-1").as_str(), "idempotency:U6AiWsvy5-YSFD7t7C6hIoT8K0-G2LUZ_fegZk8y-DM");
        assert_eq!(
            id("ledger", "payments", &format!("Müller {}", "x".repeat(300))).as_str(),
            "idempotency:PW9Djax3ajmBIWtFPr9M9udJP9JLwxsRR8qKUk7gBQA"
        );
    }

    proptest! {
        #[test]
        fn different_triples_have_different_ids(
            a in ("[a-c]{0,3}", "[a-c]{1,3}", "[a-c]{1,3}"),
            b in ("[a-c]{0,3}", "[a-c]{1,3}", "[a-c]{1,3}"),
        ) {
            prop_assert_eq!(a == b, id(&a.0, &a.1, &a.2) == id(&b.0, &b.1, &b.2));
        }
    }
}
