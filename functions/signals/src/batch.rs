//! Counting each delivery once.

use std::collections::BTreeSet;

use sha2::{Digest, Sha256};

use crate::Counts;

/// The name of a delivery of log events. A delivery that is repeated, whole, has the same name.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct BatchId(pub [u8; 6]);

impl BatchId {
    /// The name of the delivery that has these events of this log stream. The ids are CloudWatch's, in order.
    #[must_use]
    pub fn of<'i>(log_stream: &str, event_ids: impl IntoIterator<Item = &'i str>) -> Self {
        let mut hash = Sha256::new();
        let mut part = |text: &str| {
            hash.update((text.len() as u64).to_be_bytes());
            hash.update(text);
        };
        part(log_stream);
        event_ids.into_iter().for_each(part);
        let digest = hash.finalize();
        let mut id = [0; 6];
        id.copy_from_slice(&digest[..6]);
        Self(id)
    }
}

/// The counts of an entity and window, with the names of the counted deliveries, as a window's item stores them. A
/// store's write does the same as [`CountedWindow::count`], on the condition that the delivery's name is not among
/// those seen.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct CountedWindow {
    /// The counts of all deliveries seen.
    pub counts: Counts,
    /// Their names.
    pub seen: BTreeSet<BatchId>,
}

impl CountedWindow {
    /// Counts a delivery, unless it was counted before. Returns whether it was new. The order of deliveries does not
    /// matter.
    pub fn count(&mut self, batch: BatchId, counts: &Counts) -> bool {
        let new = self.seen.insert(batch);
        if new {
            self.counts.merge(counts);
        }
        new
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Answer, Facts};
    use proptest::prelude::*;

    fn declined(instrument: u8) -> Counts {
        let mut counts = Counts::default();
        counts.add(&Facts {
            answer: Answer::Declined,
            ran: true,
            slow: false,
            refund: false,
            hard: instrument.is_multiple_of(2),
            small: instrument.is_multiple_of(3),
            instrument: Some(&[instrument]),
            caller: None,
            record: None,
        });
        counts
    }

    proptest! {
        #[test]
        fn repeated_and_reordered_deliveries_count_as_one(
            batches in proptest::collection::vec(proptest::collection::vec(0..20_u8, 1..5), 1..8),
            deliveries in proptest::collection::vec(0..8_usize, 0..40),
        ) {
            let contents = |batch: usize| batches[batch].iter().fold(Counts::default(), |mut sum, instrument| {
                sum.merge(&declined(*instrument));
                sum
            });
            let deliver = |window: &mut CountedWindow, batch: usize| {
                window.count(BatchId::of("stream", [batch.to_string().as_str()]), &contents(batch))
            };
            let mut once = CountedWindow::default();
            for batch in 0..batches.len() {
                prop_assert!(deliver(&mut once, batch));
            }
            let mut often = CountedWindow::default();
            for batch in deliveries.into_iter().filter(|batch| *batch < batches.len()).chain((0..batches.len()).rev()) {
                deliver(&mut often, batch);
            }
            prop_assert_eq!(often, once);
        }
    }

    #[test]
    fn the_name_of_a_delivery_is_pinned_and_tells_streams_events_and_their_borders_apart() {
        assert_eq!(BatchId::of("stream", ["1", "2"]).0, [33, 207, 216, 199, 133, 115]);
        assert_ne!(BatchId::of("stream", ["1", "2"]), BatchId::of("stream", ["12"]));
        assert_ne!(BatchId::of("stream", ["1", "2"]), BatchId::of("stream", ["2", "1"]));
        assert_ne!(BatchId::of("stream", ["1"]), BatchId::of("stream1", [""]));
    }
}
