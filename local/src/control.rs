//! `/_local/`: what a developer or a test does to the stack that no AWS API would let a caller do.

use std::{collections::BTreeMap, net::SocketAddr, sync::Arc};

use axum::{
    Json, Router,
    body::Bytes,
    extract::{Path, Query, State},
    http::{HeaderMap, HeaderValue, StatusCode, header},
    middleware,
    response::{IntoResponse, Response},
    routing::{any, get, post},
};
use base64::{Engine, engine::general_purpose::STANDARD};
use jsonwebtoken::jwk::JwkSet;
use rustack_sqs_model::{input::SendMessageInput, types::MessageAttributeValue};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, json};
use uuid::Uuid;

use crate::{
    access,
    dynamodb::Outage,
    events::Events,
    function::Function,
    invocation::Outcome,
    log_lines::LogLines,
    log_query::{
        self, Row,
        saved::{self, SavedQuery},
    },
    logs::{self, Logs},
    parameters::{Change, Parameters},
    problem::Problem,
    provider::{Breakdown, Charge, Delivered, Provider},
    sandbox,
    schedule::Schedule,
    scheduler::{Scheduler, Waiting},
    secrets::Secrets,
    shard_mapping,
    sqs::{Contents, Queues},
    streams::{self, NewRecord, Streams},
    template::{self, Authorizer, Queue},
    token::Issuer,
};

