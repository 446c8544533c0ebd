//! A function that does nothing, which shows the cost of the runtime alone.

use aws_lambda_events::sqs::{SqsBatchResponse, SqsEvent};
use lambda_http::{Error, Request, Response};
use lambda_runtime::{LambdaEvent, service_fn};
use subjects::setting;

/// The same allocator as in the functions of the application.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Error> {
    match setting("MODE").as_str() {
        "batch" => lambda_runtime::run(service_fn(batch)).await,
        _ => lambda_http::run(service_fn(request)).await,
    }
}

async fn request(_: Request) -> Result<Response<String>, Error> {
    Ok(Response::builder().status(201).body(r#"{"id":"order-1"}"#.to_owned())?)
}

async fn batch(_: LambdaEvent<SqsEvent>) -> Result<SqsBatchResponse, Error> {
    Ok(SqsBatchResponse::default())
}
