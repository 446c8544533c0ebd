//! Processes and ports of this machine.

use std::process::Command;

/// Sends a signal to a process.
///
/// # Panics
/// If there is no such process.
pub fn signal(process: u32, name: &str) {
    let sent = Command::new("kill").arg(format!("-{name}")).arg(process.to_string()).status();
    assert!(sent.is_ok_and(|status| status.success()), "SIG{name} for {process}");
}

/// A port that was free a moment ago. A proxy must know the port of the service behind it before that starts.
pub fn free_port() -> u16 {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").expect("a free port");
    listener.local_addr().expect("bound").port()
}
