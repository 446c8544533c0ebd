use std::{collections::BTreeSet, time::Duration};

use axum::{
    body::{Body, to_bytes},
    http::{Request, Response},
};
use serde_json::Value;
use tower::ServiceExt;

use super::*;

const VISA: &str = "amount=1999&currency=eur&payment_method=pm_card_visa&confirm=true&metadata[transaction]=t-1";

struct Shop {
    provider: Provider,
}

struct Reply {
    status: u16,
    replayed: bool,
    request: String,
    body: Value,
}

impl Reply {
    /// Status, type, code and parameter of an error.
    fn error(&self) -> (u16, &str, &str, &str) {
        let word = |name: &str| self.body["error"][name].as_str().unwrap_or("-");
        (self.status, word("type"), word("code"), word("param"))
    }

    fn ids(&self) -> Vec<&str> {
        let data = self.body["data"].as_array().expect("a list");
        data.iter().map(|object| object["id"].as_str().expect("an id")).collect()
    }
}

impl Shop {
    fn open() -> Self {
        let storage = Storage::open(None).expect("storage");
        Self { provider: Provider::open(storage, "http://provider".to_owned(), Activity::new()).expect("a provider") }
    }

    async fn post(&self, path: &str, key: &str, body: &str) -> Reply {
        self.post_as("sk_test", path, key, body).await
    }

    async fn post_as(&self, account: &str, path: &str, key: &str, body: &str) -> Reply {
        let request = Request::post(path).header("authorization", format!("Bearer {account}"));
        let request = if key.is_empty() { request } else { request.header("idempotency-key", key) };
        self.send(request.body(Body::from(body.to_owned())).expect("a request")).await
    }

    async fn get(&self, path: &str) -> Reply {
        self.send(Request::get(path).header("authorization", "Bearer sk_test").body(Body::empty()).expect("a request"))
            .await
    }

    async fn send(&self, request: Request<Body>) -> Reply {
        let response: Response<Body> = self.provider.router().oneshot(request).await.expect("infallible");
        let (status, replayed) = (response.status().as_u16(), response.headers().contains_key("idempotent-replayed"));
        let request = response.headers().get("request-id").map(|id| id.to_str().expect("text").to_owned());
        let body = to_bytes(response.into_body(), usize::MAX).await.expect("a body");
        let body = serde_json::from_slice(&body).expect("JSON");
        Reply { status, replayed, request: request.unwrap_or_default(), body }
    }

    /// No answer within a moment.
    async fn is_silent(&self, key: &str, body: &str) -> bool {
        self.is_silent_at("/v1/payment_intents", key, body).await
    }

    async fn is_silent_at(&self, path: &str, key: &str, body: &str) -> bool {
        tokio::time::timeout(Duration::from_millis(100), self.post(path, key, body)).await.is_err()
    }

    /// A payment, and the parameter that names it.
    async fn paid(&self, key: &str, method: &str) -> String {
        let intent = self.post("/v1/payment_intents", key, &with(method)).await;
        assert_eq!(intent.body["status"], "succeeded", "{}", intent.body);
        format!("payment_intent={}", intent.body["id"].as_str().expect("an id"))
    }

    fn refunded(&self) -> u64 {
        self.provider.charges().iter().map(|charge| charge.amount_refunded).sum()
    }

    fn charged(&self) -> usize {
        self.provider.charges().len()
    }
}

fn with(method: &str) -> String {
    VISA.replace("pm_card_visa", method)
}

#[tokio::test]
async fn a_charge_is_made_once_under_a_key_and_replayed() {
    let shop = Shop::open();
    let first = shop.post("/v1/payment_intents", "k", VISA).await;
    assert_eq!((first.status, first.replayed, &first.body["status"]), (200, false, &json!("succeeded")));
    let second = shop.post("/v1/payment_intents", "k", VISA).await;
    assert_eq!((second.status, second.replayed, &second.body), (200, true, &first.body));
    let charges = shop.provider.charges();
    assert_eq!(charges.len(), 1);
    assert_eq!(
        (charges[0].amount, charges[0].idempotency_key.as_deref(), charges[0].metadata["transaction"].as_str()),
        (1999, Some("k"), "t-1")
    );
}

