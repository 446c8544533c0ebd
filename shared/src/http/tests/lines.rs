//! The log line of each request.

use std::collections::BTreeMap;
use std::fmt::Debug;
use std::sync::Mutex;

use tracing::field::{Field, Visit};
use tracing::span::{Attributes, Id, Record as SpanRecord};
use tracing::{Event, Metadata, Subscriber};

use super::*;
use crate::http::{Facts, Pseudonyms};

type Line = BTreeMap<&'static str, String>;

/// Keeps the lines that have an outcome.
#[derive(Clone, Default)]
struct Lines(Arc<Mutex<Vec<Line>>>);

impl Subscriber for Lines {
    fn enabled(&self, _: &Metadata<'_>) -> bool {
        true
    }
    fn new_span(&self, _: &Attributes<'_>) -> Id {
        Id::from_u64(1)
    }
    fn record(&self, _: &Id, _: &SpanRecord<'_>) {}
    fn record_follows_from(&self, _: &Id, _: &Id) {}
    fn event(&self, event: &Event<'_>) {
        let mut fields = Fields(Line::new());
        event.record(&mut fields);
        if fields.0.contains_key("outcome") {
            self.0.lock().unwrap().push(fields.0);
        }
    }
    fn enter(&self, _: &Id) {}
    fn exit(&self, _: &Id) {}
}

struct Fields(Line);

impl Visit for Fields {
    fn record_debug(&mut self, field: &Field, value: &dyn Debug) {
        self.0.insert(field.name(), format!("{value:?}").trim_matches('"').to_owned());
    }
}

/// Sends these requests one after another, and returns their lines.
async fn lines(layer: IdempotencyLayer<TestStore>, requests: &[(&str, &str, &str)]) -> Vec<Line> {
    // A call site that is first reached by a test without a subscriber, while this test sets its own, may be disabled
    // permanently. With a default subscriber for the whole process, none is disabled.
    let _ = tracing::subscriber::set_global_default(Lines::default());
    let lines = Lines::default();
    let _guard = tracing::subscriber::set_default(lines.clone());
    for (key, path, body) in requests {
        let handler = service_fn(|request: Request| async move {
            let mut response = handle(Arc::default(), request).await?;
            if response.status() == 402 {
                response.extensions_mut().insert(Facts { code: Some("stolen_card".into()), ..Facts::default() });
            }
            Ok::<_, Infallible>(response)
        });
        layer.layer(handler).oneshot(request("alice", key, path, body)).await.unwrap();
    }
    let lines = lines.0.lock().unwrap();
    lines.clone()
}

fn told(lines: &[Line], field: &str) -> Vec<String> {
    lines.iter().map(|line| line.get(field).cloned().unwrap_or_else(|| "-".to_owned())).collect()
}

const REQUESTS: [(&str, &str, &str); 7] = [
    ("k", "/402", "{}"),
    ("k", "/402", "{}"),
    ("k", "/402", "{\"other\":1}"),
    ("u", "/500", "{}"),
    ("u", "/500", "{}"),
    ("", "/201", "{}"),
    ("a,b", "/201", "{}"),
];

const PRIVATE: [&str; 6] = ["record_id", "who", "about", "instrument", "small", "code"];

#[tokio::test]
async fn a_line_says_whether_this_call_ran_how_old_a_replay_is_and_when_to_retry() {
    let lines = lines(Api::new([]).layer, &REQUESTS).await;
    let outcomes = ["executed", "replayed", "mismatch", "unknown", "unknown", "missing-key", "invalid-key"];
    assert_eq!(told(&lines, "outcome"), outcomes);
    // The retry of an unknown outcome gets the same response, but only the first of the two requests ran.
    assert_eq!(told(&lines, "ran"), ["true", "false", "false", "true", "false", "false", "false"]);
    assert_eq!(told(&lines, "age_s"), ["-", "0", "-", "-", "-", "-", "-"]);
    assert_eq!(told(&lines, "retry_after_s"), ["-", "-", "-", "1", "1", "-", "-"]);
    for field in PRIVATE {
        assert_eq!(told(&lines, field), ["-"; 7], "{field} without pseudonyms");
    }
}

#[tokio::test]
async fn with_pseudonyms_a_line_says_whose_it_is_and_what_it_is_about_and_shows_no_name() {
    let facts = |_: &Request| Facts {
        about: Some("acct-1".into()),
        instrument: Some("pm_card".into()),
        small: Some(true),
        code: None,
    };
    let layer = Api::new([]).layer.pseudonyms(Pseudonyms::new(b"a-key-to-hide")).facts(facts);
    let lines = lines(layer, &REQUESTS).await;
    let who = told(&lines, "who");
    assert!(who[0].len() == 12 && who.iter().all(|each| *each == who[0]), "{who:?}");
    let (about, instrument) = (told(&lines, "about"), told(&lines, "instrument"));
    assert!(about[..5].iter().all(|each| each.len() == 12) && about[5..] == ["-", "-"], "{about:?}");
    assert!(instrument[..5].iter().all(|each| each.len() == 6), "{instrument:?}");
    assert_eq!(told(&lines, "small"), ["true", "true", "true", "true", "true", "-", "-"]);
    for (id, digest) in told(&lines, "record_id").iter().zip(told(&lines, "record")) {
        assert!(*id == "-" && digest == "-" || id.starts_with(&format!("idempotency:{digest}")), "{id} {digest}");
    }
    assert_eq!(told(&lines, "code"), ["stolen_card", "-", "-", "-", "-", "-", "-"]);
    let all = format!("{lines:?}");
    for secret in ["alice", "acct-1", "pm_card", "a-key-to-hide"] {
        assert!(!all.contains(secret), "{secret} in {all}");
    }
}

#[tokio::test]
async fn pseudonyms_without_a_key_stop_no_request_and_name_nobody() {
    let lines = lines(Api::new([]).layer.pseudonyms(Pseudonyms::without_key()), &REQUESTS).await;
    assert_eq!(told(&lines, "outcome")[..2], ["executed", "replayed"]);
    for field in PRIVATE {
        assert_eq!(told(&lines, field), ["-"; 7], "{field}");
    }
}
