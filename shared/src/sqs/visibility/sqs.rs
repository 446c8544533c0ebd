//! Visibility by `ChangeMessageVisibility`.

use std::time::Duration;

use aws_lambda_events::event::sqs::SqsMessage;
use aws_sdk_sqs::Client;
use futures::FutureExt;
use futures::future::BoxFuture;

use super::Visibility;
use crate::store::{BoxError, dynamodb};

/// The maximum visibility timeout of SQS.
const LONGEST: Duration = Duration::from_secs(12 * 60 * 60);

/// Sets visibility timeouts with `ChangeMessageVisibility`. The function's role needs `sqs:ChangeMessageVisibility` on
/// the queue.
#[derive(Clone, Debug)]
pub struct SqsVisibility {
    client: Client,
}

impl SqsVisibility {
    /// Uses your own client. Keep its time-outs well under the function's.
    #[must_use]
    pub const fn new(client: Client) -> Self {
        Self { client }
    }

    /// Makes a client from the environment of a Lambda function, with the time-outs and retries of
    /// [`dynamodb::client`]. Make it once per process.
    #[must_use]
    pub fn from_environment() -> Self {
        Self::new(Client::new(&dynamodb::sdk_config("SQS")))
    }
}

impl Visibility for SqsVisibility {
    fn set<'a>(&'a self, message: &'a SqsMessage, after: Duration) -> BoxFuture<'a, Result<(), BoxError>> {
        async move {
            let arn = message.event_source_arn.as_deref().ok_or("the message does not name its queue")?;
            let receipt = message.receipt_handle.as_deref().ok_or("the message has no receipt handle")?;
            let request = self.client.change_message_visibility().queue_url(queue_url(arn)?).receipt_handle(receipt);
            request.visibility_timeout(seconds(after)).send().await?;
            Ok(())
        }
        .boxed()
    }
}

/// Rounded up: a message that is delivered a moment before the lease ends would be returned once more. Never 0, which
/// would make it visible at once.
fn seconds(after: Duration) -> i32 {
    let whole = after.min(LONGEST).as_millis().div_ceil(1000).max(1);
    i32::try_from(whole).unwrap_or(i32::MAX)
}

/// The queue's URL, derived from its ARN, without the request and the permission of `GetQueueUrl`. SQS uses only its
/// path; the client determines the endpoint.
fn queue_url(arn: &str) -> Result<String, BoxError> {
    let parts: Vec<&str> = arn.split(':').collect();
    let ["arn", partition, "sqs", region, account, name] = parts.as_slice() else {
        return Err("the message's source is not the ARN of a queue".into());
    };
    let suffix = if *partition == "aws-cn" { "amazonaws.com.cn" } else { "amazonaws.com" };
    Ok(format!("https://sqs.{region}.{suffix}/{account}/{name}"))
}

#[cfg(test)]
mod tests {
    use aws_sdk_sqs::config::{BehaviorVersion, Credentials, Region};
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    use tokio::net::TcpListener;

    use super::*;

    /// Answers one request, and returns the request's text.
    async fn answer(listener: TcpListener, status: &str, body: &str) -> String {
        let (mut stream, _) = listener.accept().await.unwrap();
        let mut request = Vec::new();
        while !request.ends_with(b"}") {
            let mut chunk = [0; 4096];
            let count = stream.read(&mut chunk).await.unwrap();
            request.extend_from_slice(&chunk[..count]);
        }
        let head = format!("HTTP/1.1 {status}\r\nContent-Type: application/x-amz-json-1.0");
        let reply = format!("{head}\r\nContent-Length: {}\r\n\r\n{body}", body.len());
        stream.write_all(reply.as_bytes()).await.unwrap();
        String::from_utf8(request).unwrap()
    }

    #[tokio::test]
    async fn the_request_names_queue_receipt_and_seconds_and_a_refusal_is_an_error() {
        let denied = r#"{"__type":"com.amazonaws.sqs#AccessDeniedException","message":"no"}"#;
        for (status, body) in [("200 OK", "{}"), ("403 Forbidden", denied)] {
            let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
            let config = aws_sdk_sqs::Config::builder()
                .behavior_version(BehaviorVersion::latest())
                .region(Region::new("eu-central-1"))
                .endpoint_url(format!("http://{}", listener.local_addr().unwrap()))
                .credentials_provider(Credentials::new("local", "local", None, None, "tests"));
            let visibility = SqsVisibility::new(Client::from_conf(config.build()));
            let mut message = SqsMessage::default();
            message.event_source_arn = Some("arn:aws:sqs:eu-central-1:123456789012:Ledger".to_owned());
            message.receipt_handle = Some("receipt-1".to_owned());
            let set = visibility.set(&message, Duration::from_millis(6500));
            let (request, outcome) = tokio::join!(answer(listener, status, body), set);
            assert_eq!(outcome.is_ok(), status == "200 OK", "{outcome:?}");
            let (head, body) = request.split_once("\r\n\r\n").unwrap();
            assert!(head.to_lowercase().contains("x-amz-target: amazonsqs.changemessagevisibility"), "{head}");
            let body: serde_json::Value = serde_json::from_str(body).unwrap();
            let queue = "https://sqs.eu-central-1.amazonaws.com/123456789012/Ledger";
            let expected = serde_json::json!({"QueueUrl": queue, "ReceiptHandle": "receipt-1", "VisibilityTimeout": 7});
            assert_eq!(body, expected);
        }
    }

    #[test]
    fn a_rest_is_rounded_up_to_whole_seconds_that_sqs_accepts() {
        let after = |ms| seconds(Duration::from_millis(ms));
        assert_eq!([after(0), after(1), after(1000), after(1001)], [1, 1, 1, 2]);
        assert_eq!(seconds(Duration::MAX), 43_200);
    }

    #[test]
    fn a_queue_is_found_by_its_arn() {
        assert_eq!(
            queue_url("arn:aws:sqs:eu-central-1:123456789012:Ledger.fifo").unwrap(),
            "https://sqs.eu-central-1.amazonaws.com/123456789012/Ledger.fifo"
        );
        assert!(queue_url("arn:aws-cn:sqs:cn-north-1:1:Q").unwrap().contains("amazonaws.com.cn/1/Q"));
        for arn in ["", "arn:aws:kinesis:eu-central-1:1:stream/s", "https://sqs.example/1/Q"] {
            assert!(queue_url(arn).is_err(), "{arn}");
        }
    }
}
