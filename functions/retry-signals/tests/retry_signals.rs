//! Tests on an embedded DynamoDB.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use aws_sdk_dynamodb::Client;
use aws_sdk_dynamodb::config::{BehaviorVersion, Credentials, Region};
use aws_sdk_dynamodb::types::{AttributeDefinition, BillingMode, KeySchemaElement, KeyType, ScalarAttributeType};
use idempotency::engine::{Clock, SystemClock};
use idempotency::protocol::{EpochMs, InvocationId};
use idempotency::{DynamoDbStore, Engine};
use payments::Invocation;
use serde_json::json;
use signals::{Counts, Detector, Kind, Memory, Model, Moment, Sample, WindowTime};

use retry_signals::count::{Counted, Counter};
use retry_signals::delivery::{Delivery, LogEvent};
use retry_signals::score::{Report, Scorer};
use retry_signals::table::{Label, Labelling, Signals, TableError};

const SIGNALS: &str = "Signals";
const RECORDS: &str = "Records";
const WINDOW_S: u64 = 300;
const DAY_S: u64 = 24 * 60 * 60;

/// A pseudonym.
fn name(number: usize) -> String {
    format!("entity{number:06}")
}

/// A clock that is behind until it is set right.
#[derive(Clone)]
struct LateClock(Arc<AtomicU64>);

impl Clock for LateClock {
    fn now(&self) -> EpochMs {
        SystemClock.now().minus(Duration::from_secs(self.0.load(Ordering::Relaxed)))
    }
}

struct World {
    client: Client,
    engine: Engine<DynamoDbStore>,
    table: Signals,
    counter: Counter,
    clock: LateClock,
    /// The start of the window that closed last.
    at_s: u64,
}

impl World {
    async fn start() -> Self {
        let client = database().await;
        create(&client, SIGNALS, &["pk", "sk"]).await;
        create(&client, RECORDS, &["id"]).await;
        let clock = LateClock(Arc::new(AtomicU64::new(WINDOW_S)));
        let engine = Engine::builder(DynamoDbStore::new(client.clone(), RECORDS)).clock(clock.clone()).build();
        let table = Signals::new(client.clone(), SIGNALS.to_owned(), Duration::from_secs(WINDOW_S));
        let counter = Counter::new(table.clone(), "1".to_owned(), "Logs".to_owned());
        let now_s = engine.now().0 / 1000;
        // Windows are scored two minutes after they have closed.
        let at_s = WindowTime::containing(now_s - WINDOW_S - 120, 300).start_s;
        Self { client, engine, table, counter, clock, at_s }
    }

    fn window(&self) -> WindowTime {
        WindowTime::containing(self.at_s, 300)
    }

    async fn count(&self, delivery: &Delivery) -> Counted {
        self.counter.count(delivery, self.engine.now()).await.expect("counted")
    }

    async fn score(&self) -> Report {
        let scorer = Scorer::new(self.engine.clone(), self.table.clone(), 3.0);
        let id = InvocationId::parse("018f0000-0000-7000-8000-000000000001");
        let deadline = self.engine.now().plus(Duration::from_secs(60));
        scorer.run(Invocation { id, deadline }).await.expect("scored")
    }

    async fn counts(&self, kind: Kind, entity: &str) -> Counts {
        let history = self.table.history(kind, entity, &[self.window()]).await.expect("read");
        history.into_iter().next().map(|(_, counts)| counts).unwrap_or_default()
    }

    /// A week of ordinary traffic was seen: one in ten payments of everybody is declined.
    async fn has_learned(&self) {
        let (mut sample, model) = (Sample::default(), Model::default());
        for number in 0..3000_u32 {
            let payments = 5 + number % 20;
            let declined = payments / 10;
            let counts = Counts { requests: payments, runs: payments, payments, declined, ..Counts::default() };
            for kind in Kind::ALL {
                let moment = Moment::of(kind, [&counts], &model);
                sample.observe(&counts, &Memory::default(), &moment, self.window());
            }
        }
        self.table.seed_sample(self.window().day() - 1, &sample, 6000).await.expect("seeded");
    }

    /// What ordinary callers do in the window.
    fn traffic(&self, callers: usize, method: &str) -> Delivery {
        let lines = (0..callers).map(|caller| self.line(caller, 500 + caller % 20, method, 201));
        delivery("ordinary", lines.collect())
    }

