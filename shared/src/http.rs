//! A tower layer that makes an API behind API Gateway idempotent.
//!
//! It reads a request's `Idempotency-Key`, runs the handler under a claim, and answers duplicates from the record, as
//! draft-ietf-httpapi-idempotency-key-header-07 specifies. This table shows the behaviour, also where the draft leaves
//! a choice:
//!
//! | request | response |
//! |---|---|
//! | the first one with its key | the handler's, unchanged |
//! | the same again, later | the same status and bytes, `Idempotency-Replayed: true` |
//! | the same again, while the first runs | waits, then as above; or 409 `in-progress`, `Retry-After` if that would take too long |
//! | another request with the same key | 422 `fingerprint-mismatch` |
//! | one whose outcome is unknown | 503 `outcome-unknown`, `Retry-After` |
//! | without a key, with a malformed one | 400 `missing-key`, `invalid-key` |
//! | with a body that lacks a value by which it is compared | 400 `missing-value` |
//! | without an identified caller | 403 `missing-principal` |
//! | with the store unreachable | 503 `store-unavailable`, `Retry-After`; nothing ran |
//!
//! A duplicate of a running request waits for it by default, for as long as that can help: until the lease of the
//! running request ends, if that is within [`max_wait`](IdempotencyLayer::max_wait) and the function's own time. Then
//! it gets the first one's response, or takes over from an owner that died and reconciles. Therefore set a time limit
//! for each operation that is shorter than the function's: [`Operation::run_within`]. `Prefer: wait=N` (RFC 7240) makes
//! a duplicate wait N seconds instead, within the same bounds, and `Prefer: respond-async` makes it not wait at all.
//!
//! POST and PATCH are protected; PUT and DELETE are [optional](IdempotencyLayer::protect); other methods pass through.
//!
//! A handler gets its attempt from [`Attempt::from_request`](crate::engine::Attempt::from_request), and everything that
//! the layer has already parsed from [`Received::from_request`]. The status of its response determines the [`Verdict`]:
//! 1xx to 3xx mean Success; 4xx mean Failed, except 408, 425 and 429, which mean NotExecuted; 5xx, a panic and a
//! time-out mean Unknown. To choose another verdict, put a `Verdict<()>` into the extensions of the response, as
//! [`Problem::invalid_request`] does.

#[cfg(feature = "axum")]
pub mod axum;
mod body;
mod core;
mod facts;
mod key_source;
#[cfg(feature = "powertools")]
mod predecessor;
mod preference;
mod problem;
mod problem_type;
mod pseudonyms;
mod received;
mod request;
mod response;
mod route;

use std::fmt;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use derive_where::derive_where;
use futures::FutureExt;
use futures::future::BoxFuture;
use http::Method;
use http::header::HeaderName;
use lambda_http::{Body, Request, Response};
use tower::{Layer, Service};

pub use body::ResponseBody;
pub use facts::Facts;
pub use problem::{InvalidField, Problem};
pub use problem_type::ProblemType;
pub use pseudonyms::Pseudonyms;
pub use received::{NotProtected, Received};
#[cfg(feature = "alb")]
pub use request::alb_user;
pub use request::{authorized, everyone, iam_user, jwt_subject};
pub use response::HttpAnswer;
pub use route::{InvalidRoute, Route};

use self::core::Core;
use self::key_source::KeySource;
use self::problem::Contract;
use crate::engine::{Engine, Operation, Verdict};
use crate::protocol::{Compare, Document, Principal, Subject, Uncertain};
use crate::reconcile::{AnyResolver, Resolver};
use crate::store::{BoxError, Store};

/// The draft that this project's HTTP profile follows.
const DRAFT: &str = "https://datatracker.ietf.org/doc/html/draft-ietf-httpapi-idempotency-key-header-07";

/// Makes the wrapped handler idempotent.
#[derive_where(Clone)]
pub struct IdempotencyLayer<S: Store> {
    core: Arc<Core<S>>,
}

impl<S: Store> fmt::Debug for IdempotencyLayer<S> {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_struct("IdempotencyLayer").field("operation", &self.core.operation).finish_non_exhaustive()
    }
}

