//! Messages and stream records, delivered repeatedly and mixed with poison, to functions that are killed every second.
//! At the end every account has the sum of its distinct messages.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::time::{Duration, Instant};

use fastrand::Rng;
use futures::stream::{self, StreamExt};
use reqwest::Method;
use serde_json::{Value, json};
use tests::kafka::Broker;
use tests::local_stack::{Setup, Stack, User};
use tests::log::Printed;
use tests::sizes::number;
use tests::wait::eventually;

use crate::stacks::changed;

const ACCOUNTS: usize = 20;
/// One of this many messages is poison.
const POISON: usize = 20;

/// The number of distinct messages. The gate sends 1,000, by `SOAK_MESSAGES`.
fn messages() -> usize {
    number("SOAK_MESSAGES", 60)
}

/// The number of concurrent batches. Every sandbox restarts after each kill, which is most of the work on a small
/// machine.
const FEW: usize = 2;

/// A message that was not settled is delivered again after a second, up to this many receives.
fn redelivering(receives: u32) -> Setup {
    Setup::brief().parameter("LedgerVisibilitySeconds", 1).parameter("LedgerMaxReceiveCount", receives)
}

/// A random seed, or that of a failed run.
fn random(test: &str) -> Rng {
    let seed = std::env::var("SEED").ok().and_then(|seed| seed.parse().ok()).unwrap_or_else(|| fastrand::u64(..));
    println!("{test}: SEED={seed}");
    Rng::with_seed(seed)
}

/// The expected state of an account at the end.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Sum {
    balance: i64,
    entries: u64,
}

type Sums = BTreeMap<String, Sum>;

fn add(sums: &mut Sums, account: &str, amount: u64) {
    let sum = sums.entry(account.to_owned()).or_default();
    sum.balance += i64::try_from(amount).expect("small");
    sum.entries += 1;
}

fn event(number: usize, account: &str, amount: u64) -> String {
    let event = json!({
        "type": "payment.succeeded",
        "event": format!("01935b4a-7c00-7000-8000-{number:012}"),
        "payment": "pay_01935b4a7c0070008000000000000001",
        "account": account,
        "amount": amount,
        "currency": "EUR",
    });
    event.to_string()
}

fn sale(terminal: &str, sequence: u64, account: &str, amount: u64) -> String {
    let sale = json!({
        "type": "terminal.sale", "terminal": terminal, "sequence": sequence,
        "account": account, "amount": amount, "currency": "EUR",
    });
    sale.to_string()
}

fn poison(number: usize) -> String {
    match number % 3 {
        0 => format!("not JSON {number}"),
        1 => json!({ "number": number }).to_string(),
        _ => event(number, "acct-0", 1).replace("payment.succeeded", "payment.invented"),
    }
}

async fn sums(user: &User<'_>, accounts: impl Iterator<Item = &String>) -> Sums {
    let mut sums = Sums::new();
    for account in accounts {
        let shown = user.get(&format!("/accounts/{account}")).await.json();
        let balance = &shown["balances"][0];
        let sum = Sum {
            balance: balance["balance"].as_i64().unwrap_or(0),
            entries: balance["entries"].as_u64().unwrap_or(0),
        };
        sums.insert(account.clone(), sum);
    }
    sums
}

/// Kills a function about every second until `work` is done.
async fn while_killed<T>(stack: &Stack, function: &str, random: &mut Rng, work: impl Future<Output = T>) -> T {
    let mut kills = 0;
    let killing = async {
        tokio::time::sleep(Duration::from_millis(300)).await;
        loop {
            stack.kill_function(function).await;
            kills += 1;
            // Out of step with the second after which a message is delivered again.
            tokio::time::sleep(Duration::from_millis(random.u64(700..1300))).await;
        }
    };
    let result = tokio::select! {
        result = work => result,
        () = killing => unreachable!("it kills for ever"),
    };
    println!("{function} was killed {kills} times");
    assert!(kills > 0, "it was over before the first kill");
    result
}

async fn until_sums(user: &User<'_>, expected: &Sums) {
    let started = Instant::now();
    loop {
        let found = sums(user, expected.keys()).await;
        if found == *expected {
            return;
        }
        assert!(started.elapsed() < Duration::from_secs(300), "still not: {found:?} instead of {expected:?}");
        tokio::time::sleep(Duration::from_millis(200)).await;
    }
}

