//! What invokes functions without a request: schedules, queues, streams and topics; and the pipes.

use std::sync::Arc;

use anyhow::{Context, Result};

use super::{Stack, services::Services};
use crate::{
    function::Function,
    pipe::{self, Pipe},
    schedule::Schedule,
    scheduler::Scheduler,
    shard::Shard,
    shard_mapping,
    sqs_mapping::Poller,
    streams::{self, Streams},
    template::{self, Deployment},
};

/// Those that can be seen and moved through `/_local/`.
pub(super) struct Sources {
    pub(super) scheduler: Scheduler,
    pub(super) mappings: shard_mapping::Statuses,
    pub(super) schedules: Arc<[Schedule]>,
}

impl Stack {
    pub(super) fn scheduler(&self, services: &Services) -> Result<Scheduler> {
        Scheduler::open(
            services.storage.clone(),
            services.queues.clone(),
            services.deployment.clone(),
            self.template.schedule_groups.clone(),
            self.functions.values().cloned(),
        )
    }

    pub(super) fn start_sources(&self, services: &Services, scheduler: Scheduler) -> Result<Sources> {
        self.spawn(scheduler.clone().run());
        let mappings = self.start_shard_mappings(services)?;
        self.start_pipes(services)?;
        self.start_mappings(services)?;
        self.start_streams(&services.streams);
        let schedules = self.start_schedules(&services.deployment)?;
        Ok(Sources { scheduler, mappings, schedules })
    }

    fn start_pipes(&self, services: &Services) -> Result<()> {
        let Services { tables, queues, events, .. } = services;
        for (name, settings) in &self.template.pipes {
            if settings.is_stopped {
                continue;
            }
            let context = || format!("in pipe {name}");
            let table = self.template.table_of_stream(&settings.source_arn);
            let table =
                table.context("the source must be the stream of a table in the template").with_context(context)?;
            let target = match self.template.queue(&settings.target_arn) {
                Some((_, queue)) => pipe::Target::Queue { name: queue.name.clone(), queues: queues.clone() },
                None if events.is_bus(&settings.target_arn) => pipe::Target::Bus(events.clone()),
                None => {
                    let error = "the target must be a queue in the template or the default event bus";
                    return Err(anyhow::anyhow!(error)).with_context(context);
                }
            };
            let pipe = Pipe {
                name: name.clone(),
                settings: settings.clone(),
                target,
                region: services.deployment.region.clone(),
                stream: tables.stream(&table.name).with_context(context)?,
                storage: services.storage.clone(),
                activity: services.activity.clone(),
            };
            self.spawn(pipe.run());
        }
        Ok(())
    }

    fn start_shard_mappings(&self, services: &Services) -> Result<shard_mapping::Statuses> {
        let mut statuses = shard_mapping::Statuses::new();
        for (id, function) in &self.functions {
            let wrong = |arn: &str| format!("function {id}: {arn} is no stream here");
            let definition = function.definition();
            for settings in &definition.settings.tables {
                let table = self.template.table_of_stream(&settings.stream_arn);
                let stream = services.tables.stream(&table.with_context(|| wrong(&settings.stream_arn))?.name)?;
                let mapping = mapping(stream, settings, function, services);
                self.start_shard_mapping(mapping, &mut statuses);
            }
            for settings in &definition.settings.data_streams {
                let stream = self.template.data_stream(&settings.stream_arn);
                for shard in services.kinesis.shards(&stream.with_context(|| wrong(&settings.stream_arn))?.name)? {
                    let mapping = mapping(shard, settings, function, services);
                    self.start_shard_mapping(mapping, &mut statuses);
                }
            }
        }
        Ok(statuses)
    }

    fn start_shard_mapping<S: Shard>(
        &self,
        mapping: shard_mapping::Mapping<S>,
        statuses: &mut shard_mapping::Statuses,
    ) {
        statuses.insert(mapping.name(), mapping.status.clone());
        self.spawn(mapping.run());
    }

    fn start_mappings(&self, services: &Services) -> Result<()> {
        for (id, function) in &self.functions {
            for settings in &function.definition().settings.mappings {
                let (_, queue) = self
                    .template
                    .queue(&settings.queue_arn)
                    .with_context(|| format!("function {id}: {} is not a queue in the template", settings.queue_arn))?;
                let poller = Poller {
                    settings: settings.clone(),
                    queue: queue.name.clone(),
                    region: services.deployment.region.clone(),
                    queues: services.queues.clone(),
                    function: function.clone(),
                };
                self.spawn(poller.run());
            }
        }
        Ok(())
    }

    fn start_streams(&self, streams: &Streams) {
        for function in self.functions.values() {
            for settings in &function.definition().settings.streams {
                let poller = streams::poller::Poller {
                    settings: settings.clone(),
                    streams: streams.clone(),
                    function: function.clone(),
                };
                self.spawn(poller.run());
            }
        }
    }

    fn start_schedules(&self, deployment: &Deployment) -> Result<Arc<[Schedule]>> {
        let schedules = self.functions.values().flat_map(|function| {
            let schedules = function.definition().settings.schedules.clone();
            schedules.into_iter().map(|settings| Schedule::new(settings, function.clone(), deployment.clone()))
        });
        let schedules: Arc<[Schedule]> = schedules.collect::<Result<_>>()?;
        for index in 0..schedules.len() {
            let schedules = schedules.clone();
            self.spawn(async move { schedules[index].run().await });
        }
        Ok(schedules)
    }
}

fn mapping<S: Shard>(
    shard: S,
    settings: &template::ShardMapping,
    function: &Function,
    services: &Services,
) -> shard_mapping::Mapping<S> {
    shard_mapping::Mapping {
        settings: settings.clone(),
        region: services.deployment.region.clone(),
        shard,
        function: function.clone(),
        storage: services.storage.clone(),
        queues: services.queues.clone(),
        status: shard_mapping::Status::default(),
    }
}
