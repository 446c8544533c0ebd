//! Schedules: `rate(…)` and `cron(…)` (AWS, "Schedule types in EventBridge Scheduler"), and a run on demand.

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use anyhow::{Context, Result, bail};
use chrono::{DateTime, Utc};
use croner::{
    Cron,
    parser::{CronParser, Seconds, Year},
};
use parking_lot::Mutex;
use serde_json::{Value, json};
use tokio::sync::Notify;
use uuid::Uuid;

use crate::{
    function::Function,
    invocation::Outcome,
    template::{self, Deployment, ScheduleKind},
};

pub(crate) struct Schedule {
    times: Times,
    function: Function,
    deployment: Deployment,
    paused: AtomicBool,
}

/// Other settings of a schedule, which it does not follow yet.
pub(crate) struct Changed(Arc<Current>);

/// When a schedule runs, which a changed parameter may replace.
struct Times {
    current: Mutex<Arc<Current>>,
    /// There is another current one.
    changed: Notify,
}

struct Current {
    settings: template::Schedule,
    timing: Timing,
}

enum Timing {
    Rate(Duration),
    Cron(Box<Cron>),
}

impl Schedule {
    pub(crate) fn new(settings: template::Schedule, function: Function, deployment: Deployment) -> Result<Self> {
        let times = Times::new(Current::new(settings, &function)?);
        Ok(Self { times, function, deployment, paused: AtomicBool::new(false) })
    }

    pub(crate) fn settings(&self) -> template::Schedule {
        self.times.current.lock().settings.clone()
    }

    pub(crate) fn function(&self) -> &Function {
        &self.function
    }

    /// The schedule with other settings, if they can be read; to be given to [`change`](Self::change).
    pub(crate) fn prepare(&self, settings: template::Schedule) -> Result<Changed> {
        Ok(Changed(Arc::new(Current::new(settings, &self.function)?)))
    }

    /// From now on it follows these settings; a rate begins anew.
    pub(crate) fn change(&self, changed: Changed) {
        self.times.change(changed);
    }

    /// A failed run is logged; the next one comes by the clock.
    pub(crate) async fn run(&self) {
        loop {
            self.times.due().await;
            if !self.is_paused() {
                // The sandbox has logged why, if it failed.
                let _ = self.run_now().await;
            }
        }
    }

    /// Whether it skips its times from now on.
    pub(crate) fn set_paused(&self, paused: bool) {
        self.paused.store(paused, Ordering::Relaxed);
    }

    pub(crate) fn is_paused(&self) -> bool {
        self.paused.load(Ordering::Relaxed)
    }

    pub(crate) async fn run_now(&self) -> Outcome {
        self.function.invoke(self.event().to_string()).await
    }

    /// A run with the service's own event, although the schedule may have an input: the function does all that it can.
    pub(crate) async fn run_in_full(&self) -> Outcome {
        self.function.invoke(self.own_event().to_string()).await
    }

    fn event(&self) -> Value {
        self.settings().input.unwrap_or_else(|| self.own_event())
    }

    fn own_event(&self) -> Value {
        let template::Schedule { name, kind, .. } = self.settings();
        let (source, resource, detail) = match kind {
            ScheduleKind::Rule => ("aws.events", self.deployment.arn("events", &format!("rule/{name}")), json!({})),
            // The Scheduler sends its detail as a string.
            ScheduleKind::Scheduler => {
                ("aws.scheduler", self.deployment.arn("scheduler", &format!("schedule/default/{name}")), json!("{}"))
            }
        };
        json!({
            "version": "0",
            "id": Uuid::new_v4().to_string(),
            "detail-type": "Scheduled Event",
            "source": source,
            "account": self.deployment.account,
            "time": Utc::now().format("%Y-%m-%dT%H:%M:%SZ").to_string(),
            "region": self.deployment.region,
            "resources": [resource],
            "detail": detail,
        })
    }
}

impl Times {
    fn new(current: Current) -> Self {
        Self { current: Mutex::new(Arc::new(current)), changed: Notify::new() }
    }

    fn change(&self, changed: Changed) {
        *self.current.lock() = changed.0;
        self.changed.notify_one();
    }

