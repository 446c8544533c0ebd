//! The client examples of `docs/http.md`: against a scripted API that gives every answer of the contract, and against
//! the application, whose function is killed right after it has charged the card.

mod answer;
mod api;
mod example;

use std::process::Output;

use futures::future::join_all;
use futures::{StreamExt, stream};
use nix::sys::signal::{Signal, killpg};
use nix::unistd::Pid;
use proptest::prelude::{Just, Strategy};
use proptest::test_runner::{Config, RngAlgorithm, TestCaseError, TestRng, TestRunner};
use serde_json::{Value, json};
use tests::local_stack::{Stack, payment};
use tests::packages::shown;
use tests::sizes::number;
use tests::wait::TIMEOUT;
use tests::workspace;

use crate::stacks::SHARED;
use answer::{Answer, Meaning};
use api::{Request, ScriptedApi, Step};
use example::{Example, TOKEN};

/// The limits that the contract sets, and the examples keep.
const TRIES: usize = 8;
const LONGEST_PAUSE_S: i64 = 30;
const LONGEST_RETRY_AFTER_S: i64 = 300;

/// How many examples run at the same time.
const JOBS: usize = 4;

const BODY: &str = r#"{"account":"acct-1","amount":1999,"currency":"EUR","payment_method":"pm_card_visa"}"#;

/// What an example must do.
#[derive(Debug, PartialEq, Eq)]
struct Expected {
    exit: i32,
    /// Each with how far from it the example may be.
    pauses: Vec<(i64, i64)>,
}

/// The contract, applied to a script.
fn expected(script: &[Answer]) -> Expected {
    let mut pauses = Vec::new();
    for (index, answer) in script.iter().cloned().chain(std::iter::repeat_with(Answer::last)).enumerate() {
        match answer.meaning {
            Meaning::Happened => return Expected { exit: 0, pauses },
            Meaning::DidNotHappen => return Expected { exit: 1, pauses },
            Meaning::RefusesThisRequest => return Expected { exit: 3, pauses },
            Meaning::Again => {}
        }
        let (wait, tolerance) = answer.wait();
        if wait > LONGEST_RETRY_AFTER_S || index + 1 == TRIES {
            return Expected { exit: 3, pauses };
        }
        let own = LONGEST_PAUSE_S.min(1 << index);
        pauses.push((wait.max(own), if wait + tolerance > own { tolerance } else { 0 }));
    }
    unreachable!("the number of tries is limited")
}

/// Scripts in which each answer of the contract comes at least once: those after which the request is repeated in a
/// random order, cut into pieces, each with an end.
fn batch() -> impl Strategy<Value = Vec<Vec<Answer>>> {
    let ends = Answer::ends();
    let lengths = proptest::collection::vec(0..TRIES, ends.len());
    (Just(Answer::again()).prop_shuffle(), Just(ends).prop_shuffle(), lengths).prop_map(|(again, ends, lengths)| {
        let mut again = again.into_iter();
        let mut scripts: Vec<Vec<Answer>> = ends
            .into_iter()
            .zip(lengths)
            .map(|(end, length)| again.by_ref().take(length).chain([end]).collect())
            .collect();
        let rest: Vec<Answer> = again.collect();
        scripts.extend(rest.chunks(TRIES).map(<[Answer]>::to_vec));
        scripts
    })
}

/// Runs an example against a script, and compares what it did with the contract.
async fn follows(example: &Example, script: Vec<Answer>) -> Result<(), String> {
    let expected = expected(&script);
    let api = ScriptedApi::start(script.iter().cloned().map(Step::Say)).await;
    let folder = tempfile::tempdir().expect("a folder");
    let pauses = folder.path().join("pauses");
    let output = ended(example.without_pauses(&api.url, "order-17", BODY, &pauses)).await;
    let told = || format!("{} with {script:?}: {}", example.name, shown(&output));
    if output.status.code() != Some(expected.exit) {
        return Err(format!("exit {:?} instead of {}: {}", output.status.code(), expected.exit, told()));
    }
    let text = String::from_utf8_lossy(&output.stderr);
    let begins = ["paid", "not charged", "", "not known"][usize::try_from(expected.exit).expect("small")];
    if !text.starts_with(begins) || text.lines().count() != 1 {
        return Err(format!("one line that begins with {begins:?}, and no more: {}", told()));
    }
    let requests = api.requests();
    if requests.len() != expected.pauses.len() + 1 {
        return Err(format!("{} requests instead of {}: {}", requests.len(), expected.pauses.len() + 1, told()));
    }
    if requests.iter().any(|request| *request != requests[0] || request.body != BODY.as_bytes()) {
        return Err(format!("not the same request each time: {requests:?}: {}", told()));
    }
    let made = std::fs::read_to_string(&pauses).unwrap_or_default();
    let made: Vec<f64> = made.lines().map(|line| line.parse().expect("a number of seconds")).collect();
    let fits = |(made, (wanted, tolerance)): (&f64, &(i64, i64))| (made - *wanted as f64).abs() <= *tolerance as f64;
    if made.len() != expected.pauses.len() || !made.iter().zip(&expected.pauses).all(fits) {
        return Err(format!("pauses {made:?} instead of {:?}: {}", expected.pauses, told()));
    }
    Ok(())
}

