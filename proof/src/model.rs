//! A model of the protocol that is checked exhaustively: every order in which messages arrive, are repeated, delayed or
//! lost, every wrong clock, and every process that dies or freezes at any point, within the bounds of its [`Settings`].
//!
//! The calls themselves are not modelled: each actor drives the library's own [`Machine`], as the engine does. The
//! model consists of a network, a store that evaluates the library's conditions, and a provider that charges,
//! deduplicates by the transaction id, and can be made to refuse an id permanently.
//!
//! There is no clock. In each step leases may have ended or not, so no result depends on time. There are only two
//! assumptions: clocks do not differ by a whole retention period, and no request is in transit for that long.

mod check;
mod clock;
pub mod mutant;
mod mutate;
mod oracle;
pub mod property;
mod settings;
mod shared;
pub mod state;
mod step;

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, LazyLock};

use idempotency::protocol::machine::{self, Machine};
use idempotency::protocol::{Key, Principal, RecordId};
use stateright::Property;

pub use check::{Checked, check, check_mutant};
pub use clock::Reading;
pub use mutant::Mutant;
pub use property::{Event, Promise};
pub use settings::{Player, Role, Settings, WaitsFor};
pub use state::World;

use state::{Actor, Ask, Message, Waits, is_long, transaction};

/// The id of the model's only record.
static ID: LazyLock<RecordId> =
    LazyLock::new(|| RecordId::new("model", &Principal::new("p").expect("valid"), &Key::new("k").expect("valid")));

/// A model: its actors, and its deliberate breakage.
#[derive(Clone)]
pub struct Model {
    /// The actors and the bounds.
    pub settings: Settings,
    /// The deliberate breakage, if any.
    pub mutant: Option<Mutant>,
    /// How often each event occurred.
    pub occurred: Arc<[AtomicU64; Event::ALL.len()]>,
}

/// One step of the world: of the actor at this index, if it has one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Action {
    /// Begins a call, while the actor's clock shows this.
    Call(usize, Reading),
    /// Runs, with this ending.
    Run(usize, Ending),
    /// Extends a lock by another lease.
    Renew(usize),
    /// Looks for evidence.
    Look(usize),
    /// Looks for evidence, but the provider's search lags and does not show it.
    Overlook(usize),
    /// Makes the provider refuse an id that it does not have, which creates evidence.
    Prevent(usize),
    /// Waits for a running call, and reads again when the actor's clock shows this.
    Wait(usize, Reading),
    /// Reads with eventual consistency, which returns the version at this place or none, when the actor's clock shows
    /// this.
    LookUp(usize, Option<usize>, Reading),
    /// Reads an answer that is stored next to its record.
    ReadParts(usize),
    /// A message arrives.
    Deliver {
        /// The index of the message.
        message: usize,
        /// Whether the reply arrives.
        reply: bool,
        /// Whether the message arrives again later.
        again: bool,
        /// Whether the provider refuses for good.
        declined: bool,
        /// The reading of the sender's clock when it gets the reply.
        reading: Reading,
    },
    /// Stops waiting for a reply.
    GiveUp(usize),
    /// The process dies.
    Crash(usize),
    /// The store rejects a settling write, the message at this place, because its long answer does not fit beside the
    /// effects.
    Reject(usize),
    /// So much time passes that the provider forgets which ids were used. No call takes that long.
    Forget,
    /// The retention passes.
    Retention,
    /// Expired records are deleted.
    Sweep,
}

/// The end of a run.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ending {
    /// It calls the provider, and continues with the reply.
    Charges,
    /// It happened, in the commit's transaction.
    Success,
    /// It did not happen and will not.
    Failed,
    /// Nothing was executed.
    NotExecuted,
    /// It did not begin: too little time was left.
    NotBegun,
    /// The outcome is unknown.
    Unknown,
}

impl Model {
    /// Creates a model without recorded events.
    pub fn new(settings: Settings, mutant: Option<Mutant>) -> Self {
        Self { settings, mutant, occurred: Arc::new(std::array::from_fn(|_| AtomicU64::new(0))) }
    }

    fn occurs(&self, event: Event) {
        self.occurred[event as usize].fetch_add(1, Ordering::Relaxed);
    }

    fn is(&self, mutant: Mutant) -> bool {
        self.mutant == Some(mutant)
    }

    fn actor_actions(&self, world: &World, index: usize, actions: &mut Vec<Action>) {
        let actor = &world.actors[index];
        let Some(machine) = actor.machine.as_deref() else {
            return self.idle_actions(world, index, actions);
        };
        let is_awaited = || world.network.iter().any(|message| world.is_awaited_by(message, index));
        let may_fail = world.faults > 0;
        match &actor.waits {
            Waits::Charge | Waits::Reply { .. } => {
                if may_fail || !is_awaited() {
                    actions.push(Action::GiveUp(index));
                }
            }
            Waits::Nothing | Waits::Parts => self.machine_actions(world, index, machine, actions),
        }
        if may_fail {
            actions.push(Action::Crash(index));
        }
    }

    fn idle_actions(&self, world: &World, index: usize, actions: &mut Vec<Action>) {
        if world.actors[index].calls >= self.settings.players[index].calls {
            return;
        }
        let is_open = world.record.as_ref().is_some_and(|record| {
            use idempotency::protocol::State;
            matches!(record.state, State::Processing(_) | State::Unknown(_))
        });
        match self.role(index) {
            Role::Caller | Role::SingleWrite | Role::Holder => {
                actions.push(Action::Call(index, Reading::Early));
            }
            Role::Reconciler | Role::Operator if is_open => {
                actions.extend(self.readings(world).iter().map(|reading| Action::Call(index, *reading)));
            }
            Role::Reconciler | Role::Operator => {}
        }
    }

