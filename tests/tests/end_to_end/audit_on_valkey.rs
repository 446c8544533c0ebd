//! An operator's settlement with records on a Valkey server: the audit is in DynamoDB, and never says that something
//! was done that was not. The console dies at both points between the two.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use fault_proxy::{Fault, FaultPlan, Moment, Proxy, Request};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use reqwest::Method;
use serde_json::{Value, json};
use tests::console::Script;
use tests::local_stack::{Setup, Stack, User, payment};
use tests::process::free_port;
use tests::valkey;
use tests::wait::eventually;

/// Kills the console once, at a write of an audit entry of this kind.
struct KillAt {
    moment: Moment,
    what: &'static str,
    console: i32,
    killed: Arc<AtomicBool>,
}

impl FaultPlan for KillAt {
    fn fault_for(&mut self, request: &Request) -> Fault {
        let is_write = ["PutItem", "TransactWriteItems"].contains(&request.operation());
        let is_it = is_write && request.json().to_string().contains(&format!(r#""what":{{"S":"{}"}}"#, self.what));
        if is_it && !self.killed.swap(true, Ordering::Relaxed) {
            return Fault::Kill(self.moment, self.console);
        }
        Fault::None
    }

    fn kill(&mut self, _: Moment, process: i32) {
        kill(Pid::from_raw(process), Signal::SIGKILL).expect("the console runs");
    }
}

struct World {
    stack: Stack,
    proxy: Proxy,
}

impl World {
    async fn start(test: &str) -> Option<Self> {
        if !valkey::is_installed(test) {
            return None;
        }
        let port = free_port();
        let proxy = Proxy::start(([127, 0, 0, 1], port).into()).await.expect("a free port");
        let setup = Setup::brief().option("store", "valkey").option("sandboxes", 1).reconciled_on_demand();
        let stack = setup.behind(&proxy.url(), port).start().await;
        Some(Self { stack, proxy })
    }

    /// A payment that was charged, and whose outcome is not known; its record, and the provider's reference.
    async fn unknown(&self, ann: &User<'_>, olga: &Script<'_>, key: &str) -> (String, String) {
        let body = payment(&format!("acct-{key}"), "pm_timeout_after_charge");
        assert_eq!(ann.pay(key, &body).await.problem(), "503 outcome-unknown");
        let record = olga.unresolved().await.remove(0);
        let details = olga.get(&format!("records/{record}")).await;
        (record, details["provider"]["reference"].as_str().expect("the intent").to_owned())
    }

    /// The console dies at its next write of an audit entry of this kind.
    async fn kill_at(&self, moment: Moment, what: &'static str) -> Arc<AtomicBool> {
        let functions = self.stack.local(Method::GET, "functions").send().await.expect("answers");
        let functions: Value = functions.json().await.expect("the sandboxes");
        let console = functions["Console"][0]["process"].as_i64().expect("one sandbox");
        let killed = Arc::new(AtomicBool::new(false));
        let console = i32::try_from(console).expect("a process");
        self.proxy.follow(KillAt { moment, what, console, killed: Arc::clone(&killed) });
        killed
    }
}

/// What the audit of a record says, newest first, and whether it was carried out where it is an intention.
fn said(details: &Value) -> Vec<(String, Option<bool>)> {
    let entries = details["audit"].as_array().expect("a list").iter();
    entries.map(|entry| (entry["what"].as_str().expect("a word").to_owned(), entry["carried_out"].as_bool())).collect()
}

fn proof(reference: &str) -> Value {
    json!({ "reference": reference, "reason": "Seen in the provider's dashboard." })
}

/// The preview, as soon as no dead console holds the record.
async fn preview(olga: &Script<'_>, record: &str, wish: &Value) -> String {
    eventually("the dead console's lease is over", || async {
        let answer = olga.call(Method::POST, &format!("records/{record}/succeed"), Some(wish)).await;
        (answer.status == 201).then(|| answer.json()["token"].as_str().expect("a token").to_owned())
    })
    .await
}

#[tokio::test(flavor = "multi_thread")]
async fn on_valkey_a_console_that_dies_before_the_record_leaves_an_intention_and_no_claim_that_it_was_done() {
    let test = "on_valkey_a_console_that_dies_before_the_record_leaves_an_intention_and_no_claim_that_it_was_done";
    let Some(world) = World::start(test).await else { return };
    let stack = &world.stack;
    let (ann, olga) = (stack.user("ann").await, Script::of(stack, "olga", "operator").await);
    let (record, reference) = world.unknown(&ann, &olga, "one").await;
    let token = olga.preview(&record, "succeed", &proof(&reference)).await;
    let killed = world.kill_at(Moment::After, "to-succeed").await;
    assert!(olga.confirm(&token).await.status >= 500, "the gateway answers for the dead console");
    assert!(killed.load(Ordering::Relaxed), "the console wrote its intention first");

    let path = format!("records/{record}");
    let details = olga.get(&path).await;
    assert_ne!(details["status"], "SUCCESS", "{details}");
    assert_eq!(said(&details), [("to-succeed".to_owned(), Some(false))]);
    let audit = olga.get("audit").await;
    assert!(!audit.to_string().contains(r#""what":"succeeded""#), "{audit}");

    // It is listed still, and another preview settles it; what the first one wrote for the payment stands once.
    let used = token;
    let token = preview(&olga, &record, &proof(&reference)).await;
    assert_eq!(
        olga.confirm(&used).await.problem(),
        "409 not-done",
        "a second click is not answered as if it had been done"
    );
    assert_eq!(olga.confirm(&token).await.status, 200);
    let details = olga.get(&path).await;
    assert_eq!(details["status"], "SUCCESS");
    let [done, second, first] = &said(&details)[..] else { panic!("{details}") };
    assert_eq!(done, &("succeeded".to_owned(), None));
    assert_eq!((second.1, first.1), (Some(true), Some(false)), "{details}");
    assert_eq!(ann.balance("acct-one", "EUR", 1).await, 1999);
    assert_eq!(stack.charges().await.len(), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn on_valkey_a_console_that_dies_after_the_record_leaves_an_intention_that_the_history_completes() {
    let test = "on_valkey_a_console_that_dies_after_the_record_leaves_an_intention_that_the_history_completes";
    let Some(world) = World::start(test).await else { return };
    let stack = &world.stack;
    let (ann, olga) = (stack.user("ann").await, Script::of(stack, "olga", "operator").await);
    let (record, reference) = world.unknown(&ann, &olga, "one").await;
    let token = olga.preview(&record, "succeed", &proof(&reference)).await;
    let killed = world.kill_at(Moment::Before, "succeeded").await;
    assert!(olga.confirm(&token).await.status >= 500, "the gateway answers for the dead console");
    assert!(killed.load(Ordering::Relaxed), "the console died before it said that it was done");

    let path = format!("records/{record}");
    let details = olga.get(&path).await;
    assert_eq!(details["status"], "SUCCESS", "{details}");
    assert_eq!(said(&details), [("to-succeed".to_owned(), Some(true))]);
    // A second click finds it done.
    assert_eq!(olga.confirm(&token).await.status, 200);
    assert_eq!(ann.balance("acct-one", "EUR", 1).await, 1999);

    // What the reconciler's search settles for an operator is written in two steps as well.
    let (record, _) = world.unknown(&ann, &olga, "two").await;
    let found = olga.call(Method::POST, &format!("records/{record}/reconcile"), None).await;
    assert_eq!(found.status, 200, "{}", found.text());
    let details = olga.get(&format!("records/{record}")).await;
    let evidence: Vec<_> =
        details["audit"].as_array().expect("entries").iter().map(|entry| &entry["evidence"]).collect();
    assert_eq!(
        evidence,
        ["It happened: settled as SUCCESS.", "It happened: about to be settled as SUCCESS."],
        "{details}"
    );
    assert_eq!(ann.balance("acct-two", "EUR", 1).await, 1999);
}