    /// A caller who tests cards at an account.
    fn card_test(&self) -> Delivery {
        let lines = (0..40).map(|card| self.line(900, 950, &format!("card{card:02}"), 402));
        delivery("attack", lines.collect())
    }

    /// Declines that only one detector counts.
    fn declines(&self, stream: &str) -> Delivery {
        let mut declines = delivery(stream, (0..40).map(|_| self.line(900, 950, "none", 402)).collect());
        for event in &mut declines.log_events {
            event.message =
                event.message.replace("\"instrument\":\"none\",", "").replace("\"small\":true", "\"small\":false");
        }
        declines
    }

    /// Used keys with other requests, about one account.
    fn mismatches(&self, stream: &str) -> Delivery {
        let lines = (0..40).map(|_| self.line(901, 951, "none", 422));
        let told = |(at, line): (u64, String)| (at, line.replace("executed", "mismatch").replace("true", "false"));
        delivery(&format!("mismatches-{stream}"), lines.map(told).collect())
    }

    fn line(&self, who: usize, about: usize, instrument: &str, status: u16) -> (u64, String) {
        let line = json!({ "fields": {
            "outcome": "executed", "operation": "POST /payments", "status": status, "ran": true, "record": instrument,
            "record_id": format!("idempotency:{instrument}"), "who": name(who), "about": name(about),
            "instrument": instrument, "small": true,
        }});
        ((self.at_s + 1) * 1000, line.to_string())
    }
}

fn delivery(stream: &str, lines: Vec<(u64, String)>) -> Delivery {
    let events = lines.into_iter().enumerate();
    let event = |(number, (timestamp, message))| LogEvent { id: format!("{stream}-{number}"), timestamp, message };
    Delivery {
        message_type: "DATA_MESSAGE".to_owned(),
        owner: "1".to_owned(),
        log_group: "Logs".to_owned(),
        log_stream: stream.to_owned(),
        log_events: events.map(event).collect(),
    }
}

async fn database() -> Client {
    let listener = tokio::net::TcpListener::bind(("127.0.0.1", 0)).await.expect("a free port");
    let address = listener.local_addr().expect("bound");
    let database = dynoxide::Database::memory().expect("a database");
    tokio::spawn(dynoxide::server::serve_on(listener, database));
    let config = aws_sdk_dynamodb::Config::builder()
        .behavior_version(BehaviorVersion::latest())
        .region(Region::new("us-east-1"))
        .credentials_provider(Credentials::new("local", "local", None, None, "tests"))
        .endpoint_url(format!("http://{address}"))
        .build();
    Client::from_conf(config)
}

async fn create(client: &Client, table: &str, keys: &[&str]) {
    let mut request = client.create_table().table_name(table).billing_mode(BillingMode::PayPerRequest);
    for (key, kind) in keys.iter().zip([KeyType::Hash, KeyType::Range]) {
        let attribute = AttributeDefinition::builder().attribute_name(*key).attribute_type(ScalarAttributeType::S);
        let schema = KeySchemaElement::builder().attribute_name(*key).key_type(kind);
        request = request.attribute_definitions(attribute.build().expect("complete"));
        request = request.key_schema(schema.build().expect("complete"));
    }
    request.send().await.expect("created");
}

