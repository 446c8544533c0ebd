//! `/docs` of the local stack: the descriptions in a browser, without a network, with requests that are really sent.

use tests::browser::{self, Browser, DESK, PHONE, View};
use tests::local_stack::Setup;
use tests::wait::eventually;
use thirtyfour::By;

#[tokio::test(flavor = "multi_thread")]
async fn the_local_stack_shows_both_descriptions_and_sends_a_request_with_a_token() {
    if !browser::is_available() {
        return;
    }
    let stack = Setup::brief().start().await;
    let browser = Browser::start(DESK).await;
    browser.open(&format!("{}/docs", stack.base())).await;
    browser.shows(&["Payments", "Charges a card.", "Refunds a payment", "Requests are sent as ann."]).await;
    browser.shows(&[stack.base()]).await;

    browser.open(&format!("{}/docs#/Payments/createPayment", stack.base())).await;
    browser.driver.refresh().await.expect("loads again");
    browser.shows(&["Requests are sent as ann.", "Execute"]).await;
    // Until all of the page is drawn, a click may meet something else, or nothing. Each click sends the same key.
    eventually("the request, with its key and its token", || async {
        browser.driver.find(By::Css("button.execute")).await.ok()?.click().await.ok()?;
        (!stack.charges().await.is_empty()).then_some(())
    })
    .await;
    browser.shows(&["Server response"]).await;
    assert_eq!(stack.charges().await.len(), 1);

    browser.open(&format!("{}/docs", stack.base())).await;
    let console = "select[name=api] option[value='openapi-console.yaml']";
    browser.driver.find(By::Css(console)).await.expect("an option").click().await.expect("chosen");
    browser.shows(&["Lists the operations whose outcome is not known", "with the role operator."]).await;
    assert_eq!(browser.noted().await, "", "nothing came from elsewhere, and no script failed");

    for view in [PHONE, View { dark: true, ..DESK }] {
        browser.look(view).await;
        assert_eq!(browser.overflow().await, 0, "{view:?}");
    }
    browser.quit().await;
}
