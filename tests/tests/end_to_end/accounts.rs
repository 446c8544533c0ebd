//! An account can be read by the principal that first paid into it, or by those whose token names it, and by a role.

use serde_json::{Value, json};
use tests::local_stack::{Answer, Setup, User, payment};

use crate::stacks::SHARED;

const VISA: &str = "pm_card_visa";
const ROLE: &[(&str, &str)] = &[("role", "accounts:read")];

fn yen(account: &str) -> Value {
    json!({ "account": account, "amount": 70, "currency": "JPY", "payment_method": VISA })
}

fn sale(account: &str, sequence: u64) -> String {
    let sale = json!({
        "type": "terminal.sale", "terminal": "till-1", "sequence": sequence,
        "account": account, "amount": 100, "currency": "EUR",
    });
    sale.to_string()
}

async fn account(user: &User<'_>, name: &str) -> Answer {
    user.get(&format!("/accounts/{name}")).await
}

/// The answer is the same as for an account that does not exist.
async fn is_hidden(user: &User<'_>, name: &str) {
    let (hidden, none) = (account(user, name).await, account(user, "never-used").await);
    assert_eq!(hidden.problem(), "404 not-found", "{hidden:?}");
    assert_eq!((hidden.status, &hidden.body), (none.status, &none.body));
    assert_eq!(header_names(&hidden), header_names(&none));
}

fn header_names(answer: &Answer) -> Vec<&str> {
    let mut names: Vec<_> = answer.header_names().filter(|name| *name != "date").collect();
    names.sort_unstable();
    names
}

#[tokio::test(flavor = "multi_thread")]
async fn an_account_is_read_by_who_first_paid_into_it_and_by_a_role_and_by_nobody_else() {
    let stack = SHARED.stack().await;
    let name = &stack.own("acct-1");
    let (ann, bob, auditor) = (stack.user("ann").await, stack.user("bob").await, stack.user_with("eve", ROLE).await);
    is_hidden(&ann, name).await;
    assert_eq!(ann.pay("first", &payment(name, VISA)).await.status, 201);
    ann.balance(name, "EUR", 1).await;

    // The first read determines the owner, whoever reads.
    is_hidden(&bob, name).await;
    assert_eq!(account(&ann, name).await.json()["balances"][0]["balance"], 1999);

    // Any caller may pay into the account, which reveals nothing about it.
    assert_eq!(bob.pay("present", &payment(name, VISA)).await.status, 201);
    assert_eq!(bob.pay("present in yen", &yen(name)).await.problem(), "400 invalid-key");
    assert_eq!(bob.pay("present-in-yen", &yen(name)).await.status, 201);
    ann.balance(name, "EUR", 2).await;
    ann.balance(name, "JPY", 1).await;
    is_hidden(&bob, name).await;
    let shown = account(&ann, name).await;
    assert_eq!((shown.status, shown.json()["balances"].as_array().map(Vec::len)), (200, Some(2)), "{shown:?}");
    let all = account(&auditor, name).await;
    assert_eq!((all.status, all.body), (200, shown.body));
    is_hidden(&auditor, "never-used-either").await;

    for role in ["operator", "viewer", "accounts:write", "xaccounts:read", ""] {
        is_hidden(&stack.user_with("eve", &[("role", role)]).await, name).await;
    }
    let several = stack.user_with("eve", &[("role", "[operator accounts:read]")]).await;
    assert_eq!(account(&several, name).await.status, 200, "one of several roles, as the gateway hands them over");
    assert_eq!(account(&stack.user_with("eve", &[("scope", "accounts:read")]).await, name).await.status, 404);
}

