//! The spans that an OpenTelemetry collector receives for a request, its replay and a message.

use std::collections::BTreeMap;
use std::convert::Infallible;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::process::Command;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use http::Request;
use idempotency::http::Route;
use idempotency::protocol::{Pointer, Principal, Trace};
use idempotency::sqs::KeySource;
use idempotency::store::memory::MemoryStore;
use idempotency::{Attempt, Engine, IdempotencyLayer, Operation, Queue, Verdict, telemetry::otel};
use lambda_http::{Body, Response};
use tower::{Layer, ServiceExt, service_fn};

/// Keeps the spans sent to it.
#[derive(Clone, Default)]
struct Collector(Arc<Mutex<Vec<Span>>>);

#[derive(Clone, Debug, Default, PartialEq)]
struct Span {
    name: String,
    kind: u64,
    trace: Vec<u8>,
    id: Vec<u8>,
    parent: Vec<u8>,
    /// Trace id and span id of each link.
    links: Vec<(Vec<u8>, Vec<u8>)>,
}

const SERVER: u64 = 2;
const CONSUMER: u64 = 5;

impl Collector {
    /// Starts to listen; returns the URL for traces.
    fn start(&self) -> String {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
        let url = format!("http://{}/v1/traces", listener.local_addr().expect("bound"));
        let collector = self.clone();
        std::thread::spawn(move || {
            for stream in listener.incoming().map_while(Result::ok) {
                let collector = collector.clone();
                std::thread::spawn(move || collector.serve(&stream));
            }
        });
        url
    }

    fn serve(&self, stream: &TcpStream) -> Option<()> {
        let mut reader = BufReader::new(stream);
        loop {
            let mut length = 0;
            loop {
                let mut line = String::new();
                reader.read_line(&mut line).ok().filter(|read| *read > 0)?;
                match line.trim_end().split_once(':') {
                    Some((name, value)) if name.eq_ignore_ascii_case("content-length") => {
                        length = value.trim().parse().ok()?;
                    }
                    _ if line == "\r\n" => break,
                    _ => {}
                }
            }
            let mut body = vec![0; length];
            reader.read_exact(&mut body).ok()?;
            self.0.lock().expect("not poisoned").extend(spans(&body));
            (&*stream).write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n").ok()?;
        }
    }

    /// The spans received since the previous call, by name.
    fn take(&self) -> BTreeMap<String, Span> {
        let spans = std::mem::take(&mut *self.0.lock().expect("not poisoned"));
        spans.into_iter().map(|span| (span.name.clone(), span)).collect()
    }
}

/// The fields of a protocol buffers message: the number, then a numeric value or bytes.
fn fields(mut message: &[u8]) -> Vec<(u64, u64, &[u8])> {
    let mut fields = Vec::new();
    while !message.is_empty() {
        let key = number(&mut message);
        let (value, bytes) = match key & 7 {
            0 => (number(&mut message), &message[..0]),
            1 => (0, take(&mut message, 8)),
            2 => {
                let length = number(&mut message) as usize;
                (0, take(&mut message, length))
            }
            5 => (0, take(&mut message, 4)),
            kind => panic!("fields of kind {kind} are none"),
        };
        fields.push((key >> 3, value, bytes));
    }
    fields
}

fn number(message: &mut &[u8]) -> u64 {
    let mut number = 0;
    for shift in (0..).step_by(7) {
        let byte = take(message, 1)[0];
        number |= u64::from(byte & 0x7f) << shift;
        if byte & 0x80 == 0 {
            break;
        }
    }
    number
}

fn take<'a>(message: &mut &'a [u8], length: usize) -> &'a [u8] {
    let (taken, rest) = message.split_at(length);
    *message = rest;
    taken
}

fn inner(message: &[u8], number: u64) -> Vec<&[u8]> {
    fields(message).into_iter().filter(|field| field.0 == number).map(|field| field.2).collect()
}

/// The spans of an `ExportTraceServiceRequest`.
fn spans(request: &[u8]) -> Vec<Span> {
    let scopes = inner(request, 1).into_iter().flat_map(|resource| inner(resource, 2));
    scopes.flat_map(|scope| inner(scope, 2)).map(span).collect()
}

fn span(message: &[u8]) -> Span {
    let mut span = Span::default();
    for (number, value, bytes) in fields(message) {
        match number {
            1 => span.trace = bytes.to_vec(),
            2 => span.id = bytes.to_vec(),
            4 => span.parent = bytes.to_vec(),
            5 => span.name = String::from_utf8(bytes.to_vec()).expect("a name"),
            6 => span.kind = value,
            13 => span.links.push((inner(bytes, 1)[0].to_vec(), inner(bytes, 2)[0].to_vec())),
            _ => {}
        }
    }
    span
}

