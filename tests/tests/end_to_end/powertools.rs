//! Taking over from Powertools for AWS Lambda (Python, TypeScript), as published: nothing that it has done is done
//! again.

use std::io::{BufRead, BufReader, Write};
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use aws_sdk_dynamodb::Client;
use aws_sdk_dynamodb::types::{AttributeValue, TransactWriteItem};
use idempotency::engine::{Clock, InputKey};
use idempotency::http::everyone;
use idempotency::powertools::{NotRun, OldNames, Predecessor};
use idempotency::protocol::{EpochMs, Expression, Fingerprinter, Key, Pointer, Principal};
use idempotency::reconcile::OnlyTransactionalEffects;
use idempotency::store::dynamodb::AttributeNames;
use idempotency::{Attempt, Call, DynamoDbStore, Engine, IdempotencyLayer, Operation, Outcome, Uncertain, Verdict};
use lambda_http::tower::{Layer, ServiceExt, service_fn};
use lambda_http::{Body, Request, Response};
use serde_json::{Value, json};
use tests::dynamodb::{Database, RECORDS};
use tests::{packages, workspace};

const PROJECT: &str = "tests/powertools";

/// The old function's table.
const OLD: &str = "Old";

#[derive(Clone, Copy, Debug)]
enum Language {
    Python,
    TypeScript,
}

const BOTH: [Language; 2] = [Language::Python, Language::TypeScript];

/// The old function: a process with Powertools.
struct OldFunction {
    child: Child,
    commands: ChildStdin,
    answers: BufReader<ChildStdout>,
}

impl OldFunction {
    /// `None`: its language is not installed here.
    fn start(test: &str, language: Language, database: &Database, settings: &Value) -> Option<Self> {
        let mut command = match language {
            Language::Python => {
                let mut python = Command::new(packages::python(test, PROJECT)?);
                python.arg(workspace().join(PROJECT).join("dynamodb.py"));
                python
            }
            Language::TypeScript => {
                let mut node = Command::new("node");
                node.env("NODE_NO_WARNINGS", "1")
                    .arg(workspace().join(PROJECT).join("dynamodb.js"))
                    .current_dir(packages::node(test, PROJECT)?);
                node
            }
        };
        command.args([database.proxy.url(), database.region().to_owned(), settings.to_string()]);
        let mut child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().expect("it starts");
        let commands = child.stdin.take().expect("piped");
        let answers = BufReader::new(child.stdout.take().expect("piped"));
        Some(Self { child, commands, answers })
    }

    fn ask(&mut self, command: &Value) -> Value {
        // The database is in this process, and its tasks must run meanwhile.
        tokio::task::block_in_place(|| {
            writeln!(self.commands, "{command}").expect("it reads");
            let mut line = String::new();
            self.answers.read_line(&mut line).expect("it answers");
            serde_json::from_str(&line).expect("it answers in JSON")
        })
    }

    fn place(&mut self, order: &Value, answer: &Value) -> Value {
        self.ask(&json!({"do": "place", "order": order, "answer": answer}))
    }
}

impl Drop for OldFunction {
    fn drop(&mut self) {
        drop(self.child.kill());
        drop(self.child.wait());
    }
}

/// The system's clock, and a little later if the test says so.
#[derive(Clone, Default)]
struct Later(Arc<AtomicU64>);

impl Clock for Later {
    fn now(&self) -> EpochMs {
        EpochMs::from(std::time::SystemTime::now()).plus(Duration::from_millis(self.0.load(Ordering::SeqCst)))
    }
}

/// The new function, beside the old one's table.
struct NewFunction {
    engine: Engine<DynamoDbStore>,
    client: Client,
    old: Predecessor,
    clock: Later,
    runs: AtomicU64,
}

impl NewFunction {
    async fn start(database: &Database, language: Language) -> Self {
        let (client, clock) = (database.client().await, Later::default());
        let engine = Engine::builder(DynamoDbStore::new(client.clone(), RECORDS)).clock(clock.clone());
        let old = match language {
            Language::Python => Predecessor::python(client.clone(), OLD, "pay.app.place"),
            Language::TypeScript => Predecessor::typescript(client.clone(), OLD, "pay"),
        };
        Self { engine: engine.build(), client, old, clock, runs: AtomicU64::new(0) }
    }

