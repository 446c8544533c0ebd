//! `docs/openapi.yaml` and `docs/openapi-console.yaml` match the running APIs: every status, body and header of each
//! answer is declared. A linter has nothing to say about them, clients that public generators make of them pay, and the
//! local stack shows them.

mod console;
mod generated;
mod rendered;

use std::collections::BTreeSet;

use idempotency::http::ProblemType;
use payments::problems::{DECLINED, REFUSED, address, all};
use reqwest::Method;
use serde_json::{Value, json};
use tests::local_stack::{Answer, Setup, Stack, User, payment};
use tests::workspace;

/// The description of the payments API.
const PAYMENTS: &str = "docs/openapi.yaml";

/// The description of the console's API.
const CONSOLE: &str = "docs/openapi-console.yaml";

/// The path of a payment that nobody made.
const NO_PAYMENT: &str = "/payments/pay_00000000000000000000000000000000";

/// The document, and the parts of it that have been covered.
struct Api {
    document: Value,
    seen: BTreeSet<(String, u16)>,
    /// The addresses of the types of problems that have come.
    types: BTreeSet<String>,
}

impl Api {
    fn load(name: &str) -> Self {
        let text = std::fs::read_to_string(workspace().join(name)).expect("readable");
        Self { document: serde_saphyr::from_str(&text).expect("YAML"), seen: BTreeSet::new(), types: BTreeSet::new() }
    }

    /// Fails unless the document declares the answer for this operation.
    fn check(&mut self, operation: &str, answer: &Answer) {
        let status = answer.status.to_string();
        let declared = self.resolved(&self.operation(operation)["responses"][&status]);
        assert!(declared.is_object(), "{operation} does not declare {status}: {answer:?}");
        let media_type = answer.header("content-type").unwrap_or_default();
        let media_type = media_type.split(';').next().unwrap_or_default();
        let content = &declared["content"][media_type];
        assert!(content.is_object(), "{operation} {status} does not declare {media_type}");
        let body = if media_type == "text/html" { json!(answer.text()) } else { answer.json() };
        self.matches(&content["schema"], &body, &format!("{operation} {status}: the body"));
        for (name, header) in declared["headers"].as_object().into_iter().flatten() {
            let header = self.resolved(header);
            match answer.header(name) {
                Some(value) => self.matches(&header["schema"], &json!(value), &format!("{operation} {status}: {name}")),
                None => assert_ne!(header["required"], true, "{operation} {status}: {name} is missing"),
            }
        }
        for name in ["idempotency-replayed", "location", "retry-after", "preference-applied"] {
            let mut names = declared["headers"].as_object().into_iter().flatten().map(|(name, _)| name);
            let known = names.any(|declared| declared.eq_ignore_ascii_case(name));
            assert!(known || answer.header(name).is_none(), "{operation} {status} does not declare {name}");
        }
        self.seen.insert((operation.to_owned(), answer.status));
        self.types.extend(answer.json()["type"].as_str().map(str::to_owned));
    }

    /// Fails unless an operation declares what API Gateway answers itself.
    fn declares_the_gateways_answers(&self, id: &str, operation: &Value) {
        let secured = operation["security"].is_null();
        let post = operation["requestBody"].is_object();
        let own = [
            (401, "Unauthorized", secured),
            (403, "Forbidden", secured),
            (413, "Request Entity Too Large", post),
            (429, "Too Many Requests", true),
            (500, "Internal Server Error", true),
            (502, "Bad Gateway", true),
            (503, "Service Unavailable", true),
            (504, "Gateway Timeout", true),
        ];
        for (status, message, _) in own.into_iter().filter(|(_, _, applies)| *applies) {
            let declared = self.resolved(&operation["responses"][status.to_string()]);
            let schema = &declared["content"]["application/json"]["schema"];
            assert!(schema.is_object(), "{id} does not declare the gateway's {status}");
            self.matches(schema, &json!({ "message": message }), &format!("{id} {status}"));
            for (name, header) in declared["headers"].as_object().into_iter().flatten() {
                assert_ne!(self.resolved(header)["required"], true, "{id} {status}: the gateway sends no {name}");
            }
        }
    }

    fn operations(&self) -> impl Iterator<Item = &Value> {
        let paths = self.document["paths"].as_object().expect("paths");
        let members = paths.values().flat_map(|path| path.as_object().into_iter().flatten());
        // A path may have parameters of its own beside its operations.
        members.filter(|(member, _)| *member != "parameters").map(|(_, operation)| operation)
    }

    fn operation(&self, id: &str) -> &Value {
        self.operations().find(|operation| operation["operationId"] == id).expect("declared")
    }

    fn resolved<'a>(&'a self, value: &'a Value) -> &'a Value {
        match value["$ref"].as_str().and_then(|reference| reference.strip_prefix('#')) {
            Some(pointer) => self.document.pointer(pointer).expect("what is referred to is there"),
            None => value,
        }
    }

