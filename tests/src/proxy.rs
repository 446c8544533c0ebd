//! A proxy for HTTP/1.1 that counts requests and loses what it is told to lose.

use std::collections::VecDeque;
use std::io;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

/// What happens to one request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Loss {
    /// Nothing.
    None,
    /// The connection breaks before the request arrives.
    Request,
    /// The request arrives and takes effect; the connection breaks before its reply.
    Reply,
}

/// A proxy on a free port.
#[derive(Clone)]
pub struct Proxy {
    address: SocketAddr,
    state: Arc<State>,
}

struct State {
    upstream: SocketAddr,
    requests: AtomicU64,
    plan: Mutex<VecDeque<Loss>>,
}

impl Proxy {
    /// Starts a proxy in front of a server.
    pub async fn start(upstream: SocketAddr) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
        let address = listener.local_addr().expect("bound");
        let state = Arc::new(State { upstream, requests: AtomicU64::new(0), plan: Mutex::default() });
        tokio::spawn(accept(listener, Arc::clone(&state)));
        Self { address, state }
    }

    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// How many requests have arrived so far, those that were then lost among them.
    pub fn requests(&self) -> u64 {
        self.state.requests.load(Ordering::SeqCst)
    }

    /// Decides about the next requests, in order.
    pub fn plan(&self, losses: impl IntoIterator<Item = Loss>) {
        *self.state.plan.lock().unwrap_or_else(PoisonError::into_inner) = losses.into_iter().collect();
    }
}

impl State {
    fn next(&self) -> Loss {
        self.requests.fetch_add(1, Ordering::SeqCst);
        self.plan.lock().unwrap_or_else(PoisonError::into_inner).pop_front().unwrap_or(Loss::None)
    }
}

async fn accept(listener: TcpListener, state: Arc<State>) {
    while let Ok((client, _)) = listener.accept().await {
        // A broken connection is what the tests are about; the client tells of it.
        tokio::spawn(serve(client, Arc::clone(&state)));
    }
}

async fn serve(mut client: TcpStream, state: Arc<State>) -> io::Result<()> {
    let mut server = TcpStream::connect(state.upstream).await?;
    while let Some(request) = read_message(&mut client).await? {
        match state.next() {
            Loss::Request => return Ok(()),
            Loss::Reply => {
                server.write_all(&request).await?;
                read_message(&mut server).await?;
                return Ok(());
            }
            Loss::None => {
                server.write_all(&request).await?;
                let Some(reply) = read_message(&mut server).await? else { return Ok(()) };
                client.write_all(&reply).await?;
            }
        }
    }
    Ok(())
}

/// Reads one message: its head up to the empty line, and a body of Content-Length bytes.
async fn read_message(stream: &mut TcpStream) -> io::Result<Option<Vec<u8>>> {
    let mut message = Vec::new();
    let mut chunk = [0; 16 * 1024];
    let mut whole = usize::MAX;
    while message.len() < whole {
        match stream.read(&mut chunk).await? {
            0 => return Ok(None),
            count => message.extend_from_slice(&chunk[..count]),
        }
        if whole == usize::MAX
            && let Some(head) = message.windows(4).position(|window| window == b"\r\n\r\n")
        {
            whole = head + 4 + content_length(&message[..head]);
        }
    }
    Ok(Some(message))
}

fn content_length(head: &[u8]) -> usize {
    String::from_utf8_lossy(head)
        .lines()
        .filter_map(|line| line.split_once(':'))
        .find(|(name, _)| name.eq_ignore_ascii_case("content-length"))
        .and_then(|(_, value)| value.trim().parse().ok())
        .unwrap_or(0)
}