    fn with(self, change: impl FnOnce(Predecessor) -> Predecessor) -> Self {
        Self { old: change(self.old), ..self }
    }

    fn call(&self, order: &Value) -> Call {
        let id = Pointer::new("/id").expect("a pointer");
        let deadline = self.engine.now().plus(Duration::from_secs(30));
        Call::of_input(Operation::new("pay", "place"), InputKey::At(&id), order, deadline).expect("a call")
    }

    async fn place(&self, order: &Value) -> Outcome<Value> {
        self.place_as(order, Verdict::Success(json!({"by": "new"}))).await
    }

    async fn place_as(&self, order: &Value, verdict: Verdict<Value>) -> Outcome<Value> {
        let key = self.old.key(&order["id"]).expect("a key");
        let run = |_| async {
            self.runs.fetch_add(1, Ordering::SeqCst);
            verdict
        };
        self.old.run(&self.engine, &self.call(order), &key, run).await.expect("an outcome")
    }

    fn runs(&self) -> u64 {
        self.runs.load(Ordering::SeqCst)
    }

    /// The item of an order in the old table.
    async fn old_item(&self, order: &Value) -> Option<std::collections::HashMap<String, AttributeValue>> {
        let key = self.old.key(&order["id"]).expect("a key");
        let get = self.client.get_item().table_name(OLD).key("id", AttributeValue::S(key.as_str().to_owned()));
        get.consistent_read(true).send().await.expect("it answers").item
    }
}

async fn database() -> Database {
    let database = Database::start().await;
    database.create_table(OLD, &AttributeNames::default()).await;
    database
}

fn by_id() -> Value {
    json!({"key": "id"})
}

