use std::sync::Arc;

use aws_sdk_dynamodb::Client;
use aws_sdk_dynamodb::config::{Builder, Credentials, Region};
use aws_smithy_runtime_api::client::http::{HttpConnector, HttpConnectorFuture, SharedHttpConnector, http_client_fn};
use aws_smithy_runtime_api::client::orchestrator::{HttpRequest, HttpResponse};
use aws_smithy_runtime_api::http::StatusCode;
use aws_smithy_types::body::SdkBody;
use serde_json::{Value, json};

use super::*;
use crate::mutex::Mutex;
use crate::protocol::{
    ClaimRequest, Decision, EpochMs, EpochS, OwnerToken, Principal, Resolution, Settled, Subject, abandon, decide,
    settle,
};
use crate::store::unsettled::{ScanPlace, Unsettled};

/// A fake table that stores items, returns them, and records every request.
#[derive(Clone, Debug, Default)]
pub(super) struct Table {
    requests: Arc<Mutex<Vec<Value>>>,
    /// The names and values of the headers that state the user agent.
    pub(super) user_agents: Arc<Mutex<Vec<(String, String)>>>,
    item: Arc<Mutex<Option<Value>>>,
}

impl HttpConnector for Table {
    fn call(&self, request: HttpRequest) -> HttpConnectorFuture {
        let body: Value = serde_json::from_slice(request.body().bytes().unwrap()).unwrap();
        let reply = match request.headers().get("x-amz-target").and_then(|target| target.rsplit('.').next()) {
            Some("PutItem") => {
                *self.item.lock() = Some(body["Item"].clone());
                json!({})
            }
            Some("GetItem") => json!({ "Item": *self.item.lock() }),
            Some("ListTables") => json!({}),
            Some("Query" | "Scan") => json!({ "Items": [*self.item.lock()], "Count": 1, "ScannedCount": 1 }),
            other => panic!("{other:?} is not needed here"),
        };
        self.requests.lock().push(body);
        let headers = request.headers().iter().filter(|(name, _)| name.ends_with("user-agent"));
        self.user_agents.lock().extend(headers.map(|(name, value)| (name.to_owned(), value.to_owned())));
        let status = StatusCode::try_from(200).unwrap();
        HttpConnectorFuture::ready(Ok(HttpResponse::new(status, SdkBody::from(reply.to_string()))))
    }
}

impl Table {
    pub(super) fn config(&self) -> Builder {
        let connector = SharedHttpConnector::new(self.clone());
        let config = client().config().to_builder();
        config
            .http_client(http_client_fn(move |_, _| connector.clone()))
            .region(Region::new("eu-central-1"))
            .credentials_provider(Credentials::new("local", "local", None, None, "tests"))
    }

    fn store(&self, names: AttributeNames) -> DynamoDbStore {
        DynamoDbStore::new(Client::from_conf(self.config().build()), "Records").with_names(names).unwrap()
    }

    /// The attributes named in the requests so far.
    fn named(&self) -> Vec<String> {
        let mut named = Vec::new();
        for request in self.requests.lock().iter() {
            let keys = |member: &str| request[member].as_object().into_iter().flatten().map(|(name, _)| name.clone());
            named.extend(keys("Item").chain(keys("Key")));
            let values = request["ExpressionAttributeNames"].as_object().into_iter().flatten();
            named.extend(values.filter_map(|(_, name)| name.as_str()).map(str::to_owned));
        }
        named
    }
}

/// Every name differs from the default.
fn renamed() -> AttributeNames {
    AttributeNames {
        id: "x_id".into(),
        sort: Some("x_sort".into()),
        id_prefix: "orders#".into(),
        expiration: "x_expiration".into(),
        status: "x_status".into(),
        owner: "x_owner".into(),
        ended_by: "x_ended_by".into(),
        attempt: "x_attempt".into(),
        lease: "x_lease".into(),
        transaction: "x_transaction".into(),
        fingerprint: "x_fingerprint".into(),
        operation: "x_operation".into(),
        principal: "x_principal".into(),
        subject: "x_subject".into(),
        history: "x_history".into(),
        created: "x_created".into(),
        updated: "x_updated".into(),
        trace: "x_trace".into(),
        response: "x_response".into(),
        parts: "x_parts".into(),
        unresolved: "x_unresolved".into(),
        unresolved_index: "x_unresolved_index".into(),
    }
}

fn claimed(owner: OwnerToken) -> Write {
    let (principal, subject) = (Some(Principal::new("alice").unwrap().digest()), Subject::new("a payment"));
    let request = ClaimRequest { owner, principal, subject, ..ClaimRequest::sample() };
    match decide(None, &request, EpochMs(1_800_000_000_000)) {
        Decision::Begin(write) => write,
        other => panic!("{other:?}"),
    }
}

#[tokio::test]
async fn all_attribute_names_are_settable() {
    let (table, owner, now) = (Table::default(), OwnerToken([3; 16]), EpochMs(1_800_000_001_000));
    let store = table.store(renamed());
    let claim = claimed(owner);
    let settled = Settled { response: b"paid".to_vec().into(), expiration: EpochS(1_800_086_400) };
    let writes = [
        claim.clone(),
        abandon(claim.record.clone(), owner, now),
        settle(claim.record.clone(), owner, Resolution::Success, settled, now),
    ];
    for write in &writes {
        assert_eq!(store.write(write, Vec::new()).await.unwrap(), Written::Applied);
        assert_eq!(store.read(&write.record.id).await.unwrap().as_ref(), Some(&write.record));
    }
    store.unknown(1, None).await.unwrap();
    let place = ScanPlace { segment: 0, segments: 1, after: None };
    store.scan(&place, now, 10).await.unwrap();

    let named = table.named();
    let foreign: Vec<_> = named.iter().filter(|name| !name.starts_with("x_")).collect();
    assert!(foreign.is_empty(), "these are named as by default: {foreign:?}");
    for name in ["x_id", "x_status", "x_owner", "x_lease", "x_history", "x_response", "x_expiration", "x_unresolved"] {
        assert!(named.iter().any(|one| one == name), "{name} is not in {named:?}");
    }
    for request in table.requests.lock().iter() {
        for key in [&request["Item"], &request["Key"]].into_iter().filter(|key| key.is_object()) {
            assert_eq!(key["x_id"]["S"], format!("orders#{}", claim.record.id.as_str()));
            assert_eq!(key["x_sort"]["S"], "idempotency");
        }
    }
    let index = table.requests.lock().iter().find_map(|request| request["IndexName"].as_str().map(str::to_owned));
    assert_eq!(index.as_deref(), Some("x_unresolved_index"));
}

#[test]
fn names_that_clash_are_refused_before_anything_runs_under_them() {
    let of = |change: fn(&mut AttributeNames)| {
        let mut names = AttributeNames::default();
        change(&mut names);
        names.check()
    };
    assert_eq!(of(|_| ()), Ok(()));
    assert_eq!(renamed().check(), Ok(()));
    assert_eq!(of(|names| names.status = "id".into()), Err(InvalidNames::Twice("id".into())));
    assert_eq!(of(|names| names.sort = Some("parts".into())), Err(InvalidNames::Twice("parts".into())));
    assert_eq!(of(|names| names.unresolved = names.response.clone()), Err(InvalidNames::Twice("response".into())));
    assert_eq!(of(|names| names.lease = String::new()), Err(InvalidNames::Length(String::new())));
    assert_eq!(of(|names| names.id = "version".into()), Err(InvalidNames::OfWatermarks("version".into())));
}
