//! The payment provider: Stripe's payment-intent API as far as payments need it, and its bad days on demand.
//!
//! Behaviour: Stripe, "Payment Intents", "Refunds", "Idempotent requests", "Error handling", "Search". What it keeps,
//! it keeps in [`Storage`], so a restart with `--data` forgets neither a charge nor a key.
//!
//! **Who called.** To kill the process of the calling sandbox, the provider must know it. Each sandbox therefore gets
//! an address of its own in place of the provider's in its environment. This needs nothing of the function, works on
//! every system, and cannot mistake one process for another as a look into `/proc/net/tcp` after the fact might.

use std::{
    collections::BTreeMap,
    future::Future,
    pin::Pin,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
};

use axum::{
    Json, Router,
    body::Bytes,
    extract::{Path, RawQuery, Request, State},
    http::{HeaderMap, HeaderName, HeaderValue, Method, StatusCode, Uri},
    middleware::{self, Next},
    response::{IntoResponse, Response},
    routing::{get, post},
};
use serde::Serialize;
use serde_json::{Value, json};
use tokio_util::sync::CancellationToken;

use crate::{listener, storage::Storage};
pub(crate) use breakdown::Breakdown;
use breakdown::When;
use error::ApiError;
use form::Form;
use idempotency::{Answer, Keys, Lookup, Reservation};
use intent::{Draft, Intent, Intents};
use misbehaviour::{Misbehaviour, Moment};
use page::Page;

mod breakdown;
mod card;
mod currency;
mod error;
mod form;
mod idempotency;
mod intent;
mod metadata;
mod misbehaviour;
mod page;
mod refund;
mod search;
#[cfg(test)]
mod tests;

#[derive(Clone)]
pub(crate) struct Provider(Arc<Inner>);

struct Inner {
    /// The address that the template's parameters name.
    url: String,
    storage: Storage,
    keys: Keys,
    down: AtomicBool,
    /// Requests that were never answered and not executed: still on their way.
    held: Mutex<Vec<Change>>,
    /// Requests whose first try misbehaved and lost its key; under their next key they behave.
    spared: Mutex<Vec<String>>,
    breakdown: Mutex<Option<Breakdown>>,
}

/// A request that changes something: where to, what, and under which key of which account.
struct Change {
    path: String,
    form: Form,
    key: Option<(String, String)>,
}

/// What became of a request that arrived late, as `POST /_local/provider/deliver` shows it.
#[derive(Debug, Serialize)]
pub(crate) struct Delivered {
    pub idempotency_key: Option<String>,
    pub status: u16,
    pub body: Value,
}

