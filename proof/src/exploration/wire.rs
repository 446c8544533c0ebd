//! The part of DynamoDB's wire protocol that versioned items and records need: items are read, put, and put in
//! transactions by their id.

use std::cmp::Ordering;
use std::collections::HashMap;
use std::sync::Arc;

use aws_sdk_dynamodb::Client;
use aws_sdk_dynamodb::config::http::{HttpRequest, HttpResponse};
use aws_sdk_dynamodb::config::retry::RetryConfig;
use aws_sdk_dynamodb::config::{BehaviorVersion, Credentials, Region};
use aws_smithy_runtime_api::client::http::{HttpConnector, HttpConnectorFuture, SharedHttpConnector, http_client_fn};
use aws_smithy_runtime_api::client::result::ConnectorError;
use parking_lot::Mutex;
use serde_json::{Value, json};

use super::Breakage;
use super::condition::holds;
use super::network::{Kind, Process};
use super::table::EFFECT;
use crate::fault::Reply;
use crate::oracle::Oracle;

/// Items, as JSON. A clone is another handle.
#[derive(Clone)]
pub(super) struct Items {
    items: Arc<Mutex<HashMap<String, Value>>>,
    oracle: Oracle,
    breakage: Option<Breakage>,
}

/// The client of a process.
pub(super) fn client(process: &Process, items: &Items) -> Client {
    let wire = Wire { process: process.clone(), items: items.clone() };
    let config = aws_sdk_dynamodb::Config::builder()
        .behavior_version(BehaviorVersion::latest())
        .region(Region::new("eu-central-1"))
        .credentials_provider(Credentials::new("local", "local", None, None, "proof"))
        .endpoint_url("http://localhost")
        .retry_config(RetryConfig::standard().with_max_attempts(3))
        .http_client(http_client_fn(move |_, _| SharedHttpConnector::new(wire.clone())));
    Client::from_conf(config.build())
}

impl Items {
    pub(super) fn new(oracle: Oracle, breakage: Option<Breakage>) -> Self {
        Self { items: Arc::default(), oracle, breakage }
    }

    pub(super) fn get(&self, id: &str) -> Option<Value> {
        self.items.lock().get(id).cloned()
    }

    fn read(&self, request: &Value) -> (u16, Value) {
        match self.get(id(&request["Key"])) {
            Some(item) => (200, json!({ "Item": item })),
            None => (200, json!({})),
        }
    }

    fn put(&self, put: &Value) -> (u16, Value) {
        self.oracle.wrote(|| text(put));
        if !self.is(Breakage::VersionIgnored) && !self.stands(put) {
            let found = self.get(id(&put["Item"])).unwrap_or_default();
            return error("ConditionalCheckFailedException", "Item", self.refused(found, &put["Item"]));
        }
        self.insert(&put["Item"]);
        (200, json!({}))
    }

    /// Applies all writes of a transaction or none.
    fn transact(&self, request: &Value) -> (u16, Value) {
        let actions = request["TransactItems"].as_array().expect("actions");
        let puts: Vec<&Value> = actions.iter().map(|action| &action["Put"]).collect();
        self.oracle.wrote(|| puts.iter().map(|put| text(put)).collect::<Vec<_>>().join(" and "));
        let reason = |put: &&Value| match (self.stands(put), put["ReturnValuesOnConditionCheckFailure"] == "ALL_OLD") {
            (true, _) => json!({"Code": "None"}),
            (false, false) => json!({"Code": "ConditionalCheckFailed"}),
            (false, true) => json!({"Code": "ConditionalCheckFailed", "Item": self.get(id(&put["Item"]))}),
        };
        let reasons: Vec<Value> = puts.iter().map(reason).collect();
        if reasons.iter().all(|reason| reason["Code"] == "None") {
            puts.iter().for_each(|put| self.insert(&put["Item"]));
            return (200, json!({}));
        }
        if self.is(Breakage::PartsBesideTheRecord) {
            puts[1..].iter().filter(|put| is_part(&put["Item"])).for_each(|put| self.insert(&put["Item"]));
        }
        error("TransactionCanceledException", "CancellationReasons", json!(reasons))
    }