/// The routes, for `GET /_local/`.
const ROUTES: [(&str, &str); 51] = [
    (
        "GET /_local/token?sub=NAME&role=ROLE",
        "a token that the API accepts, as text, also for pages of this machine at another port; further parameters become \
         claims",
    ),
    ("GET /_local/jwks.json", "the public key that tokens are checked with"),
    ("GET /_local/issuer/.well-known/openid-configuration", "the issuer at which people sign in to the console"),
    ("GET /_local/dynamodb", "the endpoint of the embedded DynamoDB, as text, for the AWS CLI"),
    ("POST /_local/dynamodb?mode=up|down", "ends or begins an outage of DynamoDB for the functions"),
    ("GET /_local/sqs", "the endpoint of the embedded SQS, as text, for the AWS CLI"),
    ("GET /_local/kinesis", "the endpoint of the embedded Kinesis, as text, for the AWS CLI"),
    ("GET /_local/provider", "the address of the payment provider, as text, for Stripe's SDKs; any API key works"),
    ("GET /_local/charges", "what the payment provider really charged"),
    ("POST /_local/provider?mode=up|down", "ends or begins an outage of the payment provider"),
    (
        "POST /_local/provider/break?path=/cancel&times=N&when=before|after",
        "answers 500 to the provider's next requests whose path has this ending, and saves that under their keys",
    ),
    (
        "POST /_local/provider/roll?old=KEY&new=KEY",
        "from now on the provider refuses the old API key and accepts the new one, of the same account",
    ),
    ("POST /_local/secrets/NAME", "gives a secret the body as its new value: {\"api_key\":…} for payments/provider"),
    ("POST /_local/provider/forget", "lets the provider forget all idempotency keys, as it does after a day"),
    (
        "POST /_local/provider/deliver",
        "delivers the requests that pm_…_before_charge and …_before_refund held back, and shows their results; \
         completes pending refunds",
    ),
    ("GET /_local/queues/NAME", "the contents of a queue, without receiving from it"),
    ("POST /_local/queues/NAME?copies=N", "sends the body; headers x-attribute-NAME: VALUE, x-group: GROUP"),
    ("POST /_local/queues/NAME/redrive", "moves dead letters back to their source queue"),
    ("GET /_local/streams/NAME", "the contents of a Kafka topic, and the positions of its functions"),
    (
        "POST /_local/streams/NAME?partition=N&tombstone=BOOL",
        "appends the body as a record; without N, header x-key decides; headers x-header-NAME: VALUE, \
         x-header-base64-NAME: BYTES; a tombstone has no value",
    ),
    ("POST /_local/streams/NAME/rewind?partition=N&offset=N", "delivers again from an offset"),
    (
        "POST /_local/streams/NAME/recreate?partitions=N",
        "deletes the topic and creates it again, with 3 partitions or N",
    ),
    ("POST /_local/streams/NAME/compact", "the stand-in deletes records that a later one of the same key replaces"),
    ("POST /_local/streams/NAME/mark?partition=N", "the stand-in uses an offset up, as a transaction's marker does"),
    ("GET /_local/logs/NAME", "how many lines of a log group wait for its subscribers, and how many batches they got"),
    ("POST /_local/logs/NAME/deliver-again", "delivers all earlier batches to the subscribers of a log group again"),
    ("GET /_local/events", "what pipes put into the event bus, oldest first"),
    ("GET /_local/functions", "the phase and the process of each function's sandboxes"),
    ("POST /_local/functions/NAME/invoke", "calls a function with the body as its event; see events/"),
    ("POST /_local/functions/NAME/kill", "SIGKILL for every sandbox of a function"),
    ("POST /_local/functions/NAME/freeze", "SIGSTOP for every sandbox of a function"),
    ("POST /_local/functions/NAME/resume", "SIGCONT for every sandbox of a function"),
    ("GET /_local/parameters", "the template's parameters: values, allowed values, and when a change takes effect"),
    (
        "POST /_local/parameters/NAME?value=VALUE",
        "evaluates the template again with this value, and replaces the sandboxes of the functions that it changes",
    ),
    ("GET /_local/schedules", "the schedules, by name: the function's and the event's logical id"),
    ("POST /_local/schedules/NAME", "runs a schedule now and answers with what its function answered"),
    ("POST /_local/schedules/NAME?mode=on|off", "lets a schedule run at its times, or skip them"),
    ("GET /_local/one-time-schedules", "the schedules that functions have made and that wait"),
    ("POST /_local/one-time-schedules/lose", "loses them"),
    (
        "GET /_local/mappings",
        "the mappings of tables' and Kinesis streams, by name: the function's and the event's logical id, and the shard",
    ),
    ("POST /_local/mappings/NAME/rewind", "delivers its shard again, from the oldest record on"),
    (
        "POST /_local/reconcile",
        "runs the schedule of the event Reconcile now, without its input, so that it covers all records, and answers \
         with its report",
    ),
    (
        "POST /_local/normal",
        "ends all faults: outages of the provider and of DynamoDB, frozen sandboxes, paused schedules; answers \
         with what it ended",
    ),
    ("GET /_local/page", "the live page, which is also at / unless the API has a route there"),
    ("GET /_local/live", "what happens in the stack, as server-sent events"),
    ("GET /_local/metrics", "the metrics that were printed, in Prometheus' text format"),
    ("GET /_local/log-queries", "the template's saved queries of Logs Insights"),
    ("GET /_local/log-queries/NAME", "runs one over the functions' log lines"),
    ("POST /_local/log-queries", "runs the query in the body: fields, filter, stats, sort, limit"),
    ("GET /_local/alarms", "the template's alarms, from these metrics"),
    ("GET /_local/", "this list"),
];

pub(crate) struct Control {
    pub issuer: Issuer,
    pub authorizer: Option<Authorizer>,
    pub provider: Provider,
    pub secrets: Secrets,
    pub queues: Queues,
    pub streams: Streams,
    pub logs: Logs,
    pub lines: LogLines,
    pub queries: BTreeMap<String, SavedQuery>,
    pub events: Events,
    /// By logical id, as are the functions.
    pub queue_settings: BTreeMap<String, Queue>,
    pub functions: BTreeMap<String, Function>,
    pub parameters: Arc<Parameters>,
    pub outage: Outage,
    pub schedules: Arc<[Schedule]>,
    pub scheduler: Scheduler,
    pub mappings: shard_mapping::Statuses,
    pub dynamodb: SocketAddr,
    pub sqs: SocketAddr,
    pub kinesis: SocketAddr,
}