fn bodies(contents: &Value) -> Vec<String> {
    let bodies = contents["bodies"].as_array().expect("a list").iter();
    let mut bodies: Vec<String> = bodies.map(|body| body.as_str().expect("text").to_owned()).collect();
    bodies.sort_unstable();
    bodies
}

async fn until_dead(stack: &Stack, mut expected: Vec<String>) {
    expected.sort_unstable();
    stack.until_empty("LedgerQueue").await;
    let contents = stack.queue("LedgerDeadLetters").await;
    assert_eq!(bodies(&contents), expected, "the dead letters are the poison and nothing else");
}

#[tokio::test(flavor = "multi_thread")]
async fn messages_delivered_several_times_to_a_worker_that_is_killed_post_once_each() {
    let mut random = random("standard queue");
    // A message in a killed process is delivered again at once, and is not given up because of that.
    let stack = redelivering(12).parameter("WorkerConcurrency", FEW).start().await;
    let auditor = stack.auditor().await;
    let (mut expected, mut dead, mut deliveries) = (Sums::new(), Vec::new(), Vec::new());
    for number in 0..messages() {
        let copies = random.usize(1..=5);
        let body = if number % POISON == 0 {
            dead.extend(std::iter::repeat_n(poison(number), copies));
            poison(number)
        } else {
            let (account, amount) = (format!("acct-{}", random.usize(..ACCOUNTS)), random.u64(1..1000));
            add(&mut expected, &account, amount);
            event(number, &account, amount)
        };
        deliveries.extend(std::iter::repeat_n(body, copies));
    }
    random.shuffle(&mut deliveries);
    println!("{} deliveries", deliveries.len());
    while_killed(&stack, "LedgerWorker", &mut random, async {
        stream::iter(deliveries).for_each_concurrent(8, |body| stack.put("LedgerQueue", 1, body)).await;
        until_sums(&auditor, &expected).await;
    })
    .await;
    until_dead(&stack, dead).await;
    assert_eq!(sums(&auditor, expected.keys()).await, expected);
}

/// The messages of a terminal in order: its sales, some of them sent again later, with poison in between.
struct Terminal {
    name: String,
    /// The number of a sale, or `None` for poison.
    messages: Vec<(Option<u64>, String)>,
}

