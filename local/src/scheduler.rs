//! EventBridge Scheduler, as far as functions use it: `CreateSchedule` of one-time schedules that invoke a function of
//! the stack (AWS, "CreateSchedule").
//!
//! A schedule is kept in the storage until it has run, so with `--data` it survives a restart. On AWS it runs within a
//! minute after its time; here at its time.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
    time::Duration,
};

use anyhow::{Context, Result};
use axum::{
    Json, Router,
    extract::{Path, State},
    http::{HeaderValue, StatusCode, header},
    response::{IntoResponse, Response},
    routing::post,
};
use chrono::{DateTime, NaiveDateTime, Utc};
use rusqlite::params;
use rustack_sqs_model::input::SendMessageInput;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use tokio::sync::Notify;
use tokio::task::JoinSet;

use crate::{function::Function, sqs::Queues, storage::Storage, template::Deployment};

/// How often Lambda tries again what was invoked asynchronously, if the function does not say (AWS, "How Lambda handles
/// errors and retries with asynchronous invocation"): there after one and two minutes, here sooner.
const RETRY: Duration = Duration::from_millis(500);

#[derive(Clone)]
pub(crate) struct Scheduler(Arc<Inner>);

struct Inner {
    storage: Storage,
    queues: Queues,
    deployment: Deployment,
    groups: BTreeSet<String>,
    /// By ARN.
    functions: BTreeMap<String, Function>,
    changed: Notify,
}

/// The body of `CreateSchedule`.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Request {
    #[serde(default = "default_group")]
    group_name: String,
    schedule_expression: String,
    #[serde(default)]
    schedule_expression_timezone: Option<String>,
    #[serde(default)]
    action_after_completion: Option<String>,
    flexible_time_window: Window,
    target: Target,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Window {
    mode: String,
}

#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Target {
    arn: String,
    role_arn: String,
    #[serde(default)]
    input: Option<String>,
    #[serde(default)]
    dead_letter_config: Option<DeadLetters>,
}

#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase")]
struct DeadLetters {
    arn: Option<String>,
}

/// An error of EventBridge Scheduler.
struct ServiceError {
    status: StatusCode,
    kind: &'static str,
    message: String,
}

/// A schedule that waits, as `GET /_local/one-time-schedules` shows it.
#[derive(Debug, Serialize)]
pub(crate) struct Waiting {
    pub name: String,
    pub at: String,
    pub input: Value,
}

impl Scheduler {
    pub(crate) fn open(
        storage: Storage,
        queues: Queues,
        deployment: Deployment,
        groups: impl IntoIterator<Item = String>,
        functions: impl IntoIterator<Item = Function>,
    ) -> Result<Self> {
        storage.connection().execute_batch(
            "CREATE TABLE IF NOT EXISTS schedules
             (name TEXT PRIMARY KEY, at INTEGER NOT NULL, target TEXT NOT NULL) STRICT",
        )?;
        let groups = groups.into_iter().chain([default_group()]).collect();
        let functions = functions.into_iter().map(|function| (function.definition().arn.clone(), function)).collect();
        Ok(Self(Arc::new(Inner { storage, queues, deployment, groups, functions, changed: Notify::new() })))
    }

    pub(crate) fn router(&self) -> Router {
        Router::new().route("/schedules/{name}", post(create)).fallback(unknown).with_state(self.clone())
    }

    pub(crate) fn waiting(&self) -> Result<Vec<Waiting>> {
        let connection = self.0.storage.connection();
        let mut statement = connection.prepare_cached("SELECT name, at, target FROM schedules ORDER BY at, name")?;
        let rows = statement
            .query_map([], |row| Ok((row.get::<_, String>(0)?, row.get::<_, i64>(1)?, row.get::<_, String>(2)?)))?;
        rows.map(|row| {
            let (name, at, target) = row?;
            let target: Target = serde_json::from_str(&target)?;
            let input = target.input.as_deref().and_then(|input| serde_json::from_str(input).ok());
            let at = DateTime::from_timestamp(at, 0).map(|at| at.to_rfc3339()).unwrap_or_default();
            Ok(Waiting { name, at, input: input.unwrap_or_default() })
        })
        .collect()
    }

