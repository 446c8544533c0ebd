//! The layer's core: reads a request, runs the handler under a claim and makes the response.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Once};
use std::time::Duration;

use derive_where::derive_where;
use http::header::HeaderName;
use http::{Method, StatusCode};
use lambda_http::{Body, Request, RequestExt, Response};
use tower::Service;

use super::body::ResponseBody;
use super::facts::Facts;
use super::key_source::KeySource;
#[cfg(feature = "powertools")]
use super::predecessor::{AnyPredecessor, held};
use super::preference::Preference;
use super::problem::{Contract, Problem, Refusal};
use super::problem_type::ProblemType;
use super::pseudonyms::Pseudonyms;
use super::received::Received;
use super::request::{self, KeyError};
use super::response::{self, HttpAnswer};
use super::route::{self, Route};
use crate::engine::{Attempt, Call, Engine, Error, Operation, Outcome, Verdict, timed};
#[cfg(feature = "powertools")]
use crate::mutex::Mutex;
use crate::protocol::{EpochMs, InvocationId, Principal, PrincipalDigest, Subject};
use crate::reconcile::AnyResolver;
#[cfg(feature = "powertools")]
use crate::store::dynamodb::powertools::Aside;
use crate::store::{BoxError, Store};
use crate::telemetry::metrics::Metric;
use crate::telemetry::request_log::{LogOutcome, LogSummary, Named, RequestLog};
use crate::telemetry::span::Span;

/// Identifies the caller of a request.
type PrincipalOf = Arc<dyn Fn(&Request) -> Option<Principal> + Send + Sync>;

/// Converts a request into a type of the application, stored in its extensions.
type Reading = Arc<dyn Fn(&mut Request, &Received) + Send + Sync>;

/// Returns the verdict of a response whose status does not determine it.
type VerdictOf = Arc<dyn Fn(&Response<Body>) -> Option<Verdict<()>> + Send + Sync>;

/// Changes or replaces a response.
pub(super) type Change = Arc<dyn Fn(Response<Body>) -> Response<Body> + Send + Sync>;

/// Changes or replaces the layer's own response of a type.
pub(super) type ChangeRefusal = Arc<dyn Fn(&ProblemType, Response<Body>) -> Response<Body> + Send + Sync>;

/// Returns the subject of a request.
type SubjectOf = Arc<dyn Fn(&Request) -> Option<Subject> + Send + Sync>;

/// Returns what a request is about, for its log line.
type FactsOf = Arc<dyn Fn(&Request) -> Facts + Send + Sync>;

/// The settings of a layer, which handle its requests.
#[derive_where(Clone)]
pub(super) struct Core<S: Store> {
    pub(super) engine: Engine<S>,
    pub(super) operation: Operation,
    pub(super) operations: Vec<Operation>,
    /// The routes that the application added, and those of its operations.
    pub(super) routes: Vec<Route>,
    /// The routes that are not protected.
    pub(super) exempt: Vec<Route>,
    pub(super) principal: PrincipalOf,
    /// The text for a request without a principal.
    pub(super) missing_principal: &'static str,
    pub(super) key: KeySource,
    /// Whether a request without a key runs unprotected.
    pub(super) key_is_optional: bool,
    pub(super) reading: Reading,
    pub(super) subject: SubjectOf,
    pub(super) facts: FactsOf,
    /// `None` if log lines have no pseudonyms.
    pub(super) pseudonyms: Option<Pseudonyms>,
    pub(super) resolver: Option<AnyResolver<S::Effect, HttpAnswer>>,
    pub(super) protected: Vec<Method>,
    pub(super) replayed_headers: Vec<HeaderName>,
    pub(super) verdict: VerdictOf,
    pub(super) on_replay: Option<Change>,
    pub(super) on_refusal: Option<ChangeRefusal>,
    /// The Powertools function that this function replaces.
    #[cfg(feature = "powertools")]
    pub(super) predecessor: Option<AnyPredecessor<S::Effect>>,
    pub(super) contract: Contract,
    pub(super) max_body_bytes: usize,
    pub(super) max_wait: Duration,
}

impl<S: Store> Core<S> {
    /// Answers a request, under a claim if it is protected.
    pub(super) async fn serve<H, B>(&self, mut request: Request, mut handler: H) -> Result<Response<Body>, H::Error>
    where
        H: Service<Request, Response = Response<B>>,
        H::Error: Into<BoxError>,
        B: ResponseBody,
    {
        let call = match self.protects(&request) {
            true => match self.call(&mut request) {
                Ok(call) => call,
                Err(refusal) => return Ok(self.refuse_unread(&request, refusal)),
            },
            false => None,
        };
        match call {
            Some(call) => Ok(self.run(call, request, handler).await),
            None => Ok(whole(handler.call(request).await?).await.unwrap_or_else(cut_off)),
        }
    }

