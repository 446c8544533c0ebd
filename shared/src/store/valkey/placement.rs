//! The placement of keys in the slots of a cluster.

use crate::protocol::RecordId;

/// The placement of a store's records in a cluster. A script can write only the keys of one slot, so every key begins
/// with a tag in braces, by which the cluster chooses the slot.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Placement(Vec<String>);

/// The tag or the number of tags is not valid.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("a tag is 1 to 64 letters, digits, `-`, `_` or `.`, and there are 1 to 256 of them")]
pub struct InvalidPlacement;

impl Placement {
    /// Puts everything under one tag: records, watermarks, and the application's effects. One shard does all the work,
    /// about 25,000 claims per second.
    ///
    /// # Errors
    /// [`InvalidPlacement`].
    pub fn together(tag: &str) -> Result<Self, InvalidPlacement> {
        Self::of(vec![tag.to_owned()])
    }

    /// Spreads records over the tags `TAG-0`, `TAG-1`, … by their ids, to use several shards.
    ///
    /// An effect can then be written only with records of its own tag, which
    /// [`ValkeyStore::tag`](super::ValkeyStore::tag) returns. Never change the number of tags: it determines where a
    /// record is.
    ///
    /// # Errors
    /// [`InvalidPlacement`].
    pub fn spread(tag: &str, tags: u8) -> Result<Self, InvalidPlacement> {
        Self::of((0..tags).map(|number| format!("{tag}-{number}")).collect())
    }

    fn of(tags: Vec<String>) -> Result<Self, InvalidPlacement> {
        let good = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_' | b'.');
        let valid = |tag: &String| (1..=64).contains(&tag.len()) && tag.bytes().all(good);
        (!tags.is_empty() && tags.iter().all(valid)).then_some(Self(tags)).ok_or(InvalidPlacement)
    }

    pub(super) fn tags(&self) -> &[String] {
        &self.0
    }

    pub(super) fn number_of(&self, id: &RecordId) -> usize {
        self.number(id.as_str())
    }

    /// The number of an id's tag, which is the same on every machine and in every version.
    pub(super) fn number(&self, id: &str) -> usize {
        let hash = id.bytes().fold(0_u32, |hash, byte| hash.wrapping_mul(31).wrapping_add(byte.into()));
        hash as usize % self.0.len()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_tag_cannot_end_early_and_move_its_keys_to_another_slot() {
        for tag in ["", "a}b", "a{b", "a b"] {
            assert_eq!(Placement::together(tag), Err(InvalidPlacement), "{tag}");
        }
        assert_eq!(Placement::spread("a", 0), Err(InvalidPlacement));
    }

    /// Records outlive deployments: with another placement none would be found.
    #[test]
    fn a_record_stays_at_its_place() {
        let placement = Placement::spread("payments", 7).unwrap();
        let number = |id: &str| placement.number_of(&RecordId::from_stored(id.to_owned()));
        assert_eq!(number("idempotency:U6AiWsvy5-YSFD7t7C6hIoT8K0-G2LUZ_fegZk8y-DM"), 5);
        assert!(
            (0..100).map(|n| number(&format!("idempotency:{n}"))).collect::<std::collections::BTreeSet<_>>().len() == 7
        );
    }
}
