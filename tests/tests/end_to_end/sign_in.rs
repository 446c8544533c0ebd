//! Signing in to the operators' console, and all that can go wrong on the way, at an issuer that does as a test wants.

use std::time::{SystemTime, UNIX_EPOCH};

use reqwest::Url;
use tests::console::{Script, Visitor};
use tests::local_stack::{Answer, Setup, Stack};

const OLGA: [(&str, &str); 2] = [("name", "olga"), ("role", "operator")];

async fn start() -> Stack {
    Setup::brief().reconciled_on_demand().start().await
}

fn parameter(url: &str, name: &str) -> String {
    let url = Url::parse(url).expect("a URL");
    let found = url.query_pairs().find(|(key, _)| key == name).map(|(_, value)| value.into_owned());
    found.unwrap_or_default()
}

/// The answer's URL with another value of a parameter.
fn with(url: &str, name: &str, value: &str) -> String {
    let mut changed = Url::parse(url).expect("a URL");
    let pairs: Vec<(String, String)> = changed.query_pairs().into_owned().filter(|(key, _)| key != name).collect();
    changed.query_pairs_mut().clear().extend_pairs(pairs).append_pair(name, value);
    changed.into()
}

/// Nobody is signed in, and the page says why and leads to another try.
fn assert_refused(answer: &Answer, status: u16, says: &str) {
    let page = answer.text();
    assert!(answer.status == status && page.contains(says), "{}: {page}", answer.status);
    let cookies: Vec<&str> = answer.headers("set-cookie").collect();
    assert!(cookies.iter().all(|cookie| cookie.contains("Max-Age=0")), "{cookies:?}");
    assert!(page.contains("Sign in again") && page.contains("Sign in as somebody else"), "{page}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_person_signs_in_at_the_issuer_and_lands_on_the_page_that_was_asked_for() {
    let stack = start().await;
    let mut olga = Visitor::of_nobody(&stack);
    let wanted = "/console/audit?actor=vera&record=";
    let sent = olga.open(wanted).await;
    assert_eq!(sent.status, 303);
    let invitation = olga.open(sent.header("location").expect("the sign-in")).await.text();
    let link = "/console/sign-in/start?to=%2Fconsole%2Faudit%3Factor%3Dvera%26record%3D";
    assert!(invitation.contains(&format!("href=\"{link}\"")), "{invitation}");

    let page = olga.start(wanted).await;
    assert!(page.starts_with("http://localhost:"), "another site than the console: {page}");
    for (name, value) in [("response_type", "code"), ("code_challenge_method", "S256"), ("scope", "openid")] {
        assert_eq!(parameter(&page, name), value);
    }
    assert_eq!(parameter(&page, "redirect_uri"), format!("{}/console/callback", stack.base()));
    for name in ["state", "nonce", "code_challenge"] {
        assert!(parameter(&page, name).len() >= 20, "{name}");
    }
    let back = olga.choose(&page, &OLGA).await;
    let answer = olga.end(&back).await;
    let html = answer.text();
    assert!(
        html.contains("http-equiv=\"refresh\"") && html.contains("url=/console/audit?actor=vera&amp;record="),
        "{html}"
    );
    let over = answer.headers("set-cookie").find(|cookie| cookie.starts_with("__Host-sign-in=;"));
    assert!(over.is_some_and(|cookie| cookie.contains("Max-Age=0")), "{over:?}");
    let audit = olga.open(wanted).await;
    assert!(audit.status == 200 && audit.text().contains("olga"), "{}", audit.text());
}

#[tokio::test(flavor = "multi_thread")]
async fn an_answer_counts_once_in_the_browser_that_asked_and_for_the_request_that_it_answers() {
    let stack = start().await;
    let mut olga = Visitor::of_nobody(&stack);
    let page = olga.start("/console").await;
    let back = olga.choose(&page, &OLGA).await;

    let mut other = Visitor::of_nobody(&stack);
    assert_refused(&other.end(&back).await, 400, "not started in this browser");
    other.start("/console").await;
    assert_refused(&other.end(&back).await, 400, "another sign-in than the one that this browser started last");
    for wrong in [with(&back, "state", "x"), with(&back, "state", ""), with(&back, "iss", "https://other.example")] {
        assert_refused(&olga.end(&wrong).await, 400, "another sign-in than the one that this browser started last");
    }
    // A browser that kept the cookie, against the answer, and one that has the right code.
    assert_refused(&olga.end(&with(&back, "code", "unknown")).await, 400, "it was used before, or is too old");
    let (cookie, mut again) = (olga.cookie().to_owned(), Visitor::of_nobody(&stack));
    assert_eq!(olga.end(&back).await.status, 200);
    again.set_cookie(&cookie);
    assert_refused(&again.end(&back).await, 400, "it was used before, or is too old");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_token_that_was_not_issued_for_this_sign_in_signs_nobody_in() {
    let stack = start().await;
    let now = SystemTime::now().duration_since(UNIX_EPOCH).expect("after 1970").as_secs();
    let (past, future) = ((now - 600).to_string(), (now + 600).to_string());
    for (claim, value, status, says) in [
        ("claim.nonce", "another", 502, "answer cannot be used"),
        ("claim.iss", "https://other.example", 502, "answer cannot be used"),
        ("claim.aud", "another", 502, "answer cannot be used"),
        ("claim.azp", "another", 502, "answer cannot be used"),
        ("claim.exp", past.as_str(), 502, "The clocks of the identity provider and of the console differ"),
        ("claim.iat", future.as_str(), 502, "The clocks of the identity provider and of the console differ"),
        ("claim.role", "admin", 403, "olga has neither the role viewer nor the role operator"),
        ("claim.sub", "", 502, "answer cannot be used"),
        ("claim.padding", &"x".repeat(4000), 502, "answer cannot be used"),
    ] {
        let mut olga = Visitor::of_nobody(&stack);
        let answer = olga.sign_in(&[OLGA[0], OLGA[1], (claim, value)]).await;
        assert_refused(&answer, status, says);
        assert_eq!(olga.open("/console").await.status, 303, "{claim}");
    }
    for said in ["token-refused", "clock-skew", "no-role", "token-too-long", "it was not issued for this sign-in"] {
        stack.logged(said).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn whoever_cancels_is_not_signed_in() {
    let stack = start().await;
    let mut olga = Visitor::of_nobody(&stack);
    let answer = olga.sign_in(&[OLGA[0], OLGA[1], ("cancel", "yes")]).await;
    assert_refused(&answer, 403, "refused the sign-in, or you cancelled it");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_link_leads_to_no_other_site_after_the_sign_in() {
    let stack = start().await;
    for target in
        ["https://evil.example/console", "//evil.example", "/\\evil.example", "/console@evil.example", "/payments"]
    {
        let mut olga = Visitor::of_nobody(&stack);
        let page = olga.start(target).await;
        let back = olga.choose(&page, &OLGA).await;
        let html = olga.end(&back).await.text();
        assert!(html.contains("content=\"0; url=/console\""), "{target}: {html}");
        assert!(!html.contains("evil") && !html.contains("/payments"), "{html}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn signing_out_ends_the_session_here_and_leads_to_the_issuer() {
    let stack = start().await;
    let olga = Visitor::of(&stack, "olga", "operator").await;
    let left = olga.send("/console/session/end", &[("csrf", &olga.csrf().await)]).await;
    let cookie = left.header("set-cookie").expect("a cookie");
    assert!(cookie.starts_with("__Host-session=;") && cookie.contains("Max-Age=0"), "{cookie}");
    let html = left.text().replace("&amp;", "&");
    let (_, rest) = html.split_once("content=\"0; url=").expect("leads on");
    let url = rest.split('"').next().expect("a URL");
    assert!(url.contains("/_local/issuer/end-session?"), "{url}");
    for name in ["post_logout_redirect_uri", "logout_uri"] {
        assert_eq!(parameter(url, name), format!("{}/console/signed-out", stack.base()));
    }
    assert_eq!(
        (parameter(url, "client_id"), parameter(url, "id_token_hint")),
        ("console".into(), olga.id_token().into())
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn roles_come_from_the_claim_and_by_the_names_that_the_template_chooses() {
    let setup = Setup::brief().reconciled_on_demand();
    let setup = setup.parameter("ConsoleRoleClaim", "department").parameter("ConsoleNameClaim", "email");
    let setup = setup.parameter("ConsoleViewerRole", "support").parameter("ConsoleOperatorRole", "payments ops");
    let stack = setup.start().await;
    let named = |email, department| [("name", "id-4711"), ("claim.email", email), ("claim.department", department)];
    let mut olga = Visitor::of_nobody(&stack);
    assert_eq!(olga.sign_in(&named("olga@example.com", "payments ops")).await.status, 200);
    let home = olga.open("/console").await.text();
    assert!(home.contains("olga@example.com") && home.contains("(operator)"), "{home}");
    let mut vera = Visitor::of_nobody(&stack);
    assert_eq!(vera.sign_in(&named("vera@example.com", "support")).await.status, 200);
    assert!(vera.open("/console").await.text().contains("(viewer)"));
    let mut nobody = Visitor::of_nobody(&stack);
    assert_eq!(nobody.sign_in(&[OLGA[0], OLGA[1], ("claim.email", "x@example.com")]).await.status, 403);
    assert_eq!(nobody.sign_in(&named("", "support")).await.status, 502, "without a name nobody gets in");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_client_with_a_secret_proves_itself_and_a_wrong_secret_is_reported() {
    let setup = Setup::brief().reconciled_on_demand();
    let stack = setup.parameter("ConsoleClientSecretName", "payments/console-client").start().await;
    Visitor::of(&stack, "olga", "operator").await;
    let secret = stack.local(reqwest::Method::POST, "secrets/payments/console-client");
    let put = secret.body(r#"{"client_secret":"wrong"}"#).send().await.expect("answers");
    assert_eq!(put.status(), 204);
    stack.local(reqwest::Method::POST, "functions/Console/kill").send().await.expect("answers");
    let mut olga = Visitor::of_nobody(&stack);
    assert_refused(&olga.sign_in(&OLGA).await, 502, "answer cannot be used");
    stack.logged("client-refused").await;
    assert!(!stack.log().contains("\"wrong\""), "{}", stack.log());
}

#[tokio::test(flavor = "multi_thread")]
async fn an_issuer_out_of_reach_is_named_and_a_stack_without_a_console_has_no_routes_for_one() {
    let setup = Setup::brief().reconciled_on_demand();
    let stack = setup.clone().parameter("ConsoleIssuer", "http://127.0.0.1:9/issuer").start().await;
    let nobody = Visitor::of_nobody(&stack);
    let answer = nobody.open("/console/sign-in/start").await;
    assert_eq!(answer.status, 503, "{}", answer.text());
    assert!(answer.text().contains("The identity provider is unavailable"), "{}", answer.text());
    let script = Script::of(&stack, "olga", "operator").await;
    assert_eq!(script.call(reqwest::Method::GET, "unresolved", None).await.problem(), "503 issuer-unavailable");

    let without = setup.parameter("ConsoleLogin", "None").start().await;
    for path in ["/console", "/console/sign-in", "/console/api/unresolved"] {
        assert_eq!(Visitor::of_nobody(&without).open(path).await.status, 404, "{path}");
    }
}
