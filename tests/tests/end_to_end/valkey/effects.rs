//! Effects are applied with the record or not at all, whatever makes one of them fail.

use std::num::NonZeroU64;
use std::time::Duration;

use idempotency::engine::Outcome;
use idempotency::protocol::{Fingerprinter, Key, Principal, Write};
use idempotency::sequence::Gap;
use idempotency::store::valkey::sequence::SequenceGate;
use idempotency::store::valkey::versioned::{VersionedError, VersionedKeys};
use idempotency::store::valkey::{Effect, ValkeyStore};
use idempotency::store::{Store, StoreError, Written};
use idempotency::{Attempt, Call, Engine, Operation, Verdict};

use super::faults::claim;
use super::server::{Kind, Running};

fn fields(name: &str) -> Vec<(String, Vec<u8>)> {
    vec![(name.to_owned(), b"1".to_vec())]
}

/// Puts one key of each type into the server.
fn keys_of_all_types(server: &Running) {
    for words in [
        &["SET", "{test}text", "word"][..],
        &["SET", "{test}number", "10"],
        &["SET", "{test}greatest", "9007199254740991"],
        &["SET", "{test}padded", "007"],
        &["HSET", "{test}hash", "balance", "5", "name", "word"],
        &["SADD", "{test}set", "a"],
        &["ZADD", "{test}sorted", "1", "a"],
        &["XADD", "{test}stream", "*", "a", "1"],
        &["XADD", "{test}full", "18446744073709551615-18446744073709551615", "a", "1"],
        &["RPUSH", "{test}list", "a"],
    ] {
        server.command(words);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_effect_that_is_refused_leaves_the_record_and_all_other_effects_unwritten() {
    for kind in Kind::all("an_effect_that_is_refused_leaves_the_record_and_all_other_effects_unwritten") {
        let server = Running::start(kind, &[]);
        let store = server.store();
        keys_of_all_types(&server);
        let shows = |found: &str| Some(Box::new(found.as_bytes().to_vec()));
        let refused = [
            (Effect::insert("{test}text", "other"), shows("word")),
            (Effect::replace("{test}text", "another", "other"), shows("word")),
            (Effect::replace("{test}absent", "another", "other"), None),
            (Effect::raise("{test}number", 10), shows("10")),
            (Effect::raise("{test}number", 9), shows("10")),
            (Effect::raise("{test}text", 9), shows("word")),
            (Effect::increment("{test}text", 1), shows("word")),
            (Effect::increment("{test}padded", 1), shows("007")),
            (Effect::increment("{test}greatest", 1), shows("9007199254740991")),
            (Effect::increment_to_at_least("{test}number", -11, 0), shows("10")),
            (Effect::increment_to_at_least("{test}none", -1, 0), None),
            (Effect::hash_increment_to_at_least("{test}hash", "balance", -6, 0), shows("5")),
            (Effect::hash_increment("{test}hash", "name", 1), shows("word")),
            (Effect::hash_insert("{test}hash", fields("a")), None),
            // Of another type.
            (Effect::set("{test}list", "a"), None),
            (Effect::increment("{test}hash", 1), None),
            (Effect::hash_set("{test}text", fields("a")), None),
            (Effect::hash_increment("{test}set", "a", 1), None),
            (Effect::set_add("{test}sorted", "a"), None),
            (Effect::sorted_set_add("{test}set", 1.0, "a"), None),
            (Effect::stream_add("{test}list", fields("a")), None),
            (Effect::stream_add("{test}full", fields("a")), None),
            (Effect::list_push("{test}stream", "a"), None),
        ];
        for (number, (effect, found)) in refused.into_iter().enumerate() {
            let write = claim(&format!("refused {number}"), 1);
            let others = [Effect::increment("{test}first", 1), Effect::list_push("{test}second", "a")];
            let effects = others.into_iter().chain([effect.clone()]).collect();
            let written = store.write(&write, effects).await.expect("answered");
            let Written::EffectRefused(refused) = written else { panic!("{effect:?}: {written:?}") };
            assert_eq!((refused.index, refused.found), (2, found), "{effect:?}");
            assert_eq!(store.read(&write.record.id).await.expect("readable"), None, "{effect:?}");
            assert_eq!(server.command(&["EXISTS", "{test}first", "{test}second"]), ":0", "{effect:?}");
        }
        assert_eq!(server.command(&["ZCARD", "{test}idempotency#claims"]), ":0", "nor was an index");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn effects_of_each_kind_are_applied_once() {
    for kind in Kind::all("effects_of_each_kind_are_applied_once") {
        let server = Running::start(kind, &[]);
        let store = server.store();
        let effects = || {
            vec![
                Effect::set("{test}set", "v"),
                Effect::insert("{test}inserted", "v"),
                Effect::raise("{test}raised", u64::MAX),
                Effect::increment("{test}sum", 1 - (1 << 53)),
                Effect::increment_to_at_least("{test}balance", 7, 7),
                Effect::hash_set("{test}hash", fields("a")),
                Effect::hash_insert("{test}new", fields("a")),
                Effect::hash_increment("{test}counts", "a", 3),
                Effect::set_add("{test}members", "a"),
                Effect::sorted_set_add("{test}scores", 1.5, "a"),
                Effect::stream_add("{test}events", fields("a")),
                Effect::list_push("{test}list", "a"),
            ]
        };
        let write = claim("each", 1);
        assert_eq!(store.write(&write, effects()).await.expect("answered"), Written::Applied);
        assert_eq!(store.write(&write, effects()).await.expect("answered"), Written::Recognised);
        for (words, reply) in [
            (&["INCRBY", "{test}sum", "0"][..], ":-9007199254740991"),
            (&["INCRBY", "{test}balance", "0"], ":7"),
            (&["HINCRBY", "{test}counts", "a", "0"], ":3"),
            (&["STRLEN", "{test}raised"], ":20"),
            (&["SCARD", "{test}members"], ":1"),
            (&["ZCARD", "{test}scores"], ":1"),
            (&["XLEN", "{test}events"], ":1"),
            (&["LLEN", "{test}list"], ":1"),
            (&["HLEN", "{test}new"], ":1"),
        ] {
            assert_eq!(server.command(words), reply, "{words:?}");
        }
        let replace = claim("replace", 1);
        let effects = vec![Effect::replace("{test}set", "v", "w"), Effect::raise("{test}none", 1)];
        assert_eq!(store.write(&replace, effects).await.expect("answered"), Written::Applied);
    }
}

/// A single server would take keys of any slot, and only a cluster refuse them.
#[tokio::test(flavor = "multi_thread")]
async fn effects_that_a_script_could_not_take_are_rejected_before_anything_is_sent() {
    for kind in Kind::all("effects_that_a_script_could_not_take_are_rejected_before_anything_is_sent") {
        let server = Running::start(kind, &[]);
        let store = server.store();
        let many = (0..1001).map(|number| (number.to_string(), Vec::new())).collect::<Vec<_>>();
        let rejected = [
            vec![Effect::set("balance", "1")],
            vec![Effect::set("{other}balance", "1")],
            vec![Effect::set("x{test}balance", "1")],
            vec![Effect::set("{test}idempotency:abc", "1")],
            vec![Effect::set("{test}idempotency#claims", "1")],
            vec![Effect::set("{test}watermark:abc", "1")],
            vec![Effect::set("{test}lock:abc", "1")],
            vec![Effect::set("{test}a", "1"), Effect::increment("{test}a", 1)],
            vec![Effect::increment("{test}a", 1 << 53)],
            vec![Effect::hash_set("{test}a", many)],
            vec![Effect::hash_set("{test}a", [])],
            vec![Effect::sorted_set_add("{test}a", f64::NAN, "a")],
        ];
        for effects in rejected {
            let written = store.write(&claim("rejected", 1), effects.clone()).await;
            assert!(matches!(written, Err(StoreError::Rejected(_))), "{effects:?}: {written:?}");
        }
        assert_eq!(server.command(&["DBSIZE"]), ":0");
    }
}

async fn sale(engine: &Engine<ValkeyStore>, gap: Gap, number: u64, amount: u64, message: &str) -> Outcome<()> {
    let operation = Operation::new("sales", "terminal.sale");
    let call = Call::new(
        operation,
        Principal::new("terminal-1").expect("valid"),
        Key::new(message).expect("valid"),
        Fingerprinter::new().bytes(&amount.to_be_bytes()).finish(),
        engine.now().plus(Duration::from_secs(10)),
    );
    let run = async |attempt: Attempt<Effect>| {
        let content = Fingerprinter::new().bytes(&amount.to_be_bytes()).finish();
        let entry = format!("{{test}}terminal-1:{number}");
        let number = NonZeroU64::new(number).expect("from 1");
        SequenceGate::new(gap).pass(&attempt, "{test}terminal-1", number, entry, content);
        attempt.add_effect(Effect::increment("{test}sum", i64::try_from(amount).expect("small")));
        Verdict::Success(())
    };
    engine.run_single_write(&call, run).await.expect("an outcome")
}

#[tokio::test(flavor = "multi_thread")]
async fn the_sequence_gate_runs_each_number_once_and_in_order() {
    for kind in Kind::all("the_sequence_gate_runs_each_number_once_and_in_order") {
        let server = Running::start(kind, &[]);
        let engine = Engine::builder(server.store()).build();
        let hold = async |number, amount, message| sale(&engine, Gap::Hold, number, amount, message).await;
        assert!(matches!(hold(2, 20, "b").await, Outcome::NotExecuted(())), "its predecessor is missing");
        assert!(matches!(hold(1, 10, "a").await, Outcome::Executed(_)));
        assert!(matches!(hold(2, 20, "b").await, Outcome::Executed(_)));
        assert!(matches!(hold(2, 20, "b again").await, Outcome::Executed(_)), "settled without its effects");
        assert!(matches!(hold(2, 21, "b changed").await, Outcome::Conflict), "other content");
        assert!(matches!(sale(&engine, Gap::Accept, 5, 50, "e").await, Outcome::Executed(_)), "a gap is accepted");
        assert!(
            matches!(sale(&engine, Gap::Accept, 3, 30, "c").await, Outcome::Executed(_)),
            "late: settled without its effects"
        );
        assert_eq!(server.command(&["INCRBY", "{test}sum", "0"]), ":80");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn of_many_that_change_a_versioned_value_each_change_is_there_once() {
    for kind in Kind::all("of_many_that_change_a_versioned_value_each_change_is_there_once") {
        let server = Running::start(kind, &[]);
        let mut tasks = tokio::task::JoinSet::new();
        for _ in 0..4 {
            let values = VersionedKeys::new(server.store());
            tasks.spawn(async move {
                for _ in 0..10 {
                    while let Err(error) = values.update("{test}settings", |value| value.push(b'x')).await {
                        assert!(matches!(error, VersionedError::Contended { .. }), "{error:?}");
                    }
                }
            });
        }
        tasks.join_all().await;
        let values = VersionedKeys::new(server.store());
        let mut loaded = values.load("{test}settings").await.expect("loaded");
        assert_eq!((loaded.value.len(), loaded.version()), (40, 40));

        // As the effect of a commit: refused if somebody else was faster.
        loaded.value = b"new".to_vec();
        let effect = values.effect(&loaded).expect("random");
        let write = |name: &str| -> Write { claim(name, 1) };
        assert_eq!(server.store().write(&write("1"), vec![effect.clone()]).await.expect("answered"), Written::Applied);
        let late = server.store().write(&write("2"), vec![effect]).await.expect("answered");
        assert!(matches!(late, Written::EffectRefused(_)), "{late:?}");
        assert_eq!(values.load("{test}settings").await.expect("loaded").value, b"new");
        server.command(&["SET", "{test}other", "short"]);
        assert!(matches!(values.load("{test}other").await, Err(VersionedError::NotVersioned)));
        assert!(matches!(values.load("{other}a").await, Err(VersionedError::Store(StoreError::Rejected(_)))));
    }
}
