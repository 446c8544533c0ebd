//! The DynamoDB store on an embedded DynamoDB, over real sockets and the real SDK.

use std::collections::HashSet;
use std::time::Duration;

use aws_sdk_dynamodb::types::{AttributeValue, TransactWriteItem, Update};
use fault_proxy::{Fault, Recorder};
use idempotency::engine::{Claimed, Verdict};
use idempotency::protocol::{Fingerprinter, Key, Principal, Resolution, Uncertain};
use idempotency::store::conformance::{self, digits};
use idempotency::store::dynamodb::AttributeNames;
use idempotency::{Answered, Attempt, Call, DynamoDbStore, Engine, Operation, Outcome};
use tests::dynamodb::{Database, RECORDS, effect, key};
use tests::world::World;
use tokio::sync::Barrier;

/// The payments that these tests make in a world.
trait Paying {
    fn call(&self, key: &str, body: &str) -> Call;
    async fn pay(&self, call: &Call, effects: &[&str]) -> Outcome<String>;
}

impl Paying for World {
    fn call(&self, key: &str, body: &str) -> Call {
        Call::new(
            Operation::new("test", "POST /payments").uncertain(Uncertain::Repeat { within: Duration::from_secs(60) }),
            Principal::new("alice").expect("valid"),
            Key::new(key).expect("valid"),
            Fingerprinter::new().bytes(body.as_bytes()).finish(),
            self.engine.now().plus(Duration::from_secs(10)),
        )
    }

    async fn pay(&self, call: &Call, effects: &[&str]) -> Outcome<String> {
        pay_on(&self.engine, call, effects).await
    }
}

async fn pay_on(engine: &Engine<DynamoDbStore>, call: &Call, effects: &[&str]) -> Outcome<String> {
    let run = |attempt: idempotency::Attempt<TransactWriteItem>| async move {
        effects.iter().for_each(|name| attempt.add_effect(effect(*name)));
        Verdict::Success("paid".to_owned())
    };
    engine.run(call, run).await.expect("an outcome")
}

#[tokio::test(flavor = "multi_thread")]
async fn the_dynamodb_store_conforms() {
    let database = Database::start().await;
    let store = DynamoDbStore::new(database.patient_client().await, RECORDS);
    conformance::all(store.clone(), effect).await;
    conformance::a_refused_claim_finds_a_small_item(&store).await;
    conformance::watermarks::all(store.clone(), effect).await;
    conformance::unsettled::all(store).await;
}

/// A table that the application fills with other items, too: the ids have a prefix, and `#` in it as such tables have.
#[tokio::test(flavor = "multi_thread")]
async fn the_dynamodb_store_conforms_in_a_shared_table_with_a_sort_key() {
    let (database, table) = (Database::start().await, "Shop");
    let names = AttributeNames {
        id: "PK".into(),
        sort: Some("SK".into()),
        id_prefix: "RECORD#".into(),
        ..AttributeNames::default()
    };
    database.create_table(table, &names).await;
    let without_sort_key = AttributeNames { sort: None, ..names.clone() };
    let store = DynamoDbStore::new(database.patient_client().await, table).with_names(names).expect("valid names");
    store.check().await.expect("the table has this key");
    // A page of the scan ends anywhere: also on these, in partitions of one item and of many.
    for (customer, part) in (0..40).map(|number| (number % 8, number)) {
        let put = database.client().await.put_item().table_name(table);
        let put = put.item("PK", AttributeValue::S(format!("CUSTOMER#{customer}")));
        put.item("SK", AttributeValue::S(format!("order#{part}"))).send().await.expect("stored");
    }
    conformance::all(store.clone(), effect).await;
    conformance::watermarks::all(store.clone(), effect).await;
    conformance::unsettled::all(store).await;

    let store = DynamoDbStore::new(database.client().await, table).with_names(without_sort_key).expect("valid names");
    assert!(store.check().await.is_err(), "the mistake shows at the start");
}

/// The SDK retries a request whose reply was lost; the retry's condition fails because of the first write.
#[tokio::test(flavor = "multi_thread")]
async fn the_lost_reply_of_our_own_write_is_recognised_and_never_taken_for_a_duplicate() {
    let world = World::start().await;
    for effects in [vec![], vec!["with-effects"]] {
        for lost in [
            vec![Fault::LoseReply],
            vec![Fault::None, Fault::LoseReply],
            vec![Fault::LoseReply, Fault::None, Fault::LoseReply],
        ] {
            let call = world.call(&format!("{effects:?} {lost:?}"), "a");
            world.database.proxy.plan(lost.clone());
            let names: Vec<String> = effects.iter().map(|name| format!("{name} {lost:?}")).collect();
            let outcome = world.pay(&call, &names.iter().map(String::as_str).collect::<Vec<_>>()).await;
            assert!(matches!(outcome, Outcome::Executed(Answered { attempt: 1, .. })), "{lost:?}: {outcome:?}");
            for name in &names {
                assert!(world.applied(name).await);
            }
        }
    }
}

