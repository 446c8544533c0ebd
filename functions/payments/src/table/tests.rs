//! Tests on an embedded DynamoDB: written items are read back, and every condition holds.

use aws_sdk_dynamodb::{
    config::{BehaviorVersion, Credentials, Region},
    operation::transact_write_items::TransactWriteItemsError,
    types::{AttributeDefinition, BillingMode, KeySchemaElement, KeyType, ScalarAttributeType},
};
use idempotency::protocol::{Document, TransactionId};
use proptest::prelude::*;
use uuid::Uuid;

use super::*;
use crate::{Amount, Currency, Money, PaymentRequest, Reason, samples};

const NAME: &str = "Payments";
const TRACE: Option<Trace> = None;

fn random() -> TransactionId {
    samples::transaction(Uuid::now_v7().as_u128())
}

/// A table of its own, in a separate in-memory DynamoDB.
pub(super) async fn table() -> Table {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    tokio::spawn(dynoxide::server::serve_on(listener, dynoxide::Database::memory().unwrap()));
    let config = aws_sdk_dynamodb::Config::builder()
        .behavior_version(BehaviorVersion::latest())
        .region(Region::new("eu-central-1"))
        .endpoint_url(url)
        .credentials_provider(Credentials::new("local", "local", None, None, "tests"))
        .build();
    let client = Client::from_conf(config);
    let create = client.create_table().table_name(NAME).billing_mode(BillingMode::PayPerRequest);
    [("pk", KeyType::Hash), ("sk", KeyType::Range)]
        .into_iter()
        .fold(create, |create, (name, role)| {
            let attribute = AttributeDefinition::builder().attribute_name(name).attribute_type(ScalarAttributeType::S);
            let key = KeySchemaElement::builder().attribute_name(name).key_type(role);
            create.attribute_definitions(attribute.build().unwrap()).key_schema(key.build().unwrap())
        })
        .send()
        .await
        .unwrap();
    Table::new(client, NAME)
}

/// Commits like a caller. Returns which write was refused, and which item broke its condition.
pub(super) async fn commit(table: &Table, writes: Vec<TransactWriteItem>) -> Result<(), Vec<Option<String>>> {
    let Err(error) = table.client.transact_write_items().set_transact_items(Some(writes)).send().await else {
        return Ok(());
    };
    let TransactWriteItemsError::TransactionCanceledException(cancelled) = error.into_service_error() else {
        panic!("not a refusal");
    };
    let refused = cancelled.cancellation_reasons().iter().map(|reason| {
        let sort = || Some(reason.item()?.get("sk")?.as_s().ok()?.to_owned());
        (reason.code() == Some("ConditionalCheckFailed")).then(|| sort().unwrap_or_default())
    });
    Err(refused.collect())
}

fn request(account: &str, amount: u64, currency: &str) -> PaymentRequest {
    let json = format!(
        r#"{{"account":"{account}","amount":{amount},"currency":"{currency}","payment_method":"pm_card_visa","reference":"Grüße"}}"#
    );
    PaymentRequest::from_json(json.as_bytes()).unwrap()
}

fn payment(amount: u64) -> Payment {
    let request = request("acct_1", amount, "EUR");
    Payment::new(random(), samples::principal("alice"), &request, "pi_1".into(), 1_795_494_059_250)
}

fn refund(payment: &Payment, amount: u64) -> Refund {
    let reason = Reason::parse("too late");
    Refund::new(random(), payment, Amount::new(amount).unwrap(), reason, "re_1".into(), 1_795_494_060_000)
}

fn posting(payment: &Payment) -> Posting {
    Posting::of(&Event::succeeded(payment))
}

async fn shown(table: &Table, account: &str) -> String {
    let account = table.account(&AccountId::parse(account).unwrap()).await.unwrap();
    serde_json::to_string(&account.expect("something was posted")).unwrap()
}

/// All items, by their sort key.
async fn items(table: &Table) -> Vec<item::Attributes> {
    let mut items = table.client.scan().table_name(NAME).send().await.unwrap().items.unwrap();
    items.sort_by_key(|item| item["sk"].as_s().unwrap().clone());
    items
}