    /// Whether this request's method and route are protected.
    fn protects(&self, request: &Request) -> bool {
        self.protected.contains(request.method()) && self.find(&self.exempt, request).is_none()
    }

    async fn run<H, B>(&self, call: Call, request: Request, handler: H) -> Response<Body>
    where
        H: Service<Request, Response = Response<B>>,
        H::Error: Into<BoxError>,
        B: ResponseBody,
    {
        let started = self.engine.now();
        let preference = self.preference(&request, &call);
        let span = Span::request(call.operation().name(), call.trace);
        let trace = span.trace().or(call.trace);
        let call = preference.apply(call, self.max_wait).traced(trace);
        let (record, operation) = (call.record_id(), call.operation().name().to_owned());
        let facts = self.pseudonyms.as_ref().map(|_| (self.facts)(&request)).unwrap_or_default();
        let ran = AtomicBool::new(false);
        #[cfg(feature = "powertools")]
        let aside = Mutex::new(None);
        #[cfg_attr(not(feature = "powertools"), allow(clippy::let_and_return))]
        let run = async |attempt: Attempt<S::Effect>| {
            #[cfg(feature = "powertools")]
            let end = match held(self.predecessor.as_ref(), &request, &attempt, &aside).await {
                Ok(end) => end,
                Err(verdict) => return verdict,
            };
            ran.store(true, Ordering::Relaxed);
            let (mut request, mut handler) = (request, handler);
            request.extensions_mut().insert(attempt.clone());
            let verdict = match handler.call(request).await {
                Ok(response) => match whole(response).await {
                    Ok(response) => {
                        let declared = (self.verdict)(&response);
                        response::verdict(response, declared, &self.replayed_headers)
                    }
                    Err(error) => Verdict::Unknown(error.into()),
                },
                Err(error) => Verdict::Unknown(error.into().into()),
            };
            #[cfg(feature = "powertools")]
            if let Some(end) = end {
                end(&attempt, &verdict).await;
            }
            verdict
        };
        let (outcome, timings) = match &self.resolver {
            Some(resolver) => span.of(timed(self.engine.run_or_reconcile(&call, run, resolver))).await,
            None => span.of(timed(self.engine.run(&call, run))).await,
        };
        #[cfg(feature = "powertools")]
        let outcome = Aside::over(outcome, aside.into_inner());
        let summary = LogSummary::of(&outcome, self.engine.now());
        let response = self.respond(outcome, preference);
        let line = RequestLog {
            operation: &operation,
            record: Some(record.name()),
            status: Some(response.status().as_u16()),
            ran: Some(ran.into_inner()),
            named: self.named(|| Some(call.principal.digest()), facts.with(response.extensions())).of_record(&record),
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
    fn refuse_unread(&self, request: &Request, refusal: Refusal) -> Response<Body> {
        let summary = LogSummary::new(LogOutcome::Problem(refusal.kind.code));
        let response = self.refuse(refusal);
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

    /// The pseudonyms of the request's log line.
    fn named(&self, principal: impl FnOnce() -> Option<PrincipalDigest>, facts: Facts) -> Named {
        self.pseudonyms.as_ref().map(|pseudonyms| pseudonyms.name(principal(), &facts)).unwrap_or_default()
    }

    /// The name of the operation; see [`IdempotencyLayer::route`](super::IdempotencyLayer::route).
    fn name(&self, request: &Request) -> String {
        let named = request::route(request);
        if let Some(key) = named.as_ref().filter(|key| !route::is_open(key)) {
            return key.clone();
        }
        #[cfg(feature = "axum")]
        let named = super::axum::matched_route(request).or(named);
        match self.find(&self.routes, request) {
            Some(route) => route.as_str().to_owned(),
            None => named.unwrap_or_else(|| format!("{} $default", request.method())),
        }
    }

    fn find<'r>(&self, routes: &'r [Route], request: &Request) -> Option<&'r Route> {
        let find = |path| route::find(routes, request.method(), path);
        find(request::path(request)).or_else(|| request::path_behind_stage(request).and_then(find))
    }

    /// Parses a request into a call, once for all later uses. An invalid request is refused before anything is stored.
    /// `None`: it has no key, and needs none.
    fn call(&self, request: &mut Request) -> Result<Option<Call>, Refusal> {
        let name = self.name(request);
        let principal = (self.principal)(request);
        if principal.is_none() && !self.key_is_optional {
            return Err(self.missing_principal());
        }
        if request.body().len() > self.max_body_bytes {
            return Err(Refusal::content_too_large(self.max_body_bytes));
        }
        let document = request::document(request);
        let key = match self.key.key(request, document.as_ref()) {
            Ok(key) => key,
            Err(KeyError::Missing) if self.key_is_optional => {
                self.engine.metrics().count(Metric::Unprotected, &name);
                return Ok(None);
            }
            Err(KeyError::Missing) => {
                self.engine.metrics().count(Metric::MissingKey, &name);
                return Err(Refusal::new(ProblemType::MISSING_KEY, self.key.missing()));
            }
            Err(KeyError::Invalid(reason)) => {
                self.engine.metrics().count(Metric::InvalidKey, &name);
                return Err(Refusal::new(ProblemType::INVALID_KEY, format!("{reason}.")));
            }
        };
        let principal = principal.ok_or_else(|| self.missing_principal())?;
        let operation = match self.operations.iter().find(|operation| operation.name() == name) {
            Some(operation) => operation.clone(),
            None => self.operation.clone().named(name),
        };
        let context = request.lambda_context_ref();
        let deadline = context.map_or_else(
            // Outside Lambda there is no deadline, but a lease must end.
            || self.engine.now().plus(Duration::from_secs(30)),
            |context| EpochMs(context.deadline),
        );
        let invocation = context.and_then(|context| InvocationId::parse(&context.request_id));
        let fingerprint = request::fingerprint(request, document.as_ref(), &operation.compare)
            .map_err(|reason| Refusal::new(ProblemType::MISSING_VALUE, format!("{reason}.")))?;
        let received = Received::new(request, operation.name(), principal.digest(), document);
        (self.reading)(request, &received);
        request.extensions_mut().insert(received);
        let call = Call::new(operation, principal, key, fingerprint, deadline);
        let call = call.about((self.subject)(request)).requested_by(invocation).traced(request::trace(request));
        Ok(Some(call))
    }

    fn missing_principal(&self) -> Refusal {
        static ONCE: Once = Once::new();
        ONCE.call_once(|| {
            tracing::warn!(
                "a request has no principal: add an authorizer to its route, or set IdempotencyLayer::principal; requests \
                 in payload format 1.0 need the feature apigw_rest"
            );
        });
        Refusal::new(ProblemType::MISSING_PRINCIPAL, self.missing_principal)
    }

    /// The client's preference, limited by the layer's setting and by the time left.
    fn preference(&self, request: &Request, call: &Call) -> Preference {
        let left = self.engine.wait_by(call.operation(), call.deadline).since(self.engine.now());
        Preference::of(request.headers()).within(self.max_wait.min(left))
    }

    fn respond(&self, outcome: Result<Outcome<HttpAnswer>, Error>, preference: Preference) -> Response<Body> {
        match outcome {
            Ok(Outcome::Executed(answered)) => answered.answer.into_first(),
            Ok(Outcome::NotExecuted(answer)) => answer.into_first(),
            Ok(Outcome::Replayed(answered)) => {
                let response = preference.report(answered.answer.into_replay());
                match &self.on_replay {
                    Some(change) => change(response),
                    None => response,
                }
            }
            Ok(Outcome::InProgress { retry_after }) => {
                preference.report(self.refuse(Refusal::in_progress(retry_after)))
            }
            // Under a claim, no refused effect is interpreted as a conflict. If one were, it would also concern another
            // request.
            Ok(Outcome::Mismatch | Outcome::Conflict) => self.refuse(Refusal::fingerprint_mismatch()),
            Ok(Outcome::Unknown { retry_after, .. }) => self.refuse(Refusal::outcome_unknown(retry_after)),
            Err(error) => self.refuse(Refusal::of_error(&error)),
        }
    }

    pub(super) fn refuse(&self, refusal: Refusal) -> Response<Body> {
        let kind = refusal.kind;
        let response = refusal.problem(&self.contract).into_response();
        match &self.on_refusal {
            Some(change) => change(&kind, response),
            None => response,
        }
    }
}

/// The response with its whole body.
async fn whole<B: ResponseBody>(response: Response<B>) -> Result<Response<Body>, BoxError> {
    let (parts, body) = response.into_parts();
    Ok(Response::from_parts(parts, body.whole().await?))
}

/// The response to an unprotected request if the handler's response body was cut off.
fn cut_off(error: BoxError) -> Response<Body> {
    tracing::error!(error = &*error, "the handler's response was cut off");
    Problem::new(StatusCode::BAD_GATEWAY, "response-cut-off", "The response was cut off").into_response()
}
