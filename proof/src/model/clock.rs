//! Time in the model: eras, each as long as the retention, with few clock readings per era.

use std::time::Duration;

use idempotency::protocol::{EpochMs, EpochS, History, Record, State};

/// The reading of a clock within an era. Each clock may show any of these: clocks may differ by any lease, but not by a
/// whole retention.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Reading {
    /// Duplicates still wait, and leases hold.
    Early,
    /// Duplicates no longer wait, and leases hold.
    Between,
    /// The leases of the era are over.
    Late,
}

const ERA: Duration = Duration::from_secs(3_200_000);

/// A record that is settled or released in one era expires in the next, whatever the clocks show.
pub(super) const RETENTION: Duration = Duration::from_secs(2_400_000);

/// The point in time of a reading in an era.
pub(super) fn now(era: u8, reading: Reading) -> EpochMs {
    let part = match reading {
        Reading::Early => 8,
        Reading::Between => 10,
        Reading::Late => 12,
    };
    begin(era).plus(ERA / 32 * part)
}

/// The time until which a duplicate waits whose call begins in this era.
pub(super) fn wait_until(era: u8) -> EpochMs {
    begin(era).plus(ERA / 32 * 9)
}

/// The time one retention after the start of a call in this era, at which records that other calls settled since may be
/// gone.
pub(super) fn forgotten(era: u8) -> EpochMs {
    now(era, Reading::Early).plus(RETENTION)
}

/// The end of a lease that begins in this era.
pub(super) fn lease(era: u8) -> EpochMs {
    begin(era).plus(ERA / 32 * 11)
}

/// The length of a lease.
pub(super) const LEASE: Duration = ERA;

/// The number of the key's life, which is the era in which the record was created.
pub(super) fn life(record: &Record) -> usize {
    usize::from(era(record.created))
}

/// Removes data that only people read and data that depends on a clock reading, so that records that differ only in
/// these are equal.
pub(super) fn simplify(record: &mut Record) {
    record.created = begin(era(record.created));
    record.updated = record.created;
    record.history = History::default();
    change_expiration(record, begins);
}

/// Lets a settled or released record expire one era later.
pub(super) fn extend(record: &mut Record) {
    change_expiration(record, |expiration| EpochS(expiration.0 + ERA.as_secs()));
}

/// Reverses [`extend`].
pub(super) fn shorten(record: &mut Record) {
    change_expiration(record, |expiration| EpochS(expiration.0 - ERA.as_secs()));
}

fn change_expiration(record: &mut Record, change: impl Fn(EpochS) -> EpochS) {
    match &mut record.state {
        State::Success(settled) | State::Failed(settled) => settled.expiration = change(settled.expiration),
        State::Released { expiration } => *expiration = change(*expiration),
        State::Processing(_) | State::Unknown(_) => {}
    }
}

/// The beginning of the era.
fn begins(at: EpochS) -> EpochS {
    EpochS(at.0 - at.0 % ERA.as_secs())
}

fn begin(era: u8) -> EpochMs {
    EpochMs(0).plus(ERA * u32::from(era))
}

fn era(at: EpochMs) -> u8 {
    (u128::from(at.0) / ERA.as_millis()) as u8
}