fn answer<T: std::fmt::Debug>(outcome: Outcome<T>, is_replay: bool) -> T {
    match (outcome, is_replay) {
        (Outcome::Replayed(answered), true) | (Outcome::Executed(answered), false) => answered.answer,
        (other, _) => panic!("{other:?}"),
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn keys_are_those_that_powertools_computes() {
    const TEST: &str = "keys_are_those_that_powertools_computes";
    let mut values: Vec<Value> = serde_json::from_str(
        r#"["order-17", "", "ä \"q\" \\ \/ \b\f\n\r\t\u0001\u007f\u2028 😀", 17, 0, -5, true, false, 1.5, 1.0, 1e16, 1e21, 1e-7,
            0.1, 123456789.125, 1325704873164498.2, 1325704873164498.7, 5e-324, 1.7976931348623157e308, 9007199254740993, ["ann", 17, null], [],
            {"b": 1, "A": {"d": [1, {"z": null, "y": 2}], "c": "x"}, "_": 2.50, "10": 1, "2": 2, "01": 3, "é": 4, "Ω": 5}]"#,
    )
    .expect("JSON");
    let seed = tests::sizes::number("SEED", u64::from(std::process::id()));
    eprintln!("SEED={seed}");
    let mut random = fastrand::Rng::with_seed(seed);
    values.extend((0..300).map(|_| any_json(&mut random, 3)));
    for language in BOTH {
        let database = database().await;
        let new = NewFunction::start(&database, language).await;
        let Some(mut old) = OldFunction::start(TEST, language, &database, &json!({})) else { continue };
        // What Python takes for no key has no id; it is the value above that is empty.
        let theirs = old.ask(&json!({"do": "ids", "values": values}));
        let theirs = theirs["ids"].as_array().expect("a list");
        assert_eq!(theirs.len(), values.len());
        for (value, id) in values.iter().zip(theirs) {
            let is_null_in_typescript = value.is_null() && matches!(language, Language::TypeScript);
            // Without an expression TypeScript hashes even null; with one such calls are not protected. An object of
            // nulls names nothing in this version of Powertools for Python, and did in earlier ones, so that it is
            // looked up.
            if is_null_in_typescript || value.is_object() && id.is_null() {
                continue;
            }
            let ours = new.old.key(value).ok().map(|key| key.as_str().to_owned());
            assert_eq!(ours.as_deref(), id.as_str(), "{language:?}: {value}");
        }
    }
}

/// Names do not differ in case only: in which order TypeScript keeps such is not known from the value.
fn any_json(random: &mut fastrand::Rng, depth: u32) -> Value {
    let text = |random: &mut fastrand::Rng| -> String {
        let characters = ['a', 'Z', '0', '9', ' ', '_', '"', '\\', '\n', 'é', '😀', '\u{1}', '/'];
        (0..random.usize(0..6)).map(|_| random.choice(characters).expect("a character")).collect()
    };
    match random.u8(0..if depth == 0 { 5 } else { 7 }) {
        0 => Value::Null,
        1 => random.bool().into(),
        2 => random.i64(-(1 << 53)..1 << 53).into(),
        3 => json!((random.f64() - 0.5) * 10_f64.powi(random.i32(-12..25))),
        4 => text(random).into(),
        5 => (0..random.usize(0..4)).map(|_| any_json(random, depth - 1)).collect(),
        _ => {
            let members = (0..random.usize(0..4)).map(|_| (text(random).to_lowercase(), any_json(random, depth - 1)));
            Value::Object(members.collect())
        }
    }
}

/// The order is charged by the old function, and repeated by its client after the switch.
#[tokio::test(flavor = "multi_thread")]
async fn an_order_that_powertools_has_charged_is_not_charged_again() {
    const TEST: &str = "an_order_that_powertools_has_charged_is_not_charged_again";
    let answers = [
        json!({"by": "old", "amount": 12.5, "lines": [1, "é", null, true], "note": ""}),
        json!("a text"),
        json!(17),
        json!(null),
        json!([]),
    ];
    for (language, stopped) in [
        (Language::Python, false),
        (Language::TypeScript, false),
        (Language::Python, true),
        (Language::TypeScript, true),
    ] {
        let database = database().await;
        let new = NewFunction::start(&database, language).await;
        let new = new.with(|old| if stopped { old.stopped() } else { old });
        let Some(mut old) = OldFunction::start(TEST, language, &database, &by_id()) else { continue };
        for (number, given) in answers.iter().enumerate() {
            let order = json!({"id": format!("order-{number}"), "amount": 5});
            assert_eq!(old.place(&order, given), json!({"answer": given, "ran": true}), "{language:?}");
            assert_eq!(&answer(new.place(&order).await, true), given, "{language:?}");
            // From now on ours is enough.
            let key = new.old.key(&order["id"]).expect("a key").as_str().to_owned();
            let delete = new.client.delete_item().table_name(OLD).key("id", AttributeValue::S(key));
            delete.send().await.expect("deleted");
            assert_eq!(&answer(new.place(&order).await, true), given, "{language:?}");
        }
        assert_eq!(new.runs(), 0, "{language:?}");
        let other = json!({"id": "another", "amount": 5});
        assert_eq!(answer(new.place(&other).await, false), json!({"by": "new"}), "what it has not charged is charged");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn while_powertools_runs_an_order_nothing_runs_and_then_its_answer_counts() {
    const TEST: &str = "while_powertools_runs_an_order_nothing_runs_and_then_its_answer_counts";
    for (language, stopped) in [(Language::Python, false), (Language::TypeScript, true)] {
        let database = database().await;
        let new = NewFunction::start(&database, language).await;
        let new = new.with(|old| if stopped { old.stopped() } else { old });
        let Some(mut old) = OldFunction::start(TEST, language, &database, &by_id()) else { continue };
        let order = json!({"id": "order-1"});
        assert_eq!(old.ask(&json!({"do": "hold", "order": order, "answer": "held"})), json!({"runs": true}));
        for _ in 0..2 {
            let outcome = new.place(&order).await;
            let Outcome::InProgress { retry_after } = outcome else { panic!("{outcome:?}") };
            assert!(retry_after > Duration::from_secs(30) && retry_after < Duration::from_secs(62), "{retry_after:?}");
        }
        assert_eq!(old.ask(&json!({"do": "go"})), json!({"answer": "held", "ran": true}), "{language:?}");
        assert_eq!(answer(new.place(&order).await, true), json!("held"));
        assert_eq!(new.runs(), 0, "{language:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_attempt_of_powertools_that_did_not_end_is_unknown_and_repeated_only_where_that_is_declared() {
    const TEST: &str = "an_attempt_of_powertools_that_did_not_end_is_unknown_and_repeated_only_where_that_is_declared";
    for language in BOTH {
        let database = database().await;
        let Some(mut old) = OldFunction::start(TEST, language, &database, &by_id()) else { continue };
        let mut die = |id: &str| {
            let order = json!({"id": id});
            assert_eq!(old.ask(&json!({"do": "die", "order": order, "remaining_ms": 60_000})), json!({"died": true}));
            order
        };
        let new = NewFunction::start(&database, language).await;
        let order = die("order-1");
        assert!(matches!(new.place(&order).await, Outcome::InProgress { .. }), "it may still write");
        new.clock.0.store(62_500, Ordering::SeqCst);
        for _ in 0..2 {
            assert!(matches!(new.place(&order).await, Outcome::Unknown { .. }), "{language:?}");
        }
        // Later than the old table keeps its items, and also if it is said that our own transaction did not happen:
        // that proves nothing about the old one.
        new.clock.0.store(2 * 3_600_000, Ordering::SeqCst);
        assert!(matches!(new.place(&order).await, Outcome::Unknown { .. }), "{language:?}");
        let key = new.old.key(&order["id"]).expect("a key");
        let run = async |attempt| new.old.guard(&key, attempt, async |_| -> Verdict<Value> { panic!("it runs") }).await;
        let run = async |attempt| run(attempt).await.expect("a verdict");
        let outcome = new.engine.run_or_reconcile(&new.call(&order), run, &OnlyTransactionalEffects).await;
        assert!(matches!(outcome, Ok(Outcome::Unknown { .. })), "{language:?}: {outcome:?}");
        assert_eq!(new.runs(), 0);

        for (within_s, runs) in [(60 * 60, 1), (15 * 60, 0)] {
            let repeat = Uncertain::Repeat { within: Duration::from_secs(within_s) };
            let new = NewFunction::start(&database, language).await.with(|old| old.uncertain(repeat));
            let order = die(&format!("repeated within {within_s}"));
            new.clock.0.store(62_500, Ordering::SeqCst);
            let outcome = new.place(&order).await;
            assert_eq!(matches!(outcome, Outcome::Executed(_)), runs == 1, "{language:?}: {outcome:?}");
            assert_eq!(new.runs(), runs);
        }
        let replay = old.place(&json!({"id": "repeated within 3600"}), &json!("old"));
        assert_eq!(replay, json!({"answer": {"by": "new"}, "ran": false}), "{language:?}: it finds the new answer");
    }
}

/// Powertools forgets an attempt when its item expires, whatever it did.
#[tokio::test(flavor = "multi_thread")]
async fn an_attempt_of_powertools_that_did_not_end_is_not_forgotten_when_it_expires() {
    const TEST: &str = "an_attempt_of_powertools_that_did_not_end_is_not_forgotten_when_it_expires";
    for (language, stopped) in [(Language::Python, false), (Language::TypeScript, true)] {
        let database = database().await;
        let new = NewFunction::start(&database, language).await;
        let new = new.with(|old| if stopped { old.stopped() } else { old });
        let Some(mut old) = OldFunction::start(TEST, language, &database, &by_id()) else { continue };
        let dead = [json!({"id": "with a deadline"}), json!({"id": "without"})];
        for order in &dead {
            let died = old.ask(&json!({"do": "die", "order": order, "remaining_ms": 60_000}));
            assert_eq!(died, json!({"died": true}));
        }
        // As without `register_lambda_context`.
        let key = new.old.key(&dead[1]["id"]).expect("a key").as_str().to_owned();
        let update = new.client.update_item().table_name(OLD).key("id", AttributeValue::S(key));
        update.update_expression("REMOVE in_progress_expiration").send().await.expect("writable");
        assert!(matches!(new.place(&dead[1]).await, Outcome::InProgress { .. }), "it may still write");

        // The first that asks comes after both have expired.
        for hours in [2, 3] {
            new.clock.0.store(hours * 3_600_000, Ordering::SeqCst);
            for order in &dead {
                let outcome = new.place(order).await;
                assert!(matches!(outcome, Outcome::Unknown { .. }), "{language:?}: {order} {outcome:?}");
            }
        }
        assert_eq!(new.runs(), 0, "{language:?}");
    }
}

/// An answer of another form proves that the operation was done. It expires, and its order is not done again.
#[tokio::test(flavor = "multi_thread")]
async fn an_answer_of_powertools_that_cannot_be_read_is_kept() {
    const TEST: &str = "an_answer_of_powertools_that_cannot_be_read_is_kept";
    for language in BOTH {
        let database = database().await;
        let new = NewFunction::start(&database, language).await.with(Predecessor::stopped);
        let Some(mut old) = OldFunction::start(TEST, language, &database, &by_id()) else { continue };
        let order = json!({"id": "order-1"});
        old.place(&order, &json!("a text"));
        let key = new.old.key(&order["id"]).expect("a key");
        for hours in [0, 2] {
            new.clock.0.store(hours * 3_600_000, Ordering::SeqCst);
            let run = async |_| -> Verdict<u64> { panic!("it runs") };
            let outcome = new.old.run(&new.engine, &new.call(&order), &key, run).await.expect("an outcome");
            assert!(matches!(outcome, Outcome::Unknown { .. }), "{language:?} after {hours} h: {outcome:?}");
        }
        let item = new.old_item(&order).await.expect("it is kept");
        assert_eq!(item["expiration"], AttributeValue::N("253402300799".into()), "{language:?}");
    }
}

/// What is repeated after an attempt of the old function is repeated only for as long as is declared, also if the first
/// repetition executed nothing.
#[tokio::test(flavor = "multi_thread")]
async fn an_attempt_of_powertools_is_repeated_no_longer_than_is_declared() {
    const TEST: &str = "an_attempt_of_powertools_is_repeated_no_longer_than_is_declared";
    for language in BOTH {
        let database = database().await;
        let repeat = Uncertain::Repeat { within: Duration::from_secs(60 * 60) };
        let new = NewFunction::start(&database, language).await.with(|old| old.uncertain(repeat));
        let Some(mut old) = OldFunction::start(TEST, language, &database, &by_id()) else { continue };
        let order = json!({"id": "order-1"});
        let died = old.ask(&json!({"do": "die", "order": order, "remaining_ms": 60_000}));
        assert_eq!(died, json!({"died": true}));
        new.clock.0.store(62_500, Ordering::SeqCst);
        let refused = new.place_as(&order, Verdict::NotExecuted(json!("later"))).await;
        assert!(matches!(refused, Outcome::NotExecuted(_)), "{language:?}: {refused:?}");
        new.clock.0.store(3_600_000, Ordering::SeqCst);
        let outcome = new.place(&order).await;
        assert!(matches!(outcome, Outcome::Unknown { .. }), "{language:?}: {outcome:?}");
        assert_eq!(new.runs(), 1, "{language:?}");
    }
}

/// Two callers whose old keys are one: the old function gave each the other's answers.
#[tokio::test(flavor = "multi_thread")]
async fn an_answer_of_the_new_function_is_for_its_own_caller() {
    let database = database().await;
    let new = NewFunction::start(&database, Language::Python).await;
    let key = new.old.key(&"shared").expect("a key");
    let place = async |caller: &str| {
        let call = Call::new(
            Operation::new("pay", "place"),
            Principal::new(caller).expect("valid"),
            Key::new("k").expect("valid"),
            Fingerprinter::new().bytes(b"order").finish(),
            new.engine.now().plus(Duration::from_secs(30)),
        );
        let run = async |_| Verdict::Success(json!({"for": caller}));
        new.old.run(&new.engine, &call, &key, run).await.expect("an outcome")
    };
    assert_eq!(answer(place("ann").await, false), json!({"for": "ann"}));
    assert!(matches!(place("bob").await, Outcome::Mismatch));
    assert_eq!(answer(place("ann").await, true), json!({"for": "ann"}));
}

#[tokio::test(flavor = "multi_thread")]
async fn powertools_finds_what_the_new_function_does_and_has_done() {
    const TEST: &str = "powertools_finds_what_the_new_function_does_and_has_done";
    const RUNS: &str = "IdempotencyAlreadyInProgressError";
    for language in BOTH {
        let database = database().await;
        let new = NewFunction::start(&database, language).await;
        let Some(mut old) = OldFunction::start(TEST, language, &database, &by_id()) else { continue };

        // While the new function runs, and after it.
        let order = json!({"id": "order-1"});
        let key = new.old.key(&order["id"]).expect("a key");
        let meanwhile = async |_| {
            assert_eq!(old.place(&order, &json!("old")), json!({"error": RUNS, "ran": false}), "{language:?}");
            Verdict::Success(json!({"by": "new", "lines": [1.5, null]}))
        };
        let outcome = new.old.run(&new.engine, &new.call(&order), &key, meanwhile).await.expect("an outcome");
        let given = answer(outcome, false);
        assert_eq!(old.place(&order, &json!("old")), json!({"answer": given, "ran": false}), "{language:?}");

        // A final refusal is an answer.
        let order = json!({"id": "order-2"});
        assert_eq!(answer(new.place_as(&order, Verdict::Failed(json!("declined"))).await, false), json!("declined"));
        assert_eq!(old.place(&order, &json!("old")), json!({"answer": "declined", "ran": false}), "{language:?}");

        // What executed nothing is free, for both.
        let order = json!({"id": "order-3"});
        let outcome = new.place_as(&order, Verdict::NotExecuted(json!("later"))).await;
        assert!(matches!(outcome, Outcome::NotExecuted(_)), "{outcome:?}");
        assert!(new.old_item(&order).await.is_none());
        assert_eq!(old.ask(&json!({"do": "refuse", "order": order}))["ran"], json!(true));
        assert_eq!(answer(new.place(&order).await, false), json!({"by": "new"}));

        // What nobody knows does not run, with either.
        let order = json!({"id": "order-4"});
        let outcome = new.place_as(&order, Verdict::Unknown("no reply".into())).await;
        assert!(matches!(outcome, Outcome::Unknown { .. }), "{outcome:?}");
        assert_eq!(old.place(&order, &json!("old")), json!({"error": RUNS, "ran": false}), "{language:?}");
    }
}

/// As in a rolling deployment: clients send the same orders to both.
#[tokio::test(flavor = "multi_thread")]
async fn of_old_and_new_attempts_at_once_one_runs() {
    const TEST: &str = "of_old_and_new_attempts_at_once_one_runs";
    let seed = tests::sizes::number("SEED", u64::from(std::process::id()));
    eprintln!("SEED={seed}");
    for language in BOTH {
        let database = database().await;
        let new = Arc::new(NewFunction::start(&database, language).await);
        let Some(mut old) = OldFunction::start(TEST, language, &database, &by_id()) else { continue };
        let mut random = fastrand::Rng::with_seed(seed);
        for number in 0..40 {
            let order = json!({"id": format!("order-{number}")});
            let before = new.runs();
            let delay = Duration::from_micros(random.u64(0..6_000));
            let ours = tokio::spawn({
                let (new, order) = (Arc::clone(&new), order.clone());
                async move {
                    tokio::time::sleep(delay).await;
                    new.place(&order).await
                }
            });
            let theirs = old.place(&order, &json!("old"));
            let ours = ours.await.expect("no panic");
            let ran = [theirs["ran"] == json!(true), new.runs() > before];
            assert!(ran[0] != ran[1], "{language:?}, {delay:?}: {theirs}, {ours:?}");
            let settled = if ran[0] { json!("old") } else { json!({"by": "new"}) };
            assert_eq!(old.place(&order, &json!("again")), json!({"answer": settled, "ran": false}), "{language:?}");
            assert_eq!(new.place(&order).await.into_result(), Ok(settled), "{language:?}");
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn another_payload_under_an_old_key_neither_runs_nor_is_answered() {
    const TEST: &str = "another_payload_under_an_old_key_neither_runs_nor_is_answered";
    for language in BOTH {
        let database = database().await;
        let new = NewFunction::start(&database, language).await;
        let settings = json!({"key": "id", "validation": "amount"});
        let Some(mut old) = OldFunction::start(TEST, language, &database, &settings) else { continue };
        let order = |amount: u64| json!({"id": "order-1", "amount": amount});
        assert_eq!(old.place(&order(5), &json!("old"))["ran"], json!(true));
        let place = async |order: Value| {
            let key = new.old.key(&order["id"]).and_then(|key| key.validated(&order["amount"])).expect("a key");
            let run = async |_| -> Verdict<Value> { panic!("it runs") };
            new.old.run(&new.engine, &new.call(&order), &key, run).await.expect("an outcome")
        };
        assert_eq!(place(order(6)).await, Outcome::Mismatch, "{language:?}");
        assert_eq!(
            answer(place(order(5)).await, true),
            json!("old"),
            "{language:?}: the mismatch has not used the key"
        );
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn tables_with_a_sort_key_other_hashes_and_expressions_are_read_as_well() {
    const TEST: &str = "tables_with_a_sort_key_other_hashes_and_expressions_are_read_as_well";
    for language in BOTH {
        let database = database().await;
        let names = AttributeNames { id: "PK".into(), sort: Some("SK".into()), ..AttributeNames::default() };
        database.create_table("Shop", &names).await;
        let key = "[id, powertools_json(body).user]";
        let settings = json!({"table": "Shop", "key_attr": "PK", "sort_key_attr": "SK", "hash": "sha256", "key": key});
        let Some(mut old) = OldFunction::start(TEST, language, &database, &settings) else { continue };
        let names = OldNames {
            key: "PK".into(),
            sort: Some("SK".into()),
            static_partition: "idempotency#pay".into(),
            ..OldNames::default()
        };
        let client = database.client().await;
        let predecessor = match language {
            Language::Python => Predecessor::python(client, "Shop", "pay.app.place"),
            Language::TypeScript => Predecessor::typescript(client, "Shop", "pay"),
        };
        let predecessor = predecessor.names(names).hash(idempotency::powertools::Hash::Sha256);
        let new = NewFunction::start(&database, language).await.with(|_| predecessor);
        let expression = Expression::new(key).expect("an expression");
        for id in ["order-1", "order-2"] {
            let order = json!({"id": id, "body": "{\"user\": \"änn\", \"amount\": 5}"});
            let document = idempotency::protocol::Document::parse(order.to_string().as_bytes()).expect("JSON");
            let key = new.old.key_selected(&expression, &document).expect("a key");
            let place = async || {
                let run = async |_| Verdict::Success(json!("new"));
                new.old.run(&new.engine, &new.call(&order), &key, run).await.expect("an outcome")
            };
            match id {
                "order-1" => {
                    assert_eq!(old.place(&order, &json!("old"))["ran"], json!(true));
                    assert_eq!(answer(place().await, true), json!("old"), "{language:?}");
                }
                _ => {
                    assert_eq!(answer(place().await, false), json!("new"), "{language:?}");
                    assert_eq!(
                        old.place(&order, &json!("old")),
                        json!({"answer": "new", "ran": false}),
                        "{language:?}"
                    );
                }
            }
        }
    }
}

async fn handler(request: Request) -> Result<Response<Body>, lambda_http::Error> {
    let attempt = Attempt::<TransactWriteItem>::from_request(&request)?;
    let response = Response::builder().status(201).header("location", format!("/{}", attempt.number()));
    Ok(response.body(Body::Text("new".into()))?)
}

#[tokio::test(flavor = "multi_thread")]
async fn an_api_replays_the_responses_of_powertools_and_powertools_those_of_the_api() {
    const TEST: &str = "an_api_replays_the_responses_of_powertools_and_powertools_those_of_the_api";
    for language in BOTH {
        let database = database().await;
        let new = NewFunction::start(&database, language).await;
        let settings = json!({"key": "headers.\"idempotency-key\""});
        let Some(mut old) = OldFunction::start(TEST, language, &database, &settings) else { continue };
        let key = |old: &Predecessor, request: &Request| {
            let header = request.headers().get("idempotency-key").and_then(|value| value.to_str().ok());
            header.map(|header| old.key(&header)).transpose()
        };
        let layer = IdempotencyLayer::new(new.engine.clone(), "pay").principal(everyone);
        let api = layer.predecessor(new.old.clone(), key).layer(service_fn(handler));
        let send = async |key: &str| {
            let request = lambda_http::http::Request::post("/orders").header("idempotency-key", key);
            let response = api.clone().oneshot(request.body(Body::Text("{}".into())).expect("a request")).await;
            let response = response.expect("a response");
            let replayed = response.headers().contains_key("idempotency-replayed");
            (response.status().as_u16(), replayed, String::from_utf8_lossy(response.body()).into_owned())
        };
        let event = |key: &str| json!({"headers": {"idempotency-key": key}});

        let theirs = json!({"statusCode": 402, "headers": {"content-type": "text/plain"}, "body": "declined"});
        assert_eq!(old.place(&event("k-1"), &theirs)["ran"], json!(true));
        for _ in 0..2 {
            assert_eq!(send("k-1").await, (402, true, "declined".into()), "{language:?}");
        }

        assert_eq!(old.ask(&json!({"do": "hold", "order": event("k-2"), "answer": theirs})), json!({"runs": true}));
        assert_eq!(send("k-2").await.0, 409, "{language:?}");
        old.ask(&json!({"do": "go"}));
        assert_eq!(send("k-2").await, (402, true, "declined".into()), "{language:?}");

        assert_eq!(send("k-3").await, (201, false, "new".into()), "{language:?}");
        let replay = old.place(&event("k-3"), &theirs);
        assert_eq!((&replay["ran"], &replay["answer"]["body"]), (&json!(false), &json!("new")), "{language:?}");
        assert_eq!(replay["answer"]["headers"]["location"], json!("/1"), "{language:?}");
    }
}

/// A handler of messages, which has its attempt already.
#[tokio::test(flavor = "multi_thread")]
async fn a_guarded_attempt_takes_the_old_answer_or_runs() {
    const TEST: &str = "a_guarded_attempt_takes_the_old_answer_or_runs";
    let database = database().await;
    let new = NewFunction::start(&database, Language::Python).await;
    let Some(mut old) = OldFunction::start(TEST, Language::Python, &database, &by_id()) else { return };
    let handle = async |order: Value| {
        let key = new.old.key(&order["id"]).expect("a key");
        let run = async |attempt: Attempt<TransactWriteItem>| {
            let run = async |_| Verdict::Success(json!("new"));
            match new.old.guard(&key, attempt, run).await {
                Ok(verdict) => verdict,
                Err(NotRun::InProgress { .. }) => Verdict::NotExecuted(json!("returned")),
                Err(error) => Verdict::Unknown(error.into()),
            }
        };
        new.engine.run(&new.call(&order), run).await.expect("an outcome").into_result().expect("an answer")
    };
    assert_eq!(old.place(&json!({"id": "order-1"}), &json!("old"))["ran"], json!(true));
    assert_eq!(handle(json!({"id": "order-1"})).await, json!("old"));
    assert_eq!(old.ask(&json!({"do": "hold", "order": {"id": "order-2"}, "answer": "held"})), json!({"runs": true}));
    assert_eq!(handle(json!({"id": "order-2"})).await, json!("returned"));
    old.ask(&json!({"do": "go"}));
    assert_eq!(handle(json!({"id": "order-2"})).await, json!("held"));
    assert_eq!(handle(json!({"id": "order-3"})).await, json!("new"));
    assert_eq!(old.place(&json!({"id": "order-3"}), &json!("old")), json!({"answer": "new", "ran": false}));
}
