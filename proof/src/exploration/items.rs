//! Versioned items, changed concurrently through the SDK with its own retries.

use std::sync::atomic::{AtomicU64, Ordering};

use aws_sdk_dynamodb::types::AttributeValue;
use futures::future::FutureExt;
use idempotency::store::dynamodb::Item;
use idempotency::versioned::{VersionedError, VersionedTable};
use parking_lot::Mutex;

use super::World;
use super::network::Process;
use super::table::key;
use super::wire::{Items, client};

/// The attribute to which each change adds its name.
const LOG: &str = "log";

struct Changes<'a> {
    world: &'a World,
    items: Items,
    begun: AtomicU64,
    ended: Mutex<Vec<(u64, Ended)>>,
}

/// The result of a change, as its author knows it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Ended {
    Stored,
    NotStored,
    NotKnown,
}

pub(super) async fn run(world: &World) {
    let items = Items::new(world.oracle.clone(), world.breakage);
    let changes = Changes { world, items, begun: AtomicU64::new(0), ended: Mutex::default() };
    let writers = (0..world.size(2, 3)).map(|_| changes.writer(world.size(1, 2)).boxed());
    world.network.run(writers.collect()).await;
    world.network.stop_faults();
    world.network.run(vec![changes.writer(1).boxed()]).await;
    changes.count();
}

impl Changes<'_> {
    async fn writer(&self, rounds: usize) {
        for _ in 0..rounds {
            let process = self.world.begin().await;
            let change = self.begun.fetch_add(1, Ordering::Relaxed);
            let ended = process.live(self.change(&process, change)).await;
            self.world.oracle.log(format!("change {change}: {ended:?}"));
            let ended = ended.unwrap_or(Ended::NotKnown);
            self.ended.lock().push((change, ended));
        }
    }

    async fn change(&self, process: &Process, change: u64) -> Ended {
        let table = VersionedTable::new(client(process, &self.items), "Table").attempts(self.world.size(2, 4));
        match table.update(key("item"), |item| add(item, change)).await {
            Ok(_) => Ended::Stored,
            Err(VersionedError::Contended { .. }) => {
                self.world.oracle.note("contended");
                Ended::NotStored
            }
            Err(VersionedError::Unavailable(_)) => Ended::NotKnown,
            Err(error) => panic!("{error}"),
        }
    }

    fn count(&self) {
        let oracle = &self.world.oracle;
        let item = self.items.get("item").expect("written in the calm");
        let log: Vec<&str> =
            item[LOG]["L"].as_array().into_iter().flatten().filter_map(|name| name["N"].as_str()).collect();
        for (change, ended) in self.ended.lock().iter() {
            let times = log.iter().filter(|name| **name == change.to_string()).count();
            match ended {
                Ended::Stored => oracle.expect(times == 1, "a stored change is there once"),
                Ended::NotStored => oracle.expect(times == 0, "a change that was not stored is not there"),
                Ended::NotKnown => oracle.expect(times <= 1, "a change is there at most once"),
            }
        }
        let version = item["version"]["N"].as_str().and_then(|version| version.parse().ok());
        oracle.expect(version == Some(log.len()), "each store has a version");
    }
}

fn add(item: &mut Item, change: u64) {
    let log = item.entry(LOG.to_owned()).or_insert_with(|| AttributeValue::L(Vec::new()));
    if let AttributeValue::L(log) = log {
        log.push(AttributeValue::N(change.to_string()));
    }
}
