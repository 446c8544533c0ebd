//! Counts of what went through the proxy.

use std::ops::{Add, Sub};

use serde::Serialize;

/// What went through the proxy.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize)]
pub struct Traffic {
    /// Requests that the server answered, including those whose reply was then lost.
    pub requests: u64,
    /// Bytes of requests, head and body.
    pub sent_bytes: u64,
    /// Bytes of replies, head and body.
    pub received_bytes: u64,
    /// Write units; 0 unless the proxy [counts units](crate::Proxy::count_units).
    pub write_units: f64,
    /// Read units, likewise.
    pub read_units: f64,
}

impl Add for Traffic {
    type Output = Self;

    fn add(self, other: Self) -> Self {
        Self {
            requests: self.requests + other.requests,
            sent_bytes: self.sent_bytes + other.sent_bytes,
            received_bytes: self.received_bytes + other.received_bytes,
            write_units: self.write_units + other.write_units,
            read_units: self.read_units + other.read_units,
        }
    }
}

impl Sub for Traffic {
    type Output = Self;

    fn sub(self, earlier: Self) -> Self {
        Self {
            requests: self.requests - earlier.requests,
            sent_bytes: self.sent_bytes - earlier.sent_bytes,
            received_bytes: self.received_bytes - earlier.received_bytes,
            write_units: self.write_units - earlier.write_units,
            read_units: self.read_units - earlier.read_units,
        }
    }
}