impl<S: Store> IdempotencyLayer<S> {
    /// Creates a layer on an engine. All its routes share the keys of `namespace`: reusing a key for another path or
    /// method is a mismatch.
    ///
    /// The principal is the subject of the request's JWT ([`jwt_subject`]), otherwise the IAM identity that signed it
    /// ([`iam_user`]), unless [`principal`](Self::principal) sets another.
    pub fn new(engine: Engine<S>, namespace: impl Into<String>) -> Self {
        Self {
            core: Arc::new(Core {
                engine,
                operation: Operation::new(namespace.into(), ""),
                operations: Vec::new(),
                routes: Vec::new(),
                exempt: Vec::new(),
                principal: Arc::new(|request| jwt_subject(request).or_else(|| iam_user(request))),
                missing_principal: "API Gateway passed on no identity of the caller: neither the subject of a JWT nor \
                                    an IAM identity.",
                key: KeySource::IdempotencyKey,
                key_is_optional: false,
                reading: Arc::new(|_, _| {}),
                subject: Arc::new(|_| None),
                facts: Arc::new(|_| Facts::default()),
                pseudonyms: None,
                resolver: None,
                protected: vec![Method::POST, Method::PATCH],
                replayed_headers: response::REPLAYED_HEADERS.to_vec(),
                verdict: Arc::new(|_| None),
                on_replay: None,
                on_refusal: None,
                #[cfg(feature = "powertools")]
                predecessor: None,
                contract: Contract { url: DRAFT.into(), types: None },
                max_body_bytes: 1024 * 1024,
                max_wait: Duration::from_secs(20),
            }),
        }
    }

    /// Sets how an uncertain outcome is handled, on all routes. Default: [`Uncertain::Reconcile`].
    #[must_use]
    pub fn uncertain(self, uncertain: Uncertain) -> Self {
        self.with(|core| core.operation = core.operation.clone().uncertain(uncertain))
    }

    /// Sets the time limit of a run, on all routes; see [`Operation::run_within`]. Default: the function's time-out.
    #[must_use]
    pub fn run_within(self, run_within: Duration) -> Self {
        self.with(|core| core.operation = core.operation.clone().run_within(run_within))
    }

    /// Sets how long an answer is replayed, on all routes. Default: 24 hours.
    #[must_use]
    pub fn retention(self, retention: Duration) -> Self {
        self.with(|core| core.operation = core.operation.clone().retention(retention))
    }

    /// Sets by which part of a JSON body requests are compared, on all routes. Default: its whole value.
    #[must_use]
    pub fn compare(self, compare: Compare) -> Self {
        self.with(|core| core.operation = core.operation.clone().compare(compare))
    }

    /// Sets the operation of the route whose key (`POST /payments`) is its name; the operation keeps its own namespace.
    /// A name that is a valid [`Route`] also becomes one of the layer's [routes](Self::route).
    #[must_use]
    pub fn operation(self, operation: Operation) -> Self {
        self.with(|core| {
            core.routes.extend(Route::new(operation.name()));
            core.operations.push(operation);
        })
    }

    /// Adds a route of the API. The layer needs it for requests for which API Gateway names no route (function URLs,
    /// `$default`) or one that matches any path (`ANY /{proxy+}`). The name of a request's operation is the route that
    /// API Gateway names, otherwise the matching route of the layer, otherwise the method and `$default`.
    ///
    /// The name is never the path: it is a metric dimension and stays in memory, and paths contain ids, so each id
    /// would create another metric.
    #[must_use]
    pub fn route(self, route: Route) -> Self {
        self.with(|core| core.routes.push(route))
    }

    /// Sets how the caller of a request is identified. Default: [`jwt_subject`], otherwise [`iam_user`]. A request
    /// without a principal is answered with 403.
    ///
    /// | the route's authorizer | principal |
    /// |---|---|
    /// | JWT; Cognito in a REST API | the default |
    /// | IAM: HTTP API, REST API, function URL, VPC Lattice | the default |
    /// | sign-in by an Application Load Balancer | `alb_user`, with the feature `alb` |
    /// | Lambda authorizer | <code>[authorized]\("tenant")</code>, a value of its context |
    /// | none | [`everyone`] |
    #[must_use]
    pub fn principal(self, principal: impl Fn(&Request) -> Option<Principal> + Send + Sync + 'static) -> Self {
        self.with(|core| {
            core.principal = Arc::new(principal);
            core.missing_principal = "The request carries no identity that the API accepts.";
        })
    }

    /// Takes the key from another header, whose whole value is the key: `X-GitHub-Delivery`. Default: `Idempotency-Key`
    /// as the draft specifies it.
    #[must_use]
    pub fn key_header(self, name: HeaderName) -> Self {
        self.with(|core| core.key = KeySource::Header(name))
    }

