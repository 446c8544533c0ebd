//! A tower layer that makes an API behind API Gateway idempotent.
//!
//! It reads the `Idempotency-Key` of a request, runs the handler under a claim, and answers duplicates from the
//! record, as draft-ietf-httpapi-idempotency-key-header-07 asks and where it leaves a choice, as the table says:
//!
//! | request | answer |
//! |---|---|
//! | the first under its key | the handler's, unchanged |
//! | the same again, later | the same status and bytes, `Idempotency-Replayed: true` |
//! | the same again, meanwhile | 409 `in-progress`, `Retry-After` |
//! | the same again, meanwhile, with `Prefer: wait=N` | as soon as the first has ended, its answer; else as before |
//! | another under the same key | 422 `fingerprint-mismatch` |
//! | one whose outcome is not known | 409 `outcome-unknown`, `Retry-After` |
//! | without a key, with a malformed one | 400 `missing-key`, `invalid-key` |
//! | whose body lacks a value by which it is compared | 400 `missing-value` |
//! | of nobody | 403 `missing-principal` |
//! | with the store unreachable | 503 `store-unavailable`, `Retry-After`; nothing ran |
//!
//! POST and PATCH are protected; PUT and DELETE by [choice](IdempotencyLayer::protect); the others pass through.
//!
//! A handler finds its [`Attempt`](crate::engine::Attempt) in the extensions of the request. What its status means
//! is told by [`Verdict`]'s states: 1xx to 3xx Success; 4xx Failed, but 408, 425 and 429
//! NotExecuted; 5xx, a panic and a time-out Unknown. It says otherwise by putting a `Verdict<()>` into the
//! extensions of its response; [`Problem::invalid_request`] does so.

mod problem;
mod request;
mod resolver;
mod response;
mod route;

use std::fmt;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use futures::FutureExt;
use futures::future::BoxFuture;
use http::Method;
use http::header::HeaderName;
use lambda_http::{Body, Request, RequestExt, Response};
use tower::{Layer, Service};

pub use problem::{InvalidField, Problem};
pub use request::{iam_user, jwt_subject};
pub use response::HttpAnswer;
pub use route::{InvalidRoute, Route};

use crate::engine::{Call, Engine, Error, Operation, Outcome, Verdict, timed};
use crate::protocol::{Compare, EpochMs, InvocationId, Principal, Subject, Uncertain};
use crate::reconcile::Resolver;
use crate::store::{BoxError, Store};
use crate::telemetry::metrics::Metric;
use crate::telemetry::request_log::{LogOutcome, LogSummary, RequestLog};
use crate::telemetry::span::Span;
use problem::Code;
use request::KeyError;
use resolver::AnyResolver;

/// Makes the handlers below it idempotent.
pub struct IdempotencyLayer<S: Store> {
    settings: Arc<Settings<S>>,
}

impl<S: Store> fmt::Debug for IdempotencyLayer<S> {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_struct("IdempotencyLayer").field("operation", &self.settings.operation).finish_non_exhaustive()
    }
}

/// Reads who asks from a request.
type PrincipalOf = Arc<dyn Fn(&Request) -> Option<Principal> + Send + Sync>;

/// Reads what it is about from a request.
type SubjectOf = Arc<dyn Fn(&Request) -> Option<Subject> + Send + Sync>;

struct Settings<S: Store> {
    engine: Engine<S>,
    operation: Operation,
    operations: Vec<Operation>,
    /// Those that the application named, and those of its operations.
    routes: Vec<Route>,
    principal: PrincipalOf,
    subject: SubjectOf,
    resolver: Option<AnyResolver<S::Effect>>,
    protected: Vec<Method>,
    replayed_headers: Vec<HeaderName>,
    contract: String,
    max_body_bytes: usize,
    max_wait: Duration,
}

impl<S: Store> Clone for Settings<S> {
    fn clone(&self) -> Self {
        Self {
            engine: self.engine.clone(),
            operation: self.operation.clone(),
            operations: self.operations.clone(),
            routes: self.routes.clone(),
            principal: Arc::clone(&self.principal),
            subject: Arc::clone(&self.subject),
            resolver: self.resolver.clone(),
            protected: self.protected.clone(),
            replayed_headers: self.replayed_headers.clone(),
            contract: self.contract.clone(),
            max_body_bytes: self.max_body_bytes,
            max_wait: self.max_wait,
        }
    }
}

