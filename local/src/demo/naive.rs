//! A handler as it is often written: it looks the key up, does the work, and stores the result afterwards.
//!
//! Between the work and the result everything can happen: then the key is unknown, and the next request charges again.
//! Its results outlive a kill, as if they were in a table. A kill ends the request that is running.

use std::{
    collections::{HashMap, HashSet},
    future::Future,
    pin::Pin,
    sync::Arc,
    time::Duration,
};

use anyhow::Result;
use axum::{
    Json, Router,
    extract::State,
    http::{HeaderMap, StatusCode},
    response::{IntoResponse, Response},
    routing::post,
};
use parking_lot::Mutex;
use serde_json::{Value, json};
use tokio_util::sync::{CancellationToken, DropGuard};

use crate::{
    listener,
    provider::{KillCaller, Provider},
};

/// How long it waits for the provider, as the application does.
const TIMEOUT: Duration = Duration::from_secs(4);

pub(super) struct Naive {
    url: String,
    _servers: DropGuard,
}

struct Inner {
    client: reqwest::Client,
    provider: Provider,
    /// By idempotency key.
    results: Mutex<HashMap<String, Value>>,
    /// The keys whose work was begun. Nothing the handler could know: see [`Inner::card`].
    begun: Mutex<HashSet<String>>,
}

/// One request's process: the provider's fault can kill it.
#[derive(Clone, Default)]
struct Process(CancellationToken);

impl KillCaller for Process {
    fn kill_caller(&self) -> Pin<Box<dyn Future<Output = ()> + Send + '_>> {
        self.0.cancel();
        Box::pin(std::future::ready(()))
    }
}

impl Naive {
    pub(super) async fn start(provider: &Provider) -> Result<Self> {
        let (listener, address) = listener::bind(0).await?;
        let inner = Inner {
            client: reqwest::Client::new(),
            provider: provider.clone(),
            results: Mutex::default(),
            begun: Mutex::default(),
        };
        let router = Router::new().route("/payments", post(pay)).with_state(Arc::new(inner));
        let end = CancellationToken::new();
        tokio::spawn(listener::serve_machine(listener, router, end.clone().cancelled_owned()));
        Ok(Self { url: format!("http://{address}"), _servers: end.drop_guard() })
    }

    pub(super) fn url(&self) -> String {
        self.url.clone()
    }
}

async fn pay(State(naive): State<Arc<Inner>>, headers: HeaderMap, Json(payment): Json<Value>) -> Response {
    let process = Process::default();
    tokio::select! {
        response = naive.pay(&headers, &payment, &process) => response,
        // The gateway's answer when a sandbox dies.
        () = process.0.cancelled() => StatusCode::INTERNAL_SERVER_ERROR.into_response(),
    }
}

impl Inner {
    async fn pay(&self, headers: &HeaderMap, payment: &Value, process: &Process) -> Response {
        let key = headers.get("idempotency-key").and_then(|key| key.to_str().ok()).unwrap_or_default().to_owned();
        if let Some(result) = self.results.lock().get(&key) {
            return (StatusCode::CREATED, Json(result.clone())).into_response();
        }
        let Ok(result) = self.charge(payment, self.card(&key, payment), process).await else {
            return StatusCode::GATEWAY_TIMEOUT.into_response();
        };
        self.results.lock().insert(key, result.clone());
        (StatusCode::CREATED, Json(result)).into_response()
    }

    /// The card of the order. A test card misbehaves on the first request under an idempotency key at the provider.
    /// This handler sends none, so that the card would misbehave for ever; it gets a good one from the second try on,
    /// to be fair.
    fn card(&self, key: &str, payment: &Value) -> String {
        let first = self.begun.lock().insert(key.to_owned());
        let card = payment["payment_method"].as_str().unwrap_or_default();
        if first { card.to_owned() } else { "pm_card_visa".to_owned() }
    }

    /// The work. Without a key for the provider: nothing remembers one between two tries.
    async fn charge(&self, payment: &Value, card: String, process: &Process) -> Result<Value> {
        let end = CancellationToken::new();
        let _server = end.clone().drop_guard();
        let url = self.provider.serve_caller(Arc::new(process.clone()), end).await?;
        let text = |name: &str| payment[name].as_str().unwrap_or_default().to_owned();
        let form = [
            ("amount", payment["amount"].to_string()),
            ("currency", text("currency").to_ascii_lowercase()),
            ("payment_method", card),
            ("confirm", "true".to_owned()),
            ("metadata[reference]", text("reference")),
        ];
        let body = form_urlencoded::Serializer::new(String::new()).extend_pairs(form).finish();
        let request = self.client.post(format!("{url}/v1/payment_intents")).bearer_auth("sk_test_naive");
        let request = request.header("content-type", "application/x-www-form-urlencoded").timeout(TIMEOUT).body(body);
        let answer: Value = request.send().await?.error_for_status()?.json().await?;
        Ok(json!({ "intent": answer["id"] }))
    }
}
