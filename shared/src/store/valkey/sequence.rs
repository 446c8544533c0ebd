//! Sequence numbers on Valkey: the gate of [`crate::sequence`], with its mark and its entries as keys.

use std::num::NonZeroU64;

use super::Effect;
use crate::engine::{Attempt, EffectRefusal};
use crate::protocol::Fingerprint;
use crate::sequence::{Gap, refusal_of_entry, refusal_of_mark};

/// Lets the messages of each stream run in the order of their numbers.
///
/// ```
/// use std::num::NonZeroU64;
/// use idempotency::protocol::Fingerprinter;
/// use idempotency::store::valkey::{Effect, sequence::SequenceGate};
/// use idempotency::{Attempt, Verdict, sequence::Gap};
///
/// fn sale(gate: &SequenceGate, attempt: &Attempt<Effect>, terminal: &str, number: NonZeroU64, amount: u64) -> Verdict<()> {
///     let content = Fingerprinter::new().bytes(&amount.to_be_bytes()).finish();
///     let mark = format!("{{payments}}terminal:{terminal}");
///     gate.pass(attempt, mark.as_str(), number, format!("{mark}:{number}"), content);
///     // attempt.add_effect(…)
///     Verdict::Success(())
/// }
/// # let _ = (SequenceGate::new(Gap::Hold), sale);
/// ```
#[derive(Clone, Copy, Debug)]
pub struct SequenceGate {
    gap: Gap,
}

impl SequenceGate {
    /// Creates a gate that handles gaps in this way.
    #[must_use]
    pub const fn new(gap: Gap) -> Self {
        Self { gap }
    }

    /// Adds two effects to an attempt, which store the entry of this number and move its stream's mark to it if the
    /// number may run. Call it before you add other effects: if several are refused, the first one decides.
    ///
    /// `mark` and `entry` are keys with the tag of the record. The entry holds `content`, the digest by which two
    /// messages with this number are compared; set a TTL on the entry if the number may be used again afterwards. Do
    /// not use this under a claim: there, a refused effect leaves the outcome unknown.
    pub fn pass(
        &self,
        attempt: &Attempt<Effect>,
        mark: impl Into<String>,
        number: NonZeroU64,
        entry: impl Into<String>,
        content: Fingerprint,
    ) {
        let gap = self.gap;
        // The entry comes before the mark: if the number was used, the entry shows for which content.
        let insert = Effect::insert(entry, content.as_bytes());
        attempt.add_guarded_effect(insert, move |found| match found {
            Some(stored) => refusal_of_entry(stored, content),
            None => EffectRefusal::Unexpected,
        });
        attempt.add_guarded_effect(self.advance(mark.into(), number), move |found| {
            let mark = found.map(|found| std::str::from_utf8(found).ok().and_then(|digits| digits.parse().ok()));
            match mark {
                None => refusal_of_mark(None, number, gap),
                Some(Some(mark)) => refusal_of_mark(Some(mark), number, gap),
                Some(None) => EffectRefusal::Unexpected,
            }
        });
    }

    fn advance(&self, mark: String, number: NonZeroU64) -> Effect {
        match (self.gap, number.get() - 1) {
            (Gap::Hold, 0) => Effect::insert(mark, "1"),
            (Gap::Hold, previous) => Effect::replace(mark, previous.to_string(), number.to_string()),
            (Gap::Accept, _) => Effect::raise(mark, number.get()),
        }
    }
}
