//! The actors and bounds of a model.

use super::Ending;

/// The bounds of a model.
#[derive(Clone, Debug)]
pub struct Settings {
    /// The name of the model, which says what it covers.
    pub name: &'static str,
    /// The actors.
    pub players: Vec<Player>,
    /// The possible ends of a run.
    pub runs: &'static [Ending],
    /// Whether the provider may refuse for good.
    pub declines: bool,
    /// Whether the provider may forget which transaction ids were used, and its search may miss charges.
    pub forgetful: bool,
    /// Whether the operation is declared repeatable.
    pub repeatable: bool,
    /// Whether a caller reconciles an UNKNOWN record itself.
    pub callers_reconcile: bool,
    /// How long a duplicate of a running call waits.
    pub waits: WaitsFor,
    /// Whether a process caches settled records.
    pub remembers: bool,
    /// Whether callers look the record up by an eventually consistent read first.
    pub looks_up: bool,
    /// Whether answers are so long that they are stored next to their records.
    pub long_answers: bool,
    /// How many faults may occur: messages lost, repeated or given up, and processes that die.
    pub faults: u8,
    /// How often the retention passes.
    pub retentions: u8,
}

/// How long a duplicate of a running call waits.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum WaitsFor {
    /// It does not wait.
    Nothing,
    /// A time that ends before the lease.
    SomeTime,
    /// The end of the lease, when it takes over.
    TheLease,
}

/// An actor.
#[derive(Clone, Copy, Debug)]
pub struct Player {
    /// Its role.
    pub role: Role,
    /// The content of its requests: different numbers are different requests.
    pub body: u8,
    /// How many calls it makes, one after another.
    pub calls: u8,
}

/// The role of an actor.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Role {
    /// Calls and retries: claim, run, commit.
    Caller,
    /// Calls in single-write mode.
    SingleWrite,
    /// Reconciles without a call.
    Reconciler,
    /// Settles by hand according to the provider's search; cannot create a tombstone.
    Operator,
    /// Acquires a lock, renews and releases it.
    Holder,
}

const fn player(role: Role, body: u8, calls: u8) -> Player {
    Player { role, body, calls }
}

impl Settings {
    /// Whether the provider takes part.
    pub fn has_external_effects(&self) -> bool {
        self.runs.contains(&Ending::Charges)
    }

    fn transactional(name: &'static str, faults: u8, players: Vec<Player>) -> Self {
        Self {
            name,
            players,
            runs: &[Ending::Success],
            declines: false,
            forgetful: false,
            repeatable: false,
            callers_reconcile: true,
            waits: WaitsFor::Nothing,
            remembers: false,
            looks_up: false,
            long_answers: false,
            faults,
            retentions: 0,
        }
    }

    fn external(name: &'static str, faults: u8, players: Vec<Player>) -> Self {
        Self { runs: &[Ending::Charges], ..Self::transactional(name, faults, players) }
    }

    fn lock(name: &'static str, faults: u8, retentions: u8) -> Self {
        let players = vec![player(Role::Holder, 1, 2), player(Role::Holder, 1, 2)];
        let runs = &[Ending::NotExecuted];
        Self { runs, repeatable: true, retentions, ..Self::transactional(name, faults, players) }
    }

