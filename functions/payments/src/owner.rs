use idempotency::protocol::PrincipalDigest;
use sha2::{Digest, Sha256};

/// Who made a payment: the SHA-256 of the principal, in hexadecimal. Enough to tell the creator from anyone else, and
/// nothing to read a person's name from in the table.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Owner(String);

impl Owner {
    /// The owner that a principal (a token's subject, a role's ARN) stands for.
    pub fn of(principal: &str) -> Self {
        Self(Sha256::digest(principal).iter().map(|byte| format!("{byte:02x}")).collect())
    }

    pub(crate) fn from_digest(digest: &str) -> Option<Self> {
        let valid = digest.len() == 64 && digest.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'));
        valid.then(|| Self(digest.to_owned()))
    }

    pub(crate) fn digest(&self) -> &str {
        &self.0
    }
}

/// Whose record it is, is whose payment it is.
impl From<PrincipalDigest> for Owner {
    fn from(digest: PrincipalDigest) -> Self {
        Self(digest.to_string())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_owner_is_the_digest_of_the_principal() {
        let owner = Owner::of("abc");
        assert_eq!(owner.digest(), "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad");
        assert_ne!(owner, Owner::of("abd"));
        assert_eq!(Owner::from_digest(owner.digest()), Some(owner));
        assert_eq!(Owner::from_digest("abc"), None);
        let principal = idempotency::protocol::Principal::new("abd").unwrap();
        assert_eq!(Owner::from(principal.digest()), Owner::of("abd"));
    }
}
