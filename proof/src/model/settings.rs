//! Who takes part in a model, within which bounds.

use super::Ran;

/// The bounds of a model.
#[derive(Clone, Debug)]
pub struct Settings {
    /// What it shows.
    pub name: &'static str,
    /// Who takes part.
    pub players: Vec<Player>,
    /// How a run may end.
    pub runs: &'static [Ran],
    /// Whether the other side may refuse for good.
    pub declines: bool,
    /// Whether the other side may forget which transaction ids were used, and its search may not show what it did.
    pub forgetful: bool,
    /// Whether an uncertain outcome was declared repeatable.
    pub repeatable: bool,
    /// Whether a caller reconciles what it finds UNKNOWN, or leaves that to others.
    pub callers_reconcile: bool,
    /// How many messages are lost, repeated or not waited for, and processes die.
    pub faults: u8,
    /// How often the retention passes.
    pub retentions: u8,
}

/// Somebody who takes part.
#[derive(Clone, Copy, Debug)]
pub struct Player {
    /// What it does.
    pub role: Role,
    /// What its requests ask for.
    pub body: u8,
    /// How many calls it makes, one after the other.
    pub calls: u8,
}

/// What somebody does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Role {
    /// Calls, and calls again: claim, run, commit.
    Caller,
    /// Calls in single-write mode.
    SingleWrite,
    /// Reconciles without a call.
    Reconciler,
    /// Settles by hand what is found at the other side; cannot make it refuse anything.
    Operator,
}

const fn player(role: Role, body: u8, calls: u8) -> Player {
    Player { role, body, calls }
}

impl Settings {
    /// Whether another system takes part.
    pub fn is_outside(&self) -> bool {
        self.runs.contains(&Ran::Charges)
    }

    fn inside(name: &'static str, faults: u8, players: Vec<Player>) -> Self {
        Self {
            name,
            players,
            runs: &[Ran::Success],
            declines: false,
            forgetful: false,
            repeatable: false,
            callers_reconcile: true,
            faults,
            retentions: 0,
        }
    }

    fn outside(name: &'static str, faults: u8, players: Vec<Player>) -> Self {
        Self { runs: &[Ran::Charges], ..Self::inside(name, faults, players) }
    }

    /// What is checked with every change.
    pub fn quick() -> Vec<Self> {
        use Role::{Caller, Operator, Reconciler, SingleWrite};
        let two = |calls| vec![player(Caller, 1, calls), player(Caller, 1, calls)];
        vec![
            Self {
                runs: &[Ran::Success, Ran::Failed, Ran::NotExecuted, Ran::Unknown],
                ..Self::inside("every verdict", 2, two(2))
            },
            Self { repeatable: true, ..Self::inside("inside, repeatable", 3, two(2)) },
            Self {
                callers_reconcile: false,
                ..Self::inside("inside, left to others", 2, {
                    vec![player(Caller, 1, 2), player(Caller, 1, 1), player(Reconciler, 0, 1)]
                })
            },
            Self {
                runs: &[Ran::Success, Ran::NotExecuted],
                ..Self::inside("another request under the key", 2, vec![player(Caller, 1, 2), player(Caller, 2, 2)])
            },
            Self::inside(
                "one write",
                4,
                vec![player(SingleWrite, 1, 2), player(SingleWrite, 1, 2), player(SingleWrite, 2, 1)],
            ),
            Self {
                runs: &[Ran::Success, Ran::NotExecuted],
                ..Self::inside("one write beside claims", 3, {
                    vec![player(Caller, 1, 2), player(SingleWrite, 1, 1), player(SingleWrite, 2, 1)]
                })
            },
            Self {
                runs: &[Ran::Success, Ran::NotExecuted],
                ..Self::inside("one write over a release", 2, {
                    vec![player(Caller, 1, 1), player(SingleWrite, 1, 1), player(SingleWrite, 1, 1)]
                })
            },
            Self { retentions: 1, ..Self::inside("a second life", 2, two(2)) },
            Self { declines: true, ..Self::outside("outside", 2, two(2)) },
            Self {
                forgetful: true,
                ..Self::outside("outside, with a memory that ends", 2, {
                    vec![player(Caller, 1, 2), player(Caller, 1, 1), player(Reconciler, 0, 1)]
                })
            },
            Self {
                repeatable: true,
                runs: &[Ran::Charges, Ran::NotExecuted],
                ..Self::outside("outside, repeatable", 2, two(2))
            },
            Self {
                declines: true,
                ..Self::outside("outside, reconciler and operator", 2, {
                    vec![player(Caller, 1, 2), player(Reconciler, 0, 1), player(Operator, 0, 1)]
                })
            },
        ]
    }

    /// Enough to notice what is broken, and quickly explored where it is not.
    pub fn small() -> Vec<Self> {
        let mut all = Self::quick();
        for settings in &mut all {
            settings.faults = 1;
        }
        all
    }

    /// What is checked at night: more of the same.
    pub fn nightly() -> Vec<Self> {
        use Role::{Caller, Operator, Reconciler, SingleWrite};
        let mut all = Self::quick();
        for settings in &mut all {
            settings.faults += 1;
        }
        all.push(Self {
            declines: true,
            ..Self::outside("outside, everybody", 1, {
                vec![player(Caller, 1, 2), player(Caller, 1, 1), player(Reconciler, 0, 1), player(Operator, 0, 1)]
            })
        });
        all.push(Self {
            retentions: 1,
            ..Self::inside("one write, a second life", 4, {
                vec![player(SingleWrite, 1, 2), player(SingleWrite, 1, 2), player(SingleWrite, 2, 1)]
            })
        });
        all
    }
}