#[tokio::test]
async fn a_payment_is_read_as_it_was_written_and_only_under_its_id() {
    let (table, payment) = (table().await, payment(1200));
    assert_eq!(table.payment(payment.id).await.unwrap(), None);
    commit(&table, table.created(&payment, None, TRACE)).await.unwrap();
    assert_eq!(table.payment(payment.id).await.unwrap().unwrap(), payment);
    assert_eq!(table.payment(PaymentId::of(random())).await.unwrap(), None);
}

#[tokio::test]
async fn a_second_commit_of_a_payment_is_refused_and_shows_the_first() {
    let (table, payment) = (table().await, payment(1200));
    commit(&table, table.created(&payment, None, TRACE)).await.unwrap();
    let refused = commit(&table, table.created(&payment, None, TRACE)).await.unwrap_err();
    assert_eq!(refused, [Some("payment".into()), Some(format!("event#{}", payment.id.transaction()))]);
    assert_eq!(items(&table).await.len(), 2);
}

#[tokio::test]
async fn the_event_has_what_the_pipe_takes_and_reads_as_the_message() {
    let (table, payment) = (table().await, payment(1200));
    commit(&table, table.created(&payment, None, TRACE)).await.unwrap();
    let event = items(&table).await.into_iter().find(|item| item["kind"].as_s().unwrap() == "event").unwrap();
    let text = |name: &str| event[name].as_s().unwrap();
    let message = format!(
        r#"{{"type":"{}","event":"{}","payment":"{}","account":"{}","amount":"{}","currency":"{}","traceparent":"{}"}}"#,
        text("type"),
        text("event"),
        text("payment"),
        text("account"),
        event["amount"].as_n().unwrap(),
        text("currency"),
        text("traceparent"),
    );
    assert_eq!(Event::of(&Document::parse(message.as_bytes()).unwrap()).unwrap(), Event::succeeded(&payment));
    assert_eq!(event["expiration"].as_n().unwrap(), "1796098859");
}

#[tokio::test]
async fn refunds_add_up_and_none_goes_above_the_rest() {
    let (table, payment) = (table().await, payment(1200));
    commit(&table, table.created(&payment, None, TRACE)).await.unwrap();

    let first = refund(&payment, 1000);
    commit(&table, table.refunded(&payment, &first, None, TRACE)).await.unwrap();
    let refused = commit(&table, table.refunded(&payment, &refund(&payment, 201), None, TRACE)).await.unwrap_err();
    assert_eq!(refused, [Some("payment".into()), None, None]);
    commit(&table, table.refunded(&payment, &refund(&payment, 200), None, TRACE)).await.unwrap();
    let refused = commit(&table, table.refunded(&payment, &refund(&payment, 1), None, TRACE)).await.unwrap_err();
    assert_eq!(refused, [Some("payment".into()), None, None]);

    assert_eq!(table.payment(payment.id).await.unwrap().unwrap().refunded, 1200);
    assert_eq!(items(&table).await.len(), 2 + 2 * 2);
}

#[tokio::test]
async fn a_second_commit_of_a_refund_is_refused() {
    let (table, payment) = (table().await, payment(1200));
    commit(&table, table.created(&payment, None, TRACE)).await.unwrap();
    let refund = refund(&payment, 100);
    commit(&table, table.refunded(&payment, &refund, None, TRACE)).await.unwrap();
    let refused = commit(&table, table.refunded(&payment, &refund, None, TRACE)).await.unwrap_err();
    let event = format!("event#{}", refund.id.transaction());
    assert_eq!(refused, [None, Some(format!("refund#{}", refund.id)), Some(event)]);
    assert_eq!(table.payment(payment.id).await.unwrap().unwrap().refunded, 100);
}

#[tokio::test]
async fn a_refund_of_a_payment_that_is_not_there_or_is_another_amount_is_refused() {
    let (table, payment) = (table().await, payment(1200));
    assert!(commit(&table, table.refunded(&payment, &refund(&payment, 1), None, TRACE)).await.is_err());
    commit(&table, table.created(&payment, None, TRACE)).await.unwrap();
    let mut larger = payment.clone();
    larger.money.amount = Amount::new(2000).unwrap();
    assert!(commit(&table, table.refunded(&larger, &refund(&payment, 1500), None, TRACE)).await.is_err());
    assert_eq!(table.payment(payment.id).await.unwrap().unwrap().refunded, 0);
}

