//! DynamoDB as the SDK speaks to it, as far as versioned items need it: items by their id, read and put.

use std::cmp::Ordering;
use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use aws_sdk_dynamodb::Client;
use aws_sdk_dynamodb::config::http::{HttpRequest, HttpResponse};
use aws_sdk_dynamodb::config::retry::RetryConfig;
use aws_sdk_dynamodb::config::{BehaviorVersion, Credentials, HttpClient, Region, RuntimeComponents, SharedHttpClient};
use aws_smithy_runtime_api::client::http::{
    HttpConnector, HttpConnectorFuture, HttpConnectorSettings, SharedHttpConnector,
};
use aws_smithy_runtime_api::client::result::ConnectorError;
use serde_json::{Value, json};

use super::Breakage;
use super::condition::holds;
use super::judge::Judge;
use super::network::{Kind, Process, Reply};

/// Items, as JSON. A clone is another handle.
#[derive(Clone)]
pub(super) struct Items {
    items: Arc<Mutex<HashMap<String, Value>>>,
    judge: Judge,
    breakage: Option<Breakage>,
}

/// A client in a process.
pub(super) fn client(process: &Process, items: &Items) -> Client {
    let wire = Wire { process: process.clone(), items: items.clone() };
    let config = aws_sdk_dynamodb::Config::builder()
        .behavior_version(BehaviorVersion::latest())
        .region(Region::new("eu-central-1"))
        .credentials_provider(Credentials::new("local", "local", None, None, "proof"))
        .endpoint_url("http://localhost")
        .retry_config(RetryConfig::standard().with_max_attempts(3))
        .http_client(SharedHttpClient::new(wire));
    Client::from_conf(config.build())
}

impl Items {
    pub(super) fn new(judge: Judge, breakage: Option<Breakage>) -> Self {
        Self { items: Arc::default(), judge, breakage }
    }

    pub(super) fn get(&self, id: &str) -> Option<Value> {
        self.items().get(id).cloned()
    }

    fn read(&self, request: &Value) -> (u16, Value) {
        match self.get(id(&request["Key"])) {
            Some(item) => (200, json!({ "Item": item })),
            None => (200, json!({})),
        }
    }

    fn put(&self, request: &Value) -> (u16, Value) {
        let id = id(&request["Item"]);
        let found = self.get(id);
        let condition = request["ConditionExpression"].as_str();
        let compare = |name: &str, value: Option<&str>| {
            let name = request["ExpressionAttributeNames"][name].as_str().expect("a name");
            let found = found.as_ref()?.get(name)?;
            let number = |value: &Value| value["N"].as_str().and_then(|digits| digits.parse::<u64>().ok());
            let compare = |value: &str| number(found).cmp(&number(&request["ExpressionAttributeValues"][value]));
            Some(value.map_or(Ordering::Equal, compare))
        };
        if !self.is(Breakage::VersionIgnored) && !holds(condition, compare) {
            return self.refuse(found, &request["Item"]);
        }
        self.items().insert(id.to_owned(), request["Item"].clone());
        (200, json!({}))
    }

    fn refuse(&self, found: Option<Value>, put: &Value) -> (u16, Value) {
        self.judge.note("a version had moved");
        let mut found = found.unwrap_or_default();
        let stamp = |item: &Value| item["stamps"]["B"].as_str().map(|stamps| stamps[..20].to_owned());
        if stamp(&found) == stamp(put) {
            self.judge.note("an own store was in the way");
        }
        if self.is(Breakage::StampsForgotten) {
            found.as_object_mut().map(|found| found.remove("stamps"));
        }
        let kind = "com.amazonaws.dynamodb.v20120810#ConditionalCheckFailedException";
        (400, json!({"__type": kind, "message": "The conditional request failed", "Item": found}))
    }

    fn items(&self) -> MutexGuard<'_, HashMap<String, Value>> {
        self.items.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn is(&self, breakage: Breakage) -> bool {
        self.breakage == Some(breakage)
    }
}

fn id(item: &Value) -> &str {
    item["id"]["S"].as_str().expect("an id")
}

/// What the SDK sends its requests through.
#[derive(Clone)]
struct Wire {
    process: Process,
    items: Items,
}

impl std::fmt::Debug for Wire {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.write_str("Wire")
    }
}

impl HttpClient for Wire {
    fn http_connector(&self, _: &HttpConnectorSettings, _: &RuntimeComponents) -> SharedHttpConnector {
        SharedHttpConnector::new(self.clone())
    }
}

impl HttpConnector for Wire {
    fn call(&self, request: HttpRequest) -> HttpConnectorFuture {
        let body: Value = serde_json::from_slice(request.body().bytes().expect("in memory")).expect("JSON");
        let reads = request.headers().get("x-amz-target").is_some_and(|target| target.ends_with(".GetItem"));
        let Self { process, items } = self.clone();
        HttpConnectorFuture::new(async move {
            let kind = if reads { Kind::Read } else { Kind::Write };
            let apply = move || if reads { items.read(&body) } else { items.put(&body) };
            let (status, body) = match process.send(kind, apply).await {
                Reply::Answer(answer) => answer,
                Reply::Refused => (500, json!({"__type": "com.amazonaws.dynamodb.v20120810#InternalServerError"})),
                Reply::Silence => return Err(ConnectorError::io("no reply".into())),
            };
            Ok(HttpResponse::new(status.try_into().expect("a status"), body.to_string().into()))
        })
    }
}