fn trace(digit: u8, sampled: bool) -> Trace {
    Trace::new([digit; 16], [digit; 8], sampled).expect("not zero")
}

async fn ask(engine: &Engine<MemoryStore>, trace: Trace) -> u16 {
    let layer = IdempotencyLayer::new(engine.clone(), "test").principal(|_| Principal::new("p").ok());
    let layer = layer.route(Route::new("POST /pay").expect("a route"));
    let handler = service_fn(move |request: lambda_http::Request| async move {
        let attempt =
            request.extensions().get::<Attempt<idempotency::store::memory::Effect>>().expect("it is protected");
        // The attempt's trace is the span of the request, if that is sampled.
        assert!(attempt.trace().is_some_and(|handed| handed.id() == trace.id()));
        Ok::<_, Infallible>(Response::builder().status(201).body(Body::Empty).expect("valid"))
    });
    let request = Request::post("/pay").header("idempotency-key", "k").header("traceparent", trace.to_string());
    let answer = layer.layer(handler).oneshot(request.body(Body::Empty).expect("valid")).await.expect("answers");
    answer.status().as_u16()
}

/// The other test, in its own process, because a process has only one subscriber.
#[test]
fn the_log_has_its_lines_and_none_of_our_spans() {
    let test = "spans_are_at_the_collector_before_the_answer_is_given_and_are_linked_to_the_first_call";
    let mut process = Command::new(std::env::current_exe().expect("this program"));
    let process = process.args(["--exact", test, "--nocapture"]).env("AWS_LAMBDA_LOG_FORMAT", "JSON");
    let output = process.env_remove("AWS_LAMBDA_LOG_LEVEL").env_remove("RUST_LOG").output().expect("it runs");
    let log = String::from_utf8(output.stdout).expect("text");
    assert!(output.status.success(), "{log}");
    for outcome in ["executed", "replayed"] {
        assert!(log.contains(&format!("\"outcome\":\"{outcome}\"")), "{log}");
    }
    assert!(!log.contains("otel.name"), "{log}");
}

#[tokio::test]
async fn spans_are_at_the_collector_before_the_answer_is_given_and_are_linked_to_the_first_call() {
    let collector = Collector::default();
    otel::install("test", Some(&collector.start())).expect("nobody was faster");
    let engine = Engine::builder(MemoryStore::new()).cache_bytes(0).build();

    assert_eq!(ask(&engine, trace(1, true)).await, 201);
    let spans = collector.take();
    assert_eq!(spans.keys().collect::<Vec<_>>(), ["POST /pay", "claim", "commit", "run"]);
    let first = &spans["POST /pay"];
    assert_eq!((first.kind, &*first.trace, &*first.parent), (SERVER, &[1; 16][..], &[1; 8][..]));
    for step in ["claim", "run", "commit"] {
        assert_eq!((&spans[step].trace, &spans[step].parent), (&first.trace, &first.id), "{step}");
    }

    assert_eq!(ask(&engine, trace(2, true)).await, 201);
    let spans = collector.take();
    assert_eq!(spans.keys().collect::<Vec<_>>(), ["POST /pay", "claim", "replay"]);
    assert_eq!((&*spans["replay"].trace, &spans["replay"].parent), (&[2; 16][..], &spans["POST /pay"].id));
    assert_eq!(spans["replay"].links, [(first.trace.clone(), first.id.clone())]);

    assert_eq!(ask(&engine, trace(3, false)).await, 201);
    assert_eq!(collector.take(), BTreeMap::new(), "nobody keeps this trace");

    let (operation, producer) = (Operation::new("ledger", "post"), Principal::new("p").expect("valid"));
    let key = KeySource::pointer(Pointer::new("/event").expect("valid"));
    let queue = Queue::new(engine.clone(), operation, producer, key);
    let event = serde_json::from_value(serde_json::json!({ "Records": [{
        "messageId": "m-1",
        "body": "{\"event\":\"e-1\"}",
        "messageAttributes": { "traceparent": { "dataType": "String", "stringValue": trace(4, true).to_string() } },
    }] }));
    let deadline = engine.now().plus(Duration::from_secs(10));
    let handled = queue.handle(&event.expect("an event"), deadline, async |_, _| Verdict::Success(())).await;
    assert!(handled.expect("answers").batch_item_failures.is_empty());
    let spans = collector.take();
    assert_eq!(spans.keys().collect::<Vec<_>>(), ["claim", "commit", "post", "run"]);
    let message = &spans["post"];
    assert_eq!((message.kind, &message.links[..]), (CONSUMER, &[(vec![4; 16], vec![4; 8])][..]));
    assert_ne!(message.trace, [4; 16], "a trace of its own");
    assert_eq!(spans["run"].parent, message.id);
}
