//! What schedules are about, and within which bounds all of them are run.

use idempotency::sequence::Gap;

use super::choice::Bounds;

/// What a schedule is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Scenario {
    /// Calls of one key, declared repeatable.
    Repeated,
    /// Calls of one key, of which a retry reconciles.
    Reconciled,
    /// Calls of one key in single-write mode.
    SingleWrite,
    /// Of two calls of one key one in single-write mode.
    SingleWriteBesideClaims,
    /// Calls of one key in three processes, declared repeatable.
    ThreeCallers,
    /// Calls of one key in two processes, of which a retry reconciles, beside a reconciler.
    TwoCallersBesideAReconciler,
    /// Calls of one key whose answers are kept in parts.
    LongAnswers,
    /// The same, and they expire while others read them.
    LongAnswersExpire,
    /// Calls of one key in single-write mode over a release, whose answers are kept in parts.
    LongAnswersInSingleWrite,
    /// A partition of a stream, with a record that is poison.
    Stream,
    /// A topic that is deleted and created anew.
    StreamCreatedAnew,
    /// A partition whose records go through the sequence gate.
    StreamThroughTheGate,
    /// The same, where a number is missing.
    StreamAtAGap,
    /// The same, where a number comes again with other content.
    StreamMeetsOtherContent,
    /// A partition whose poison is of a producer with a clock that is ahead; the mapping gives it up at once.
    StreamOfAClockAhead,
    /// The stream of a table, under claims.
    TableStream,
    /// The stream of a table in single-write mode, with a change that is poison.
    TableStreamInSingleWrite,
    /// A FIFO queue, under claims.
    Fifo,
    /// A FIFO queue in single-write mode.
    FifoInSingleWrite,
    /// Numbered messages of a standard queue; gaps are held.
    GateHolds,
    /// The same, and gaps are accepted.
    GateAccepts,
    /// Numbered messages, of which some have other content than an earlier one of their number.
    GateMeetsOtherContent,
    /// A versioned item.
    Versioned,
}

impl Scenario {
    /// All of them.
    pub const ALL: [Self; 23] = [
        Self::Repeated,
        Self::Reconciled,
        Self::SingleWrite,
        Self::SingleWriteBesideClaims,
        Self::ThreeCallers,
        Self::TwoCallersBesideAReconciler,
        Self::LongAnswers,
        Self::LongAnswersExpire,
        Self::LongAnswersInSingleWrite,
        Self::Stream,
        Self::StreamCreatedAnew,
        Self::StreamThroughTheGate,
        Self::StreamAtAGap,
        Self::StreamMeetsOtherContent,
        Self::StreamOfAClockAhead,
        Self::TableStream,
        Self::TableStreamInSingleWrite,
        Self::Fifo,
        Self::FifoInSingleWrite,
        Self::GateHolds,
        Self::GateAccepts,
        Self::GateMeetsOtherContent,
        Self::Versioned,
    ];

    /// How many schedules are drawn with every change: so many that each rare event occurs a dozen times. The SDK is slow
    /// without optimisation.
    #[must_use]
    pub const fn drawn(self) -> u64 {
        match self {
            Self::LongAnswers | Self::LongAnswersInSingleWrite => 100,
            Self::LongAnswersExpire | Self::Versioned => 1000,
            _ => 4000,
        }
    }

    pub(super) const fn has_long_answers(self) -> bool {
        matches!(self, Self::LongAnswers | Self::LongAnswersExpire | Self::LongAnswersInSingleWrite)
    }

    /// Whether calls are declared repeatable.
    pub(super) const fn is_repeatable(self) -> bool {
        matches!(self, Self::Repeated | Self::ThreeCallers | Self::LongAnswers | Self::LongAnswersExpire)
    }

    pub(super) const fn is_of_a_table(self) -> bool {
        matches!(self, Self::TableStream | Self::TableStreamInSingleWrite)
    }

    pub(super) const fn has_gate(self) -> bool {
        matches!(self, Self::GateHolds | Self::GateAccepts | Self::GateMeetsOtherContent)
    }

    /// Whether numbers come again with other content.
    pub(super) const fn has_other_content(self) -> bool {
        matches!(self, Self::StreamMeetsOtherContent | Self::GateMeetsOtherContent)
    }

    pub(super) const fn gap(self) -> Gap {
        match self {
            Self::GateAccepts => Gap::Accept,
            _ => Gap::Hold,
        }
    }

    /// What may go wrong in one schedule where all are run.
    pub(super) const fn bounds(self) -> Bounds {
        match self {
            Self::Repeated
            | Self::Reconciled
            | Self::SingleWrite
            | Self::SingleWriteBesideClaims
            | Self::ThreeCallers
            | Self::Stream
            | Self::StreamCreatedAnew
            | Self::TableStreamInSingleWrite
            | Self::Fifo
            | Self::FifoInSingleWrite => Bounds { faults: 1, deaths: 1, times: 1 },
            // A reconciler has many requests, and the changes of a table have many claims.
            Self::TwoCallersBesideAReconciler | Self::TableStream => Bounds { faults: 1, deaths: 0, times: 1 },
            // The SDK is slow.
            Self::LongAnswers => Bounds { faults: 0, deaths: 1, times: 1 },
            Self::LongAnswersInSingleWrite => Bounds { faults: 1, deaths: 0, times: 0 },
            Self::LongAnswersExpire => Bounds { faults: 0, deaths: 0, times: 1 },
            // Nothing of these looks at a clock that the others do not.
            Self::StreamThroughTheGate
            | Self::StreamAtAGap
            | Self::StreamMeetsOtherContent
            | Self::GateHolds
            | Self::GateAccepts
            | Self::GateMeetsOtherContent
            | Self::Versioned => Bounds { faults: 1, deaths: 1, times: 0 },
            // Its pollers take two batches each.
            Self::StreamOfAClockAhead => Bounds { faults: 1, deaths: 0, times: 0 },
        }
    }

    /// Whether processes begin one by one where all schedules are run; else all begin at once, which leaves fewer orders.
    pub(super) const fn begins_in_turn(self) -> bool {
        !matches!(
            self,
            Self::ThreeCallers
                | Self::TwoCallersBesideAReconciler
                | Self::StreamThroughTheGate
                | Self::StreamAtAGap
                | Self::StreamMeetsOtherContent
                | Self::TableStream
                | Self::Versioned
        )
    }
}
