//! Services with canned replies.

use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::Mutex;
use std::time::Duration;

use aws_sdk_dynamodb::config::{BehaviorVersion, Builder, Credentials, Region};
use aws_sdk_dynamodb::{Client, Config};
use aws_smithy_runtime_api::client::http::{HttpConnector, HttpConnectorFuture, SharedHttpConnector, http_client_fn};
use aws_smithy_runtime_api::client::orchestrator::{HttpRequest, HttpResponse};
use aws_smithy_runtime_api::http::StatusCode;
use aws_smithy_types::body::SdkBody;
use idempotency::DynamoDbStore;
use idempotency::engine::Engine;
use idempotency::store::dynamodb;
use payments::{ApiKey, Provider, Table};
use serde_json::json;
use subjects::floor::{Floor, Keeps};

pub(super) const ACCEPTED: &str = "{}";

/// DynamoDB's reply to a claim whose record exists: the record that was put last, alone or as the first item of a
/// transaction.
pub(super) fn refusal() -> String {
    let sent: serde_json::Value = serde_json::from_slice(&SENT.lock().expect("not poisoned")).expect("JSON");
    let item = sent.pointer("/TransactItems/0/Put/Item").unwrap_or(&sent["Item"]);
    json!({
        "__type": "com.amazonaws.dynamodb.v20120810#ConditionalCheckFailedException",
        "message": "The conditional request failed",
        "Item": item,
    })
    .to_string()
}

/// The body of the last request.
static SENT: Mutex<Vec<u8>> = Mutex::new(Vec::new());

/// A DynamoDB whose reply is always the same.
#[derive(Debug)]
struct Canned {
    status: u16,
    reply: String,
}

impl HttpConnector for Canned {
    fn call(&self, request: HttpRequest) -> HttpConnectorFuture {
        let mut sent = SENT.lock().expect("not poisoned");
        sent.clear();
        sent.extend_from_slice(request.body().bytes().unwrap_or_default());
        let status = StatusCode::try_from(self.status).expect("a status");
        HttpConnectorFuture::ready(Ok(HttpResponse::new(status, SdkBody::from(self.reply.clone()))))
    }
}

pub(super) fn engine(reply: impl Into<String>, status: u16) -> Engine<DynamoDbStore> {
    let store = DynamoDbStore::new(client(dynamodb::client().config().to_builder(), reply, status), "Records");
    // Nothing is cached in the process, so that a replay comes from the store.
    Engine::builder(store).cache_bytes(0).build()
}

/// The function by hand, with the SDK's default settings, as in its deployment.
pub(super) fn floor(reply: impl Into<String>, status: u16) -> Floor {
    let client = client(Config::builder().behavior_version(BehaviorVersion::v2026_01_12()), reply, status);
    Floor { client, records: "Records".into(), effects: "Effects".into(), keeps: Keeps::Enough }
}

pub(super) fn client(config: Builder, reply: impl Into<String>, status: u16) -> Client {
    let connector = SharedHttpConnector::new(Canned { status, reply: reply.into() });
    let config = config
        .http_client(http_client_fn(move |_, _| connector.clone()))
        .region(Region::new("eu-central-1"))
        .credentials_provider(Credentials::new("local", "local", None, None, "hot paths"));
    Client::from_conf(config.build())
}

/// The application's table.
pub(super) fn table(reply: impl Into<String>, status: u16) -> Table {
    Table::new(client(dynamodb::client().config().to_builder(), reply, status), "Payments")
}

/// A provider that accepts every charge of 19.99 EUR. Its few instructions are included in the count of the function.
pub(super) fn provider() -> Provider {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
    let url = format!("http://{}", listener.local_addr().expect("bound"));
    std::thread::spawn(move || listener.incoming().flatten().for_each(accept_charge));
    Provider::new(&url, ApiKey::fixed("sk_test").expect("visible ASCII"), Duration::from_secs(2)).expect("a client")
}

fn accept_charge(mut connection: TcpStream) {
    let (mut request, mut part) = (Vec::new(), [0; 4096]);
    while !request.ends_with(b"metadata%5Breference%5D=order+17") {
        let length = connection.read(&mut part).expect("a request");
        assert_ne!(length, 0, "{}", String::from_utf8_lossy(&request));
        request.extend_from_slice(&part[..length]);
    }
    let body = r#"{"id":"pi_1","object":"payment_intent","status":"succeeded","amount":1999,"currency":"eur"}"#;
    let head = "HTTP/1.1 200 OK\r\nconnection: close\r\ncontent-type: application/json\r\ncontent-length:";
    write!(connection, "{head} {}\r\n\r\n{body}", body.len()).expect("sent");
}
