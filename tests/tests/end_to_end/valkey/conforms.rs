//! The store's suites, and races of connections.

use idempotency::store::conformance;
use idempotency::store::valkey::{Effect, Keeps, Placement, ValkeyStore};

use super::server::{Kind, Running};

fn effect(name: String) -> Effect {
    Effect::insert(format!("{{test}}effect:{name}"), "applied")
}

async fn conforms(store: ValkeyStore) {
    store.check().await.expect("fit");
    conformance::all(store.clone(), effect).await;
    conformance::watermarks::all(store.clone(), effect).await;
    conformance::unsettled::all(store).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_valkey_store_conforms() {
    for kind in Kind::all("the_valkey_store_conforms") {
        let server = Running::start(kind, &[]);
        conforms(server.store()).await;
    }
}

/// Without effects, since each record is under a tag of its own.
#[tokio::test(flavor = "multi_thread")]
async fn records_spread_over_tags_are_listed_as_one() {
    for kind in Kind::all("records_spread_over_tags_are_listed_as_one") {
        let server = Running::start(kind, &[]);
        let placement = Placement::spread("test", 5).expect("valid");
        conformance::unsettled::all(ValkeyStore::new(&server.server(), placement, Keeps::MostWrites)).await;
    }
}
