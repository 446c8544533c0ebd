//! A broker with Kafka's protocol on a free port, for one test.
//!
//! It is noida-db, the best broker that a package registry has. Its limits: it has one author, it keeps one replica,
//! and it loses acknowledged records if it is killed, so no test kills it. The tests have not been run with Apache
//! Kafka itself; `KAFKA_BROKER=HOST:PORT` runs them, one at a time, on any broker, and deletes the template's topics
//! there.

use std::net::TcpStream;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};

use krafka::Kafka;
use krafka::admin::{DeleteTopicsOptions, ListTopicsOptions};
use tempfile::TempDir;

use crate::packages;
use crate::process::free_port;
use crate::wait::eventually;

/// The topics of the template.
const TOPICS: [&str; 2] = ["terminal-sales", "terminal-sales-failed"];

/// A running broker. It is killed when the value is dropped.
pub struct Broker {
    address: String,
    _process: Option<Process>,
}

struct Process {
    process: Child,
    _folder: TempDir,
}

impl Broker {
    /// Starts a broker; `None` if that is not possible here.
    pub async fn start(test: &'static str) -> Option<Self> {
        if let Ok(address) = std::env::var("KAFKA_BROKER") {
            clear(&address).await;
            return Some(Self { address, _process: None });
        }
        let program = tokio::task::spawn_blocking(move || program(test)).await.expect("no panic")?;
        let (folder, port) = (tempfile::tempdir().expect("a folder"), free_port());
        let process = Command::new(program)
            .args(["start", "--only", "kafka", "--kafka-port", &port.to_string(), "--data-dir"])
            .arg(folder.path())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .expect("starts");
        let broker =
            Self { address: format!("127.0.0.1:{port}"), _process: Some(Process { process, _folder: folder }) };
        eventually("the broker serves", || async { TcpStream::connect(&broker.address).ok() }).await;
        Some(broker)
    }

    /// The broker's address, as clients expect it.
    pub fn address(&self) -> &str {
        &self.address
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

/// Deletes the topics that an earlier test left.
async fn clear(address: &str) {
    let kafka = Kafka::builder(address).connect().await.expect("a broker at KAFKA_BROKER");
    let admin = kafka.admin();
    let there = || async { admin.list_topics(ListTopicsOptions::default()).await.expect("answers") };
    let left: Vec<String> = there().await.into_iter().filter(|topic| TOPICS.contains(&topic.as_str())).collect();
    admin.delete_topics(&left, DeleteTopicsOptions::default()).await.expect("answers");
    eventually("the topics are deleted", || async {
        (!there().await.iter().any(|topic| left.contains(topic))).then_some(())
    })
    .await;
}

/// The package's program, which is called directly, because the package's Python script would start it as another
/// process.
fn program(test: &str) -> Option<PathBuf> {
    let python = packages::python(test, "tests/kafka")?;
    let asked =
        Command::new(python).args(["-c", "import noida_db; print(noida_db.__path__[0])"]).output().expect("runs");
    Some(PathBuf::from(String::from_utf8_lossy(&asked.stdout).trim()).join("noida-db"))
}
