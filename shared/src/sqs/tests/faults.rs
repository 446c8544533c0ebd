//! Every single fault and every pair of faults in the writes of a batch, of its redelivered messages, and of one more
//! delivery of the whole batch, each in a new process without a cache.

use super::*;
use crate::engine::tests::{REPEAT, TokioClock};

/// The maximum number of writes: those of the batch, of its retries, and of its replay.
const WRITES: usize = 9;

#[tokio::test(start_paused = true)]
async fn no_pair_of_faults_loses_a_message_or_applies_its_effect_twice() {
    for single_write in [false, true] {
        for plan in Fault::pairs(WRITES) {
            let shown = format!("in one write: {single_write}, {plan:?}");
            let (queue, memory) = in_mode(single_write, plan);
            let store = queue.engine.store().clone();
            let operation = queue.operation.clone().uncertain(REPEAT);
            let queue = Queue { operation, ..queue.concurrency(1) };
            let clock: Arc<dyn crate::engine::Clock> = Arc::new(TokioClock::start());
            let elsewhere = || {
                let engine = Engine::builder(store.clone()).clock(Arc::clone(&clock)).build();
                Queue { engine, ..queue.clone() }
            };
            let mut open = messages();
            for _ in 0..5 {
                let again = returned(&elsewhere(), open.clone()).await;
                open.retain(|message| again.iter().any(|id| message.message_id.as_deref() == Some(id)));
                tokio::time::advance(Duration::from_secs(11)).await;
            }
            assert!(open.is_empty(), "{shown}: {open:?}");
            while !store.is_used_up() {
                drop(returned(&elsewhere(), messages()).await);
            }
            assert_eq!(returned(&elsewhere(), messages()).await, [""; 0], "{shown}");
            assert_eq!([memory.applied("1"), memory.applied("2")], [1, 1], "{shown}");
        }
    }
}

/// Two messages, one of them sent twice.
fn messages() -> Vec<SqsMessage> {
    [("m-1", 1), ("m-2", 2), ("m-3", 1)].map(|(id, key)| message(id, &format!(r#"{{"id":{key}}}"#))).into()
}
