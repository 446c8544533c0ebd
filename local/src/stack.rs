//! The whole stack: everything in the template, started in order and stopped without leftovers.

use std::{collections::BTreeMap, future::Future, net::SocketAddr, sync::Arc, thread};

use anyhow::{Context, Result};
use axum::Router;
use tokio::{net::TcpListener, task::JoinSet};
use tokio_util::{sync::CancellationToken, task::TaskTracker};

use crate::{
    activity::Activity,
    api_gateway::{ApiGateway, CONSOLE},
    banner, build,
    control::Control,
    definitions::Definitions,
    docs,
    dynamodb::{Gate, Outage, Tables},
    events::Events,
    function::Function,
    kinesis::Kinesis,
    listener,
    live::{Live, Monitoring},
    log_query::saved,
    logs::Logs,
    options::{Options, RecordStore},
    output::Output,
    parameters::{self, Parameters},
    pipe::{self, Pipe},
    process_group::ProcessGroup,
    provider::Provider,
    schedule::Schedule,
    scheduler::Scheduler,
    secrets::{self, Secrets},
    shard::Shard,
    shard_mapping,
    sign_in::{self, SignIn},
    sqs::{self, Queues},
    sqs_mapping::Poller,
    storage::Storage,
    streams::{self, Broker, StandIn, Streams},
    template::{self, Deployment, Evaluation, Template},
    token::Issuer,
    valkey::Valkey,
};

pub struct Stack {
    address: SocketAddr,
    banner: String,
    template: Template,
    functions: BTreeMap<String, Function>,
    provider: Provider,
    process_group: ProcessGroup,
    /// Held until the functions have ended.
    _valkey: Option<Valkey>,
    /// Nothing new begins.
    closing: CancellationToken,
    /// What functions use ends, too.
    end: CancellationToken,
    tasks: TaskTracker,
    dynamodb: Option<thread::JoinHandle<()>>,
}

