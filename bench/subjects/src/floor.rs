//! The DynamoDB calls by hand: the minimum that every library needs.
//!
//! It has no owner, lease or unknown outcome, and does not handle crashes; it exists only as a baseline for
//! measurements. [`Keeps::AsMuch`] stores as many attributes as the library does, of the same names and lengths,
//! without computing any of them: the remaining difference is the library's own work.

use std::collections::HashMap;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use crate::{CONCURRENCY, Order, Reply, hold, setting};
use aws_lambda_events::sqs::{SqsBatchResponse, SqsEvent, SqsMessage};
use aws_sdk_dynamodb::Client;
use aws_sdk_dynamodb::operation::put_item::PutItemError;
use aws_sdk_dynamodb::operation::transact_write_items::TransactWriteItemsError;
use aws_sdk_dynamodb::types::AttributeValue::{B, N, S};
use aws_sdk_dynamodb::types::{AttributeValue, Put, ReturnValuesOnConditionCheckFailure, TransactWriteItem};
use futures::stream::{self, StreamExt};
use lambda_http::request::RequestContext;
use lambda_http::{Body, Error, Request, RequestExt, Response};
use lambda_runtime::{LambdaEvent, service_fn};
use sha2::{Digest, Sha256};

type Item = HashMap<String, AttributeValue>;

const VACANT: &str = "attribute_not_exists(id) OR expiration < :now";

/// A function without a library.
pub struct Floor {
    /// The client.
    pub client: Client,
    /// The table of records.
    pub records: String,
    /// The table of effects.
    pub effects: String,
    /// The attributes of a settled record in single-write mode.
    pub keeps: Keeps,
}

/// The attributes of a settled record.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Keeps {
    /// Only those needed to replay the answer.
    Enough,
    /// The attributes of this library's record.
    AsMuch,
}

impl Floor {
    /// Creates the function from its environment.
    pub async fn from_environment(keeps: Keeps) -> Self {
        let config = aws_config::load_defaults(aws_config::BehaviorVersion::v2026_01_12()).await;
        let (records, effects) = (setting("RECORDS_TABLE"), setting("EFFECTS_TABLE"));
        Self { client: Client::new(&config), records, effects, keeps }
    }

    /// Serves the kind of events that its environment names.
    ///
    /// # Errors
    /// When the Runtime API is not available.
    pub async fn run(&self) -> Result<(), Error> {
        match setting("MODE").as_str() {
            "http" => lambda_http::run(service_fn(async |request| self.request(request).await)).await,
            "single-write" => lambda_http::run(service_fn(async |request| self.single_write(request).await)).await,
            _ => lambda_runtime::run(service_fn(async |event| self.batch(event).await)).await,
        }
    }

    /// Claim, run, settle: two requests.
    ///
    /// # Errors
    /// When DynamoDB fails, or the event is invalid.
    pub async fn request(&self, request: Request) -> Result<Response<Body>, Error> {
        let order: Order = serde_json::from_slice(request.body())?;
        let id = id_of(&request)?;
        let hash = Sha256::digest(request.body().as_ref()).to_vec();
        let item = Item::from([
            ("id".to_owned(), S(id.clone())),
            ("status".to_owned(), S("INPROGRESS".to_owned())),
            ("expiration".to_owned(), N((seconds() + 86_400).to_string())),
            ("hash".to_owned(), B(hash.clone().into())),
        ]);
        if let Some(old) = self.put(item).await? {
            return respond(found(&old, &hash));
        }
        hold(request.headers()).await;
        let reply = order.carry_out();
        if order.effect {
            self.client.put_item().table_name(&self.effects).item("id", S(id.clone())).send().await?;
        }
        let settle = self
            .client
            .update_item()
            .table_name(&self.records)
            .key("id", S(id))
            .update_expression("SET #status = :status, code = :code, #data = :data, expiration = :expiration")
            .expression_attribute_names("#status", "status")
            .expression_attribute_names("#data", "data")
            .expression_attribute_values(":status", S("COMPLETED".to_owned()))
            .expression_attribute_values(":code", N(reply.0.to_string()))
            .expression_attribute_values(":data", S(reply.1.clone()))
            .expression_attribute_values(":expiration", N((seconds() + 86_400).to_string()));
        settle.send().await?;
        respond(reply)
    }

    /// Writes the record and the effect in one request.
    ///
    /// # Errors
    /// When DynamoDB fails, or the event is invalid.
    pub async fn single_write(&self, request: Request) -> Result<Response<Body>, Error> {
        let order: Order = serde_json::from_slice(request.body())?;
        let hash = Sha256::digest(request.body().as_ref()).to_vec();
        respond(self.settle_at_once(&id_of(&request)?, &order, &hash).await?)
    }

    /// Writes record and effect of each message in one request.
    ///
    /// # Errors
    /// When DynamoDB fails, or the event is invalid.
    pub async fn batch(&self, event: LambdaEvent<SqsEvent>) -> Result<SqsBatchResponse, Error> {
        let returned = stream::iter(event.payload.records)
            .map(|message| async move {
                let settled = self.message(&message).await.is_ok();
                (!settled).then_some(message.message_id.unwrap_or_default())
            })
            .buffer_unordered(CONCURRENCY)
            .filter_map(std::future::ready);
        let mut response = SqsBatchResponse::default();
        response.set_failures(returned.collect::<Vec<_>>().await);
        Ok(response)
    }