impl<S: Store> Clone for IdempotencyLayer<S> {
    fn clone(&self) -> Self {
        Self { settings: Arc::clone(&self.settings) }
    }
}

impl<S: Store> IdempotencyLayer<S> {
    /// A layer on an engine. All its routes share the keys of `namespace`: a key used for another path or method
    /// is a mismatch.
    ///
    /// The principal is the subject of the request's JWT ([`jwt_subject`]).
    pub fn new(engine: Engine<S>, namespace: impl Into<String>) -> Self {
        Self {
            settings: Arc::new(Settings {
                engine,
                operation: Operation::new(namespace.into(), ""),
                operations: Vec::new(),
                routes: Vec::new(),
                principal: Arc::new(jwt_subject),
                subject: Arc::new(|_| None),
                resolver: None,
                protected: vec![Method::POST, Method::PATCH],
                replayed_headers: response::REPLAYED_HEADERS.to_vec(),
                contract: "https://datatracker.ietf.org/doc/html/draft-ietf-httpapi-idempotency-key-header-07".into(),
                max_body_bytes: 1024 * 1024,
                max_wait: Duration::from_secs(20),
            }),
        }
    }

    /// What an uncertain outcome means for all routes. Default: [`Uncertain::Reconcile`].
    #[must_use]
    pub fn uncertain(self, uncertain: Uncertain) -> Self {
        self.with(|settings| settings.operation = settings.operation.clone().uncertain(uncertain))
    }

    /// How long an answer is replayed, on all routes. Default: 24 hours.
    #[must_use]
    pub fn retention(self, retention: Duration) -> Self {
        self.with(|settings| settings.operation = settings.operation.clone().retention(retention))
    }

    /// What of a JSON body makes two requests the same, on all routes. Default: its value.
    #[must_use]
    pub fn compare(self, compare: Compare) -> Self {
        self.with(|settings| settings.operation = settings.operation.clone().compare(compare))
    }

    /// Settings for the route whose key (`POST /payments`) is the operation's name. Its namespace is its own. A name that
    /// is a [`Route`] is one of the layer's [routes](Self::route), too.
    #[must_use]
    pub fn operation(self, operation: Operation) -> Self {
        self.with(|settings| {
            settings.routes.extend(Route::new(operation.name()));
            settings.operations.push(operation);
        })
    }

    /// A route of the API, for where API Gateway names none or one that stands for any path: behind the URL of a function,
    /// `$default` and `ANY /{proxy+}`. The name of a request's operation is that of the route that API Gateway names, or
    /// else of the layer's route that matches, or else `$default` behind its method.
    ///
    /// It is never the path. The name is a dimension of metrics and stays in memory, and paths hold ids: each would make a
    /// metric of its own.
    #[must_use]
    pub fn route(self, route: Route) -> Self {
        self.with(|settings| settings.routes.push(route))
    }

    /// Who asks. Default: [`jwt_subject`]. A request of nobody is answered with 403.
    #[must_use]
    pub fn principal(self, principal: impl Fn(&Request) -> Option<Principal> + Send + Sync + 'static) -> Self {
        self.with(|settings| settings.principal = Arc::new(principal))
    }

    /// What a request is about, for whoever has to reconcile it without the request at hand. Default: nothing.
    ///
    /// It is called before anything is checked but the key; a request that it cannot read has no subject.
    #[must_use]
    pub fn subject(self, subject: impl Fn(&Request) -> Option<Subject> + Send + Sync + 'static) -> Self {
        self.with(|settings| settings.subject = Arc::new(subject))
    }

    /// Who looks for evidence when a client repeats a request whose outcome is not known. Without one, the client is
    /// told `outcome-unknown` until somebody else has reconciled it.
    #[must_use]
    pub fn resolver(self, resolver: impl Resolver<S::Effect, HttpAnswer> + 'static) -> Self {
        self.with(|settings| settings.resolver = Some(AnyResolver::new(resolver)))
    }

    /// Protects a further method, PUT or DELETE.
    #[must_use]
    pub fn protect(self, method: Method) -> Self {
        self.with(|settings| settings.protected.push(method))
    }

    /// Replays a further header of the response. Do not name one that belongs to a single answer, such as
    /// Set-Cookie, Date or a trace id.
    #[must_use]
    pub fn replay_header(self, name: HeaderName) -> Self {
        self.with(|settings| settings.replayed_headers.push(name))
    }

