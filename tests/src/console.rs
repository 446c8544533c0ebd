//! Users of the operators' console on a running stack: browsers without scripts, and API clients.

use std::time::Duration;

use aws_sdk_dynamodb::Client;
use aws_sdk_dynamodb::config::{Credentials, Region};
use aws_sdk_dynamodb::types::AttributeValue;
use idempotency::engine::{Claim, Claimed, Clock, SystemClock};
use idempotency::protocol::{
    EpochMs, Fingerprinter, InvocationId, Key, Principal, Record, RecordId, Subject, TransactionId,
};
use idempotency::store::Store as _;
use idempotency::{Call, DynamoDbStore, Engine, Operation, Outcome, Verdict};
use payments::{Amount, FencedAttempts, Payment, PaymentId, PaymentRequest, Preview, Refund, Table};
use reqwest::header::{COOKIE, LOCATION, SET_COOKIE};
use reqwest::{Method, RequestBuilder, redirect};
use serde_json::{Value, json};

use crate::dynamodb::RECORDS;
use crate::local_stack::{Answer, Stack, User};

/// The application's table.
const PAYMENTS: &str = "Payments";

/// A browser without scripts, which keeps the console's cookie, sends forms, and follows no redirects.
pub struct Visitor {
    client: reqwest::Client,
    base: String,
    cookie: String,
}

impl Visitor {
    /// Signs in at the issuer of the stack.
    pub async fn of(stack: &Stack, name: &str, role: &str) -> Self {
        let mut visitor = Self::of_nobody(stack);
        let answer = visitor.sign_in(&[("name", name), ("role", role)]).await;
        assert_eq!(answer.status, 200, "{}", answer.text());
        visitor
    }

    /// A browser without a session.
    pub fn of_nobody(stack: &Stack) -> Self {
        let client = reqwest::Client::builder().redirect(redirect::Policy::none()).build().expect("a client");
        Self { client, base: stack.base().to_owned(), cookie: String::new() }
    }

    /// Signs in for the home page, with these fields in the issuer's form. Returns the console's last answer.
    pub async fn sign_in(&mut self, fields: &[(&str, &str)]) -> Answer {
        let started = self.start("/console").await;
        let back = self.choose(&started, fields).await;
        self.end(&back).await
    }

    /// Starts a sign-in for a page. Returns the URL of the issuer's page.
    pub async fn start(&mut self, target: &str) -> String {
        let request = self.client.get(format!("{}/console/sign-in/start", self.base)).query(&[("to", target)]);
        let answer = Answer::of(request.send().await.expect("answers")).await;
        assert_eq!(answer.status, 303, "{}", answer.text());
        self.take_cookie(&answer, "__Host-sign-in", "Lax");
        answer.header(LOCATION.as_str()).expect("the issuer's page").to_owned()
    }

