//! The sample events of AWS's documentation, one per front door: tests of their principals and their protection.

use serde_json::{Value, json};

use super::*;

/// A sample event, changed to a POST with a key.
fn sample(text: &str, change: impl FnOnce(&mut Value)) -> Request {
    let mut event: Value = serde_json::from_str(text).expect("JSON");
    for method in ["/httpMethod", "/method", "/requestContext/http/method"] {
        if let Some(method) = event.pointer_mut(method) {
            *method = json!("POST");
        }
    }
    for (headers, value) in [("headers", json!("k-1")), ("multiValueHeaders", json!(["k-1"]))] {
        if let Some(headers) = event[headers].as_object_mut() {
            // VPC Lattice has only lists.
            let has_lists = headers.values().next().is_some_and(Value::is_array);
            headers.insert("idempotency-key".into(), if has_lists { json!(["k-1"]) } else { value });
        }
    }
    change(&mut event);
    lambda_http::request::from_str(&event.to_string()).expect("a request")
}

fn unchanged(_: &mut Value) {}

fn name(principal: Option<Principal>) -> Option<String> {
    principal.map(|principal| principal.as_str().to_owned())
}

/// Asserts that the second request is a replay, and that the handler ran once.
async fn assert_protected(
    layer: impl FnOnce(IdempotencyLayer<TestStore>) -> IdempotencyLayer<TestStore>,
    request: &Request,
) {
    let api = Api::new([]).with(layer);
    for is_replay in [false, true] {
        let response = api.send(request.clone()).await;
        let detail = String::from_utf8_lossy(response.body()).into_owned();
        assert_eq!(response.status(), StatusCode::CREATED, "{detail}");
        assert_eq!(response.headers().contains_key("idempotency-replayed"), is_replay);
    }
    assert_eq!(api.runs(), 1);
}

#[tokio::test]
async fn an_http_api_names_the_subject_of_a_jwt() {
    let sub = |event: &mut Value| event["requestContext"]["authorizer"]["jwt"]["claims"]["sub"] = json!("alice");
    let request = sample(include_str!("events/http_api_jwt.json"), sub);
    assert_eq!(name(jwt_subject(&request)).as_deref(), Some("alice"));
    assert_protected(|layer| layer, &request).await;
    let without = sample(include_str!("events/http_api_jwt.json"), unchanged);
    assert_eq!(name(jwt_subject(&without).or_else(|| iam_user(&without))), None, "the sample has no `sub`");
}

#[tokio::test]
async fn an_http_api_names_the_iam_identity_and_of_a_cognito_pool_the_user_rather_than_the_shared_role() {
    let request = sample(include_str!("events/http_api_iam.json"), unchanged);
    assert_eq!(name(iam_user(&request)).as_deref(), Some("us-east-1:3f291106-8703-466b-8f2b-3ecee1ca56ce"));
    assert_protected(|layer| layer, &request).await;
    let no_cognito = |event: &mut Value| event["requestContext"]["authorizer"]["iam"]["cognitoIdentity"] = json!(null);
    let request = sample(include_str!("events/http_api_iam.json"), no_cognito);
    assert_eq!(name(iam_user(&request)).as_deref(), Some("arn:aws:iam::1234567890:user/Admin"));
}

#[tokio::test]
async fn an_http_api_has_the_context_of_a_lambda_authorizer() {
    let request = sample(include_str!("events/http_api_lambda_authorizer.json"), unchanged);
    assert_eq!(name(authorized("key")(&request)).as_deref(), Some("value"));
    assert_protected(|layer| layer.principal(authorized("key")), &request).await;
}

#[tokio::test]
async fn without_an_authorizer_nobody_is_named() {
    for text in [include_str!("events/http_api_no_authorizer.json"), include_str!("events/function_url.json")] {
        let request = sample(text, unchanged);
        assert_eq!(name(jwt_subject(&request).or_else(|| iam_user(&request))), None);
        assert_eq!(code(&Api::new([]).send(request.clone()).await), "403 missing-principal");
        assert_protected(|layer| layer.principal(everyone), &request).await;
    }
}