    /// The models that are checked for every change.
    pub fn quick() -> Vec<Self> {
        use Role::{Caller, Operator, Reconciler, SingleWrite};
        let two = |calls| vec![player(Caller, 1, calls), player(Caller, 1, calls)];
        vec![
            Self {
                runs: &[Ending::Success, Ending::Failed, Ending::NotExecuted, Ending::Unknown],
                ..Self::transactional("every verdict", 2, two(2))
            },
            Self { repeatable: true, ..Self::transactional("transactional, repeatable", 3, two(2)) },
            Self {
                callers_reconcile: false,
                ..Self::transactional("transactional, left to others", 2, {
                    vec![player(Caller, 1, 2), player(Caller, 1, 1), player(Reconciler, 0, 1)]
                })
            },
            Self {
                runs: &[Ending::Success, Ending::NotExecuted],
                ..Self::transactional(
                    "another request under the key",
                    2,
                    vec![player(Caller, 1, 2), player(Caller, 2, 2)],
                )
            },
            Self::transactional(
                "single write",
                4,
                vec![player(SingleWrite, 1, 2), player(SingleWrite, 1, 2), player(SingleWrite, 2, 1)],
            ),
            Self {
                runs: &[Ending::Success, Ending::NotExecuted],
                ..Self::transactional("single write and claims", 3, {
                    vec![player(Caller, 1, 2), player(SingleWrite, 1, 1), player(SingleWrite, 2, 1)]
                })
            },
            Self {
                runs: &[Ending::Success, Ending::NotExecuted],
                ..Self::transactional("single write over a release", 2, {
                    vec![player(Caller, 1, 1), player(SingleWrite, 1, 1), player(SingleWrite, 1, 1)]
                })
            },
            Self { retentions: 1, ..Self::transactional("a second life", 2, two(2)) },
            Self {
                retentions: 1,
                ..Self::transactional("calls that outlive the retention", 2, {
                    vec![player(Caller, 1, 1), player(SingleWrite, 1, 1), player(SingleWrite, 1, 1)]
                })
            },
            Self { declines: true, ..Self::external("external", 2, two(2)) },
            Self {
                forgetful: true,
                ..Self::external("external, with a memory that ends", 2, {
                    vec![player(Caller, 1, 2), player(Caller, 1, 1), player(Reconciler, 0, 1)]
                })
            },
            Self {
                repeatable: true,
                runs: &[Ending::Charges, Ending::NotExecuted],
                ..Self::external("external, repeatable", 2, two(2))
            },
            Self {
                declines: true,
                ..Self::external("external, reconciler and operator", 2, {
                    vec![player(Caller, 1, 2), player(Reconciler, 0, 1), player(Operator, 0, 1)]
                })
            },
            Self {
                waits: WaitsFor::SomeTime,
                runs: &[Ending::Success, Ending::NotExecuted, Ending::Unknown],
                ..Self::transactional("a duplicate waits", 2, vec![player(Caller, 1, 1), player(Caller, 1, 1)])
            },
            Self {
                waits: WaitsFor::TheLease,
                ..Self::external("duplicates wait for the lease, then reconcile", 2, {
                    vec![player(Caller, 1, 1), player(Caller, 1, 1), player(Caller, 1, 1)]
                })
            },
            Self { remembers: true, retentions: 1, ..Self::transactional("a process remembers", 1, two(2)) },
            Self {
                remembers: true,
                ..Self::transactional("a process remembers another request", 1, {
                    vec![player(Caller, 1, 1), player(Caller, 2, 2)]
                })
            },
            Self {
                looks_up: true,
                retentions: 1,
                runs: &[Ending::Success, Ending::Unknown],
                ..Self::transactional("redeliveries look up first", 1, {
                    vec![player(Caller, 1, 2), player(Caller, 1, 1)]
                })
            },
            Self {
                looks_up: true,
                runs: &[Ending::Success, Ending::NotExecuted],
                ..Self::transactional("another request looks up first", 2, {
                    vec![player(Caller, 1, 2), player(Caller, 2, 2)]
                })
            },
            Self {
                looks_up: true,
                runs: &[Ending::Success, Ending::NotExecuted],
                ..Self::transactional("single writes look up first", 2, {
                    vec![player(Caller, 1, 1), player(SingleWrite, 1, 1), player(SingleWrite, 1, 1)]
                })
            },
            Self { long_answers: true, retentions: 1, ..Self::transactional("long answers, a second life", 1, two(2)) },
            Self {
                long_answers: true,
                runs: &[Ending::Success, Ending::NotExecuted],
                ..Self::transactional("single write of long answers over a release", 2, {
                    vec![player(Caller, 1, 1), player(SingleWrite, 1, 1), player(SingleWrite, 1, 1)]
                })
            },
            Self::lock("a lock", 2, 1),
        ]
    }

    /// The default models, with one fault fewer than in the gate.
    pub fn short() -> Vec<Self> {
        let mut all = Self::quick();
        for settings in &mut all {
            settings.faults = settings.faults.saturating_sub(1).max(1);
        }
        all
    }

    /// Models with one fault: enough to detect a breakage, and quick to check completely if there is none. The smallest
    /// models come first.
    pub fn small() -> Vec<Self> {
        let mut all = Self::quick();
        for settings in &mut all {
            settings.faults = 1;
        }
        all.sort_by_key(|settings| settings.runs.len() + settings.players.len() + usize::from(settings.retentions));
        all
    }

    /// The larger models of the soak.
    pub fn nightly() -> Vec<Self> {
        use Role::{Caller, Operator, Reconciler, SingleWrite};
        let mut all = Self::quick();
        for settings in &mut all {
            settings.faults += 1;
        }
        all.push(Self {
            declines: true,
            ..Self::external("external, all roles", 1, {
                vec![player(Caller, 1, 2), player(Caller, 1, 1), player(Reconciler, 0, 1), player(Operator, 0, 1)]
            })
        });
        all.push(Self {
            retentions: 1,
            ..Self::transactional("single write, a second life", 4, {
                vec![player(SingleWrite, 1, 2), player(SingleWrite, 1, 2), player(SingleWrite, 2, 1)]
            })
        });
        all
    }
}