async fn ended(mut command: tokio::process::Command) -> Output {
    tokio::time::timeout(TIMEOUT, command.output()).await.expect("ends in time").expect("runs")
}

/// Whatever the API answers in whatever order, the example does what the contract says. `SOAK_ANSWERS` is the number of
/// batches of scripts; in each, every answer of the contract comes at least once.
fn follows_the_contract(example: Option<Example>) {
    let Some(example) = example else { return };
    let seed = std::env::var("SEED").ok().and_then(|seed| seed.parse().ok()).unwrap_or_else(|| fastrand::u64(..));
    println!("{}: SEED={seed}", example.name);
    let random = TestRng::from_seed(RngAlgorithm::ChaCha, &seed.to_le_bytes().repeat(4));
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build().expect("a runtime");
    // A failure shows its script, which is short.
    let config = Config {
        cases: number("SOAK_ANSWERS", 1),
        max_shrink_iters: 0,
        failure_persistence: None,
        ..Config::default()
    };
    let run = TestRunner::new_with_rng(config, random).run(&batch(), |scripts| {
        let all = stream::iter(scripts).map(|script| follows(&example, script)).buffer_unordered(JOBS);
        let failures: Vec<String> = runtime.block_on(all.filter_map(async |result| result.err()).collect());
        if failures.is_empty() { Ok(()) } else { Err(TestCaseError::fail(failures.join("\n\n"))) }
    });
    if let Err(proptest::test_runner::TestError::Fail(reason, _)) = &run {
        panic!("{reason}");
    }
    run.expect("runs");
}

#[test]
fn the_curl_example_follows_the_contract_whatever_the_api_answers() {
    follows_the_contract(Example::curl());
}

#[test]
#[cfg_attr(not(soak_all), ignore = "SOAK_ALL=1 runs it, as the gate does")]
fn the_python_example_follows_the_contract_whatever_the_api_answers() {
    follows_the_contract(Example::python());
}

#[test]
#[cfg_attr(not(soak_all), ignore = "SOAK_ALL=1 runs it, as the gate does")]
fn the_typescript_example_follows_the_contract_whatever_the_api_answers() {
    follows_the_contract(Example::typescript());
}

/// Sends a signal in the middle of the first request.
async fn interrupted(example: &Example, api: &ScriptedApi, order: &str, signal: Signal) -> Output {
    let process = example.command(&api.url, TOKEN, order, BODY).spawn().expect("runs");
    api.asked().await;
    let group = Pid::from_raw(i32::try_from(process.id().expect("it is running")).expect("a process id"));
    killpg(group, signal).expect("it is running");
    tokio::time::timeout(TIMEOUT, process.wait_with_output()).await.expect("ends in time").expect("has run")
}