#[tokio::test]
async fn repeated_split_reordered_interleaved_and_half_counted_deliveries_count_as_one() {
    let world = World::start().await;
    // Four deliveries for one caller and one account, each repeated, in an order of each round's own.
    let deliveries: Vec<Delivery> = (0..4)
        .map(|number| {
            let lines = (0..5).map(|card| world.line(1, 2, &format!("c{}", number * 3 + card), 402)).collect();
            delivery(&format!("stream-{number}"), lines)
        })
        .collect();
    let mut order: Vec<&Delivery> = deliveries.iter().chain(&deliveries).chain(&deliveries).collect();
    let seed =
        std::env::var("SEED").ok().and_then(|seed| seed.parse().ok()).unwrap_or_else(|| u64::from(std::process::id()));
    println!("SEED={seed}");
    let mut random = seed | 1;
    for last in (1..order.len()).rev() {
        // Xorshift; any order works.
        random ^= random << 13;
        random ^= random >> 7;
        random ^= random << 17;
        order.swap(last, usize::try_from(random % (last as u64 + 1)).expect("small"));
    }
    // One was counted half before: its account is written, and its caller is not.
    let mut half = deliveries[2].clone();
    for event in &mut half.log_events {
        event.message = event.message.replace(&name(1), &name(3));
    }
    assert_eq!(world.count(&half).await.written, 2);

    // Two at a time.
    let mut written = 0;
    for pair in order.chunks(2) {
        let (one, other) = tokio::join!(world.count(pair[0]), world.count(pair[pair.len() - 1]));
        written += one.written + other.written;
    }
    assert_eq!(written, 4 + 3, "each once for the caller, and for the account but what was counted before");
    for (kind, entity) in [(Kind::Principal, name(1)), (Kind::Account, name(2))] {
        let counts = world.counts(kind, &entity).await;
        assert_eq!((counts.requests, counts.declined, counts.declined_instruments.count()), (20, 20, 14), "{kind:?}");
    }
}

#[tokio::test]
async fn a_lost_reply_is_recognised_and_another_account_or_log_group_is_refused() {
    let world = World::start().await;
    let one = world.card_test();
    assert_eq!(world.count(&one).await, Counted { lines: 40, written: 2, late: 2, ..Counted::default() });
    assert_eq!(world.count(&one).await, Counted { lines: 40, repeated: 2, ..Counted::default() });
    for foreign in
        [Delivery { owner: "2".to_owned(), ..one.clone() }, Delivery { log_group: "Other".to_owned(), ..one.clone() }]
    {
        assert_eq!(world.count(&foreign).await, Counted { refused: true, ..Counted::default() });
    }
    let control = Delivery { message_type: "CONTROL_MESSAGE".to_owned(), ..one };
    assert_eq!(world.count(&control).await, Counted::default());
    assert_eq!(world.counts(Kind::Principal, &name(900)).await.requests, 40);
}

#[tokio::test]
async fn lines_that_are_not_ours_or_too_old_are_skipped_and_counted_and_late_ones_are_told() {
    let world = World::start().await;
    let (at, line) = world.line(1, 2, "c", 201);
    let lines = vec![
        (at, "START".to_owned()),
        (at, line[..line.len() / 2].to_owned()),
        (0, line.clone()),
        (at - 24 * 60 * 60 * 1000, line.clone()),
        (at, line),
    ];
    let counted = world.count(&delivery("s", lines)).await;
    assert_eq!(counted, Counted { lines: 2, skipped: 3, written: 4, late: 4, ..Counted::default() });
}

#[tokio::test]
async fn a_card_test_raises_its_caller_and_its_account_once_however_often_it_is_scored() {
    let world = World::start().await;
    world.has_learned().await;
    world.count(&world.traffic(60, "visa")).await;
    world.count(&world.card_test()).await;
    let report = world.score().await;
    assert_eq!((report.raised, report.learned), (2, true), "{report:?}");
    let raised = world.table.signals(world.window().day()).await.expect("read");
    assert_eq!(raised.len(), 2);
    let signal = raised.iter().find(|signal| signal.kind == Kind::Principal).expect("the caller");
    assert_eq!((signal.entity.as_str(), signal.n, signal.windows), (name(900).as_str(), 40.0, 1));
    assert!(signal.reasons.iter().any(|reason| reason.starts_with("40 of 40 payments declined")), "{signal:?}");
    assert_eq!(signal.records.len(), 4);

    // Again, and again as if the run had died before it stored its progress.
    assert_eq!(world.score().await.raised, 0);
    let before = everything(&world.client).await;
    rewind(&world).await;
    let again = world.score().await;
    assert_eq!((again.raised, again.entities), (0, 60 + 20 + 2), "{again:?}");
    assert_eq!(everything(&world.client).await, before, "nothing has changed");
}

#[tokio::test]
async fn without_enough_to_learn_from_nobody_is_raised() {
    let world = World::start().await;
    world.count(&world.card_test()).await;
    let report = world.score().await;
    assert_eq!((report.raised, report.learned, report.entities), (0, false, 2));
}