#[tokio::test]
async fn a_key_belongs_to_its_account_and_its_parameters() {
    let shop = Shop::open();
    shop.post("/v1/payment_intents", "k", VISA).await;
    let other = shop.post("/v1/payment_intents", "k", &VISA.replace("1999", "1")).await;
    assert_eq!((other.status, &other.body["error"]["type"]), (400, &json!("idempotency_error")));
    let stranger = shop.post_as("sk_other", "/v1/payment_intents", "k", VISA).await;
    assert_eq!((stranger.status, stranger.replayed), (200, false));
    let mut parameters: Vec<&str> = VISA.split('&').collect();
    parameters.reverse();
    assert!(shop.post("/v1/payment_intents", "k", &parameters.join("&")).await.replayed, "order does not matter");
}

#[tokio::test]
async fn a_decline_is_final_under_its_key() {
    let shop = Shop::open();
    for replayed in [false, true] {
        let declined = shop.post("/v1/payment_intents", "k", &with("pm_card_chargeDeclined")).await;
        assert_eq!((declined.status, declined.replayed), (402, replayed));
        let error = &declined.body["error"];
        assert_eq!(
            (&error["type"], &error["code"], &error["decline_code"]),
            (&json!("card_error"), &json!("card_declined"), &json!("generic_decline"))
        );
        assert_eq!(error["payment_intent"]["status"], "requires_payment_method");
    }
    assert_eq!(shop.charged(), 0);
}

#[tokio::test]
async fn validation_fails_without_using_up_the_key() {
    let shop = Shop::open();
    for (body, code, parameter) in [
        ("currency=eur", json!("parameter_missing"), "amount"),
        ("amount=ten&currency=eur", json!("parameter_invalid_integer"), "amount"),
        ("amount=0&currency=eur", json!("parameter_invalid_integer"), "amount"),
        ("amount=5", json!("parameter_missing"), "currency"),
        ("amount=5&currency=zzz", Value::Null, "currency"),
        ("amount=500&currency=xxx", Value::Null, "currency"),
        ("amount=500&currency=xts", Value::Null, "currency"),
        ("amount=500&currency=hrk", Value::Null, "currency"),
        ("amount=49&currency=eur", json!("amount_too_small"), "amount"),
        ("amount=29&currency=GBP", json!("amount_too_small"), "amount"),
        ("amount=49&currency=jpy", json!("amount_too_small"), "amount"),
        ("amount=17499&currency=huf", json!("amount_too_small"), "amount"),
        ("amount=100000000&currency=eur", json!("amount_too_large"), "amount"),
        ("amount=12345&currency=isk", json!("parameter_invalid_integer"), "amount"),
        ("amount=500&currency=eur&payment_method=pm_nobody", json!("resource_missing"), "payment_method"),
        ("amount=500&currency=eur&confirm=true", json!("parameter_missing"), "payment_method"),
        ("amount=500&currency=eur&colour=red", json!("parameter_unknown"), "colour"),
    ] {
        let refused = shop.post("/v1/payment_intents", "k", body).await;
        assert_eq!(
            (refused.status, &refused.body["error"]["code"], refused.body["error"]["param"].as_str()),
            (400, &code, Some(parameter)),
            "{body}"
        );
    }
    assert_eq!(shop.post("/v1/payment_intents", "k", VISA).await.status, 200);
}

#[tokio::test]
async fn a_timeout_before_the_charge_charges_at_the_repeat() {
    let shop = Shop::open();
    assert!(shop.is_silent("k", &with("pm_timeout_before_charge")).await);
    assert_eq!(shop.charged(), 0);
    let repeat = shop.post("/v1/payment_intents", "k", &with("pm_timeout_before_charge")).await;
    assert_eq!((repeat.status, repeat.replayed, shop.charged()), (200, false, 1));
}