    /// Takes the key from anywhere in the request, such as the id of a webhook's event in its body. The function also
    /// gets the body if that is a JSON document. If the function returns `None`, the request has no key.
    ///
    /// ```
    /// use idempotency::http::{IdempotencyLayer, everyone};
    /// use idempotency::protocol::Pointer;
    /// # use idempotency::{Engine, store::memory::MemoryStore};
    /// # let engine = Engine::builder(MemoryStore::new()).build();
    /// let id = Pointer::new("/id").expect("a pointer");
    /// // A provider's webhook, whose signature the handler checks: events are delivered at least once.
    /// let layer = IdempotencyLayer::new(engine, "webhooks")
    ///     .principal(everyone)
    ///     .key(move |_, body| Some(body?.text_at(&id)?.to_owned()));
    /// ```
    #[must_use]
    pub fn key(self, key: impl Fn(&Request, Option<&Document>) -> Option<String> + Send + Sync + 'static) -> Self {
        self.with(|core| core.key = KeySource::Function(Arc::new(key)))
    }

    /// Runs requests without a key unprotected instead of refusing them, for an API with existing clients. They are
    /// counted as [`Unprotected`](crate::telemetry::metrics::Metric::Unprotected), and a handler finds no
    /// [attempt](crate::engine::Attempt::from_request) in them. A request with an invalid key is still refused.
    #[must_use]
    pub fn key_optional(self) -> Self {
        self.with(|core| core.key_is_optional = true)
    }

    /// Leaves the requests of a route unprotected, whatever their method: a search by POST, for example. The handler
    /// finds no attempt in them.
    #[must_use]
    pub fn exempt(self, route: Route) -> Self {
        self.with(|core| core.exempt.push(route))
    }

    /// Sets the verdict of responses whose status does not determine it. If the function returns `None`, [the
    /// status](self) decides. A verdict that the handler puts into the response's extensions takes precedence.
    #[must_use]
    pub fn verdict(self, verdict: impl Fn(&Response<Body>) -> Option<Verdict<()>> + Send + Sync + 'static) -> Self {
        self.with(|core| core.verdict = Arc::new(verdict))
    }

    /// Sets a function that is called with each replay before it is sent, to change or observe it.
    #[must_use]
    pub fn on_replay(self, change: impl Fn(Response<Body>) -> Response<Body> + Send + Sync + 'static) -> Self {
        self.with(|core| core.on_replay = Some(Arc::new(change)))
    }

    /// Sets a function that is called with each response that the layer makes itself, to change or replace it. It gets
    /// the type of the problem, such as [`ProblemType::IN_PROGRESS`], and the response with its status, `Retry-After`
    /// and problem document.
    #[must_use]
    pub fn on_refusal(
        self,
        change: impl Fn(&ProblemType, Response<Body>) -> Response<Body> + Send + Sync + 'static,
    ) -> Self {
        self.with(|core| core.on_refusal = Some(Arc::new(change)))
    }