#[tokio::test]
async fn an_event_is_posted_once() {
    let (table, payment) = (table().await, payment(1200));
    let posting = posting(&payment);
    commit(&table, table.posted(&posting)).await.unwrap();
    let refused = commit(&table, table.posted(&posting)).await.unwrap_err();
    let entry = Some(format!("entry#{}", posting.event));
    assert_eq!(refused, [entry.clone(), entry, None]);
    assert_eq!(
        shown(&table, "acct_1").await,
        r#"{"account":"acct_1","balances":[{"currency":"EUR","balance":1200,"entries":1}]}"#
    );
}

#[tokio::test]
async fn currencies_and_accounts_are_kept_apart() {
    let table = table().await;
    assert_eq!(table.account(&AccountId::parse("acct_1").unwrap()).await.unwrap(), None);
    for (account, amount, currency) in
        [("acct_1", 100, "USD"), ("acct_1", 30, "EUR"), ("acct_1", 4, "EUR"), ("acct_2", 7, "EUR")]
    {
        let request = request(account, amount, currency);
        let payment = Payment::new(random(), samples::principal("alice"), &request, "pi_1".into(), 0);
        commit(&table, table.posted(&posting(&payment))).await.unwrap();
    }
    assert_eq!(
        shown(&table, "acct_1").await,
        r#"{"account":"acct_1","balances":[{"currency":"EUR","balance":34,"entries":2},{"currency":"USD","balance":100,"entries":1}]}"#
    );
    assert_eq!(
        shown(&table, "acct_2").await,
        r#"{"account":"acct_2","balances":[{"currency":"EUR","balance":7,"entries":1}]}"#
    );
}

