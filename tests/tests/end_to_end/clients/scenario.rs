//! What happens to a request and to its repetitions.

use std::time::Duration;

use fault_proxy::Fault;

/// What happens to a request under one key.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Scenario {
    /// The function is killed right after the charge.
    Kill,
    /// The provider charges and does not answer.
    TimeOut,
    /// The answer takes longer than the client waits.
    Slow,
    /// The provider is down for a while.
    Outage,
    /// API Gateway refuses the first two tries.
    Throttled,
    /// The connection breaks in the body of the first answer.
    Cut,
    /// Something in between refuses the first try, and names a date in `Retry-After`.
    Maintenance,
    /// The card is declined, which is final.
    Declined,
}

impl Scenario {
    /// Those after which every client should end with the payment.
    pub(crate) const FAULTS: [Self; 7] =
        [Self::Kill, Self::TimeOut, Self::Slow, Self::Outage, Self::Throttled, Self::Cut, Self::Maintenance];

    pub(crate) const ALL: [Self; 8] = [
        Self::Kill,
        Self::TimeOut,
        Self::Slow,
        Self::Outage,
        Self::Throttled,
        Self::Cut,
        Self::Maintenance,
        Self::Declined,
    ];

    /// How far ahead the date is. It has no fractions of a second.
    pub(crate) const MAINTENANCE: Duration = Duration::from_secs(4);

    /// Its name in accounts and keys.
    pub(crate) const fn name(self) -> &'static str {
        match self {
            Self::Kill => "kill",
            Self::TimeOut => "timeout",
            Self::Slow => "slow",
            Self::Outage => "outage",
            Self::Throttled => "throttled",
            Self::Cut => "cut",
            Self::Maintenance => "maintenance",
            Self::Declined => "declined",
        }
    }

    /// Whether it is that of a key.
    pub(crate) fn is_of(self, key: &str) -> bool {
        key.ends_with(self.name())
    }

    /// The head of its column on the page.
    pub(crate) const fn title(self) -> &'static str {
        match self {
            Self::Kill => "killed",
            Self::TimeOut => "no answer",
            Self::Slow => "slow",
            Self::Outage => "outage",
            Self::Throttled => "429",
            Self::Cut => "cut",
            Self::Maintenance => "date",
            Self::Declined => "declined",
        }
    }

    pub(crate) const fn payment_method(self) -> &'static str {
        match self {
            Self::Kill => "pm_kill_after_charge",
            Self::TimeOut => "pm_timeout_after_charge",
            Self::Slow => "pm_slow_1500",
            Self::Outage | Self::Throttled | Self::Cut | Self::Maintenance => "pm_card_visa",
            Self::Declined => "pm_card_chargeDeclined",
        }
    }

    /// The client's time-out in seconds, if not its default.
    pub(crate) const fn time_out(self) -> Option<u64> {
        match self {
            Self::Slow => Some(1),
            Self::Kill
            | Self::TimeOut
            | Self::Outage
            | Self::Throttled
            | Self::Cut
            | Self::Maintenance
            | Self::Declined => None,
        }
    }

    /// What happens between the client and the API, for the first tries.
    pub(crate) const fn faults(self) -> &'static [Fault] {
        match self {
            Self::Throttled => &[Fault::Throttle, Fault::Throttle],
            Self::Cut => &[Fault::CutReply],
            Self::Maintenance => &[Fault::Maintain(Self::MAINTENANCE)],
            Self::Kill | Self::TimeOut | Self::Slow | Self::Outage | Self::Declined => &[],
        }
    }
}
