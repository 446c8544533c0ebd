//! The conformance suite of [`LeaseLock`]. A lock conforms if [`all`] passes with its real service.

use std::collections::BTreeSet;

use super::{Fenced, HeldLock, LeaseLock};

/// Runs the whole suite. `lock` creates a lock of this name as a separate process would, with a lease of at least a few
/// seconds.
///
/// # Panics
/// If the lock does not conform.
pub async fn all<L, F>(lock: impl Fn(String) -> F)
where
    L: LeaseLock,
    F: Future<Output = L>,
{
    of_several_at_once_one_holds_it(&lock).await;
    a_release_lets_the_next_in_and_no_earlier(&lock).await;
    a_renewed_lock_is_held(&lock).await;
    two_names_are_two_locks(&lock).await;
}

/// For locks with a fence: checks that each acquisition has a higher fence than the one before, whichever process
/// acquires the lock.
///
/// # Panics
/// If a fence is not higher than the one before it.
pub async fn fences_grow<L, F>(lock: impl Fn(String) -> F)
where
    L: LeaseLock<Held: Fenced>,
    F: Future<Output = L>,
{
    let name = unique("fences");
    let mut seen = BTreeSet::new();
    for _ in 0..5 {
        let held = acquired(&lock(name.clone()).await).await;
        let fence = held.fence();
        assert!(seen.last().is_none_or(|last| *last < fence), "{fence} after {seen:?}");
        seen.insert(fence);
        held.release().await.expect("answers");
    }
}

async fn of_several_at_once_one_holds_it<L: LeaseLock, F: Future<Output = L>>(lock: impl Fn(String) -> F) {
    let name = unique("several");
    let locks = futures::future::join_all((0..8).map(|_| lock(name.clone()))).await;
    let found = futures::future::join_all(locks.iter().map(|lock| lock.acquire(None))).await;
    let held: Vec<_> = found.into_iter().filter_map(|found| found.expect("answers")).collect();
    // If contenders for a majority split the votes, none may win.
    assert!(held.len() <= 1, "{} hold it", held.len());
    for held in held {
        held.release().await.expect("answers");
    }
    acquired(&locks[0]).await.release().await.expect("answers");
}

async fn a_release_lets_the_next_in_and_no_earlier<L: LeaseLock, F: Future<Output = L>>(lock: impl Fn(String) -> F) {
    let name = unique("release");
    let (one, other) = (lock(name.clone()).await, lock(name).await);
    for _ in 0..3 {
        let held = acquired(&one).await;
        assert!(other.acquire(None).await.expect("answers").is_none(), "it is held");
        assert!(one.acquire(None).await.expect("answers").is_none(), "its holder does not get it twice");
        held.release().await.expect("answers");
        acquired(&other).await.release().await.expect("answers");
    }
}

async fn a_renewed_lock_is_held<L: LeaseLock, F: Future<Output = L>>(lock: impl Fn(String) -> F) {
    let name = unique("renewal");
    let (one, other) = (lock(name.clone()).await, lock(name).await);
    let held = acquired(&one).await.renew().await.expect("answers").expect("it was not lost");
    assert!(other.acquire(None).await.expect("answers").is_none(), "it is held");
    held.release().await.expect("answers");
    acquired(&other).await.release().await.expect("answers");
}

async fn two_names_are_two_locks<L: LeaseLock, F: Future<Output = L>>(lock: impl Fn(String) -> F) {
    let (one, other) = (lock(unique("one")).await, lock(unique("other")).await);
    let (one, other) = (acquired(&one).await, acquired(&other).await);
    one.release().await.expect("answers");
    other.release().await.expect("answers");
}

async fn acquired<L: LeaseLock>(lock: &L) -> L::Held {
    lock.acquire(None).await.expect("answers").expect("nobody holds it")
}

/// A name that no other run of the suite uses, since a real service outlives a run.
fn unique(name: &str) -> String {
    let mut random = [0; 8];
    getrandom::fill(&mut random).expect("randomness");
    format!("{name}-{:016x}", u64::from_ne_bytes(random))
}