    /// Whether the condition of a put holds.
    fn stands(&self, put: &Value) -> bool {
        let found = self.get(id(&put["Item"]));
        holds(put["ConditionExpression"].as_str(), |name, value| {
            let is_placeholder = name.starts_with('#');
            let name =
                if is_placeholder { put["ExpressionAttributeNames"][name].as_str().expect("a name") } else { name };
            let found = found.as_ref()?.get(name)?;
            Some(value.map_or(Ordering::Equal, |value| order(found, &put["ExpressionAttributeValues"][value])))
        })
    }

    fn insert(&self, put: &Value) {
        let (id, mut item) = (id(put), put.clone());
        if let Some(name) = id.strip_prefix(EFFECT) {
            self.oracle.applied(name);
        }
        let mut items = self.items.lock();
        if let Some(earlier) = items.get(id).filter(|_| self.is(Breakage::MarksOfAnEarlierLife) && is_part(put)) {
            ["transaction", "attempt"].iter().for_each(|mark| item[mark] = earlier[mark].clone());
        }
        items.insert(id.to_owned(), item);
    }

    /// The item that is returned for a refused put.
    fn refused(&self, mut found: Value, put: &Value) -> Value {
        let stamp = |item: &Value| item["stamps"]["B"].as_str().map(|stamps| stamps[..20].to_owned());
        if let Some(own) = stamp(put) {
            self.oracle.note("a version had moved");
            if stamp(&found).as_ref() == Some(&own) {
                self.oracle.note("an own store was in the way");
            }
        }
        if self.is(Breakage::StampsForgotten) {
            found.as_object_mut().map(|found| found.remove("stamps"));
        }
        found
    }

    fn is(&self, breakage: Breakage) -> bool {
        self.breakage == Some(breakage)
    }
}

/// A put as text that is the same in every run: without its random stamps, and sorted, because the SDK's maps have no
/// order.
fn text(put: &Value) -> String {
    let mut put = put.clone();
    if let Some(item) = put["Item"].as_object_mut() {
        item.remove("stamps");
    }
    let text = put.to_string();
    let sorted = idempotency::protocol::canonical_json(text.as_bytes());
    sorted.map_or(text, |sorted| String::from_utf8_lossy(&sorted).into_owned())
}

fn id(item: &Value) -> &str {
    item["id"]["S"].as_str().expect("an id")
}

/// Whether the item is a part of a long answer.
fn is_part(item: &Value) -> bool {
    id(item).contains('#')
}

/// Orders numbers by value; other values are only equal or unequal.
fn order(one: &Value, other: &Value) -> Ordering {
    let number = |value: &Value| value["N"].as_str().and_then(|digits| digits.parse::<u64>().ok());
    number(one).cmp(&number(other)).then_with(|| one.to_string().cmp(&other.to_string()))
}

fn error(kind: &str, member: &str, content: Value) -> (u16, Value) {
    (400, json!({"__type": format!("com.amazonaws.dynamodb.v20120810#{kind}"), "message": "refused", member: content}))
}

/// The HTTP client of the SDK.
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

impl HttpConnector for Wire {
    fn call(&self, request: HttpRequest) -> HttpConnectorFuture {
        let body: Value = serde_json::from_slice(request.body().bytes().expect("in memory")).expect("JSON");
        let target = request.headers().get("x-amz-target").unwrap_or_default().to_owned();
        let Self { process, items } = self.clone();
        HttpConnectorFuture::new(async move {
            let kind = if target.ends_with(".GetItem") { Kind::Read } else { Kind::Write };
            let apply = move || match target.strip_prefix("DynamoDB_20120810.") {
                Some("GetItem") => items.read(&body),
                Some("PutItem") => items.put(&body),
                Some("TransactWriteItems") => items.transact(&body),
                _ => panic!("not a request that is known here: {target}"),
            };
            let (status, body) = match process.send(kind, apply).await {
                Reply::Answer(answer) => answer,
                Reply::Refused => (500, json!({"__type": "com.amazonaws.dynamodb.v20120810#InternalServerError"})),
                Reply::Silence => return Err(ConnectorError::io("no reply".into())),
            };
            Ok(HttpResponse::new(status.try_into().expect("a status"), body.to_string().into()))
        })
    }
}
