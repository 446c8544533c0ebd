//! The lock in ZooKeeper, on Debian's server: processes that hold it are killed and frozen, and so is the leader of an
//! ensemble.

use std::io::{BufRead, BufReader, Write};
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use idempotency::lock::zookeeper::{Ensemble, ZookeeperError, ZookeeperLock};
use idempotency::lock::{Fence, Fenced, conformance};
use tests::process::signal;
use tests::world::World;
use tests::zookeeper::Server;

/// Short enough to wait for, and long enough for a busy machine to send heartbeats.
const SESSION: Duration = Duration::from_secs(2);

/// Long enough for an election on a busy machine.
const SESSION_OF_ENSEMBLE: Duration = Duration::from_secs(30);

const WAIT: Duration = Duration::from_secs(60);

/// A process that holds the lock.
struct Holder {
    process: Child,
    commands: ChildStdin,
    answers: BufReader<ChildStdout>,
    fence: Fence,
}

impl Holder {
    /// Starts a process and waits until it holds the lock.
    fn start(servers: &str, name: &str, world: &World) -> Self {
        Self::with_session(SESSION, servers, name, world)
    }

    fn with_session(session: Duration, servers: &str, name: &str, world: &World) -> Self {
        let mut process = Command::new(env!("CARGO_BIN_EXE_lock-holder"))
            .args([
                servers,
                name,
                &session.as_millis().to_string(),
                &world.database.proxy.url(),
                world.database.region(),
            ])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .expect("starts");
        let commands = process.stdin.take().expect("piped");
        let answers = BufReader::new(process.stdout.take().expect("piped"));
        let mut holder = Self { process, commands, answers, fence: Fence::new(0) };
        let held = holder.answer();
        let fence = held.strip_prefix("held ").expect("it holds the lock").parse().expect("a number");
        Self { fence: Fence::new(fence), ..holder }
    }

    fn ask(&mut self, command: &str) -> String {
        writeln!(self.commands, "{command}").expect("it runs");
        self.answer()
    }

    fn answer(&mut self) -> String {
        let mut line = String::new();
        self.answers.read_line(&mut line).expect("it runs");
        line.trim().to_owned()
    }

    fn signal(&self, name: &str) {
        signal(self.process.id(), name);
    }