    /// Sends the issuer's form, in a browser without a session at the issuer. Returns the URL to which the issuer
    /// redirects the browser.
    pub async fn choose(&self, page: &str, fields: &[(&str, &str)]) -> String {
        let page = reqwest::Url::parse(page).expect("a URL");
        let mut form: Vec<(String, String)> = page.query_pairs().into_owned().collect();
        form.extend(fields.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())));
        let answer = Answer::of(self.client.post(page).form(&form).send().await.expect("answers")).await;
        assert_eq!(answer.status, 303, "{}", answer.text());
        answer.header(LOCATION.as_str()).expect("the way back").to_owned()
    }

    /// Returns to the console, which completes the sign-in.
    pub async fn end(&mut self, back: &str) -> Answer {
        let request = self.client.get(back).header(COOKIE, &self.cookie);
        let answer = Answer::of(request.send().await.expect("answers")).await;
        if answer.status == 200 {
            self.take_cookie(&answer, "__Host-session", "Strict");
        }
        answer
    }

    /// The cookie that the browser sends.
    pub fn cookie(&self) -> &str {
        &self.cookie
    }

    /// Makes the browser send another cookie.
    pub fn set_cookie(&mut self, cookie: &str) {
        cookie.clone_into(&mut self.cookie);
    }

    /// The session's ID token.
    pub fn id_token(&self) -> &str {
        self.cookie.strip_prefix("__Host-session=").expect("a session")
    }

    fn take_cookie(&mut self, answer: &Answer, name: &str, same_site: &str) {
        let cookie = answer.headers(SET_COOKIE.as_str()).find(|cookie| cookie.starts_with(name)).expect(name);
        for attribute in ["HttpOnly", "Secure", "Path=/", &format!("SameSite={same_site}")] {
            assert!(cookie.contains(attribute), "{cookie}");
        }
        self.cookie = cookie.split(';').next().expect("a pair").to_owned();
    }

    /// A request with the cookie.
    pub fn request(&self, method: Method, path: &str) -> RequestBuilder {
        self.client.request(method, format!("{}{path}", self.base)).header(COOKIE, &self.cookie)
    }

    /// Opens a page.
    pub async fn open(&self, path: &str) -> Answer {
        Answer::of(self.request(Method::GET, path).send().await.expect("answers")).await
    }

    /// Sends a form with exactly these fields.
    pub async fn send(&self, path: &str, fields: &[(&str, &str)]) -> Answer {
        Answer::of(self.request(Method::POST, path).form(fields).send().await.expect("answers")).await
    }

    /// The CSRF value in the forms.
    pub async fn csrf(&self) -> String {
        let page = self.open("/console").await.text();
        let (_, rest) = page.split_once("name=\"csrf\" value=\"").expect("a form");
        rest.split('"').next().expect("a value").to_owned()
    }

    /// Sends the form of an action. Returns the path of its preview.
    pub async fn preview(&self, record: &str, verb: &str, fields: &[(&str, &str)]) -> String {
        let csrf = self.csrf().await;
        let fields = [&[("csrf", csrf.as_str())], fields].concat();
        let answer = self.send(&format!("/console/records/{record}/{verb}"), &fields).await;
        assert_eq!(answer.status, 303, "{}", answer.text());
        answer.header(LOCATION.as_str()).expect("the preview").to_owned()
    }

    /// Confirms a preview.
    pub async fn confirm(&self, preview: &str) -> Answer {
        let csrf = self.csrf().await;
        self.send(preview, &[("csrf", &csrf)]).await
    }
}

/// A client of the console's API.
#[derive(Clone)]
pub struct Script<'a> {
    stack: &'a Stack,
    token: String,
}

impl<'a> Script<'a> {
    /// A client with this name and role; the role need not be a valid one.
    pub async fn of(stack: &'a Stack, name: &str, role: &str) -> Self {
        let request = stack.local(Method::GET, "token").query(&[("sub", name), ("role", role)]);
        let token = request.send().await.expect("answers").text().await.expect("a token");
        Self { stack, token }
    }

    /// The same client without a valid token.
    pub fn as_nobody(&self) -> Self {
        Self { token: "nobody".to_owned(), ..self.clone() }
    }

    /// Sends a request to the console's API.
    pub async fn call(&self, method: Method, path: &str, body: Option<&Value>) -> Answer {
        let request = reqwest::Client::new().request(method, format!("{}/console/api/{path}", self.stack.base()));
        let request = request.bearer_auth(&self.token);
        let request = if let Some(body) = body { request.json(body) } else { request };
        Answer::of(request.send().await.expect("answers")).await
    }

    /// Reads a resource of the console's API.
    pub async fn get(&self, path: &str) -> Value {
        let answer = self.call(Method::GET, path, None).await;
        assert_eq!(answer.status, 200, "{}", answer.text());
        answer.json()
    }

    /// Previews an action. Returns the preview's token.
    pub async fn preview(&self, record: &str, verb: &str, wish: &Value) -> String {
        let answer = self.call(Method::POST, &format!("records/{record}/{verb}"), Some(wish)).await;
        assert_eq!(answer.status, 201, "{}", answer.text());
        answer.json()["token"].as_str().expect("a token").to_owned()
    }

    /// Confirms a preview.
    pub async fn confirm(&self, token: &str) -> Answer {
        self.call(Method::POST, &format!("previews/{token}"), None).await
    }

    /// Confirms a preview that needs a second operator. Returns the approval's id.
    pub async fn request(&self, token: &str) -> String {
        let answer = self.confirm(token).await;
        assert_eq!(answer.status, 202, "{}", answer.text());
        answer.json()["approval"].as_str().expect("an id").to_owned()
    }

    /// Approves another operator's request.
    pub async fn approve(&self, id: &str) -> Answer {
        self.call(Method::POST, &format!("approvals/{id}"), None).await
    }

