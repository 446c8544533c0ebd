//! The ports of the services that functions use.

use std::net::SocketAddr;

use anyhow::Result;
use tokio::net::TcpListener;

use crate::{listener, options::Options};

pub(super) struct Listeners {
    /// What functions take for DynamoDB.
    pub(super) gate: TcpListener,
    /// DynamoDB, behind the gate.
    pub(super) dynamodb: TcpListener,
    pub(super) sqs: TcpListener,
    pub(super) kinesis: TcpListener,
    pub(super) secrets: TcpListener,
    pub(super) scheduler: TcpListener,
    pub(super) provider: TcpListener,
}

/// Where each of the [`Listeners`] listens.
#[derive(Clone, Copy)]
pub(super) struct Addresses {
    pub(super) gate: SocketAddr,
    pub(super) dynamodb: SocketAddr,
    pub(super) sqs: SocketAddr,
    pub(super) kinesis: SocketAddr,
    pub(super) secrets: SocketAddr,
    pub(super) scheduler: SocketAddr,
    pub(super) provider: SocketAddr,
}

pub(super) async fn listen(options: &Options) -> Result<(Listeners, Addresses)> {
    let (gate_listener, gate) = listener::bind(options.dynamodb_port).await?;
    let (dynamodb_listener, dynamodb) = listener::bind(0).await?;
    let (sqs_listener, sqs) = listener::bind(0).await?;
    let (kinesis_listener, kinesis) = listener::bind(0).await?;
    let (secrets_listener, secrets) = listener::bind(0).await?;
    let (scheduler_listener, scheduler) = listener::bind(0).await?;
    let (provider_listener, provider) = listener::bind(0).await?;
    let listeners = Listeners {
        gate: gate_listener,
        dynamodb: dynamodb_listener,
        sqs: sqs_listener,
        kinesis: kinesis_listener,
        secrets: secrets_listener,
        scheduler: scheduler_listener,
        provider: provider_listener,
    };
    Ok((listeners, Addresses { gate, dynamodb, sqs, kinesis, secrets, scheduler, provider }))
}
