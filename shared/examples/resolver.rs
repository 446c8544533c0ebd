//! A charge whose reply was lost: the outcome is unknown, and the client's retry is answered from evidence.
//!
//! `cargo run -p idempotency --example resolver --features examples` needs no AWS: the store is in memory, and so is
//! the payment provider. In a function the store is `DynamoDbStore`, and the resolver queries the provider by the
//! transaction id.

use std::sync::{Arc, Mutex};

use idempotency::http::{HttpAnswer, everyone};
use idempotency::protocol::Record;
use idempotency::reconcile::{Evidence, Resolver};
use idempotency::store::memory::{Effect, MemoryStore};
use idempotency::{Attempt, Engine, IdempotencyLayer};
use lambda_http::tower::{Layer, ServiceExt, service_fn};
use lambda_http::{Body, Error, Request, Response};

/// A provider that keeps each charge under our transaction id.
#[derive(Clone, Default)]
struct Provider(Arc<Mutex<Vec<String>>>);

impl Provider {
    fn charges(&self) -> Vec<String> {
        self.0.lock().map(|charges| charges.clone()).unwrap_or_default()
    }
}

fn paid(charge: &str) -> Response<Body> {
    let mut response = Response::new(format!(r#"{{"charge":"{charge}"}}"#).into());
    *response.status_mut() = lambda_http::http::StatusCode::CREATED;
    response
}

impl Resolver<Effect, HttpAnswer> for Provider {
    async fn resolve(&self, record: &Record, _: Attempt<Effect>) -> Evidence<HttpAnswer> {
        let id = record.transaction.to_string();
        match self.charges().contains(&id) {
            true => Evidence::Happened(HttpAnswer::new(paid(&id))),
            false => Evidence::Unclear("the provider does not know it, which is no evidence".into()),
        }
    }
}

#[tokio::main(flavor = "current_thread")]
pub(crate) async fn main() -> Result<(), Error> {
    let provider = Provider::default();
    let charging = provider.clone();
    let handler = move |request: Request| {
        let provider = charging.clone();
        async move {
            let id = Attempt::<Effect>::from_request(&request)?.transaction().to_string();
            provider.0.lock().map_err(|_| "poisoned")?.push(id);
            // The charge happened, and its reply is lost.
            Err::<Response<Body>, Error>("the provider did not answer".into())
        }
    };
    let layer = IdempotencyLayer::new(Engine::builder(MemoryStore::new()).build(), "payments").principal(everyone);
    let api = layer.resolver(provider.clone()).layer(service_fn(handler));
    for expected in [503, 201, 201] {
        let request = lambda_http::http::Request::post("/payments").header("idempotency-key", "k-1");
        let response = api.clone().oneshot(request.body(r#"{"amount":5}"#.into())?).await?;
        println!("{} {}", response.status(), String::from_utf8_lossy(response.body()));
        assert_eq!(response.status().as_u16(), expected);
    }
    assert_eq!(provider.charges().len(), 1);
    Ok(())
}
