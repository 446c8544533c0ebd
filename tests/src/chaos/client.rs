//! Clients that repeat a request until its answer is final, and keep that answer.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use crate::local_stack::{Answer, Stack};

/// Payments in progress at a time. Most wait for a lease to end.
const CLIENTS: usize = 96;

/// How long a client waits for its final answer.
const TIME_LIMIT: Duration = Duration::from_secs(600);

/// How long a client waits for an answer before it repeats its request: so short that the repetition arrives when the
/// lease of a frozen process ends.
const TIMEOUT: Duration = Duration::from_secs(4);

/// Payment methods; the probability of each is proportional to how often it is listed.
const METHODS: [&str; 16] = [
    "pm_card_visa",
    "pm_card_visa",
    "pm_card_visa",
    "pm_card_visa",
    "pm_card_visa",
    "pm_card_visa",
    "pm_card_chargeDeclined",
    "pm_card_chargeDeclined",
    "pm_slow_1500",
    "pm_slow_1500",
    "pm_slow_1500",
    "pm_slow_2500",
    "pm_timeout_before_charge",
    "pm_timeout_after_charge",
    "pm_kill_before_charge",
    "pm_kill_after_charge",
];

/// A payment with its final answer.
#[derive(Clone, Debug)]
pub struct Payment {
    /// The payment's key.
    pub key: String,
    /// An account that only this payment uses.
    pub account: String,
    /// An amount that only this payment has.
    pub amount: u64,
    /// The final status.
    pub status: u16,
    /// The final body.
    pub body: Vec<u8>,
}

impl Payment {
    /// Whether the payment succeeded, according to the answer.
    pub fn succeeded(&self) -> bool {
        self.status == 201
    }
}

/// All clients, and the payments with their final answers.
pub struct Clients {
    http: reqwest::Client,
    place: Mutex<(String, String)>,
    seed: u64,
    next: AtomicU64,
    stopped: AtomicBool,
    requests: AtomicU64,
    /// Payments in progress, each with its key, which it must keep: another key would make another payment.
    open: Mutex<BTreeMap<u64, Option<String>>>,
    payments: Mutex<Vec<Payment>>,
}

impl Clients {
    pub(super) fn new(seed: u64) -> Self {
        Self {
            http: reqwest::Client::builder().timeout(TIMEOUT).build().expect("a client"),
            place: Mutex::default(),
            seed,
            next: AtomicU64::new(0),
            stopped: AtomicBool::new(false),
            requests: AtomicU64::new(0),
            open: Mutex::default(),
            payments: Mutex::default(),
        }
    }

    /// Sends all requests to this stack from now on.
    pub(super) async fn serve_from(&self, stack: &Stack) {
        let token = stack.local(reqwest::Method::GET, "token?sub=ann").send().await.expect("answers");
        *lock(&self.place) = (stack.base().to_owned(), token.text().await.expect("a token"));
    }

    /// Makes payments, first those that an earlier stack left in progress, until [`Clients::stop`]. Each payment that
    /// has begun is completed.
    pub(super) async fn work(self: Arc<Self>) {
        let clients = &*self;
        let left: Vec<_> = lock(&self.open).keys().copied().collect();
        let again = left.into_iter().map(|number| clients.complete(number));
        let new = (0..CLIENTS).map(|_| async {
            while let Some(number) = clients.take() {
                clients.complete(number).await;
            }
        });
        futures::future::join(futures::future::join_all(again), futures::future::join_all(new)).await;
    }

    async fn complete(&self, number: u64) {
        let payment = self.pay(number).await;
        lock(&self.payments).push(payment);
        lock(&self.open).remove(&number);
    }

    pub(super) fn stop(&self) {
        self.stopped.store(true, Ordering::SeqCst);
    }

    /// All payments, each with its final answer.
    pub fn payments(&self) -> Vec<Payment> {
        lock(&self.payments).clone()
    }

    /// The numbers of payments and of requests.
    pub fn count(&self) -> (usize, u64) {
        (lock(&self.payments).len(), self.requests.load(Ordering::SeqCst))
    }

    fn take(&self) -> Option<u64> {
        if self.stopped.load(Ordering::SeqCst) {
            return None;
        }
        let number = self.next.fetch_add(1, Ordering::SeqCst);
        lock(&self.open).insert(number, None);
        Some(number)
    }

    /// Pays, and repeats the request: the answer must have the same bytes.
    async fn pay(&self, number: u64) -> Payment {
        let (account, amount) = (format!("acct-{number}"), 1000 + number);
        let mut rng = fastrand::Rng::with_seed(self.seed ^ number);
        let method = METHODS[rng.usize(0..METHODS.len())];
        let body = json!({ "account": account, "amount": amount, "currency": "EUR", "payment_method": method });
        let key = self.key(number, rng.u8(0..4) == 0, &json!({ "account": account })).await;
        let (status, first) = self.until_final(&key, &body).await;
        let again = self.until_final(&key, &body).await;
        assert_eq!((status, &first), (again.0, &again.1), "two final answers for {key}");
        Payment { key, account, amount, status, body: first }
    }

    /// The key of a payment. Some clients first send an invalid request, and may then need another key.
    async fn key(&self, number: u64, is_wrong_at_first: bool, wrong: &Value) -> String {
        if let Some(Some(key)) = lock(&self.open).get(&number) {
            return key.clone();
        }
        let mut key = format!("key-{}-{number}", self.seed);
        if is_wrong_at_first && !self.can_correct(&key, wrong).await {
            key.push_str("-corrected");
        }
        lock(&self.open).insert(number, Some(key.clone()));
        key
    }

    /// Whether the key can be used for a corrected request, according to the answer. Without that answer the key is
    /// given up: if the process was killed while it handled an invalid request, only an operator can settle the record.
    async fn can_correct(&self, key: &str, body: &Value) -> bool {
        for _ in 0..3 {
            let answer = self.ask(key, body).await;
            if answer.as_ref().is_some_and(|answer| answer.status == 400) {
                return true;
            }
            pause(answer.as_ref()).await;
        }
        false
    }

    async fn until_final(&self, key: &str, body: &Value) -> (u16, Vec<u8>) {
        let started = Instant::now();
        let mut received = Vec::new();
        loop {
            let answer = self.ask(key, body).await;
            // 422: the key was used by the invalid request.
            if let Some(Answer { status: status @ (201 | 402 | 422), body, .. }) = answer {
                return (status, body);
            }
            received.push(answer.as_ref().map(|answer| (answer.status, answer.text())));
            assert!(started.elapsed() < TIME_LIMIT, "no final answer for {key}: {received:#?}");
            pause(answer.as_ref()).await;
        }
    }

    /// The answer, if there is one.
    async fn ask(&self, key: &str, body: &Value) -> Option<Answer> {
        self.requests.fetch_add(1, Ordering::SeqCst);
        let (base, token) = lock(&self.place).clone();
        let request = self.http.post(format!("{base}/payments")).bearer_auth(token).header("idempotency-key", key);
        Answer::read(request.json(body).send().await.ok()?).await.ok()
    }
}

/// Waits before the next try, for slightly longer than the answer's `Retry-After`; without an answer, for a random
/// time, since the stack may be overloaded.
async fn pause(answer: Option<&Answer>) {
    let retry_after = |answer: &Answer| answer.header("retry-after")?.parse().ok();
    let seconds = answer.map_or_else(|| fastrand::u64(0..4), |answer| retry_after(answer).unwrap_or(0));
    tokio::time::sleep(Duration::from_millis(1000 * seconds + fastrand::u64(100..600))).await;
}

fn lock<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