    /// Where the contract of this API is published: the `Link` of a problem, and its type, which is `URL#code`. The page
    /// `docs/http.md` of this project has a heading for each code. Default: the draft, where there are none; publish your
    /// own, as the draft asks.
    #[must_use]
    pub fn contract(self, url: impl Into<String>) -> Self {
        self.with(|settings| settings.contract = url.into())
    }

    /// The longest body that is accepted, decoded; a longer one is answered with 413. Default: 1 MiB.
    #[must_use]
    pub fn max_body_bytes(self, max_body_bytes: usize) -> Self {
        self.with(|settings| settings.max_body_bytes = max_body_bytes)
    }

    /// The longest time that a duplicate waits for the running request if its client asks for it (`Prefer: wait=N`).
    /// Default: 20 s. It ends in any case before the deadline of the function.
    ///
    /// A sandbox that waits serves nobody else; with zero, no request waits.
    #[must_use]
    pub fn max_wait(self, max_wait: Duration) -> Self {
        self.with(|settings| settings.max_wait = max_wait)
    }

    fn with(mut self, change: impl FnOnce(&mut Settings<S>)) -> Self {
        change(Arc::make_mut(&mut self.settings));
        self
    }
}

impl<S: Store, H> Layer<H> for IdempotencyLayer<S> {
    type Service = Idempotency<S, H>;

    fn layer(&self, handler: H) -> Self::Service {
        Idempotency { settings: Arc::clone(&self.settings), handler }
    }
}

/// The service that [`IdempotencyLayer`] makes of a handler.
pub struct Idempotency<S: Store, H> {
    settings: Arc<Settings<S>>,
    handler: H,
}

impl<S: Store, H: fmt::Debug> fmt::Debug for Idempotency<S, H> {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter
            .debug_struct("Idempotency")
            .field("operation", &self.settings.operation)
            .field("handler", &self.handler)
            .finish_non_exhaustive()
    }
}

impl<S: Store, H: Clone> Clone for Idempotency<S, H> {
    fn clone(&self) -> Self {
        Self { settings: Arc::clone(&self.settings), handler: self.handler.clone() }
    }
}

impl<S, H> Service<Request> for Idempotency<S, H>
where
    S: Store,
    H: Service<Request, Response = Response<Body>> + Clone + Send + 'static,
    H::Error: Into<BoxError> + Send,
    H::Future: Send,
{
    type Response = Response<Body>;
    type Error = H::Error;
    type Future = BoxFuture<'static, Result<Response<Body>, H::Error>>;

    fn poll_ready(&mut self, context: &mut Context<'_>) -> Poll<Result<(), H::Error>> {
        self.handler.poll_ready(context)
    }

    fn call(&mut self, request: Request) -> Self::Future {
        let settings = Arc::clone(&self.settings);
        // The handler that was polled ready answers; a fresh clone waits for the next request.
        let fresh = self.handler.clone();
        let mut handler = std::mem::replace(&mut self.handler, fresh);
        async move {
            let response = if settings.protected.contains(request.method()) {
                Ok(settings.answer(request, handler).await)
            } else {
                handler.call(request).await
            };
            settings.engine.flush();
            response
        }
        .boxed()
    }
}

impl<S: Store> Settings<S> {
    async fn answer<H>(&self, request: Request, mut handler: H) -> Response<Body>
    where
        H: Service<Request, Response = Response<Body>>,
        H::Error: Into<BoxError>,
    {
        let started = self.engine.now();
        let call = match self.call(&request) {
            Ok(call) => call,
            Err(code) => return self.refuse_unread(&request, code),
        };
        let wait = self.wait(&request, &call);
        let span = Span::request(call.operation().name(), call.trace());
        let trace = span.trace().or(call.trace());
        let call = call.wait(wait).traced(trace);
        let (record, operation) = (call.record_id(), call.operation().name().to_owned());
        let run = |attempt| async move {
            let mut request = request;
            request.extensions_mut().insert(attempt);
            match handler.call(request).await {
                Ok(response) => response::verdict(response, &self.replayed_headers),
                Err(error) => Verdict::Unknown(error.into().into()),
            }
        };
        let (outcome, timings) = match &self.resolver {
            Some(resolver) => span.of(timed(self.engine.run_or_reconcile(&call, run, resolver))).await,
            None => span.of(timed(self.engine.run(&call, run))).await,
        };
        let summary = LogSummary::of(&outcome);
        let response = self.respond(outcome, wait);
        let line = RequestLog {
            operation: &operation,
            record: Some(record.digest()),
            status: Some(response.status().as_u16()),
            trace,
            summary,
            timings,
            total: self.engine.now().since(started),
            ..RequestLog::default()
        };
        line.write();
        response
    }