#[tokio::test]
async fn an_outage_of_everybody_raises_nobody() {
    let world = World::start().await;
    world.has_learned().await;
    let lines = (0..200).flat_map(|caller| (0..4).map(move |card| (caller, card)));
    let lines = lines.map(|(caller, card)| world.line(caller, 500 + caller % 20, &format!("c{card}"), 402));
    world.count(&delivery("outage", lines.collect())).await;
    let report = world.score().await;
    assert_eq!((report.raised, report.entities), (0, 220), "{report:?}");
}

#[tokio::test]
async fn whoever_repeats_without_a_pause_is_raised_but_not_while_the_runs_of_others_are_slow() {
    assert_eq!([repeated_among_runs_of(40).await, repeated_among_runs_of(4_000).await], [2, 0]);
}

/// The signals that are raised if a caller asks for each of eight keys eleven times, while the runs of others take so
/// long.
async fn repeated_among_runs_of(total_ms: u64) -> u64 {
    let world = World::start().await;
    world.has_learned().await;
    let mut traffic = world.traffic(60, "visa");
    for event in &mut traffic.log_events {
        event.message = event.message.replace("\"ran\":true", &format!("\"ran\":true,\"total_ms\":{total_ms}"));
    }
    world.count(&traffic).await;
    let repeated = (0..88).map(|number| {
        let (at, line) = world.line(900, 950, &format!("key{}", number % 8), 409);
        (at, line.replace("executed", "in progress").replace("\"ran\":true", "\"ran\":false"))
    });
    world.count(&delivery("repeated", repeated.collect())).await;
    world.score().await.raised
}

#[tokio::test]
async fn abuse_leaves_calibration_and_past_and_fine_silences_its_detector() {
    let world = World::start().await;
    world.has_learned().await;
    world.count(&world.traffic(60, "visa")).await;
    world.count(&world.declines("first")).await;
    world.count(&world.mismatches("first")).await;
    world.score().await;
    let day = world.window().day();
    let signal = world.table.signal(day, Kind::Principal, &name(900)).await.expect("read").expect("raised");
    let labelling =
        |label, request: &str| Labelling { label, at_ms: 7000, request: request.to_owned(), by: "olga b".to_owned() };
    let abuse = labelling(Some(Label::Abuse), "r1");
    world.table.label(&signal, abuse.clone()).await.expect("labelled");
    world.table.label(&signal, abuse.clone()).await.expect("its own earlier try is recognised");
    let other = world.table.label(&signal, labelling(None, "r2")).await;
    assert!(matches!(other, Err(TableError::Changed(_))), "it is no longer what was read: {other:?}");
    let now = world.table.signal(day, Kind::Principal, &name(900)).await.expect("read").expect("there");
    assert_eq!((now.label(), now.labellings.as_slice()), (Some(Label::Abuse), &[abuse.clone()][..]));

    let account = world.table.signal(day, Kind::Account, &name(951)).await.expect("read").expect("raised");
    world.table.label(&account, labelling(Some(Label::Fine), "r3")).await.expect("labelled");
    world.clock.0.store(0, Ordering::Relaxed);
    let next = World { at_s: world.at_s + WINDOW_S, ..world };
    next.count(&next.declines("later")).await;
    next.count(&next.mismatches("later")).await;
    assert_eq!(next.score().await.entities, 4);
    let account = next.table.signal(day, Kind::Account, &name(951)).await.expect("read").expect("there");
    assert_eq!(account.windows, 1, "it is silent");
    let principal = next.table.signal(day, Kind::Principal, &name(900)).await.expect("read").expect("there");
    assert_eq!((principal.windows, principal.label()), (2, Some(Label::Abuse)), "it is not");
}

#[tokio::test]
async fn abuse_that_is_taken_back_restores_the_past_as_if_it_had_never_been_said() {
    let [kept, changed] = [abused_and_then(false).await, abused_and_then(true).await];
    assert_eq!(changed, kept, "what is found afterwards is the same");
}