/// What was really charged, as `GET /_local/charges` shows it.
#[derive(Debug, Serialize)]
pub(crate) struct Charge {
    pub id: String,
    pub payment_intent: String,
    pub amount: u64,
    pub amount_refunded: u64,
    pub currency: String,
    pub payment_method: Option<String>,
    pub idempotency_key: Option<String>,
    pub metadata: BTreeMap<String, String>,
    pub created: u64,
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
    pub(crate) fn open(storage: Storage, url: String) -> anyhow::Result<Self> {
        Intents(&storage.connection()).create_tables()?;
        let keys = Keys::open(storage.clone())?;
        Ok(Self(Arc::new(Inner {
            url,
            storage,
            keys,
            down: AtomicBool::new(false),
            held: Mutex::default(),
            spared: Mutex::default(),
            breakdown: Mutex::default(),
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
        let (listener, address) = listener::bind(0).await?;
        for value in environment.values_mut() {
            *value = value.replace(&self.0.url, &format!("http://{address}"));
        }
        tokio::spawn(listener::serve_machine(listener, self.router_for(Some(caller)), end.cancelled_owned()));
        Ok(())
    }

    /// Down: every request is answered 503 and nothing is charged.
    pub(crate) fn set_down(&self, down: bool) {
        self.0.down.store(down, Ordering::Relaxed);
    }

    /// From now on requests fail at the provider, as this says.
    pub(crate) fn break_down(&self, breakdown: Breakdown) {
        *self.0.breakdown.lock().unwrap_or_else(PoisonError::into_inner) = Some(breakdown);
    }

    /// Forgets all idempotency keys, as a day does at Stripe. What was done under them is still there.
    pub(crate) fn forget_keys(&self) -> rusqlite::Result<usize> {
        self.0.keys.forget()
    }

    /// Lets arrive what is on its way: requests that were held back, after their callers have gone, and the banks'
    /// last word on refunds.
    pub(crate) fn deliver(&self) -> anyhow::Result<Vec<Delivered>> {
        self.intents(|intents| intents.settle_refunds())?;
        let held = std::mem::take(&mut *self.held());
        Ok(held.into_iter().map(|request| self.deliver_one(request)).collect())
    }

    fn deliver_one(&self, request: Change) -> Delivered {
        let idempotency_key = request.key.as_ref().map(|(_, key)| key.clone());
        let answer = match self.admit_write(&request) {
            Ok(Admitted::New(draft, reservation)) => self.perform(*draft, idempotency_key.clone(), &reservation),
            Ok(Admitted::Stored(answer)) => answer,
            Err(error) => error.answer(),
        };
        Delivered { idempotency_key, status: answer.status().as_u16(), body: answer.body() }
    }

    fn held(&self) -> MutexGuard<'_, Vec<Change>> {
        self.0.held.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn charges(&self) -> anyhow::Result<Vec<Charge>> {
        Ok(self.intents(|intents| intents.charges())?)
    }

    fn intents<T>(&self, ask: impl FnOnce(&Intents<'_>) -> T) -> T {
        ask(&Intents(&self.0.storage.connection()))
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

/// Every answer names its request, and repeats what the caller said of it (Stripe, "Request IDs", "Versioning").
async fn identify(request: Request, next: Next) -> Response {
    const ECHOED: [HeaderName; 2] =
        [HeaderName::from_static("idempotency-key"), HeaderName::from_static("stripe-version")];
    let echoed = ECHOED.map(|name| request.headers().get(&name).cloned().map(|value| (name, value)));
    let id = HeaderValue::try_from(intent::identifier("req"));
    let mut response = next.run(request).await;
    response.headers_mut().extend(echoed.into_iter().flatten());
    response.headers_mut().extend(id.map(|id| (HeaderName::from_static("request-id"), id)));
    response
}

/// Keys of the API first, as at Stripe; an outage before anything else.
async fn admit(State(server): State<Server>, request: Request, next: Next) -> Response {
    if server.provider.0.down.load(Ordering::Relaxed) {
        return ApiError::outage().into_response();
    }
    match api_key(request.headers()) {
        Some(_) => next.run(request).await,
        None => ApiError::unauthorized().into_response(),
    }
}

async fn read_intent(State(server): State<Server>, Path(id): Path<String>) -> Result<Json<Intent>, ApiError> {
    server
        .provider
        .intents(|intents| intents.get(&id))?
        .map(Json)
        .ok_or_else(|| ApiError::missing("payment_intent", &id).with_status(StatusCode::NOT_FOUND))
}

async fn read_refund(State(server): State<Server>, Path(id): Path<String>) -> Result<Json<refund::Refund>, ApiError> {
    server
        .provider
        .intents(|intents| intents.refund(&id))?
        .map(Json)
        .ok_or_else(|| ApiError::missing("refund", &id).with_status(StatusCode::NOT_FOUND))
}

async fn list(State(server): State<Server>, RawQuery(query): RawQuery) -> Result<Json<Value>, ApiError> {
    let form = asked(query, &Page::PARAMETERS)?;
    let page = Page::of_list(&form)?;
    let mut intents = server.provider.intents(|intents| intents.all())?;
    intents.reverse();
    let (data, more) = page.take(intents, "payment_intent", |intent| &intent.id)?;
    Ok(Json(json!({ "object": "list", "url": "/v1/payment_intents", "has_more": more, "data": data })))
}

async fn list_refunds(State(server): State<Server>, RawQuery(query): RawQuery) -> Result<Json<Value>, ApiError> {
    let form = asked(query, &[&Page::PARAMETERS[..], &["payment_intent", "charge"]].concat())?;
    let page = Page::of_list(&form)?;
    let mut refunds = server.provider.intents(|intents| match form.get("payment_intent") {
        Some(intent) => intents.refunds(intent),
        None => intents.all_refunds(),
    })?;
    if let Some(charge) = form.get("charge") {
        refunds.retain(|refund| refund.is_of_charge(charge));
    }
    refunds.reverse();
    let (data, more) = page.take(refunds, "refund", |refund| &refund.id)?;
    Ok(Json(json!({ "object": "list", "url": "/v1/refunds", "has_more": more, "data": data })))
}

async fn find(State(server): State<Server>, RawQuery(query): RawQuery) -> Result<Json<Value>, ApiError> {
    let form = asked(query, &["query", "limit", "page", "expand"])?;
    let query = search::Query::parse(form.get("query").ok_or_else(|| ApiError::required("query"))?)?;
    let page = Page::of_search(&form)?;
    let mut intents = server.provider.intents(|intents| intents.all())?;
    intents.reverse();
    intents.retain(|intent| query.matches(intent));
    let (data, more) = page.take(intents, "payment_intent", |intent| &intent.id)?;
    let next = data.last().filter(|_| more).map(|last| Page::next(&last.id));
    let url = "/v1/payment_intents/search";
    Ok(Json(json!({ "object": "search_result", "url": url, "has_more": more, "next_page": next, "data": data })))
}

/// A parameter that nobody looks at is refused rather than ignored: a caller would wait for what it means.
fn asked(query: Option<String>, known: &[&str]) -> Result<Form, ApiError> {
    let form = Form::parse(query.unwrap_or_default().as_bytes())?;
    form.only(known)?;
    Ok(form)
}

async fn unknown(method: Method, uri: Uri) -> ApiError {
    ApiError::invalid(&format!("Unrecognized request URL ({method}: {}).", uri.path()))
        .with_status(StatusCode::NOT_FOUND)
}

/// A request that changes something: under its idempotency key, and perhaps on a bad day.
async fn write(State(server): State<Server>, uri: Uri, headers: HeaderMap, body: Bytes) -> Response {
    let form = match Form::parse(&body) {
        Ok(form) => form,
        Err(error) => return error.into_response(),
    };
    let key = match idempotency_key(&headers) {
        Ok(key) => key,
        Err(error) => return error.into_response(),
    };
    let scoped = key.as_ref().map(|key| (api_key(&headers).unwrap_or_default(), key.clone()));
    let request = Change { path: uri.path().to_owned(), form, key: scoped };
    let (draft, reservation) = match server.provider.admit_write(&request) {
        Ok(Admitted::New(draft, reservation)) => (draft, reservation),
        Ok(Admitted::Stored(answer)) => return answer.replayed(),
        Err(error) => return error.into_response(),
    };
    let misbehaviour =
        draft.misbehaviour().filter(|_| reservation.first_attempt() && !server.provider.is_spared(&reservation));
    // A client that hangs up does not stop the provider.
    let work = tokio::spawn(server.execute(*draft, request, reservation, misbehaviour));
    match work.await {
        Ok(Some(answer)) => answer.into_response(),
        Ok(None) => std::future::pending().await,
        Err(_) => ApiError::outage().into_response(),
    }
}

impl Server {
    /// `None`: never answer.
    async fn execute(
        self,
        draft: Draft,
        request: Change,
        reservation: Reservation,
        misbehaviour: Option<Misbehaviour>,
    ) -> Option<Answer> {
        let key = request.key.as_ref().map(|(_, key)| key.clone());
        if misbehaviour.is_some() && reservation.remember_attempt(&self.provider.0.storage.connection()).is_err() {
            return Some(ApiError::outage().answer());
        }
        match misbehaviour {
            None => return Some(self.provider.perform(draft, key, &reservation)),
            Some(Misbehaviour::Slow(delay)) => {
                tokio::time::sleep(delay).await;
                return Some(self.provider.perform(draft, key, &reservation));
            }
            Some(Misbehaviour::Timeout(Moment::Before) | Misbehaviour::Kill(Moment::Before)) => {
                drop(reservation);
                self.provider.held().push(request);
            }
            Some(Misbehaviour::Timeout(Moment::After) | Misbehaviour::Kill(Moment::After)) => {
                drop(self.provider.perform(draft, key, &reservation))
            }
        }
        if let (Some(Misbehaviour::Kill(_)), Some(caller)) = (misbehaviour, &self.caller) {
            // Dead before the connection drops: the function must not see what happened and tidy up.
            caller.kill_caller().await;
        }
        None
    }
}

/// A request that changes something, looked at but not executed.
enum Admitted {
    New(Box<Draft>, Reservation),
    /// It was executed before.
    Stored(Answer),
}

impl Provider {
    /// The key first, then the parameters: validation comes before execution and leaves the key free (Stripe,
    /// "Idempotent requests").
    fn admit_write(&self, request: &Change) -> Result<Admitted, ApiError> {
        let fingerprint = format!("POST {}\n{}", request.path, request.form);
        match self.0.keys.reserve(request.key.clone(), fingerprint)? {
            Lookup::New(reservation) => {
                let draft = self.draft(&request.path, &request.form)?;
                self.spared().extend(reservation.displaced().map(misbehaviour::without_transaction));
                Ok(Admitted::New(Box::new(draft), reservation))
            }
            Lookup::Stored(answer) => Ok(Admitted::Stored(answer)),
        }
    }

    /// Whether the request is the successor of one that misbehaved and whose key was taken. Once.
    fn is_spared(&self, reservation: &Reservation) -> bool {
        let request = misbehaviour::without_transaction(reservation.fingerprint());
        let mut spared = self.spared();
        let position = spared.iter().position(|other| *other == request);
        position.map(|position| spared.swap_remove(position)).is_some()
    }

    fn spared(&self) -> MutexGuard<'_, Vec<String>> {
        self.0.spared.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The effect and the key that remembers it, in one transaction.
    fn perform(&self, draft: Draft, key: Option<String>, reservation: &Reservation) -> Answer {
        let broken = self
            .0
            .breakdown
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .as_mut()
            .and_then(|breakdown| breakdown.strikes(reservation.fingerprint()));
        let attempt = || -> rusqlite::Result<Answer> {
            let mut connection = self.0.storage.connection();
            let transaction = connection.transaction()?;
            let done =
                if broken == Some(When::Before) { Ok(Value::Null) } else { Intents(&transaction).perform(draft, key) };
            let answer = match done {
                _ if broken.is_some() => ApiError::breakdown().answer(),
                Ok(body) => Answer::new(StatusCode::OK, &body),
                Err(error) => error.answer(),
            };
            reservation.store(&transaction, &answer)?;
            transaction.commit()?;
            Ok(answer)
        };
        attempt().unwrap_or_else(|error| ApiError::from(error).answer())
    }

    fn draft(&self, path: &str, form: &Form) -> Result<Draft, ApiError> {
        let segments: Vec<&str> = path.trim_start_matches("/v1/").split('/').collect();
        match segments.as_slice() {
            ["payment_intents"] => Draft::create(form),
            ["payment_intents", id, "confirm"] => self.intents(|intents| Draft::confirm(id, form, intents)),
            ["payment_intents", id, "cancel"] => self.intents(|intents| Draft::cancel(id, form, intents)),
            _ => self.intents(|intents| Draft::refund(form, intents)),
        }
    }
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