#[tokio::test(flavor = "multi_thread")]
async fn of_two_first_payments_at_once_one_makes_the_owner_for_good() {
    let stack = SHARED.stack().await;
    let (ann, bob) = (stack.user("ann").await, stack.user("bob").await);
    for number in 0..5 {
        let name = stack.own(&format!("acct-{number}"));
        let (key, slow, quick) = (format!("key-{number}"), payment(&name, "pm_slow_300"), yen(&name));
        // The later one is posted first, in another currency.
        let (one, other) = tokio::join!(ann.pay(&key, &slow), bob.pay(&key, &quick));
        assert_eq!((one.status, other.status), (201, 201));
        ann.balance(&name, "EUR", 1).await;
        ann.balance(&name, "JPY", 1).await;
        let asked = || async {
            let all = futures::future::join_all((0..6).map(|_| async {
                let (ann, bob) = tokio::join!(account(&ann, &name), account(&bob, &name));
                (ann.status, bob.status)
            }));
            all.await
        };
        let first = asked().await;
        assert!([(200, 404), (404, 200)].contains(&first[0]), "{first:?}");
        assert!(first.iter().all(|pair| *pair == first[0]), "{first:?}");
        assert_eq!(ann.pay(&format!("{key}-again"), &payment(&name, VISA)).await.status, 201);
        assert_eq!(bob.pay(&format!("{key}-again"), &payment(&name, VISA)).await.status, 201);
        ann.balance(&name, "EUR", 3).await;
        assert_eq!(asked().await, first, "who owns it does not change");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_account_that_a_terminal_opened_is_not_had_by_paying_into_it() {
    let stack = SHARED.stack().await;
    let shop = &stack.own("shop");
    let own = &stack.own("own");
    let (ann, auditor) = (stack.user("ann").await, stack.user_with("eve", ROLE).await);
    stack.put("LedgerQueue", 1, sale(shop, 1)).await;
    ann.balance(shop, "EUR", 1).await;
    is_hidden(&ann, shop).await;
    // In the same currency and in another one.
    assert_eq!(ann.pay("one", &payment(shop, VISA)).await.status, 201);
    assert_eq!(ann.pay("two", &yen(shop)).await.status, 201);
    ann.balance(shop, "EUR", 2).await;
    ann.balance(shop, "JPY", 1).await;
    is_hidden(&ann, shop).await;
    assert_eq!(account(&auditor, shop).await.json()["balances"].as_array().map(Vec::len), Some(2));

    // The other way round, the terminal changes nothing.
    assert_eq!(ann.pay("three", &payment(own, VISA)).await.status, 201);
    ann.balance(own, "EUR", 1).await;
    stack.put("LedgerQueue", 1, sale(own, 2)).await;
    ann.balance(own, "EUR", 2).await;
    assert_eq!(account(&ann, own).await.json()["balances"][0]["entries"], 2);
}

#[tokio::test(flavor = "multi_thread")]
async fn with_a_setting_a_claim_of_the_token_says_whose_an_account_is() {
    let stack = Setup::brief().parameter("AccountsClaim", "accounts").start().await;
    let ann = stack.user_with("ann", &[("accounts", "acct-1")]).await;
    let several = stack.user_with("bob", &[("accounts", "[acct-0%20acct-1]")]).await;
    let payer = stack.user("zoe").await;
    assert_eq!(payer.pay("first", &payment("acct-1", VISA)).await.status, 201);
    ann.balance("acct-1", "EUR", 1).await;
    for named in [&ann, &several] {
        assert_eq!(account(named, "acct-1").await.json()["balances"][0]["balance"], 1999);
        is_hidden(named, "acct-0").await;
    }
    is_hidden(&payer, "acct-1").await;
    is_hidden(&stack.user_with("zoe", &[("accounts", "acct-10")]).await, "acct-1").await;
    assert_eq!(account(&stack.user_with("eve", ROLE).await, "acct-1").await.status, 200);
}

#[tokio::test(flavor = "multi_thread")]
async fn anothers_payment_and_its_refund_are_not_told_from_what_is_not_there() {
    let stack = SHARED.stack().await;
    let name = &stack.own("acct-1");
    let (ann, bob) = (stack.user("ann").await, stack.user_with("bob", ROLE).await);
    let paid = ann.pay("first", &payment(name, VISA)).await;
    let of_ann = paid.header("location").expect("a location").to_owned();
    let nothing = "/payments/pay_00000000000070008000000000000000";
    let (hidden, none) = (bob.get(&of_ann).await, bob.get(nothing).await);
    assert_eq!((hidden.problem().as_str(), &hidden.body), ("404 not-found", &none.body));
    let refund = json!({ "amount": 1 });
    let hidden = bob.post(&format!("{of_ann}/refunds"), "one", &refund).await;
    let none = bob.post(&format!("{nothing}/refunds"), "two", &refund).await;
    assert_eq!((hidden.problem().as_str(), &hidden.body), ("404 not-found", &none.body));
    let again = bob.post(&format!("{of_ann}/refunds"), "one", &refund).await;
    assert_eq!((again.is_replay(), &again.body), (true, &none.body));

    let [charge] = &stack.charges().await[..] else { panic!("one charge") };
    assert_eq!(charge["amount_refunded"], 0);
}