/// The own past and the score in the window after one that was labelled abuse, client bug and abuse again, which was
/// then taken back, or after one that was never labelled.
async fn abused_and_then(labelled: bool) -> (String, Option<String>) {
    let world = World::start().await;
    // Yesterday one in four of the caller's payments was declined.
    let yesterday = World { at_s: world.at_s - DAY_S, ..world };
    yesterday.clock.0.store(DAY_S + WINDOW_S, Ordering::Relaxed);
    yesterday.has_learned().await;
    let usual = (0..60).map(|card| yesterday.line(900, 950, "none", if card % 4 == 0 { 402 } else { 201 }));
    yesterday.count(&delivery("usual", usual.collect())).await;
    yesterday.score().await;
    yesterday.clock.0.store(WINDOW_S, Ordering::Relaxed);
    let world = World { at_s: yesterday.at_s + DAY_S, ..yesterday };
    skip_to(&world, world.at_s).await;
    world.count(&world.declines("first")).await;
    world.score().await;
    let day = world.window().day();
    let signal =
        || async { world.table.signal(day, Kind::Principal, &name(900)).await.expect("read").expect("raised") };
    assert!(signal().await.own.is_some(), "it has a past: {:?}", signal().await);
    if labelled {
        let acts = [Some(Label::Abuse), Some(Label::ClientBug), Some(Label::Abuse), None];
        for (number, label) in acts.into_iter().enumerate() {
            let labelling = Labelling { label, at_ms: 7000, request: format!("r{number}"), by: "olga".to_owned() };
            world.table.label(&signal().await, labelling).await.expect("labelled");
            let now = memory(&world).await;
            let is_forgotten = matches!(label, Some(Label::Abuse | Label::ClientBug));
            assert_eq!(now.past(Detector::Declined).n == 0.0, is_forgotten, "{label:?}: {now:?}");
        }
    }
    let memory = memory(&world).await;
    let past = memory.past(Detector::Declined);
    assert!(memory.silences().is_empty(), "{memory:?}");
    world.clock.0.store(0, Ordering::Relaxed);
    let next = World { at_s: world.at_s + WINDOW_S, ..world };
    next.count(&next.declines("later")).await;
    next.score().await;
    let signal = next.table.signal(day, Kind::Principal, &name(900)).await.expect("read").expect("there");
    assert_eq!(signal.windows, 2);
    (format!("{:.3} of {:.3}", past.k, past.n), signal.own.map(|own| format!("{own:.4} {:.2}", signal.score)))
}

/// The memory of the caller who is labelled.
async fn memory(world: &World) -> Memory {
    let key = [("pk", format!("memory#principal#{}", name(900))), ("sk", "memory".to_owned())];
    let get = key.into_iter().fold(world.client.get_item().table_name(SIGNALS), |get, (name, value)| {
        get.key(name, aws_sdk_dynamodb::types::AttributeValue::S(value))
    });
    let item = get.send().await.expect("read").item.expect("there");
    Memory::from_bytes(item["memory"].as_b().expect("bytes").as_ref()).expect("readable")
}

/// Lets the scorer continue at a window, as if no request came before it.
async fn skip_to(world: &World, at_s: u64) {
    use aws_sdk_dynamodb::types::AttributeValue;
    let update = world.client.update_item().table_name(SIGNALS).update_expression("SET scored = :scored");
    let update =
        update.key("pk", AttributeValue::S("scorer".to_owned())).key("sk", AttributeValue::S("state".to_owned()));
    let update = update.expression_attribute_values(":scored", AttributeValue::N((at_s - WINDOW_S).to_string()));
    update.send().await.expect("stored");
}

/// All items except the lock's.
async fn everything(client: &Client) -> Vec<String> {
    let items = client.scan().table_name(SIGNALS).send().await.expect("read").items.unwrap_or_default();
    let mut items: Vec<String> = items
        .into_iter()
        .map(|mut item| {
            // Each run has its own fence.
            item.remove("fence");
            let mut members: Vec<String> = item.iter().map(|(name, value)| format!("{name}={value:?}")).collect();
            members.sort();
            members.join(" ")
        })
        .collect();
    items.sort();
    items
}

/// Takes back the progress, sample and calibration, which are stored in one transaction, as if a run had died before
/// it.
async fn rewind(world: &World) {
    for sort in ["state".to_owned(), format!("sample#{}", world.window().day())] {
        let (pk, sk) = ("scorer".to_owned(), sort);
        let key = [("pk", pk), ("sk", sk)];
        let delete = key.into_iter().fold(world.client.delete_item().table_name(SIGNALS), |delete, (name, value)| {
            delete.key(name, aws_sdk_dynamodb::types::AttributeValue::S(value))
        });
        delete.send().await.expect("deleted");
    }
}
