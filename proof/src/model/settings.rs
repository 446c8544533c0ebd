//! The actors and bounds of a model.

use super::Ending;

/// The bounds of a model.
#[derive(Clone, Debug, Default)]
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
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum WaitsFor {
    /// It does not wait.
    #[default]
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

/// An actor that makes this many calls, all with this content.
const fn player(role: Role, body: u8, calls: u8) -> Player {
    Player { role, body, calls }
}

const RECONCILER: Player = player(Role::Reconciler, 0, 1);
const OPERATOR: Player = player(Role::Operator, 0, 1);
const HOLDER: Player = player(Role::Holder, 1, 2);

/// Callers, and writers in single-write mode, that make one call or two; the others make another request.
const ONCE: Player = player(Role::Caller, 1, 1);
const TWICE: Player = player(Role::Caller, 1, 2);
const OTHER: Player = player(Role::Caller, 2, 2);
const WRITES: Player = player(Role::SingleWrite, 1, 1);
const WRITES_TWICE: Player = player(Role::SingleWrite, 1, 2);
const OTHER_WRITES: Player = player(Role::SingleWrite, 2, 1);

impl Settings {
    /// Whether the provider takes part.
    pub fn has_external_effects(&self) -> bool {
        self.runs.contains(&Ending::Charges)
    }

    fn transactional(name: &'static str, faults: u8, players: &[Player]) -> Self {
        let (players, runs) = (players.to_vec(), &[Ending::Success]);
        Self { name, players, runs, callers_reconcile: true, faults, ..Self::default() }
    }

    fn external(name: &'static str, faults: u8, players: &[Player]) -> Self {
        Self { runs: &[Ending::Charges], ..Self::transactional(name, faults, players) }
    }

    /// The models that are checked for every change.
    pub fn quick() -> Vec<Self> {
        use Ending::{Charges, Failed, NotExecuted, Success, Unknown};
        use WaitsFor::{SomeTime, TheLease};
        const OR_NOT: &[Ending] = &[Success, NotExecuted];
        let (callers, over_a_release) = ([TWICE, TWICE], [ONCE, WRITES, WRITES]);
        let transactional = Self::transactional;
        let external = Self::external;
        vec![
            Self { runs: &[Success, Failed, NotExecuted, Unknown], ..transactional("every verdict", 2, &callers) },
            Self { repeatable: true, ..transactional("transactional, repeatable", 3, &callers) },
            Self {
                callers_reconcile: false,
                ..transactional("transactional, left to others", 2, &[TWICE, ONCE, RECONCILER])
            },
            Self { runs: OR_NOT, ..transactional("another request under the key", 2, &[TWICE, OTHER]) },
            transactional("single write", 4, &[WRITES_TWICE, WRITES_TWICE, OTHER_WRITES]),
            Self { runs: OR_NOT, ..transactional("single write and claims", 3, &[TWICE, WRITES, OTHER_WRITES]) },
            Self { runs: OR_NOT, ..transactional("single write over a release", 2, &over_a_release) },
            Self { retentions: 1, ..transactional("a second life", 2, &callers) },
            Self { retentions: 1, ..transactional("calls that outlive the retention", 2, &over_a_release) },
            Self { declines: true, ..external("external", 2, &callers) },
            Self { forgetful: true, ..external("external, with a memory that ends", 2, &[TWICE, ONCE, RECONCILER]) },
            Self { repeatable: true, runs: &[Charges, NotExecuted], ..external("external, repeatable", 2, &callers) },
            Self { declines: true, ..external("external, reconciler and operator", 2, &[TWICE, RECONCILER, OPERATOR]) },
            Self {
                waits: SomeTime,
                runs: &[Success, NotExecuted, Unknown],
                ..transactional("a duplicate waits", 2, &[ONCE, ONCE])
            },
            Self { waits: TheLease, ..external("duplicates wait for the lease, then reconcile", 2, &[ONCE; 3]) },
            Self { remembers: true, retentions: 1, ..transactional("a process remembers", 1, &callers) },
            Self { remembers: true, ..transactional("a process remembers another request", 1, &[ONCE, OTHER]) },
            Self {
                looks_up: true,
                retentions: 1,
                runs: &[Success, Unknown],
                ..transactional("redeliveries look up first", 1, &[TWICE, ONCE])
            },
            Self {
                looks_up: true,
                runs: OR_NOT,
                ..transactional("another request looks up first", 2, &[TWICE, OTHER])
            },
            Self { looks_up: true, runs: OR_NOT, ..transactional("single writes look up first", 2, &over_a_release) },
            Self { long_answers: true, retentions: 1, ..transactional("long answers, a second life", 1, &callers) },
            Self {
                long_answers: true,
                runs: OR_NOT,
                ..transactional("single write of long answers over a release", 2, &over_a_release)
            },
            Self { runs: &[NotExecuted], repeatable: true, retentions: 1, ..transactional("a lock", 2, &[HOLDER; 2]) },
        ]
    }

    fn with_faults(faults: impl Fn(u8) -> u8) -> Vec<Self> {
        Self::quick().into_iter().map(|settings| Self { faults: faults(settings.faults), ..settings }).collect()
    }

    /// The default models, with one fault fewer than in the gate.
    pub fn short() -> Vec<Self> {
        Self::with_faults(|faults| faults.saturating_sub(1).max(1))
    }

    /// Models with one fault: enough to detect a breakage, and quick to check completely if there is none. The smallest
    /// models come first.
    pub fn small() -> Vec<Self> {
        let mut all = Self::with_faults(|_| 1);
        all.sort_by_key(|settings| settings.runs.len() + settings.players.len() + usize::from(settings.retentions));
        all
    }

    /// The larger models of the soak.
    pub fn soak() -> Vec<Self> {
        let mut all = Self::with_faults(|faults| faults + 1);
        let (external, transactional) = (
            Self::external("external, all roles", 1, &[TWICE, ONCE, RECONCILER, OPERATOR]),
            Self::transactional("single write, a second life", 4, &[WRITES_TWICE, WRITES_TWICE, OTHER_WRITES]),
        );
        all.extend([Self { declines: true, ..external }, Self { retentions: 1, ..transactional }]);
        all
    }
}
