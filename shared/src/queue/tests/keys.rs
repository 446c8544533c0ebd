//! How long a message is remembered.

use super::*;

/// A message may lie in its queue for two weeks and among the dead letters for two more.
#[tokio::test]
async fn a_message_that_is_redriven_after_four_weeks_does_not_run_again_by_default() {
    let (memory, clock) = (MemoryStore::new(), SetClock::default());
    let engine = Engine::builder(FaultyStore::new(memory.clone(), [])).clock(clock.clone()).build();
    let queue = |operation| {
        Queue::new(engine.clone(), operation, Principal::new("producer").unwrap(), KeySource::pointer("/id"))
    };
    let by_default = queue(Operation::new("ledger", "post"));
    let said = queue(Operation::new("other", "post").retention(Duration::from_secs(60)));
    for days in [0, 1, 28] {
        clock.0.store(days * 24 * 60 * 60 * 1000, Ordering::SeqCst);
        assert_eq!(returned(&by_default, vec![message("m", r#"{"id":1}"#)]).await, [""; 0]);
        assert_eq!(returned(&said, vec![message("m", r#"{"id":2}"#)]).await, [""; 0]);
    }
    assert_eq!(memory.applied("1"), 1);
    assert_eq!(memory.applied("2"), 3, "a retention that is said counts");
}
