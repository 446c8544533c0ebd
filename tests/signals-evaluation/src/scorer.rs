//! What is compared.

mod forest;
mod rules;
mod z_score;

pub(crate) use forest::Forest;
pub(crate) use rules::{LearnedRules, published};
pub(crate) use z_score::ZScore;

/// A scorer.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, clap::ValueEnum)]
pub enum ScorerName {
    /// The model: peers, own past, gate, three horizons.
    Model,
    /// Without the gate.
    NoGate,
    /// Without the own past.
    NoPast,
    /// Without the longer horizons.
    WindowOnly,
    /// Rules whose limits are learned for each group of peers, with the same counts, horizons and gate.
    LearnedRules,
    /// Rules with limits that others publish, with the gate.
    PublishedRules,
    /// The largest one-sided z of each group of peers, with the gate.
    ZScore,
    /// A random cut forest over the same counts, with the gate.
    Forest,
    /// The number of requests.
    Volume,
}

impl ScorerName {
    /// All of them.
    pub const ALL: [Self; 9] = [
        Self::Model,
        Self::NoGate,
        Self::NoPast,
        Self::WindowOnly,
        Self::LearnedRules,
        Self::PublishedRules,
        Self::ZScore,
        Self::Forest,
        Self::Volume,
    ];

    /// Its name in the report.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Model => "**the model**",
            Self::NoGate => "the model without the gate",
            Self::NoPast => "the model without the own past",
            Self::WindowOnly => "the model with the window only",
            Self::LearnedRules => "rules, limits learned for each group of peers",
            Self::PublishedRules => "rules, published limits",
            Self::ZScore => "one-sided z, largest",
            Self::Forest => "random cut forest",
            Self::Volume => "requests per window",
        }
    }
}
