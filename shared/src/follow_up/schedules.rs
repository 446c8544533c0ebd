//! One-time schedules of EventBridge Scheduler, which delete themselves.

use std::fmt::Write as _;
use std::time::Duration;

use aws_sdk_scheduler::Client;
use aws_sdk_scheduler::operation::create_schedule::CreateScheduleError;
use aws_sdk_scheduler::primitives::{DateTime, DateTimeFormat};
use aws_sdk_scheduler::types::{
    ActionAfterCompletion, DeadLetterConfig, FlexibleTimeWindow, FlexibleTimeWindowMode, RetryPolicy, Target,
};
use futures::future::try_join_all;
use sha2::{Digest, Sha256};

use super::{Sender, to_text};
use crate::engine::{Clock, SystemClock};
use crate::protocol::{EpochMs, FollowUp};
use crate::store::{BoxError, dynamodb};

/// The maximum number of follow-ups per schedule: as many as one invocation can look at in its time, even if each waits
/// for an external system.
const MOST: usize = 25;

/// The follow-ups of one schedule are due within this time. EventBridge Scheduler is precise only to a minute.
const SPAN: Duration = Duration::from_secs(15);

/// The interval between the schedules that one call creates for the same time.
const SPREAD: Duration = Duration::from_secs(1);

/// The minimum lead of a schedule, because EventBridge Scheduler refuses one in the past.
const LEAD: Duration = Duration::from_secs(2);

/// The maximum number of concurrent requests, well below the service's limit of requests per second.
const CONCURRENCY: usize = 8;

/// Sends follow-ups by one-time schedules of EventBridge Scheduler.
///
/// One schedule carries up to 25 follow-ups, invokes the function within a minute after the last one is due, and
/// deletes itself. Nothing polls, so it costs nothing when idle: 1 USD per million schedules.
///
/// The function's role needs `scheduler:CreateSchedule` on the schedules of the group, and `iam:PassRole` on the
/// schedules' role. That role is assumed by `scheduler.amazonaws.com`, and needs `lambda:InvokeFunction` on the
/// function and `sqs:SendMessage` on the dead-letter queue.
#[derive(Clone, Debug)]
pub struct Schedules {
    client: Client,
    group: String,
    role: String,
    function: String,
    dead_letters: Option<String>,
}

impl Schedules {
    /// Creates a sender that makes schedules in this group; `role` may invoke `function`. Both are ARNs; the function's
    /// is that of the alias to invoke, which is `invoked_function_arn` in the context of an invocation.
    pub fn new(client: Client, group: impl Into<String>, role: impl Into<String>, function: impl Into<String>) -> Self {
        Self { client, group: group.into(), role: role.into(), function: function.into(), dead_letters: None }
    }

    /// Sets the ARN of the dead-letter queue for follow-ups that could not be delivered to the function.
    #[must_use]
    pub fn dead_letters(mut self, queue: impl Into<String>) -> Self {
        self.dead_letters = Some(queue.into());
        self
    }

    /// Creates a client from the environment of a Lambda function, with the time-outs and retries of
    /// [`dynamodb::client`]. Create it once per process.
    #[must_use]
    pub fn client() -> Client {
        Client::new(&dynamodb::sdk_config("SCHEDULER"))
    }

    async fn create(&self, follow_ups: &[FollowUp], at: EpochMs) -> Result<(), BoxError> {
        // Without flexibility: a schedule is at most a minute late.
        let exact = FlexibleTimeWindow::builder().mode(FlexibleTimeWindowMode::Off).build()?;
        let letters = self.dead_letters.as_ref().map(|queue| DeadLetterConfig::builder().arn(queue).build());
        let target = Target::builder()
            .arn(&self.function)
            .role_arn(&self.role)
            .input(to_text(follow_ups))
            .retry_policy(RetryPolicy::builder().maximum_event_age_in_seconds(3600).build())
            .set_dead_letter_config(letters)
            .build()?;
        let created = self
            .client
            .create_schedule()
            .name(name(follow_ups))
            .group_name(&self.group)
            .schedule_expression(expression(at)?)
            .flexible_time_window(exact)
            .action_after_completion(ActionAfterCompletion::Delete)
            .target(target)
            .send()
            .await;
        match created {
            // The schedule is our own: the stream redelivered the batch, or the reply to an earlier request was lost.
            Err(error) if error.as_service_error().is_some_and(CreateScheduleError::is_conflict_exception) => Ok(()),
            Err(error) => Err(error.into()),
            Ok(_) => Ok(()),
        }
    }
}

