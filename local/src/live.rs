//! The live page, `GET /`: what happens in the stack, as it happens, and buttons over what `/_local/` can do.

use std::{collections::HashMap, convert::Infallible, sync::Arc, time::Duration};

use anyhow::Result;
use axum::{
    Json, Router,
    extract::State,
    http::header,
    middleware,
    response::{
        IntoResponse, Response,
        sse::{Event, KeepAlive, Sse},
    },
    routing::get,
};
use futures::{Stream, StreamExt, stream};
use serde::Serialize;
use tokio_stream::wrappers::BroadcastStream;

use crate::{
    access,
    activity::{Place, Totals},
    alarms,
    control::Control,
    function::Function,
    metrics,
    monitoring::{Monitoring, tiles},
    output::Output,
    provider::Charge,
    sandbox,
};

/// How often the page gets the state of the stack.
const REFRESH: Duration = Duration::from_millis(500);

/// How often the stack's own services report their metrics. CloudWatch has them every minute.
const REPORT: Duration = Duration::from_secs(5);

pub(crate) struct Live {
    control: Arc<Control>,
    output: Output,
    monitoring: Arc<Monitoring>,
    /// How many charges there were when the stack started.
    charges_before: usize,
    /// Paths of the API that the page links to.
    links: Vec<(&'static str, &'static str)>,
}

/// The state of the stack.
#[derive(Debug, PartialEq, Serialize)]
struct Stack {
    totals: Totals,
    /// Since the start, as the totals.
    charges: usize,
    charged_twice: usize,
    provider_down: bool,
    dynamodb_down: bool,
    /// How many schedules are paused.
    schedules_off: usize,
    functions: Vec<FunctionSeen>,
    queues: Vec<QueueSeen>,
    topics: Vec<TopicSeen>,
    alarms: Vec<alarms::Seen>,
    tiles: Vec<tiles::Seen>,
}

#[derive(Debug, PartialEq, Serialize)]
struct FunctionSeen {
    /// The logical id.
    id: String,
    name: String,
    place: Place,
    /// Whether routes of the API lead to it.
    api: bool,
    sandboxes: Vec<sandbox::State>,
}

#[derive(Debug, PartialEq, Serialize)]
struct QueueSeen {
    /// The logical id.
    id: String,
    name: String,
    visible: usize,
    in_flight: usize,
    delayed: usize,
    dead_letters: bool,
    /// When a message that cannot be processed leaves it.
    redrive: Option<RedriveSeen>,
}

#[derive(Debug, PartialEq, Serialize)]
struct RedriveSeen {
    receives: u32,
    /// Between one receive and the next.
    seconds: u64,
    /// The name of the queue of its dead letters.
    target: String,
}

#[derive(Debug, PartialEq, Serialize)]
struct TopicSeen {
    name: String,
    /// How many records the slowest function has not read yet.
    behind: i64,
}

impl Live {
    pub(crate) fn new(
        control: Arc<Control>,
        output: Output,
        monitoring: Arc<Monitoring>,
        links: Vec<(&'static str, &'static str)>,
    ) -> Self {
        let charges_before = control.provider.charges().len();
        Self { control, output, monitoring, charges_before, links }
    }

    /// `root` is whether the page is at `/`; the template's API may have a route there.
    pub(crate) fn router(self: Arc<Self>, root: bool) -> Router {
        let router = Router::new()
            .route("/_local/page", get(page))
            .route("/_local/live", get(live))
            .route("/_local/metrics", get(metrics))
            .route("/_local/alarms", get(alarms));
        let router = if root { router.route("/", get(page)) } else { router };
        router.layer(middleware::from_fn(access::from_this_machine)).with_state(self)
    }

    /// Reports what CloudWatch has of the services themselves.
    pub(crate) async fn report(self: Arc<Self>) {
        let mut clock = tokio::time::interval(REPORT);
        loop {
            clock.tick().await;
            if let Err(error) = self.report_queues() {
                tracing::warn!("the queues cannot be read for their metrics: {error:#}");
            }
            // An alarm keeps its state over periods without values, so it must be looked at all the time.
            self.monitoring.alarms(self.output.metrics());
        }
    }

    fn report_queues(&self) -> Result<()> {
        for queue in self.control.queue_settings.values() {
            let contents = self.control.queues.contents(&queue.name)?;
            let series = |name| metrics::Series::new("AWS/SQS", name, &[("QueueName", queue.name.as_str())]);
            self.output.metrics().put(series("ApproximateNumberOfMessagesVisible"), contents.visible as f64);
            self.output.metrics().put(series("ApproximateAgeOfOldestMessage"), contents.oldest_s as f64);
        }
        Ok(())
    }