    /// Converts a request once into a type of the application: the value is put into the extensions of the request, for
    /// the [subject](Self::subject) function and the handler. The function gets everything that the layer has
    /// [received](Received), such as the parsed body. If the conversion can fail, use a type such as `Result`; if it
    /// returns no value, the extensions stay as they are.
    #[must_use]
    pub fn reading<T: Clone + Send + Sync + 'static>(
        self,
        reading: impl Fn(&Request, &Received) -> Option<T> + Send + Sync + 'static,
    ) -> Self {
        let reading = move |request: &mut Request, received: &Received| {
            if let Some(content) = reading(request, received) {
                request.extensions_mut().insert(content);
            }
        };
        self.with(|core| core.reading = Arc::new(reading))
    }

    /// Sets the function that returns a request's subject: the data needed to reconcile it without the request itself.
    /// Default: none.
    ///
    /// The function is called before the request is claimed. A request for which it returns `None` has no subject.
    #[must_use]
    pub fn subject(self, subject: impl Fn(&Request) -> Option<Subject> + Send + Sync + 'static) -> Self {
        self.with(|core| core.subject = Arc::new(subject))
    }

    /// Adds pseudonyms to the request log, which show who sent a request and what it is about: the fields `who`,
    /// `about`, `instrument`, `small` and `code` (see [`Facts`]), and `record_id`, the whole id of its record. Default:
    /// none, and no log line has these fields.
    ///
    /// The fields are for programs that look for unusual retries, such as this project's `retry-signals`. No log line
    /// ever shows a key, a principal or a body.
    #[must_use]
    pub fn pseudonyms(self, pseudonyms: Pseudonyms) -> Self {
        self.with(|core| core.pseudonyms = Some(pseudonyms))
    }

    /// Sets the function that returns what a request is about, for its log line with [`pseudonyms`](Self::pseudonyms).
    /// Default: no facts.
    ///
    /// The function is called before the request is claimed, so that retries and refusals have facts as well. A handler
    /// adds what only a run can know; see [`Facts`].
    #[must_use]
    pub fn facts(self, facts: impl Fn(&Request) -> Facts + Send + Sync + 'static) -> Self {
        self.with(|core| core.facts = Arc::new(facts))
    }

    /// Looks for evidence when a client retries a request with an unknown outcome. Without a resolver, the response is
    /// `outcome-unknown` until the record has been reconciled in another way.
    #[must_use]
    pub fn resolver(self, resolver: impl Resolver<S::Effect, HttpAnswer> + 'static) -> Self {
        self.with(|core| core.resolver = Some(AnyResolver::new(resolver)))
    }

    /// Also protects another method: PUT or DELETE.
    #[must_use]
    pub fn protect(self, method: Method) -> Self {
        self.with(|core| core.protected.push(method))
    }

    /// Also replays this header of the response. Do not name a header that belongs to a single response, such as
    /// Set-Cookie, Date or a trace id.
    #[must_use]
    pub fn replay_header(self, name: HeaderName) -> Self {
        self.with(|core| core.replayed_headers.push(name))
    }

    /// Sets the URL of this API's published contract, absolute or relative to the request. It is the `Link` of each
    /// problem, and `URL#code` is the problem's type unless [`problem_types`](Self::problem_types) sets another. The
    /// page `docs/http.md` of this project has a heading for each code. Default: the draft, which has no such headings;
    /// publish a contract, as the draft requires.
    #[must_use]
    pub fn contract(self, url: impl Into<String>) -> Self {
        self.with(|core| core.contract.url = url.into())
    }

    /// Sets the address under which the API serves a page for each type of problem: `ADDRESS/code` is the type of a
    /// problem. [`ProblemType`] contains the text of such a page. Default: sections of the [contract](Self::contract).
    #[must_use]
    pub fn problem_types(self, address: impl Into<String>) -> Self {
        self.with(|core| core.contract.types = Some(address.into()))
    }

    /// Sets the maximum length of a body in bytes, after decoding; a longer one is answered with 413. Default: 1 MiB.
    #[must_use]
    pub fn max_body_bytes(self, max_body_bytes: usize) -> Self {
        self.with(|core| core.max_body_bytes = max_body_bytes)
    }

    /// Sets the longest time that a duplicate waits for the running request. Default: 20 s. The wait also ends early
    /// enough for the duplicate to [run](Operation::run_within) itself before the function's deadline.
    ///
    /// If the lease of the running request is longer, a duplicate is answered at once, unless its client sends
    /// `Prefer: wait=N`. A waiting sandbox serves no other request, and Lambda bills its time; with zero, no request
    /// waits.
    #[must_use]
    pub fn max_wait(self, max_wait: Duration) -> Self {
        self.with(|core| core.max_wait = max_wait)
    }

    fn with(mut self, change: impl FnOnce(&mut Core<S>)) -> Self {
        change(Arc::make_mut(&mut self.core));
        self
    }
}

impl<S: Store, H> Layer<H> for IdempotencyLayer<S> {
    type Service = Idempotency<S, H>;

    fn layer(&self, handler: H) -> Self::Service {
        Idempotency { core: Arc::clone(&self.core), handler }
    }
}

/// A handler wrapped by an [`IdempotencyLayer`].
#[derive_where(Clone; H)]
pub struct Idempotency<S: Store, H> {
    core: Arc<Core<S>>,
    handler: H,
}

impl<S: Store, H: fmt::Debug> fmt::Debug for Idempotency<S, H> {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter
            .debug_struct("Idempotency")
            .field("operation", &self.core.operation)
            .field("handler", &self.handler)
            .finish_non_exhaustive()
    }
}

impl<S: Store, H: Clone> Idempotency<S, H> {
    /// The core, and the handler that was polled ready, for this call. A fresh clone replaces the handler for the next
    /// call.
    fn parts_for_a_call(&mut self) -> (Arc<Core<S>>, H) {
        let fresh = self.handler.clone();
        (Arc::clone(&self.core), std::mem::replace(&mut self.handler, fresh))
    }
}

impl<S, H, B> Service<Request> for Idempotency<S, H>
where
    S: Store,
    H: Service<Request, Response = Response<B>> + Clone + Send + 'static,
    H::Error: Into<BoxError> + Send,
    H::Future: Send,
    B: ResponseBody,
{
    type Response = Response<Body>;
    type Error = H::Error;
    type Future = BoxFuture<'static, Result<Response<Body>, H::Error>>;

    fn poll_ready(&mut self, context: &mut Context<'_>) -> Poll<Result<(), H::Error>> {
        self.handler.poll_ready(context)
    }

    fn call(&mut self, request: Request) -> Self::Future {
        let (core, handler) = self.parts_for_a_call();
        async move {
            let response = core.serve(request, handler).await;
            core.engine.flush();
            response
        }
        .boxed()
    }
}

#[cfg(test)]
mod tests;
