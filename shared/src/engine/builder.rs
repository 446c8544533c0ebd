//! The settings of an engine and their defaults.

use std::sync::Arc;
use std::time::Duration;

use derive_where::derive_where;

use super::cache::Cache;
use super::margin::Margin;
use super::running::Running;
use super::{Clock, Engine, Entropy, NoObserver, Observer, Parts};
use crate::telemetry::metrics::{Metrics, NoMetrics};

/// Builds an [`Engine`]; every setting has a default.
#[derive_where(Debug)]
pub struct EngineBuilder<S> {
    parts: Parts<S>,
}

impl<S> EngineBuilder<S> {
    pub(super) fn new(store: S, clock: impl Clock + 'static, entropy: impl Entropy + 'static) -> Self {
        Self {
            parts: Parts {
                store,
                clock: Arc::new(clock),
                entropy: Arc::new(entropy),
                metrics: Arc::new(NoMetrics),
                observer: Arc::new(NoObserver),
                margin: Margin::default(),
                lease_margin: Duration::from_secs(1),
                is_unprotected: false,
                cache: Cache::of_bytes(1024 * 1024),
                running: Running::new(),
            },
        }
    }

    /// Sets how long before the function's deadline a run is stopped. Default: 2 s, or a quarter of the function's
    /// time-out if that is less. With Lambda's default time-out of 3 s, a run therefore gets more than 2 s.
    ///
    /// The margin is the time for recording the outcome. If it is too short for a slow store, the claim stays until its
    /// lease ends.
    #[must_use]
    pub fn margin(mut self, margin: Duration) -> Self {
        self.parts.margin = Margin::of(margin);
        self
    }

    /// Sets how long after the function's deadline a claim is still respected. Default: 1 s.
    ///
    /// Lambda has been seen to kill a function up to 0.7 s late. Too short a margin is not unsafe: the late owner's
    /// writes are refused.
    #[must_use]
    pub fn lease_margin(mut self, lease_margin: Duration) -> Self {
        self.parts.lease_margin = lease_margin;
        self
    }

    /// Sets the size in bytes of this process's cache of settled records, from which duplicates are answered without a
    /// request to the store. Zero turns it off. Default: 1 MiB, about a thousand small answers.
    ///
    /// The process also remembers, for one second, up to 128 records that it saw in progress elsewhere: further
    /// duplicates then wait or get "in progress" without a write. Zero turns that off, too.
    ///
    /// The fingerprint of a cached record is still compared, and the record expires like a stored one. If you delete a
    /// record from the table by hand, sandboxes that have cached it keep replaying it.
    #[must_use]
    pub fn cache_bytes(mut self, cache_bytes: usize) -> Self {
        self.parts.cache = Cache::of_bytes(cache_bytes);
        self.parts.running = if cache_bytes > 0 { Running::new() } else { Running::off() };
        self
    }

    /// Sets the metrics sink. Default: none.
    #[must_use]
    pub fn metrics(mut self, metrics: impl Metrics + 'static) -> Self {
        self.parts.metrics = Arc::new(metrics);
        self
    }

    /// Sets a hook for events that operators must see. Default: none.
    #[must_use]
    pub fn observer(mut self, observer: impl Observer + 'static) -> Self {
        self.parts.observer = Arc::new(observer);
        self
    }

    /// Sets the clock. Default: the one passed to [`Engine::builder_with`], otherwise the system's.
    #[must_use]
    pub fn clock(mut self, clock: impl Clock + 'static) -> Self {
        self.parts.clock = Arc::new(clock);
        self
    }

    /// Sets the random source. Default: the one passed to [`Engine::builder_with`], otherwise the system's.
    #[must_use]
    pub fn entropy(mut self, entropy: impl Entropy + 'static) -> Self {
        self.parts.entropy = Arc::new(entropy);
        self
    }

    /// **Turns protection off**, for development only: each call counts as a separate operation, whatever its key, so
    /// that you can send the same event repeatedly. A call still runs as any first call does, with its attempt, effects
    /// and record. Watermarks of streams stay in force.
    ///
    /// It reports this conspicuously: an error in the log when the engine is built, a warning for each call, and the
    /// metric [`Unprotected`](crate::telemetry::metrics::Metric::Unprotected). An application that reads the switch
    /// from its environment should refuse it in production.
    #[must_use]
    pub fn unprotected_for_development(mut self) -> Self {
        self.parts.is_unprotected = true;
        self
    }

    /// Builds the engine.
    #[must_use]
    pub fn build(self) -> Engine<S> {
        if self.parts.is_unprotected {
            tracing::error!("PROTECTION IS OFF: every call runs, also one that ran before. For development only");
        }
        Engine { parts: Arc::new(self.parts) }
    }
}

#[cfg(test)]
mod tests {
    use futures::FutureExt;
    use futures::future::BoxFuture;

    use super::*;
    use crate::engine::{Call, NoEntropy, Operation, Outcome, Verdict};
    use crate::protocol::{EpochMs, Fingerprinter, Key, Principal};
    use crate::store::memory::{Effect, MemoryStore};

    /// A custom clock without Tokio: its time stands still.
    struct Still;

    impl Clock for Still {
        fn now(&self) -> EpochMs {
            EpochMs(1_800_000_000_000)
        }

        fn sleep(&self, _: Duration) -> BoxFuture<'static, ()> {
            std::future::pending().boxed()
        }
    }

    struct Counting(std::sync::atomic::AtomicU8);

    impl Entropy for Counting {
        fn fill(&self, buffer: &mut [u8]) -> Result<(), NoEntropy> {
            buffer.fill(self.0.fetch_add(1, std::sync::atomic::Ordering::SeqCst));
            Ok(())
        }
    }

    fn call(engine: &Engine<MemoryStore>) -> Call {
        Call::new(
            Operation::new("test", "POST /payments"),
            Principal::new("alice").unwrap(),
            Key::new("k-1").unwrap(),
            Fingerprinter::new().bytes(b"{}").finish(),
            engine.now().plus(Duration::from_secs(10)),
        )
    }

    #[test]
    fn without_protection_each_call_runs_and_applies_its_effects_and_with_it_only_the_first() {
        for (is_unprotected, runs) in [(true, 3), (false, 1)] {
            let store = MemoryStore::new();
            let builder = Engine::builder_with(store.clone(), Still, Counting(0.into()));
            let builder = if is_unprotected { builder.unprotected_for_development() } else { builder };
            let engine = builder.build();
            let call = call(&engine);
            for _ in 0..3 {
                let run = engine.run(&call, |attempt| async move {
                    attempt.add_effect(Effect::named("one"));
                    Verdict::Success(attempt.number())
                });
                run.now_or_never().expect("nothing waits").unwrap();
            }
            assert_eq!(store.applied("one"), runs);
        }
    }

    #[test]
    fn an_engine_with_its_own_clock_and_random_source_runs_without_tokio() {
        let store = MemoryStore::new();
        let engine = Engine::builder_with(store.clone(), Still, Counting(7.into())).build();
        let call = call(&engine);
        for first in [true, false] {
            let run = engine.run(&call, |attempt| async move {
                attempt.add_effects([Effect::named("one"), Effect::named("other")]);
                Verdict::Success(attempt.number())
            });
            let outcome = run.now_or_never().expect("nothing waits").unwrap();
            assert!(
                matches!(outcome, Outcome::Executed(_)) == first && matches!(outcome, Outcome::Replayed(_)) != first
            );
        }
        assert_eq!((store.applied("one"), store.applied("other")), (1, 1));
    }
}
