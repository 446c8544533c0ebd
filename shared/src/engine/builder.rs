//! Building an engine.

use std::sync::Arc;
use std::time::Duration;

use super::cache::Cache;
use super::{Clock, Engine, Entropy, NoObserver, Observer, Parts};
use crate::telemetry::metrics::{Metrics, NoMetrics};

/// Builds an [`Engine`].
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
                margin: Duration::from_secs(2),
                lease_margin: Duration::from_secs(1),
                cache: Cache::of_bytes(1024 * 1024),
            },
        }
    }

    /// How long before the function's deadline a run is stopped. Default: 2 s.
    ///
    /// In this time its outcome must be recorded; with less of it a slow store leaves a silent lease.
    #[must_use]
    pub fn margin(mut self, margin: Duration) -> Self {
        self.parts.margin = margin;
        self
    }

    /// How long beyond the function's deadline a claim is respected. Default: 1 s.
    ///
    /// Lambda has been seen to kill a function up to 0.7 s late. Nothing unsafe happens if this is too short:
    /// the late owner's writes are refused.
    #[must_use]
    pub fn lease_margin(mut self, lease_margin: Duration) -> Self {
        self.parts.lease_margin = lease_margin;
        self
    }

    /// How many bytes of settled records the process remembers, to replay without a request to the store. Zero: none.
    /// Default: 1 MiB, about a thousand small answers.
    ///
    /// A remembered record is compared by fingerprint and expires like a stored one. One that is deleted from the table
    /// by hand goes on being replayed by the sandboxes that remember it.
    #[must_use]
    pub fn cache_bytes(mut self, cache_bytes: usize) -> Self {
        self.parts.cache = Cache::of_bytes(cache_bytes);
        self
    }

    /// Where to report to. Default: nowhere.
    #[must_use]
    pub fn metrics(mut self, metrics: impl Metrics + 'static) -> Self {
        self.parts.metrics = Arc::new(metrics);
        self
    }

    /// Who is told of what operators must see. Default: nobody.
    #[must_use]
    pub fn observer(mut self, observer: impl Observer + 'static) -> Self {
        self.parts.observer = Arc::new(observer);
        self
    }

    /// The clock. Default: the system's.
    #[must_use]
    pub fn clock(mut self, clock: impl Clock + 'static) -> Self {
        self.parts.clock = Arc::new(clock);
        self
    }

    /// The random source. Default: the system's.
    #[must_use]
    pub fn entropy(mut self, entropy: impl Entropy + 'static) -> Self {
        self.parts.entropy = Arc::new(entropy);
        self
    }

    /// The engine.
    #[must_use]
    pub fn build(self) -> Engine<S> {
        Engine { parts: Arc::new(self.parts) }
    }
}