#[tokio::test]
async fn a_timeout_after_the_charge_is_stored_for_the_repeat() {
    let shop = Shop::open();
    assert!(shop.is_silent("k", &with("pm_timeout_after_charge")).await);
    assert_eq!(shop.charged(), 1);
    let repeat = shop.post("/v1/payment_intents", "k", &with("pm_timeout_after_charge")).await;
    assert_eq!((repeat.status, repeat.replayed, shop.charged()), (200, true, 1));
}

#[tokio::test]
async fn a_slow_charge_keeps_its_key_in_use_and_is_made_even_if_the_caller_leaves() {
    let shop = Shop::open();
    let slow = with("pm_slow_300");
    assert!(shop.is_silent("k", &slow).await);
    let busy = shop.post("/v1/payment_intents", "k", &slow).await;
    assert_eq!((busy.status, &busy.body["error"]["code"]), (409, &json!("idempotency_key_in_use")));
    let wait = async {
        while shop.post("/v1/payment_intents", "k", &slow).await.status == 409 {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    tokio::time::timeout(Duration::from_secs(5), wait).await.expect("the charge");
    assert_eq!(shop.charged(), 1);
    assert!(shop.post("/v1/payment_intents", "k", &slow).await.replayed);
}

#[tokio::test]
async fn an_outage_answers_503_and_charges_nothing() {
    let shop = Shop::open();
    shop.provider.set_down(true);
    assert_eq!(shop.post("/v1/payment_intents", "k", VISA).await.status, 503);
    assert_eq!(shop.charged(), 0);
    shop.provider.set_down(false);
    assert_eq!(shop.post("/v1/payment_intents", "k", VISA).await.status, 200);
}

#[tokio::test]
async fn an_intent_is_found_by_id_and_by_its_metadata() {
    let shop = Shop::open();
    let intent = shop.post("/v1/payment_intents", "k", VISA).await.body;
    let id = intent["id"].as_str().expect("an id");
    assert_eq!(shop.get(&format!("/v1/payment_intents/{id}")).await.body, intent);
    assert_eq!(shop.get("/v1/payment_intents/pi_nobody").await.status, 404);
    let found = shop.get("/v1/payment_intents/search?query=metadata%5B%27transaction%27%5D%3A%27t-1%27").await;
    assert_eq!(found.body["data"], json!([intent]));
    let none = shop.get("/v1/payment_intents/search?query=metadata%5B%27transaction%27%5D%3A%27t-2%27").await;
    assert_eq!(none.body["data"], json!([]));
    assert_eq!(shop.get("/v1/payment_intents?limit=1").await.body["data"], json!([intent]));
}

#[tokio::test]
async fn an_intent_is_confirmed_or_cancelled_but_not_both() {
    let shop = Shop::open();
    let created = shop.post("/v1/payment_intents", "", "amount=500&currency=usd").await.body;
    let path = format!("/v1/payment_intents/{}", created["id"].as_str().expect("an id"));
    assert_eq!(created["status"], "requires_payment_method");
    let cancelled = shop.post(&format!("{path}/cancel"), "c", "cancellation_reason=abandoned").await;
    assert_eq!(cancelled.body["status"], "canceled");
    let confirmed = shop.post(&format!("{path}/confirm"), "d", "payment_method=pm_card_visa").await;
    assert_eq!((confirmed.status, &confirmed.body["error"]["code"]), (400, &json!("payment_intent_unexpected_state")));
    assert_eq!(shop.charged(), 0);
}

#[tokio::test]
async fn refunds_never_exceed_the_charge() {
    let shop = Shop::open();
    let intent = shop.post("/v1/payment_intents", "k", VISA).await.body;
    let refund = format!("payment_intent={}", intent["id"].as_str().expect("an id"));
    let part = shop.post("/v1/refunds", "r1", &format!("{refund}&amount=999")).await;
    assert_eq!((part.status, &part.body["amount"]), (200, &json!(999)));
    assert!(shop.post("/v1/refunds", "r1", &format!("{refund}&amount=999")).await.replayed);
    assert_eq!(shop.post("/v1/refunds", "r2", &format!("{refund}&amount=1001")).await.status, 400);
    let rest = shop.post("/v1/refunds", "r3", &refund).await;
    assert_eq!(rest.body["amount"], 1000);
    let id = rest.body["id"].as_str().expect("an id");
    assert_eq!(shop.get(&format!("/v1/refunds/{id}")).await.body, rest.body);
    let again = shop.post("/v1/refunds", "r4", &refund).await;
    assert_eq!(again.body["error"]["code"], "charge_already_refunded");
    assert_eq!(shop.provider.charges()[0].amount_refunded, 1999);
}

#[tokio::test]
async fn amounts_are_exact() {
    let shop = Shop::open();
    // Beyond what a double holds exactly would need more digits than Stripe takes; a LBP has the most.
    let amount = 99_999_999_999_999;
    let body = VISA.replace("1999", &amount.to_string()).replace("eur", "lbp");
    let intent = shop.post("/v1/payment_intents", "k", &body).await.body;
    assert_eq!(intent["amount"].as_u64(), Some(amount));
    assert_eq!(shop.provider.charges()[0].amount, amount);
}

#[tokio::test]
async fn without_an_api_key_nothing_is_answered() {
    let shop = Shop::open();
    let request = Request::post("/v1/payment_intents").body(Body::from(VISA)).expect("a request");
    assert_eq!(shop.send(request).await.status, 401);
}

const HELD: &str = "amount=1999&currency=eur&payment_method=pm_timeout_before_charge&confirm=true";
const TOMBSTONE: &str = "amount=100&currency=eur&metadata[transaction]=t-1&metadata[tombstone]=true";

#[tokio::test]
async fn a_request_that_was_held_back_is_executed_when_it_arrives_late() {
    let shop = Shop::open();
    assert!(shop.is_silent("k", HELD).await);
    assert_eq!(shop.charged(), 0);
    let [late] = &shop.provider.deliver().expect("delivers")[..] else { panic!("one was held") };
    assert_eq!((late.status, late.idempotency_key.as_deref(), shop.charged()), (200, Some("k"), 1));
    assert!(shop.provider.deliver().expect("delivers").is_empty(), "it arrives once");
    assert_eq!(shop.post("/v1/payment_intents", "k", HELD).await.body["id"], late.body["id"]);
}

#[tokio::test]
async fn a_request_that_arrives_after_a_tombstone_took_its_key_is_refused() {
    let shop = Shop::open();
    assert!(shop.is_silent("k", HELD).await);
    let tombstone = shop.post("/v1/payment_intents", "k", TOMBSTONE).await;
    let path = format!("/v1/payment_intents/{}/cancel", tombstone.body["id"].as_str().expect("an id"));
    for _ in 0..2 {
        let cancelled = shop.post(&path, "k:cancel", "").await;
        assert_eq!((cancelled.status, &cancelled.body["status"]), (200, &json!("canceled")), "also when repeated");
    }
    let [late] = &shop.provider.deliver().expect("delivers")[..] else { panic!("one was held") };
    assert_eq!((late.status, &late.body["error"]["type"]), (400, &json!("idempotency_error")));
    assert_eq!(shop.charged(), 0);
    let found = shop.get("/v1/payment_intents/search?query=metadata%5B'transaction'%5D:'t-1'").await;
    assert_eq!((found.status, &found.body["data"][0]["status"]), (200, &json!("canceled")));
}

#[tokio::test]
async fn a_request_whose_first_key_was_taken_behaves_under_its_next_key() {
    let shop = Shop::open();
    let request = |transaction| format!("{HELD}&metadata[transaction]={transaction}");
    assert!(shop.is_silent("k-1", &request("t-1")).await);
    shop.post("/v1/payment_intents", "k-1", TOMBSTONE).await;
    assert_eq!(shop.post("/v1/payment_intents", "k-2", &request("t-2")).await.status, 200);
    assert!(shop.is_silent("k-3", &request("t-3")).await, "another operation has a bad day of its own");
    assert_eq!(shop.charged(), 1);
}

#[tokio::test]
async fn a_tombstone_cannot_take_a_key_that_was_used() {
    let shop = Shop::open();
    shop.post("/v1/payment_intents", "k", VISA).await;
    let refused = shop.post("/v1/payment_intents", "k", TOMBSTONE).await;
    assert_eq!((refused.status, &refused.body["error"]["type"]), (400, &json!("idempotency_error")));
    assert_eq!(shop.charged(), 1);
}

#[tokio::test]
async fn refunds_of_a_payment_are_listed_with_their_metadata() {
    let shop = Shop::open();
    let intent = shop.post("/v1/payment_intents", "k", VISA).await.body["id"].as_str().expect("an id").to_owned();
    let refund = format!("payment_intent={intent}&amount=500&metadata[transaction]=t-2");
    let refund = shop.post("/v1/refunds", "k-2", &refund).await;
    let list = shop.get(&format!("/v1/refunds?payment_intent={intent}")).await;
    assert_eq!((list.status, &list.body["data"]), (200, &json!([refund.body])));
    assert_eq!(list.body["data"][0]["metadata"]["transaction"], "t-2");
}

#[tokio::test]
async fn a_list_is_paged_in_both_directions_to_its_end() {
    let shop = Shop::open();
    let mut oldest_first = Vec::new();
    for number in 0..7 {
        let body = format!("amount=500&currency=eur&metadata[order]={}", number % 2);
        let intent = shop.post("/v1/payment_intents", &format!("k-{number}"), &body).await;
        oldest_first.push(intent.body["id"].as_str().expect("an id").to_owned());
    }
    let newest_first: Vec<_> = oldest_first.iter().rev().cloned().collect();
    let page = async |query: &str| {
        let page = shop.get(&format!("/v1/payment_intents?limit=3{query}")).await;
        let ids: Vec<_> = page.ids().into_iter().map(str::to_owned).collect();
        (ids, page.body["has_more"] == true)
    };
    assert_eq!(page("").await, (newest_first[..3].to_vec(), true));
    assert_eq!(page(&format!("&starting_after={}", newest_first[2])).await, (newest_first[3..6].to_vec(), true));
    assert_eq!(page(&format!("&starting_after={}", newest_first[5])).await, (newest_first[6..].to_vec(), false));

    // The three next to it, in the order of the list; the end is at the newest.
    assert_eq!(page(&format!("&ending_before={}", newest_first[6])).await, (newest_first[3..6].to_vec(), true));
    assert_eq!(page(&format!("&ending_before={}", newest_first[3])).await, (newest_first[..3].to_vec(), false));
    assert_eq!(page(&format!("&ending_before={}", newest_first[1])).await, (newest_first[..1].to_vec(), false));
    assert_eq!(page(&format!("&ending_before={}", newest_first[0])).await, (Vec::new(), false));

    let both = format!("/v1/payment_intents?starting_after={0}&ending_before={0}", newest_first[3]);
    assert_eq!(shop.get(&both).await.error(), (400, "invalid_request_error", "-", "-"));
    for (query, code, parameter) in [
        ("ending_before=pi_nobody", "resource_missing", "ending_before"),
        ("starting_after=pi_nobody", "resource_missing", "starting_after"),
        ("limit=0", "parameter_invalid_integer", "limit"),
        ("limit=101", "parameter_invalid_integer", "limit"),
        ("customer=cus_1", "parameter_unknown", "customer"),
    ] {
        let refused = shop.get(&format!("/v1/payment_intents?{query}")).await;
        assert_eq!(refused.error(), (400, "invalid_request_error", code, parameter), "{query}");
    }

    // A search has pages, too, and goes forward by their tokens.
    let search = "/v1/payment_intents/search?query=metadata%5B'order'%5D:'0'&limit=3";
    let first = shop.get(search).await;
    let next = first.body["next_page"].as_str().expect("a token");
    let second = shop.get(&format!("{search}&page={next}")).await;
    assert_eq!((first.ids().len(), second.ids().len(), &second.body["next_page"]), (3, 1, &Value::Null));
    assert_eq!((&first.body["has_more"], &second.body["has_more"]), (&json!(true), &json!(false)));
}

#[tokio::test]
async fn refunds_are_paged_and_filtered() {
    let shop = Shop::open();
    let (first, second) = (shop.paid("k-1", "pm_card_visa").await, shop.paid("k-2", "pm_card_visa").await);
    for number in 0..4 {
        let of = if number == 3 { &second } else { &first };
        assert_eq!(shop.post("/v1/refunds", &format!("r-{number}"), &format!("{of}&amount=100")).await.status, 200);
    }
    let all = shop.get("/v1/refunds").await;
    assert_eq!(all.ids().len(), 4);
    let of_first = shop.get(&format!("/v1/refunds?{first}&limit=2")).await;
    assert_eq!((of_first.ids(), &of_first.body["has_more"]), (all.ids()[1..3].to_vec(), &json!(true)));
    let before = shop.get(&format!("/v1/refunds?ending_before={}", all.ids()[2])).await;
    assert_eq!(before.ids(), all.ids()[..2]);
    let charge = all.body["data"][0]["charge"].as_str().expect("a charge");
    assert_eq!(shop.get(&format!("/v1/refunds?charge={charge}")).await.ids(), all.ids()[..1]);
}

#[tokio::test]
async fn each_answer_names_its_request() {
    let shop = Shop::open();
    let mut requests = Vec::new();
    for (key, body) in [("k", VISA), ("k", VISA), ("k", "amount=500&currency=eur"), ("l", "amount=1")] {
        requests.push(shop.post("/v1/payment_intents", key, body).await.request);
    }
    requests.push(shop.get("/v1/nothing").await.request);
    let keyless = Request::get("/v1/refunds").body(Body::empty()).expect("a request");
    requests.push(shop.send(keyless).await.request);
    shop.provider.set_down(true);
    requests.push(shop.get("/v1/refunds").await.request);
    assert!(requests.iter().all(|id| id.starts_with("req_")), "{requests:?}");
    let different: std::collections::BTreeSet<_> = requests.iter().collect();
    assert_eq!(different.len(), requests.len(), "{requests:?}");
}

#[tokio::test]
async fn metadata_has_limits() {
    let shop = Shop::open();
    let keys = |count: usize| (0..count).map(|key| format!("&metadata[k{key}]=v")).collect::<String>();
    let long = |key: usize, value: usize| format!("&metadata[{}]={}", "k".repeat(key), "ü".repeat(value));
    let refund = format!("{}&amount=1", shop.paid("paid", "pm_card_visa").await);
    for (path, body) in [("/v1/payment_intents", "amount=500&currency=eur"), ("/v1/refunds", refund.as_str())] {
        for (number, (metadata, fits)) in [
            (keys(50), true),
            (keys(51), false),
            (long(40, 500), true),
            (long(41, 1), false),
            (long(1, 501), false),
            ("&metadata[a[b]]=c".to_owned(), false),
            ("&metadata[a][b]=c".to_owned(), false),
            (format!("{}&metadata[unset]=", keys(50)), true),
        ]
        .into_iter()
        .enumerate()
        {
            let answer = shop.post(path, &format!("{path}-{number}"), &format!("{body}{metadata}")).await;
            let expected = if fits { (200, "-", "-", "-") } else { (400, "invalid_request_error", "-", "metadata") };
            assert_eq!(answer.error(), expected, "{path} {metadata}");
        }
    }
}

#[tokio::test]
async fn a_card_that_asks_for_its_holder_waits_for_him_or_is_declined() {
    let shop = Shop::open();
    for method in ["pm_card_authenticationRequired", "pm_card_threeDSecure2Required"] {
        let asked = shop.post("/v1/payment_intents", &format!("{method}-asked"), &with(method)).await;
        assert_eq!((asked.status, &asked.body["status"]), (200, &json!("requires_action")), "{}", asked.body);
        assert!(asked.body["next_action"].is_object());
        let path = format!("/v1/payment_intents/{}/cancel", asked.body["id"].as_str().expect("an id"));
        assert_eq!(shop.post(&path, "", "").await.body["status"], "canceled");

        for (parameter, decline) in [
            ("off_session=true", "authentication_required"),
            ("error_on_requires_action=true", "authentication_not_handled"),
        ] {
            let key = format!("{method}-{parameter}");
            for replayed in [false, true] {
                let body = format!("{}&{parameter}", with(method));
                let declined = shop.post("/v1/payment_intents", &key, &body).await;
                assert_eq!(declined.error(), (402, "card_error", "authentication_required", "-"));
                assert_eq!((declined.replayed, &declined.body["error"]["decline_code"]), (replayed, &json!(decline)));
                let intent = &declined.body["error"]["payment_intent"];
                assert_eq!(intent["status"], "requires_payment_method");
                assert_eq!(intent["last_payment_error"]["code"], "authentication_required");
            }
        }
    }
    assert_eq!(shop.charged(), 0);
}

#[tokio::test]
async fn a_card_that_has_expired_says_so_in_its_code() {
    let shop = Shop::open();
    let declined = shop.post("/v1/payment_intents", "k", &with("pm_card_chargeDeclinedExpiredCard")).await;
    assert_eq!(declined.error(), (402, "card_error", "expired_card", "-"));
    assert!(declined.body["error"].get("decline_code").is_none());
}

#[tokio::test]
async fn a_refund_misbehaves_as_the_payment_method_says_and_is_made_once() {
    let shop = Shop::open();
    for (method, made_at_once) in [
        ("pm_timeout_before_refund", false),
        ("pm_timeout_after_refund", true),
        ("pm_kill_before_refund", false),
        ("pm_kill_after_refund", true),
    ] {
        let refund = format!("{}&amount=100", shop.paid(method, method).await);
        let before = shop.refunded();
        assert!(shop.is_silent_at("/v1/refunds", &format!("{method}-r"), &refund).await, "{method}");
        assert_eq!(shop.refunded(), before + if made_at_once { 100 } else { 0 }, "{method}");
        let repeat = shop.post("/v1/refunds", &format!("{method}-r"), &refund).await;
        assert_eq!((repeat.status, repeat.replayed), (200, made_at_once), "{method}");
        assert_eq!(shop.refunded(), before + 100, "{method}");
    }
    let slow = format!("{}&amount=100", shop.paid("slow", "pm_slow_refund_300").await);
    assert!(shop.is_silent_at("/v1/refunds", "slow-r", &slow).await);
    assert_eq!(shop.post("/v1/refunds", "slow-r", &slow).await.error().2, "idempotency_key_in_use");
}

#[tokio::test]
async fn a_refund_that_was_held_back_meets_the_tombstone_that_took_its_key() {
    let shop = Shop::open();
    let refund = format!("{}&amount=100", shop.paid("k", "pm_timeout_before_refund").await);
    let of = |transaction: &str| format!("{refund}&metadata[transaction]={transaction}");
    assert!(shop.is_silent_at("/v1/refunds", "r-1", &of("t-1")).await);
    assert_eq!(shop.post("/v1/payment_intents", "r-1", TOMBSTONE).await.status, 200);
    assert_eq!(shop.post("/v1/refunds", "r-2", &of("t-2")).await.status, 200, "one bad day for each operation");
    let late = shop.provider.deliver().expect("delivers");
    assert!(format!("{late:?}").contains("idempotency_error"), "{late:?}");
    assert_eq!(shop.refunded(), 100);
}

#[tokio::test]
async fn a_bank_may_answer_a_refund_late() {
    let shop = Shop::open();
    for (method, begins, ends, given_back) in
        [("pm_card_pendingRefund", "pending", "succeeded", 1999), ("pm_card_refundFail", "succeeded", "failed", 0)]
    {
        let before = shop.refunded();
        let of = shop.paid(method, method).await;
        let refund = shop.post("/v1/refunds", &format!("{method}-r"), &of).await;
        assert_eq!(refund.body["status"], begins, "{method}");
        assert!(shop.provider.deliver().expect("delivers").is_empty());
        let path = format!("/v1/refunds/{}", refund.body["id"].as_str().expect("an id"));
        assert_eq!(shop.get(&path).await.body["status"], ends, "{method}");
        assert_eq!(shop.refunded() - before, given_back, "{method}");
    }
}

#[tokio::test]
async fn a_failure_of_the_provider_is_kept_under_the_key_and_without_a_key_is_not() {
    let shop = Shop::open();
    let breaks = |query: &str| shop.provider.break_down(breakdown(query));
    breaks("path=/payment_intents");
    for replayed in [false, true, true] {
        let failed = shop.post("/v1/payment_intents", "k", TOMBSTONE).await;
        assert_eq!(
            (failed.status, failed.replayed, &failed.body["error"]["type"]),
            (500, replayed, &json!("api_error"))
        );
    }
    let other = shop.post("/v1/payment_intents", "k", VISA).await;
    assert_eq!((other.status, &other.body["error"]["type"]), (400, &json!("idempotency_error")), "the key is taken");

    let made = shop.post("/v1/payment_intents", "k-2", TOMBSTONE).await;
    let cancel = format!("/v1/payment_intents/{}/cancel", made.body["id"].as_str().expect("an id"));
    breaks("path=/cancel&times=2");
    assert_eq!(shop.post(&cancel, "k-2:cancel", "").await.status, 500);
    assert_eq!(shop.post(&cancel, "", "").await.status, 500);
    assert_eq!(shop.post(&cancel, "k-2:cancel", "").await.status, 500, "for as long as the key is remembered");
    assert_eq!(shop.post(&cancel, "", "").await.body["status"], "canceled");

    breaks("when=after");
    assert_eq!(shop.post("/v1/payment_intents", "k-3", VISA).await.status, 500);
    assert_eq!(shop.charged(), 1, "done, and not said");
}

#[tokio::test]
async fn with_its_key_forgotten_a_tombstone_stops_nothing() {
    let shop = Shop::open();
    assert!(shop.is_silent("k", HELD).await);
    shop.post("/v1/payment_intents", "k", TOMBSTONE).await;
    assert_eq!(shop.provider.forget_keys().expect("forgets"), 1);
    let [late] = &shop.provider.deliver().expect("delivers")[..] else { panic!("one was held") };
    assert_eq!((late.status, shop.charged()), (200, 1));
}

fn breakdown(query: &str) -> Breakdown {
    let uri = format!("http://local/?{query}").parse().expect("a URI");
    axum::extract::Query::try_from_uri(&uri).expect("a breakdown").0
}

#[tokio::test]
async fn page_and_guide_list_the_same_payment_methods_and_the_provider_knows_each() {
    let listed = |text: &str, from: &str| -> BTreeSet<String> {
        let (_, list) = text.split_once(from).expect(from);
        let is_part = |letter: char| letter.is_ascii_alphanumeric() || letter == '_';
        let words = list.split(|letter| !is_part(letter)).filter(|word| word.starts_with("pm_"));
        words.map(str::to_owned).collect()
    };
    let page = include_str!("../live/page.html");
    let (list, _) = page.split_once("</details>").expect("a list");
    let (page, guide) = (
        listed(list, "<summary>The test payment methods</summary>"),
        listed(include_str!("../../../docs/guides/local.md"), "## Test payment methods"),
    );
    assert_eq!(page, guide);
    assert!(page.len() > 20, "{page:?}");
    let shop = Shop::open();
    for method in page {
        // Not confirmed, so that it meets no fault.
        let body = format!("amount=1999&currency=eur&payment_method={method}");
        assert_eq!(shop.post("/v1/payment_intents", "", &body).await.status, 200, "{method}");
    }
}
