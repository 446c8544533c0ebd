//! The scenarios of schedules, and the bounds within which all of them are run.

use idempotency::sequence::Gap;
use strum::VariantArray;

use super::choice::Bounds;

/// The scenario of a schedule.
#[derive(Clone, Copy, Debug, PartialEq, Eq, VariantArray)]
pub enum Scenario {
    /// Calls with one key, of an operation declared repeatable.
    Repeated,
    /// Calls with one key; a retry reconciles.
    Reconciled,
    /// Calls with one key; a duplicate waits for the lease of the running call, then reconciles in the same call.
    Waiting,
    /// Calls with one key in single-write mode.
    SingleWrite,
    /// Two calls with one key, one of them in single-write mode.
    SingleWriteBesideClaims,
    /// Calls with one key in three processes, of an operation declared repeatable.
    ThreeCallers,
    /// Calls with one key in two processes whose retries reconcile, concurrently with a reconciler.
    TwoCallersBesideAReconciler,
    /// Calls with one key whose answers are stored in parts.
    LongAnswers,
    /// The same, with answers that expire while others read them.
    LongAnswersExpire,
    /// Calls with one key in single-write mode over a release, whose answers are stored in parts.
    LongAnswersInSingleWrite,
    /// Calls of clients that never repeat a request; the stream of the table leads to their open claims.
    GivenUp,
    /// The same, of clients whose sandbox or whose follow-up dies.
    GivenUpAfterADeath,
    /// A partition of a stream, with a poison record.
    Stream,
    /// A topic that is deleted and recreated.
    StreamCreatedAnew,
    /// A partition whose records go through the sequence gate.
    StreamThroughTheGate,
    /// The same, with a missing number.
    StreamAtAGap,
    /// The same, with a number that is used again for other content.
    StreamMeetsOtherContent,
    /// A partition with a poison record whose producer's clock is ahead; the mapping gives it up at once.
    StreamOfAClockAhead,
    /// The stream of a table, under claims.
    TableStream,
    /// The stream of a table in single-write mode, with a poison change.
    TableStreamInSingleWrite,
    /// A FIFO queue, under claims.
    Fifo,
    /// A FIFO queue in single-write mode.
    FifoInSingleWrite,
    /// Numbered messages of a standard queue; gaps are held.
    GateHolds,
    /// Numbered messages of a standard queue; gaps are accepted.
    GateAccepts,
    /// Numbered messages, some of which differ in content from an earlier message with the same number.
    GateMeetsOtherContent,
    /// A versioned item.
    Versioned,
}

impl Scenario {
    /// All scenarios.
    pub const ALL: &[Self] = Self::VARIANTS;

    /// How many schedules are drawn for every change: enough for each rare event to occur a dozen times. Scenarios with
    /// the SDK have fewer, because it is slow without optimisation.
    #[must_use]
    pub const fn drawn(self) -> u64 {
        match self {
            Self::LongAnswers | Self::LongAnswersInSingleWrite => 100,
            Self::LongAnswersExpire | Self::Versioned => 1000,
            // Random schedules have deaths in any case.
            Self::GivenUpAfterADeath => 100,
            _ => 4000,
        }
    }

    /// Whether the scenario's records or watermarks are in the store below the network, not behind DynamoDB's own
    /// client.
    #[must_use]
    pub const fn is_of_any_store(self) -> bool {
        !self.has_long_answers() && !matches!(self, Self::Versioned)
    }

    pub(super) const fn has_long_answers(self) -> bool {
        matches!(self, Self::LongAnswers | Self::LongAnswersExpire | Self::LongAnswersInSingleWrite)
    }

    /// Whether the operation is declared repeatable.
    pub(super) const fn is_repeatable(self) -> bool {
        matches!(self, Self::Repeated | Self::ThreeCallers | Self::LongAnswers | Self::LongAnswersExpire)
    }

    pub(super) const fn is_of_a_table(self) -> bool {
        matches!(self, Self::TableStream | Self::TableStreamInSingleWrite)
    }

    pub(super) const fn is_fifo(self) -> bool {
        matches!(self, Self::Fifo | Self::FifoInSingleWrite)
    }

    pub(super) const fn has_gate(self) -> bool {
        matches!(self, Self::GateHolds | Self::GateAccepts | Self::GateMeetsOtherContent)
    }

    /// Whether numbers are used again for other content.
    pub(super) const fn has_other_content(self) -> bool {
        matches!(self, Self::StreamMeetsOtherContent | Self::GateMeetsOtherContent)
    }

    pub(super) const fn gap(self) -> Gap {
        match self {
            Self::GateAccepts => Gap::Accept,
            _ => Gap::Hold,
        }
    }

    /// What a scenario runs, the maximum faults in one schedule if all schedules are run, and how its processes begin
    /// then.
    pub(super) const fn spec(self) -> (Runs, Bounds, Begin) {
        use Begin::{AllAtOnce, InTurn};
        use Runs::{Calls, FollowUps, Items, Messages, Partition};
        match self {
            Self::Repeated | Self::Reconciled | Self::Waiting | Self::SingleWrite | Self::SingleWriteBesideClaims => {
                (Calls, bounds(1, 1, 1), InTurn)
            }
            Self::ThreeCallers => (Calls, bounds(1, 1, 1), AllAtOnce),
            // A reconciler has many requests.
            Self::TwoCallersBesideAReconciler => (Calls, bounds(1, 0, 1), AllAtOnce),
            // The SDK is slow.
            Self::LongAnswers => (Calls, bounds(0, 1, 1), InTurn),
            Self::LongAnswersInSingleWrite => (Calls, bounds(1, 0, 0), InTurn),
            Self::LongAnswersExpire => (Calls, bounds(0, 0, 1), InTurn),
            // Follow-ups have many requests, and time passes until they are due.
            Self::GivenUp => (FollowUps, bounds(1, 0, 0), AllAtOnce),
            Self::GivenUpAfterADeath => (FollowUps, bounds(0, 1, 1), AllAtOnce),
            Self::Stream | Self::StreamCreatedAnew | Self::TableStreamInSingleWrite => {
                (Partition, bounds(1, 1, 1), InTurn)
            }
            // The changes of a table have many claims.
            Self::TableStream => (Partition, bounds(1, 0, 1), AllAtOnce),
            // Its pollers take two batches each.
            Self::StreamOfAClockAhead => (Partition, bounds(1, 0, 0), InTurn),
            // No gate and no version has clock-dependent behaviour that the others lack.
            Self::StreamThroughTheGate | Self::StreamAtAGap | Self::StreamMeetsOtherContent => {
                (Partition, bounds(1, 1, 0), AllAtOnce)
            }
            Self::GateHolds | Self::GateAccepts | Self::GateMeetsOtherContent => (Messages, bounds(1, 1, 0), InTurn),
            Self::Versioned => (Items, bounds(1, 1, 0), AllAtOnce),
            Self::Fifo | Self::FifoInSingleWrite => (Messages, bounds(1, 1, 1), InTurn),
        }
    }
}

/// The part of the library that a scenario runs.
#[derive(Clone, Copy)]
pub(super) enum Runs {
    Calls,
    FollowUps,
    Partition,
    Messages,
    Items,
}

/// How processes begin if all schedules are run. Fewer orders are left if all begin at once.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Begin {
    InTurn,
    AllAtOnce,
}

const fn bounds(faults: u8, deaths: u8, times: u8) -> Bounds {
    Bounds { faults, deaths, times }
}