type Shared = State<Arc<Control>>;

impl Control {
    pub(crate) fn router(self: Arc<Self>) -> Router {
        Router::new()
            .route("/_local", get(list))
            .route("/_local/", get(list))
            .route("/_local/token", get(token))
            .route(Issuer::KEYS_PATH, get(keys))
            .route("/_local/dynamodb", get(dynamodb).post(dynamodb_outage))
            .route("/_local/charges", get(charges))
            .route("/_local/sqs", get(sqs))
            .route("/_local/kinesis", get(kinesis))
            .route("/_local/provider", get(provider_address).post(provider))
            .route("/_local/provider/break", post(break_down))
            .route("/_local/provider/roll", post(roll))
            .route("/_local/provider/forget", post(forget))
            .route("/_local/provider/deliver", post(deliver))
            .route("/_local/secrets/{*name}", post(put_secret))
            .route("/_local/queues/{name}", get(contents).post(send))
            .route("/_local/queues/{name}/redrive", post(redrive))
            .route("/_local/streams/{name}", get(topic).post(append))
            .route("/_local/streams/{name}/rewind", post(rewind))
            .route("/_local/streams/{name}/recreate", post(recreate))
            .route("/_local/streams/{name}/compact", post(compact))
            .route("/_local/streams/{name}/mark", post(mark))
            .route("/_local/logs/{*name}", get(log_group).post(deliver_again))
            .route("/_local/log-queries", get(saved_queries).post(run_query))
            .route("/_local/log-queries/{*name}", get(run_saved_query))
            .route("/_local/events", get(events))
            .route("/_local/functions", get(sandboxes))
            .route("/_local/functions/{name}/invoke", post(invoke))
            .route("/_local/functions/{name}/kill", post(kill))
            .route("/_local/functions/{name}/freeze", post(freeze))
            .route("/_local/functions/{name}/resume", post(resume))
            .route("/_local/parameters", get(parameters))
            .route("/_local/parameters/{name}", post(change_parameter))
            .route("/_local/schedules", get(schedules))
            .route("/_local/schedules/{name}", post(run_schedule))
            .route("/_local/one-time-schedules", get(one_time_schedules))
            .route("/_local/one-time-schedules/lose", post(lose_schedules))
            .route("/_local/mappings", get(mappings))
            .route("/_local/mappings/{name}/rewind", post(rewind_mapping))
            .route("/_local/reconcile", post(reconcile))
            .route("/_local/normal", post(normal))
            .route("/_local/{*rest}", any(unknown))
            .method_not_allowed_fallback(wrong_method)
            // Not for the HTTP API: its callers are authorized by their tokens.
            .layer(middleware::from_fn(access::from_this_machine))
            .with_state(self)
    }

    fn token(&self, mut claims: BTreeMap<String, String>) -> Result<String, Problem> {
        let authorizer = self
            .authorizer
            .as_ref()
            .ok_or_else(|| Problem::new(StatusCode::NOT_FOUND, "the template's API has no JWT authorizer"))?;
        claims.entry("sub".to_owned()).or_insert_with(|| "local".to_owned());
        let audience = authorizer.audience.first().map_or("", String::as_str);
        Ok(self.issuer.token(&authorizer.issuer, audience, &claims)?)
    }

    /// The queue's physical name.
    fn queue(&self, name: &str) -> Result<&str, Problem> {
        let queue =
            self.queue_settings.get(name).or_else(|| self.queue_settings.values().find(|queue| queue.name == name));
        queue
            .map(|queue| queue.name.as_str())
            .ok_or_else(|| Problem::unknown("queue", name, self.queue_settings.keys().map(String::as_str)))
    }

