//! Mistakes that the evaluation must notice.

/// A mistake in the model or in how it is measured.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub enum Mutant {
    /// The moment never gates.
    GateOff,
    /// Nobody has a past.
    PastOff,
    /// Retries that are told an old unknown outcome count as runs that became unknown.
    RetriesAsUnknownRuns,
    /// The prior is learned without what is labelled an attack or a bug.
    PriorFromLabels,
    /// The threshold is taken from the test week.
    ThresholdFromTest,
}

impl Mutant {
    /// All of them.
    pub const ALL: [Self; 5] =
        [Self::GateOff, Self::PastOff, Self::RetriesAsUnknownRuns, Self::PriorFromLabels, Self::ThresholdFromTest];
}
