//! The twelve detectors, the three horizons and the two kinds of entities.

/// The kind of an entity.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Kind {
    /// A caller.
    Principal,
    /// The account that is paid. Attacks that are spread over many principals show only there.
    Account,
}

/// One kind of unusual behaviour, as a count `k` of `n`. All are one-sided: only more than usual counts.
///
/// The order is part of the byte forms.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Detector {
    /// Payments declined, of payments that ended. Card testing.
    Declined,
    /// Of declined payments, those with a code that says that the card does not exist or its secret is wrong. Card
    /// testing.
    HardDeclined,
    /// Distinct payment methods among the declined payments, of payments that ended. Card testing.
    DistinctInstruments,
    /// Declined payments with a payment method that was declined before in the window, of payments that ended. Probing
    /// a card's limit.
    SameInstrument,
    /// Of declined payments, those of a small amount. Card testing.
    SmallDeclined,
    /// Used keys with another request, of all requests. Tampering, or a client that generates keys wrongly.
    Mismatch,
    /// Repetitions before the time that the answer gave, of all requests; each further one of a key counts less. Races,
    /// loops without a pause.
    Early,
    /// Replays of answers older than an hour, of all requests. Harvesting of answers.
    OldReplay,
    /// Runs whose outcome was unknown, of runs. Provoked time-outs.
    Unknown,
    /// Requests that ran and were refused as invalid, of runs. Guessing.
    Refused,
    /// Requests without a usable key, of all requests. Spraying.
    NoKey,
    /// Refunds that were refused, of runs. Probing for refunds.
    RefundRefused,
}

impl Detector {
    /// All, in their order.
    pub const ALL: [Self; 12] = [
        Self::Declined,
        Self::HardDeclined,
        Self::DistinctInstruments,
        Self::SameInstrument,
        Self::SmallDeclined,
        Self::Mismatch,
        Self::Early,
        Self::OldReplay,
        Self::Unknown,
        Self::Refused,
        Self::NoKey,
        Self::RefundRefused,
    ];

    /// Its name in metrics, events, filters and stored items: lower case, with hyphens.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Declined => "declined",
            Self::HardDeclined => "hard-declined",
            Self::DistinctInstruments => "distinct-instruments",
            Self::SameInstrument => "same-instrument",
            Self::SmallDeclined => "small-declined",
            Self::Mismatch => "mismatch",
            Self::Early => "early",
            Self::OldReplay => "old-replay",
            Self::Unknown => "unknown",
            Self::Refused => "refused",
            Self::NoKey => "no-key",
            Self::RefundRefused => "refund-refused",
        }
    }

    /// The detector of that [name](Self::name).
    #[must_use]
    pub fn named(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|detector| detector.name() == name)
    }

    /// Whether it distinguishes kinds of declined payments. These add evidence to that of [`Detector::Declined`].
    pub(crate) const fn is_kind_of_decline(self) -> bool {
        match self {
            Self::HardDeclined | Self::SmallDeclined => true,
            Self::Declined
            | Self::DistinctInstruments
            | Self::SameInstrument
            | Self::Mismatch
            | Self::Early
            | Self::OldReplay
            | Self::Unknown
            | Self::Refused
            | Self::NoKey
            | Self::RefundRefused => false,
        }
    }

    pub(crate) const fn index(self) -> usize {
        self as usize
    }
}

/// The time over which counts are summed.
///
/// The order is part of the byte forms.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Horizon {
    /// The window itself.
    Window,
    /// The window, and earlier ones faded with a half-life of one hour.
    Hour,
    /// The window, and earlier ones faded with a half-life of twelve hours.
    HalfDay,
}

impl Horizon {
    /// All, in their order.
    pub const ALL: [Self; 3] = [Self::Window, Self::Hour, Self::HalfDay];

    /// Its name in events and stored items.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Window => "window",
            Self::Hour => "hour",
            Self::HalfDay => "half-day",
        }
    }

    /// The horizon of that [name](Self::name).
    #[must_use]
    pub fn named(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|horizon| horizon.name() == name)
    }

    pub(crate) const fn index(self) -> usize {
        self as usize
    }
}

impl Kind {
    /// Both, in their order.
    pub const ALL: [Self; 2] = [Self::Principal, Self::Account];

    /// Its name in events, filters and stored items.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Principal => "principal",
            Self::Account => "account",
        }
    }

    /// The kind of that [name](Self::name).
    #[must_use]
    pub fn named(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|kind| kind.name() == name)
    }

    pub(crate) const fn index(self) -> usize {
        self as usize
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_found_and_indices_follow_the_order() {
        for (index, detector) in Detector::ALL.into_iter().enumerate() {
            assert_eq!((Detector::named(detector.name()), detector.index()), (Some(detector), index));
        }
        for (index, horizon) in Horizon::ALL.into_iter().enumerate() {
            assert_eq!((Horizon::named(horizon.name()), horizon.index()), (Some(horizon), index));
        }
        for (index, kind) in Kind::ALL.into_iter().enumerate() {
            assert_eq!((Kind::named(kind.name()), kind.index()), (Some(kind), index));
        }
        assert_eq!(Detector::named("volume"), None);
    }
}
