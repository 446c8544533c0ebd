//! Processes and ports of this machine.

use std::io::ErrorKind;
use std::net::{Ipv4Addr, Ipv6Addr, TcpListener};
use std::path::PathBuf;
use std::process::Command;
use std::sync::atomic::{AtomicU16, Ordering};

/// The program of this name in the folders of `PATH`.
pub fn on_path(program: &str) -> Option<PathBuf> {
    let path = std::env::var_os("PATH")?;
    std::env::split_paths(&path).map(|folder| folder.join(program)).find(|file| file.is_file())
}

/// Sends a signal to a process.
///
/// # Panics
/// If there is no such process.
pub fn signal(process: u32, name: &str) {
    let sent = Command::new("kill").arg(format!("-{name}")).arg(process.to_string()).status();
    assert!(sent.is_ok_and(|status| status.success()), "SIG{name} for {process}");
}

/// A free port, for a server that needs its port before it starts. No connection uses it meanwhile, because the system
/// chooses ports of connections from 32768 upwards. No other call in this process returns it.
///
/// # Panics
/// If no port is free.
pub fn free_port() -> u16 {
    static NEXT: AtomicU16 = AtomicU16::new(0);
    let first = u16::try_from(std::process::id() % 10_000).expect("below 10,000");
    (0..10_000)
        .map(|_| 20_000 + (first + NEXT.fetch_add(1, Ordering::Relaxed) % 10_000) % 10_000)
        .find(|port| is_free(*port))
        .expect("a free port")
}

/// Whether a port is free on IPv4 and IPv6: Java and Chromium's driver also listen on IPv6.
fn is_free(port: u16) -> bool {
    let taken = |result: std::io::Result<TcpListener>| result.is_err_and(|error| error.kind() == ErrorKind::AddrInUse);
    !taken(TcpListener::bind((Ipv4Addr::UNSPECIFIED, port))) && !taken(TcpListener::bind((Ipv6Addr::UNSPECIFIED, port)))
}
