//! Follow-ups: claims that the stream of the records' table shows as open, and those that wait in schedules.

use std::time::Duration;

use aws_sdk_dynamodb::types::TransactWriteItem;
use idempotency::Engine;
use idempotency::follow_up::{FollowUpEvent, FollowUpResponse, FollowUps, Schedules};
use idempotency::store::Store;
use lambda_runtime::{Context, Error};
use payments::{Invocation, ProviderResolver, operations, setting};

/// How long before its deadline an invocation looks at nothing new: as long as a resolver may take, plus a margin.
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
    /// From the function's environment.
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
        // The alias that was invoked: the next look is that of its version.
        let function = context.invoked_function_arn.clone();
        let schedules = Schedules::new(self.client.clone(), &self.group, &self.role, function);
        let schedules = schedules.dead_letters(&self.dead_letters);
        let follow_ups = FollowUps::new(self.engine.clone(), operations().clone(), schedules).reserve(RESERVE);
        let Invocation { id, deadline } = Invocation::from(context);
        Ok(follow_ups.handle(event, deadline, id, &self.resolver).await?)
    }
}
