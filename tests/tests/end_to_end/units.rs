//! The DynamoDB requests and units of each outcome of the application, measured: the tables of docs/cost.md.

use std::collections::BTreeSet;
use std::fmt::Write as _;

use fault_proxy::{Fault, Proxy, Traffic};
use serde_json::{Value, json};
use tests::console::Script;
use tests::local_stack::{Answer, Setup, Stack, User, payment};
use tests::process::free_port;
use tests::wait::eventually;
use tests::workspace;

const VISA: &str = "pm_card_visa";

/// No schedule runs, and no event reaches the queue by itself, so that only the test's own requests are counted.
fn still() -> Setup {
    Setup::brief().reconciled_on_demand().parameter("OutboxState", "STOPPED")
}

#[tokio::test(flavor = "multi_thread")]
async fn each_outcome_costs_what_the_page_on_costs_says() {
    let port = free_port();
    let proxy = Proxy::start(([127, 0, 0, 1], port).into()).await.expect("a free port");
    proxy.count_units();
    let stack = still().parameter("LedgerVisibilitySeconds", 4).behind(&proxy.url(), port).start().await;
    let mut bill = Bill { stack: &stack, proxy, rows: String::new() };
    let ann = stack.user("ann").await;

    requests(&mut bill, &ann).await;
    unknown(&mut bill, &ann).await;
    messages(&mut bill).await;

    println!("{}", bill.rows);
    let page = std::fs::read_to_string(workspace().join("docs/cost.md")).expect("readable");
    let said: BTreeSet<&str> = page.lines().filter(|line| is_row(line)).collect();
    assert_eq!(bill.rows.lines().collect::<BTreeSet<_>>(), said, "measured, and said by docs/cost.md");
}

/// The range of reads of a duplicate that waits for a second and a half: the pauses between them are random.
const READS: std::ops::RangeInclusive<u64> = 4..=9;

#[tokio::test(flavor = "multi_thread")]
async fn a_duplicate_that_waits_reads_as_often_as_the_page_on_costs_says() {
    let port = free_port();
    let proxy = Proxy::start(([127, 0, 0, 1], port).into()).await.expect("a free port");
    proxy.count_units();
    let stack = still().parameter("ApiTimeoutSeconds", 20).behind(&proxy.url(), port).start().await;
    let ann = stack.user("ann").await;
    let slow = payment("acct-1", "pm_slow_1500");
    // Two concurrent requests make two sandboxes, which then exist for the measurement.
    tokio::join!(ann.pay("slow-1", &slow), ann.pay("slow-2", &slow));
    let before = proxy.traffic();
    let (one, other) = tokio::join!(ann.pay("slow-3", &slow), ann.pay("slow-3", &slow));
    assert_eq!((one.status, other.status, one.is_replay() != other.is_replay()), (201, 201, true));
    let Traffic { requests, write_units, read_units, .. } = proxy.traffic() - before;
    println!("{requests} requests, {write_units} write units, {read_units} read units");
    // The first one's claim and commit, and the duplicate's refused claim.
    assert_eq!(write_units, 7.0 + 1.0);
    assert!(READS.contains(&(requests - 3)) && read_units == (requests - 3) as f64, "one unit for each read");
    let page = std::fs::read_to_string(workspace().join("docs/cost.md")).expect("readable");
    let said = format!("a refused claim, and {} to {} reads in 1.5 s", READS.start(), READS.end());
    assert!(page.contains(&said), "docs/cost.md says: {said}");
}

/// A name and four figures.
fn is_row(line: &str) -> bool {
    let cells: Vec<&str> = line.trim_matches('|').split('|').map(str::trim).collect();
    cells.len() == 5 && cells[1..].iter().all(|cell| cell.parse::<f64>().is_ok())
}

/// The measurements, by rows of a table.
struct Bill<'a> {
    stack: &'a Stack,
    proxy: Proxy,
    rows: String,
}

impl Bill<'_> {
    async fn add<T>(&mut self, outcome: &str, doing: impl Future<Output = T>) -> T {
        let before = self.proxy.traffic();
        let done = doing.await;
        self.row(outcome, self.proxy.traffic() - before);
        done
    }

    fn row(&mut self, outcome: &str, traffic: Traffic) {
        let Traffic { requests, write_units, read_units, .. } = traffic;
        // A million units cost 0.625 and 0.125 USD.
        let cents = (write_units * 62.5 + read_units * 12.5).round();
        let row = format!("| {outcome} | {requests} | {write_units} | {read_units} | {:.2} |", cents / 100.0);
        writeln!(self.rows, "{row}").expect("a text takes all");
    }

    /// One API sandbox that has only handled a request that reads nothing. Its start has read once.
    async fn fresh(&self, ann: &User<'_>) {
        self.stack.kill_function("PaymentsApi").await;
        assert_eq!(ann.get("/payments/none").await.status, 404);
    }
}