    async fn stack(&self) -> Result<Stack> {
        let control = &self.control;
        // Before the keys are counted: a charge between the two must not look like one without a key.
        let charges = control.provider.charges();
        let mut topics = Vec::new();
        for name in control.streams.topics() {
            let partitions = control.streams.contents(name).await?.partitions;
            let behind = partitions
                .iter()
                .map(|partition| partition.end - partition.positions.values().copied().min().unwrap_or(partition.end));
            topics.push(TopicSeen { name: name.to_owned(), behind: behind.sum() });
        }
        Ok(Stack {
            totals: self.output.activity().totals(),
            charges: charges.len().saturating_sub(self.charges_before),
            charged_twice: charged_twice(&charges),
            provider_down: control.provider.is_down(),
            dynamodb_down: control.outage.is_down(),
            schedules_off: control.schedules.iter().filter(|schedule| schedule.is_paused()).count(),
            functions: self.functions(),
            queues: self.queues()?,
            topics,
            alarms: self.monitoring.alarms(self.output.metrics()),
            tiles: self.monitoring.tiles(self.output.metrics(), |queue| {
                control.queues.contents(queue).ok().map(|contents| contents.visible)
            }),
        })
    }

    fn functions(&self) -> Vec<FunctionSeen> {
        let functions = self.control.functions.iter().map(|(id, function)| {
            let definition = function.definition();
            let mut sandboxes = function.sandboxes();
            sandboxes.sort_by_key(sandbox::State::process);
            FunctionSeen {
                id: id.clone(),
                name: function.name().to_owned(),
                place: Place::of(&definition.settings),
                api: definition.behind_api,
                sandboxes,
            }
        });
        functions.collect()
    }

    fn queues(&self) -> Result<Vec<QueueSeen>> {
        let settings = &self.control.queue_settings;
        let functions = self.control.functions.values().map(Function::definition);
        let mappings = functions.flat_map(|definition| definition.settings.mappings.clone());
        let arns: Vec<String> = mappings.map(|mapping| mapping.queue_arn).collect();
        let read: Vec<&str> = arns.iter().filter_map(|arn| arn.rsplit(':').next()).collect();
        let queues = settings.iter().map(|(id, queue)| {
            let contents = self.control.queues.contents(&queue.name)?;
            Ok(QueueSeen {
                id: id.clone(),
                name: queue.name.clone(),
                visible: contents.visible,
                in_flight: contents.in_flight,
                delayed: contents.delayed,
                // Nobody takes messages from it but people.
                dead_letters: !read.contains(&queue.name.as_str()),
                redrive: queue.redrive.as_ref().map(|redrive| RedriveSeen {
                    receives: redrive.max_receive_count,
                    seconds: queue.visibility.as_secs(),
                    target: redrive.dead_letter_target_arn.rsplit(':').next().unwrap_or_default().to_owned(),
                }),
            })
        });
        queues.collect()
    }
}

/// Charges beyond the first of one order: of one reference, or without it of one transaction.
fn charged_twice(charges: &[Charge]) -> usize {
    let mut orders: HashMap<String, usize> = HashMap::new();
    for charge in charges {
        let order = ["reference", "transaction"].iter().find_map(|name| charge.metadata.get(*name));
        *orders.entry(order.cloned().unwrap_or_else(|| charge.id.clone())).or_default() += 1;
    }
    orders.values().map(|count| count - 1).sum()
}

async fn page(State(live): State<Arc<Live>>) -> Response {
    const PAGE: &str = include_str!("live/page.html");
    const POLICY: &str = "default-src 'none'; style-src 'unsafe-inline'; script-src 'unsafe-inline'; img-src data:; \
                          connect-src 'self'; base-uri 'none'; frame-ancestors 'none'";
    let links = live.links.iter().map(|(path, name)| format!("<a href=\"{path}\">{name}</a>"));
    let page = PAGE.replace("<!--LINKS-->", &links.collect::<Vec<_>>().join("\n    "));
    let headers = [(header::CONTENT_TYPE, "text/html; charset=utf-8"), (header::CONTENT_SECURITY_POLICY, POLICY)];
    (headers, page).into_response()
}

/// Server-sent events: first `latest`, the requests that were answered last, oldest first; then `step` and `answered`
/// as they happen, and `stack` whenever it has changed.
async fn live(State(live): State<Arc<Live>>) -> Sse<impl Stream<Item = Result<Event, Infallible>>> {
    let (latest, events) = live.output.activity().watch();
    let latest = stream::iter(Event::default().event("latest").json_data(latest).ok());
    let happened = BroadcastStream::new(events).filter_map(async |event| {
        // A watcher that was too slow misses some.
        let event = event.ok()?;
        Event::default().event(event.name()).json_data(&event).ok()
    });
    let clock = tokio::time::interval(REFRESH);
    let states = stream::unfold((live, clock, None), async |(live, mut clock, before)| {
        loop {
            clock.tick().await;
            match live.stack().await {
                Ok(stack) if before.as_ref() != Some(&stack) => {
                    let event = Event::default().event("stack").json_data(&stack).ok()?;
                    return Some((event, (live, clock, Some(stack))));
                }
                Ok(_) => {}
                Err(error) => tracing::warn!("the live page has no news: {error:#}"),
            }
        }
    });
    Sse::new(latest.chain(stream::select(happened, states)).map(Ok)).keep_alive(KeepAlive::default())
}

async fn metrics(State(live): State<Arc<Live>>) -> Response {
    ([(header::CONTENT_TYPE, "text/plain; version=0.0.4")], live.output.metrics().to_text()).into_response()
}

async fn alarms(State(live): State<Arc<Live>>) -> Json<Vec<alarms::Seen>> {
    Json(live.monitoring.alarms(live.output.metrics()))
}