    fn matches(&self, schema: &Value, instance: &Value, what: &str) {
        let mut schema = schema.clone();
        schema["components"] = self.document["components"].clone();
        let validator =
            jsonschema::draft202012::options().should_validate_formats(true).build(&schema).expect("a schema");
        let errors: Vec<_> = validator.iter_errors(instance).map(|error| error.to_string()).collect();
        assert!(errors.is_empty(), "{what}: {errors:?} in {instance}");
    }
}

/// A request without a token.
async fn unauthorized(stack: &Stack, method: Method, path: &str) -> Answer {
    let request = reqwest::Client::new().request(method, format!("{}{path}", stack.base()));
    Answer::of(request.send().await.expect("answers")).await
}

async fn send(user: &User<'_>, path: &str, headers: &[(&str, &str)], body: &Value) -> Answer {
    let request = user.request(Method::POST, path).json(body);
    let request = headers.iter().fold(request, |request, (name, value)| request.header(*name, *value));
    Answer::of(request.send().await.expect("answers")).await
}

#[tokio::test(flavor = "multi_thread")]
async fn every_answer_of_the_api_is_declared() {
    // A duplicate needs the time to wait for the first request, which takes 1.5 s.
    let setup = Setup::brief().parameter("ApiTimeoutSeconds", 16);
    let (stack, mut api) = (setup.start().await, Api::load(PAYMENTS));
    let ann = stack.user("ann").await;

    let paid = check_payments(&ann, &mut api).await;
    let slow = check_a_payment_that_waits(&ann, &mut api).await;
    let refunds = format!("{paid}/refunds");
    check_refunds(&ann, &refunds, &format!("{slow}/refunds"), &mut api).await;
    stack.local(Method::POST, "provider?mode=down").send().await.expect("answers");
    api.check("createPayment", &ann.pay("down", &payment("acct-1", "pm_card_visa")).await);
    api.check("createRefund", &ann.post(&refunds, "down-too", &json!({})).await);
    check_reads(&stack, &ann, &paid, &mut api).await;

    let requests = [
        ("createPayment", Method::POST, "/payments"),
        ("createRefund", Method::POST, &refunds),
        ("getPayment", Method::GET, &paid),
        ("getAccount", Method::GET, "/accounts/acct-1"),
    ];
    for (operation, method, path) in requests {
        api.check(operation, &unauthorized(&stack, method, path).await);
    }
    check_problem_types(&stack, &mut api).await;
    check_exposed_headers(&ann).await;

    let expected = [
        ("createPayment", &[201, 400, 401, 402, 409, 413, 422, 500, 503][..]),
        ("createRefund", &[201, 400, 401, 404, 422, 503]),
        ("getPayment", &[200, 401, 404]),
        ("getAccount", &[200, 401, 404]),
        ("getProblemTypes", &[200]),
        ("getProblemType", &[200, 404]),
    ];
    for (operation, statuses) in expected {
        for status in statuses {
            assert!(api.seen.contains(&(operation.to_owned(), *status)), "{operation} {status} was not seen");
        }
    }
}

/// Returns the path of the payment that was made.
async fn check_payments(ann: &User<'_>, api: &mut Api) -> String {
    let visa = payment("acct-1", "pm_card_visa");
    let paid = ann.pay("paid", &visa).await;
    api.check("createPayment", &paid);
    for (key, body) in [
        ("paid", visa.clone()),
        ("paid", payment("acct-2", "pm_card_visa")),
        ("declined", payment("acct-1", "pm_card_chargeDeclined")),
        ("invalid", json!({ "amount": 0 })),
        ("long", json!({ "reference": "x".repeat(70_000) })),
        ("killed", payment("acct-1", "pm_kill_before_charge")),
        ("unanswered", payment("acct-1", "pm_timeout_before_charge")),
    ] {
        api.check("createPayment", &ann.pay(key, &body).await);
    }
    let asynchronous = [("idempotency-key", "killed"), ("prefer", "respond-async")];
    let killed = payment("acct-1", "pm_kill_before_charge");
    api.check("createPayment", &send(ann, "/payments", &asynchronous, &killed).await);
    api.check("createPayment", &send(ann, "/payments", &[], &visa).await);
    api.check("createPayment", &send(ann, "/payments", &[("idempotency-key", "a,b")], &visa).await);
    paid.header("location").expect("a location").to_owned()
}

/// Returns the path of the payment that was made.
async fn check_a_payment_that_waits(ann: &User<'_>, api: &mut Api) -> String {
    let slow = payment("acct-1", "pm_slow_1500");
    let waits = [("idempotency-key", "slow"), ("prefer", "wait=5")];
    let (first, second) = tokio::join!(send(ann, "/payments", &waits, &slow), send(ann, "/payments", &waits, &slow));
    for answer in [&first, &second] {
        assert_eq!(answer.status, 201, "one of them waited for the other: {answer:?}");
        api.check("createPayment", answer);
    }
    assert!([&first, &second].iter().any(|answer| answer.header("preference-applied") == Some("wait=5")));
    first.header("location").expect("a location").to_owned()
}