    fn function(&self, name: &str) -> Result<&Function, Problem> {
        let function = self.functions.get(name);
        let function = function.or_else(|| self.functions.values().find(|function| function.name() == name));
        function.ok_or_else(|| Problem::unknown("function", name, self.functions.keys().map(String::as_str)))
    }
}

impl Control {
    /// The one schedule that is meant.
    fn schedule(
        &self,
        kind: &str,
        name: &str,
        is_meant: impl Fn(&template::Schedule) -> bool,
    ) -> Result<&Schedule, Problem> {
        let names = || -> Vec<String> { self.schedules.iter().map(|schedule| schedule.settings().name).collect() };
        let mut meant = self.schedules.iter().filter(|schedule| is_meant(&schedule.settings()));
        let schedule = meant.next();
        let schedule = schedule.ok_or_else(|| Problem::unknown(kind, name, names().iter().map(String::as_str)))?;
        if meant.next().is_some() {
            let names = names().join(", ");
            let detail = format!("there are several schedules of the event {name}; run one by its name: {names}");
            return Err(Problem::new(StatusCode::CONFLICT, detail));
        }
        Ok(schedule)
    }
}

async fn list() -> Json<Value> {
    Json(Value::Object(
        ROUTES.iter().map(|(route, purpose)| ((*route).to_owned(), json!(purpose))).collect::<Map<_, _>>(),
    ))
}

/// A front end that is developed at another port may read it. Whose page asks has been checked.
async fn token(
    State(control): Shared,
    headers: HeaderMap,
    Query(claims): Query<BTreeMap<String, String>>,
) -> Result<Response, Problem> {
    let mut response = control.token(claims)?.into_response();
    response.headers_mut().insert(header::VARY, HeaderValue::from_static("origin"));
    if let Some(origin) = headers.get(header::ORIGIN) {
        response.headers_mut().insert(header::ACCESS_CONTROL_ALLOW_ORIGIN, origin.clone());
    }
    Ok(response)
}

async fn keys(State(control): Shared) -> Json<JwkSet> {
    Json(control.issuer.keys().clone())
}

async fn dynamodb(State(control): Shared) -> String {
    format!("http://{}", control.dynamodb)
}

async fn sqs(State(control): Shared) -> String {
    format!("http://{}", control.sqs)
}

async fn kinesis(State(control): Shared) -> String {
    format!("http://{}", control.kinesis)
}

async fn provider_address(State(control): Shared) -> String {
    control.provider.url().to_owned()
}

async fn charges(State(control): Shared) -> Json<Vec<Charge>> {
    Json(control.provider.charges())
}

#[derive(Deserialize)]
#[serde(rename_all = "snake_case")]
enum Mode {
    Up,
    Down,
}

#[derive(Deserialize)]
struct ModeIn {
    mode: Mode,
}

type ModeQuery = Result<Query<ModeIn>, axum::extract::rejection::QueryRejection>;

/// Whether it is to be down.
fn is_down(query: ModeQuery) -> Result<bool, Problem> {
    let Query(ModeIn { mode }) = query.map_err(|_| Problem::new(StatusCode::BAD_REQUEST, "mode must be up or down"))?;
    Ok(matches!(mode, Mode::Down))
}

fn mode(down: bool) -> Json<Value> {
    Json(json!({ "mode": if down { "down" } else { "up" } }))
}

async fn provider(State(control): Shared, query: ModeQuery) -> Result<Json<Value>, Problem> {
    let down = is_down(query)?;
    control.provider.set_down(down);
    Ok(mode(down))
}

async fn dynamodb_outage(State(control): Shared, query: ModeQuery) -> Result<Json<Value>, Problem> {
    let down = is_down(query)?;
    control.outage.set(down);
    Ok(mode(down))
}

