//! Values for tests.

use idempotency::protocol::{PrincipalDigest, TransactionId};
use sha2::{Digest, Sha256};

/// The digest of this principal.
pub(crate) fn principal(name: &str) -> PrincipalDigest {
    PrincipalDigest(Sha256::digest(name).into())
}

/// The transaction id with this number.
pub(crate) const fn transaction(number: u128) -> TransactionId {
    TransactionId::from_bytes(number.to_be_bytes())
}