    fn end(mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

fn ensemble(servers: &str) -> Ensemble {
    Ensemble::new(servers).session(SESSION)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_lock_in_zookeeper_conforms() {
    let Some(server) = Server::start("a_lock_in_zookeeper_conforms").await else { return };
    let lock = |name| std::future::ready(ZookeeperLock::new(ensemble(&server.address()), name));
    conformance::all(lock).await;
    conformance::fences_grow(lock).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_lock_of_a_killed_process_is_free_when_its_session_ends() {
    let Some(server) = Server::start("the_lock_of_a_killed_process_is_free_when_its_session_ends").await else {
        return;
    };
    let (world, servers) = (World::start().await, server.address());
    let holder = Holder::start(&servers, "killed", &world);
    let lock = ZookeeperLock::new(ensemble(&servers), "killed");
    assert!(lock.acquire(None).await.expect("answers").is_none());
    let (killed, fence) = (Instant::now(), holder.fence);
    holder.signal("KILL");
    let held = lock.acquire_within(WAIT, None).await.expect("answers").expect("the session ended");
    println!("acquired {:?} after the kill, with a session of {SESSION:?}", killed.elapsed());
    assert!(held.fence() > fence);
    held.release().await.expect("answers");
    holder.end();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_process_that_was_frozen_over_its_session_is_refused_by_what_the_lock_guards() {
    let test = "a_process_that_was_frozen_over_its_session_is_refused_by_what_the_lock_guards";
    let Some(server) = Server::start(test).await else { return };
    let (world, servers) = (World::start().await, server.address());
    let mut frozen = Holder::start(&servers, "frozen", &world);
    assert_eq!(frozen.ask("write"), "written");
    assert_eq!(frozen.ask("ask"), "held");
    frozen.signal("STOP");
    let mut next = Holder::start(&servers, "frozen", &world);
    assert!(next.fence > frozen.fence);
    assert_eq!(next.ask("write"), "written");
    frozen.signal("CONT");
    // It has not heard yet that its session has ended.
    assert_eq!(frozen.ask("write"), "refused");
    assert_eq!(world.number("frozen", "zookeeper_fence").await, next.fence.get());
    assert_eq!(frozen.ask("ask"), "lost");
    assert_eq!(next.ask("ask"), "held");
    assert_eq!(next.ask("release"), "released");
    let lock = ZookeeperLock::new(ensemble(&servers), "frozen");
    let held = lock.acquire(None).await.expect("answers").expect("free at once after the release");
    held.release().await.expect("answers");
    frozen.end();
    next.end();
}

#[tokio::test(flavor = "multi_thread")]
async fn eight_contenders_hold_it_one_at_a_time_in_the_order_of_their_arrival() {
    let test = "eight_contenders_hold_it_one_at_a_time_in_the_order_of_their_arrival";
    let Some(server) = Server::start(test).await else { return };
    let lock = ZookeeperLock::new(ensemble(&server.address()), "line");
    let is_held = AtomicBool::new(false);
    let fences = std::sync::Mutex::new(Vec::new());
    let contenders = (0..8).map(|_| async {
        let held = lock.acquire_within(WAIT, None).await.expect("answers").expect("its turn came");
        assert!(!is_held.swap(true, Ordering::SeqCst), "one at a time");
        fences.lock().expect("no panic").push(held.fence());
        // The others run in between, if they can.
        tokio::task::yield_now().await;
        is_held.store(false, Ordering::SeqCst);
        held.release().await.expect("answers");
    });
    futures::future::join_all(contenders).await;
    let fences = fences.into_inner().expect("no panic");
    // A fence is the id of the transaction by which a contender joined the line.
    assert!(fences.len() == 8 && fences.is_sorted_by(|one, next| one < next), "{fences:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_ensemble_whose_leader_is_killed_keeps_the_lock_and_its_fences_grow() {
    let test = "an_ensemble_whose_leader_is_killed_keeps_the_lock_and_its_fences_grow";
    let Some(mut servers) = Server::ensemble(test).await else { return };
    let world = World::start().await;
    let all = servers.iter().map(Server::address).collect::<Vec<_>>().join(",");
    let mut holder = Holder::with_session(SESSION_OF_ENSEMBLE, &all, "election", &world);
    servers.iter_mut().find(|server| server.is_leader()).expect("one leads").kill();
    assert_eq!(holder.ask("ask"), "held", "the session outlives the leader");
    assert_eq!(holder.ask("write"), "written");
    assert_eq!(holder.ask("release"), "released");
    let lock = ZookeeperLock::new(Ensemble::new(&all).session(SESSION_OF_ENSEMBLE), "election");
    let held = lock.acquire_within(WAIT, None).await.expect("answers").expect("it is free");
    // The upper half is the number of the election.
    assert!(
        held.fence().get() >> 32 > holder.fence.get() >> 32,
        "{:x} after {:x}",
        held.fence().get(),
        holder.fence.get()
    );
    held.release().await.expect("answers");
    holder.end();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_wrong_address_password_or_name_is_an_error_that_says_so() {
    let Some(server) = Server::start("a_wrong_address_password_or_name_is_an_error_that_says_so").await else { return };
    let nowhere = format!("127.0.0.1:{}", tests::process::free_port());
    let lock = ZookeeperLock::new(Ensemble::new(nowhere.as_str()).session(Duration::from_millis(500)), "any");
    let error = lock.acquire(None).await.expect_err("nothing listens");
    assert!(matches!(&error, ZookeeperError::Unreachable { servers, .. } if *servers == nowhere), "{error:?}");

    let with = |password| ZookeeperLock::new(ensemble(&server.address()).digest("app", password), "guarded");
    let held = with("right").acquire(None).await.expect("answers").expect("free");
    for other in [with("wrong"), ZookeeperLock::new(ensemble(&server.address()), "guarded")] {
        for refused in [other.acquire(None).await, other.acquire_within(WAIT, None).await] {
            let error = refused.expect_err("the nodes are another user's");
            assert!(matches!(error, ZookeeperError::Refused(_)), "{error:?}");
        }
    }
    held.release().await.expect("answers");

    for name in ["", "a//b", ".."] {
        let error = ZookeeperLock::new(ensemble(&server.address()), name).acquire(None).await.expect_err("not a name");
        assert!(matches!(error, ZookeeperError::Name(_)), "{name}: {error:?}");
    }
}
