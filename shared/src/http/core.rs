//! The layer's core: reads a request, runs the handler under a claim and makes the response.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use http::Method;
use http::header::HeaderName;
use lambda_http::{Body, Request, RequestExt, Response};
use tower::Service;

use super::facts::Facts;
use super::preference::Preference;
use super::problem::{Code, Contract};
use super::pseudonyms::Pseudonyms;
use super::received::Received;
use super::request::{self, KeyError};
use super::resolver::AnyResolver;
use super::response::{self, HttpAnswer};
use super::route::{self, Route};
use crate::engine::{Call, Engine, Error, Operation, Outcome, Verdict, timed};
use crate::protocol::{EpochMs, InvocationId, Principal, PrincipalDigest, Subject};
use crate::store::{BoxError, Store};
use crate::telemetry::metrics::Metric;
use crate::telemetry::request_log::{LogOutcome, LogSummary, Named, RequestLog};
use crate::telemetry::span::Span;

/// Identifies the caller of a request.
type PrincipalOf = Arc<dyn Fn(&Request) -> Option<Principal> + Send + Sync>;

/// Converts a request into a type of the application, stored in its extensions.
type Reading = Arc<dyn Fn(&mut Request, &Received) + Send + Sync>;

/// Returns the subject of a request.
type SubjectOf = Arc<dyn Fn(&Request) -> Option<Subject> + Send + Sync>;

/// Returns what a request is about, for its line in the log.
type FactsOf = Arc<dyn Fn(&Request) -> Facts + Send + Sync>;

/// The settings of a layer, which handle its requests.
pub(super) struct Core<S: Store> {
    pub(super) engine: Engine<S>,
    pub(super) operation: Operation,
    pub(super) operations: Vec<Operation>,
    /// The routes that the application added, and those of its operations.
    pub(super) routes: Vec<Route>,
    pub(super) principal: PrincipalOf,
    pub(super) reading: Reading,
    pub(super) subject: SubjectOf,
    pub(super) facts: FactsOf,
    /// `None`: lines name nobody.
    pub(super) pseudonyms: Option<Pseudonyms>,
    pub(super) resolver: Option<AnyResolver<S::Effect>>,
    pub(super) protected: Vec<Method>,
    pub(super) replayed_headers: Vec<HeaderName>,
    pub(super) contract: Contract,
    pub(super) max_body_bytes: usize,
    pub(super) max_wait: Duration,
}

impl<S: Store> Clone for Core<S> {
    fn clone(&self) -> Self {
        Self {
            engine: self.engine.clone(),
            operation: self.operation.clone(),
            operations: self.operations.clone(),
            routes: self.routes.clone(),
            principal: Arc::clone(&self.principal),
            reading: Arc::clone(&self.reading),
            subject: Arc::clone(&self.subject),
            facts: Arc::clone(&self.facts),
            pseudonyms: self.pseudonyms.clone(),
            resolver: self.resolver.clone(),
            protected: self.protected.clone(),
            replayed_headers: self.replayed_headers.clone(),
            contract: self.contract.clone(),
            max_body_bytes: self.max_body_bytes,
            max_wait: self.max_wait,
        }
    }
}