/// DynamoDB refuses different content under a token that it knows.
#[tokio::test(flavor = "multi_thread")]
async fn calls_that_write_over_one_release_have_tokens_of_their_own() {
    let world = World::start().await;
    let call = &world.call("k", "a");
    let released = world.engine.run(call, |_| async { Verdict::<String>::NotExecuted("no".to_owned()) }).await;
    assert!(matches!(released, Ok(Outcome::NotExecuted(_))), "{released:?}");
    let tokens = Recorder::new(|request| request.json()["ClientRequestToken"].as_str().map(str::to_owned));
    world.database.proxy.follow(tokens.clone());
    // In each round both run before either writes: first without a record, then over the release that both have found.
    let together = &Barrier::new(2);
    let pay = async |name: &'static str| {
        let run = |attempt: Attempt<TransactWriteItem>| async move {
            attempt.add_effect(effect(name));
            together.wait().await;
            Verdict::Success(name.to_owned())
        };
        world.elsewhere().run_single_write(call, run).await.expect("an outcome")
    };
    let (first, second) = tokio::join!(pay("first"), pay("second"));
    let executed = [first, second].iter().filter(|outcome| matches!(outcome, Outcome::Executed(_))).count();
    assert_eq!(executed, 1, "the other is answered from the record");
    let sent: Vec<String> = tokens.take().into_iter().flatten().collect();
    assert_eq!(sent.len(), 4, "two rounds of two: {sent:?}");
    assert_eq!(sent.iter().collect::<HashSet<_>>().len(), 4, "{sent:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_request_that_was_lost_is_repeated_until_it_arrives() {
    let world = World::start().await;
    world.database.proxy.plan([Fault::LoseRequest, Fault::LoseRequest, Fault::None, Fault::LoseRequest]);
    let outcome = world.pay(&world.call("k", "a"), &["lost"]).await;
    assert!(matches!(outcome, Outcome::Executed(_)), "{outcome:?}");
    assert!(world.applied("lost").await);
}