/// Terminals with all the distinct messages. Some sales are sent up to `again` more times.
fn terminals(random: &mut Rng, again: usize, expected: &mut Sums, dead: &mut Vec<String>) -> Vec<Terminal> {
    let of_each = messages() / ACCOUNTS;
    let terminal = |index: usize| {
        let (name, account) = (format!("till-{index}"), format!("acct-{index}"));
        let mut messages = Vec::new();
        let mut number = 0;
        // About equally many in each, so that no group waits much longer than another.
        let poisoned = random.choose_multiple(0..of_each, of_each / 20 + index % 2);
        for position in 0..of_each {
            let place = index * of_each + position;
            if poisoned.contains(&position) {
                dead.push(poison(place));
                messages.push((None, poison(place)));
                continue;
            }
            let amount = random.u64(1..1000);
            number += 1;
            add(expected, &account, amount);
            messages.push((Some(number), sale(&name, number, &account, amount)));
        }
        // Sent again: anywhere after the first time.
        for number in 1..=number {
            let times = if random.usize(..4) == 0 { random.usize(0..=again) } else { 0 };
            for _ in 0..times {
                let first = messages.iter().position(|(at, _)| *at == Some(number)).expect("sent");
                let repeated = messages[first].clone();
                messages.insert(random.usize(first + 1..=messages.len()), repeated);
            }
        }
        Terminal { name, messages }
    };
    (0..ACCOUNTS).map(terminal).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_fifo_queue_keeps_the_order_of_each_group_whatever_is_repeated_poisoned_or_killed() {
    let mut random = random("FIFO queue");
    let setup = redelivering(12).parameter("WorkerBatchSize", 1).parameter("WorkerConcurrency", 4);
    let stack = changed(setup, |template| {
        for queue in ["LedgerQueue", "LedgerDeadLetters"] {
            template.set(&format!("/Resources/{queue}/Properties/FifoQueue"), json!(true)).expect("there");
        }
    });
    let stack = stack.await;
    let auditor = stack.auditor().await;
    let (mut expected, mut dead) = (Sums::new(), Vec::new());
    let terminals = terminals(&mut random, 4, &mut expected, &mut dead);
    println!("{} deliveries", terminals.iter().map(|terminal| terminal.messages.len()).sum::<usize>());
    let stack = &stack;
    let sent = while_killed(stack, "LedgerWorker", &mut random, async {
        let groups = terminals.iter().map(|terminal| async move {
            let mut ids = Vec::new();
            for (number, body) in &terminal.messages {
                ids.push((stack.put_in_group("LedgerQueue", &terminal.name, body.clone()).await, *number));
            }
            (terminal.name.clone(), ids)
        });
        let sent: Vec<_> = stream::iter(groups).buffer_unordered(8).collect().await;
        until_sums(&auditor, &expected).await;
        sent
    })
    .await;
    until_dead(stack, dead).await;
    assert_eq!(sums(&auditor, expected.keys()).await, expected);
    in_order(&stack.log(), &sent);
}

/// A group's name, and the ids of its messages with the numbers of those that are sales.
type Group = (String, Vec<(String, Option<u64>)>);

/// Every group's sales were executed in the order of their numbers, and none was ever held because an earlier one was
/// missing.
fn in_order(log: &str, sent: &[Group]) {
    let sales: HashMap<&str, (&str, u64)> = sent
        .iter()
        .flat_map(|(group, ids)| ids.iter().map(move |(id, number)| (id.as_str(), (group.as_str(), *number))))
        .filter_map(|(id, (group, number))| Some((id, (group, number?))))
        .collect();
    let mut last: HashMap<&str, u64> = HashMap::new();
    let mut executed = 0;
    for line in log.lines().filter_map(|line| line.strip_prefix("[LedgerWorker] ")) {
        let Ok(line) = serde_json::from_str::<Value>(line) else { continue };
        let fields = if line["fields"].is_object() { &line["fields"] } else { &line };
        let Some((group, number)) = fields["message_id"].as_str().and_then(|id| sales.get(id)) else { continue };
        match fields["outcome"].as_str() {
            Some("executed") => {
                executed += 1;
                let before = last.insert(group, *number).unwrap_or(0);
                assert!(before < *number, "{group}: {number} after {before}");
            }
            Some("not executed") => panic!("{group}: {number} came before an earlier one"),
            _ => {}
        }
    }
    // A process that was killed after its commit has not logged it.
    assert!(executed > messages() / 2, "the log tells of {executed} executed messages only");
}

#[tokio::test(flavor = "multi_thread")]
async fn kafka_partitions_delivered_again_from_anywhere_to_a_function_that_is_killed_post_once_each() {
    delivered_again_from_anywhere(Setup::brief(), "Kafka").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_brokers_partitions_delivered_again_from_anywhere_to_a_function_that_is_killed_post_once_each() {
    let test = "a_brokers_partitions_delivered_again_from_anywhere_to_a_function_that_is_killed_post_once_each";
    let Some(broker) = Broker::start(test).await else { return };
    delivered_again_from_anywhere(on(&broker, Setup::brief()), "a Kafka broker").await;
}

/// A stack whose topics are a broker's.
fn on(broker: &Broker, setup: Setup) -> Setup {
    setup.option("kafka", broker.address())
}

async fn delivered_again_from_anywhere(setup: Setup, topics: &str) {
    let mut random = random(topics);
    let stack = setup.parameter("StreamRetryAttempts", 15).start().await;
    let auditor = stack.auditor().await;
    let (mut expected, mut dead) = (Sums::new(), Vec::new());
    // The topic itself is delivered again, batch by batch.
    let terminals = terminals(&mut random, 0, &mut expected, &mut dead);
    println!("{} records", terminals.iter().map(|terminal| terminal.messages.len()).sum::<usize>());
    let mut rewinds = random.fork();
    let stack = &stack;
    while_killed(stack, "TerminalStream", &mut random, async {
        let rewinding = async {
            for _ in 0..messages() / 50 {
                tokio::time::sleep(Duration::from_millis(250)).await;
                rewind(stack, &mut rewinds).await;
            }
        };
        let appending = stream::iter(&terminals).for_each_concurrent(8, |terminal| async move {
            for (_, body) in &terminal.messages {
                stack.append("terminal-sales", &terminal.name, body.clone()).await;
            }
        });
        tokio::join!(appending, rewinding);
        until_sums(&auditor, &expected).await;
    })
    .await;
    let done = || async {
        let topic = topic(stack, "terminal-sales").await;
        let mut partitions = topic["partitions"].as_array().expect("three").iter();
        partitions.all(|partition| partition["positions"]["TerminalStream"] == partition["end"]).then_some(())
    };
    eventually("every partition is at its end", done).await;
    // Once more from the start: everything is already done.
    for partition in 0..3 {
        let path = format!("streams/terminal-sales/rewind?partition={partition}&offset=0");
        stack.local(Method::POST, &path).send().await.expect("answers");
    }
    eventually("every partition is at its end again", done).await;
    assert_eq!(sums(&auditor, expected.keys()).await, expected);

    let failed = topic(stack, "terminal-sales-failed").await;
    let partitions = failed["partitions"].as_array().expect("three").iter();
    let failed: BTreeSet<String> = partitions.flat_map(bodies_of).collect();
    assert_eq!(failed, dead.into_iter().collect(), "what was given up is the poison and nothing else");
}

async fn topic(stack: &Stack, name: &str) -> Value {
    let response = stack.local(Method::GET, &format!("streams/{name}")).send().await.expect("answers");
    assert!(response.status().is_success(), "{response:?}");
    response.json().await.expect("the topic")
}

/// Rewinds a partition to a random position, so that it is delivered again.
async fn rewind(stack: &Stack, random: &mut Rng) {
    let partition = random.u64(0..3);
    let end = topic(stack, "terminal-sales").await["partitions"][partition as usize]["end"].as_u64().unwrap_or(0);
    let path = format!("streams/terminal-sales/rewind?partition={partition}&offset={}", random.u64(0..=end));
    let response = stack.local(Method::POST, &path).send().await.expect("answers");
    let status = response.status();
    assert!(status.is_success(), "{path}: {status} {}", response.text().await.unwrap_or_default());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_topic_that_was_created_anew_is_reported_and_not_skipped() {
    created_anew(Setup::brief()).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_brokers_topic_that_was_created_anew_is_reported_and_not_skipped() {
    let test = "a_brokers_topic_that_was_created_anew_is_reported_and_not_skipped";
    let Some(broker) = Broker::start(test).await else { return };
    created_anew(on(&broker, Setup::brief())).await;
}

async fn created_anew(setup: Setup) {
    let stack = setup.start().await;
    let auditor = stack.auditor().await;
    for number in 1..=5 {
        stack.append("terminal-sales", "till-1", sale("till-1", number, "acct-1", 10)).await;
    }
    assert_eq!(auditor.balance("acct-1", "EUR", 5).await, 50);
    let recreated = stack.local(Method::POST, "streams/terminal-sales/recreate").send().await.expect("answers");
    assert!(recreated.status().is_success(), "{recreated:?}");
    stack.append("terminal-sales", "till-1", sale("till-1", 6, "acct-1", 10)).await;
    eventually("the regression is reported", || async {
        (stack.log().contains("differs from the one that was done there")).then_some(())
    })
    .await;
    assert_eq!(auditor.balance("acct-1", "EUR", 5).await, 50);
}

/// Sales wait for a missing first one, become dead letters, and are posted once each when they are redriven after it
/// came.
#[tokio::test(flavor = "multi_thread")]
async fn dead_letters_redriven_after_the_fix_post_once_each() {
    const TERMINALS: usize = 5;
    const SALES: u64 = 6;
    let stack = redelivering(3).start().await;
    let auditor = stack.auditor().await;
    let mut dead = Vec::new();
    for terminal in 0..TERMINALS {
        for number in (2..=SALES).rev() {
            let body = sale(&format!("till-{terminal}"), number, "acct-1", number);
            stack.put("LedgerQueue", 2, body.clone()).await;
            dead.extend([body.clone(), body]);
        }
    }
    until_dead(&stack, dead).await;
    assert_eq!(stack.auditor().await.get("/accounts/acct-1").await.status, 404, "nothing of them has run");

    for terminal in 0..TERMINALS {
        stack.put("LedgerQueue", 1, sale(&format!("till-{terminal}"), 1, "acct-1", 1)).await;
    }
    assert_eq!(auditor.balance("acct-1", "EUR", TERMINALS as u64).await, TERMINALS as i64);
    let redriven = stack.local(Method::POST, "queues/LedgerDeadLetters/redrive").send().await.expect("answers");
    let redriven: Value = redriven.json().await.expect("the number");
    assert_eq!(redriven["moved"], 2 * TERMINALS as u64 * (SALES - 1));

    let expected = (1..=SALES as i64).sum::<i64>() * TERMINALS as i64;
    assert_eq!(auditor.balance("acct-1", "EUR", SALES * TERMINALS as u64).await, expected);
    // A sale that again came too early needs another round, and another redrive if it used up its receives.
    stack.until_empty("LedgerQueue").await;
    assert_eq!(auditor.balance("acct-1", "EUR", SALES * TERMINALS as u64).await, expected);
}

/// A terminal that was replaced restarts its numbers, or a terminal uses a number twice. Such a sale ends in the
/// queue's dead-letter queue or in the topic of failed records, whichever channel used the number first.
#[tokio::test(flavor = "multi_thread")]
async fn a_used_number_with_other_content_is_kept_for_people_and_posted_by_neither_way() {
    used_numbers(redelivering(2)).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_used_number_with_other_content_from_a_broker_is_kept_for_people_and_posted_by_neither_way() {
    let test = "a_used_number_with_other_content_from_a_broker_is_kept_for_people_and_posted_by_neither_way";
    let Some(broker) = Broker::start(test).await else { return };
    used_numbers(on(&broker, redelivering(2))).await;
}

async fn used_numbers(setup: Setup) {
    let stack = setup.parameter("StreamRetryAttempts", 1).start().await;
    let ann = stack.user("ann").await;
    stack.append("terminal-sales", "till-1", sale("till-1", 1, "acct-1", 10)).await;
    ann.balance("acct-1", "EUR", 1).await;
    stack.put("LedgerQueue", 1, sale("till-1", 2, "acct-1", 10)).await;
    assert_eq!(ann.balance("acct-1", "EUR", 2).await, 20);

    let other = |number| [sale("till-1", number, "acct-1", 11), sale("till-1", number, "acct-2", 10)];
    let others = [other(1), other(2)].concat();
    for body in &others {
        stack.put("LedgerQueue", 1, body.clone()).await;
        stack.append("terminal-sales", "till-1", body.clone()).await;
    }
    until_dead(&stack, others.clone()).await;
    // The same content is a duplicate through either channel.
    for number in 1..=2 {
        stack.put("LedgerQueue", 1, sale("till-1", number, "acct-1", 10)).await;
        stack.append("terminal-sales", "till-1", sale("till-1", number, "acct-1", 10)).await;
    }
    // The next one continues after them.
    stack.append("terminal-sales", "till-1", sale("till-1", 3, "acct-1", 10)).await;
    assert_eq!(ann.balance("acct-1", "EUR", 3).await, 30);
    until_dead(&stack, others.clone()).await;
    let failed = topic(&stack, "terminal-sales-failed").await;
    let partitions = failed["partitions"].as_array().expect("three").iter();
    let mut failed: Vec<String> = partitions.flat_map(bodies_of).collect();
    let mut expected = others;
    failed.sort_unstable();
    expected.sort_unstable();
    assert_eq!(failed, expected, "the failed records are the conflicts and nothing else");
    assert_eq!(ann.balance("acct-1", "EUR", 3).await, 30);
    let auditor = stack.user_with("eve", &[("role", "accounts:read")]).await;
    assert_eq!(auditor.get("/accounts/acct-2").await.status, 404, "nothing was posted to it");
    let conflicts = |function: &str| {
        let of = |line: &&Value| line["fields"]["outcome"] == "conflict" && line["fields"]["returned"] == true;
        Printed::read(&stack.log())
            .lines
            .iter()
            .filter(|(of, _)| of == function)
            .map(|(_, line)| line)
            .filter(of)
            .count()
    };
    assert!(conflicts("LedgerWorker") >= 4, "its first number came by the topic");
    assert!(conflicts("TerminalStream") >= 4, "whichever way it came first");
}

fn bodies_of(partition: &Value) -> Vec<String> {
    let values = partition["values"].as_array().expect("a list").iter();
    values.map(|value| value.as_str().expect("text").to_owned()).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_sale_that_comes_by_queue_and_stream_is_posted_once() {
    // A sale that the queue delivers before its predecessor waits for its second receive.
    let stack = redelivering(20).start().await;
    let auditor = stack.auditor().await;
    for number in 1..=10 {
        let body = sale("till-1", number, "acct-1", 10);
        stack.append("terminal-sales", "till-1", body.clone()).await;
        stack.put("LedgerQueue", 1, body).await;
    }
    assert_eq!(auditor.balance("acct-1", "EUR", 10).await, 100);
    stack.until_empty("LedgerQueue").await;
    assert_eq!(auditor.balance("acct-1", "EUR", 10).await, 100);
}
