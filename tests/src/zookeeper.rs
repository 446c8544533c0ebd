//! ZooKeeper servers on free ports, for one test.
//!
//! They run Debian's `zookeeper` without its scripts, with a tick so short that sessions end soon.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use tempfile::TempDir;

use crate::packages::not_run;
use crate::process::free_port;
use crate::wait::eventually;

const JAR: &str = "/usr/share/java/zookeeper.jar";

/// A server, alone or in an ensemble. It is killed when the value is dropped.
pub struct Server {
    process: Child,
    port: u16,
    _folder: TempDir,
}

impl Server {
    /// Starts a server; `None` if that is not possible here.
    pub async fn start(test: &str) -> Option<Self> {
        let server = installed(test).then(|| Self::launch(1, free_port(), ""))?;
        server.ready().await;
        Some(server)
    }

    /// Starts an ensemble of three servers; `None` if that is not possible here.
    pub async fn ensemble(test: &str) -> Option<Vec<Self>> {
        if !installed(test) {
            return None;
        }
        let members: String =
            (1..=3).map(|id| format!("server.{id}=127.0.0.1:{}:{}\n", free_port(), free_port())).collect();
        let servers: Vec<Self> = (1..=3).map(|id| Self::launch(id, free_port(), &members)).collect();
        for server in &servers {
            server.ready().await;
        }
        Some(servers)
    }

    fn launch(id: u32, port: u16, members: &str) -> Self {
        let folder = tempfile::tempdir().expect("a folder");
        let data = folder.path().display();
        let settings = format!(
            "tickTime=200\ninitLimit=20\nsyncLimit=10\nminSessionTimeout=400\nmaxSessionTimeout=60000\n\
             dataDir={data}\nclientPort={port}\nclientPortAddress=127.0.0.1\nadmin.enableServer=false\n\
             4lw.commands.whitelist=srvr\n{members}"
        );
        let file = folder.path().join("zoo.cfg");
        std::fs::write(&file, settings).expect("writable");
        std::fs::write(folder.path().join("myid"), id.to_string()).expect("writable");
        let process = Command::new("java")
            .args(["-Xmx64m", "-XX:+UseSerialGC", "-XX:TieredStopAtLevel=1", "-cp", JAR])
            .arg("org.apache.zookeeper.server.quorum.QuorumPeerMain")
            .arg(file)
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .expect("java");
        Self { process, port, _folder: folder }
    }

    /// The server's address, as clients expect it.
    pub fn address(&self) -> String {
        format!("127.0.0.1:{}", self.port)
    }

    /// Whether the ensemble elected this server.
    pub fn is_leader(&self) -> bool {
        self.mode().is_some_and(|mode| mode == "leader")
    }

    /// Kills the server.
    pub fn kill(&mut self) {
        self.process.kill().expect("can be killed");
        self.process.wait().expect("ends");
    }

    async fn ready(&self) {
        eventually("ZooKeeper serves", || async { self.mode() }).await;
    }

    /// The mode that the server reports: standalone, leader or follower. `None` before it serves.
    fn mode(&self) -> Option<String> {
        let mut answer = String::new();
        let address = SocketAddr::from(([127, 0, 0, 1], self.port));
        let mut connection = TcpStream::connect_timeout(&address, Duration::from_secs(1)).ok()?;
        connection.set_read_timeout(Some(Duration::from_secs(1))).ok()?;
        connection.write_all(b"srvr").ok()?;
        connection.read_to_string(&mut answer).ok()?;
        answer.lines().find_map(|line| line.strip_prefix("Mode: ")).map(str::to_owned)
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

fn installed(test: &str) -> bool {
    Path::new(JAR).exists() || not_run::<()>(test, "zookeeper").is_some()
}
