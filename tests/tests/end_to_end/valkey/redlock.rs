//! The lock on several servers: what it does, and the two ways in which it has two holders.

use std::time::{Duration, Instant};

use idempotency::lock::redlock::{Held, InvalidRedlock, RedlockError};
use idempotency::lock::{HeldLock, LeaseLock, Redlock, conformance};
use idempotency::store::valkey::Server;

use super::server::{Kind, Running};

fn servers(kind: Kind, count: usize) -> Vec<Running> {
    (0..count).map(|_| Running::start(kind, &[])).collect()
}

fn lock(servers: &[Running], name: &str, lease: Duration) -> Redlock {
    Redlock::new(servers.iter().map(Running::server), name, lease).expect("valid")
}

async fn acquired(lock: &Redlock) -> Option<Held> {
    lock.acquire(None).await.expect("a majority answers")
}

#[tokio::test(flavor = "multi_thread")]
async fn a_lock_on_three_servers_conforms() {
    for kind in Kind::all("a_lock_on_three_servers_conforms") {
        let servers = servers(kind, 3);
        conformance::all(async |name: String| lock(&servers, &name, Duration::from_secs(20))).await;
    }
}

#[test]
fn a_lock_needs_an_odd_number_of_servers_and_time_for_their_answers() {
    let made = |count, lease| Redlock::new((0..count).map(|_| Server::new("a", 1)), "a", lease).err();
    let second = Duration::from_secs(1);
    for count in [0, 1, 2, 4, 6] {
        assert_eq!(made(count, second), Some(InvalidRedlock));
    }
    assert_eq!(made(3, Duration::from_millis(99)), Some(InvalidRedlock));
    assert_eq!((made(3, second), made(5, second)), (None, None));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_majority_is_enough_and_less_is_an_error_that_leaves_no_part_behind() {
    for kind in Kind::all("a_majority_is_enough_and_less_is_an_error_that_leaves_no_part_behind") {
        let mut servers = servers(kind, 5);
        let lock = lock(&servers, "job", Duration::from_secs(5));
        servers[0].signal("STOP");
        servers[1].kill();
        let started = Instant::now();
        let held = acquired(&lock).await.expect("three of five");
        assert!(started.elapsed() < Duration::from_secs(2), "a tenth of the lease for the frozen one");
        assert!(held.remaining() < Duration::from_secs(5));
        held.release().await.expect("a majority answers");

        servers[2].kill();
        let error = lock.acquire(None).await.expect_err("two of five");
        assert!(matches!(error, RedlockError::NoMajority { answered: 2, servers: 5 }), "{error}");
        for server in &servers[3..] {
            assert_eq!(server.command(&["EXISTS", "lock:job"]), ":0");
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn only_the_holder_extends_or_deletes_the_lock() {
    for kind in Kind::all("only_the_holder_extends_or_deletes_the_lock") {
        let servers = servers(kind, 3);
        let short = lock(&servers, "job", Duration::from_millis(400));
        let late = acquired(&short).await.expect("free");
        tokio::time::sleep(late.remaining() + Duration::from_millis(100)).await;
        let long = lock(&servers, "job", Duration::from_secs(30));
        let holder = acquired(&long).await.expect("the lease is over");
        assert!(late.renew().await.expect("answers").is_none(), "it is lost");
        let holder = holder.renew().await.expect("answers").expect("it was not lost");
        assert!(acquired(&long).await.is_none(), "the late one has deleted nothing");
        holder.release().await.expect("answers");
        assert!(acquired(&long).await.is_some());
    }
}

/// The first overlap, which every lease lock has: its holder is frozen past its lease and goes on.
#[tokio::test(flavor = "multi_thread")]
async fn a_holder_that_was_frozen_past_its_lease_works_beside_the_next_one() {
    for kind in Kind::all("a_holder_that_was_frozen_past_its_lease_works_beside_the_next_one") {
        let servers = servers(kind, 3);
        let lock = lock(&servers, "job", Duration::from_millis(500));
        let frozen = acquired(&lock).await.expect("free");
        // It looked at its time, and is frozen before its next step.
        assert!(frozen.remaining() > Duration::ZERO);
        tokio::time::sleep(Duration::from_millis(600)).await;
        let next = acquired(&lock).await.expect("the lease is over");
        // Both are in the middle of their work; nothing that the frozen one writes now can be refused.
        assert_eq!(frozen.remaining(), Duration::ZERO);
        assert!(next.remaining() > Duration::ZERO);
    }
}

/// The second overlap, which no clock shows: a server restarts empty, as all do that keep nothing on disk.
#[tokio::test(flavor = "multi_thread")]
async fn after_one_server_restarted_empty_two_hold_the_lock_and_neither_can_tell() {
    for kind in Kind::all("after_one_server_restarted_empty_two_hold_the_lock_and_neither_can_tell") {
        let mut servers = servers(kind, 3);
        let lock = lock(&servers, "job", Duration::from_secs(20));
        // The first one has servers 0 and 1: the third did not answer.
        servers[2].signal("STOP");
        let first = acquired(&lock).await.expect("two of three");
        servers[2].kill();
        servers[2].restart();
        servers[1].kill();
        servers[1].restart();
        let second = acquired(&lock).await.expect("two of three");
        assert!(first.remaining() > Duration::from_secs(5), "by its clock it holds the lock: {:?}", first.remaining());
        assert!(second.remaining() > Duration::from_secs(5));
    }
}