    /// A request that is wrong before its key is looked at. Its code is its outcome.
    fn refuse_unread(&self, request: &Request, code: Code) -> Response<Body> {
        let summary = LogSummary::new(LogOutcome::Problem(code.name()));
        let response = self.refuse(code);
        let line = RequestLog {
            operation: &self.name(request),
            status: Some(response.status().as_u16()),
            trace: request::trace(request),
            summary,
            ..RequestLog::default()
        };
        line.write();
        response
    }

    /// The name of the operation; see [`IdempotencyLayer::route`].
    fn name(&self, request: &Request) -> String {
        let named = request::route(request);
        if let Some(key) = named.as_ref().filter(|key| !route::is_open(key)) {
            return key.clone();
        }
        let find = |path| route::find(&self.routes, request.method(), path);
        let found = find(request::path(request)).or_else(|| request::path_behind_stage(request).and_then(find));
        match found {
            Some(route) => route.as_str().to_owned(),
            None => named.unwrap_or_else(|| format!("{} $default", request.method())),
        }
    }

    /// Reads a request as a call. Whatever is wrong with it is found before anything is stored.
    fn call(&self, request: &Request) -> Result<Call, Code> {
        let name = self.name(request);
        let principal = (self.principal)(request).ok_or(Code::MissingPrincipal)?;
        if request.body().len() > self.max_body_bytes {
            return Err(Code::ContentTooLarge { max_bytes: self.max_body_bytes });
        }
        let key = request::key(request.headers()).map_err(|error| {
            let (metric, code) = match error {
                KeyError::Missing => (Metric::MissingKey, Code::MissingKey),
                KeyError::Invalid(reason) => (Metric::InvalidKey, Code::InvalidKey(reason)),
            };
            self.engine.metrics().count(metric, &name);
            code
        })?;
        let operation = match self.operations.iter().find(|operation| operation.name() == name) {
            Some(operation) => operation.clone(),
            None => self.operation.clone().named(name),
        };
        let context = request.lambda_context_ref();
        let deadline = context.map_or_else(
            // Outside of Lambda there is no deadline; a lease must end all the same.
            || self.engine.now().plus(Duration::from_secs(30)),
            |context| EpochMs(context.deadline),
        );
        let fingerprint = request::fingerprint(request, &operation.compare)
            .map_err(|reason| Code::MissingValue(reason.to_string()))?;
        Ok(Call::new(operation, principal, key, fingerprint, deadline)
            .about((self.subject)(request))
            .requested_by(context.and_then(|context| InvocationId::parse(&context.request_id)))
            .traced(request::trace(request)))
    }

    /// How long the request is prepared to wait for a running one, in whole seconds, as far as there is time.
    fn wait(&self, request: &Request, call: &Call) -> Duration {
        let asked = request::wait(request.headers()).unwrap_or_default();
        let longest = self.max_wait.min(self.engine.longest_wait(call.deadline()));
        Duration::from_secs(asked.min(longest).as_secs())
    }

    fn respond(&self, outcome: Result<Outcome<HttpAnswer>, Error>, wait: Duration) -> Response<Body> {
        match outcome {
            Ok(Outcome::Executed(answered)) => answered.answer.into_first(),
            Ok(Outcome::NotExecuted(answer)) => answer.into_first(),
            Ok(Outcome::Replayed(answered)) => response::waited(answered.answer.into_replay(), wait),
            Ok(Outcome::InProgress { retry_after }) => {
                response::waited(self.refuse(Code::InProgress { retry_after }), wait)
            }
            // Nothing asks under a claim what the refusal of an effect means; if it did, that would be another request, too.
            Ok(Outcome::Mismatch | Outcome::Conflict) => self.refuse(Code::FingerprintMismatch),
            Ok(Outcome::Unknown { retry_after, .. }) => self.refuse(Code::OutcomeUnknown { retry_after }),
            Err(error) => self.refuse(Code::of_error(&error)),
        }
    }

    fn refuse(&self, code: Code) -> Response<Body> {
        code.problem(&self.contract).into_response()
    }
}

#[cfg(test)]
mod tests;