    fn machine_actions(&self, world: &World, index: usize, machine: &Machine, actions: &mut Vec<Action>) {
        match machine.poll() {
            machine::Action::Run(_) => {
                actions.extend(self.settings.runs.iter().map(|ending| Action::Run(index, *ending)));
                if self.role(index) == Role::Holder {
                    actions.push(Action::Renew(index));
                }
            }
            machine::Action::Resolve(record) => {
                actions.push(Action::Look(index));
                let has_nothing = world.entry(transaction(record.transaction)).is_none();
                if self.settings.forgetful && !has_nothing {
                    actions.push(Action::Overlook(index));
                }
                if self.role(index) != Role::Operator && (has_nothing || self.settings.forgetful) {
                    actions.push(Action::Prevent(index));
                }
            }
            machine::Action::Wait { .. } => {
                self.occurs(Event::Waited);
                actions.extend(self.readings(world).iter().map(|reading| Action::Wait(index, *reading)));
            }
            machine::Action::LookUp(_) => {
                let versions = (0..world.versions.len()).map(Some).chain([None]);
                actions.extend(
                    versions
                        .flat_map(|version| self.readings(world).iter().map(move |reading| (version, *reading)))
                        .map(|(version, reading)| Action::LookUp(index, version, reading)),
                );
            }
            machine::Action::ReadParts(..) => actions.push(Action::ReadParts(index)),
            machine::Action::Recall(_)
            | machine::Action::Read(_)
            | machine::Action::Write { .. }
            | machine::Action::Draw
            | machine::Action::Done(_) => {}
        }
    }

    /// The possible clock readings for the record, which matter only while it is held.
    fn readings(&self, world: &World) -> &'static [Reading] {
        match world.record.as_ref().is_some_and(|record| record.holder().is_some()) {
            true if self.settings.waits == WaitsFor::SomeTime => &[Reading::Early, Reading::Between, Reading::Late],
            true => &[Reading::Early, Reading::Late],
            false => &[Reading::Early],
        }
    }

    /// Whether the message is a settling write with a long answer that has not taken effect. A rejection whose reply
    /// nobody awaits is like the loss of the message.
    fn may_reject(&self, world: &World, message: &Message) -> bool {
        let Ask::Put(put) = &message.ask else { return false };
        let Waits::Reply { applied: false, .. } = &world.actors[usize::from(message.actor)].waits else { return false };
        self.settings.long_answers && is_long(&put.write.record) && world.is_awaited(message)
    }

    fn delivery_actions(&self, world: &World, actions: &mut Vec<Action>) {
        let mut last: Option<&Message> = None;
        for (index, message) in world.network.iter().enumerate() {
            // It does not matter which of several equal messages arrives.
            if last.replace(message) == Some(message) {
                continue;
            }
            let is_awaited = world.is_awaited(message);
            let declines = match message.ask {
                Ask::Charge(id, _) => self.settings.declines && world.entry(id).is_none(),
                Ask::Put(_) => false,
            };
            let readings = match message.ask {
                // The sender decides again only if its write is refused.
                Ask::Put(ref put) if is_awaited && !step::holds(put, world.record.as_deref()) => self.readings(world),
                Ask::Put(_) | Ask::Charge(..) => &[Reading::Early],
            };
            if world.faults > 0 && self.may_reject(world, message) {
                actions.push(Action::Reject(index));
            }
            for declined in if declines { &[false, true][..] } else { &[false] } {
                let mut deliver = |reply, again, reading| {
                    let (message, declined) = (index, *declined);
                    actions.push(Action::Deliver { message, reply, again, declined, reading });
                };
                for reading in readings {
                    deliver(is_awaited, false, *reading);
                    if world.faults > 0 {
                        deliver(is_awaited, true, *reading);
                    }
                }
                if world.faults > 0 && is_awaited {
                    deliver(false, false, Reading::Early);
                    deliver(false, true, Reading::Early);
                }
            }
        }
    }
}

impl stateright::Model for Model {
    type State = World;
    type Action = Action;

    fn init_states(&self) -> Vec<World> {
        let actors = vec![Actor::default(); self.settings.players.len()];
        vec![World { actors, faults: self.settings.faults, ..World::default() }]
    }

    fn actions(&self, world: &World, actions: &mut Vec<Action>) {
        for actor in 0..world.actors.len() {
            self.actor_actions(world, actor, actions);
        }
        self.delivery_actions(world, actions);
        if self.settings.forgetful && world.forgotten == 0 && world.record.is_some() {
            actions.push(Action::Forget);
        }
        if world.era < self.settings.retentions && world.record.is_some() {
            actions.push(Action::Retention);
        }
        if world.record.as_ref().is_some_and(|record| record.has_expired(clock::now(world.era, Reading::Early))) {
            actions.push(Action::Sweep);
        }
    }

    fn next_state(&self, world: &World, action: Action) -> Option<World> {
        let mut next = world.clone();
        self.step(&mut next, action);
        Some(next)
    }

    fn properties(&self) -> Vec<Property<Self>> {
        Promise::properties()
    }
}
