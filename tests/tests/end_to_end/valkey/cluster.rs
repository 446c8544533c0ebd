//! A cluster of three nodes, and a slot that moves from one to another.

use std::time::Duration;

use idempotency::store::valkey::{Effect, Keeps, Placement, Server, ValkeyStore};
use idempotency::store::{Store, StoreError, Written, conformance};

use super::faults::claim;
use super::server::{Kind, Running};

struct Cluster {
    nodes: [Running; 3],
}

const SLOTS: [(u16, u16); 3] = [(0, 5460), (5461, 10922), (10923, 16383)];

impl Cluster {
    async fn start(kind: Kind) -> Self {
        let node = || Running::start(kind, &["--cluster-enabled", "yes", "--cluster-node-timeout", "2000"]);
        let nodes = [node(), node(), node()];
        for (node, (first, last)) in nodes.iter().zip(SLOTS) {
            let added = node.command(&["CLUSTER", "ADDSLOTSRANGE", &first.to_string(), &last.to_string()]);
            assert_eq!(added, "+OK");
            assert_eq!(nodes[0].command(&["CLUSTER", "MEET", "127.0.0.1", &node.port.to_string()]), "+OK");
        }
        let cluster = Self { nodes };
        for node in &cluster.nodes {
            while !cluster.is_known_to(node) {
                tokio::time::sleep(Duration::from_millis(20)).await;
            }
        }
        cluster
    }

    fn is_known_to(&self, node: &Running) -> bool {
        let known = node.text(&["CLUSTER", "INFO"]);
        known.contains("cluster_state:ok")
            && known.contains("cluster_known_nodes:3")
            && self.nodes.iter().all(|other| node.text(&["CLUSTER", "NODES"]).contains(&format!(":{}@", other.port)))
    }

    /// The number of the node that owns this tag's slot, by its own account, and the slot.
    fn owner(&self, tag: &str) -> (usize, String) {
        let slot = self.nodes[0].command(&["CLUSTER", "KEYSLOT", &format!("{{{tag}}}")]);
        let slot: u16 = slot.trim_start_matches(':').parse().expect("a slot");
        let owner = SLOTS.iter().position(|(first, last)| (*first..=*last).contains(&slot)).expect("all are owned");
        (owner, slot.to_string())
    }

    fn server(&self, first: usize) -> Server {
        Server::new("127.0.0.1", self.nodes[first].port)
    }

    fn store(&self, first: usize) -> ValkeyStore {
        ValkeyStore::new(&self.server(first), Placement::together("test").expect("valid"), Keeps::MostWrites)
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_store_conforms_on_a_cluster_whichever_node_it_knows() {
    for kind in Kind::all("the_store_conforms_on_a_cluster_whichever_node_it_knows") {
        let cluster = Cluster::start(kind).await;
        let effect = |name: String| Effect::insert(format!("{{test}}effect:{name}"), "applied");
        for first in 0..3 {
            cluster.store(first).check().await.expect("fit");
        }
        let store = cluster.store((cluster.owner("test").0 + 1) % 3);
        conformance::all(store.clone(), effect).await;
        conformance::watermarks::all(store.clone(), effect).await;
        conformance::unsettled::all(store).await;
        let placement = Placement::spread("test", 7).expect("valid");
        conformance::unsettled::all(ValkeyStore::new(&cluster.server(0), placement, Keeps::MostWrites)).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_slot_that_moves_takes_no_record_with_it_unseen() {
    for kind in Kind::all("a_slot_that_moves_takes_no_record_with_it_unseen") {
        let cluster = Cluster::start(kind).await;
        let (from, slot) = cluster.owner("test");
        let to = (from + 1) % 3;
        let [source, target] = [&cluster.nodes[from], &cluster.nodes[to]];
        let id = |node: &Running| node.text(&["CLUSTER", "MYID"]);
        let (source_id, target_id) = (id(source), id(target));
        let moving = || {
            assert_eq!(target.command(&["CLUSTER", "SETSLOT", &slot, "IMPORTING", &source_id]), "+OK");
            assert_eq!(source.command(&["CLUSTER", "SETSLOT", &slot, "MIGRATING", &target_id]), "+OK");
        };
        let store = cluster.store(from);

        // The source has none of the keys and names the target (ASK), which does not have all of them (TRYAGAIN).
        moving();
        let first = store.write(&claim("first", 1), Vec::new()).await;
        assert!(matches!(first, Err(StoreError::NotApplied(_))), "{first:?}");
        for node in [target, source] {
            assert_eq!(node.command(&["CLUSTER", "SETSLOT", &slot, "STABLE"]), "+OK");
            assert_eq!(node.command(&["CLUSTER", "COUNTKEYSINSLOT", &slot]), ":0");
        }

        // The record has moved and its index has not: it is read at the target, and nothing is written.
        let second = claim("second", 1);
        assert_eq!(store.write(&second, Vec::new()).await.expect("answered"), Written::Applied);
        moving();
        let port = target.port.to_string();
        let key = format!("{{test}}{}", second.record.id.as_str());
        assert_eq!(source.command(&["MIGRATE", "127.0.0.1", &port, &key, "0", "5000"]), "+OK");
        assert_eq!(store.read(&second.record.id).await.expect("readable"), Some(second.record.clone()));
        let divided = store.write(&claim("third", 1), Vec::new()).await;
        assert!(matches!(divided, Err(StoreError::NotApplied(_))), "{divided:?}");

        // All have moved (MOVED).
        let index = "{test}idempotency#claims";
        assert_eq!(source.command(&["MIGRATE", "127.0.0.1", &port, index, "0", "5000"]), "+OK");
        for node in [target, source] {
            assert_eq!(node.command(&["CLUSTER", "SETSLOT", &slot, "NODE", &target_id]), "+OK");
        }
        let again = store.write(&claim("second", 2), Vec::new()).await.expect("answered");
        assert_eq!(again, Written::Refused(Some(Box::new(second.record))), "the record went along");
        assert_eq!(store.write(&claim("third", 1), Vec::new()).await.expect("answered"), Written::Applied);
        store.check().await.expect("fit");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn if_one_address_of_a_cluster_is_dead_the_next_one_is_asked() {
    for kind in Kind::all("if_one_address_of_a_cluster_is_dead_the_next_one_is_asked") {
        let mut cluster = Cluster::start(kind).await;
        let (owner, _) = cluster.owner("test");
        let (known, other) = ((owner + 1) % 3, (owner + 2) % 3);
        let server = cluster.server(known).or("127.0.0.1", cluster.nodes[other].port);
        let store = ValkeyStore::new(&server, Placement::together("test").expect("valid"), Keeps::MostWrites);
        cluster.nodes[known].kill();
        assert_eq!(store.write(&claim("a", 1), Vec::new()).await.expect("answered"), Written::Applied);
    }
}
