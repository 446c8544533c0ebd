//! The Valkey store, and the lock on several servers, on real ones.

mod alike;
mod cluster;
mod conforms;
mod effects;
mod faults;
mod peers;
mod proxy;
mod redlock;
mod server;
mod tls;
mod unsettled;
