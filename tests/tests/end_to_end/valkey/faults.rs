//! What goes wrong between a process and its server.

use std::time::{Duration, Instant};

use idempotency::protocol::{
    Condition, EpochMs, Holder, Key, OwnerToken, Principal, Record, RecordId, State, TransactionId, Write,
};
use idempotency::store::valkey::{Effect, Keeps, Placement, Server, Unfit, ValkeyStore};
use idempotency::store::{Store, StoreError, Written};

use super::proxy::Proxy;
use super::server::{Kind, Running};

/// A claim on the record of this name.
pub(crate) fn claim(name: &str, owner: u8) -> Write {
    let (principal, key) = (Principal::new("p").expect("valid"), Key::new(name).expect("valid"));
    let now = EpochMs::from(std::time::SystemTime::now());
    Write {
        record: Record {
            id: RecordId::new("faults", &principal, &key),
            transaction: TransactionId::new(now, [owner; 10]),
            created: now,
            updated: now,
            state: State::Processing(Holder {
                owner: OwnerToken([owner; 16]),
                lease: now.plus(Duration::from_secs(60)),
            }),
            ..Record::sample()
        },
        condition: Condition::Vacant { now: now.seconds() },
    }
}

fn at(server: &Server) -> ValkeyStore {
    ValkeyStore::new(server, Placement::together("test").expect("valid"), Keeps::MostWrites)
}