    /// Returns when a run is due; never, if there is none any more.
    async fn due(&self) {
        loop {
            let current = Arc::clone(&self.current.lock());
            let is_due = async {
                match current.settings.enabled.then(|| current.timing.wait(Utc::now())).flatten() {
                    Some(wait) => tokio::time::sleep(wait).await,
                    None => std::future::pending().await,
                }
            };
            tokio::select! {
                () = is_due => return,
                () = self.changed.notified() => {}
            }
        }
    }
}

impl Current {
    fn new(settings: template::Schedule, function: &Function) -> Result<Self> {
        let timing = Timing::parse(&settings.expression)
            .with_context(|| format!("event {} of function {}", settings.event, function.name()))?;
        Ok(Self { settings, timing })
    }
}

impl Timing {
    fn parse(expression: &str) -> Result<Self> {
        let inner = |kind: &str| expression.strip_prefix(kind)?.strip_prefix('(')?.strip_suffix(')');
        if let Some(rate) = inner("rate") {
            let (count, unit) =
                rate.trim().split_once(' ').with_context(|| format!("{expression}: expected rate(VALUE UNIT)"))?;
            let seconds = match unit.trim().trim_end_matches('s') {
                "minute" => 60,
                "hour" => 60 * 60,
                "day" => 24 * 60 * 60,
                _ => bail!("{expression}: the unit must be minutes, hours or days"),
            };
            let count: u64 = count.parse().with_context(|| format!("{expression}: the value must be a number"))?;
            return Ok(Self::Rate(Duration::from_secs(count.max(1) * seconds)));
        }
        if let Some(fields) = inner("cron") {
            // Six fields from minutes to year; weekdays count from Sunday = 1.
            let parser = CronParser::builder()
                .seconds(Seconds::Required)
                .year(Year::Required)
                .alternative_weekdays(true)
                .build();
            let cron = parser
                .parse(&format!("0 {fields}"))
                .with_context(|| format!("{expression} is not a cron expression"))?;
            return Ok(Self::Cron(Box::new(cron)));
        }
        bail!("{expression}: the local stack supports rate(…) and cron(…)")
    }

    /// `None`: never again.
    fn wait(&self, now: DateTime<Utc>) -> Option<Duration> {
        match self {
            Self::Rate(interval) => Some(*interval),
            Self::Cron(cron) => (cron.find_next_occurrence(&now, false).ok()? - now).to_std().ok(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn current(rate: Duration, enabled: bool) -> Current {
        let settings = template::Schedule {
            name: "FTick".to_owned(),
            event: "Tick".to_owned(),
            expression: "rate(1 day)".to_owned(),
            input: None,
            kind: ScheduleKind::Scheduler,
            enabled,
        };
        Current { settings, timing: Timing::Rate(rate) }
    }

    #[tokio::test]
    async fn a_changed_schedule_is_due_by_what_it_is_now() {
        let (day, soon) = (Duration::from_secs(86_400), Duration::from_millis(1));
        let changed = |rate, enabled| Changed(Arc::new(current(rate, enabled)));
        let times = Times::new(current(day, true));
        let change = async { times.change(changed(soon, true)) };
        let (due, ()) = tokio::join!(tokio::time::timeout(Duration::from_secs(20), times.due()), change);
        assert_eq!(due, Ok(()), "while it was waiting for the day to end");
        for later in [changed(soon, false), changed(day, true)] {
            times.change(later);
            assert!(tokio::time::timeout(Duration::from_millis(50), times.due()).await.is_err());
        }
    }

    #[test]
    fn expressions_say_when() {
        let now = "2026-11-24T10:07:30Z".parse().expect("a time");
        let cases = [
            ("rate(1 minute)", Some(60)),
            ("rate(2 hours)", Some(7200)),
            ("rate(1 day)", Some(86_400)),
            ("cron(0/15 * * * ? *)", Some(450)),
            ("cron(8 10 ? * TUE *)", Some(30)),
            ("cron(0 0 1 1 ? 2020)", None),
        ];
        for (expression, seconds) in cases {
            let timing = Timing::parse(expression).expect(expression);
            assert_eq!(timing.wait(now).map(|wait| wait.as_secs()), seconds, "{expression}");
        }
        for wrong in ["rate(5)", "rate(five minutes)", "rate(5 weeks)", "cron(* *)", "at(2030-01-01T00:00:00)"] {
            assert!(Timing::parse(wrong).is_err(), "{wrong}");
        }
    }
}
