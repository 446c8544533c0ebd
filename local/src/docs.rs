//! `/docs`: the descriptions of the application's APIs, rendered by Swagger UI, which the program contains. Requests
//! can be sent from the page, with a token that a button gets.

use std::net::SocketAddr;

use axum::{
    Router,
    http::{HeaderName, header},
    middleware,
    response::IntoResponse,
    routing::get,
};
use swagger_ui_dist::{ApiDefinition, OpenApiSource, generate_routes};

use crate::{access, template::HttpApi};

const PAGE: &str = include_str!("docs/page.html");
const SCRIPT: &str = include_str!("docs/page.js");
const PAYMENTS: &str = include_str!("../../docs/openapi.yaml");
const CONSOLE: &str = include_str!("../../docs/openapi-console.yaml");

/// The server that the descriptions name: a stack on the default port.
const SERVER: &str = "http://127.0.0.1:3000";

/// Swagger UI sets styles by script and has pictures in its style sheet.
const CONTENT_SECURITY_POLICY: &str = "default-src 'self'; style-src 'self' 'unsafe-inline'; img-src 'self' data:; \
                                       base-uri 'none'; frame-ancestors 'none'";

/// The pages, if the template is that of the application.
pub(crate) fn router(api: &HttpApi, address: SocketAddr) -> Router {
    if !api.routes.iter().any(|route| route.method == "POST" && route.path == "/payments") {
        return Router::new();
    }
    let here = format!("http://{address}");
    let description = |text: &str| {
        let text = text.replace(SERVER, &here);
        get(|| async { file("application/yaml", text) })
    };
    let programs = ApiDefinition { uri_prefix: "/docs/ui", api_definition: OpenApiSource::Uri("/docs"), title: None };
    Router::new()
        .route("/docs", get(|| async { file("text/html; charset=utf-8", PAGE) }))
        .route("/docs/page.js", get(|| async { file("text/javascript; charset=utf-8", SCRIPT) }))
        .route("/docs/openapi.yaml", description(PAYMENTS))
        .route("/docs/openapi-console.yaml", description(CONSOLE))
        .merge(generate_routes(programs))
        // Its script reads tokens.
        .layer(middleware::from_fn(access::by_its_own_name))
}

fn file(media_type: &'static str, content: impl IntoResponse) -> impl IntoResponse {
    let headers: [(HeaderName, &str); 3] = [
        (header::CONTENT_TYPE, media_type),
        (header::CONTENT_SECURITY_POLICY, CONTENT_SECURITY_POLICY),
        (header::CACHE_CONTROL, "no-store"),
    ];
    (headers, content)
}
