//! The stack as its users see it: over HTTP, with a real function in real processes.

use std::{
    collections::BTreeSet,
    path::{Path, PathBuf},
    time::Duration,
};

use base64::{Engine, engine::general_purpose::STANDARD};
use local::{LogFormat, Options, Stack};
use reqwest::{Client, StatusCode};
use serde_json::{Value, json};

struct Running {
    stack: Stack,
    client: Client,
    url: String,
}

impl Running {
    async fn start(data: Option<&Path>) -> Self {
        let template = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/template.yaml");
        let options = Options {
            port: 0,
            data: data.map(PathBuf::from),
            kafka: None,
            store: local::RecordStore::Dynamodb,
            template: Some(template),
            parameters: Vec::new(),
            sandboxes: 8,
            built: None,
            signing_key: None,
            time_to_live_sweep: Duration::from_secs(1),
            dynamodb_port: 0,
            dynamodb_endpoint: None,
            overtime: Duration::ZERO,
            on_demand: true,
            log: LogFormat::Json,
            demo: false,
            seed: 1,
            orders: 0,
            record: None,
        };
        let stack = Stack::start(&options).await.expect("the stack starts");
        let url = format!("http://{}", stack.address());
        Self { stack, client: Client::new(), url }
    }

    async fn post(&self, path: &str, body: &str) -> (StatusCode, String) {
        let response = self
            .client
            .post(format!("{}{path}", self.url))
            .header("content-type", "text/plain")
            .body(body.to_owned())
            .send()
            .await
            .expect("an answer");
        (response.status(), response.text().await.expect("a body"))
    }

    async fn get(&self, path: &str) -> Value {
        let response = self.client.get(format!("{}{path}", self.url)).send().await.expect("an answer");
        response.json().await.expect("JSON")
    }

    async fn token(&self, query: &str) -> String {
        self.client
            .get(format!("{}/_local/token?{query}", self.url))
            .send()
            .await
            .expect("an answer")
            .text()
            .await
            .expect("a token")
    }

    /// Where an embedded service listens.
    async fn address(&self, name: &str) -> String {
        let response = self.client.get(format!("{}/_local/{name}", self.url)).send().await.expect("an answer");
        assert_eq!(response.status(), OK, "{name}");
        response.text().await.expect("an address")
    }

    /// Asks until the answer satisfies.
    async fn until(&self, path: &str, satisfied: impl Fn(&Value) -> bool) -> Value {
        let wait = async {
            loop {
                let value = self.get(path).await;
                if satisfied(&value) {
                    return value;
                }
                tokio::time::sleep(Duration::from_millis(20)).await;
            }
        };
        match tokio::time::timeout(Duration::from_secs(20), wait).await {
            Ok(value) => value,
            Err(_) => panic!("{path} never satisfied: {}", self.get(path).await),
        }
    }

    async fn dynamodb(&self, operation: &str, body: Value) -> StatusCode {
        let (_, answer) = self.post("/open", "environment AWS_ENDPOINT_URL_DYNAMODB").await;
        let endpoint: Value = serde_json::from_str(&answer).expect("JSON");
        let request = self
            .client
            .post(endpoint["value"].as_str().expect("an endpoint"))
            .header("content-type", "application/x-amz-json-1.0")
            .header("x-amz-target", format!("DynamoDB_20120810.{operation}"))
            .header("x-amz-date", "20260101T000000Z")
            .header("authorization", "AWS4-HMAC-SHA256 Credential=local/20260101/us-east-1/dynamodb/aws4_request, SignedHeaders=host;x-amz-date, Signature=0");
        request.body(body.to_string()).send().await.expect("an answer").status()
    }
}

