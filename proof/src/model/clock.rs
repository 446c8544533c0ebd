//! Time in the model: eras as long as a retention, and in each of them few readings of a clock.

use std::time::Duration;

use idempotency::protocol::{EpochMs, EpochS, History, Record, State};

/// What a clock shows within an era. Which of these it shows is free: clocks may differ by any lease, though not by a
/// whole retention.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Reading {
    /// A duplicate still waits, and leases hold.
    Early,
    /// Nobody waits any more, and leases hold.
    Between,
    /// The leases of the era are over.
    Late,
}

const ERA: Duration = Duration::from_secs(3_200_000);

/// What is settled or released in an era expires in the next one, whatever clocks show.
pub(super) const RETENTION: Duration = Duration::from_secs(2_400_000);

/// The time of day.
pub(super) fn now(era: u8, reading: Reading) -> EpochMs {
    let part = match reading {
        Reading::Early => 8,
        Reading::Between => 10,
        Reading::Late => 12,
    };
    begin(era).plus(ERA / 32 * part)
}

/// Until when a duplicate waits that comes in this era.
pub(super) fn wait_until(era: u8) -> EpochMs {
    begin(era).plus(ERA / 32 * 9)
}

/// The end of a lease that is given in this era.
pub(super) fn lease(era: u8) -> EpochMs {
    begin(era).plus(ERA / 32 * 11)
}

/// How long a lease is.
pub(super) const LEASE: Duration = ERA;

/// The era in which a record was created: which life of the key it is.
pub(super) fn life(record: &Record) -> usize {
    usize::from(era(record.created))
}

/// Leaves out what only people read and what a reading changes, so that records that differ in nothing else are one.
pub(super) fn simplify(record: &mut Record) {
    record.created = begin(era(record.created));
    record.updated = record.created;
    record.history = History::default();
    match &mut record.state {
        State::Success(settled) | State::Failed(settled) => settled.expiration = begins(settled.expiration),
        State::Released { expiration } => *expiration = begins(*expiration),
        State::Processing(_) | State::Unknown(_) => {}
    }
}

/// Lets a settled or released record expire an era later.
pub(super) fn extend(record: &mut Record) {
    change_expiration(record, |expiration| EpochS(expiration.0 + ERA.as_secs()));
}

/// Takes back what [`extend`] did.
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

/// When the era began.
fn begins(at: EpochS) -> EpochS {
    EpochS(at.0 - at.0 % ERA.as_secs())
}

fn begin(era: u8) -> EpochMs {
    EpochMs(0).plus(ERA * u32::from(era))
}

fn era(at: EpochMs) -> u8 {
    (u128::from(at.0) / ERA.as_millis()) as u8
}