impl Sender for Schedules {
    async fn send(&self, follow_ups: &[FollowUp]) -> Result<(), BoxError> {
        let schedules = schedules(follow_ups, SystemClock.now());
        for some in schedules.chunks(CONCURRENCY) {
            try_join_all(some.iter().map(|(follow_ups, at)| self.create(follow_ups, *at))).await?;
        }
        Ok(())
    }
}

/// Divides follow-ups, in the order of their due times, into schedules.
fn schedules(follow_ups: &[FollowUp], now: EpochMs) -> Vec<(&[FollowUp], EpochMs)> {
    let (mut schedules, mut rest, mut earliest) = (Vec::new(), follow_ups, now.plus(LEAD));
    while let Some(first) = rest.first() {
        let latest = first.due.plus(SPAN);
        let count = rest.iter().take(MOST).take_while(|follow_up| follow_up.due <= latest).count();
        let (some, others) = rest.split_at(count);
        let at = some.iter().map(|follow_up| follow_up.due).fold(earliest, EpochMs::max);
        schedules.push((some, at));
        (rest, earliest) = (others, at.plus(SPREAD));
    }
    schedules
}

/// The schedule's name. Equal follow-ups have the same name, so that a redelivered batch creates no second schedule.
fn name(follow_ups: &[FollowUp]) -> String {
    let hash = Sha256::digest(to_text(follow_ups));
    hash.iter().take(16).fold("follow-up-".to_owned(), |mut name, byte| {
        let _ = write!(name, "{byte:02x}");
        name
    })
}

/// The schedule expression, in UTC, which is the default, rounded up to a second.
fn expression(at: EpochMs) -> Result<String, BoxError> {
    let seconds = i64::try_from(at.0.div_ceil(1000))?;
    let text = DateTime::from_secs(seconds).fmt(DateTimeFormat::DateTime)?;
    Ok(format!("at({})", text.trim_end_matches('Z')))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::protocol::{OwnerToken, RecordId};

    fn due(at: u64) -> FollowUp {
        FollowUp {
            record: RecordId::from_stored(format!("idempotency:{at}")),
            version: Some(OwnerToken([1; 16])),
            due: EpochMs(at),
            failures: 0,
        }
    }

    #[test]
    fn a_schedule_is_never_before_what_it_carries_and_carries_only_what_one_invocation_can_do() {
        let all: Vec<FollowUp> = (0..60).map(|_| due(20_000)).chain([due(30_000), due(90_000)]).collect();
        let schedules = schedules(&all, EpochMs(10_000));
        let seen: Vec<_> = schedules.iter().map(|(some, at)| (some.len(), at.0)).collect();
        assert_eq!(seen, [(25, 20_000), (25, 21_000), (11, 30_000), (1, 90_000)]);
        assert!(schedules.iter().all(|(some, at)| some.iter().all(|follow_up| follow_up.due <= *at)));
    }

    #[test]
    fn what_is_due_already_is_scheduled_soon_and_not_in_the_past() {
        let all = [due(1), due(2)];
        assert_eq!(schedules(&all, EpochMs(10_000)), [(&all[..], EpochMs(12_000))]);
    }

    #[test]
    fn a_schedule_has_a_name_of_its_own_and_a_time_as_the_service_reads_it() {
        assert_eq!(name(&[due(1)]), name(&[due(1)]));
        assert_ne!(name(&[due(1)]), name(&[due(1), due(2)]));
        assert!(name(&[due(1)]).len() <= 64);
        assert_eq!(expression(EpochMs(1_795_494_059_001)).unwrap(), "at(2026-11-24T04:21:00)");
    }
}