async fn break_down(
    State(control): Shared,
    breakdown: Result<Query<Breakdown>, axum::extract::rejection::QueryRejection>,
) -> Result<StatusCode, Problem> {
    let Query(breakdown) = breakdown
        .map_err(|_| Problem::new(StatusCode::BAD_REQUEST, "times must be a number, and when before or after"))?;
    control.provider.break_down(breakdown);
    Ok(StatusCode::NO_CONTENT)
}

#[derive(Deserialize)]
struct Roll {
    old: String,
    new: String,
}

async fn roll(State(control): Shared, Query(Roll { old, new }): Query<Roll>) -> StatusCode {
    control.provider.roll(&old, &new);
    StatusCode::NO_CONTENT
}

async fn put_secret(State(control): Shared, Path(name): Path<String>, value: String) -> Result<StatusCode, Problem> {
    match control.secrets.put(&name, &value)? {
        true => Ok(StatusCode::NO_CONTENT),
        false => Err(Problem::new(StatusCode::NOT_FOUND, format!("there is no secret `{name}`"))),
    }
}

async fn forget(State(control): Shared) -> Result<Json<Value>, Problem> {
    let keys = control.provider.forget_keys()?;
    Ok(Json(json!({ "keys": keys })))
}

async fn deliver(State(control): Shared) -> Result<Json<Vec<Delivered>>, Problem> {
    Ok(Json(control.provider.deliver()?))
}

async fn contents(State(control): Shared, Path(name): Path<String>) -> Result<Json<Contents>, Problem> {
    Ok(Json(control.queues.contents(control.queue(&name)?)?))
}

#[derive(Deserialize)]
struct Copies {
    #[serde(default = "one")]
    copies: usize,
}

fn one() -> usize {
    1
}

/// Copies are messages of their own with one body: what a producer's retry makes of one message.
async fn send(
    State(control): Shared,
    Path(name): Path<String>,
    Query(Copies { copies }): Query<Copies>,
    headers: HeaderMap,
    body: String,
) -> Result<Json<Value>, Problem> {
    let queue = control.queue(&name)?;
    let fifo = control.queue_settings.values().any(|settings| settings.name == queue && settings.fifo);
    let group = headers.get("x-group").and_then(|value| value.to_str().ok()).map(str::to_owned);
    let mut ids = Vec::new();
    for _ in 0..copies {
        let input = SendMessageInput {
            message_body: body.clone(),
            message_attributes: attributes(&headers).collect(),
            message_group_id: group.clone().or_else(|| fifo.then(|| "default".to_owned())),
            message_deduplication_id: fifo.then(|| Uuid::new_v4().to_string()),
            ..SendMessageInput::default()
        };
        let sent = control
            .queues
            .send(queue, input)
            .map_err(|error| Problem::new(StatusCode::BAD_REQUEST, error.to_string()))?;
        ids.extend(sent.message_id);
    }
    Ok(Json(json!({ "message_ids": ids })))
}

fn attributes(headers: &HeaderMap) -> impl Iterator<Item = (String, MessageAttributeValue)> {
    prefixed(headers, "x-attribute-").map(|(name, value)| {
        let string_value = Some(value);
        (name, MessageAttributeValue { data_type: "String".to_owned(), string_value, binary_value: None })
    })
}

/// The headers whose names begin so, without that.
fn prefixed(headers: &HeaderMap, prefix: &'static str) -> impl Iterator<Item = (String, String)> {
    headers.iter().filter_map(move |(name, value)| {
        Some((name.as_str().strip_prefix(prefix)?.to_owned(), value.to_str().ok()?.to_owned()))
    })
}

async fn redrive(State(control): Shared, Path(name): Path<String>) -> Result<Json<Value>, Problem> {
    Ok(Json(json!({ "moved": control.queues.redrive(control.queue(&name)?)? })))
}

async fn sandboxes(State(control): Shared) -> Json<BTreeMap<String, Vec<sandbox::State>>> {
    Json(control.functions.iter().map(|(name, function)| (name.clone(), function.sandboxes())).collect())
}