#[tokio::test]
async fn a_function_url_names_the_iam_identity() {
    let iam = |event: &mut Value| {
        event["requestContext"]["authorizer"] =
            json!({"iam": {"userArn": "arn:aws:iam::111122223333:user/example-user"}});
    };
    let request = sample(include_str!("events/function_url.json"), iam);
    assert_eq!(name(iam_user(&request)).as_deref(), Some("arn:aws:iam::111122223333:user/example-user"));
    assert_protected(|layer| layer, &request).await;
}

#[cfg(feature = "apigw_rest")]
#[tokio::test]
async fn a_rest_api_names_the_iam_identity_a_cognito_subject_or_what_its_authorizer_says() {
    let text = include_str!("events/rest_api.json");
    let request = sample(text, unchanged);
    assert_eq!(name(iam_user(&request)).as_deref(), Some("theCognitoIdentityId"));
    assert_eq!(name(authorized("principalId")(&request)).as_deref(), Some("admin"));
    assert_eq!(name(authorized("clientId")(&request)).as_deref(), Some("1"));
    assert_protected(|layer| layer.principal(authorized("principalId")), &request).await;
    let signed = sample(text, |event| event["requestContext"]["identity"]["cognitoIdentityId"] = json!(null));
    assert_eq!(name(iam_user(&signed)).as_deref(), Some("theUserArn"));
    let claims = sample(text, |event| event["requestContext"]["authorizer"] = json!({"claims": {"sub": "alice"}}));
    assert_eq!(name(jwt_subject(&claims)).as_deref(), Some("alice"));
}

#[cfg(feature = "alb")]
#[tokio::test]
async fn a_load_balancer_names_the_user_whom_it_signed_in() {
    let user = |event: &mut Value| {
        for (headers, value) in [("headers", json!("alice")), ("multiValueHeaders", json!(["alice"]))] {
            if let Some(headers) = event[headers].as_object_mut() {
                headers.insert("x-amzn-oidc-identity".into(), value);
            }
        }
    };
    for text in [include_str!("events/alb.json"), include_str!("events/alb_multi_value_headers.json")] {
        let nobody = sample(text, unchanged);
        assert_eq!(name(alb_user(&nobody)), None);
        assert_eq!(code(&Api::new([]).send(nobody).await), "403 missing-principal");
        let request = sample(text, user);
        assert_eq!(name(alb_user(&request)).as_deref(), Some("alice"));
        assert_protected(|layer| layer.principal(alb_user), &request).await;
    }
    // The header has a meaning only behind a load balancer.
    let elsewhere = sample(include_str!("events/http_api_no_authorizer.json"), user);
    assert_eq!(name(alb_user(&elsewhere)), None);
}

#[cfg(feature = "vpc_lattice")]
#[tokio::test]
async fn vpc_lattice_names_the_iam_identity() {
    let text = include_str!("events/vpc_lattice.json");
    let request = sample(text, unchanged);
    let role = "arn:aws:iam::123456789012:role/ExternalPartnerAccessRole";
    assert_eq!(name(iam_user(&request)).as_deref(), Some(role));
    assert_protected(|layer| layer, &request).await;
    let anonymous = sample(text, |event| event["requestContext"]["identity"] = json!({"sourceVpcArn": "arn"}));
    assert_eq!(name(iam_user(&anonymous)), None);
}

/// A message over a WebSocket has neither method nor headers: it is not a request that the layer could protect. With
/// the features of this crate it does not even parse as a request.
#[test]
fn a_message_over_a_websocket_is_no_request() {
    let text = include_str!("events/websocket.json");
    let mut event: Value = serde_json::from_str(text).unwrap();
    event["requestContext"]["eventType"] = json!("MESSAGE");
    event.as_object_mut().unwrap().remove("headers");
    assert!(lambda_http::request::from_str(&event.to_string()).is_err());
}
