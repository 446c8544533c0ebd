//! Queues: SQS's JSON protocol over HTTP, and the same queues for the poller, the pipe and `/_local/`.
//!
//! Protocol, types and errors are `rustack-sqs-http`'s and `rustack-sqs-model`'s. The queues themselves are ours, on
//! SQLite: the engine of `rustack-sqs-core` keeps messages in its actors' memory, where a restart loses them and
//! nothing can look at them; it knows no redrive of dead letters, no retention, no message groups on standard
//! queues, and one message per group and receive on FIFO queues.
//!
//! **Restart.** With `--data` a message is a row from the moment `SendMessage` answers until it is deleted, whatever
//! queue it is in. The receivers of the run before are gone, so what was in flight is visible again at once.

pub(crate) use protocol::router;
pub(crate) use queue::Contents;
pub(crate) use queues::Queues;

mod error;
mod protocol;
mod queue;
mod queues;
#[cfg(test)]
mod tests;