async fn check_refunds(ann: &User<'_>, refunds: &str, of_slow: &str, api: &mut Api) {
    api.check("createRefund", &ann.post(refunds, "refund", &json!({ "amount": 500, "reason": "late" })).await);
    api.check("createRefund", &ann.post(refunds, "refund", &json!({ "amount": 500, "reason": "late" })).await);
    api.check("createRefund", &ann.post(refunds, "refund", &json!({ "amount": 1 })).await);
    api.check("createRefund", &ann.post(refunds, "too-much", &json!({ "amount": 5000 })).await);
    api.check("createRefund", &ann.post_nothing(of_slow, "rest").await);
    api.check("createRefund", &ann.post(&format!("{NO_PAYMENT}/refunds"), "nothing", &json!({})).await);
}

async fn check_reads(stack: &Stack, ann: &User<'_>, paid: &str, api: &mut Api) {
    api.check("getPayment", &ann.get(paid).await);
    api.check("getPayment", &ann.get(NO_PAYMENT).await);
    ann.balance("acct-1", "EUR", 4).await;
    let own = ann.get("/accounts/acct-1").await;
    assert_eq!(own.status, 200, "{own:?}");
    api.check("getAccount", &own);
    let (hidden, none) = (stack.user("bob").await.get("/accounts/acct-1").await, ann.get("/accounts/never-used").await);
    assert_eq!((hidden.status, &hidden.body), (404, &none.body), "another's account is as one that is not there");
    api.check("getAccount", &hidden);
    api.check("getAccount", &none);
    api.check("getAccount", &ann.get("/accounts/not%20an%20account").await);
}

/// Each type of a problem that was seen has a page.
async fn check_problem_types(stack: &Stack, api: &mut Api) {
    api.check("getProblemTypes", &unauthorized(stack, Method::GET, "/problems").await);
    api.check("getProblemType", &unauthorized(stack, Method::GET, "/problems/invented").await);
    let types = std::mem::take(&mut api.types);
    for address in &types {
        let page = unauthorized(stack, Method::GET, address).await;
        assert_eq!(page.status, 200, "{address} is the type of a problem");
        api.check("getProblemType", &page);
        let code = address.rsplit('/').next().unwrap_or_default();
        assert!(page.text().contains(&format!("<code>{code}</code>")), "{}", page.text());
    }
    for code in ["in-progress", "outcome-unknown", "fingerprint-mismatch", "declined", "not-found"] {
        assert!(types.contains(&format!("/problems/{code}")), "{code} in {types:?}");
    }
}

async fn check_exposed_headers(ann: &User<'_>) {
    let from_a_page = [("idempotency-key", "paid"), ("origin", "https://shop.example")];
    let replayed = send(ann, "/payments", &from_a_page, &payment("acct-1", "pm_card_visa")).await;
    let exposed = replayed.header("access-control-expose-headers").unwrap_or_default().to_owned();
    for name in ["idempotency-replayed", "idempotency-body", "preference-applied", "retry-after", "location", "link"] {
        assert!(exposed.contains(name), "a browser hides {name} from the page: {exposed}");
    }
}

#[test]
fn every_operation_declares_what_the_gateway_answers_itself() {
    for api in [PAYMENTS, CONSOLE].map(Api::load) {
        for operation in api.operations() {
            api.declares_the_gateways_answers(operation["operationId"].as_str().expect("an id"), operation);
        }
    }
}

#[test]
fn the_enumerated_types_and_codes_of_problems_are_those_that_the_api_has() {
    let api = Api::load(PAYMENTS);
    let enumerated = |schema: &str, member: &str| -> BTreeSet<String> {
        let values = &api.document["components"]["schemas"][schema]["properties"][member]["enum"];
        serde_json::from_value(values.clone()).expect("an enumeration")
    };
    let of_the_provider = [&DECLINED, &REFUSED].map(|kind| kind.code);
    let kinds = |wanted: &dyn Fn(&ProblemType) -> bool| -> Vec<ProblemType> { all().filter(wanted).collect() };
    let provider = |kind: &ProblemType| of_the_provider.contains(&kind.code);
    for (schema, kinds, has_codes) in [
        ("RetryableProblem", kinds(&|kind| kind.retryable), true),
        ("ProviderProblem", kinds(&provider), false),
        ("FinalProblem", kinds(&|kind| !kind.retryable && !provider(kind)), true),
    ] {
        let types: BTreeSet<String> = kinds.iter().map(address).collect();
        assert_eq!(enumerated(schema, "type"), types, "{schema}");
        if has_codes {
            let codes: BTreeSet<String> = kinds.iter().map(|kind| kind.code.to_owned()).collect();
            assert_eq!(enumerated(schema, "code"), codes, "{schema}");
        }
    }
}
