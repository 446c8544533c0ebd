//! A page for each problem type, to which the `type` of a problem document links.

use std::fmt::Write;

use idempotency::http::ProblemType;
use lambda_http::http::HeaderValue;
use lambda_http::http::header::{CACHE_CONTROL, CONTENT_SECURITY_POLICY, CONTENT_TYPE};
use lambda_http::{Body, Response};
use payments::problems::{address, all};

/// The list of all types.
pub(super) fn index() -> Response<Body> {
    let items = all().fold(String::new(), |mut items, kind| {
        // Writing into a string does not fail.
        let _ = write!(items, "<li><a href=\"{}\">{}</a>: {}</li>", address(&kind), kind.code, kind.title);
        items
    });
    page("Problem types", &format!("<ul>{items}</ul>"))
}

/// The page of a type; `None` if there is no such type.
pub(super) fn of(code: &str) -> Option<Response<Body>> {
    let kind = all().find(|kind| kind.code == code)?;
    let ProblemType { status, title, retryable, meaning, .. } = kind;
    let again = if retryable { "The same request may be sent again under the same key." } else { "" };
    Some(page(title, &format!("<p><code>{code}</code>, status {}. {again}</p><p>{meaning}</p>", status.as_u16())))
}

/// The texts are constants that need no escaping.
fn page(title: &str, content: &str) -> Response<Body> {
    let html = format!(
        "<!doctype html><html lang=\"en\"><meta charset=\"utf-8\"><title>{title}</title><h1>{title}</h1>{content}</html>\n"
    );
    let mut response = Response::new(Body::Text(html));
    let headers = response.headers_mut();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static("text/html; charset=utf-8"));
    headers.insert(CACHE_CONTROL, HeaderValue::from_static("public, max-age=3600"));
    headers.insert(CONTENT_SECURITY_POLICY, HeaderValue::from_static("default-src 'none'"));
    response
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_type_has_a_page_that_needs_no_escapes() {
        for kind in all() {
            assert!(![kind.title, kind.meaning].concat().contains(['<', '>', '&']), "{}", kind.code);
            let page = of(kind.code).expect("a page");
            let Body::Text(html) = page.body() else { panic!("{page:?}") };
            assert!(html.contains(kind.title) && html.contains(kind.meaning), "{html}");
            let Body::Text(list) = index().into_body() else { panic!("a text") };
            assert!(list.contains(&format!("href=\"{}\"", address(&kind))), "{list}");
        }
        assert!(of("invented").is_none());
    }
}
