//! The protocol as a model that is checked exhaustively: every order in which messages arrive, are repeated, delayed or
//! lost, every clock that is wrong, every process that dies or freezes anywhere, within the bounds of a [`Settings`].
//!
//! What decides is not modelled but called: [`decide`](idempotency::protocol::decide), the transitions, the conditions
//! and the recognition of own writes are the library's. Modelled are the control flow of the engine (which the
//! [simulation](crate::simulation) runs for real), a network, a store that evaluates conditions, and another system
//! that charges, deduplicates by the transaction id, and can be told to refuse an id for ever.
//!
//! There is no clock. Each decision sees the leases over or not, as it likes, so nothing that is proved rests on time;
//! only by a whole retention do clocks not differ, and requests not travel.

mod check;
pub mod item;
pub mod mutant;
pub mod property;
mod settings;
pub mod state;
mod step;

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use stateright::Property;

pub use check::{Checked, check, check_mutant};
pub use item::Standing;
pub use mutant::Mutant;
pub use property::{Event, Promise};
pub use settings::{Player, Role, Settings};
pub use state::World;

use state::{Actor, Ask, Judge, Message, Stage};

/// A model: what takes part, and what is broken on purpose.
#[derive(Clone)]
pub struct Model {
    /// Who takes part, within which bounds.
    pub settings: Settings,
    /// What is broken.
    pub mutant: Option<Mutant>,
    /// How often each event occurred.
    pub occurred: Arc<[AtomicU64; Event::ALL.len()]>,
}

/// One step of the world.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Action {
    /// Begins a call.
    Call(usize),
    /// Decides about what it found, by a clock that shows leases over or not.
    Decide { actor: usize, late: bool },
    /// Runs, and ends so.
    Run(usize, Ran),
    /// Looks for evidence.
    Look(usize),
    /// Looks for evidence, and is not shown what there is: the search lags.
    Overlook(usize),
    /// Makes the other side refuse what it does not have, and so makes evidence.
    Prevent(usize),
    /// A message arrives.
    Deliver { message: usize, reply: bool, again: bool, declined: bool },
    /// Waits no longer for a reply.
    GiveUp(usize),
    /// The process dies.
    Crash(usize),
    /// So much time passes that the other side forgets which ids were used. No call takes so long.
    Forget,
    /// The retention passes.
    Retention,
    /// What has expired is deleted.
    Sweep,
}

/// How a run ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ran {
    /// It calls the other side, and goes on when that answers.
    Charges,
    /// It happened, inside.
    Success,
    /// It did not happen and will not.
    Failed,
    /// Nothing was executed.
    NotExecuted,
    /// Not known.
    Unknown,
}

impl Model {
    /// A model in which nothing has occurred.
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
        let player = &self.settings.players[index];
        let actor = &world.actors[index];
        let on_its_way = |matches: &dyn Fn(&Ask) -> bool| {
            world.network.iter().any(|message| {
                (usize::from(message.actor), message.call) == (index, actor.calls) && matches(&message.ask)
            })
        };
        let may_fail = world.faults > 0;
        match &actor.stage {
            Stage::Idle => {
                let open = match player.role {
                    Role::Caller | Role::SingleWrite => true,
                    Role::Reconciler | Role::Operator => world
                        .record
                        .is_some_and(|record| matches!(record.state, Standing::Processing(_) | Standing::Unknown(_))),
                };
                if open && actor.calls < player.calls {
                    actions.push(Action::Call(index));
                }
                return;
            }
            Stage::Looking(found) => {
                actions.push(Action::Decide { actor: index, late: false });
                if found.is_some_and(|found| found.owner().is_some()) {
                    actions.push(Action::Decide { actor: index, late: true });
                }
            }
            Stage::Running(_) => actions.extend(self.settings.runs.iter().map(|ran| Action::Run(index, *ran))),
            Stage::Charging(claim) => {
                let charge = |ask: &Ask| matches!(ask, Ask::Charge(id, _) if *id == claim.item.transaction);
                if may_fail || !on_its_way(&charge) {
                    actions.push(Action::GiveUp(index));
                }
            }
            Stage::Asking(claim) => {
                actions.push(Action::Look(index));
                let has_nothing = world.entry(claim.item.transaction).is_none();
                if self.settings.forgetful && !has_nothing {
                    actions.push(Action::Overlook(index));
                }
                if player.role != Role::Operator && (has_nothing || self.settings.forgetful) {
                    actions.push(Action::Prevent(index));
                }
            }
            Stage::Waiting(wait) => {
                let write = |ask: &Ask| *ask == Ask::Put(wait.put);
                if may_fail || !on_its_way(&write) {
                    actions.push(Action::GiveUp(index));
                }
            }
        }
        if may_fail {
            actions.push(Action::Crash(index));
        }
    }

    fn delivery_actions(&self, world: &World, actions: &mut Vec<Action>) {
        let mut last: Option<&Message> = None;
        for (index, message) in world.network.iter().enumerate() {
            // Of equal messages it does not matter which arrives.
            if last.replace(message) == Some(message) {
                continue;
            }
            let actor = &world.actors[usize::from(message.actor)];
            let waits = actor.calls == message.call
                && match (&actor.stage, &message.ask) {
                    (Stage::Waiting(wait), Ask::Put(put)) => wait.put == *put,
                    (Stage::Charging(claim), Ask::Charge(id, _)) => claim.item.transaction == *id,
                    _ => false,
                };
            let declines = match message.ask {
                Ask::Charge(id, _) => self.settings.declines && world.entry(id).is_none(),
                Ask::Put(_) => false,
            };
            for declined in if declines { &[false, true][..] } else { &[false] } {
                let mut deliver =
                    |reply, again| actions.push(Action::Deliver { message: index, reply, again, declined: *declined });
                deliver(waits, false);
                if world.faults > 0 {
                    deliver(waits, true);
                    if waits {
                        deliver(false, false);
                        deliver(false, true);
                    }
                }
            }
        }
    }
}

impl stateright::Model for Model {
    type State = World;
    type Action = Action;

    fn init_states(&self) -> Vec<World> {
        vec![World {
            era: 0,
            record: None,
            network: Vec::new(),
            provider: Vec::new(),
            forgotten: 0,
            actors: self.settings.players.iter().map(|_| Actor { calls: 0, stage: Stage::Idle }).collect(),
            faults: self.settings.faults,
            judge: Judge::default(),
        }]
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
        if world.record.is_some_and(|record| record.has_expired(world.era)) {
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
