//! Settings of the layer.

use http::HeaderName;
use http::header::{CONTENT_TYPE, SET_COOKIE};

use super::*;

/// A handler whose response has several headers, of which a replay must repeat only some.
async fn with_headers(layer: &IdempotencyLayer<TestStore>) -> Response<Body> {
    let handler = service_fn(|_: Request| async {
        let response = Response::builder()
            .header(CONTENT_TYPE, "text/plain")
            .header(SET_COOKIE, "session=1")
            .header("x-receipt", "r-1");
        Ok::<_, Infallible>(response.body(Body::Text("done".into())).unwrap())
    });
    layer.layer(handler).oneshot(request("alice", "k", "/things", "{}")).await.unwrap()
}

#[tokio::test]
async fn a_replay_has_the_headers_of_the_list_and_those_that_are_added_to_it() {
    for is_added in [false, true] {
        let layer = Api::new([]).layer;
        let layer = if is_added { layer.replay_header(HeaderName::from_static("x-receipt")) } else { layer };
        let (first, replay) = (with_headers(&layer).await, with_headers(&layer).await);
        assert_eq!(first.headers()["x-receipt"], "r-1");
        assert_eq!(replay.headers()["idempotency-replayed"], "true");
        assert_eq!(replay.body(), first.body());
        assert_eq!(replay.headers()[CONTENT_TYPE], "text/plain");
        assert_eq!(replay.headers().get("x-receipt").is_some_and(|value| value == "r-1"), is_added);
        assert!(!replay.headers().contains_key(SET_COOKIE), "a cookie is never replayed");
    }
}
