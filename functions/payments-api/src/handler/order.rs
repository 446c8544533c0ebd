//! A client's order, parsed once for the record's subject and the handler.

use idempotency::http::{Facts, Received};
use idempotency::protocol;
use lambda_http::Request;
use payments::{Invalid, PAY, PaymentId, PaymentRequest, REFUND, RefundRequest, Subject};

/// A request that moves money, valid or invalid.
#[derive(Clone, Debug)]
pub(crate) enum Order {
    /// `POST /payments`.
    Payment(Result<PaymentRequest, Invalid>),
    /// `POST /payments/{id}/refunds`.
    Refund {
        /// `None` if the path has no valid payment id.
        payment: Option<PaymentId>,
        order: Result<RefundRequest, Invalid>,
    },
}

/// Parses the order; `None` if the operation is not one of this application's.
pub(crate) fn read(request: &Request, received: &Received) -> Option<Order> {
    let (document, body) = (received.document(), request.body());
    Some(match received.operation() {
        PAY => Order::Payment(document.map_or_else(|| PaymentRequest::from_json(body), PaymentRequest::of)),
        REFUND => Order::Refund {
            payment: received.path_parameter("id").and_then(PaymentId::parse),
            order: document.map_or_else(|| RefundRequest::from_json(body), RefundRequest::of),
        },
        _ => return None,
    })
}

/// The record's subject: what is needed to look up the outcome when the request itself is gone.
pub(crate) fn subject(request: &Request) -> Option<protocol::Subject> {
    let subject = match request.extensions().get()? {
        Order::Payment(order) => Subject::of_payment(order),
        Order::Refund { payment, order } => Subject::of_refund(*payment, order),
    };
    protocol::Subject::new(subject.to_text())
}

/// The request's account and amount, for its log line. The account of a refund is in the payment, which is not read
/// yet.
pub(crate) fn facts(request: &Request) -> Facts {
    match request.extensions().get() {
        Some(Order::Payment(Ok(order))) => Facts {
            about: Some(order.account.to_string()),
            instrument: Some(order.payment_method.as_str().to_owned()),
            small: Some(order.money.is_small()),
            code: None,
        },
        Some(Order::Payment(Err(_)) | Order::Refund { .. }) | None => Facts::default(),
    }
}

#[cfg(test)]
mod tests {
    use idempotency::store::memory::{Effect, MemoryStore};
    use idempotency::{Attempt, Engine, IdempotencyLayer};
    use lambda_http::tower::{Layer, ServiceExt};
    use lambda_http::{Body, Error, Response, service_fn};
    use payments::{NAMESPACE, operations};

    use super::*;

    /// The order that the handler finds in its request, and the subject of the record.
    async fn read_of(route: &str, path: &str, media_type: &str, body: &str) -> (Option<Order>, Option<String>) {
        let event = include_str!("../../../../events/payments-api/first.json");
        let mut event: serde_json::Value = serde_json::from_str(event).unwrap();
        event["routeKey"] = route.into();
        event["requestContext"]["routeKey"] = route.into();
        event["rawPath"] = path.into();
        event["requestContext"]["http"]["path"] = path.into();
        event["headers"]["content-type"] = media_type.into();
        event["body"] = body.into();
        let request = lambda_http::request::from_str(&event.to_string()).unwrap();
        let layer = IdempotencyLayer::new(Engine::builder(MemoryStore::new()).build(), NAMESPACE);
        let layer = operations().iter().fold(layer, |layer, operation| layer.operation(operation.clone()));
        let (sender, receiver) = std::sync::mpsc::channel();
        let handler = service_fn(move |request: Request| {
            let found = request.extensions().get::<Order>().cloned();
            let is_protected = Attempt::<Effect>::from_request(&request).is_ok();
            sender.send((found, subject(&request), is_protected)).unwrap();
            async { Ok::<_, Error>(Response::new(Body::Empty)) }
        });
        layer.reading(read).layer(handler).oneshot(request).await.unwrap();
        let (order, subject, is_protected) = receiver.recv().unwrap();
        assert!(is_protected);
        (order, subject.map(|subject| subject.as_str().to_owned()))
    }

    const JSON: &str = "application/json";

    #[tokio::test]
    async fn each_route_is_read_as_what_it_asks_for_whatever_names_it() {
        let body = r#"{"account":"acct_1","amount":1200,"currency":"eur","payment_method":"pm_card_visa"}"#;
        for (route, media_type) in [(PAY, JSON), ("ANY /{proxy+}", JSON), ("$default", "text/plain")] {
            let (order, subject) = read_of(route, "/payments", media_type, body).await;
            assert!(matches!(order, Some(Order::Payment(Ok(_)))), "{route}: {order:?}");
            assert_eq!(subject.as_deref(), Some(r#"{"account":"acct_1","amount":1200,"currency":"EUR"}"#));
        }
        let id = "pay_01935b4a7c0070008000000000000001";
        let (_, subject) = read_of(REFUND, &format!("/payments/{id}/refunds"), JSON, r#"{"amount":200}"#).await;
        assert_eq!(subject, Some(format!(r#"{{"payment":"{id}","amount":200}}"#)));
        assert!(matches!(read_of("$default", "/other", JSON, body).await, (None, None)));
    }

    #[tokio::test]
    async fn a_request_that_is_not_valid_has_a_subject_of_ours() {
        for (route, path, body) in [
            (PAY, "/payments", "not JSON"),
            (PAY, "/payments", r#"{"account":"acct_1","amount":0,"currency":"EUR","payment_method":"pm_card_visa"}"#),
            (REFUND, "/payments/none/refunds", "{}"),
            (REFUND, "/payments/pay_01935b4a7c0070008000000000000001/refunds", r#"{"amount":-1}"#),
        ] {
            let (_, subject) = read_of(route, path, JSON, body).await;
            assert_eq!(subject.as_deref(), Some(r#"{"valid":false}"#), "{path} {body}");
        }
    }
}
