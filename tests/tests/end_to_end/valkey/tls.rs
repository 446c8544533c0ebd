//! TLS, on Redis, which Debian builds with it.

use std::path::Path;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use idempotency::store::valkey::{Keeps, Placement, Server, ValkeyStore};
use idempotency::store::{Store, StoreError, Written};

use super::faults::claim;
use super::server::{Kind, Running};

/// An authority, and a certificate of a server, as files in a folder.
fn certificates(folder: &Path) {
    let openssl = |arguments: &str| {
        let made =
            Command::new("openssl").args(arguments.split(' ')).current_dir(folder).stderr(Stdio::null()).status();
        assert!(made.is_ok_and(|status| status.success()), "openssl {arguments}");
    };
    openssl("req -x509 -newkey rsa:2048 -nodes -days 2 -subj /CN=authority -keyout ca.key -out ca.pem");
    openssl("req -newkey rsa:2048 -nodes -subj /CN=localhost -keyout server.key -out server.csr");
    std::fs::write(folder.join("names"), "subjectAltName=DNS:localhost").expect("writable");
    openssl("x509 -req -in server.csr -CA ca.pem -CAkey ca.key -CAcreateserial -days 2 -extfile names -out server.pem");
}

fn store(server: &Server) -> ValkeyStore {
    ValkeyStore::new(server, Placement::together("test").expect("valid"), Keeps::MostWrites)
}

#[tokio::test(flavor = "multi_thread")]
async fn only_a_server_with_a_trusted_certificate_of_its_name_is_used() {
    if !Kind::all("only_a_server_with_a_trusted_certificate_of_its_name_is_used").contains(&Kind::Redis) {
        return;
    }
    let (ours, others) = (tempfile::tempdir().expect("a folder"), tempfile::tempdir().expect("a folder"));
    certificates(ours.path());
    certificates(others.path());
    let path = |name: &str| ours.path().join(name).display().to_string();
    let (key, certificate, authority) = (path("server.key"), path("server.pem"), path("ca.pem"));
    let settings = ["--tls-port", "PORT", "--tls-auth-clients", "no", "--tls-key-file", &key];
    let settings: Vec<&str> =
        settings.into_iter().chain(["--tls-cert-file", &certificate, "--tls-ca-cert-file", &authority]).collect();
    let server = Running::start(Kind::Redis, &settings);
    let trusted = std::fs::read(&authority).expect("made");

    let good = store(&Server::new("localhost", server.port).tls_trusting(trusted.clone()));
    good.check().await.expect("fit");
    assert_eq!(good.write(&claim("a", 1), Vec::new()).await.expect("answered"), Written::Applied);

    let another = std::fs::read(others.path().join("ca.pem")).expect("made");
    for (server, why) in [
        (Server::new("localhost", server.port).tls_trusting(another), "another authority"),
        (Server::new("localhost", server.port).tls(), "the system does not trust it"),
        (Server::new("127.0.0.1", server.port).tls_trusting(trusted), "another name"),
    ] {
        let (store, started) = (store(&server), Instant::now());
        let written = store.write(&claim("b", 1), Vec::new()).await;
        let Err(StoreError::NotApplied(error)) = written else { panic!("{why}: {written:?}") };
        assert!(error.to_string().to_lowercase().contains("certificate"), "{why}: {error}");
        assert!(started.elapsed() < Duration::from_secs(1), "{why}: it is not tried again");
    }
    let plain = store(&Server::new("localhost", server.port)).write(&claim("b", 1), Vec::new()).await;
    assert!(matches!(plain, Err(StoreError::NotApplied(_))), "{plain:?}");
}