impl Stack {
    /// Returns when everything serves.
    pub async fn start(options: &Options) -> Result<Self> {
        // The port first: that it is taken should not cost a build.
        let (gateway_listener, address) = listener::bind(options.port).await?;
        let (gate_listener, dynamodb) = listener::bind(options.dynamodb_port).await?;
        let (dynamodb_listener, behind_gate) = listener::bind(0).await?;
        let (sqs_listener, sqs) = listener::bind(0).await?;
        let (kinesis_listener, kinesis_address) = listener::bind(0).await?;
        let (secrets_listener, secrets_address) = listener::bind(0).await?;
        let (scheduler_listener, scheduler_address) = listener::bind(0).await?;
        let (provider_listener, provider_address) = listener::bind(0).await?;
        let provider_url = format!("http://{provider_address}");

        let path = options.template.clone().map_or_else(template::find, Ok)?;
        let storage = Storage::open(options.data.as_deref())?;
        let process_group = ProcessGroup::start()?;
        let valkey = match options.store {
            RecordStore::Dynamodb => None,
            RecordStore::Valkey => Some(Valkey::start(options.data.as_deref(), Some(process_group.id())).await?),
        };
        let deployment = deployment(options, sqs, &provider_url, address, valkey.as_ref());
        let template = Template::load(&path, &deployment)?;
        template.notes.iter().for_each(|note| tracing::warn!("{note}"));
        // Before the build, like the port.
        let streams = match &options.kafka {
            Some(servers) => Streams::Broker(Broker::connect(servers, topics(&template)).await?),
            None => Streams::StandIn(StandIn::open(storage.clone(), topics(&template))?),
        };
        let programs = match &options.built {
            Some(folder) => build::built(folder, &template.functions),
            None => build::packages(&template.functions).await,
        };
        let programs = programs.map_err(|error| template.locate(error))?;

        let tables = Tables::open(options.data.as_deref())?;
        tables.create(template.tables.values())?;
        let queues = Queues::open(storage.clone(), deployment.clone(), template.queues.values())?;
        let kinesis = Kinesis::open(template.data_streams.values(), &deployment)?;
        let secrets = Secrets::open(storage.clone(), &template, deployment.clone(), template::LOCAL_SECRET)?;
        let (activity, outage) = (Activity::new(), Outage::default());
        let output = Output::new(options.log, activity.clone());
        let provider = Provider::open(storage.clone(), provider_url, activity.clone())?;
        let events = Events::open(storage.clone(), deployment.clone())?;
        let logs = Logs::new(&deployment.account);
        let issuer = Issuer::open(&storage)?;
        let definitions = Definitions {
            programs,
            logs: logs.clone(),
            output: output.clone(),
            provider: provider.clone(),
            process_group: process_group.id(),
            dynamodb: options.dynamodb_endpoint.clone().unwrap_or_else(|| format!("http://{dynamodb}")),
            sqs,
            kinesis: kinesis_address,
            secrets: secrets_address,
            scheduler: scheduler_address,
            sandboxes: options.sandboxes,
            overtime: options.overtime,
        };
        let functions = definitions.of(&template, &deployment)?.into_iter();
        let functions = functions.map(|(id, definition)| (id, Function::new(definition))).collect();
        subscribe(&functions, &logs);

        let end = CancellationToken::new();
        let mut stack = Self {
            address,
            banner: banner::text(address, &template),
            template,
            functions,
            provider: provider.clone(),
            process_group,
            _valkey: valkey,
            closing: end.child_token(),
            end,
            tasks: TaskTracker::new(),
            dynamodb: None,
        };
        stack.dynamodb = Some(tables.serve(dynamodb_listener, options.time_to_live_sweep, stack.end.clone())?);
        let gate = Gate::new(behind_gate, &stack.template, &deployment, activity.clone(), outage.clone())?;
        stack.serve(gate_listener, gate.router());
        stack.serve(sqs_listener, sqs::router(&queues));
        stack.serve(kinesis_listener, kinesis.router());
        stack.serve(secrets_listener, secrets.router());
        stack.serve(provider_listener, provider.router());
        let scheduler = Scheduler::open(
            storage.clone(),
            queues.clone(),
            deployment.clone(),
            stack.template.schedule_groups.clone(),
            stack.functions.values().cloned(),
        )?;
        stack.serve(scheduler_listener, scheduler.router());
        stack.spawn(scheduler.clone().run());
        let mappings = stack.start_shard_mappings(&tables, &kinesis, &queues, &storage, &deployment)?;
        stack.start_pipes(&tables, &queues, &events, &storage, &deployment, &activity)?;
        stack.start_mappings(&queues, &deployment)?;
        stack.start_streams(&streams);
        let schedules = stack.start_schedules(&deployment)?;

        let evaluation = Evaluation::of(stack.template.source(), &deployment)?;
        let queries = saved::of(&evaluation.resources);
        let monitoring = Arc::new(Monitoring::new(&evaluation.resources));
        let parts = parameters::Parts {
            definitions,
            functions: stack.functions.clone(),
            schedules: schedules.clone(),
            monitoring: monitoring.clone(),
        };
        let source = stack.template.source().clone();
        let parameters = Parameters::new(source, deployment.clone(), evaluation, parts);
        let links = links(&stack.template);
        let has_root = stack.template.api.routes.iter().any(|route| route.takes_root());
        let parameter = |name: &str| stack.template.parameters.get(name).cloned().unwrap_or_default();
        let has_secret = !parameter(secrets::CLIENT_SECRET).is_empty();
        let sign_in = SignIn::new(issuer.clone(), address, parameter(sign_in::CLIENT_ID), has_secret);
        let docs = docs::router(&stack.template.api, address);
        let gateway = ApiGateway::new(
            std::mem::take(&mut stack.template.api),
            stack.functions.clone(),
            issuer.clone(),
            deployment,
            output.clone(),
        )?;
        let (end, subscribed) = (stack.end.clone(), logs.clone());
        stack.tasks.spawn(async move {
            end.cancelled().await;
            subscribed.end();
        });
        let control = Arc::new(Control {
            issuer,
            authorizer: gateway.authorizer().cloned(),
            provider,
            secrets,
            queues,
            streams,
            logs,
            lines: output.lines().clone(),
            queries,
            events,
            queue_settings: stack.template.queues.clone(),
            functions: stack.functions.clone(),
            parameters: Arc::new(parameters),
            outage,
            schedules,
            scheduler,
            mappings,
            dynamodb,
            sqs,
            kinesis: kinesis_address,
        });
        let live = Arc::new(Live::new(control.clone(), output, monitoring, links));
        stack.spawn(live.clone().report());
        stack.spawn(listener::serve(
            gateway_listener,
            control.router().merge(live.router(!has_root)).merge(docs).merge(sign_in.router()).merge(gateway.router()),
            stack.closing.clone().cancelled_owned(),
        ));
        if !options.on_demand
            && let Err(error) = stack.start_functions().await
        {
            let error = stack.template.locate(error);
            stack.stop().await;
            return Err(error);
        }
        Ok(stack)
    }

