//! What is compared.

mod forest;
mod rules;
mod z_score;

pub(crate) use forest::Forest;
pub(crate) use rules::{LearnedRules, published};
pub(crate) use z_score::ZScore;

use std::str::FromStr;

use signals::Detector;

/// A scorer.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
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
    /// The model without a detector.
    Without(Detector),
}

impl ScorerName {
    /// All that are compared.
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

    /// Whether it learns from rows and is asked about one, which take longer to make than the model takes to score.
    pub(crate) const fn reads_rows(self) -> bool {
        match self {
            Self::LearnedRules | Self::PublishedRules | Self::ZScore | Self::Forest => true,
            Self::Model | Self::NoGate | Self::NoPast | Self::WindowOnly | Self::Volume | Self::Without(_) => false,
        }
    }

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
            Self::Without(detector) => detector.name(),
        }
    }

    /// Its name as an option.
    #[must_use]
    pub const fn option(self) -> &'static str {
        match self {
            Self::Model => "model",
            Self::NoGate => "no-gate",
            Self::NoPast => "no-past",
            Self::WindowOnly => "window-only",
            Self::LearnedRules => "learned-rules",
            Self::PublishedRules => "published-rules",
            Self::ZScore => "z-score",
            Self::Forest => "forest",
            Self::Volume => "volume",
            Self::Without(detector) => detector.name(),
        }
    }
}

impl FromStr for ScorerName {
    type Err = String;

    fn from_str(option: &str) -> Result<Self, String> {
        Self::ALL
            .into_iter()
            .find(|name| name.option() == option)
            .ok_or_else(|| format!("the scorers are {}", Self::ALL.map(Self::option).join(", ")))
    }
}
