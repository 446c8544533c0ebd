//! The simulation's and the exploration's schedules with records on a real server: every write, every answer to it,
//! what is stored afterwards, and every caller's outcome are those of the memory store.
//!
//! Schedules have simulated time, so the server deletes nothing during one, and their faults are the network's: a
//! server that is stopped, killed or cut off is in `valkey/faults.rs`.

use std::io::{Read, Write};
use std::net::TcpStream;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use local::Valkey;
use proof::exploration::{Scenario, replay_all, replay_script, replay_seed};
use proof::{Runner, simulation};
use tests::sizes::number;
use tests::valkey;

/// Of the schedules within bounds, which are run in order, one of this many: neighbours differ in their last decisions
/// only.
const STRIDE: usize = 97;

/// How often a schedule is run again on a server that was slow.
const TRIES: usize = 5;

type Told = Result<Vec<String>, String>;

/// Simulated schedules. The exploration has a twentieth as many of each scenario, drawn and in order.
fn schedules() -> usize {
    number("SOAK_ON_VALKEY", 40)
}

/// A server, and the runtime in which it was started.
struct Server {
    records: proof::Server,
    valkey: Valkey,
    _runtime: tokio::runtime::Runtime,
}

impl Server {
    /// `None`: not possible here.
    fn start(test: &str) -> Option<Self> {
        if !valkey::is_installed(test) {
            return None;
        }
        let runtime = tokio::runtime::Runtime::new().expect("a runtime");
        let valkey = runtime.block_on(Valkey::start(None, None)).expect("a server");
        Some(Self { records: proof::Server::new(valkey.address().port()), valkey, _runtime: runtime })
    }

    /// The log of a schedule on it.
    fn told(&self, run: impl Fn(&Runner) -> Told) -> Told {
        for _ in 0..TRIES {
            let told = run(&Runner::on(&self.records));
            if !self.records.was_slow() {
                return told;
            }
        }
        panic!("the machine is too busy: the server was slow in each of {TRIES} tries");
    }
}

/// A seed to begin with; `SEED` repeats a failed run.
fn first_seed(test: &str) -> u64 {
    let seed = std::env::var("SEED").ok().and_then(|seed| seed.parse().ok());
    let seed =
        seed.unwrap_or_else(|| SystemTime::now().duration_since(UNIX_EPOCH).expect("after 1970").as_secs() << 24);
    println!("{test}: SEED={seed}");
    seed
}

fn assert_alike(what: &str, in_memory: &Told, on_server: &Told) {
    assert!(in_memory.is_ok(), "{what}, in memory: {in_memory:?}");
    if let Some(difference) = difference(in_memory, on_server) {
        panic!("{what}: {difference}");
    }
}

/// Where two logs part.
fn difference(in_memory: &Told, on_server: &Told) -> Option<String> {
    if in_memory == on_server {
        return None;
    }
    let (Ok(expected), Ok(found)) = (in_memory, on_server) else {
        return Some(format!("in memory {in_memory:?}\non the server {on_server:?}"));
    };
    let place =
        expected.iter().zip(found).position(|(one, other)| one != other).unwrap_or(expected.len().min(found.len()));
    Some(format!(
        "line {place} of {} is\nin memory     {:?}\non the server {:?}",
        expected.len(),
        expected.get(place),
        found.get(place)
    ))
}

#[test]
fn on_a_server_simulated_schedules_have_the_writes_and_outcomes_that_they_have_in_memory() {
    let test = "on_a_server_simulated_schedules_have_the_writes_and_outcomes_that_they_have_in_memory";
    let Some(server) = Server::start(test) else { return };
    let first = first_seed(test);
    for seed in first..first + schedules() as u64 {
        let in_memory = simulation::replay(&Runner::in_memory(), seed);
        let on_server = server.told(|runner| simulation::replay(runner, seed));
        assert_alike(&format!("SEED={seed}"), &in_memory, &on_server);
    }
}

#[test]
fn on_a_server_explored_schedules_have_the_writes_and_outcomes_that_they_have_in_memory() {
    let test = "on_a_server_explored_schedules_have_the_writes_and_outcomes_that_they_have_in_memory";
    let Some(server) = Server::start(test) else { return };
    let (first, of_each) = (first_seed(test), schedules() / 20);
    for scenario in Scenario::ALL.iter().copied().filter(|scenario| scenario.is_of_any_store()) {
        for seed in first..first + of_each as u64 {
            let in_memory = replay_seed(&Runner::in_memory(), scenario, seed);
            let on_server = server.told(|runner| replay_seed(runner, scenario, seed));
            assert_alike(&format!("{scenario:?}, SEED={seed}"), &in_memory, &on_server);
        }
        let mut number = 0;
        replay_all(scenario, |script, in_memory| {
            if number % STRIDE == 0 {
                let on_server = server.told(|runner| replay_script(runner, scenario, script));
                assert_alike(&format!("{scenario:?}, PROOF_SCRIPT={script}"), &in_memory, &on_server);
            }
            number += 1;
            number < of_each * STRIDE
        });
    }
}

/// Ends what waits for it, also after a panic.
struct Over<'a>(&'a AtomicBool);

impl Drop for Over<'_> {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}

/// If no schedule noticed this, the comparison would prove nothing.
#[test]
fn a_server_that_forgets_what_it_acknowledged_is_noticed() {
    let test = "a_server_that_forgets_what_it_acknowledged_is_noticed";
    let Some(server) = Server::start(test) else { return };
    let (first, is_over) = (first_seed(test), AtomicBool::new(false));
    let noticed = thread::scope(|scope| {
        scope.spawn(|| {
            let mut stream = TcpStream::connect(server.valkey.address()).expect("a server");
            while !is_over.load(Ordering::Relaxed) {
                stream.write_all(b"FLUSHALL\r\n").expect("sent");
                stream.read_exact(&mut [0; 5]).expect("+OK");
                thread::sleep(Duration::from_millis(2));
            }
        });
        let is_noticed = |seed: &u64| {
            let in_memory = simulation::replay(&Runner::in_memory(), *seed);
            let on_server = simulation::replay(&Runner::on(&server.records), *seed);
            difference(&in_memory, &on_server).is_some()
        };
        let _over = Over(&is_over);
        (first..first + 100).find(is_noticed)
    });
    println!("noticed by seed {noticed:?}");
    assert!(noticed.is_some(), "not in 100 schedules");
}
