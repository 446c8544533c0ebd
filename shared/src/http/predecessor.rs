//! The takeover from a Powertools function, which may already have answered a request.

use std::sync::Arc;

use aws_sdk_dynamodb::types::TransactWriteItem;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use futures::FutureExt;
use futures::future::BoxFuture;
use http::header::{CONTENT_TYPE, DATE, SET_COOKIE};
use http::{HeaderName, HeaderValue, Response, StatusCode};
use lambda_http::{Body, Request};
use serde_json::{Map, Value, json};

use super::{HttpAnswer, IdempotencyLayer};
use crate::engine::{Attempt, Verdict};
use crate::mutex::Mutex;
use crate::store::dynamodb::powertools::{Aside, NoOldKey, NotRun, OldKey, Predecessor, Taken};
use crate::store::{BoxError, Store, StoreError, TransactionalEffect};

impl<S: Store<Effect = TransactWriteItem>> IdempotencyLayer<S> {
    /// Takes over from a function with Powertools around its Lambda handler: the answers of that function are replayed,
    /// see [`powertools`](crate::powertools). `key` computes the request's old key with [`Predecessor::key`]. It
    /// returns `None` if the old function did not protect the request; the error [`NoOldKey::NothingSelected`] means
    /// the same. With any other error nothing runs, because the old function may have run the request under a key that
    /// is not known here.
    ///
    /// ```no_run
    /// use idempotency::powertools::Predecessor;
    /// use idempotency::store::dynamodb;
    /// use idempotency::{DynamoDbStore, Engine, IdempotencyLayer};
    /// use lambda_http::Request;
    ///
    /// let client = dynamodb::client();
    /// let engine = Engine::builder(DynamoDbStore::new(client.clone(), "Records")).build();
    /// let old = Predecessor::python(client, "IdempotencyTable", "orders.app.handler");
    /// // The old `event_key_jmespath` was `headers."idempotency-key"`.
    /// let key = |old: &Predecessor, request: &Request| {
    ///     let header = request.headers().get("idempotency-key").and_then(|value| value.to_str().ok());
    ///     header.map(|header| old.key(&header)).transpose()
    /// };
    /// let layer = IdempotencyLayer::new(engine, "orders").predecessor(old, key);
    /// ```
    ///
    /// The old answer is a handler's return value as API Gateway interprets it: an object with `statusCode`, or any
    /// other JSON, which is the body of a 200. Use [`predecessor_of`](Self::predecessor_of) if Powertools wrapped a
    /// function other than the handler.
    #[must_use]
    pub fn predecessor(
        self,
        predecessor: Predecessor,
        key: impl Fn(&Predecessor, &Request) -> Result<Option<OldKey>, NoOldKey> + Send + Sync + 'static,
    ) -> Self {
        self.predecessor_of(predecessor, key, |old| response(&old), proxy_response)
    }

    /// Like [`predecessor`](Self::predecessor), for Powertools around a function inside the handler. `read` converts
    /// that function's return value into a response; `write` converts a response into that return value, for as long as
    /// the old function may run.
    #[must_use]
    pub fn predecessor_of(
        self,
        predecessor: Predecessor,
        key: impl Fn(&Predecessor, &Request) -> Result<Option<OldKey>, NoOldKey> + Send + Sync + 'static,
        read: impl Fn(Value) -> Result<Response<Body>, BoxError> + Send + Sync + 'static,
        write: impl Fn(&Response<Body>) -> Value + Send + Sync + 'static,
    ) -> Self {
        let of_requests = OfRequests { predecessor, key: Box::new(key), read: Box::new(read), write: Arc::new(write) };
        self.with(|core| core.predecessor = Some(Arc::new(of_requests)))
    }
}

type KeyOf = Box<dyn Fn(&Predecessor, &Request) -> Result<Option<OldKey>, NoOldKey> + Send + Sync>;
type Read = Box<dyn Fn(Value) -> Result<Response<Body>, BoxError> + Send + Sync>;
type Write = Arc<dyn Fn(&Response<Body>) -> Value + Send + Sync>;

