//! The cases: a request to a function, its preparation, and the expected response.

use axum::body::Bytes;
use clap::ValueEnum;

use crate::event::{self, Order};
use crate::kind::Kind;
use crate::subject::Mode;

/// A case.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Case {
    /// A request under a new key; its effect is external.
    FirstRun,
    /// The same, with an effect in DynamoDB.
    FirstRunWithEffect,
    /// The same request again, in a sandbox that has not seen it.
    ReplayElsewhere,
    /// The same request again, in the sandbox that ran it.
    ReplayHere,
    /// The same request again, while it runs elsewhere.
    InProgress,
    /// Another request under the key.
    Mismatch,
    /// A request that is declined; the refusal is final.
    Failed,
    /// A request in single-write mode, or in the normal mode of subjects without one.
    SingleWrite,
    /// The same, with an effect in DynamoDB.
    SingleWriteWithEffect,
    /// A batch of 10 messages.
    #[value(name = "batch-10")]
    Batch10,
    /// The same batch again, in a sandbox that has not seen it.
    #[value(name = "batch-10-replay")]
    Batch10Replay,
    /// A batch of 100 messages.
    #[value(name = "batch-100")]
    Batch100,
    /// The same batch again, in a sandbox that has not seen it.
    #[value(name = "batch-100-replay")]
    Batch100Replay,
}

/// The preparation before the measured invocations.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Before {
    /// Nothing.
    Nothing,
    /// Another sandbox runs all of them.
    RunElsewhere,
    /// The measured sandbox runs the request that is then repeated.
    RunHere,
    /// Another sandbox is running the request that is then repeated.
    HeldElsewhere,
}

impl Case {
    /// The preparation.
    #[must_use]
    pub const fn before(self) -> Before {
        match self {
            Self::FirstRun
            | Self::FirstRunWithEffect
            | Self::Failed
            | Self::SingleWrite
            | Self::SingleWriteWithEffect
            | Self::Batch10
            | Self::Batch100 => Before::Nothing,
            Self::ReplayElsewhere | Self::Mismatch | Self::Batch10Replay | Self::Batch100Replay => Before::RunElsewhere,
            Self::ReplayHere => Before::RunHere,
            Self::InProgress => Before::HeldElsewhere,
        }
    }

    /// The mode of the function.
    #[must_use]
    pub const fn mode(self) -> Mode {
        match self {
            Self::FirstRun
            | Self::FirstRunWithEffect
            | Self::ReplayElsewhere
            | Self::ReplayHere
            | Self::InProgress
            | Self::Mismatch
            | Self::Failed => Mode::Http,
            Self::SingleWrite | Self::SingleWriteWithEffect => Mode::SingleWrite,
            Self::Batch10 | Self::Batch10Replay | Self::Batch100 | Self::Batch100Replay => Mode::Batch,
        }
    }

    /// The number of operations in one invocation.
    #[must_use]
    pub const fn operations(self) -> usize {
        match self {
            Self::Batch10 | Self::Batch10Replay => 10,
            Self::Batch100 | Self::Batch100Replay => 100,
            Self::FirstRun
            | Self::FirstRunWithEffect
            | Self::ReplayElsewhere
            | Self::ReplayHere
            | Self::InProgress
            | Self::Mismatch
            | Self::Failed
            | Self::SingleWrite
            | Self::SingleWriteWithEffect => 1,
        }
    }

    /// The event of the invocation with this number.
    #[must_use]
    pub fn event(self, number: usize) -> Bytes {
        let order = match self {
            Self::Failed => Order { amount: -1, ..Order::default() },
            Self::Mismatch => Order { amount: 2000, ..Order::default() },
            Self::FirstRunWithEffect | Self::SingleWriteWithEffect => Order { effect: true, ..Order::default() },
            _ => Order::default(),
        };
        self.event_of(number, &order, false)
    }

    /// The event that precedes the one with this number.
    #[must_use]
    pub fn earlier_event(self, number: usize) -> Bytes {
        self.event_of(number, &Order::default(), self.before() == Before::HeldElsewhere)
    }

    fn event_of(self, number: usize, order: &Order, hold: bool) -> Bytes {
        let number = match self.before() {
            Before::RunHere | Before::HeldElsewhere => 0,
            Before::Nothing | Before::RunElsewhere => number,
        };
        match self.mode() {
            Mode::Http | Mode::SingleWrite => event::request(&format!("{self}-{number}"), order, hold),
            Mode::Batch => {
                event::batch((0..self.operations()).map(|message| format!("{self}-{number}-{message}")), order)
            }
        }
    }

    /// The expected result: a status, or no returned message.
    #[must_use]
    pub const fn status(self) -> Option<u64> {
        match self {
            Self::FirstRun
            | Self::FirstRunWithEffect
            | Self::ReplayElsewhere
            | Self::ReplayHere
            | Self::SingleWrite
            | Self::SingleWriteWithEffect => Some(201),
            Self::InProgress => Some(409),
            Self::Mismatch => Some(422),
            Self::Failed => Some(402),
            Self::Batch10 | Self::Batch10Replay | Self::Batch100 | Self::Batch100Replay => None,
        }
    }

    /// The number of invocations, given the number of requested ones.
    #[must_use]
    pub fn invocations(self, asked: usize, delay_ms: u64) -> usize {
        let asked = if delay_ms == 0 { asked } else { asked / 5 };
        match self.operations() {
            1 => asked,
            10 => asked / 3,
            _ => asked / 10,
        }
        .max(1)
    }

    /// Whether the case is meaningful for this kind of subject.
    #[must_use]
    pub fn is_for(self, kind: Kind) -> bool {
        match kind {
            Kind::None => matches!(self, Self::FirstRun | Self::SingleWrite | Self::Batch10 | Self::Batch100),
            Kind::FloorEqual => self.mode() == Mode::Batch,
            Kind::Floor | Kind::Ours | Kind::Python | Kind::Typescript => true,
        }
    }
}
