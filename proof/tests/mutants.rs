//! A proof that cannot fail proves nothing: each deliberate breakage of the protocol must be detected.

use proof::model::{Event, Mutant, Settings, check, check_mutant};
use strum::VariantArray;

/// Most mutants are detected within so many states of some model. To check all states of the models that do not detect a
/// mutant takes much longer.
const FIRST_STATES: usize = 10_000;

/// Most others are detected within these.
const NEXT_STATES: usize = 50_000;

/// The promise and the model that detected a mutant.
struct Killed {
    by: &'static str,
    within: &'static str,
    states: usize,
    steps: usize,
}

#[test]
fn every_mutant_is_noticed() {
    println!("{:32} | {:42} | {:34} | {:>8} | after steps", "mutant", "detected by", "in the model", "states");
    let mut survivors = Vec::new();
    for &mutant in Mutant::VARIANTS {
        let killed = killed_by_a_promise(mutant, Some(FIRST_STATES))
            .or_else(|| killed_by_absence(mutant))
            .or_else(|| killed_by_a_promise(mutant, Some(NEXT_STATES)))
            .or_else(|| killed_by_a_promise(mutant, None));
        match killed {
            Some(Killed { by, within, states, steps }) => {
                println!("{:32} | {by:42} | {within:34} | {states:>8} | {steps}", format!("{mutant:?}"));
            }
            None => survivors.push(mutant),
        }
    }
    assert!(survivors.is_empty(), "not detected: {survivors:?}");
}

fn killed_by_a_promise(mutant: Mutant, limit: Option<usize>) -> Option<Killed> {
    Settings::small().into_iter().find_map(|settings| {
        let checked = check_mutant(settings, mutant, limit);
        let (by, actions) = checked.broken.first()?;
        Some(Killed { by, within: checked.settings.name, states: checked.states, steps: actions.len() })
    })
}

/// A mutant that breaks no promise may still prevent an event that must occur.
fn killed_by_absence(mutant: Mutant) -> Option<Killed> {
    let external = || Settings::small().into_iter().find(|settings| settings.name == "external").expect("there is one");
    let (by, within) = ("a prevented payment is never made again", "external");
    assert!(check(external()).count(Event::RestartedAndSettled) > 0, "otherwise it is made again");
    let checked = check_mutant(external(), mutant, None);
    let absent = checked.count(Event::RestartedAndSettled) == 0;
    absent.then_some(Killed { by, within, states: checked.states, steps: 0 })
}