/// A predecessor, and the conversion of its answers to responses.
struct OfRequests {
    predecessor: Predecessor,
    key: KeyOf,
    read: Read,
    write: Write,
}

pub(super) type AnyPredecessor<E> = Arc<dyn OldFunction<E>>;

/// A predecessor, for a store whose effects are those of DynamoDB.
pub(super) trait OldFunction<E: TransactionalEffect>: Send + Sync {
    fn take<'a>(&'a self, request: &Request, attempt: &'a Attempt<E>) -> BoxFuture<'a, Result<Found<E>, NotRun>>;
}

pub(super) enum Found<E: TransactionalEffect> {
    /// The handler runs.
    Run(Option<End<E>>),
    /// The handler must not run; this is the verdict.
    Answered(Verdict<HttpAnswer>),
}

/// Ends a request that is held in the old table.
pub(super) type End<E> = Box<dyn FnOnce(&Attempt<E>, &Verdict<HttpAnswer>) -> BoxFuture<'static, ()> + Send + Sync>;

/// Looks up the request in the old table. Returns the verdict if the handler must not run; the reason is then in
/// `aside`.
pub(super) async fn held<E: TransactionalEffect>(
    predecessor: Option<&AnyPredecessor<E>>,
    request: &Request,
    attempt: &Attempt<E>,
    aside: &Mutex<Option<Aside>>,
) -> Result<Option<End<E>>, Verdict<HttpAnswer>> {
    let Some(predecessor) = predecessor else { return Ok(None) };
    let taking = predecessor.take(request, attempt);
    match taking.await {
        Ok(Found::Run(held)) => Ok(held),
        Ok(Found::Answered(verdict)) => {
            *aside.lock() = Some(Aside::Replayed);
            Err(verdict)
        }
        Err(not_run) => {
            *aside.lock() = Some(Aside::NotRun(not_run));
            Err(Verdict::NotExecuted(HttpAnswer::new(Response::new(Body::Empty))))
        }
    }
}

impl OldFunction<TransactWriteItem> for OfRequests {
    fn take<'a>(
        &'a self,
        request: &Request,
        attempt: &'a Attempt<TransactWriteItem>,
    ) -> BoxFuture<'a, Result<Found<TransactWriteItem>, NotRun>> {
        let key = (self.key)(&self.predecessor, request);
        async move {
            let key = match key {
                Ok(Some(key)) => key,
                Ok(None) | Err(NoOldKey::NothingSelected) => return Ok(Found::Run(None)),
                Err(error) => return Err(no_key(&error)),
            };
            Ok(match self.predecessor.take(&key, attempt).await? {
                Taken::Run(held) => {
                    let write = Arc::clone(&self.write);
                    let end = move |attempt: &Attempt<TransactWriteItem>, verdict: &Verdict<HttpAnswer>| {
                        held.end(attempt, verdict, |answer| Some(write(answer.response())))
                    };
                    Found::Run(Some(Box::new(end)))
                }
                Taken::Completed(answered) => {
                    let read = |answer| (self.read)(answer).map(verdict);
                    Found::Answered(self.predecessor.completed(answered, read).await?)
                }
                Taken::Unknown(reason) => Found::Answered(Verdict::Unknown(reason.into())),
            })
        }
        .boxed()
    }
}

fn verdict(mut response: Response<Body>) -> Verdict<HttpAnswer> {
    NEVER_REPLAYED.iter().for_each(|name| drop(response.headers_mut().remove(name)));
    match response.status().is_client_error() {
        true => Verdict::Failed(HttpAnswer::new(response)),
        false => Verdict::Success(HttpAnswer::new(response)),
    }
}

/// Headers that belong to a single response.
const NEVER_REPLAYED: [HeaderName; 2] = [SET_COOKIE, DATE];

fn no_key(error: &NoOldKey) -> NotRun {
    NotRun::Store(StoreError::Unreadable { digest: "the old key".to_owned(), problem: error.to_string() })
}

