//! Webhooks, which providers deliver at least once: Stripe's events by their id in the body, GitHub's by a header.
//!
//! `cargo run -p idempotency --example webhooks --features examples` needs no AWS: the store is in memory, and the
//! requests are made here. In a function behind a function URL without an authorizer the handler verifies the
//! provider's signature (`Stripe-Signature`, `X-Hub-Signature-256`) first, and
//! `lambda_http::run(layer.layer(service_fn(handler)))` serves it.

use idempotency::http::everyone;
use idempotency::protocol::Pointer;
use idempotency::store::memory::{Effect, MemoryStore};
use idempotency::{Attempt, Engine, IdempotencyLayer};
use lambda_http::tower::{Layer, ServiceExt, service_fn};
use lambda_http::{Body, Error, Request, Response};

async fn handler(request: Request) -> Result<Response<Body>, Error> {
    // Verify the signature here, before anything else. A 401 would be final for the event's id, so answer a wrong
    // signature with a `Verdict::NotExecuted` in the response's extensions, or verify in a layer around this one.
    let attempt = Attempt::<Effect>::from_request(&request)?;
    attempt.add_effect(Effect::named(request.uri().path()));
    Ok(Response::builder().status(204).body(Body::Empty)?)
}

fn post(path: &str) -> lambda_http::http::request::Builder {
    lambda_http::http::Request::post(path).header("content-type", "application/json")
}

#[tokio::main(flavor = "current_thread")]
pub(crate) async fn main() -> Result<(), Error> {
    let store = MemoryStore::new();
    let engine = Engine::builder(store.clone()).build();

    // All senders that reach the URL are one principal: the signature identifies the provider. When Stripe redelivers
    // an event, its id stays the same, but not its bytes (`pending_webhooks` changes), so only the id is compared.
    let id = Pointer::new("/id")?;
    let compared = idempotency::protocol::Compare::Selected(idempotency::protocol::Selection::of(id.clone()));
    let stripe = IdempotencyLayer::new(engine.clone(), "stripe")
        .principal(everyone)
        .compare(compared)
        .key(move |_, body| Some(body?.text_at(&id)?.to_owned()))
        .layer(service_fn(handler));
    for pending in [2, 1] {
        let event = format!(r#"{{"id":"evt_1","type":"charge.succeeded","pending_webhooks":{pending}}}"#);
        let response = stripe.clone().oneshot(post("/stripe").body(event.into())?).await?;
        println!("Stripe: {} {:?}", response.status(), response.headers().get("idempotency-replayed"));
    }

    let github = IdempotencyLayer::new(engine, "github")
        .principal(everyone)
        .key_header("x-github-delivery".parse()?)
        .layer(service_fn(handler));
    for _ in 0..2 {
        let delivery = post("/github").header("x-github-delivery", "72d3162e-cc78-11e3-81ab-4c9367dc0958");
        let response = github.clone().oneshot(delivery.body(r#"{"action":"opened"}"#.into())?).await?;
        println!("GitHub: {} {:?}", response.status(), response.headers().get("idempotency-replayed"));
    }
    assert_eq!((store.applied("/stripe"), store.applied("/github")), (1, 1));
    Ok(())
}