#[tokio::test(flavor = "multi_thread")]
async fn an_interrupted_example_that_is_run_again_asks_for_the_same_under_the_same_key() {
    let mut keys = Vec::new();
    for example in Example::all().iter().filter_map(|example| example()) {
        let script = [Step::Nothing, Step::Nothing, Step::Say(Answer::paid()), Step::Say(Answer::paid())];
        let api = ScriptedApi::start(script).await;
        let killed = interrupted(&example, &api, "order-17", Signal::SIGKILL).await;
        assert!(!killed.status.success(), "{killed:?}");
        let stopped = interrupted(&example, &api, "order-17", Signal::SIGINT).await;
        assert_eq!(stopped.status.code(), Some(3), "{}: {}", example.name, shown(&stopped));
        assert_eq!(String::from_utf8_lossy(&stopped.stderr), "not known (interrupted): run this again\n");
        for order in ["order-17", "order-18"] {
            let output = ended(example.command(&api.url, TOKEN, order, BODY)).await;
            assert_eq!(output.status.code(), Some(0), "{}: {}", example.name, shown(&output));
        }
        let requests = api.requests();
        let [first, second, third, other] = &requests[..] else { panic!("four requests: {requests:?}") };
        assert!(first == second && second == third, "{}: {requests:?}", example.name);
        assert_ne!(first.key, other.key, "another order has another key");
        keys.push(first.key.clone());
    }
    assert!(keys.iter().all(|key| *key == keys[0]), "one example can end what another has begun: {keys:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_example_asks_again_when_no_answer_comes_in_time() {
    let folder = tempfile::tempdir().expect("a folder");
    let impatient = Example::all().iter().filter_map(|example| Some(example()?.impatient(folder.path())));
    join_all(impatient.map(async |example| {
        let api = ScriptedApi::start([Step::Nothing, Step::Say(Answer::paid())]).await;
        let output = ended(example.command(&api.url, TOKEN, "order-17", BODY)).await;
        assert_eq!(output.status.code(), Some(0), "{}: {}", example.name, shown(&output));
        let requests = api.requests();
        assert!(requests.len() == 2 && requests[0] == requests[1], "{}: {requests:?}", example.name);
    }))
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_example_with_wrong_arguments_sends_nothing() {
    let api = ScriptedApi::start([]).await;
    for example in Example::all().iter().filter_map(|example| example()) {
        for (url, token, order) in
            [(api.url.as_str(), "", "order-17"), (&api.url, TOKEN, ""), ("payments", TOKEN, "order-17")]
        {
            let output = ended(example.command(url, token, order, BODY)).await;
            assert_eq!(output.status.code(), Some(2), "{} {url} {token} {order}: {}", example.name, shown(&output));
        }
    }
    assert_eq!(api.requests(), [] as [Request; 0]);
}

#[test]
fn the_examples_keep_the_limits_of_the_contract() {
    let contract = std::fs::read_to_string(workspace().join("docs/http.md")).expect("readable");
    for limit in [
        "| time-out of a request | 35 seconds |",
        &format!("| tries | {TRIES} |"),
        &format!(
            "| pause between tries | `Retry-After`, and at least 1, 2, 4, 8, 16, then {LONGEST_PAUSE_S} seconds |"
        ),
        &format!("| longest `Retry-After` to wait for | {LONGEST_RETRY_AFTER_S} seconds |"),
    ] {
        assert!(contract.contains(limit), "{limit}");
    }
    // That the time-out is 35 seconds in each example shows in `Example::impatient`, the other limits in what they do.
}

async fn token(stack: &Stack) -> String {
    let answer =
        stack.local(reqwest::Method::GET, &format!("token?sub={}", stack.own("ann"))).send().await.expect("answers");
    answer.text().await.expect("a token")
}

/// The example succeeds and pays once although the function is killed before it answers, and it reports a refusal.
async fn pays_once(example: Option<Example>) {
    let Some(example) = example else { return };
    let stack = SHARED.stack().await;
    let (url, token) = (format!("{}/payments", stack.base()), token(&stack).await);
    let body = payment(&stack.own("acct-1"), "pm_kill_after_charge").to_string();
    for run in ["the first", "again"] {
        let output = ended(example.command(&url, &token, &stack.own("order-17"), &body)).await;
        assert_eq!(output.status.code(), Some(0), "{run}: {}", shown(&output));
        let paid: Value = serde_json::from_slice(&output.stdout).expect("the payment");
        assert_eq!((&paid["amount"], &paid["status"]), (&json!(1999), &json!("succeeded")));
        assert_eq!(stack.charges().await.len(), 1, "{run}");
    }

    let body = payment(&stack.own("acct-2"), "pm_card_chargeDeclined").to_string();
    let declined = ended(example.command(&url, &token, &stack.own("order-18"), &body)).await;
    assert_eq!(declined.status.code(), Some(1), "{}", shown(&declined));
    let problem: Value = serde_json::from_slice(&declined.stdout).expect("the problem");
    assert_eq!(problem["status"], 402, "it does not repeat what is final");
    assert_eq!(stack.charges().await.len(), 1);

    let unknown = ended(example.command(&url, "not-a-token", &stack.own("order-17"), &body)).await;
    assert_eq!(unknown.status.code(), Some(3), "the gateway says nothing about the first request: {}", shown(&unknown));
}

#[tokio::test(flavor = "multi_thread")]
async fn the_curl_example_pays_once() {
    pays_once(Example::curl()).await;
}

#[tokio::test(flavor = "multi_thread")]
#[cfg_attr(not(soak_all), ignore = "SOAK_ALL=1 runs it, as the gate does")]
async fn the_python_example_pays_once() {
    pays_once(Example::python()).await;
}

#[tokio::test(flavor = "multi_thread")]
#[cfg_attr(not(soak_all), ignore = "SOAK_ALL=1 runs it, as the gate does")]
async fn the_typescript_example_pays_once() {
    pays_once(Example::typescript()).await;
}
