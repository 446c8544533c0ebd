//! A function on the bare Runtime API. It executes the command in a request's body, or in each message of a batch.

use std::{
    env, fs,
    io::{self, BufRead, BufReader, Read, Write},
    net::TcpStream,
    process,
    sync::atomic::{AtomicUsize, Ordering},
    thread,
    time::Duration,
};

fn main() -> io::Result<()> {
    if env::var("START").is_ok_and(|start| start == "fails") {
        eprintln!("told to fail");
        process::exit(4);
    }
    let api = env::var("AWS_LAMBDA_RUNTIME_API").expect("the Runtime API's address");
    loop {
        let next = request(&api, "GET", "/2018-06-01/runtime/invocation/next", &[], "")?;
        let id = next.header("lambda-runtime-aws-request-id");
        let answer = match &next.body {
            event if event.contains("\"aws:dynamodb\"") => changes(event),
            event if event.contains("\"aws:kinesis\"") => Ok(shards(event)),
            event if event.contains("\"Records\"") => batch(event),
            event if event.contains("\"aws:kafka\"") => Ok(stream(event)),
            event if event.contains("\"awslogs\"") => lines(),
            event => single(event),
        };
        let (kind, payload) = match answer {
            Ok(payload) => ("response", payload),
            Err(message) => ("error", format!(r#"{{"errorType":"Told","errorMessage":"{message}"}}"#)),
        };
        request(&api, "POST", &format!("/2018-06-01/runtime/invocation/{id}/{kind}"), &[], &payload)?;
    }
}

fn single(event: &str) -> Result<String, String> {
    let body = member(event, "body");
    let (word, argument) = body.split_once(' ').unwrap_or((&body, ""));
    match word {
        // The whole event comes back, so that a test can look at it.
        "echo" | "" => Ok(event.to_owned()),
        "environment" => Ok(format!(r#"{{"value":"{}"}}"#, env::var(argument).unwrap_or_default())),
        "print" => {
            println!(r#"{{"told":"{argument}"}}"#);
            Ok(String::new())
        }
        "batches" => Ok(BATCHES.load(Ordering::SeqCst).to_string()),
        "process" => Ok(process::id().to_string()),
        "sleep" => {
            thread::sleep(Duration::from_millis(argument.parse().expect("milliseconds")));
            Ok(process::id().to_string())
        }
        // For ever, and whoever waits for the file knows which process does.
        "hold" => {
            fs::write(argument, process::id().to_string()).expect("a file");
            thread::sleep(Duration::MAX);
            Ok(String::new())
        }
        "fail" => Err("as told".to_owned()),
        "exit" => process::exit(3),
        "large" => Ok(format!("\"{}\"", "x".repeat(6 * 1024 * 1024))),
        "charge" => Ok(charge(argument)),
        _ => Err(format!("unknown word {word}")),
    }
}

/// Messages that say `fail` are reported; one that says `exit` takes the process with it.
fn batch(event: &str) -> Result<String, String> {
    let mut failures = Vec::new();
    // Between records only: no other array of the event has objects. The order of members is nobody's promise.
    for record in event.split("},{") {
        match member(record, "body").as_str() {
            "fail" => failures.push(format!(r#"{{"itemIdentifier":"{}"}}"#, member(record, "messageId"))),
            "exit" => process::exit(3),
            _ => {}
        }
    }
    Ok(format!(r#"{{"batchItemFailures":[{}]}}"#, failures.join(",")))
}

/// Changes of an item that says `fail` are reported; one that says `exit` takes the process with it.
fn changes(event: &str) -> Result<String, String> {
    let mut failures = Vec::new();
    for record in event.split("\"SequenceNumber\":\"").skip(1) {
        let number = record.split('"').next().unwrap_or_default();
        // The members of a change are in the order of their names, so that its image is before its number.
        let place = event.find(&format!("\"SequenceNumber\":\"{number}\"")).unwrap_or_default();
        let image = event[..place].rsplit("\"NewImage\":").next().unwrap_or_default();
        match image {
            image if image.contains("\"fail\"") => failures.push(format!(r#"{{"itemIdentifier":"{number}"}}"#)),
            image if image.contains("\"exit\"") => process::exit(3),
            _ => {}
        }
    }
    Ok(format!(r#"{{"batchItemFailures":[{}]}}"#, failures.join(",")))
}

/// Records under the key `fail` are reported.
fn shards(event: &str) -> String {
    let records = event.split("\"kinesisSchemaVersion\"").skip(1);
    let failures = records.filter(|record| member(record, "partitionKey") == "fail");
    let failures = failures.map(|record| format!(r#"{{"itemIdentifier":"{}"}}"#, member(record, "sequenceNumber")));
    format!(r#"{{"batchItemFailures":[{}]}}"#, failures.collect::<Vec<_>>().join(","))
}

static BATCHES: AtomicUsize = AtomicUsize::new(0);

/// Fails at the first one.
fn lines() -> Result<String, String> {
    match BATCHES.fetch_add(1, Ordering::SeqCst) {
        0 => Err("the first".to_owned()),
        _ => Ok(String::new()),
    }
}

/// Records that say `fail` are reported.
fn stream(event: &str) -> String {
    let mut failures = Vec::new();
    for record in event.split("},{").filter(|record| record.contains("\"ZmFpbA==\"")) {
        let (topic, partition, offset) = (member(record, "topic"), number(record, "partition"), number(record, "offset"));
        failures.push(format!(r#"{{"itemIdentifier":{{"partition":"{topic}-{partition}","offset":{offset}}}}}"#));
    }
    format!(r#"{{"batchItemFailures":[{}]}}"#, failures.join(","))
}

/// `KEY METHOD`: a charge under an idempotency key.
fn charge(argument: &str) -> String {
    let (key, method) = argument.split_once(' ').expect("a key and a payment method");
    let provider = env::var("PROVIDER_URL").expect("the provider's address").replace("http://", "");
    let form = format!("amount=1999&currency=eur&confirm=true&payment_method={method}");
    let headers = [
        ("Authorization", "Bearer sk_test"),
        ("Idempotency-Key", key),
        ("Content-Type", "application/x-www-form-urlencoded"),
    ];
    request(&provider, "POST", "/v1/payment_intents", &headers, &form).expect("the provider's answer").body
}

/// A string member, the first of that name. Good enough for events whose texts hold no quotes.
fn member(json: &str, name: &str) -> String {
    json.split_once(&format!("\"{name}\":\""))
        .and_then(|(_, rest)| rest.split_once('"'))
        .map_or_else(String::new, |(value, _)| value.to_owned())
}

/// A member that is a number, likewise.
fn number(json: &str, name: &str) -> String {
    let (_, rest) = json.split_once(&format!("\"{name}\":")).expect("a number");
    rest.chars().take_while(char::is_ascii_digit).collect()
}

struct Response {
    headers: Vec<String>,
    body: String,
}

impl Response {
    fn header(&self, name: &str) -> String {
        let header = self
            .headers
            .iter()
            .find_map(|line| line.split_once(": ").filter(|(key, _)| key.eq_ignore_ascii_case(name)));
        header.map_or_else(String::new, |(_, value)| value.to_owned())
    }
}

fn request(address: &str, method: &str, path: &str, headers: &[(&str, &str)], body: &str) -> io::Result<Response> {
    let mut stream = TcpStream::connect(address)?;
    let headers: String = headers.iter().map(|(name, value)| format!("{name}: {value}\r\n")).collect();
    write!(
        stream,
        "{method} {path} HTTP/1.1\r\nHost: {address}\r\nConnection: close\r\nContent-Length: {}\r\n{headers}\r\n{body}",
        body.len()
    )?;
    let mut reader = BufReader::new(stream);
    let mut lines = Vec::new();
    loop {
        let mut line = String::new();
        reader.read_line(&mut line)?;
        match line.trim_end() {
            "" => break,
            line => lines.push(line.to_owned()),
        }
    }
    if lines.is_empty() {
        return Err(io::ErrorKind::UnexpectedEof.into());
    }
    let mut response = Response { headers: lines, body: String::new() };
    let length: u64 = response.header("content-length").parse().unwrap_or(u64::MAX);
    reader.take(length).read_to_string(&mut response.body)?;
    Ok(response)
}