async fn invoke(State(control): Shared, Path(name): Path<String>, event: Bytes) -> Result<Response, Problem> {
    answer(control.function(&name)?.invoke(event).await)
}

#[derive(Deserialize)]
struct PlaceIn {
    partition: Option<u32>,
    #[serde(default)]
    offset: i64,
    #[serde(default)]
    tombstone: bool,
}

#[derive(Deserialize)]
struct PartitionsIn {
    partitions: Option<u32>,
}

/// Checks that there is such a topic.
fn known<'n>(control: &Control, name: &'n str) -> Result<&'n str, Problem> {
    match control.streams.topics().any(|topic| topic == name) {
        true => Ok(name),
        false => Err(Problem::unknown("topic", name, control.streams.topics())),
    }
}

async fn topic(State(control): Shared, Path(name): Path<String>) -> Result<Json<streams::Contents>, Problem> {
    Ok(Json(control.streams.contents(known(&control, &name)?).await?))
}

async fn append(
    State(control): Shared,
    Path(name): Path<String>,
    Query(place): Query<PlaceIn>,
    headers: HeaderMap,
    body: Bytes,
) -> Result<Json<streams::Place>, Problem> {
    let record = NewRecord {
        partition: place.partition,
        key: headers.get("x-key").map(|key| key.as_bytes().to_vec()),
        value: (!place.tombstone).then(|| body.to_vec()),
        headers: record_headers(&headers)?,
    };
    let appended = control.streams.append(known(&control, &name)?, record).await;
    appended.map(Json).map_err(|error| Problem::new(StatusCode::BAD_REQUEST, error.to_string()))
}

/// The headers of a record: text as it is, bytes in base64.
fn record_headers(headers: &HeaderMap) -> Result<streams::Headers, Problem> {
    let named = headers.iter().filter_map(|(name, value)| Some((name.as_str().strip_prefix("x-header-")?, value)));
    named
        .map(|(name, value)| match name.strip_prefix("base64-") {
            None => Ok((name.to_owned(), value.as_bytes().to_vec())),
            Some(name) => match STANDARD.decode(value.as_bytes()) {
                Ok(bytes) => Ok((name.to_owned(), bytes)),
                Err(_) => Err(Problem::new(StatusCode::BAD_REQUEST, format!("header {name} is not base64"))),
            },
        })
        .collect()
}

async fn rewind(
    State(control): Shared,
    Path(name): Path<String>,
    Query(place): Query<PlaceIn>,
) -> Result<Json<Value>, Problem> {
    let partition = place.partition.unwrap_or(0);
    control.streams.rewind(known(&control, &name)?, partition, place.offset).await?;
    Ok(Json(json!({ "partition": partition, "offset": place.offset })))
}

async fn recreate(
    State(control): Shared,
    Path(name): Path<String>,
    Query(PartitionsIn { partitions }): Query<PartitionsIn>,
) -> Result<Json<Value>, Problem> {
    control.streams.recreate(known(&control, &name)?, partitions).await?;
    Ok(Json(json!({ "topic": name })))
}

async fn compact(State(control): Shared, Path(name): Path<String>) -> Result<StatusCode, Problem> {
    done(control.streams.compact(known(&control, &name)?))
}

async fn mark(
    State(control): Shared,
    Path(name): Path<String>,
    Query(place): Query<PlaceIn>,
) -> Result<StatusCode, Problem> {
    done(control.streams.mark(known(&control, &name)?, place.partition.unwrap_or(0)))
}

fn done(made: anyhow::Result<()>) -> Result<StatusCode, Problem> {
    made.map(|()| StatusCode::NO_CONTENT).map_err(|error| Problem::new(StatusCode::BAD_REQUEST, error.to_string()))
}

/// The name may have slashes.
async fn log_group(State(control): Shared, Path(name): Path<String>) -> Result<Json<logs::Contents>, Problem> {
    control.logs.contents(&name).map(Json).ok_or_else(|| no_log_group(&control, &name))
}

