//! Powertools for AWS Lambda (Python), as published, on a real Valkey server: the behaviour that docs/comparison.md
//! states. That this library behaves otherwise is shown by `valkey/peers.rs`.

use std::fmt::Write;
use std::process::{Command, Output};
use std::time::{Duration, Instant};

use idempotency::engine::Engine;
use idempotency::protocol::{Fingerprinter, Key, Principal};
use idempotency::store::Store;
use idempotency::store::valkey::{Keeps, Placement, Server, ValkeyStore};
use idempotency::{Call, DynamoDbStore, Operation, Verdict};
use local::Valkey;
use serde_json::{Value, json};
use tests::console::Tables;
use tests::dynamodb::RECORDS;
use tests::local_stack::Setup;
use tests::packages::{python, shown};
use tests::{valkey, workspace};

const PROJECT: &str = "tests/powertools";

/// What the peer's program prints on this server; `None`: not possible here.
async fn peer(test: &'static str, server: &Valkey, arguments: &[&str]) -> Option<Value> {
    let arguments: Vec<String> = std::iter::once(server.address().port().to_string())
        .chain(arguments.iter().map(|argument| (*argument).to_owned()))
        .collect();
    let run = move || -> Option<Output> {
        let mut program = Command::new(python(test, PROJECT)?);
        Some(program.arg(workspace().join(PROJECT).join("valkey.py")).args(arguments).output().expect("runs"))
    };
    let output = tokio::task::spawn_blocking(run).await.expect("no panic")?;
    assert!(output.status.success(), "{}", shown(&output));
    Some(serde_json::from_slice(&output.stdout).expect("JSON"))
}

/// If it fails, the peer has changed, and docs/comparison.md must, too.
#[tokio::test(flavor = "multi_thread")]
async fn powertools_lets_a_late_owner_overwrite_and_forgets_what_is_in_progress() {
    const TEST: &str = "powertools_lets_a_late_owner_overwrite_and_forgets_what_is_in_progress";
    if !valkey::is_installed(TEST) {
        return;
    }
    let server = Valkey::start(None, None).await.expect("a server");
    let Some(found) = peer(TEST, &server, &["behaviour"]).await else { return };
    // Two answers for one key: callers got B's, and now get A's.
    assert_eq!(found["late_owner"], json!({ "B": "B", "before": "B", "A": "A", "after": "A" }));
    // No owner, so the end of a run has nothing to be conditioned on.
    assert_eq!(found["record"], json!(["expiration", "in_progress_expiration", "status"]));
    assert_eq!(found["in_progress_time_to_live"], json!([3600]), "an outcome that nobody knows is forgotten then");
    let trips = |name: &str| found[name].as_array().map_or(0, Vec::len);
    assert_eq!((trips("first_run"), trips("takeover")), (2, 5), "{found}");
    assert!((2..=3).contains(&trips("replay")), "{found}");
}

/// First runs without effects, one after another, with each store, in one run. By hand, with nothing else on the
/// machine: `cargo test --release --workspace --test end_to_end first_runs_on_valkey -- --ignored --nocapture`.
#[tokio::test(flavor = "multi_thread")]
#[ignore = "figures, for a machine that does nothing else"]
async fn first_runs_on_valkey_beside_dynamodb_and_powertools() {
    const TEST: &str = "first_runs_on_valkey_beside_dynamodb_and_powertools";
    let count = tests::sizes::number("FIRST_RUNS", 2000);
    let server = Valkey::start(None, None).await.expect("a server");
    let address = Server::new(server.address().ip().to_string(), server.address().port());
    let ours = ValkeyStore::new(&address, Placement::together("test").expect("valid"), Keeps::MostWrites);
    let ours = figures(ours, count).await;
    // Another process, as in production, so that its work is not in the figures.
    let stack = Setup::deployed().start().await;
    let dynamodb = figures(DynamoDbStore::new(Tables::of(&stack).await.client, RECORDS), count).await;
    let Some(peer) = peer(TEST, &server, &["figures", &count.to_string()]).await else { return };
    let mut table = format!("{count} first runs: p50 ms, p99 ms, CPU s per 1000\n");
    for (name, figures) in [("ours, Valkey", ours), ("ours, DynamoDB", dynamodb), ("Powertools (Python), Valkey", peer)]
    {
        let of = |name: &str| figures[name].as_f64().expect("a number");
        writeln!(table, "{name}: {:.3}, {:.3}, {:.3}", of("p50_ms"), of("p99_ms"), of("cpu_s_per_1000")).expect("text");
    }
    println!("{table}");
}

async fn figures<S: Store>(store: S, count: u64) -> Value {
    let engine = Engine::builder(store).build();
    let run = async |number: u64| {
        let call = Call::new(
            Operation::new("figures", "place order"),
            Principal::new("alice").expect("valid"),
            Key::new(format!("order {number}")).expect("valid"),
            Fingerprinter::new().finish(),
            engine.now().plus(Duration::from_secs(10)),
        );
        engine.run(&call, async |_| Verdict::Success("placed".to_owned())).await.expect("an outcome");
    };
    run(count).await;
    let (mut times, cpu) = (Vec::new(), cpu_s());
    for number in 0..count {
        let began = Instant::now();
        run(number).await;
        times.push(began.elapsed().as_secs_f64() * 1000.0);
    }
    let cpu = (cpu_s() - cpu) * 1000.0 / count as f64;
    times.sort_by(f64::total_cmp);
    let at = |part: f64| times[((times.len() - 1) as f64 * part) as usize];
    json!({ "p50_ms": at(0.5), "p99_ms": at(0.99), "cpu_s_per_1000": cpu })
}

/// The processor time of this process, in seconds; the kernel counts in hundredths.
fn cpu_s() -> f64 {
    let stat = std::fs::read_to_string("/proc/self/stat").expect("Linux");
    let after_name = stat.rsplit(')').next().unwrap_or_default();
    let times = after_name.split_whitespace().skip(11).take(2);
    times.filter_map(|ticks| ticks.parse::<f64>().ok()).sum::<f64>() / 100.0
}