    /// Starts a sandbox of each function: one that cannot start is an error now, and not at its first request.
    async fn start_functions(&self) -> Result<()> {
        let starts = self.functions.iter().map(|(id, function)| async move {
            function.start_first().await.with_context(|| format!("in resource {id}"))
        });
        futures::future::try_join_all(starts).await.map(drop)
    }

    pub fn address(&self) -> SocketAddr {
        self.address
    }

    pub(crate) fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    pub(crate) fn provider(&self) -> &Provider {
        &self.provider
    }

    /// By logical id.
    pub(crate) fn function(&self, id: &str) -> Option<&Function> {
        self.functions.get(id)
    }

    /// The text to print when it serves.
    pub fn banner(&self) -> &str {
        &self.banner
    }

    /// No more requests and no more batches; what is in progress ends; then no more processes.
    pub async fn stop(mut self) {
        self.closing.cancel();
        for function in self.functions.values() {
            function.until_idle().await;
        }
        self.end.cancel();
        self.tasks.close();
        // All at once: each may take its half second.
        let stops: JoinSet<()> =
            self.functions.into_values().map(|function| async move { function.stop().await }).collect();
        stops.join_all().await;
        self.process_group.stop().await;
        self.tasks.wait().await;
        if let Some(thread) = self.dynamodb.take() {
            // It ends with `end`; a panic there has been reported on its thread.
            let _ = tokio::task::spawn_blocking(|| thread.join()).await;
        }
    }

