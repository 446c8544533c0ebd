//! The conformance suite for stores that keep watermarks: run [`all`] against yours.

use std::sync::Arc;
use std::time::Duration;

use super::{NOW, fresh_name};
use crate::protocol::watermark::{RecordDigest, Watermark};
use crate::protocol::{EpochMs, Position};
use crate::store::watermarks::{Advanced, Watermarks};
use crate::store::{ItemOf, StoreError};

/// Runs the whole suite against a store.
///
/// `effect` creates an effect with its own condition: a second effect of the same name must be refused. The suite uses
/// fresh random names, so it may run many times against one store.
///
/// # Panics
/// If the store does not conform.
pub async fn all<S: Watermarks>(store: S, effect: impl Fn(String) -> S::Effect) {
    let store = Arc::new(store);
    a_watermark_is_read_back_as_it_was_written(&*store).await;
    a_watermark_moves_only_to_the_version_after_the_stored_one(&*store).await;
    watermark_and_effects_are_written_together_or_not_at_all(&*store, &effect).await;
    two_effects_on_one_item_are_rejected(&*store, &effect).await;
    of_64_moves_at_once_one_takes_effect(&store, &effect).await;
}

async fn a_watermark_is_read_back_as_it_was_written<S: Watermarks>(store: &S) {
    let id = fresh_name();
    assert_eq!(store.watermark(&id).await.expect("readable"), None);
    let first = Watermark { newest_ms: -1, ..Watermark::after(None, &run(0..1), *NOW) };
    let long = Watermark { newest_ms: i64::MAX, ..Watermark::after(Some(&first), &long_run(), *NOW) };
    let rewound = Watermark::rewound(Some(&long), None, EpochMs(u64::MAX));
    let begun_anew = Watermark { newest_ms: i64::MIN, ..Watermark::after(Some(&rewound), &run(0..9), *NOW) };
    for next in [first, long, rewound, begun_anew] {
        assert!(matches!(advance(store, &id, &next, Vec::new()).await, Advanced::Applied), "{next:?}");
        assert_eq!(store.watermark(&id).await.expect("readable"), Some(next));
    }
}

async fn a_watermark_moves_only_to_the_version_after_the_stored_one<S: Watermarks>(store: &S) {
    let id = fresh_name();
    let [first, second, third] = versions();
    for early in [&second, &third] {
        assert!(matches!(advance(store, &id, early, Vec::new()).await, Advanced::Refused(None)));
    }
    assert!(matches!(advance(store, &id, &first, Vec::new()).await, Advanced::Applied));
    // This includes the retry of our own write, which finds the stored watermark.
    for other in [&first, &third] {
        let refused = advance(store, &id, other, Vec::new()).await;
        assert!(matches!(&refused, Advanced::Refused(Some(found)) if *found == first), "{refused:?}");
    }
    assert!(matches!(advance(store, &id, &second, Vec::new()).await, Advanced::Applied));
    assert_eq!(store.watermark(&id).await.expect("readable"), Some(second));
}

async fn watermark_and_effects_are_written_together_or_not_at_all<S: Watermarks>(
    store: &S,
    effect: &impl Fn(String) -> S::Effect,
) {
    let id = fresh_name();
    let [first, second, _] = versions();
    let [used, fresh, late] = [fresh_name(), fresh_name(), fresh_name()];
    let moved = advance(store, &id, &first, vec![effect(used.clone())]).await;
    assert!(matches!(moved, Advanced::Applied), "{moved:?}");

    let refused = advance(store, &id, &second, vec![effect(fresh.clone()), effect(used)]).await;
    assert!(matches!(&refused, Advanced::EffectRefused(refused) if refused.index == 1), "{refused:?}");
    assert_eq!(store.watermark(&id).await.expect("readable"), Some(first.clone()), "as it was");

    let outdated = advance(store, &id, &first, vec![effect(late.clone())]).await;
    assert!(matches!(outdated, Advanced::Refused(Some(_))), "{outdated:?}");

    // Neither refused run applied one of its effects.
    let moved = advance(store, &id, &second, vec![effect(fresh), effect(late)]).await;
    assert!(matches!(moved, Advanced::Applied), "{moved:?}");
}

async fn two_effects_on_one_item_are_rejected<S: Watermarks>(store: &S, effect: &impl Fn(String) -> S::Effect) {
    let (id, name) = (fresh_name(), fresh_name());
    let [first, ..] = versions();
    assert!(S::collide(&effect(name.clone()), &effect(name.clone())));
    assert!(!S::collide(&effect(name.clone()), &effect(fresh_name())));
    let effects = vec![effect(name.clone()), effect(name)];
    let rejected = store.advance(&id, &first, effects, Duration::from_secs(10)).await;
    assert!(matches!(rejected, Err(StoreError::Rejected(_))), "{rejected:?}");
    assert_eq!(store.watermark(&id).await.expect("readable"), None);
}

async fn of_64_moves_at_once_one_takes_effect<S: Watermarks>(store: &Arc<S>, effect: &impl Fn(String) -> S::Effect) {
    let id = fresh_name();
    let mut tasks = tokio::task::JoinSet::new();
    for number in 0..64 {
        let (store, id, effect) = (Arc::clone(store), id.clone(), effect(fresh_name()));
        let next = Watermark::after(None, &run(number..number + 1), *NOW);
        tasks.spawn(async move {
            let advanced = advance(&*store, &id, &next, vec![effect]).await;
            (next, advanced)
        });
    }
    let all = tasks.join_all().await;
    let winners: Vec<_> = all.iter().filter(|(_, advanced)| matches!(advanced, Advanced::Applied)).collect();
    let [(winner, _)] = winners.as_slice() else { panic!("{} of {} took effect", winners.len(), all.len()) };
    for (_, advanced) in all.iter().filter(|(next, _)| next != winner) {
        assert!(matches!(advanced, Advanced::Refused(Some(found)) if found == winner), "{advanced:?}");
    }
}

async fn advance<S: Watermarks>(store: &S, id: &str, next: &Watermark, effects: Vec<S::Effect>) -> Advanced<ItemOf<S>> {
    store.advance(id, next, effects, Duration::from_secs(10)).await.expect("answered")
}

fn versions() -> [Watermark; 3] {
    let first = Watermark::after(None, &run(0..2), *NOW);
    let second = Watermark::after(Some(&first), &run(2..5), *NOW);
    let third = Watermark::after(Some(&second), &run(5..6), *NOW);
    [first, second, third]
}

fn run(offsets: std::ops::Range<u64>) -> Vec<RecordDigest> {
    let record = |offset: u64| RecordDigest {
        position: Position::from(offset),
        timestamp_ms: i64::try_from(offset).expect("small"),
        digest: [u8::try_from(offset % 256).expect("a byte"); 16],
    };
    offsets.map(record).collect()
}

/// A run with sequence numbers as long as those of Kinesis, and digests that contain all byte values.
fn long_run() -> Vec<RecordDigest> {
    let record = |number: u8| RecordDigest {
        position: Position::new(&format!("{}{number}", "9".repeat(55))).expect("digits"),
        timestamp_ms: 0,
        digest: std::array::from_fn(|index| number.wrapping_mul(16).wrapping_add(u8::try_from(index).expect("small"))),
    };
    (0..9).map(record).collect()
}