    async fn message(&self, message: &SqsMessage) -> Result<Reply, Error> {
        let body = message.body.as_deref().unwrap_or_default();
        let order: Order = serde_json::from_str(body)?;
        let id = match self.keeps {
            Keeps::Enough => format!("message#{}", order.key),
            Keeps::AsMuch => format!("idempotency:{:0>43}", order.key),
        };
        self.settle_at_once(&id, &order, &Sha256::digest(body)).await
    }

    /// Writes the settled record and the effect in one request.
    async fn settle_at_once(&self, id: &str, order: &Order, hash: &[u8]) -> Result<Reply, Error> {
        let reply = order.carry_out();
        let mut item = Item::from([
            ("id".to_owned(), S(id.to_owned())),
            ("status".to_owned(), S("COMPLETED".to_owned())),
            ("expiration".to_owned(), N((seconds() + 86_400).to_string())),
            ("hash".to_owned(), B(hash.to_vec().into())),
        ]);
        match self.keeps {
            Keeps::Enough => {
                item.insert("code".to_owned(), N(reply.0.to_string()));
                item.insert("data".to_owned(), S(reply.1.clone()));
            }
            Keeps::AsMuch => item.extend(others(&reply)),
        }
        let old = if order.effect { self.transact(item, id).await? } else { self.put(item).await? };
        Ok(old.map_or(reply, |old| found(&old, hash)))
    }

    /// Puts an item. Returns the existing item if there is one.
    async fn put(&self, item: Item) -> Result<Option<Item>, Error> {
        let put = self
            .client
            .put_item()
            .table_name(&self.records)
            .set_item(Some(item))
            .condition_expression(VACANT)
            .expression_attribute_values(":now", N(seconds().to_string()))
            .return_values_on_condition_check_failure(ReturnValuesOnConditionCheckFailure::AllOld);
        match put.send().await.map_err(|error| error.into_service_error()) {
            Ok(_) => Ok(None),
            Err(PutItemError::ConditionalCheckFailedException(refused)) => Ok(Some(refused.item.unwrap_or_default())),
            Err(error) => Err(error.into()),
        }
    }

    async fn transact(&self, item: Item, effect: &str) -> Result<Option<Item>, Error> {
        let record = Put::builder()
            .table_name(&self.records)
            .set_item(Some(item))
            .condition_expression(VACANT)
            .expression_attribute_values(":now", N(seconds().to_string()))
            .return_values_on_condition_check_failure(ReturnValuesOnConditionCheckFailure::AllOld);
        let effect = Put::builder().table_name(&self.effects).item("id", S(effect.to_owned()));
        let transaction = self
            .client
            .transact_write_items()
            .transact_items(TransactWriteItem::builder().put(record.build()?).build())
            .transact_items(TransactWriteItem::builder().put(effect.build()?).build());
        match transaction.send().await.map_err(|error| error.into_service_error()) {
            Ok(_) => Ok(None),
            Err(TransactWriteItemsError::TransactionCanceledException(cancelled)) => {
                Ok(cancelled.cancellation_reasons.unwrap_or_default().swap_remove(0).item)
            }
            Err(error) => Err(error.into()),
        }
    }
}

/// The other attributes of the library's record, with constants of the same lengths.
fn others(reply: &Reply) -> [(String, AttributeValue); 10] {
    let now = || N((seconds() * 1000).to_string());
    [
        ("operation".to_owned(), S("post".to_owned())),
        ("principal".to_owned(), B(vec![1; 32].into())),
        ("transaction".to_owned(), S("01935b4a-7c00-7000-8000-000000000000".to_owned())),
        ("attempt".to_owned(), N("1".to_owned())),
        ("ended_by".to_owned(), B(vec![2; 16].into())),
        ("created".to_owned(), now()),
        ("updated".to_owned(), now()),
        ("story".to_owned(), B(vec![3; 27].into())),
        ("code".to_owned(), N(reply.0.to_string())),
        ("data".to_owned(), S(String::new())),
    ]
}

fn id_of(request: &Request) -> Result<String, Error> {
    let key = request.headers().get("idempotency-key").ok_or("no key")?.to_str()?;
    let Some(RequestContext::ApiGatewayV2(context)) = request.request_context_ref() else {
        return Err("no context".into());
    };
    let jwt = context.authorizer.as_ref().and_then(|authorizer| authorizer.jwt.as_ref()).ok_or("nobody")?;
    Ok(format!("{}#{key}", jwt.claims.get("sub").ok_or("nobody")?))
}

fn found(item: &Item, hash: &[u8]) -> Reply {
    let text = |name| item.get(name).and_then(|value| value.as_s().ok());
    if item.get("hash").and_then(|value| value.as_b().ok()).is_none_or(|found| found.as_ref() != hash) {
        return (422, String::new());
    }
    let code = item.get("code").and_then(|value| value.as_n().ok()?.parse().ok());
    code.zip(text("data").cloned()).unwrap_or((409, String::new()))
}

fn respond((status, body): Reply) -> Result<Response<Body>, Error> {
    Ok(Response::builder().status(status).header("content-type", "application/json").body(body.into())?)
}

fn seconds() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or(Duration::ZERO).as_secs()
}