    fn start_pipes(
        &self,
        tables: &Tables,
        queues: &Queues,
        events: &Events,
        storage: &Storage,
        deployment: &Deployment,
        activity: &Activity,
    ) -> Result<()> {
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
                region: deployment.region.clone(),
                stream: tables.stream(&table.name).with_context(context)?,
                storage: storage.clone(),
                activity: activity.clone(),
            };
            self.spawn(pipe.run());
        }
        Ok(())
    }

    fn start_shard_mappings(
        &self,
        tables: &Tables,
        kinesis: &Kinesis,
        queues: &Queues,
        storage: &Storage,
        deployment: &Deployment,
    ) -> Result<shard_mapping::Statuses> {
        let mut statuses = shard_mapping::Statuses::new();
        for (id, function) in &self.functions {
            let wrong = |arn: &str| format!("function {id}: {arn} is no stream here");
            let definition = function.definition();
            for settings in &definition.settings.tables {
                let table = self.template.table_of_stream(&settings.stream_arn);
                let stream = tables.stream(&table.with_context(|| wrong(&settings.stream_arn))?.name)?;
                let mapping = mapping(stream, settings, function, queues, storage, deployment);
                self.start_shard_mapping(mapping, &mut statuses);
            }
            for settings in &definition.settings.data_streams {
                let stream = self.template.data_stream(&settings.stream_arn);
                for shard in kinesis.shards(&stream.with_context(|| wrong(&settings.stream_arn))?.name)? {
                    let mapping = mapping(shard, settings, function, queues, storage, deployment);
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

    fn start_mappings(&self, queues: &Queues, deployment: &Deployment) -> Result<()> {
        for (id, function) in &self.functions {
            for settings in &function.definition().settings.mappings {
                let (_, queue) = self
                    .template
                    .queue(&settings.queue_arn)
                    .with_context(|| format!("function {id}: {} is not a queue in the template", settings.queue_arn))?;
                let poller = Poller {
                    settings: settings.clone(),
                    queue: queue.name.clone(),
                    region: deployment.region.clone(),
                    queues: queues.clone(),
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

    /// Serves what functions use, until they have ended.
    fn serve(&self, listener: TcpListener, router: Router) {
        self.tasks.spawn(listener::serve_machine(listener, router, self.end.clone().cancelled_owned()));
    }

    /// Runs until it is done or nothing new begins.
    fn spawn(&self, task: impl Future<Output = ()> + Send + 'static) {
        let end = self.closing.clone();
        self.tasks.spawn(async move {
            tokio::select! {
                () = task => {}
                () = end.cancelled() => {}
            }
        });
    }
}

fn deployment(
    options: &Options,
    sqs: SocketAddr,
    provider_url: &str,
    gateway: SocketAddr,
    valkey: Option<&Valkey>,
) -> Deployment {
    let records = valkey.into_iter().flat_map(|valkey| {
        [
            ("RecordStore", "Valkey".to_owned()),
            ("ValkeyServer", valkey.address().to_string()),
            ("ValkeyKeeps", valkey.keeps.to_owned()),
        ]
    });
    let records = records.map(|(name, value)| (name.to_owned(), value));
    Deployment {
        queue_endpoint: format!("http://{sqs}"),
        parameters: records.chain(options.parameters.iter().cloned()).collect(),
        defaults: BTreeMap::from([
            ("Stage".to_owned(), "development".to_owned()),
            ("JwtIssuer".to_owned(), sign_in::identifier(gateway)),
            ("ConsoleLogin".to_owned(), "Issuer".to_owned()),
            (sign_in::CLIENT_ID.to_owned(), "console".to_owned()),
            // The live page shows them.
            ("Alarms".to_owned(), "true".to_owned()),
            ("ProviderUrl".to_owned(), provider_url.to_owned()),
            // There is a cluster here, so what the template makes conditional on one is there, too.
            ("KafkaClusterArn".to_owned(), "arn:aws:kafka:us-east-1:000000000000:cluster/local/1".to_owned()),
        ]),
        ..Deployment::default()
    }
}

fn mapping<S: Shard>(
    shard: S,
    settings: &template::ShardMapping,
    function: &Function,
    queues: &Queues,
    storage: &Storage,
    deployment: &Deployment,
) -> shard_mapping::Mapping<S> {
    shard_mapping::Mapping {
        settings: settings.clone(),
        region: deployment.region.clone(),
        shard,
        function: function.clone(),
        storage: storage.clone(),
        queues: queues.clone(),
        status: shard_mapping::Status::default(),
    }
}

/// What the live page links to: only what the template has.
fn links(template: &Template) -> Vec<(&'static str, &'static str)> {
    let has = |path: &str| template.api.routes.iter().any(|route| route.path == path);
    let console = has(CONSOLE).then_some((CONSOLE, "Operators’ console"));
    console
        .into_iter()
        .chain([("/_local/alarms", "Alarms"), ("/_local/metrics", "Metrics"), ("/_local/", "All controls")])
        .collect()
}

/// The topics that functions read, and those for failed records.
fn topics(template: &Template) -> Vec<String> {
    let mappings = template.functions.values().flat_map(|function| &function.streams);
    mappings.flat_map(|mapping| mapping.topics.iter().chain(&mapping.failed_topic).cloned()).collect()
}

/// Before any of them runs, so that no line is missed.
fn subscribe(functions: &BTreeMap<String, Function>, logs: &Logs) {
    for function in functions.values() {
        for template::LogSubscription { name, log_group, pattern } in &function.definition().settings.subscriptions {
            logs.subscribe(log_group, name.clone(), pattern.clone(), function.clone());
        }
    }
}
