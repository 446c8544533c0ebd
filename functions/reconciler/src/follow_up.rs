//! Follow-ups: open claims from the records table's stream, and follow-ups that were scheduled.

use std::time::Duration;

use aws_sdk_dynamodb::types::TransactWriteItem;
use idempotency::Engine;
use idempotency::follow_up::{FollowUpEvent, FollowUpResponse, FollowUps, Schedules};
use idempotency::store::Store;
use lambda_runtime::{Context, Error};
use payments::{Invocation, ProviderResolver, operations, setting};

/// How long before its deadline an invocation starts no further lookup: as long as a resolver may take, plus a margin.
const RESERVE: Duration = Duration::from_secs(12);

pub(crate) struct FollowUp<S> {
    engine: Engine<S>,
    resolver: ProviderResolver,
    client: aws_sdk_scheduler::Client,
    group: String,
    role: String,
    dead_letters: String,
}

impl<S: Store<Effect = TransactWriteItem>> FollowUp<S> {
    /// Follow-ups with the schedules and roles that the function's environment names.
    pub(crate) fn new(engine: Engine<S>, resolver: ProviderResolver) -> Result<Self, Error> {
        Ok(Self {
            engine,
            resolver,
            client: Schedules::client(),
            group: setting("FOLLOW_UP_GROUP")?,
            role: setting("FOLLOW_UP_ROLE")?,
            dead_letters: setting("FOLLOW_UP_DEAD_LETTERS")?,
        })
    }

    pub(crate) async fn handle(&self, event: FollowUpEvent, context: &Context) -> Result<FollowUpResponse, Error> {
        // The alias that was invoked, so that its version also handles the next follow-up.
        let function = context.invoked_function_arn.clone();
        let schedules = Schedules::new(self.client.clone(), &self.group, &self.role, function);
        let schedules = schedules.dead_letters(&self.dead_letters);
        let follow_ups = FollowUps::new(self.engine.clone(), operations().clone(), schedules).reserve(RESERVE);
        let Invocation { id, deadline } = Invocation::from(context);
        Ok(follow_ups.handle(event, deadline, id, &self.resolver).await?)
    }
}