impl<S: Store> Core<S> {
    /// Answers a request of a protected method.
    pub(super) async fn answer<H>(&self, mut request: Request, handler: H) -> Response<Body>
    where
        H: Service<Request, Response = Response<Body>>,
        H::Error: Into<BoxError>,
    {
        let started = self.engine.now();
        let call = match self.call(&mut request) {
            Ok(call) => call,
            Err(code) => return self.refuse_unread(&request, code),
        };
        let preference = self.preference(&request, &call);
        let span = Span::request(call.operation().name(), call.trace());
        let trace = span.trace().or(call.trace());
        let call = preference.apply(call, self.max_wait).traced(trace);
        let (record, operation) = (call.record_id(), call.operation().name().to_owned());
        let facts = self.pseudonyms.as_ref().map(|_| (self.facts)(&request)).unwrap_or_default();
        let ran = AtomicBool::new(false);
        let run = |attempt| async {
            ran.store(true, Ordering::Relaxed);
            let (mut request, mut handler) = (request, handler);
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
        let summary = LogSummary::of(&outcome, self.engine.now());
        let response = self.respond(outcome, preference);
        let line = RequestLog {
            operation: &operation,
            record: Some(record.digest()),
            status: Some(response.status().as_u16()),
            ran: Some(ran.into_inner()),
            named: self.named(|| Some(call.principal()), facts.with(response.extensions())).of_record(&record),
            trace,
            summary,
            timings,
            total: self.engine.now().since(started),
            ..RequestLog::default()
        };
        line.write();
        response
    }

    /// Refuses an invalid request. The problem's code is its outcome in the log.
    fn refuse_unread(&self, request: &Request, code: Code) -> Response<Body> {
        let summary = LogSummary::new(LogOutcome::Problem(code.name()));
        let response = self.refuse(code);
        let line = RequestLog {
            operation: &self.name(request),
            status: Some(response.status().as_u16()),
            ran: Some(false),
            named: self.named(|| (self.principal)(request).map(|principal| principal.digest()), Facts::default()),
            trace: request::trace(request),
            summary,
            ..RequestLog::default()
        };
        line.write();
        response
    }

    /// What the line says by pseudonyms.
    fn named(&self, principal: impl FnOnce() -> Option<PrincipalDigest>, facts: Facts) -> Named {
        self.pseudonyms.as_ref().map(|pseudonyms| pseudonyms.name(principal(), &facts)).unwrap_or_default()
    }

    /// The name of the operation; see [`IdempotencyLayer::route`](super::IdempotencyLayer::route).
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

    /// Parses a request into a call, once for all later uses. An invalid request is refused before anything is stored.
    fn call(&self, request: &mut Request) -> Result<Call, Code> {
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
            // There is no deadline outside of Lambda, but a lease must end.
            || self.engine.now().plus(Duration::from_secs(30)),
            |context| EpochMs(context.deadline),
        );
        let invocation = context.and_then(|context| InvocationId::parse(&context.request_id));
        let document = request::document(request);
        let fingerprint = request::fingerprint(request, document.as_ref(), &operation.compare)
            .map_err(|reason| Code::MissingValue(reason.to_string()))?;
        let received = Received::new(request, operation.name(), principal.digest(), document);
        (self.reading)(request, &received);
        request.extensions_mut().insert(received);
        Ok(Call::new(operation, principal, key, fingerprint, deadline)
            .about((self.subject)(request))
            .requested_by(invocation)
            .traced(request::trace(request)))
    }

    /// The client's preference, limited by the layer's setting and by the time left.
    fn preference(&self, request: &Request, call: &Call) -> Preference {
        let left = self.engine.wait_by(call.operation(), call.deadline()).since(self.engine.now());
        Preference::of(request.headers()).within(self.max_wait.min(left))
    }

    fn respond(&self, outcome: Result<Outcome<HttpAnswer>, Error>, preference: Preference) -> Response<Body> {
        match outcome {
            Ok(Outcome::Executed(answered)) => answered.answer.into_first(),
            Ok(Outcome::NotExecuted(answer)) => answer.into_first(),
            Ok(Outcome::Replayed(answered)) => preference.report(answered.answer.into_replay()),
            Ok(Outcome::InProgress { retry_after }) => preference.report(self.refuse(Code::InProgress { retry_after })),
            // Under a claim, no refused effect is interpreted as a conflict. If one were, it too would concern another
            // request.
            Ok(Outcome::Mismatch | Outcome::Conflict) => self.refuse(Code::FingerprintMismatch),
            Ok(Outcome::Unknown { retry_after, .. }) => self.refuse(Code::OutcomeUnknown { retry_after }),
            Err(error) => self.refuse(Code::of_error(&error)),
        }
    }

    fn refuse(&self, code: Code) -> Response<Body> {
        code.problem(&self.contract).into_response()
    }
}
