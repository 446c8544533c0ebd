//! The parts of the payments API behind API Gateway. The business logic is in `handler`.

mod handler;

use aws_sdk_dynamodb::types::TransactWriteItem;
use idempotency::http::Pseudonyms;
use idempotency::store::Store;
use idempotency::{Engine, IdempotencyLayer};
use lambda_http::tower::{Layer, Service};
use lambda_http::{Body, Error, Request, Response, service_fn};
use payments::{NAMESPACE, Provider, ProviderResolver, Table, operations, problems};

use handler::Handler;

/// The API, wrapped in the layer that protects it.
///
/// `accounts_claim` is the claim of a token that lists its holder's accounts; without it, an account belongs to its
/// first payer. With `pseudonyms`, the request log shows who sent each request and what it is about.
pub fn service<S: Store<Effect = TransactWriteItem>>(
    engine: Engine<S>,
    provider: Provider,
    table: Table,
    accounts_claim: Option<String>,
    pseudonyms: Option<Pseudonyms>,
) -> impl Service<Request, Response = Response<Body>, Error = Error, Future: Send> + Clone + use<S> {
    let layer = IdempotencyLayer::new(engine, NAMESPACE);
    let layer = operations()
        .iter()
        .fold(layer, |layer, operation| layer.operation(operation.clone()))
        .reading(handler::read)
        .subject(handler::subject)
        .resolver(ProviderResolver::new(provider.clone(), table.clone()))
        .contract(problems::ADDRESS)
        .problem_types(problems::ADDRESS)
        .max_body_bytes(64 * 1024);
    let layer = match pseudonyms {
        Some(pseudonyms) => layer.pseudonyms(pseudonyms).facts(handler::facts),
        None => layer,
    };
    let handler = Handler::new(provider, table, accounts_claim);
    layer.layer(service_fn(move |request| handler.clone().handle(request)))
}