async fn deliver_again(State(control): Shared, Path(path): Path<String>) -> Result<Json<Value>, Problem> {
    let name = path.strip_suffix("/deliver-again").ok_or_else(|| no_log_group(&control, &path))?;
    let delivered = control.logs.deliver_again(name).await.ok_or_else(|| no_log_group(&control, name))?;
    Ok(Json(json!({ "batches": delivered.0, "failed": delivered.1 })))
}

fn no_log_group(control: &Control, name: &str) -> Problem {
    let groups = control.logs.groups();
    Problem::unknown("log group with a subscriber", name, groups.iter().map(String::as_str))
}

async fn saved_queries(State(control): Shared) -> Json<Value> {
    Json(control.queries.iter().map(|(name, query)| (name.clone(), json!(query.text))).collect::<Map<_, _>>().into())
}

async fn run_saved_query(State(control): Shared, Path(name): Path<String>) -> Result<Json<Vec<Row>>, Problem> {
    let query = saved::find(&control.queries, &name);
    let query = query.ok_or_else(|| Problem::unknown("query", &name, control.queries.keys().map(String::as_str)))?;
    queried(&control, &query.text, Some(&query.groups))
}

async fn run_query(State(control): Shared, text: String) -> Result<Json<Vec<Row>>, Problem> {
    queried(&control, &text, None)
}

fn queried(control: &Control, query: &str, groups: Option<&[String]>) -> Result<Json<Vec<Row>>, Problem> {
    let query =
        log_query::Query::parse(query).map_err(|error| Problem::new(StatusCode::BAD_REQUEST, format!("{error:#}")))?;
    Ok(Json(query.run(control.lines.rows(groups))))
}

async fn events(State(control): Shared) -> Result<Json<Vec<Value>>, Problem> {
    Ok(Json(control.events.all()?))
}

async fn kill(State(control): Shared, Path(name): Path<String>) -> Result<Json<Value>, Problem> {
    Ok(Json(json!({ "killed": control.function(&name)?.kill().await })))
}

async fn freeze(State(control): Shared, Path(name): Path<String>) -> Result<Json<Value>, Problem> {
    Ok(Json(json!({ "frozen": control.function(&name)?.set_frozen(true) })))
}

async fn resume(State(control): Shared, Path(name): Path<String>) -> Result<Json<Value>, Problem> {
    Ok(Json(json!({ "resumed": control.function(&name)?.set_frozen(false) })))
}

async fn parameters(State(control): Shared) -> Json<Vec<Value>> {
    Json(control.parameters.list().await)
}

#[derive(Deserialize)]
struct ValueIn {
    value: String,
}

/// In a task of its own: a caller that hangs up must not leave half of it.
async fn change_parameter(
    State(control): Shared,
    Path(name): Path<String>,
    query: Result<Query<ValueIn>, axum::extract::rejection::QueryRejection>,
) -> Result<Json<Change>, Problem> {
    let Query(ValueIn { value }) =
        query.map_err(|_| Problem::new(StatusCode::BAD_REQUEST, "the query must be ?value=VALUE"))?;
    let parameters = Arc::clone(&control.parameters);
    tokio::spawn(async move { parameters.change(&name, &value).await }).await?.map(Json)
}

async fn schedules(State(control): Shared) -> Json<Value> {
    let list = control.schedules.iter().map(|schedule| {
        let settings = schedule.settings();
        json!({
            "name": settings.name,
            "event": settings.event,
            "function": schedule.function().name(),
            "expression": settings.expression,
            "enabled": settings.enabled && !schedule.is_paused(),
        })
    });
    Json(list.collect())
}

async fn one_time_schedules(State(control): Shared) -> Result<Json<Vec<Waiting>>, Problem> {
    Ok(Json(control.scheduler.waiting()?))
}

async fn lose_schedules(State(control): Shared) -> Result<Json<Value>, Problem> {
    Ok(Json(json!({ "lost": control.scheduler.lose()? })))
}

