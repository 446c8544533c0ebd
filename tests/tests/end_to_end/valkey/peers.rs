//! Faults of other libraries' layers on Redis and Valkey, which this store must not have. Read in the source of
//! Powertools for AWS Lambda (`CachePersistenceLayer.ts`, `persistence/redis.py`); these tests do not run that library.

use std::time::Duration;

use idempotency::engine::{Claimed, Clock, SystemClock};
use idempotency::protocol::{EpochMs, Fingerprinter, Key, Principal, RecordId, Resolution, Uncertain};
use idempotency::store::Store;
use idempotency::store::valkey::ValkeyStore;
use idempotency::{Call, Engine, Operation, Outcome, Verdict};

use super::server::{Kind, Running};

/// A clock that is ahead, as if that time had passed.
struct Ahead(Duration);

impl Clock for Ahead {
    fn now(&self) -> EpochMs {
        SystemClock.now().plus(self.0)
    }
}

fn call(engine: &Engine<ValkeyStore>, uncertain: Uncertain) -> Call {
    Call::new(
        Operation::new("orders", "place order").uncertain(uncertain),
        Principal::new("alice").expect("valid"),
        Key::new("k-1").expect("valid"),
        Fingerprinter::new().finish(),
        engine.now().plus(Duration::from_secs(5)),
    )
}

fn id(key: &str) -> RecordId {
    RecordId::new("orders", &Principal::new("alice").expect("valid"), &Key::new(key).expect("valid"))
}

const REPEAT: Uncertain = Uncertain::Repeat { within: Duration::from_secs(3600) };

fn calls_of_scripts(server: &Running) -> usize {
    let stats = server.text(&["INFO", "commandstats"]);
    let calls = |name: &str| {
        let line = stats.lines().find_map(|line| line.strip_prefix(&format!("cmdstat_{name}:calls=")));
        line.and_then(|line| line.split(',').next()).map_or(0, |calls| calls.parse().expect("a number"))
    };
    calls("evalsha") + calls("eval")
}

/// There, the end of a run is written without a condition: the frozen owner overwrites its successor's answer, and the
/// callers of one key get two answers.
#[tokio::test(flavor = "multi_thread")]
async fn an_owner_that_was_frozen_past_its_lease_does_not_overwrite_its_successors_answer() {
    for kind in Kind::all("an_owner_that_was_frozen_past_its_lease_does_not_overwrite_its_successors_answer") {
        let server = Running::start(kind, &[]);
        let frozen = Engine::builder(server.store()).build();
        let successor = Engine::builder(server.store()).clock(Ahead(Duration::from_secs(60))).build();
        let Ok(Claimed::Acquired(late)) = frozen.claim(&call(&frozen, REPEAT)).await else { panic!("must acquire") };
        let run = async |_| Verdict::Success("B".to_owned());
        let taken_over = successor.run(&call(&successor, REPEAT), run).await.expect("an outcome");
        assert!(matches!(&taken_over, Outcome::Executed(answered) if answered.answer == "B"), "{taken_over:?}");
        let ended = late.commit(Resolution::Success, "A".to_owned(), vec![]).await.expect("an outcome");
        assert!(matches!(&ended, Outcome::Replayed(answered) if answered.answer == "B"), "{ended:?}");
        let elsewhere = Engine::builder(server.store()).build();
        let run = async |_| -> Verdict<String> { panic!("must not run") };
        let next = elsewhere.run(&call(&elsewhere, REPEAT), run).await.expect("an outcome");
        assert!(matches!(&next, Outcome::Replayed(answered) if answered.answer == "B"), "{next:?}");
    }
}

/// There, a record in progress has a TTL, after which an outcome that nobody knows is forgotten, and the next call
/// runs.
#[tokio::test(flavor = "multi_thread")]
async fn a_claim_and_an_unknown_outcome_have_no_time_to_live_and_a_settled_one_has() {
    for kind in Kind::all("a_claim_and_an_unknown_outcome_have_no_time_to_live_and_a_settled_one_has") {
        let server = Running::start(kind, &[]);
        let engine = Engine::builder(server.store()).build();
        let call = call(&engine, Uncertain::Reconcile);
        let key = format!("{{test}}{}", id("k-1").as_str());
        let Ok(Claimed::Acquired(claim)) = engine.claim(&call).await else { panic!("must acquire") };
        assert_eq!(server.command(&["TTL", &key]), ":-1", "claimed");
        claim.abandon("no answer".into()).await.expect("answered");
        assert_eq!(server.command(&["TTL", &key]), ":-1", "unknown");

        let settled = Engine::builder(server.store()).build();
        let other = Call::new(
            Operation::new("orders", "place order").retention(Duration::from_secs(60)),
            Principal::new("alice").expect("valid"),
            Key::new("k-2").expect("valid"),
            Fingerprinter::new().finish(),
            settled.now().plus(Duration::from_secs(5)),
        );
        settled.run(&other, async |_| Verdict::Success(1_u64)).await.expect("an outcome");
        let left = server.command(&["TTL", &format!("{{test}}{}", id("k-2").as_str())]);
        let left: u64 = left.trim_start_matches(':').parse().expect("a time to live");
        assert!((3600..=3660).contains(&left), "a minute, and an hour more: {left}");
    }
}

/// There, a takeover is a lock, a read, and a write without a condition; and a first run costs up to four commands.
#[tokio::test(flavor = "multi_thread")]
async fn a_first_run_is_two_calls_of_the_script_and_a_takeover_one_more() {
    for kind in Kind::all("a_first_run_is_two_calls_of_the_script_and_a_takeover_one_more") {
        let server = Running::start(kind, &[]);
        let engine = Engine::builder(server.store()).build();
        server.store().check().await.expect("fit");
        let before = calls_of_scripts(&server);
        let Ok(Claimed::Acquired(_dead)) = engine.claim(&call(&engine, REPEAT)).await else { panic!("must acquire") };
        assert_eq!(calls_of_scripts(&server) - before, 1, "a claim");
        let later = Engine::builder(server.store()).clock(Ahead(Duration::from_secs(60))).build();
        let run = async |_| Verdict::Success(1_u64);
        later.run(&call(&later, REPEAT), run).await.expect("an outcome");
        assert_eq!(calls_of_scripts(&server) - before, 4, "a refused claim, the takeover, and its end");
        let elsewhere = Engine::builder(server.store()).build();
        elsewhere.run(&call(&elsewhere, REPEAT), run).await.expect("an outcome");
        assert_eq!(calls_of_scripts(&server) - before, 5, "a replay");
        // Each connection of a cluster has one lookup of the script at most; here the server has it already.
        let store = server.store();
        store.read(&id("k-1")).await.expect("readable").expect("stored");
        assert_eq!(calls_of_scripts(&server) - before, 5, "a read");
    }
}
