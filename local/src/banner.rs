//! The text that is printed when everything serves.

use std::net::SocketAddr;

use crate::template::Template;

pub(crate) fn text(address: SocketAddr, template: &Template) -> String {
    let url = format!("http://{address}");
    let mut text = format!(
        "ready {url}\n\n# Watch it: open this page.\n{url}/\n\nTOKEN=$(curl -s '{url}/_local/token?sub=ann&role=operator')\n"
    );
    // Only what the template has: a line that is offered must work.
    if has(template, "POST", "/payments") {
        let pay = format!(
            "curl -i -X POST {url}/payments -H \"Authorization: Bearer $TOKEN\" -H 'Content-Type: application/json' \
             -H 'Idempotency-Key: first-payment' \
             -d '{{\"account\":\"acct-1\",\"amount\":1999,\"currency\":\"EUR\",\"payment_method\":\"pm_card_visa\"}}'"
        );
        text += &format!("\n# Pay, and pay again: charged once, answered twice.\n{pay}\n{pay}\n");
    }
    if has(template, "GET", "/accounts/{account}") {
        text += &format!(
            "\n# The ledger, a moment later: each payment posted once.\n\
             curl -s {url}/accounts/acct-1 -H \"Authorization: Bearer $TOKEN\"\n"
        );
    }
    if has(template, "ANY", "/console") {
        text += &format!("\n# The operators' console: choose a name and a role to sign in.\n{url}/console\n");
    }
    if has(template, "POST", "/payments") {
        text += &format!("\n# The APIs, described, with requests to try.\n{url}/docs\n");
    }
    text + &format!(
        "\n# What the payment provider really charged, and everything else there is to try.\n\
         curl -s {url}/_local/charges\ncurl -s {url}/_local/\n\n# Type b and Enter to see this again. Ctrl-C stops when running requests have ended.\n"
    )
}

fn has(template: &Template, method: &str, path: &str) -> bool {
    template.api.routes.iter().any(|route| route.method == method && route.path == path)
}