    /// Loses every schedule that waits, as an outage of the service could; returns their number.
    pub(crate) fn lose(&self) -> Result<usize> {
        Ok(self.0.storage.connection().execute("DELETE FROM schedules", [])?)
    }

    /// Runs what is due until it is dropped.
    pub(crate) async fn run(self) {
        let mut running = JoinSet::new();
        loop {
            let changed = self.0.changed.notified();
            while running.try_join_next().is_some() {}
            match self.take_due() {
                Ok(due) => due.into_iter().for_each(|(name, target)| {
                    let scheduler = self.clone();
                    running.spawn(async move { scheduler.invoke(&name, &target).await });
                }),
                Err(error) => tracing::error!("scheduler: {error:#}"),
            }
            let wait = self.next().ok().flatten().unwrap_or(Duration::from_secs(60));
            tokio::select! {
                () = changed => {}
                () = tokio::time::sleep(wait) => {}
            }
        }
    }

    /// What is due, which has completed then and deletes itself.
    fn take_due(&self) -> Result<Vec<(String, Target)>> {
        let connection = self.0.storage.connection();
        let mut statement = connection.prepare_cached("DELETE FROM schedules WHERE at <= ?1 RETURNING name, target")?;
        let rows = statement
            .query_map([Utc::now().timestamp()], |row| Ok((row.get::<_, String>(0)?, row.get::<_, String>(1)?)))?;
        rows.map(|row| {
            let (name, target) = row?;
            Ok((name, serde_json::from_str(&target)?))
        })
        .collect()
    }

    fn next(&self) -> Result<Option<Duration>> {
        let next: Option<i64> =
            self.0.storage.connection().query_row("SELECT min(at) FROM schedules", [], |row| row.get(0))?;
        Ok(next.map(|at| {
            let wait = (at * 1000).saturating_sub(Utc::now().timestamp_millis());
            Duration::from_millis(u64::try_from(wait).unwrap_or(0).max(1))
        }))
    }

    /// Asynchronously: Lambda tries again as the function says, and then gives up to its destination or loses it.
    async fn invoke(&self, name: &str, target: &Target) {
        let Some(function) = self.function(&target.arn) else { return };
        let settings = function.definition().settings.asynchronous.clone();
        let payload = target.input.clone().unwrap_or_else(|| "{}".to_owned());
        for attempt in 0..=settings.maximum_retries {
            if function.invoke(payload.clone()).await.is_ok() {
                return;
            }
            tracing::warn!("{}: the schedule {name} failed, attempt {}", function.name(), attempt + 1);
            tokio::time::sleep(RETRY).await;
        }
        let Some(queue) = settings.failed_queue.as_deref().and_then(|arn| arn.rsplit(':').next()) else {
            return tracing::error!("{}: the schedule {name} is lost", function.name());
        };
        let letter = json!({
            "version": "1.0",
            "requestContext": { "functionArn": target.arn, "condition": "RetriesExhausted" },
            "requestPayload": serde_json::from_str::<Value>(&payload).unwrap_or_default(),
        });
        let input = SendMessageInput { message_body: letter.to_string(), ..SendMessageInput::default() };
        if let Err(error) = self.0.queues.send(queue, input) {
            tracing::error!("{}: cannot send to {queue}: {error}", function.name());
        }
    }

    /// An alias is the function itself here.
    fn function(&self, arn: &str) -> Option<&Function> {
        let unqualified = arn.splitn(8, ':').take(7).collect::<Vec<_>>().join(":");
        self.0.functions.get(&unqualified)
    }