#[tokio::test]
async fn a_refund_lowers_the_balance_even_when_it_is_posted_first() {
    let (table, payment) = (table().await, payment(1200));
    let refund = refund(&payment, 200);
    commit(&table, table.posted(&Posting::of(&Event::refunded(&payment, &refund)))).await.unwrap();
    assert!(shown(&table, "acct_1").await.contains(r#""balance":-200,"entries":1"#));
    commit(&table, table.posted(&posting(&payment))).await.unwrap();
    assert!(shown(&table, "acct_1").await.contains(r#""balance":1000,"entries":2"#));
}

#[tokio::test]
async fn all_entries_of_the_ledger_sum_to_zero() {
    let table = table().await;
    for amount in 1..=20 {
        let payment = payment(amount);
        commit(&table, table.posted(&posting(&payment))).await.unwrap();
        if amount % 3 == 0 {
            let refund = refund(&payment, amount);
            commit(&table, table.posted(&Posting::of(&Event::refunded(&payment, &refund)))).await.unwrap();
        }
    }
    let items = items(&table).await;
    let sum = |filter: &dyn Fn(&item::Attributes) -> bool| -> i64 {
        items
            .iter()
            .filter(|item| filter(item))
            .map(|item| item["amount"].as_n().unwrap().parse::<i64>().unwrap())
            .sum()
    };
    let is_entry = |item: &item::Attributes| item["kind"].as_s().unwrap() == "entry";
    assert_eq!(sum(&is_entry), 0);
    let customer = sum(&|item| is_entry(item) && item["account"].as_s().unwrap() == "acct_1");
    assert!(shown(&table, "acct_1").await.contains(&format!(r#""balance":{customer},"entries":26"#)));
}

#[tokio::test]
async fn a_balance_does_not_leave_its_limit() {
    let (table, payment) = (table().await, payment(10));
    for (balance, accepted) in [(Balance::LIMIT - 9, false), (Balance::LIMIT - 10, true)] {
        preset_balance(&table, balance).await;
        assert_eq!(commit(&table, table.posted(&posting(&payment))).await.is_ok(), accepted);
    }
    let refund = refund(&payment, 10);
    for (balance, accepted) in [(-Balance::LIMIT + 9, false), (-Balance::LIMIT + 10, true)] {
        preset_balance(&table, balance).await;
        let posting = Posting::of(&Event::refunded(&payment, &refund));
        assert_eq!(commit(&table, table.posted(&posting)).await.is_ok(), accepted);
    }
}

async fn preset_balance(table: &Table, balance: i64) {
    let account = AccountId::parse("acct_1").unwrap();
    let currency = Currency::from_code("EUR").unwrap();
    let item = item::Item::new(Key::balance(&account, currency), "balance")
        .text("currency", currency)
        .number("balance", balance)
        .number("entries", 1);
    table.client.put_item().table_name(NAME).set_item(Some(item.attributes())).send().await.unwrap();
}

#[tokio::test]
async fn a_damaged_item_is_an_error_that_names_the_attribute() {
    let (table, payment) = (table().await, payment(1200));
    let mut item = record::payment(&payment, None);
    item.insert("amount".into(), AttributeValue::N("0.5".into()));
    table.client.put_item().table_name(NAME).set_item(Some(item)).send().await.unwrap();
    let read = table.payment(payment.id).await;
    assert!(matches!(read, Err(TableError::Malformed("amount"))), "{read:?}");
}

#[tokio::test]
async fn a_table_that_is_not_there_is_an_error_and_not_an_absent_payment() {
    let table = Table { name: "Another".into(), ..table().await };
    assert!(matches!(table.payment(payment(1).id).await, Err(TableError::Read(_))));
    assert!(matches!(table.account(&AccountId::parse("acct_1").unwrap()).await, Err(TableError::Read(_))));
}

proptest! {
    #[test]
    fn every_payment_is_read_as_it_was_written(
        id: u128,
        principal: String,
        account in "[A-Za-z0-9_-]{1,64}",
        amount in 1_u64..=99_999_999,
        currency in prop::sample::select(vec!["EUR", "USD", "JPY", "KWD", "HRK"]),
        payment_method in prop::option::of("[A-Za-z0-9_]{1,255}"),
        reference in prop::option::of("[a-zA-Zäß№ \"\\\\#]{1,140}"),
        intent in "pi_[A-Za-z0-9]{1,24}",
        refunded in 0_u64..=99_999_999,
        created: u64,
    ) {
        let payment = Payment {
            id: PaymentId::of(samples::transaction(id)),
            owner: samples::principal(&principal),
            account: AccountId::parse(&account).unwrap(),
            money: Money { amount: Amount::new(amount).unwrap(), currency: Currency::from_code(currency).unwrap() },
            payment_method: payment_method.map(|text| crate::PaymentMethod::parse(&text).unwrap()),
            reference: reference.map(|text| crate::Reference::parse(&text).unwrap()),
            intent,
            refunded,
            created,
        };
        prop_assert_eq!(record::read_payment(&record::payment(&payment, None)).unwrap(), payment);
    }
}

#[tokio::test]
async fn the_two_entries_of_an_event_are_found_once_it_is_posted() {
    let (table, payment) = (table().await, payment(1200));
    let event = payment.id.transaction().uuid();
    assert_eq!(table.entries(&payment.account, event).await.unwrap(), []);
    commit(&table, table.posted(&posting(&payment))).await.unwrap();
    let entries = table.entries(&payment.account, event).await.unwrap();
    assert_eq!(entries.iter().map(|entry| entry.amount).collect::<Vec<_>>(), [1200, -1200]);
    assert_eq!(entries[0].account, "acct_1");
    assert!(entries[1].account.starts_with("provider:clearing#"), "{entries:?}");
}

/// A payment with its own owner and account, made and posted.
async fn paid(table: &Table, id: u128, owner: &str, account: &str, currency: &str) -> Payment {
    let id = samples::transaction(id);
    let payment = Payment::new(id, samples::principal(owner), &request(account, 1, currency), "pi_1".into(), 0);
    commit(table, table.created(&payment, None, TRACE)).await.unwrap();
    commit(table, table.posted(&posting(&payment))).await.unwrap();
    payment
}

/// The owner of an account, as a request for the account determines it.
async fn owner(table: &Table, account: &str) -> Option<PrincipalDigest> {
    let account = table.account(&AccountId::parse(account).unwrap()).await.unwrap().expect("something was posted");
    match table.owner(&account.account).await.unwrap() {
        Some(owner) => Some(owner),
        None => table.appoint(&account).await.unwrap(),
    }
}

fn sale(account: &str, sequence: u64) -> Posting {
    let sale = format!(
        r#"{{"type":"terminal.sale","terminal":"till","sequence":{sequence},"account":"{account}","amount":1,"currency":"EUR"}}"#
    );
    Posting::of_sale(&crate::Sale::from_message(sale.as_bytes()).unwrap())
}

#[tokio::test]
async fn an_account_is_of_who_first_paid_into_it_and_stays_so_once_asked_for() {
    let table = table().await;
    paid(&table, 5, "alice", "acct_1", "EUR").await;
    paid(&table, 6, "bob", "acct_1", "EUR").await;
    paid(&table, 7, "bob", "acct_1", "USD").await;
    let seen = table.account(&AccountId::parse("acct_1").unwrap()).await.unwrap().unwrap();
    assert_eq!(owner(&table, "acct_1").await, Some(samples::principal("alice")));
    // Posted late, and made earlier: after the first request, the owner stays.
    paid(&table, 4, "bob", "acct_1", "JPY").await;
    assert_eq!(owner(&table, "acct_1").await, Some(samples::principal("alice")));
    // Of two concurrent requests, the later writer gets what the first one wrote.
    let other = Account { opened_by: Some(PaymentId::of(samples::transaction(4))), ..seen };
    assert_eq!(table.appoint(&other).await.unwrap(), Some(samples::principal("alice")));

    // Without any request so far, the earlier payment counts, in whichever currency and order it is posted.
    paid(&table, 9, "alice", "acct_2", "EUR").await;
    paid(&table, 8, "bob", "acct_2", "JPY").await;
    assert_eq!(owner(&table, "acct_2").await, Some(samples::principal("bob")));
}

#[tokio::test]
async fn a_refund_that_is_posted_first_leaves_the_account_to_its_payer() {
    let (table, payment) = (table().await, payment(1200));
    commit(&table, table.created(&payment, None, TRACE)).await.unwrap();
    let refund = refund(&payment, 200);
    commit(&table, table.posted(&Posting::of(&Event::refunded(&payment, &refund)))).await.unwrap();
    assert_eq!(owner(&table, "acct_1").await, Some(samples::principal("alice")));
}

#[tokio::test]
async fn an_account_that_a_terminal_opened_is_nobodys_whoever_pays_into_it_later() {
    let table = table().await;
    commit(&table, table.posted(&sale("shop", 1))).await.unwrap();
    paid(&table, 1, "alice", "shop", "EUR").await;
    paid(&table, 2, "alice", "shop", "USD").await;
    assert_eq!(owner(&table, "shop").await, None);

    paid(&table, 3, "alice", "acct_1", "EUR").await;
    commit(&table, table.posted(&sale("acct_1", 2))).await.unwrap();
    assert_eq!(owner(&table, "acct_1").await, Some(samples::principal("alice")));
}

#[tokio::test]
async fn an_account_from_before_openings_were_noted_is_nobodys_whoever_pays_into_it_later() {
    let table = table().await;
    preset_balance(&table, 100).await;
    paid(&table, 1, "alice", "acct_1", "EUR").await;
    paid(&table, 2, "alice", "acct_1", "USD").await;
    assert_eq!(owner(&table, "acct_1").await, None);
}

#[tokio::test]
async fn a_payment_that_is_not_there_or_is_anothers_accounts_opens_nothing() {
    let table = table().await;
    let payment = payment(1200);
    commit(&table, table.posted(&posting(&payment))).await.unwrap();
    assert_eq!(owner(&table, "acct_1").await, None, "the payment is not there");
    paid(&table, 1, "bob", "acct_2", "EUR").await;
    let account = table.account(&AccountId::parse("acct_1").unwrap()).await.unwrap().unwrap();
    let opened_by = Some(PaymentId::of(samples::transaction(1)));
    assert_eq!(table.appoint(&Account { opened_by, ..account }).await.unwrap(), None, "it is of another account");
}