async fn requests(bill: &mut Bill<'_>, ann: &User<'_>) {
    let body = payment("acct-1", VISA);
    let other = payment("acct-2", VISA);
    bill.fresh(ann).await;
    let first = "payment, first time: claim; record, payment and event in one transaction";
    let paid = is(bill.add(first, ann.pay("one", &body)).await, "201 -");
    is(bill.add("replay on the sandbox that settled or replayed it", ann.pay("one", &body)).await, "201 -");
    bill.fresh(ann).await;
    is(bill.add("replay elsewhere", ann.pay("one", &body)).await, "201 -");
    bill.fresh(ann).await;
    is(bill.add("mismatch", ann.pay("one", &other)).await, "422 fingerprint-mismatch");
    in_progress(bill, ann).await;
    let declined = payment("acct-1", "pm_card_chargeDeclined");
    is(bill.add("declined card: claim and commit", ann.pay("declined", &declined)).await, "402 generic_decline");
    let invalid = payment("acct-1", "");
    is(bill.add("invalid request: claim and release", ann.pay("x", &invalid)).await, "400 invalid-request");
    let malformed = "key missing or malformed, body too long";
    is(bill.add(malformed, ann.pay("two words", &body)).await, "400 invalid-key");

    let location = paid.header("location").expect("a location").to_owned();
    let refunds = format!("{location}/refunds");
    let refund = "refund, first time: claim; read the payment; record, payment, refund and event";
    is(bill.add(refund, ann.post(&refunds, "refund", &json!({ "amount": 500 }))).await, "201 -");
    is(bill.add("payment read", ann.get(&location)).await, "200 -");
    account(bill, ann, &paid).await;
}

/// The payment's event is not delivered automatically here.
async fn account(bill: &mut Bill<'_>, ann: &User<'_>, paid: &Answer) {
    let id = paid.json()["id"].as_str().expect("an id").to_owned();
    let transaction = id.trim_start_matches("pay_").parse::<uuid::Uuid>().expect("a transaction");
    let mut posted = event(0);
    (posted["event"], posted["payment"]) = (json!(transaction.to_string()), json!(id));
    deliver(bill.stack, &posted).await;
    let first = "account read for the first time: balances and owner; the payment that opened it; the owner is stored";
    is(bill.add(first, ann.get("/accounts/acct-1")).await, "200 -");
    is(bill.add("account read again: balances and owner", ann.get("/accounts/acct-1")).await, "200 -");
}

/// The function's time here is too short to wait.
async fn in_progress(bill: &mut Bill<'_>, ann: &User<'_>) {
    let slow = payment("acct-1", "pm_slow_1500");
    // Two concurrent requests make two sandboxes, which then exist for the measurements.
    tokio::join!(ann.pay("slow-1", &slow), ann.pay("slow-2", &slow));
    let before = bill.proxy.traffic().requests;
    let duplicate = async {
        eventually("it is claimed", || async { (bill.proxy.traffic().requests > before).then_some(()) }).await;
        let claimed = bill.proxy.traffic();
        is(ann.pay("slow-3", &slow).await, "409 in-progress");
        let refused = bill.proxy.traffic();
        is(ann.pay("slow-3", &slow).await, "409 in-progress");
        (refused - claimed, bill.proxy.traffic() - refused)
    };
    let (first, (refused, remembered)) = tokio::join!(ann.pay("slow-3", &slow), duplicate);
    is(first, "201 -");
    bill.row("in progress", refused);
    bill.row("in progress, on a sandbox that saw it less than a second ago", remembered);
}