/// The response for an old function's return value, as API Gateway interprets it: without a `statusCode` it is the body
/// of a 200.
fn response(old: &Value) -> Result<Response<Body>, BoxError> {
    let Some(status) = old.get("statusCode") else {
        let response = Response::builder().header(CONTENT_TYPE, "application/json");
        return Ok(response.body(Body::Text(old.to_string()))?);
    };
    // API Gateway also accepts a string.
    let status = status.as_u64().or_else(|| status.as_str()?.parse().ok()).ok_or("its `statusCode` is not a number")?;
    let mut response = Response::builder().status(StatusCode::from_u16(u16::try_from(status)?)?);
    for (name, values) in
        ["headers", "multiValueHeaders"].iter().filter_map(|name| old.get(*name)?.as_object()).flatten()
    {
        let values = values.as_array().map_or(std::slice::from_ref(values), Vec::as_slice);
        for value in values {
            let text = value.as_str().map_or_else(|| value.to_string(), str::to_owned);
            response = response.header(name.parse::<HeaderName>()?, text.parse::<HeaderValue>()?);
        }
    }
    let body = match old.get("body") {
        None | Some(Value::Null) => Body::Empty,
        Some(Value::String(text)) if old.get("isBase64Encoded") == Some(&Value::Bool(true)) => {
            Body::Binary(STANDARD.decode(text)?)
        }
        Some(Value::String(text)) => Body::Text(text.clone()),
        Some(other) => Body::Text(other.to_string()),
    };
    Ok(response.body(body)?)
}

/// A response as a handler returns it to Lambda, with one value for each header, because replayed headers have only
/// one.
fn proxy_response(response: &Response<Body>) -> Value {
    let header = |(name, value): (&HeaderName, &HeaderValue)| Some((name.to_string(), value.to_str().ok()?.into()));
    let replayed = response.headers().iter().filter(|(name, _)| !NEVER_REPLAYED.contains(name));
    let headers: Map<String, Value> = replayed.filter_map(header).collect();
    let (body, is_base64) = match response.body() {
        Body::Text(text) => (text.clone(), false),
        Body::Empty => (String::new(), false),
        other => (STANDARD.encode(other), true),
    };
    json!({"statusCode": response.status().as_u16(), "headers": headers, "body": body, "isBase64Encoded": is_base64})
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_old_answer_is_read_as_api_gateway_reads_it() {
        let old = json!({"statusCode": 201, "headers": {"Location": "/orders/7", "x-count": 3}, "body": "{\"id\":7}",
                         "multiValueHeaders": {"x-many": ["a", "b"]}, "isBase64Encoded": false});
        let read = response(&old).unwrap();
        assert_eq!(
            (read.status().as_u16(), &read.headers()["location"]),
            (201, &HeaderValue::from_static("/orders/7"))
        );
        assert_eq!(
            (&read.headers()["x-count"], read.headers().get_all("x-many").iter().count()),
            (&HeaderValue::from_static("3"), 2)
        );
        assert_eq!(read.body(), &Body::Text("{\"id\":7}".into()));

        let read = response(&json!({"statusCode": "404", "body": "AP8=", "isBase64Encoded": true})).unwrap();
        assert_eq!((read.status().as_u16(), read.body()), (404, &Body::Binary(vec![0, 255])));

        let read = response(&json!({"id": 7})).unwrap();
        assert_eq!((read.status().as_u16(), read.body()), (200, &Body::Text("{\"id\":7}".into())));
        for unreadable in
            [json!({"statusCode": "no"}), json!({"statusCode": 70_000}), json!({"statusCode": 7, "body": ""})]
        {
            assert!(response(&unreadable).is_err(), "{unreadable}");
        }
    }

    #[test]
    fn what_is_written_for_the_old_function_is_read_back_unchanged() {
        for body in [Body::Text("{\"é\":1}".into()), Body::Binary(vec![0, 255])] {
            let given = Response::builder().status(402).header(CONTENT_TYPE, "application/json").body(body).unwrap();
            let read = response(&proxy_response(&given)).unwrap();
            assert_eq!((read.status(), read.headers(), read.body()), (given.status(), given.headers(), given.body()));
        }
    }
}
