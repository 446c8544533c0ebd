//! The API key while it is rotated: against a Secrets Manager and a provider in this process.

use aws_sdk_secretsmanager::Client;
use aws_sdk_secretsmanager::config::{BehaviorVersion, Credentials, Region};

use super::*;
use crate::{ApiKey, Secret, SecretError};

const KEY: &str = "01935b4a-7c00-7000-8000-000000000001";

/// A Secrets Manager that returns these values, one per request, and then none.
async fn secrets(values: Vec<&'static str>) -> (Client, JoinHandle<Vec<String>>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let config = aws_sdk_secretsmanager::Config::builder()
        .behavior_version(BehaviorVersion::v2026_01_12())
        .region(Region::from_static("us-east-1"))
        .credentials_provider(Credentials::for_tests())
        .retry_config(aws_sdk_secretsmanager::config::retry::RetryConfig::disabled())
        .endpoint_url(format!("http://{}", listener.local_addr().unwrap()));
    let asked = tokio::spawn(async move {
        let mut asked = Vec::new();
        for value in values {
            let (mut stream, _) = listener.accept().await.unwrap();
            asked.push(receive(&mut stream).await);
            let body = json!({ "ARN": "arn", "Name": "payments/provider", "SecretString": value }).to_string();
            let head = "HTTP/1.1 200 OK\r\ncontent-type: application/x-amz-json-1.1\r\nconnection: close";
            let answer = format!("{head}\r\ncontent-length: {}\r\n\r\n{body}", body.len());
            stream.write_all(answer.as_bytes()).await.unwrap();
        }
        asked
    });
    (Client::from_conf(config.build()), asked)
}

fn named(client: Client) -> ApiKey {
    ApiKey::secret(Secret::new(client, "payments/provider".to_owned()))
}

fn refused() -> (&'static str, Value) {
    ("401 Unauthorized", json!({ "error": { "type": "invalid_request_error", "message": "Expired API Key provided" } }))
}

/// The API key and the idempotency key of each request.
fn keys(requests: &[String]) -> Vec<(String, bool)> {
    let key = |request: &String| {
        let line = request.lines().find_map(|line| line.strip_prefix("authorization: Bearer ")).unwrap();
        (line.to_owned(), request.contains(&format!("idempotency-key: {KEY}")))
    };
    requests.iter().map(key).collect()
}

#[tokio::test]
async fn a_refused_key_is_read_again_and_the_request_sent_again_under_its_idempotency_key() {
    let (client, asked) = secrets(vec![r#"{"api_key":"old"}"#, r#"{"api_key":"new"}"#]).await;
    let done = || ("200 OK", intent("succeeded"));
    let (provider, requests) = serve_each(vec![refused(), done(), done()]).await;
    let provider = Provider { api_key: named(client), ..provider };
    for _ in 0..2 {
        let charge = provider.charge(TRANSACTION, &request(), TIMEOUT).await.unwrap();
        assert_eq!(charge, Charge::Succeeded { id: "pi_1".to_owned() });
    }
    let sent = keys(&requests.await.unwrap());
    assert_eq!(sent, [("old".to_owned(), true), ("new".to_owned(), true), ("new".to_owned(), true)]);
    let asked = asked.await.unwrap();
    assert_eq!(asked.len(), 2, "the second charge asks nobody");
    assert!(asked.iter().all(|request| request.contains("x-amz-target: secretsmanager.GetSecretValue")), "{asked:?}");
    assert!(asked.iter().all(|request| request.ends_with(r#"{"SecretId":"payments/provider"}"#)), "{asked:?}");
}

#[tokio::test]
async fn a_lookup_finds_the_new_key_as_well() {
    let (client, _asked) = secrets(vec![r#"{"api_key":"old"}"#, r#"{"api_key":"new"}"#]).await;
    let (provider, requests) = serve_each(vec![refused(), ("200 OK", json!({ "data": [] }))]).await;
    let provider = Provider { api_key: named(client), ..provider };
    assert_eq!(provider.find_charge(TRANSACTION, TIMEOUT).await.unwrap(), ProviderStatus::NotFound);
    assert_eq!(keys(&requests.await.unwrap()), [("old".to_owned(), false), ("new".to_owned(), false)]);
}

#[tokio::test]
async fn without_a_newer_key_there_is_no_second_try_and_nothing_was_executed() {
    for second in [Some(r#"{"api_key":"old"}"#), Some(r#"{"api_key":"old","note":"the same"}"#), None] {
        let (client, _asked) = secrets([Some(r#"{"api_key":"old"}"#), second].into_iter().flatten().collect()).await;
        let (provider, requests) = serve_each(vec![refused()]).await;
        let provider = Provider { api_key: named(client), ..provider };
        match provider.charge(TRANSACTION, &request(), TIMEOUT).await {
            Err(ProviderError::NotExecuted(why)) => assert!(why.contains("401"), "{why}"),
            other => panic!("{other:?}"),
        }
        assert_eq!(requests.await.unwrap().len(), 1);
    }
}

#[tokio::test]
async fn without_a_usable_key_nothing_is_sent_and_no_message_shows_the_secret() {
    for (values, expected) in [
        (vec![], "could not be read"),
        (vec!["sk_live_plain"], "not a JSON object"),
        (vec!["{\"api_key\":\"sk_live_line\\n\"}"; 2], "no usable text `api_key`"),
        (vec![r#"{"key":"sk_live_misnamed"}"#; 2], "no usable text `api_key`"),
        (vec![r#"{"api_key":""}"#; 2], "no usable text `api_key`"),
    ] {
        let (client, _asked) = secrets(values).await;
        // Nobody listens there: a request would be `NotSent`.
        let provider = Provider::new("http://127.0.0.1:9", named(client), CONNECT).unwrap();
        match provider.charge(TRANSACTION, &request(), TIMEOUT).await {
            Err(ProviderError::NoApiKey(error)) => {
                assert!(error.to_string().contains(expected), "{error}");
                assert!(!format!("{error:?} {error}").contains("sk_live"), "{error:?}");
            }
            other => panic!("{expected}: {other:?}"),
        }
    }
}

#[tokio::test]
async fn one_request_serves_all_that_wait_for_the_same_secret() {
    let (client, asked) = secrets(vec![r#"{"api_key":"only"}"#]).await;
    let secret = Secret::new(client, "payments/provider".to_owned());
    let text = || secret.text("api_key", |text| Some(text.to_owned()));
    let both = tokio::join!(text(), text());
    assert!(matches!(both, (Ok(_), Ok(_))));
    assert_eq!(asked.await.unwrap().len(), 1);
}

#[tokio::test]
async fn a_value_that_cannot_be_used_is_not_remembered() {
    let values = vec![r#"{"client_id":"c"}"#, r#"{"client_id":"c"}"#, r#"{"api_key":"right"}"#];
    let (client, _asked) = secrets(values).await;
    let secret = Secret::new(client, "payments/provider".to_owned());
    let text = || secret.text("api_key", |text| Some(text.to_owned()));
    assert!(matches!(text().await, Err(SecretError::NoMember { member: "api_key", .. })));
    assert_eq!(text().await.unwrap().0, "right");
}
