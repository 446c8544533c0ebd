//! Checks the protocol in every order: no reachable state breaks a promise.
//!
//! With `SOAK_MODEL=1`, as in the gate, one more fault may occur in each setting: about ten times as many states.

use proof::model::{Event, Settings, check};

/// The minimum number of different states, so that the models do not become smaller by accident.
const STATES: usize = 900_000;
const SOAK_STATES: usize = 10_000_000;

#[test]
fn the_protocol_keeps_its_promises_in_every_order() {
    let soaks = proof::soaks("SOAK_MODEL");
    let mut states = 0;
    let mut occurred = [0; Event::ALL.len()];
    for settings in if soaks { Settings::quick() } else { Settings::short() } {
        let checked = check(settings);
        println!("{}", checked.summary());
        assert!(checked.broken.is_empty(), "{}: {:#?}", checked.settings.name, checked.broken);
        states += checked.states;
        occurred.iter_mut().zip(checked.occurred).for_each(|(total, count)| *total += count);
    }
    println!("{states} states");
    for (event, count) in Event::ALL.iter().zip(occurred) {
        println!("{event:?} occurred {count} times");
        assert!(count > 0, "{event:?} never occurred, so nothing is proved about it");
    }
    assert!(states >= if soaks { SOAK_STATES } else { STATES }, "{states} states");
}
