//! A process that holds a lock in ZooKeeper, to be killed or frozen by a test.
//!
//! `lock-holder SERVERS NAME SESSION_MS DYNAMODB REGION` waits for the lock and prints `held FENCE`. Then each line of
//! its input is a command: `write` makes a guarded write, `ask` checks whether the lock is held, `release` releases it.

use std::io::BufRead;
use std::time::Duration;

use idempotency::lock::zookeeper::{Ensemble, Held, ZookeeperLock};
use idempotency::lock::{Fenced, guarded_put};
use tests::dynamodb::{RECORDS, client, key};

#[tokio::main(flavor = "multi_thread")]
async fn main() {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let [servers, name, session, dynamodb, region] = arguments.as_slice() else { panic!("five arguments") };
    let session = Duration::from_millis(session.parse().expect("milliseconds"));
    let lock = ZookeeperLock::new(Ensemble::new(servers.as_str()).session(session), name);
    let mut held = lock.acquire_within(Duration::from_secs(60), None).await.expect("answers");
    println!("held {}", held.as_ref().expect("in time").fence());
    for command in std::io::stdin().lock().lines() {
        let answer = match (command.expect("text").as_str(), held.take()) {
            ("write", Some(lock)) => {
                let written = write(dynamodb, region, name, &lock).await;
                held = Some(lock);
                if written { "written" } else { "refused" }
            }
            ("ask", Some(lock)) => {
                held = lock.renew().await.expect("answers");
                if held.is_some() { "held" } else { "lost" }
            }
            ("release", Some(lock)) => {
                lock.release().await.expect("answers");
                "released"
            }
            (other, _) => panic!("{other}"),
        };
        println!("{answer}");
    }
}

async fn write(dynamodb: &str, region: &str, name: &str, held: &Held) -> bool {
    let put = client(dynamodb, region).put_item().table_name(RECORDS).set_item(Some(key(name)));
    match guarded_put(put, held).send().await {
        Ok(_) => true,
        Err(error) => {
            let error = error.into_service_error();
            assert!(error.is_conditional_check_failed_exception(), "{error:?}");
            false
        }
    }
}
