//! Sockets, on loopback only.

use std::{
    future::Future,
    net::{Ipv4Addr, SocketAddr},
};

use anyhow::{Context, Result};
use axum::{Router, middleware, serve::ListenerExt};
use tokio::net::TcpListener;

use crate::access;

/// Port 0 takes any free one.
pub(crate) async fn bind(port: u16) -> Result<(TcpListener, SocketAddr)> {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, port)).await.with_context(|| {
        format!("cannot listen on 127.0.0.1:{port}; is another program using the port? `--port 0` takes a free one")
    })?;
    let address = listener.local_addr()?;
    Ok((listener, address))
}

/// As [`serve`], but only whom this machine trusts: programs on it, and its own pages.
pub(crate) async fn serve_machine(listener: TcpListener, router: Router, end: impl Future<Output = ()>) {
    serve(listener, router.layer(middleware::from_fn(access::from_this_machine)), end).await;
}

/// Serves until `end`; connections that are still busy then are left to their clients.
pub(crate) async fn serve(listener: TcpListener, router: Router, end: impl Future<Output = ()>) {
    // Small answers in several writes meet delayed acknowledgements otherwise: 40 ms each.
    let listener = listener.tap_io(|connection| drop(connection.set_nodelay(true)));
    let service = router.into_make_service_with_connect_info::<SocketAddr>();
    tokio::select! {
        _ = axum::serve(listener, service) => {}
        () = end => {}
    }
}