    fn create(&self, name: &str, request: &Request) -> Result<Value, ServiceError> {
        if name.is_empty() || name.len() > 64 || !name.chars().all(|c| c.is_ascii_alphanumeric() || "-_.".contains(c)) {
            return Err(ServiceError::invalid("the name of a schedule has 1 to 64 letters, digits, or - _ ."));
        }
        if !self.0.groups.contains(&request.group_name) {
            let message = format!("Schedule group {} does not exist.", request.group_name);
            return Err(ServiceError { status: StatusCode::NOT_FOUND, kind: "ResourceNotFoundException", message });
        }
        if request.flexible_time_window.mode != "OFF" || request.action_after_completion.as_deref() != Some("DELETE") {
            return Err(ServiceError::invalid(
                "the local stack supports only schedules that are exact and delete themselves",
            ));
        }
        if request.schedule_expression_timezone.as_deref().is_some_and(|zone| zone != "UTC") {
            return Err(ServiceError::invalid("the local stack supports only UTC"));
        }
        let at = time(&request.schedule_expression)
            .filter(|at| *at > Utc::now())
            .ok_or_else(|| ServiceError::invalid("Invalid Schedule Expression: it must be at(…), in the future"))?;
        if self.function(&request.target.arn).is_none() {
            return Err(ServiceError::invalid("the target must be a function of the stack"));
        }
        let name = format!("{}/{name}", request.group_name);
        let target =
            serde_json::to_string(&request.target).map_err(|error| ServiceError::invalid(&error.to_string()))?;
        let inserted = self.0.storage.connection().execute(
            "INSERT OR IGNORE INTO schedules (name, at, target) VALUES (?1, ?2, ?3)",
            params![name, at.timestamp(), target],
        );
        match inserted.map_err(|error| ServiceError::invalid(&error.to_string()))? {
            0 => Err(ServiceError {
                status: StatusCode::CONFLICT,
                kind: "ConflictException",
                message: format!("Schedule {name} already exists."),
            }),
            _ => {
                self.0.changed.notify_one();
                Ok(json!({ "ScheduleArn": self.0.deployment.arn("scheduler", &format!("schedule/{name}")) }))
            }
        }
    }
}

impl ServiceError {
    fn invalid(message: &str) -> Self {
        Self { status: StatusCode::BAD_REQUEST, kind: "ValidationException", message: message.to_owned() }
    }
}

impl IntoResponse for ServiceError {
    fn into_response(self) -> Response {
        let mut response = (self.status, Json(json!({ "Message": self.message }))).into_response();
        response.headers_mut().insert("x-amzn-errortype", HeaderValue::from_static(self.kind));
        response.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static("application/json"));
        response
    }
}

async fn create(
    State(scheduler): State<Scheduler>,
    Path(name): Path<String>,
    body: String,
) -> Result<Json<Value>, ServiceError> {
    let request = serde_json::from_str(&body)
        .context("the request")
        .map_err(|error| ServiceError::invalid(&format!("{error:#}")))?;
    scheduler.create(&name, &request).map(Json).inspect_err(|refusal| {
        if refusal.kind != "ConflictException" {
            tracing::error!("scheduler: {}", refusal.message);
        }
    })
}

async fn unknown() -> ServiceError {
    ServiceError::invalid("the local stack supports only CreateSchedule")
}

fn default_group() -> String {
    "default".to_owned()
}

/// `at(yyyy-mm-ddThh:mm:ss)`, in UTC.
fn time(expression: &str) -> Option<DateTime<Utc>> {
    let text = expression.strip_prefix("at(")?.strip_suffix(')')?;
    Some(NaiveDateTime::parse_from_str(text, "%Y-%m-%dT%H:%M:%S").ok()?.and_utc())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_time_in_utc_is_one() {
        let at = time("at(2026-11-24T04:21:00)").expect("a time");
        assert_eq!(at.to_rfc3339(), "2026-11-24T04:21:00+00:00");
        for wrong in ["rate(1 minute)", "at(2026-11-24T04:21:00Z)", "at(2026-11-24)", "2026-11-24T04:21:00"] {
            assert_eq!(time(wrong), None, "{wrong}");
        }
    }
}