    /// Sends a payment whose outcome stays unknown. Returns its record, which is the newest unresolved one.
    pub async fn unknown_payment(&self, caller: &User<'_>, key: &str, body: &Value) -> String {
        assert_eq!(caller.pay(key, body).await.problem(), "503 outcome-unknown");
        self.unresolved().await.pop().expect("it is unresolved")
    }

    /// The unresolved records, oldest first.
    pub async fn unresolved(&self) -> Vec<String> {
        let found = self.get("unresolved").await;
        let records = found["records"].as_array().cloned().unwrap_or_default();
        records.iter().map(|record| record["record"].as_str().expect("an id").to_owned()).collect()
    }
}

/// Direct access to the tables of a running stack.
pub struct Tables {
    /// A client of DynamoDB.
    pub client: Client,
    store: DynamoDbStore,
}

impl Tables {
    /// The tables of a stack.
    pub async fn of(stack: &Stack) -> Self {
        let endpoint = stack.local(Method::GET, "dynamodb").send().await.expect("answers").text().await.expect("a URL");
        let config = idempotency::store::dynamodb::client().config().to_builder();
        let client = Client::from_conf(
            config
                .endpoint_url(endpoint)
                .region(Region::new("eu-central-1"))
                .credentials_provider(Credentials::new("local", "local", None, None, "tests"))
                .build(),
        );
        Self { store: DynamoDbStore::new(client.clone(), RECORDS), client }
    }

    /// Creates a record with an unknown outcome. Returns its id as in URLs.
    pub async fn unknown(&self, key: &str, operation: &str, subject: &str) -> String {
        let engine = Engine::builder(self.store.clone()).build();
        let (id, call) = call(&engine, key, operation, subject);
        let outcome = engine.run(&call, |_| async { Verdict::<Value>::Unknown("the test says so".into()) }).await;
        assert!(matches!(outcome, Ok(Outcome::Unknown { .. })), "{outcome:?}");
        id
    }

    /// Creates a record whose owner has been frozen for a minute. Returns its id and the claim.
    pub async fn frozen(&self, key: &str) -> (String, Box<Claim<DynamoDbStore>>) {
        self.claimed(key, MinuteAgo).await
    }

    /// Creates a record with a live lease. Returns its id and the claim.
    pub async fn held(&self, key: &str) -> (String, Box<Claim<DynamoDbStore>>) {
        self.claimed(key, SystemClock).await
    }

    async fn claimed(&self, key: &str, clock: impl Clock + 'static) -> (String, Box<Claim<DynamoDbStore>>) {
        let engine = Engine::builder(self.store.clone())
            .clock(clock)
            .observer(FencedAttempts::new(Table::new(self.client.clone(), PAYMENTS), "payments-api"))
            .build();
        let (id, mut call) = call(&engine, key, "POST /payments", &subject("acct-1", 1999, "EUR"));
        call = call.requested_by(InvocationId::parse("018f0000-0000-7000-8000-000000000002"));
        match engine.claim(&call).await.expect("the store answers") {
            Claimed::Acquired(claim) => (id, claim),
            Claimed::Answered(outcome) => panic!("{outcome:?}"),
        }
    }

    /// Moves the creation of a preview into the past.
    pub async fn age(&self, token: &str, age: Duration) {
        let table = Table::new(self.client.clone(), PAYMENTS);
        let preview = table.preview(token.parse().expect("a token")).await.expect("readable").expect("there");
        let created = preview.created - u64::try_from(age.as_millis()).expect("small");
        let expires = Preview { created, ..preview }.expires();
        let number = |value: u64| AttributeValue::N(value.to_string());
        let text = |value: String| AttributeValue::S(value);
        self.client
            .update_item()
            .table_name(PAYMENTS)
            .key("pk", text(format!("preview#{token}")))
            .key("sk", text("preview".to_owned()))
            .update_expression("SET created = :created, expires = :expires")
            .expression_attribute_values(":created", number(created))
            .expression_attribute_values(":expires", number(expires))
            .send()
            .await
            .expect("ages");
    }