/// The budget of round trips.
#[tokio::test(flavor = "multi_thread")]
async fn each_case_makes_no_more_requests_than_its_budget() {
    let world = World::start().await;
    let call = world.call("k", "a");
    let (requests, outcome) = world.requests(world.pay(&call, &[])).await;
    assert_eq!((requests, matches!(outcome, Outcome::Executed(_))), (2, true), "first run");
    let (requests, outcome) = world.requests(world.pay(&world.call("e", "a"), &["one", "two"])).await;
    assert_eq!((requests, matches!(outcome, Outcome::Executed(_))), (2, true), "first run with effects");
    let (requests, outcome) = world.requests(world.pay(&call, &[])).await;
    assert_eq!((requests, matches!(outcome, Outcome::Replayed(_))), (0, true), "replay where it was settled");
    let elsewhere = world.elsewhere();
    let (requests, outcome) = world.requests(pay_on(&elsewhere, &world.call("k", "b"), &[])).await;
    assert_eq!((requests, outcome), (1, Outcome::Mismatch), "mismatch");
    for (expected, place) in [(1, "elsewhere"), (0, "where it was replayed")] {
        let (requests, outcome) = world.requests(pay_on(&elsewhere, &call, &[])).await;
        assert_eq!((requests, matches!(outcome, Outcome::Replayed(_))), (expected, true), "replay {place}");
    }

    let held = world.call("held", "a");
    let Ok(Claimed::Acquired(claim)) = world.engine.claim(&held).await else { panic!("must acquire") };
    let (requests, outcome) = world.requests(world.pay(&held, &[])).await;
    assert_eq!((requests, matches!(outcome, Outcome::InProgress { .. })), (1, true), "in progress");
    claim.abandon("tested".into()).await.expect("abandons");
    let (requests, outcome) = world.requests(world.pay(&held, &[])).await;
    assert_eq!((requests, matches!(outcome, Outcome::Executed(_))), (3, true), "takeover");

    let single_write = world.call("one write", "a");
    let run = |attempt: idempotency::Attempt<TransactWriteItem>| async move {
        attempt.add_effect(effect("inside"));
        Verdict::Success("posted".to_owned())
    };
    for (name, engine, executed) in [("first", &world.engine, true), ("duplicate", &elsewhere, false)] {
        let (requests, outcome) = world.requests(engine.run_single_write(&single_write, run)).await;
        let outcome = outcome.expect("an outcome");
        assert_eq!((requests, matches!(outcome, Outcome::Executed(_))), (1, executed), "one write, {name}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_long_answer_is_written_in_the_same_requests_and_replayed_whole_elsewhere() {
    let world = World::start().await;
    // Requests of a replay in another process: the claim that finds the record, and one for each part.
    for (bytes, replay) in [(10_000, 1), (40_000, 2), (2_000_000, 4), (7_000_000, 11)] {
        let (call, text) = (world.call(&format!("k-{bytes}"), "a"), digits(bytes));
        let run = |attempt: idempotency::Attempt<TransactWriteItem>| {
            attempt.add_effect(effect(format!("with-{bytes}")));
            async { Verdict::Success(text.clone()) }
        };
        let (requests, outcome) = world.requests(world.engine.run(&call, run)).await;
        assert!(matches!(outcome, Ok(Outcome::Executed(_))), "{bytes} bytes: {outcome:?}");
        assert_eq!(requests, 2, "{bytes} bytes");
        assert!(world.applied(&format!("with-{bytes}")).await);

        let elsewhere = world.elsewhere();
        let must_not_run = |_| async { panic!("must not run again") };
        let (requests, outcome) = world.requests(elsewhere.run::<String, _, _>(&call, must_not_run)).await;
        assert!(matches!(outcome, Ok(Outcome::Replayed(answered)) if answered.answer == text), "{bytes} bytes");
        assert_eq!(requests, replay, "{bytes} bytes");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_answer_that_is_too_long_for_a_transaction_settles_the_record_all_the_same() {
    let world = World::start().await;
    let call = world.call("k", "a");
    let text = digits(9_000_000);
    let run = |_| async { Verdict::Success(text.clone()) };
    let outcome = world.engine.run(&call, run).await.expect("an outcome");
    assert!(matches!(outcome, Outcome::Executed(Answered { resolution: Resolution::Success, .. })));
    let again = world.elsewhere().run::<String, _, _>(&call, |_| async { panic!("must not run again") }).await;
    assert!(matches!(again, Err(idempotency::Error::UnreadableAnswer { .. })), "{again:?}");
}

/// The library does not know how large the items become that effects update; they count towards the transaction's 4 MB.
#[tokio::test(flavor = "multi_thread")]
async fn an_answer_that_the_service_rejects_beside_the_effects_is_recorded_in_its_short_form() {
    let world = World::start().await;
    let (call, text) = (world.call("k", "a"), digits(7_000_000));
    let run = |attempt: Attempt<TransactWriteItem>| {
        for number in 0..3 {
            let update = Update::builder()
                .table_name(RECORDS)
                .set_key(Some(key(format!("large-{number}"))))
                .update_expression("SET contents = :contents")
                .expression_attribute_values(":contents", AttributeValue::S(digits(390_000)));
            attempt.add_effect(TransactWriteItem::builder().update(update.build().expect("complete")).build());
        }
        attempt.add_effect(effect("beside"));
        async { Verdict::Success(text.clone()) }
    };
    let (requests, outcome) = world.requests(world.engine.run(&call, run)).await;
    assert!(matches!(&outcome, Ok(Outcome::Executed(answered)) if answered.answer == text), "{outcome:.300?}");
    assert_eq!(requests, 3, "a claim, a commit that is rejected, a commit without the answer");
    assert!(world.applied("beside").await);
    for world in [&world.engine, &world.elsewhere()] {
        let again = world.run::<String, _, _>(&call, |_| async { panic!("must not run again") }).await;
        assert!(matches!(again, Err(idempotency::Error::UnreadableAnswer { .. })), "{again:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_lost_reply_to_a_long_answer_is_recognised() {
    let world = World::start().await;
    let (call, text) = (world.call("k", "a"), digits(1_000_000));
    world.database.proxy.plan([Fault::None, Fault::LoseReply]);
    let run = |_| async { Verdict::Success(text.clone()) };
    let outcome = world.engine.run(&call, run).await.expect("an outcome");
    assert!(matches!(outcome, Outcome::Executed(Answered { attempt: 1, .. })));
    let again = world.elsewhere().run::<String, _, _>(&call, |_| async { panic!("must not run again") }).await;
    assert!(matches!(again, Ok(Outcome::Replayed(answered)) if answered.answer == text));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_table_that_is_not_there_is_an_error_and_nothing_runs() {
    let world = World::start().await;
    let engine = Engine::builder(DynamoDbStore::new(world.client.clone(), "Missing")).build();
    let run = |_| async { panic!("must not run") };
    let outcome = engine.run::<String, _, _>(&world.call("k", "a"), run).await;
    assert!(matches!(outcome, Err(idempotency::Error::StoreUnavailable(_))), "{outcome:?}");
}
