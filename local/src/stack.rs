//! The whole stack: everything in the template, started in order and stopped without leftovers.

use std::{collections::BTreeMap, future::Future, net::SocketAddr, path::PathBuf, sync::Arc, thread};

use anyhow::{Context, Result};
use axum::Router;
use futures::FutureExt;
use tokio::{net::TcpListener, task::JoinSet};
use tokio_util::{sync::CancellationToken, task::TaskTracker};

use crate::{
    api_gateway::{ApiGateway, CONSOLE},
    banner, build,
    control::Control,
    definitions::Definitions,
    docs,
    dynamodb::Gate,
    function::Function,
    listener,
    live::Live,
    log_query::saved::{self, SavedQuery},
    logs::Logs,
    monitoring::Monitoring,
    options::{Options, RecordStore},
    parameters::{self, Parameters},
    process_group::ProcessGroup,
    provider::Provider,
    scheduler::Scheduler,
    secrets,
    sign_in::{self, SignIn},
    sqs,
    storage::Storage,
    template::{self, Authorizer, Deployment, Evaluation, Template},
    valkey::Valkey,
};
use ports::{Addresses, Listeners};
use services::Services;
use sources::Sources;

mod ports;
mod services;
mod sources;

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
        // The ports first: that one is taken should not cost a build.
        let (gateway, address) = listener::bind(options.port).await?;
        let (listeners, addresses) = ports::listen(options).await?;
        let path = options.template.clone().map_or_else(template::find, Ok)?;
        let storage = Storage::open(options.data.as_deref())?;
        let process_group = ProcessGroup::start()?;
        let valkey = match options.store {
            RecordStore::Dynamodb => None,
            RecordStore::Valkey => Some(Valkey::start(options.data.as_deref(), Some(process_group.id())).await?),
        };
        let deployment = deployment(options, address, &addresses, valkey.as_ref());
        let template = Template::load(&path, &deployment)?;
        template.notes.iter().for_each(|note| tracing::warn!("{note}"));
        // Before the build, like the ports.
        let streams = services::streams(options, &storage, &template).await?;
        let programs = programs(options, &template).await?;

        let services = Services::open(options, &template, deployment, storage, streams, &addresses)?;
        let definitions = services.definitions(options, &addresses, programs, process_group.id());
        let functions = functions(&definitions, &template, &services)?;
        let end = CancellationToken::new();
        let mut stack = Self {
            address,
            banner: banner::text(address, &template),
            template,
            functions,
            provider: services.provider.clone(),
            process_group,
            _valkey: valkey,
            closing: end.child_token(),
            end,
            tasks: TaskTracker::new(),
            dynamodb: None,
        };
        let scheduler = stack.scheduler(&services)?;
        stack.serve_services(options, listeners, &addresses, &services, &scheduler)?;
        let sources = stack.start_sources(&services, scheduler)?;
        stack.serve_gateway(gateway, &addresses, services, definitions, sources)?;
        if !options.on_demand
            && let Err(error) = stack.start_functions().await
        {
            let error = stack.template.locate(error);
            stack.stop().await;
            return Err(error);
        }
        Ok(stack)
    }

    fn serve_services(
        &mut self,
        options: &Options,
        listeners: Listeners,
        addresses: &Addresses,
        services: &Services,
        scheduler: &Scheduler,
    ) -> Result<()> {
        let Services { deployment, tables, outage, activity, .. } = services;
        self.dynamodb = Some(tables.serve(listeners.dynamodb, options.time_to_live_sweep, self.end.clone())?);
        let gate = Gate::new(addresses.dynamodb, &self.template, deployment, activity.clone(), outage.clone())?;
        self.serve(listeners.gate, gate.router());
        self.serve(listeners.sqs, sqs::router(&services.queues));
        self.serve(listeners.kinesis, services.kinesis.router());
        self.serve(listeners.secrets, services.secrets.router());
        self.serve(listeners.provider, services.provider.router());
        self.serve(listeners.scheduler, scheduler.router());
        Ok(())
    }

    /// Serves at one port: the API, its page, the issuer at which people sign in, the live page and `/_local/`.
    fn serve_gateway(
        &mut self,
        listener: TcpListener,
        addresses: &Addresses,
        services: Services,
        definitions: Definitions,
        sources: Sources,
    ) -> Result<()> {
        let evaluation = Evaluation::of(self.template.source(), &services.deployment)?;
        let queries = saved::of(&evaluation.resources);
        let monitoring = Arc::new(Monitoring::new(&evaluation.resources));
        let parts = parameters::Parts {
            definitions,
            functions: self.functions.clone(),
            schedules: sources.schedules.clone(),
            monitoring: monitoring.clone(),
        };
        let source = self.template.source().clone();
        let parameters = Parameters::new(source, services.deployment.clone(), evaluation, parts);
        let links = links(&self.template);
        let has_root = self.template.api.routes.iter().any(|route| route.takes_root());
        let pages = docs::router(&self.template.api, self.address).merge(self.sign_in(&services).router());
        let gateway = ApiGateway::new(
            std::mem::take(&mut self.template.api),
            self.functions.clone(),
            services.issuer.clone(),
            services.deployment.clone(),
            services.output.clone(),
        )?;
        self.end_subscriptions(services.logs.clone());
        let output = services.output.clone();
        let authorizer = gateway.authorizer().cloned();
        let control = Arc::new(self.control(addresses, services, sources, authorizer, queries, parameters));
        let live = Arc::new(Live::new(control.clone(), output, monitoring, links));
        self.spawn(live.clone().report());
        let router = control.router().merge(live.router(!has_root)).merge(pages).merge(gateway.router());
        self.spawn(listener::serve(listener, router, self.closing.clone().cancelled_owned()));
        Ok(())
    }

    fn sign_in(&self, services: &Services) -> SignIn {
        let parameter = |name: &str| self.template.parameters.get(name).cloned().unwrap_or_default();
        let has_secret = !parameter(secrets::CLIENT_SECRET).is_empty();
        SignIn::new(services.issuer.clone(), self.address, parameter(sign_in::CLIENT_ID), has_secret)
    }

    fn control(
        &self,
        addresses: &Addresses,
        services: Services,
        sources: Sources,
        authorizer: Option<Authorizer>,
        queries: BTreeMap<String, SavedQuery>,
        parameters: Parameters,
    ) -> Control {
        Control {
            issuer: services.issuer,
            authorizer,
            provider: services.provider,
            secrets: services.secrets,
            queues: services.queues,
            streams: services.streams,
            logs: services.logs,
            lines: services.output.lines().clone(),
            queries,
            events: services.events,
            queue_settings: self.template.queues.clone(),
            functions: self.functions.clone(),
            parameters: Arc::new(parameters),
            outage: services.outage,
            schedules: sources.schedules,
            scheduler: sources.scheduler,
            mappings: sources.mappings,
            dynamodb: addresses.gate,
            sqs: addresses.sqs,
            kinesis: addresses.kinesis,
        }
    }

    fn end_subscriptions(&self, logs: Logs) {
        let end = self.end.clone();
        self.tasks.spawn(async move {
            end.cancelled().await;
            logs.end();
        });
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

/// The program of each function, by the folder of its code.
async fn programs(options: &Options, template: &Template) -> Result<BTreeMap<PathBuf, PathBuf>> {
    let programs = match &options.built {
        Some(folder) => build::built(folder, &template.functions),
        None => build::packages(&template.functions).await,
    };
    programs.map_err(|error| template.locate(error))
}

/// The functions, subscribed to the log groups that they name before any of them runs, so that no line is missed.
fn functions(
    definitions: &Definitions,
    template: &Template,
    services: &Services,
) -> Result<BTreeMap<String, Function>> {
    let definitions = definitions.of(template, &services.deployment)?.into_iter();
    let functions = definitions.map(|(id, definition)| (id, Function::new(definition))).collect();
    subscribe(&functions, &services.logs);
    Ok(functions)
}

fn deployment(options: &Options, gateway: SocketAddr, addresses: &Addresses, valkey: Option<&Valkey>) -> Deployment {
    let records = valkey.into_iter().flat_map(|valkey| {
        [
            ("RecordStore", "Valkey".to_owned()),
            ("ValkeyServer", valkey.address().to_string()),
            ("ValkeyKeeps", valkey.keeps.to_owned()),
        ]
    });
    let records = records.map(|(name, value)| (name.to_owned(), value));
    Deployment {
        queue_endpoint: format!("http://{}", addresses.sqs),
        parameters: records.chain(options.parameters.iter().cloned()).collect(),
        defaults: BTreeMap::from([
            ("Stage".to_owned(), "development".to_owned()),
            ("JwtIssuer".to_owned(), sign_in::identifier(gateway)),
            ("ConsoleLogin".to_owned(), "Issuer".to_owned()),
            (sign_in::CLIENT_ID.to_owned(), "console".to_owned()),
            // The live page shows them.
            ("Alarms".to_owned(), "true".to_owned()),
            ("ProviderUrl".to_owned(), services::provider_url(addresses)),
            // There is a cluster here, so what the template makes conditional on one is there, too.
            ("KafkaClusterArn".to_owned(), "arn:aws:kafka:us-east-1:000000000000:cluster/local/1".to_owned()),
        ]),
        ..Deployment::default()
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

fn subscribe(functions: &BTreeMap<String, Function>, logs: &Logs) {
    for function in functions.values() {
        for template::LogSubscription { name, log_group, pattern } in &function.definition().settings.subscriptions {
            let function = function.clone();
            let invoke = move |batch| {
                let function = function.clone();
                async move { function.invoke(batch).await }.boxed()
            };
            logs.subscribe(log_group, name.clone(), pattern.clone(), Box::new(invoke));
        }
    }
}