    /// Writes the payment of a record's transaction, as its request would have done.
    pub async fn record_payment(&self, id: &str, account: &str) {
        let record = self.record(id).await;
        let body = json!({ "account": account, "amount": 1999, "currency": "EUR", "payment_method": "pm_card_visa" });
        let request = PaymentRequest::from_json(body.to_string().as_bytes()).expect("valid");
        let owner = record.principal.expect("a principal");
        let payment = Payment::new(record.transaction, owner, &request, "pi_1".to_owned(), record.created.0);
        let writes = Table::new(self.client.clone(), PAYMENTS).created(&payment, Some(&record.id), None);
        self.client.transact_write_items().set_transact_items(Some(writes)).send().await.expect("written");
    }

    /// Refunds a payment this many times without records, as requests of an earlier version would have done.
    pub async fn refund(&self, payment: &str, times: u64, amount: u64) {
        let table = Table::new(self.client.clone(), PAYMENTS);
        let (id, amount) = (PaymentId::parse(payment).expect("an id"), Amount::new(amount).expect("an amount"));
        for number in 0..times {
            let payment = table.payment(id).await.expect("readable").expect("there");
            let transaction = TransactionId::new(EpochMs(SystemClock.now().0 + number), [0; 10]);
            let refund = Refund::new(transaction, &payment, amount, None, format!("re_{number}"), SystemClock.now().0);
            let writes = table.refunded(&payment, &refund, None, None);
            self.client.transact_write_items().set_transact_items(Some(writes)).send().await.expect("written");
        }
    }

    /// Writes the refund of a record's transaction, for the whole rest of a payment, as its request would have done.
    /// Returns the amount.
    pub async fn record_refund(&self, id: &str, payment: &str, reversal: &str) -> u64 {
        let (record, table) = (self.record(id).await, Table::new(self.client.clone(), PAYMENTS));
        let payment = PaymentId::parse(payment).expect("an id");
        let payment = table.payment(payment).await.expect("readable").expect("there");
        let amount = payment.refundable().expect("something is left");
        let reversal = reversal.to_owned();
        let refund = Refund::new(record.transaction, &payment, amount, None, reversal, record.created.0);
        let writes = table.refunded(&payment, &refund, Some(&record.id), None);
        self.client.transact_write_items().set_transact_items(Some(writes)).send().await.expect("written");
        amount.get()
    }

    /// Moves the creation of an approval into the past.
    pub async fn age_approval(&self, id: &str, age: Duration) {
        let text = |value: &str| AttributeValue::S(value.to_owned());
        let id: String = id.split('-').collect();
        let update = self
            .client
            .update_item()
            .table_name(PAYMENTS)
            .key("pk", text("approvals"))
            .key("sk", text(&id))
            .condition_expression("attribute_exists(pk)")
            .update_expression("SET created = created - :age, expires = expires - :age")
            .expression_attribute_values(":age", AttributeValue::N(age.as_millis().to_string()));
        update.send().await.expect("ages");
    }

    /// Reads a record.
    pub async fn record(&self, id: &str) -> Record {
        let id = RecordId::from_stored(format!("idempotency:{id}"));
        self.store.read(&id).await.expect("readable").expect("there")
    }
}

/// The clock of a sandbox that was frozen for a minute: by every other clock its lease is over.
struct MinuteAgo;

impl Clock for MinuteAgo {
    fn now(&self) -> EpochMs {
        EpochMs(SystemClock.now().0 - 60_000)
    }
}

/// A call of the principal `ann`, and the id of its record as in URLs.
fn call(engine: &Engine<DynamoDbStore>, key: &str, operation: &str, subject: &str) -> (String, Call) {
    let (principal, key) = (Principal::new("ann").expect("a principal"), Key::new(key).expect("a key"));
    let id = RecordId::new("payments", &principal, &key);
    let id = id.as_str().strip_prefix("idempotency:").expect("an id").to_owned();
    let fingerprint = Fingerprinter::new().bytes(key.as_str().as_bytes()).finish();
    let deadline = engine.now().plus(Duration::from_secs(10));
    let call = Call::new(Operation::new("payments", operation), principal, key, fingerprint, deadline)
        .about(Subject::new(subject))
        .requested_by(InvocationId::parse("018f0000-0000-7000-8000-000000000001"));
    (id, call)
}

/// The subject of a payment.
pub fn subject(account: &str, amount: u64, currency: &str) -> String {
    json!({ "account": account, "amount": amount, "currency": currency }).to_string()
}
