//! The payment provider over HTTP: [`provider_simulator`] with a server, a clock and a place for its state.
//!
//! **The caller.** To kill the process of the calling sandbox, the provider must know it. Each sandbox therefore gets
//! an address of its own in place of the provider's in its environment. This needs nothing of the function, works on
//! every system, and cannot mistake one process for another, as a look into `/proc/net/tcp` after the fact might.

use std::{
    collections::{BTreeMap, HashMap},
    future::Future,
    pin::Pin,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use axum::{
    Router,
    body::Bytes,
    extract::{Path, RawQuery, Request, State},
    http::{HeaderMap, HeaderName, HeaderValue, Method, StatusCode, Uri, header},
    middleware::{self, Next},
    response::{IntoResponse, Response},
    routing::{get, post},
};
use parking_lot::Mutex;
use provider_simulator::{Admission, AdmittedWrite, Answer, ApiError, Fault, Form, Key, Moment, Page, Query, Write};
use serde_json::{Value, json};
use tokio_util::sync::CancellationToken;
use uuid::Uuid;

use crate::{
    activity::{Activity, Place, Tone},
    listener,
    storage::Storage,
};
pub(crate) use provider_simulator::{Breakdown, Charge, Delivered};

mod store;
#[cfg(test)]
mod tests;

#[derive(Clone)]
pub(crate) struct Provider(Arc<Inner>);

struct Inner {
    /// The address that the template's parameters name.
    url: String,
    storage: Storage,
    activity: Activity,
    down: AtomicBool,
    keys: Mutex<ApiKeys>,
    state: Mutex<provider_simulator::Provider>,
}

/// The API keys that were rolled (Stripe, "API keys": roll a key). Any other key is the only one of an account of its
/// own.
#[derive(Default)]
struct ApiKeys {
    /// The first key of the account, by each later one.
    accounts: HashMap<String, String>,
    expired: Vec<String>,
}

impl ApiKeys {
    fn roll(&mut self, old: &str, new: &str) {
        let account = self.account(old);
        self.accounts.insert(new.to_owned(), account);
        self.expired.push(old.to_owned());
    }

    fn account(&self, key: &str) -> String {
        self.accounts.get(key).map_or(key, String::as_str).to_owned()
    }

    fn is_expired(&self, key: &str) -> bool {
        self.expired.iter().any(|expired| expired == key)
    }
}

/// Kills the sandbox that called the provider.
pub(crate) trait KillCaller: Send + Sync {
    /// Returns when its process is gone.
    fn kill_caller(&self) -> Pin<Box<dyn Future<Output = ()> + Send + '_>>;
}

/// One server of the provider: the main one, or a sandbox's.
#[derive(Clone)]
struct Server {
    provider: Provider,
    caller: Option<Arc<dyn KillCaller>>,
}

impl Provider {
    pub(crate) fn open(storage: Storage, url: String, activity: Activity) -> anyhow::Result<Self> {
        let mut state = provider_simulator::Provider::new(Uuid::new_v4().as_u64_pair().0, None);
        store::load(&storage.connection(), &mut state)?;
        Ok(Self(Arc::new(Inner {
            url,
            storage,
            activity,
            down: AtomicBool::new(false),
            keys: Mutex::default(),
            state: Mutex::new(state),
        })))
    }

    pub(crate) fn url(&self) -> &str {
        &self.0.url
    }

    pub(crate) fn router(&self) -> Router {
        self.router_for(None)
    }

    /// Serves the sandbox at an address of its own and names that in its environment.
    pub(crate) async fn serve_sandbox(
        &self,
        environment: &mut BTreeMap<String, String>,
        caller: Arc<dyn KillCaller>,
        end: CancellationToken,
    ) -> anyhow::Result<()> {
        if !environment.values().any(|value| value.contains(&self.0.url)) {
            return Ok(());
        }
        let url = self.serve_caller(caller, end).await?;
        for value in environment.values_mut() {
            *value = value.replace(&self.0.url, &url);
        }
        Ok(())
    }

    /// Serves one caller at a URL of its own.
    pub(crate) async fn serve_caller(
        &self,
        caller: Arc<dyn KillCaller>,
        end: CancellationToken,
    ) -> anyhow::Result<String> {
        let (listener, address) = listener::bind(0).await?;
        tokio::spawn(listener::serve_machine(listener, self.router_for(Some(caller)), end.cancelled_owned()));
        Ok(format!("http://{address}"))
    }

    /// From now on the old API key is refused, and the new one is accepted, for the same account.
    pub(crate) fn roll(&self, old: &str, new: &str) {
        self.0.keys.lock().roll(old, new);
    }

    /// Down: every request gets a 503 and nothing is charged.
    pub(crate) fn set_down(&self, down: bool) {
        self.0.down.store(down, Ordering::Relaxed);
    }

    pub(crate) fn is_down(&self) -> bool {
        self.0.down.load(Ordering::Relaxed)
    }

    /// Ends a breakdown. Returns whether requests were still to fail.
    pub(crate) fn mend(&self) -> bool {
        self.0.state.lock().mend()
    }

    /// From now on requests fail at the provider, as described.
    pub(crate) fn break_down(&self, breakdown: Breakdown) {
        self.0.state.lock().break_down(breakdown);
    }

    /// Forgets all idempotency keys, as Stripe does after a day; returns their number.
    pub(crate) fn forget_keys(&self) -> anyhow::Result<usize> {
        self.change(|state, _| state.forget_keys())
    }

    /// Delivers requests that were held back, and the banks' final replies on refunds.
    pub(crate) fn deliver(&self) -> anyhow::Result<Vec<Delivered>> {
        self.change(|state, now| state.deliver(now))
    }

    pub(crate) fn charges(&self) -> Vec<Charge> {
        self.0.state.lock().charges()
    }

    /// Changes the state, and stores what has changed.
    fn change<T>(&self, change: impl FnOnce(&mut provider_simulator::Provider, Duration) -> T) -> anyhow::Result<T> {
        let mut state = self.0.state.lock();
        let result = change(&mut state, SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default());
        store::save(&mut self.0.storage.connection(), state.take_changes())?;
        Ok(result)
    }

    fn execute(&self, admitted: AdmittedWrite) -> Answer {
        let answer = self.change(|state, now| state.execute(admitted, now));
        answer.unwrap_or_else(|error| ApiError::internal(&format!("{error:#}")).answer())
    }

    fn router_for(&self, caller: Option<Arc<dyn KillCaller>>) -> Router {
        let server = Server { provider: self.clone(), caller };
        Router::new()
            .route("/v1/payment_intents", post(write).get(list))
            .route("/v1/payment_intents/search", get(find))
            .route("/v1/payment_intents/{id}", get(read_intent))
            .route("/v1/payment_intents/{id}/confirm", post(write))
            .route("/v1/payment_intents/{id}/cancel", post(write))
            .route("/v1/refunds", post(write).get(list_refunds))
            .route("/v1/refunds/{id}", get(read_refund))
            .fallback(unknown)
            .layer(middleware::from_fn_with_state(server.clone(), admit))
            .layer(middleware::from_fn(identify))
            .with_state(server)
    }
}

/// Every reply names its request, and repeats two headers of the caller (Stripe, "Request IDs", "Versioning").
async fn identify(request: Request, next: Next) -> Response {
    const ECHOED: [HeaderName; 2] =
        [HeaderName::from_static("idempotency-key"), HeaderName::from_static("stripe-version")];
    let echoed = ECHOED.map(|name| request.headers().get(&name).cloned().map(|value| (name, value)));
    let id = HeaderValue::try_from(format!("req_{}", Uuid::new_v4().simple()));
    let mut response = next.run(request).await;
    response.headers_mut().extend(echoed.into_iter().flatten());
    response.headers_mut().extend(id.map(|id| (HeaderName::from_static("request-id"), id)));
    response
}

/// An outage comes first; then the API key, as at Stripe.
async fn admit(State(server): State<Server>, request: Request, next: Next) -> Response {
    let activity = &server.provider.0.activity;
    if server.provider.is_down() {
        activity.step(Place::Sandbox, Place::Provider, Tone::Failed);
        return respond(ApiError::outage().answer());
    }
    activity.step(Place::Sandbox, Place::Provider, Tone::Normal);
    match api_key(request.headers()) {
        Some(key) if server.provider.0.keys.lock().is_expired(&key) => respond(ApiError::expired_api_key().answer()),
        Some(_) => next.run(request).await,
        None => respond(ApiError::unauthorized().answer()),
    }
}

async fn read_intent(State(server): State<Server>, Path(id): Path<String>) -> Response {
    json_or_error(server.provider.0.state.lock().intent(&id).map(|intent| json!(intent)))
}

async fn read_refund(State(server): State<Server>, Path(id): Path<String>) -> Response {
    json_or_error(server.provider.0.state.lock().refund(&id).map(|refund| json!(refund)))
}

async fn list(State(server): State<Server>, RawQuery(query): RawQuery) -> Response {
    let list = || {
        let form = parameters(query, &Page::PARAMETERS)?;
        let state = server.provider.0.state.lock();
        let intents = state.intents().rev().collect();
        let (data, more) = Page::of_list(&form)?.take(intents, "payment_intent", |intent| &intent.id)?;
        Ok(json!({ "object": "list", "url": "/v1/payment_intents", "has_more": more, "data": data }))
    };
    json_or_error(list())
}

async fn list_refunds(State(server): State<Server>, RawQuery(query): RawQuery) -> Response {
    let list = || {
        let form = parameters(query, &[&Page::PARAMETERS[..], &["payment_intent", "charge"]].concat())?;
        let (intent, charge) = (form.get("payment_intent"), form.get("charge"));
        let state = server.provider.0.state.lock();
        let refunds = state.refunds().rev();
        let refunds = refunds
            .filter(|refund| intent.is_none_or(|intent| refund.intent() == intent))
            .filter(|refund| charge.is_none_or(|charge| refund.is_of_charge(charge)));
        let (data, more) = Page::of_list(&form)?.take(refunds.collect(), "refund", |refund| &refund.id)?;
        Ok(json!({ "object": "list", "url": "/v1/refunds", "has_more": more, "data": data }))
    };
    json_or_error(list())
}

async fn find(State(server): State<Server>, RawQuery(query): RawQuery) -> Response {
    let find = || {
        let form = parameters(query, &["query", "limit", "page", "expand"])?;
        let query = Query::parse(form.get("query").ok_or_else(|| ApiError::required("query"))?)?;
        let state = server.provider.0.state.lock();
        let intents = state.intents().rev().filter(|intent| query.matches(intent)).collect();
        let (data, more) = Page::of_search(&form)?.take(intents, "payment_intent", |intent| &intent.id)?;
        let next = data.last().filter(|_| more).map(|last| Page::next(&last.id));
        let url = "/v1/payment_intents/search";
        Ok(json!({ "object": "search_result", "url": url, "has_more": more, "next_page": next, "data": data }))
    };
    json_or_error(find())
}

/// A parameter that the simulator does not know is refused rather than ignored: a caller would wait for its effect.
fn parameters(query: Option<String>, known: &[&str]) -> Result<Form, ApiError> {
    let form = Form::parse(query.unwrap_or_default().as_bytes());
    form.only(known)?;
    Ok(form)
}

async fn unknown(method: Method, uri: Uri) -> Response {
    let error = ApiError::invalid(&format!("Unrecognized request URL ({method}: {}).", uri.path()));
    respond(error.with_status(404).answer())
}

/// A request that changes something: under its idempotency key, and perhaps with a fault.
async fn write(State(server): State<Server>, uri: Uri, headers: HeaderMap, body: Bytes) -> Response {
    let key = match idempotency_key(&headers) {
        Ok(key) => key,
        Err(error) => return respond(error.answer()),
    };
    let account = server.provider.0.keys.lock().account(&api_key(&headers).unwrap_or_default());
    let key = key.map(|key| Key { account, key });
    let write = Write { path: uri.path().to_owned(), form: Form::parse(&body), key };
    let admitted = match server.provider.change(|state, now| state.admit(write, now)) {
        Ok(Ok(Admission::New(admitted))) => *admitted,
        Ok(Ok(Admission::Saved(answer))) => {
            return ([("Idempotent-Replayed", "true")], respond(answer)).into_response();
        }
        Ok(Err(error)) => return respond(error.answer()),
        Err(error) => return respond(ApiError::internal(&format!("{error:#}")).answer()),
    };
    // A client that hangs up does not stop the provider.
    match tokio::spawn(server.execute(admitted)).await {
        Ok(Some(answer)) => respond(answer),
        Ok(None) => std::future::pending().await,
        Err(_) => respond(ApiError::outage().answer()),
    }
}

impl Server {
    /// `None`: there is no reply.
    async fn execute(self, admitted: AdmittedWrite) -> Option<Answer> {
        let fault = self.provider.change(|state, now| {
            let fault = state.fault(&admitted);
            if fault.is_some() {
                state.remember_attempt(&admitted, now);
            }
            fault
        });
        let fault = match fault {
            Ok(None) => return Some(self.provider.execute(admitted)),
            Ok(Some(fault)) => fault,
            Err(error) => return Some(ApiError::internal(&format!("{error:#}")).answer()),
        };
        match fault {
            Fault::Slow(delay) => {
                tokio::time::sleep(delay).await;
                return Some(self.provider.execute(admitted));
            }
            Fault::Timeout(Moment::Before) | Fault::Kill(Moment::Before) => self.provider.0.state.lock().hold(admitted),
            Fault::Timeout(Moment::After) | Fault::Kill(Moment::After) => drop(self.provider.execute(admitted)),
        }
        if let (Fault::Kill(_), Some(caller)) = (fault, &self.caller) {
            // Dead before the connection drops: the function must not see what happened and tidy up.
            caller.kill_caller().await;
        }
        None
    }
}

fn json_or_error(result: Result<Value, ApiError>) -> Response {
    match result {
        Ok(value) => axum::Json(value).into_response(),
        Err(error) => respond(error.answer()),
    }
}

fn respond(Answer { status, body }: Answer) -> Response {
    let status = StatusCode::from_u16(status).unwrap_or_default();
    (status, [(header::CONTENT_TYPE, "application/json")], body).into_response()
}

fn api_key(headers: &HeaderMap) -> Option<String> {
    let value = headers.get("authorization")?.to_str().ok()?;
    value.strip_prefix("Bearer ").map(str::trim).filter(|key| !key.is_empty()).map(str::to_owned)
}

fn idempotency_key(headers: &HeaderMap) -> Result<Option<String>, ApiError> {
    let Some(value) = headers.get("idempotency-key") else { return Ok(None) };
    let key = value.to_str().unwrap_or_default();
    if key.is_empty() || key.len() > 255 {
        return Err(ApiError::invalid("Idempotency keys must be between 1 and 255 characters long."));
    }
    Ok(Some(key.to_owned()))
}
