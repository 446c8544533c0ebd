//! A proxy whose connections can fall silent, as those of a thawed sandbox do.

use std::io::ErrorKind;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use tokio::net::tcp::{OwnedReadHalf, OwnedWriteHalf};
use tokio::net::{TcpListener, TcpStream};

/// Connections made before [`Proxy::silence`] stay open and carry nothing; later ones work.
pub(crate) struct Proxy {
    pub(crate) port: u16,
    silent_below: Arc<AtomicU64>,
    made: Arc<AtomicU64>,
}

impl Proxy {
    pub(crate) async fn start(target: u16) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
        let port = listener.local_addr().expect("bound").port();
        let (silent_below, made) = (Arc::new(AtomicU64::new(0)), Arc::new(AtomicU64::new(0)));
        let (silent, count) = (Arc::clone(&silent_below), Arc::clone(&made));
        tokio::spawn(async move {
            while let Ok((client, _)) = listener.accept().await {
                let number = count.fetch_add(1, Ordering::SeqCst);
                let Ok(server) = TcpStream::connect(("127.0.0.1", target)).await else { continue };
                let (client_reads, client_writes) = client.into_split();
                let (server_reads, server_writes) = server.into_split();
                tokio::spawn(carry(client_reads, server_writes, number, Arc::clone(&silent)));
                tokio::spawn(carry(server_reads, client_writes, number, Arc::clone(&silent)));
            }
        });
        Self { port, silent_below, made }
    }

    /// Silences the connections of now.
    pub(crate) fn silence(&self) {
        self.silent_below.store(self.made.load(Ordering::SeqCst), Ordering::SeqCst);
    }

    /// Silences those to come, too.
    pub(crate) fn cut(&self) {
        self.silent_below.store(u64::MAX, Ordering::SeqCst);
    }
}

async fn carry(from: OwnedReadHalf, to: OwnedWriteHalf, number: u64, silent_below: Arc<AtomicU64>) {
    let mut buffer = vec![0; 64 * 1024];
    while from.readable().await.is_ok() {
        let mut rest = match from.try_read(&mut buffer) {
            Ok(0) => return,
            Ok(read) => &buffer[..read],
            Err(error) if error.kind() == ErrorKind::WouldBlock => continue,
            Err(_) => return,
        };
        while !rest.is_empty() && number >= silent_below.load(Ordering::SeqCst) && to.writable().await.is_ok() {
            match to.try_write(rest) {
                Ok(written) => rest = &rest[written..],
                Err(error) if error.kind() == ErrorKind::WouldBlock => {}
                Err(_) => return,
            }
        }
    }
}
