use std::sync::Arc;

use aws_sdk_dynamodb::Client;
use aws_sdk_dynamodb::config::{Credentials, Region};
use aws_smithy_runtime_api::client::http::{HttpConnector, HttpConnectorFuture, SharedHttpConnector, http_client_fn};
use aws_smithy_runtime_api::client::orchestrator::{HttpRequest, HttpResponse};
use aws_smithy_runtime_api::http::StatusCode;
use aws_smithy_types::body::SdkBody;
use serde_json::{Value, json};

use super::*;
use crate::mutex::Mutex;
use crate::protocol::{
    ClaimRequest, Decision, EpochMs, EpochS, Fingerprinter, Key, LeaseLimit, OwnerToken, Principal, Resolution,
    Settled, Subject, TransactionId, Uncertain, abandon, decide, settle,
};
use crate::store::unsettled::{ScanPlace, Unsettled};

/// A fake table that stores items, returns them, and records every request.
#[derive(Clone, Debug, Default)]
struct Table {
    requests: Arc<Mutex<Vec<Value>>>,
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
            Some("Query" | "Scan") => json!({ "Items": [*self.item.lock()], "Count": 1, "ScannedCount": 1 }),
            other => panic!("{other:?} is not needed here"),
        };
        self.requests.lock().push(body);
        let status = StatusCode::try_from(200).unwrap();
        HttpConnectorFuture::ready(Ok(HttpResponse::new(status, SdkBody::from(reply.to_string()))))
    }
}

impl Table {
    fn store(&self, names: AttributeNames) -> DynamoDbStore {
        let connector = SharedHttpConnector::new(self.clone());
        let config = client().config().to_builder();
        let config = config
            .http_client(http_client_fn(move |_, _| connector.clone()))
            .region(Region::new("eu-central-1"))
            .credentials_provider(Credentials::new("local", "local", None, None, "tests"));
        DynamoDbStore::new(Client::from_conf(config.build()), "Records").with_names(names).unwrap()
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
    let AttributeNames {
        id,
        sort: _,
        id_prefix: _,
        expiration,
        status,
        owner,
        ended_by,
        attempt,
        lease,
        transaction,
        fingerprint,
        operation,
        principal,
        subject,
        history,
        created,
        updated,
        trace,
        response,
        parts,
        unresolved,
        unresolved_index,
    } = AttributeNames::default();
    let other = |name: String| format!("x_{name}");
    AttributeNames {
        id: other(id),
        sort: Some("x_sort".into()),
        id_prefix: "orders#".into(),
        expiration: other(expiration),
        status: other(status),
        owner: other(owner),
        ended_by: other(ended_by),
        attempt: other(attempt),
        lease: other(lease),
        transaction: other(transaction),
        fingerprint: other(fingerprint),
        operation: other(operation),
        principal: other(principal),
        subject: other(subject),
        history: other(history),
        created: other(created),
        updated: other(updated),
        trace: other(trace),
        response: other(response),
        parts: other(parts),
        unresolved: other(unresolved),
        unresolved_index: other(unresolved_index),
    }
}

fn claimed(owner: OwnerToken) -> Write {
    let (principal, key) = (Principal::new("alice").unwrap(), Key::new("k-1").unwrap());
    let request = ClaimRequest {
        id: RecordId::new("test", &principal, &key),
        operation: "POST /payments".into(),
        principal: Some(principal.digest()),
        subject: Subject::new("a payment"),
        invocation: None,
        trace: None,
        fingerprint: Fingerprinter::new().bytes(b"{}").finish(),
        owner,
        transaction: TransactionId::new(EpochMs(1_800_000_000_000), [7; 10]),
        lease: LeaseLimit { at_most: Duration::from_secs(10), by: EpochMs(u64::MAX) },
        uncertain: Uncertain::Reconcile,
    };
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
    for name in ["x_id", "x_status", "x_owner", "x_lease", "x_story", "x_response", "x_expiration", "x_unresolved"] {
        assert!(named.iter().any(|one| one == name), "{name} is not in {named:?}");
    }
    for request in table.requests.lock().iter() {
        for key in [&request["Item"], &request["Key"]].into_iter().filter(|key| key.is_object()) {
            assert_eq!(key["x_id"]["S"], format!("orders#{}", claim.record.id.as_str()));
            assert_eq!(key["x_sort"]["S"], "idempotency");
        }
    }
    let index = table.requests.lock().iter().find_map(|request| request["IndexName"].as_str().map(str::to_owned));
    assert_eq!(index.as_deref(), Some("x_unresolved"));
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