const OK: StatusCode = StatusCode::OK;
const FAILED: (StatusCode, &str) = (StatusCode::INTERNAL_SERVER_ERROR, r#"{"message":"Internal Server Error"}"#);

fn is_failure(answer: &(StatusCode, String)) -> bool {
    (answer.0, answer.1.as_str()) == FAILED
}

fn messages(queue: &Value) -> Vec<&Value> {
    queue["messages"].as_array().expect("messages").iter().collect()
}

fn bodies(queue: &Value) -> Vec<&Value> {
    queue["bodies"].as_array().expect("bodies").iter().collect()
}

#[tokio::test]
async fn a_request_runs_in_a_process_and_its_answer_comes_back() {
    let running = Running::start(None).await;
    let token = running.token("sub=ann&role=operator").await;
    let request = running
        .client
        .post(format!("{}/closed/a%20b?x=1", running.url))
        .bearer_auth(token)
        .header("content-type", "text/plain");
    let event: Value = request.body("echo").send().await.expect("an answer").json().await.expect("the event");
    assert_eq!(event["routeKey"], "POST /closed/{name}");
    assert_eq!(event["pathParameters"]["name"], "a b");
    assert_eq!(event["requestContext"]["authorizer"]["jwt"]["claims"]["sub"], "ann");
    assert_eq!(event["requestContext"]["authorizer"]["jwt"]["claims"]["role"], "operator");
    running.stack.stop().await;
}

#[tokio::test]
async fn only_a_good_token_opens_a_closed_route() {
    let running = Running::start(None).await;
    let token = running.token("sub=ann").await;
    let expired = running.token("sub=ann&exp=1").await;
    let call = |authorization: Option<String>| {
        let request = running.client.post(format!("{}/closed/x", running.url)).body("");
        let request = authorization.into_iter().fold(request, |request, value| request.header("authorization", value));
        async move { request.send().await.expect("an answer").status() }
    };
    assert_eq!(call(Some(format!("Bearer {token}"))).await, OK);
    for bad in [
        None,
        Some("Bearer x.y.z".to_owned()),
        Some(format!("Basic {token}")),
        Some(format!("Bearer {token}x")),
        Some(format!("Bearer {expired}")),
    ] {
        assert_eq!(call(bad.clone()).await, StatusCode::UNAUTHORIZED, "{bad:?}");
    }
    assert_eq!(running.post("/nowhere", "").await, (StatusCode::NOT_FOUND, r#"{"message":"Not Found"}"#.to_owned()));
    running.stack.stop().await;
}

#[tokio::test]
async fn a_function_that_takes_too_long_is_killed_at_its_timeout() {
    let running = Running::start(None).await;
    let (_, before) = running.post("/open", "process").await;
    let start = std::time::Instant::now();
    assert!(is_failure(&running.post("/open", "sleep 30000").await));
    assert!((1.0..3.0).contains(&start.elapsed().as_secs_f64()), "{:?}", start.elapsed());
    let (status, after) = running.post("/open", "process").await;
    assert_eq!(status, OK);
    assert_ne!(before, after);
    running.stack.stop().await;
}

#[tokio::test]
async fn a_crash_fails_its_request_at_once_and_no_other() {
    let running = Running::start(None).await;
    let (crash, neighbour) = tokio::join!(running.post("/patient", "exit"), running.post("/patient", "sleep 300"));
    assert!(is_failure(&crash));
    assert_eq!(neighbour.0, OK);
    assert_eq!(running.post("/patient", "process").await.0, OK);
    running.stack.stop().await;
}

#[tokio::test]
async fn an_error_of_the_function_is_a_500_and_its_process_lives_on() {
    let running = Running::start(None).await;
    let (_, before) = running.post("/open", "process").await;
    assert!(is_failure(&running.post("/open", "fail").await));
    assert_eq!(running.post("/open", "process").await, (OK, before));
    running.stack.stop().await;
}

#[tokio::test]
async fn payloads_beyond_the_limits_are_refused() {
    let running = Running::start(None).await;
    assert!(is_failure(&running.post("/patient", "large").await));
    let larger_than_lambda = "x".repeat(7 * 1024 * 1024);
    assert_eq!(running.post("/open", &larger_than_lambda).await.0, StatusCode::PAYLOAD_TOO_LARGE);
    let larger_than_the_gateway = "x".repeat(11 * 1024 * 1024);
    assert_eq!(running.post("/open", &larger_than_the_gateway).await.0, StatusCode::PAYLOAD_TOO_LARGE);
    running.stack.stop().await;
}

#[tokio::test]
async fn requests_run_side_by_side_up_to_the_limit_and_wait_beyond_it() {
    let running = Running::start(None).await;
    let answers = tokio::join!(
        running.post("/patient", "sleep 300"),
        running.post("/patient", "sleep 300"),
        running.post("/patient", "sleep 300")
    );
    let processes: std::collections::BTreeSet<String> =
        [answers.0, answers.1, answers.2].into_iter().map(|(_, process)| process).collect();
    assert_eq!(processes.len(), 2);
    running.stack.stop().await;
}

#[tokio::test]
async fn a_sandbox_is_listed_with_its_process_and_what_it_does() {
    let running = Running::start(None).await;
    let (_, process) = running.post("/open", "process").await;
    let is = |doing: &'static str| {
        let process: Value = serde_json::from_str(&process).expect("JSON");
        move |functions: &Value| {
            let only = &functions["Single"][0];
            (&only["process"], only["doing"].as_str()) == (&process, Some(doing))
        }
    };
    running.until("/_local/functions", is("waiting")).await;
    tokio::join!(running.post("/open", "sleep 500"), running.until("/_local/functions", is("serving")));
    running.stack.stop().await;
}

#[tokio::test]
async fn killed_sandboxes_are_replaced_before_the_next_request() {
    let running = Running::start(None).await;
    let (_, before) = running.post("/open", "process").await;
    assert_eq!(running.post("/_local/functions/Single/kill", "").await, (OK, r#"{"killed":1}"#.to_owned()));
    for _ in 0..20 {
        let (status, after) = running.post("/open", "process").await;
        assert_eq!(status, OK);
        assert_ne!(before, after);
    }
    assert_eq!(running.post("/_local/functions/Nobody/kill", "").await.0, StatusCode::NOT_FOUND);
    running.stack.stop().await;
}

async fn parameter(running: &Running, name: &str) -> Value {
    let list = running.get("/_local/parameters").await;
    let found = list.as_array().expect("a list").iter().find(|parameter| parameter["name"] == name);
    found.unwrap_or_else(|| panic!("{name}: {list}")).clone()
}

#[tokio::test]
async fn a_changed_parameter_is_what_the_next_request_sees_and_a_running_one_ends() {
    let running = Running::start(None).await;
    let (_, before) = running.post("/patient", "process").await;
    let (_, neighbour) = running.post("/open", "process").await;
    let change = async {
        running.until("/_local/functions", |functions| functions["Patient"][0]["doing"] == "serving").await;
        let (status, answer) = running.post("/_local/parameters/Word?value=two", "").await;
        let change: Value = serde_json::from_str(&answer).expect("JSON");
        assert_eq!((status, &change["functions"]), (OK, &json!(["Patient"])), "{change}");
        assert_eq!((&change["before"], &change["value"]), (&json!("one"), &json!("two")));
        let seen = running.post("/patient", "environment WORD").await;
        let functions = running.get("/_local/functions").await;
        (seen, functions)
    };
    let (ended, (seen, functions)) = tokio::join!(running.post("/patient", "sleep 3000"), change);
    assert_eq!(seen, (OK, r#"{"value":"two"}"#.to_owned()));
    assert_eq!(functions["Patient"].as_array().map(Vec::len), Some(2), "the old one was still serving: {functions}");
    assert_eq!(ended, (OK, before.clone()), "in the process in which it began");
    let gone = |functions: &Value| functions["Patient"].as_array().is_some_and(|all| all.len() == 1);
    let left = running.until("/_local/functions", gone).await;
    assert_ne!(left["Patient"][0]["process"].to_string(), before);
    assert_eq!(running.post("/open", "process").await, (OK, neighbour), "a function that does not use it stays");
    assert_eq!(parameter(&running, "Word").await["value"], "two");
    running.stack.stop().await;
}

#[tokio::test]
async fn a_parameter_that_cannot_be_changed_so_changes_nothing_and_says_why() {
    let running = Running::start(None).await;
    let (_, before) = running.post("/open", "process").await;
    let listed = running.get("/_local/parameters").await;
    for (change, status, why) in [
        ("Word?value=TWO", StatusCode::BAD_REQUEST, "AllowedPattern is [a-z]+"),
        ("Visibility?value=0", StatusCode::BAD_REQUEST, "MinValue is 1"),
        ("Every?value=rate(5)", StatusCode::BAD_REQUEST, "rate(VALUE UNIT)"),
        ("Start?value=fails", StatusCode::UNPROCESSABLE_ENTITY, "the function cannot start: it ended"),
        ("Visibility?value=2", StatusCode::CONFLICT, "cargo run -p local -- --parameter Visibility=2;"),
        ("Visibility?value=2", StatusCode::CONFLICT, "used for Queue.VisibilityTimeout"),
        ("Wort?value=two", StatusCode::NOT_FOUND, "Word, Every"),
        ("Word", StatusCode::BAD_REQUEST, "?value=VALUE"),
    ] {
        let (answered, problem) = running.post(&format!("/_local/parameters/{change}"), "").await;
        let problem: Value = serde_json::from_str(&problem).expect("a problem");
        assert_eq!(answered, status, "{change}: {problem}");
        assert!(problem["detail"].as_str().is_some_and(|detail| detail.contains(why)), "{change}: {problem}");
    }
    assert_eq!(running.post("/open", "process").await, (OK, before), "nothing was replaced");
    assert_eq!(running.get("/_local/parameters").await, listed);
    let functions = running.get("/_local/functions").await;
    assert_eq!(functions["Single"].as_array().map(Vec::len), Some(1), "no trace of what could not start: {functions}");
    running.stack.stop().await;
}

#[tokio::test]
async fn a_parameter_says_what_it_may_be_and_when_a_change_takes_effect() {
    let running = Running::start(None).await;
    assert_eq!(
        parameter(&running, "Word").await,
        json!({
            "name": "Word", "group": null, "type": "String", "description": "What the function is told.",
            "default": "one", "allowed_pattern": "[a-z]+", "value": "one",
            "takes_effect": "at_once", "used_by": ["Patient.Environment"],
        })
    );
    for (name, effect, used_by) in [
        ("Every", "at_once", json!(["Single.Tick.ScheduleExpression"])),
        ("Visibility", "at_start", json!(["Queue.VisibilityTimeout"])),
        ("JwtIssuer", "at_start", json!(["Api.Auth"])),
        ("Days", "nowhere", json!(["SingleLogs.RetentionInDays"])),
    ] {
        let parameter = parameter(&running, name).await;
        assert_eq!((&parameter["takes_effect"], &parameter["used_by"]), (&json!(effect), &used_by), "{name}");
    }
    let (_, answer) = running.post("/_local/parameters/Every?value=rate(7%20days)", "").await;
    let change: Value = serde_json::from_str(&answer).expect("JSON");
    assert_eq!((&change["functions"], &change["schedules"]), (&json!([]), &json!(["SingleTick"])), "{change}");
    let schedules = running.get("/_local/schedules").await;
    assert_eq!(schedules[1]["expression"], "rate(7 days)", "{schedules}");
    assert_eq!(running.post("/_local/parameters/Days?value=1", "").await.0, OK);
    running.stack.stop().await;
}

#[tokio::test]
async fn a_message_that_fails_stays_until_it_is_a_dead_letter_and_can_be_redriven() {
    let running = Running::start(None).await;
    running.post("/_local/queues/Queue", "fine").await;
    running.post("/_local/queues/Queue?copies=2", "fail").await;
    let dead = running.until("/_local/queues/DeadLetters", |queue| queue["visible"] == 2).await;
    assert!(bodies(&dead).iter().all(|body| *body == "fail"));
    assert!(messages(&dead).iter().all(|message| message["receive_count"] == 2));
    assert_eq!(
        running.get("/_local/queues/Queue").await,
        json!({ "visible": 0, "in_flight": 0, "delayed": 0, "oldest_s": 0, "bodies": [], "messages": [] })
    );

    assert_eq!(running.post("/_local/queues/DeadLetters/redrive", "").await.1, r#"{"moved":2}"#);
    let again = running.until("/_local/queues/DeadLetters", |queue| queue["visible"] == 2).await;
    let ids = |queue: &Value| messages(queue).iter().map(|message| message["id"].clone()).collect::<Vec<_>>();
    assert!(ids(&again).iter().all(|id| !ids(&dead).contains(id)), "a redriven message has a new id");
    running.stack.stop().await;
}

#[tokio::test]
async fn a_crash_keeps_the_whole_batch() {
    let running = Running::start(None).await;
    running.post("/_local/queues/Queue", "exit").await;
    let dead = running.until("/_local/queues/DeadLetters", |queue| queue["visible"] == 1).await;
    assert_eq!(bodies(&dead), ["exit"]);
    running.stack.stop().await;
}

#[tokio::test]
async fn looking_into_a_queue_changes_nothing() {
    let running = Running::start(None).await;
    running.post("/_local/queues/Copies", "seen").await;
    for _ in 0..3 {
        let queue = running.get("/_local/queues/Copies").await;
        assert_eq!((&queue["visible"], &messages(&queue)[0]["receive_count"]), (&json!(1), &json!(0)));
    }
    running.stack.stop().await;
}

#[tokio::test]
async fn the_pipe_carries_what_its_filter_selects() {
    let running = Running::start(None).await;
    for (id, kind) in [("1", "event"), ("2", "other"), ("3", "event"), ("4", "event")] {
        let item = json!({ "TableName": "Table", "Item": { "id": { "S": id }, "kind": { "S": kind } } });
        assert_eq!(running.dynamodb("PutItem", item).await, OK);
    }
    let queue = running.until("/_local/queues/Copies", |queue| queue["visible"] == 3).await;
    let bodies = bodies(&queue);
    assert_eq!(bodies, [r#"{"id": "1"}"#, r#"{"id": "3"}"#, r#"{"id": "4"}"#]);
    running.stack.stop().await;
}

#[tokio::test]
async fn the_changes_of_a_table_reach_a_function_and_one_that_fails_for_good_takes_no_other_along() {
    let running = Running::start(None).await;
    let put = async |id: &str, kind: &str, told: &str| {
        let item = json!({ "id": { "S": id }, "kind": { "S": kind }, "told": { "S": told } });
        assert_eq!(running.dynamodb("PutItem", json!({ "TableName": "Table", "Item": item })).await, OK);
    };
    for number in 0..3 {
        put(&format!("ok-{number}"), "change", "nothing").await;
        put(&format!("other-{number}"), "other", "exit").await;
    }
    let seen = running.until("/_local/mappings", |all| all["BatchChanges"]["delivered"] == 3).await;
    let seen = &seen["BatchChanges"];
    assert_eq!((&seen["batches"], &seen["filtered"]), (&json!(1), &json!(3)), "one batch, after its window: {seen}");
    assert!(seen["iterator_age_ms"].as_u64().is_some_and(|age| (500..20_000).contains(&age)), "{seen}");

    // One that is reported, and one that takes the process with it, in a batch that is full and does not wait.
    for (id, told) in [("a", "nothing"), ("b", "fail"), ("c", "exit"), ("d", "nothing")] {
        put(id, "change", told).await;
    }
    let lost = running.until("/_local/queues/Lost", |queue| queue["visible"] == 2).await;
    for letter in bodies(&lost) {
        let letter: Value = serde_json::from_str(letter.as_str().expect("a text")).expect("JSON");
        let place = &letter["DDBStreamBatchInfo"];
        assert_eq!(
            (&place["batchSize"], place["startSequenceNumber"] == place["endSequenceNumber"]),
            (&json!(1), true)
        );
    }
    put("e", "change", "nothing").await;
    let settled = |all: &Value| {
        let count = |name: &str| all["BatchChanges"][name].as_u64().expect("a number");
        count("batches") - count("failed_batches") >= 2 && count("given_up") == 2
    };
    running.until("/_local/mappings", settled).await;
    // From the oldest record on, which AWS may do at any time.
    let (status, _) = running.post("/_local/mappings/BatchChanges/rewind", "").await;
    assert_eq!(status, StatusCode::NO_CONTENT);
    running.until("/_local/queues/Lost", |queue| queue["visible"] == 4).await;
    running.stack.stop().await;
}

#[tokio::test]
async fn the_records_of_a_kinesis_stream_reach_a_function_shard_by_shard_and_one_that_fails_for_good_is_given_up() {
    let running = Running::start(None).await;
    let address = running.address("kinesis").await;
    let put = async |key: &str, kind: &str| {
        let data = STANDARD.encode(json!({ "kind": kind }).to_string());
        let request = running.client.post(&address).header("x-amz-target", "Kinesis_20131202.PutRecord");
        let request = request.header("content-type", "application/x-amz-json-1.1");
        let body = json!({ "StreamName": "Sales", "PartitionKey": key, "Data": data });
        let answer: Value = request.body(body.to_string()).send().await.expect("answers").json().await.expect("JSON");
        answer["ShardId"].as_str().expect("a shard").to_owned()
    };
    let mut shards = BTreeSet::new();
    for number in 0..20 {
        shards.insert(put(&format!("key-{number}"), "sale").await);
        put(&format!("key-{number}"), "other").await;
    }
    assert_eq!(shards.len(), 2, "keys go to both shards");
    let sum = |all: &Value, name: &str| -> u64 {
        let counts = shards.iter().map(|shard| all[format!("BatchShards-{shard}")][name].as_u64().expect("a number"));
        counts.sum()
    };
    running.until("/_local/mappings", |all| (sum(all, "delivered"), sum(all, "filtered")) == (20, 20)).await;

    let shard = put("fail", "sale").await;
    put("fail", "other").await;
    let lost = running.until("/_local/queues/Lost", |queue| queue["visible"] == 1).await;
    let letter: Value = serde_json::from_str(bodies(&lost)[0].as_str().expect("a text")).expect("JSON");
    let place = &letter["KinesisBatchInfo"];
    assert_eq!((&place["batchSize"], &place["shardId"]), (&json!(1), &json!(shard)), "{letter}");
    running.until("/_local/mappings", |all| sum(all, "given_up") == 1 && sum(all, "filtered") > 20).await;
    running.stack.stop().await;
}

#[tokio::test]
async fn a_one_time_schedule_invokes_its_function_once_and_is_gone() {
    let running = Running::start(None).await;
    let (_, answer) = running.post("/open", "environment AWS_ENDPOINT_URL_SCHEDULER").await;
    let endpoint: Value = serde_json::from_str(&answer).expect("JSON");
    let endpoint = endpoint["value"].as_str().expect("an endpoint").to_owned();
    let create = async |name: &str, change: Value| {
        let at = (chrono::Utc::now() + chrono::TimeDelta::seconds(2)).format("at(%Y-%m-%dT%H:%M:%S)").to_string();
        let mut body = json!({
            "GroupName": "Group", "ScheduleExpression": at, "ActionAfterCompletion": "DELETE",
            "FlexibleTimeWindow": { "Mode": "OFF" },
            "Target": {
                "Arn": "arn:aws:lambda:us-east-1:000000000000:function:Batch:live",
                "RoleArn": "arn:aws:iam::000000000000:role/r",
                "Input": r#"{"Records":[{"body":"fail"}],"seen":"once"}"#,
            },
        });
        for (member, value) in change.as_object().expect("an object") {
            body[member] = value.clone();
        }
        let request = running.client.post(format!("{endpoint}/schedules/{name}")).body(body.to_string());
        let response = request.send().await.expect("an answer");
        let kind = response.headers().get("x-amzn-errortype").and_then(|kind| kind.to_str().ok()).map(str::to_owned);
        (response.status().as_u16(), kind.unwrap_or_default())
    };
    assert_eq!(create("one", json!({})).await, (200, String::new()));
    assert_eq!(create("one", json!({})).await, (409, "ConflictException".to_owned()));
    let refused = |kind: &str, status| (status, kind.to_owned());
    assert_eq!(create("two", json!({ "GroupName": "Other" })).await, refused("ResourceNotFoundException", 404));
    for wrong in [
        json!({ "ScheduleExpression": "at(2020-01-01T00:00:00)" }),
        json!({ "ScheduleExpression": "rate(1 minute)" }),
        json!({ "ActionAfterCompletion": "NONE" }),
        json!({ "FlexibleTimeWindow": { "Mode": "FLEXIBLE" } }),
        json!({ "Target": { "Arn": "arn:aws:lambda:us-east-1:000000000000:function:None", "RoleArn": "r" } }),
    ] {
        assert_eq!(create("two", wrong.clone()).await, refused("ValidationException", 400), "{wrong}");
    }
    let waiting = running.get("/_local/one-time-schedules").await;
    assert_eq!((waiting.as_array().map(Vec::len), &waiting[0]["input"]["seen"]), (Some(1), &json!("once")));
    running.until("/_local/one-time-schedules", |waiting| waiting == &json!([])).await;
    running.until("/_local/functions", |all| !all["Batch"].as_array().expect("sandboxes").is_empty()).await;
    running.stack.stop().await;
}

#[tokio::test]
async fn what_was_committed_survives_a_restart() {
    let folder = tempfile::tempdir().expect("a folder");
    let running = Running::start(Some(folder.path())).await;
    // The issuer's name has the stack's port, which is another one after the restart; its key stays.
    let keys = running.get("/_local/jwks.json").await;
    running.post("/_local/queues/Copies", "kept").await;
    running.post("/open", "charge k1 pm_card_visa").await;
    assert_eq!(
        running
            .dynamodb(
                "PutItem",
                json!({ "TableName": "Table", "Item": { "id": { "S": "1" }, "kind": { "S": "event" } } })
            )
            .await,
        OK
    );
    running.until("/_local/queues/Copies", |queue| queue["visible"] == 2).await;
    let charges = running.get("/_local/charges").await;
    running.stack.stop().await;

    let running = Running::start(Some(folder.path())).await;
    let queue = running.get("/_local/queues/Copies").await;
    assert_eq!(messages(&queue).len(), 2, "{queue}");
    running.post("/open", "charge k1 pm_card_visa").await;
    assert_eq!(running.get("/_local/charges").await, charges);
    assert_eq!(running.get("/_local/jwks.json").await, keys);
    assert_eq!(
        running
            .dynamodb(
                "PutItem",
                json!({ "TableName": "Table", "Item": { "id": { "S": "2" }, "kind": { "S": "event" } } })
            )
            .await,
        OK
    );
    running.until("/_local/queues/Copies", |queue| queue["visible"] == 3).await;
    running.stack.stop().await;
}

#[tokio::test]
async fn expired_items_are_deleted() {
    let running = Running::start(None).await;
    let item = json!({ "TableName": "Table", "Item": { "id": { "S": "1" }, "expiration": { "N": "1000000000" } } });
    assert_eq!(running.dynamodb("PutItem", item).await, OK);
    let gone = json!({ "TableName": "Table", "Item": { "id": { "S": "1" } }, "ConditionExpression": "attribute_not_exists(id)" });
    let wait = async { while running.dynamodb("PutItem", gone.clone()).await != OK {} };
    tokio::time::timeout(Duration::from_secs(20), wait).await.expect("the sweep");
    running.stack.stop().await;
}

#[tokio::test]
async fn a_payment_method_that_kills_takes_the_calling_process_before_or_after_the_charge() {
    let running = Running::start(None).await;
    for (method, charged) in [("pm_kill_before_charge", 0), ("pm_kill_after_charge", 1)] {
        let before = running.get("/_local/charges").await.as_array().map(Vec::len).expect("a list");
        assert!(is_failure(&running.post("/patient", &format!("charge {method} {method}")).await));
        assert_eq!(running.get("/_local/charges").await.as_array().map(Vec::len), Some(before + charged), "{method}");
        let (status, answer) = running.post("/patient", &format!("charge {method} {method}")).await;
        assert_eq!(status, OK);
        assert!(answer.contains("succeeded"), "{answer}");
        assert_eq!(running.get("/_local/charges").await.as_array().map(Vec::len), Some(before + 1), "{method}");
    }
    running.stack.stop().await;
}

#[tokio::test]
async fn what_a_function_prints_reaches_its_subscriber_although_that_fails_at_first_and_again_on_demand() {
    let running = Running::start(None).await;
    running.post("/open", "print seen").await;
    running.post("/open", "echo nothing that the filter selects").await;
    let batches = async || running.post("/_local/functions/Reader/invoke", r#"{"body":"batches"}"#).await.1;
    // The first delivery failed, the second one did not.
    let wait = async {
        while batches().await != "2" {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    };
    tokio::time::timeout(Duration::from_secs(20), wait).await.expect("delivered");
    let contents = running.until("/_local/logs/SingleLogs", |contents| contents["waiting"] == 0).await;
    assert_eq!(contents["delivered"], json!({ "ReaderLines": 1 }), "one batch, however often it was delivered");

    let (status, answer) = running.post("/_local/logs/SingleLogs/deliver-again", "").await;
    assert_eq!((status, answer.as_str()), (OK, r#"{"batches":1,"failed":0}"#));
    assert_eq!(batches().await, "3");
    let (status, problem) = running.post("/_local/logs/BatchLogs/deliver-again", "").await;
    assert_eq!(status, StatusCode::NOT_FOUND);
    assert!(problem.contains("SingleLogs"), "it names those that there are: {problem}");
    running.stack.stop().await;
}

#[tokio::test]
async fn what_functions_printed_is_queried_as_in_logs_insights() {
    let running = Running::start(None).await;
    for word in ["first", "second", "first"] {
        running.post("/open", &format!("print {word}")).await;
    }
    let three = |rows: &Value| rows.as_array().is_some_and(|rows| rows.len() == 3);
    running.until("/_local/log-queries/All%20words", three).await;
    let saved = running.get("/_local/log-queries").await;
    assert!(saved["local/All words"].as_str().is_some_and(|text| text.contains("told")), "{saved}");
    let (status, rows) = running.post("/_local/log-queries", "stats count(*) as times by told | sort times desc").await;
    let rows: Value = serde_json::from_str(&rows).expect("JSON");
    assert_eq!((status, &rows[0]), (StatusCode::OK, &json!({ "told": "first", "times": 2 })));
    let (status, problem) = running.post("/_local/log-queries", "unmask @message").await;
    assert!(status == StatusCode::BAD_REQUEST && problem.contains("does not know the command unmask"), "{problem}");
    let missing = running.get("/_local/log-queries/Missing").await;
    assert!(missing["detail"].as_str().is_some_and(|detail| detail.contains("local/All words")), "{missing}");
    running.stack.stop().await;
}

#[tokio::test]
async fn a_pipe_to_the_event_bus_makes_events_of_its_source_and_type() {
    let running = Running::start(None).await;
    for kind in ["event", "announcement"] {
        let item = json!({ "id": { "S": kind }, "kind": { "S": kind } });
        assert_eq!(running.dynamodb("PutItem", json!({ "TableName": "Table", "Item": item })).await, OK);
    }
    let events = running.until("/_local/events", |events| events[0].is_object()).await;
    assert_eq!(events.as_array().map(Vec::len), Some(1));
    let event = &events[0];
    assert_eq!((&event["source"], &event["detail-type"]), (&json!("tests"), &json!("announcement")));
    assert_eq!(event["detail"], json!({ "id": "announcement" }));
    running.stack.stop().await;
}

#[tokio::test]
async fn a_schedule_runs_on_demand_by_its_name() {
    let running = Running::start(None).await;
    let listed = running.get("/_local/schedules").await;
    let listed: Vec<_> = listed.as_array().expect("a list").iter().map(|schedule| schedule["name"].clone()).collect();
    assert_eq!(listed, ["BatchReconcile", "SingleTick"], "function and event, as SAM names the resource");

    let (status, answer) = running.post("/_local/schedules/SingleTick", "").await;
    let event: Value = serde_json::from_str(&answer).expect("the event");
    assert_eq!((status, event["source"].as_str(), event["detail"].as_str()), (OK, Some("aws.scheduler"), Some("{}")));
    assert!(event["resources"][0].as_str().is_some_and(|arn| arn.ends_with("/SingleTick")), "{event}");

    let (status, problem) = running.post("/_local/schedules/Tock", "").await;
    assert_eq!(status, StatusCode::NOT_FOUND);
    assert!(problem.contains("BatchReconcile, SingleTick"), "{problem}");
    running.stack.stop().await;
}

#[tokio::test]
async fn to_reconcile_runs_the_schedule_of_that_event_alone_and_without_its_input_however_many_there_are() {
    let running = Running::start(None).await;
    let (status, answer) = running.post("/_local/reconcile", "").await;
    let event: Value = serde_json::from_str(&answer).expect("the event");
    assert_eq!((status, event["source"].as_str(), &event["told"]), (OK, Some("aws.scheduler"), &Value::Null));
    assert!(event["resources"][0].as_str().is_some_and(|arn| arn.ends_with("/BatchReconcile")), "{event}");
    let (status, answer) = running.post("/_local/schedules/BatchReconcile", "").await;
    assert_eq!((status, answer.as_str()), (OK, r#"{"told":"by the schedule"}"#), "by its name, with its input");
    running.stack.stop().await;
}

/// What a page on another site, or one whose name was made to point here, would send.
#[tokio::test]
async fn a_web_page_cannot_drive_the_stack() {
    let running = Running::start(None).await;
    let port = running.stack.address().port();
    let address = |name: &'static str| running.address(name);
    let (provider, sqs, dynamodb) = tokio::join!(address("provider"), address("sqs"), address("dynamodb"));
    let (_, answer) = running.post("/open", "environment AWS_LAMBDA_RUNTIME_API").await;
    let runtime: Value = serde_json::from_str(&answer).expect("JSON");
    let runtime =
        format!("http://{}/2018-06-01/runtime/invocation/x/response", runtime["value"].as_str().expect("one"));
    let (_, answer) = running.post("/open", "environment PROVIDER_URL").await;
    let own_provider: Value = serde_json::from_str(&answer).expect("JSON");
    let own_provider = format!("{}/v1/refunds", own_provider["value"].as_str().expect("one"));
    for url in [
        format!("{}/_local/functions/Single/kill", running.url),
        format!("{}/_local/nowhere", running.url),
        format!("{provider}/v1/payment_intents"),
        own_provider,
        sqs,
        dynamodb,
        runtime,
    ] {
        for (header, value) in [
            ("origin", "https://evil.example"),
            ("origin", "null"),
            ("origin", "http://127.0.0.1.evil.example"),
            ("sec-fetch-site", "cross-site"),
            ("host", "evil.example"),
            ("host", "127.0.0.1.evil.example:80"),
        ] {
            let request =
                running.client.post(&url).header(header, value).header("content-type", "text/plain").body("{}");
            let answer = request.send().await.expect("an answer");
            assert_eq!(answer.status(), StatusCode::FORBIDDEN, "{url} {header}: {value}");
            assert!(answer.headers().get("access-control-allow-origin").is_none(), "{url} {header}: {value}");
            let answer = answer.text().await.expect("a body");
            assert!(answer.contains("this machine"), "it says why: {answer}");
        }
        let preflight = running.client.request(reqwest::Method::OPTIONS, &url).header("origin", "https://evil.example");
        let preflight = preflight.header("access-control-request-method", "POST").send().await.expect("an answer");
        assert_eq!(preflight.status(), StatusCode::FORBIDDEN, "{url}");
    }
    assert_eq!(running.post("/open", "process").await.0, OK, "nothing was killed");

    // Programs send no origin; pages of this machine, and a name that means this machine, are welcome.
    for (header, value) in [
        ("host", format!("localhost:{port}")),
        ("host", "127.0.0.1".to_owned()),
        ("host", "[::1]:3000".to_owned()),
        ("origin", "http://localhost:5173".to_owned()),
        ("origin", "http://[::1]".to_owned()),
        ("sec-fetch-site", "same-origin".to_owned()),
        ("sec-fetch-site", "none".to_owned()),
    ] {
        let request = running.client.get(format!("{}/_local/charges", running.url)).header(header, &value);
        assert_eq!(request.send().await.expect("an answer").status(), OK, "{header}: {value}");
    }
    // Who may call the API is the template's to say, and its tokens', as on AWS.
    let shop = running.client.post(format!("{}/open", running.url)).header("origin", "https://shop.example");
    assert_eq!(shop.header("host", "api.example").body("process").send().await.expect("an answer").status(), OK);
    running.stack.stop().await;
}

#[tokio::test]
async fn a_front_end_at_another_port_of_this_machine_may_read_a_token_and_nothing_else() {
    let running = Running::start(None).await;
    for (path, origin, status, allowed) in [
        ("token?sub=ann", "http://localhost:5173", OK, Some("http://localhost:5173")),
        ("token?sub=ann", "https://evil.example", StatusCode::FORBIDDEN, None),
        ("charges", "http://localhost:5173", OK, None),
    ] {
        let request = running.client.get(format!("{}/_local/{path}", running.url)).header("origin", origin);
        let answer = request.send().await.expect("an answer");
        let named = answer.headers().get("access-control-allow-origin").map(|value| value.to_str().expect("text"));
        assert_eq!((answer.status(), named), (status, allowed), "{path} {origin}");
    }
    running.stack.stop().await;
}

#[tokio::test]
async fn one_request_ends_all_faults_and_says_which() {
    let running = Running::start(None).await;
    let (_, process) = running.post("/open", "process").await;
    for fault in
        ["provider?mode=down", "dynamodb?mode=down", "functions/Single/freeze", "schedules/SingleTick?mode=off"]
    {
        let (status, answer) = running.post(&format!("/_local/{fault}"), "").await;
        assert!(status.is_success(), "{fault}: {answer}");
    }
    let ended = async || -> Value {
        let (status, answer) = running.post("/_local/normal", "").await;
        assert_eq!(status, OK, "{answer}");
        serde_json::from_str(&answer).expect("JSON")
    };
    let all = json!({ "provider": true, "dynamodb": true, "resumed": { "Single": 1 }, "schedules": ["SingleTick"] });
    assert_eq!(ended().await, all);
    assert_eq!(running.post("/open", "process").await, (OK, process), "the process goes on");
    let schedules = running.get("/_local/schedules").await;
    assert!(schedules.as_array().is_some_and(|all| all.iter().all(|each| each["enabled"] == true)), "{schedules}");
    let none = json!({ "provider": false, "dynamodb": false, "resumed": {}, "schedules": [] });
    assert_eq!(ended().await, none);
    running.stack.stop().await;
}

#[tokio::test]
async fn each_address_of_the_stack_is_listed() {
    let running = Running::start(None).await;
    let list = running.get("/_local/").await;
    for name in ["provider", "sqs", "dynamodb"] {
        assert!(list.get(format!("GET /_local/{name}")).is_some(), "{list}");
        let address = running.address(name).await;
        assert!(address.starts_with("http://127.0.0.1:"), "{address}");
    }
    let provider = running.address("provider").await;
    let charge = running.client.get(format!("{provider}/v1/payment_intents")).bearer_auth("sk_test").send().await;
    assert_eq!(charge.expect("an answer").status(), OK);
    running.stack.stop().await;
}

#[tokio::test]
async fn a_preflight_is_answered_by_the_api_itself() {
    let running = Running::start(None).await;
    let preflight = |origin: &'static str| {
        let request = running.client.request(reqwest::Method::OPTIONS, format!("{}/open", running.url));
        let request = request.header("origin", origin).header("access-control-request-method", "POST");
        async move { request.send().await.expect("an answer") }
    };
    let good = preflight("https://shop.example").await;
    assert_eq!(good.status(), StatusCode::NO_CONTENT);
    assert_eq!(good.headers()["access-control-allow-origin"], "https://shop.example");
    assert_eq!(good.headers()["access-control-allow-methods"], "POST");
    assert!(!preflight("https://evil.example").await.headers().contains_key("access-control-allow-origin"));
    let answer = running
        .client
        .post(format!("{}/open", running.url))
        .header("origin", "https://shop.example")
        .send()
        .await
        .expect("an answer");
    assert_eq!(answer.headers()["access-control-expose-headers"], "location");
    running.stack.stop().await;
}

#[tokio::test]
async fn problems_name_what_would_have_been_right() {
    let running = Running::start(None).await;
    let response = running.client.get(format!("{}/_local/queues/Quoue", running.url)).send().await.expect("an answer");
    assert_eq!(response.headers()["content-type"], "application/problem+json");
    let problem: Value = response.json().await.expect("a problem");
    assert_eq!(problem["status"], 404);
    assert!(
        problem["detail"].as_str().is_some_and(|detail| detail.contains("Copies, DeadLetters, Lost, Queue")),
        "{problem}"
    );
    running.stack.stop().await;
}