async fn unknown(bill: &mut Bill<'_>, ann: &User<'_>) {
    let stack = bill.stack;
    let charged = payment("acct-1", "pm_timeout_after_charge");
    let unknown = "outcome unknown: claim, abandon, and the item in the sparse index";
    is(bill.add(unknown, ann.pay("retried", &charged)).await, "503 outcome-unknown");
    let retried = "reconciled as happened, by a retry: claim, take over, commit; the index follows both";
    is(bill.add(retried, ann.pay("retried", &charged)).await, "201 -");
    let lost = payment("acct-1", "pm_timeout_before_charge");
    is(ann.pay("prevented", &lost).await, "503 outcome-unknown");
    let prevented = "reconciled as prevented, by a retry that then runs: claim, take over, begin again, commit";
    is(bill.add(prevented, ann.pay("prevented", &lost)).await, "201 -");

    // The first run searches for abandoned records; later ones do not for an hour.
    stack.reconcile().await;
    let before = bill.proxy.traffic();
    stack.reconcile().await;
    let nothing = bill.proxy.traffic() - before;
    bill.row("run of the reconciler that finds nothing", nothing);
    is(ann.pay("reconciled", &charged).await, "503 outcome-unknown");
    let before = bill.proxy.traffic();
    let report = stack.reconcile().await;
    assert_eq!(report["happened"], 1, "{report}");
    let found = bill.proxy.traffic() - before - nothing;
    bill.row("reconciled as happened, by the reconciler: take over, commit; the index follows both", found);

    is(ann.pay("by-hand", &lost).await, "503 outcome-unknown");
    let olga = Script::of(stack, "olga", "operator").await;
    let record = bill.add("console: list of unresolved requests, with one entry", olga.unresolved()).await.remove(0);
    bill.add("console: an unresolved record", olga.get(&format!("records/{record}"))).await;
    let wish = json!({ "evidence": "The bank says that nothing was charged.", "reason": "Seen at the bank." });
    bill.add("console: settled as failed by hand, preview and confirmation", async {
        let token = olga.preview(&record, "fail", &wish).await;
        assert_eq!(olga.confirm(&token).await.status, 200);
    })
    .await;
}

async fn messages(bill: &mut Bill<'_>) {
    let stack = bill.stack;
    // The start of a sandbox reads once; another message completes it first.
    deliver(stack, &event(1)).await;
    let first = "payment's event, posted in one write: record, two entries, balance";
    bill.add(first, deliver(stack, &event(2))).await;
    bill.add("the same message again, on the sandbox that posted it", deliver(stack, &event(2))).await;
    stack.kill_function("LedgerWorker").await;
    deliver(stack, &event(3)).await;
    bill.add("the same message again, elsewhere", deliver(stack, &event(2))).await;
    redelivered(bill).await;
    bill.add("terminal's sale: the same and the terminal's number", deliver(stack, &sale("term-1", 1))).await;

    let until_posted = async |sale: Value| {
        let lines = || stack.count("\"position\"");
        let before = lines();
        stack.append("terminal-sales", "any", sale.to_string()).await;
        eventually("it is posted", || async { (lines() > before).then_some(()) }).await;
    };
    until_posted(sale("term-2", 1)).await;
    let posted = "sale from the topic, alone in its batch: the watermark is read; watermark, entries, balance, number";
    bill.add(posted, until_posted(sale("term-1", 2))).await;
    let duplicate = "sale without its own record, recognised as a duplicate by the terminal's number";
    bill.add(duplicate, deliver(stack, &sale("term-1", 2))).await;
    // It is delivered again in a minute, so nothing is measured after it.
    bill.add("sale held because an earlier one is missing", deliver(stack, &sale("term-1", 4))).await;
}

/// Every reply to a message's write is lost, so that it is returned although it is posted, and the queue delivers it
/// again.
async fn redelivered(bill: &mut Bill<'_>) {
    bill.proxy.plan([Fault::LoseReply; 50]);
    deliver(bill.stack, &event(4)).await;
    bill.proxy.plan([]);
    let lines = bill.stack.count("\"message_id\"");
    let again = "a message that the queue delivers again after it was posted: an eventually consistent read";
    let stack = bill.stack;
    bill.add(again, async {
        eventually("it is delivered again", || async { (stack.count("\"message_id\"") > lines).then_some(()) }).await;
    })
    .await;
}

/// Puts a message into the queue, and waits until it has been delivered and is settled or returned.
async fn deliver(stack: &Stack, message: &Value) {
    let lines = || stack.count("\"message_id\"");
    let before = lines();
    stack.put("LedgerQueue", 1, message.to_string()).await;
    eventually("it is delivered", || async { (lines() > before).then_some(()) }).await;
}

fn event(number: u64) -> Value {
    json!({
        "type": "payment.succeeded",
        "event": format!("01935b4a-7c00-7000-8000-{number:012}"),
        "payment": format!("pay_01935b4a7c0070008000{number:012}"),
        "account": "acct-1",
        "amount": 100,
        "currency": "EUR",
    })
}

fn sale(terminal: &str, sequence: u64) -> Value {
    json!({
        "type": "terminal.sale", "terminal": terminal, "sequence": sequence,
        "account": "acct-3", "amount": 100, "currency": "EUR",
    })
}

fn is(answer: Answer, expected: &str) -> Answer {
    assert_eq!(answer.problem(), expected, "{answer:?}");
    answer
}