async fn mappings(State(control): Shared) -> Json<BTreeMap<String, shard_mapping::Seen>> {
    Json(control.mappings.iter().map(|(name, status)| (name.clone(), status.seen())).collect())
}

async fn rewind_mapping(State(control): Shared, Path(name): Path<String>) -> Result<StatusCode, Problem> {
    let names = || control.mappings.keys().map(String::as_str);
    control.mappings.get(&name).ok_or_else(|| Problem::unknown("mapping", &name, names()))?.rewind();
    Ok(StatusCode::NO_CONTENT)
}

#[derive(Deserialize)]
#[serde(rename_all = "snake_case")]
enum Switch {
    On,
    Off,
}

#[derive(Deserialize)]
struct SwitchIn {
    mode: Option<Switch>,
}

async fn run_schedule(
    State(control): Shared,
    Path(name): Path<String>,
    switch: Result<Query<SwitchIn>, axum::extract::rejection::QueryRejection>,
) -> Result<Response, Problem> {
    let Query(SwitchIn { mode }) =
        switch.map_err(|_| Problem::new(StatusCode::BAD_REQUEST, "mode must be on or off"))?;
    let schedule = control.schedule("schedule", &name, |settings| settings.name == name)?;
    match mode {
        None => answer(schedule.run_now().await),
        Some(switch) => {
            schedule.set_paused(matches!(switch, Switch::Off));
            Ok(StatusCode::NO_CONTENT.into_response())
        }
    }
}

/// Found by its event, so that it is the same one, and answers for itself alone, whatever else is scheduled. Without
/// the schedule's input, so that it covers all records, and not only about those that their follow-up has missed.
async fn reconcile(State(control): Shared) -> Result<Response, Problem> {
    const EVENT: &str = "Reconcile";
    let schedule = control.schedule("schedule of the event", EVENT, |settings| settings.event == EVENT)?;
    answer(schedule.run_in_full().await)
}

/// The faults that [`normal`] has ended.
#[derive(Serialize)]
struct Ended {
    /// Whether the provider was down, or was to fail requests.
    provider: bool,
    dynamodb: bool,
    /// The number of frozen sandboxes, by function.
    resumed: BTreeMap<String, usize>,
    /// The names of those that were paused.
    schedules: Vec<String>,
}

async fn normal(State(control): Shared) -> Json<Ended> {
    let provider = control.provider.mend() | control.provider.is_down();
    let dynamodb = control.outage.is_down();
    control.provider.set_down(false);
    control.outage.set(false);
    let mut resumed = BTreeMap::new();
    for (id, function) in &control.functions {
        let frozen = function.sandboxes().iter().filter(|sandbox| sandbox.is_frozen()).count();
        if frozen > 0 {
            function.set_frozen(false);
            resumed.insert(id.clone(), frozen);
        }
    }
    let paused = control.schedules.iter().filter(|schedule| schedule.is_paused());
    let schedules = paused.map(|schedule| {
        schedule.set_paused(false);
        schedule.settings().name
    });
    let schedules = schedules.collect();
    Json(Ended { provider, dynamodb, resumed, schedules })
}

fn answer(outcome: Outcome) -> Result<Response, Problem> {
    Ok(([(header::CONTENT_TYPE, "application/json")], payload(outcome)?).into_response())
}

fn payload(outcome: Outcome) -> Result<Bytes, Problem> {
    outcome.map_err(|failure| Problem::new(StatusCode::BAD_GATEWAY, failure.message()))
}

async fn unknown(Path(rest): Path<String>) -> Problem {
    Problem::unknown("route", &format!("/_local/{rest}"), ROUTES.iter().map(|(route, _)| *route))
}

async fn wrong_method() -> Problem {
    Problem::new(StatusCode::METHOD_NOT_ALLOWED, "GET /_local/ lists what there is")
}
