//! Access control: only programs and pages of this machine may drive the stack.
//!
//! Listening on loopback keeps other machines out, but not the browser on this one. A page of any site may send it
//! requests to `http://127.0.0.1:PORT`, and a page whose name is made to point to 127.0.0.1 after it was loaded ("DNS
//! rebinding") may read the answers as well. A browser reveals both: it names the site of the page in `Origin` and in
//! `Sec-Fetch-Site` (Fetch Metadata Request Headers), and the name it asked for in `Host`. Programs, curl for one, send
//! the address that they were given, and neither of the others.

use std::net::IpAddr;

use axum::{
    extract::Request,
    http::{HeaderMap, HeaderName, StatusCode, Uri, header, uri::Authority},
    middleware::Next,
    response::{IntoResponse, Response},
};

use crate::problem::Problem;

const FETCH_SITE: HeaderName = HeaderName::from_static("sec-fetch-site");

/// For a router's layer: 403 to requests from elsewhere.
pub(crate) async fn from_this_machine(request: Request, next: Next) -> Response {
    match refusal(request.headers(), request.uri()) {
        None => next.run(request).await,
        Some(why) => {
            let detail = format!("the local stack is only for this machine: {why}");
            Problem::new(StatusCode::FORBIDDEN, detail).into_response()
        }
    }
}

/// As [`from_this_machine`], but pages of other sites may lead a browser here. For what a page of any site may do.
pub(crate) async fn by_its_own_name(request: Request, next: Next) -> Response {
    match foreign_name(request.headers(), request.uri()) {
        None => next.run(request).await,
        Some(why) => Problem::new(StatusCode::FORBIDDEN, why).into_response(),
    }
}

/// Why the name that was asked for is none of this machine's, if it is not.
fn foreign_name(headers: &HeaderMap, uri: &Uri) -> Option<String> {
    let host = match headers.get(header::HOST) {
        Some(host) => host.to_str().unwrap_or_default(),
        // HTTP/2 names it in the request line.
        None => uri.authority().map_or("", Authority::as_str),
    };
    let is_ours = host.parse().is_ok_and(|host| is_loopback(&host));
    (!is_ours).then(|| format!("the Host `{host}` is not 127.0.0.1, localhost or [::1]"))
}

/// Why a request is refused, if it is.
fn refusal(headers: &HeaderMap, uri: &Uri) -> Option<String> {
    if let Some(why) = foreign_name(headers, uri) {
        return Some(why);
    }
    // A page of this machine, whatever its port, is the developer's own.
    if let Some(origin) = headers.get(header::ORIGIN) {
        let origin = origin.to_str().unwrap_or_default();
        let site = origin.strip_prefix("http://").or_else(|| origin.strip_prefix("https://"));
        let is_ours = site.and_then(|site| site.parse().ok()).is_some_and(|site| is_loopback(&site));
        return (!is_ours).then(|| format!("the request comes from a page of `{origin}`"));
    }
    // A page's request for a picture or a script has no `Origin`, nor has a link that is followed.
    match headers.get(FETCH_SITE).map(|site| site.to_str().unwrap_or_default()) {
        None | Some("none" | "same-origin" | "same-site") => None,
        Some(_) => Some("the request comes from a page of another site".to_owned()),
    }
}

fn is_loopback(authority: &Authority) -> bool {
    let name = authority.host();
    let address = name.strip_prefix('[').and_then(|name| name.strip_suffix(']')).unwrap_or(name);
    match address.parse::<IpAddr>() {
        Ok(address) => address.is_loopback(),
        Err(_) => name.eq_ignore_ascii_case("localhost"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn refused(headers: &[(HeaderName, &str)]) -> Option<String> {
        let headers = headers.iter().map(|(name, value)| (name.clone(), value.parse().expect("a value"))).collect();
        refusal(&headers, &Uri::from_static("/_local/"))
    }

    #[test]
    fn only_names_of_this_machine_are_a_host() {
        for host in ["127.0.0.1", "127.0.0.1:3000", "127.8.9.10:1", "localhost", "LocalHost:80", "[::1]", "[::1]:443"] {
            assert_eq!(refused(&[(header::HOST, host)]), None, "{host}");
        }
        for host in [
            "",
            "evil.example",
            "localhost.evil.example",
            "127.0.0.1.evil.example",
            "10.0.0.1",
            "0.0.0.0",
            "[::]",
            "169.254.169.254",
            "a b",
            "127.0.0.1@evil.example",
        ] {
            assert!(refused(&[(header::HOST, host)]).is_some(), "{host}");
        }
        assert!(refused(&[]).is_some(), "a request without a name is nobody's");
        let named = Uri::from_static("http://localhost:3000/_local/");
        assert_eq!(refusal(&HeaderMap::new(), &named), None, "as HTTP/2 names it");
    }

    #[test]
    fn only_pages_of_this_machine_may_ask() {
        let from = |name: HeaderName, value| refused(&[(header::HOST, "127.0.0.1:3000"), (name, value)]);
        for origin in ["http://localhost:5173", "https://127.0.0.1", "http://[::1]:8080"] {
            assert_eq!(from(header::ORIGIN, origin), None, "{origin}");
        }
        for origin in
            ["null", "", "https://evil.example", "http://localhost.evil.example", "file://", "http://10.0.0.1"]
        {
            assert!(from(header::ORIGIN, origin).is_some(), "{origin}");
        }
        for site in ["none", "same-origin", "same-site"] {
            assert_eq!(from(FETCH_SITE, site), None, "{site}");
        }
        for site in ["cross-site", "", "new"] {
            assert!(from(FETCH_SITE, site).is_some(), "{site}");
        }
    }
}