/// The first try is sent and not answered; a later one finds what it wrote.
#[tokio::test(flavor = "multi_thread")]
async fn a_claim_under_which_the_server_froze_is_recognised() {
    for kind in Kind::all("a_claim_under_which_the_server_froze_is_recognised") {
        let server = Running::start(kind, &[]);
        let store = server.store();
        store.check().await.expect("fit");
        server.signal("STOP");
        let write = claim("frozen", 1);
        let (written, ()) = tokio::join!(store.write(&write, Vec::new()), async {
            tokio::time::sleep(Duration::from_millis(900)).await;
            server.signal("CONT");
        });
        assert_eq!(written.expect("answered"), Written::Recognised, "{kind:?}");
        assert_eq!(store.read(&write.record.id).await.expect("readable"), Some(write.record));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_write_that_was_sent_to_a_frozen_server_is_uncertain_and_one_that_was_not_is_not_applied() {
    for kind in Kind::all("a_write_that_was_sent_to_a_frozen_server_is_uncertain_and_one_that_was_not_is_not_applied") {
        let server = Running::start(kind, &[]);
        let (warm, cold) = (server.store(), server.store());
        warm.check().await.expect("fit");
        server.signal("STOP");
        let started = Instant::now();
        let (write, other) = (claim("sent", 1), claim("not sent", 1));
        let (sent, not_sent) = tokio::join!(warm.write(&write, Vec::new()), cold.write(&other, Vec::new()));
        assert!(matches!(sent, Err(StoreError::Uncertain(_))), "{kind:?}: {sent:?}");
        assert!(matches!(not_sent, Err(StoreError::NotApplied(_))), "{kind:?}: {not_sent:?}");
        assert!(started.elapsed() < Duration::from_secs(3), "within the engine's margin, had the machine been idle");
        // The same link has no connection any more.
        let later = warm.write(&claim("later", 1), Vec::new()).await;
        assert!(matches!(later, Err(StoreError::NotApplied(_))), "{kind:?}: {later:?}");
        server.signal("CONT");
        assert_eq!(warm.write(&write, Vec::new()).await.expect("answered"), Written::Recognised);
        assert_eq!(cold.write(&other, Vec::new()).await.expect("answered"), Written::Applied);
    }
}

/// The client's connection manager would never replace it.
#[tokio::test(flavor = "multi_thread")]
async fn a_silent_connection_is_replaced_within_one_request() {
    for kind in Kind::all("a_silent_connection_is_replaced_within_one_request") {
        let server = Running::start(kind, &[]);
        let proxy = Proxy::start(server.port).await;
        let store = at(&Server::new("127.0.0.1", proxy.port));
        store.check().await.expect("fit");
        proxy.silence();
        let started = Instant::now();
        let written = store.write(&claim("silent", 1), Vec::new()).await.expect("answered");
        assert!(matches!(written, Written::Applied | Written::Recognised), "{written:?}");
        assert!(started.elapsed() < Duration::from_secs(2), "{:?}", started.elapsed());
        let started = Instant::now();
        store.read(&claim("silent", 1).record.id).await.expect("readable").expect("stored");
        assert!(started.elapsed() < Duration::from_millis(400), "the connection is a new one: {:?}", started.elapsed());
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_that_has_lost_the_script_gets_it_again() {
    for kind in Kind::all("a_server_that_has_lost_the_script_gets_it_again") {
        let mut server = Running::start(kind, &[]);
        let store = server.store();
        assert_eq!(store.write(&claim("1", 1), Vec::new()).await.expect("answered"), Written::Applied);
        assert_eq!(server.command(&["SCRIPT", "FLUSH"]), "+OK");
        assert_eq!(store.write(&claim("2", 1), Vec::new()).await.expect("answered"), Written::Applied);
        server.kill();
        server.restart();
        assert_eq!(store.write(&claim("3", 1), Vec::new()).await.expect("answered"), Written::Applied);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn where_no_server_is_nothing_is_applied() {
    let store = at(&Server::new("127.0.0.1", 1));
    let started = Instant::now();
    let written = store.write(&claim("a", 1), Vec::new()).await;
    assert!(matches!(written, Err(StoreError::NotApplied(_))), "{written:?}");
    assert!(started.elapsed() < Duration::from_secs(3));
    assert!(matches!(store.check().await, Err(Unfit::Unavailable(StoreError::NotApplied(_)))));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_wrong_password_a_missing_one_and_a_wrong_role_are_clear_errors_at_once() {
    for kind in Kind::all("a_wrong_password_a_missing_one_and_a_wrong_role_are_clear_errors_at_once") {
        // This user may read but not run scripts.
        let reader = "reader on >word ~* +info +exists +hgetall +ping";
        let server = Running::start(kind, &["--requirepass", "right", "--user", reader]);
        let shown = async |server: Server| {
            let (store, started) = (at(&server), Instant::now());
            let unfit = store.check().await.expect_err("unfit");
            let written = store.write(&claim("a", 1), Vec::new()).await;
            assert!(matches!(written, Err(StoreError::NotApplied(_))), "{written:?}");
            assert!(started.elapsed() < Duration::from_secs(1), "it is not tried again");
            format!("{unfit:?}")
        };
        let wrong = shown(server.server().login("default", "wrong")).await;
        assert!(wrong.contains("WRONGPASS") || wrong.to_lowercase().contains("authentication failed"), "{wrong}");
        let missing = shown(server.server()).await;
        assert!(missing.contains("NOAUTH"), "{missing}");
        let role = shown(server.server().login("reader", "word")).await;
        assert!(role.contains("NOPERM") || role.contains("NoPerm"), "{role}");
        at(&server.server().login("default", "right")).check().await.expect("fit");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_that_evicts_or_is_a_replica_is_refused() {
    for kind in Kind::all("a_server_that_evicts_or_is_a_replica_is_refused") {
        for policy in ["volatile-lru", "allkeys-random"] {
            let server = Running::start(kind, &["--maxmemory-policy", policy]);
            let unfit = server.store().check().await;
            assert!(matches!(&unfit, Err(Unfit::Evicts(found)) if found == policy), "{unfit:?}");
        }
        let primary = Running::start(kind, &[]);
        let replica = Running::start(kind, &["--replicaof", &format!("127.0.0.1 {}", primary.port)]);
        let unfit = replica.store().check().await;
        assert!(matches!(unfit, Err(Unfit::Replica)), "{unfit:?}");
        let written = replica.store().write(&claim("a", 1), Vec::new()).await;
        assert!(matches!(written, Err(StoreError::NotApplied(_))), "{written:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn with_a_full_memory_nothing_is_written_and_what_is_stored_stays() {
    for kind in Kind::all("with_a_full_memory_nothing_is_written_and_what_is_stored_stays") {
        let server = Running::start(kind, &["--maxmemory", "100mb"]);
        let store = server.store();
        let stored = claim("before", 1);
        assert_eq!(store.write(&stored, Vec::new()).await.expect("answered"), Written::Applied);
        assert_eq!(server.command(&["CONFIG", "SET", "maxmemory", "1"]), "+OK");
        let late = claim("after", 1);
        let written = store.write(&late, vec![Effect::increment("{test}balance", 1)]).await;
        assert!(
            matches!(&written, Err(StoreError::NotApplied(error)) if error.to_string().contains("OOM")),
            "{written:?}"
        );
        assert_eq!(store.read(&late.record.id).await.expect("readable"), None);
        assert_eq!(server.command(&["EXISTS", "{test}balance"]), ":0");
        assert_eq!(store.read(&stored.record.id).await.expect("readable"), Some(stored.record));
        let unfit = format!("{:?}", store.check().await);
        assert!(unfit.contains("OOM"), "{unfit}");
    }
}

/// This is what a server that keeps most writes may do: `docs/guarantees.md` says which guarantees are void there.
#[tokio::test(flavor = "multi_thread")]
async fn a_failover_forgets_what_was_acknowledged_and_the_same_claim_is_applied_twice() {
    for kind in Kind::all("a_failover_forgets_what_was_acknowledged_and_the_same_claim_is_applied_twice") {
        let mut primary = Running::start(kind, &[]);
        let proxy = Proxy::start(primary.port).await;
        let replica = Running::start(kind, &["--replicaof", &format!("127.0.0.1 {}", proxy.port)]);
        let effect = || vec![Effect::insert("{test}payment", "42")];
        let before = claim("before", 1);
        assert_eq!(primary.store().write(&before, Vec::new()).await.expect("answered"), Written::Applied);
        let replicated = async || at(&replica.server()).read(&before.record.id).await.expect("readable").is_some();
        while !replicated().await {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        proxy.cut();
        let paid = claim("payment", 1);
        assert_eq!(primary.store().write(&paid, effect()).await.expect("answered"), Written::Applied, "acknowledged");
        primary.kill();
        assert_eq!(replica.command(&["REPLICAOF", "NO", "ONE"]), "+OK");
        let again = claim("payment", 2);
        assert_eq!(replica.store().write(&again, effect()).await.expect("answered"), Written::Applied, "paid twice");
        assert_eq!(replica.store().read(&before.record.id).await.expect("readable"), Some(before.record));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn of_64_connections_that_claim_at_once_one_wins() {
    for kind in Kind::all("of_64_connections_that_claim_at_once_one_wins") {
        let server = Running::start(kind, &[]);
        for round in 0..10 {
            let mut tasks = tokio::task::JoinSet::new();
            for owner in 0..64 {
                let (store, write) = (server.store(), claim(&format!("race {round}"), owner));
                tasks.spawn(async move { store.write(&write, Vec::new()).await.expect("answered") });
            }
            let written = tasks.join_all().await;
            assert_eq!(written.iter().filter(|one| **one == Written::Applied).count(), 1, "{kind:?}, round {round}");
            assert!(written.iter().all(|one| matches!(one, Written::Applied | Written::Refused(Some(_)))));
        }
    }
}
