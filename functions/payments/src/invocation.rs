use idempotency::protocol::{EpochMs, InvocationId};
use lambda_http::Context;

/// One invocation of a function.
#[derive(Clone, Copy, Debug)]
pub struct Invocation {
    /// Its id, as in the logs.
    pub id: Option<InvocationId>,
    /// When Lambda ends it.
    pub deadline: EpochMs,
}

impl From<&Context> for Invocation {
    fn from(context: &Context) -> Self {
        Self { id: InvocationId::parse(&context.request_id), deadline: EpochMs(context.deadline) }
    }
}
