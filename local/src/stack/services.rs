//! The stand-ins of the services that functions use, and what they all share.

use std::{collections::BTreeMap, path::PathBuf};

use anyhow::Result;

use super::ports::Addresses;
use crate::{
    activity::Activity,
    definitions::Definitions,
    dynamodb::{Outage, Tables},
    events::Events,
    kinesis::Kinesis,
    logs::Logs,
    options::Options,
    output::Output,
    provider::Provider,
    secrets::Secrets,
    sqs::Queues,
    storage::Storage,
    streams::{Broker, StandIn, Streams},
    template::{self, Deployment, Template},
    token::Issuer,
};

pub(super) struct Services {
    pub(super) deployment: Deployment,
    pub(super) storage: Storage,
    pub(super) tables: Tables,
    pub(super) outage: Outage,
    pub(super) queues: Queues,
    pub(super) kinesis: Kinesis,
    pub(super) streams: Streams,
    pub(super) secrets: Secrets,
    pub(super) provider: Provider,
    pub(super) events: Events,
    pub(super) logs: Logs,
    pub(super) issuer: Issuer,
    pub(super) activity: Activity,
    pub(super) output: Output,
}

impl Services {
    pub(super) fn open(
        options: &Options,
        template: &Template,
        deployment: Deployment,
        storage: Storage,
        streams: Streams,
        addresses: &Addresses,
    ) -> Result<Self> {
        let tables = Tables::open(options.data.as_deref())?;
        tables.create(template.tables.values())?;
        let activity = Activity::new();
        Ok(Self {
            tables,
            outage: Outage::default(),
            queues: Queues::open(storage.clone(), deployment.clone(), template.queues.values())?,
            kinesis: Kinesis::open(template.data_streams.values(), &deployment)?,
            streams,
            secrets: Secrets::open(storage.clone(), template, deployment.clone(), template::LOCAL_SECRET)?,
            provider: Provider::open(storage.clone(), provider_url(addresses), activity.clone())?,
            events: Events::open(storage.clone(), deployment.clone())?,
            logs: Logs::new(&deployment.account),
            issuer: Issuer::open(&storage, options.signing_key.as_deref())?,
            output: Output::new(options.log, activity.clone()),
            activity,
            deployment,
            storage,
        })
    }

    /// What all functions share.
    pub(super) fn definitions(
        &self,
        options: &Options,
        addresses: &Addresses,
        programs: BTreeMap<PathBuf, PathBuf>,
        process_group: i32,
    ) -> Definitions {
        Definitions {
            programs,
            logs: self.logs.clone(),
            output: self.output.clone(),
            provider: self.provider.clone(),
            process_group,
            dynamodb: options.dynamodb_endpoint.clone().unwrap_or_else(|| format!("http://{}", addresses.gate)),
            sqs: addresses.sqs,
            kinesis: addresses.kinesis,
            secrets: addresses.secrets,
            scheduler: addresses.scheduler,
            sandboxes: options.sandboxes,
            overtime: options.overtime,
        }
    }
}

/// The streams of the topics that the template reads, on the broker that was chosen or on a stand-in.
pub(super) async fn streams(options: &Options, storage: &Storage, template: &Template) -> Result<Streams> {
    Ok(match &options.kafka {
        Some(servers) => Streams::Broker(Broker::connect(servers, topics(template)).await?),
        None => Streams::StandIn(StandIn::open(storage.clone(), topics(template))?),
    })
}

/// The topics that functions read, and those for failed records.
fn topics(template: &Template) -> Vec<String> {
    let mappings = template.functions.values().flat_map(|function| &function.streams);
    mappings.flat_map(|mapping| mapping.topics.iter().chain(&mapping.failed_topic).cloned()).collect()
}

pub(super) fn provider_url(addresses: &Addresses) -> String {
    format!("http://{}", addresses.provider)
}
