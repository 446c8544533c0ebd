//! Follow-ups: when to look again at a record that is not settled.
//!
//! A follow-up is a hint: it may be late, lost, sent twice, or name a record that is gone. Code that acts on it reads
//! the record again and takes it over under a condition.

use std::time::Duration;

use super::{EpochMs, OwnerToken, Record, RecordId, State};

/// The shortest time between two looks at a record whose outcome stays unknown.
pub const SHORTEST_INTERVAL: Duration = Duration::from_secs(15);

/// The longest time between two looks at a record whose outcome stays unknown.
pub const LONGEST_INTERVAL: Duration = Duration::from_secs(60 * 60);

/// How long after the end of a lease the record is looked at, since clocks may differ.
const MARGIN: Duration = Duration::from_secs(1);

/// A request to look at this version of a record at this time. Each later version has its own follow-up.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct FollowUp {
    /// The record.
    pub record: RecordId,
    /// The token of the write that made this version; `None` if an older version of this library wrote it.
    pub version: Option<OwnerToken>,
    /// The time of the look.
    pub due: EpochMs,
    /// How many looks have failed because the store did not answer or the look came too early.
    pub failures: u32,
}

/// The decision of a look about the record that it finds.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Look {
    /// The record is settled, released or gone: there is nothing to do.
    Over,
    /// The record has changed since. The later version has its own follow-up.
    Superseded,
    /// The look came too early: look at the record later.
    Early(FollowUp),
    /// The lease is over, or the outcome has been unknown for long enough: reconcile.
    Due(Box<Record>),
}

impl FollowUp {
    /// The follow-up of a record's current version. `None` if the record is settled or released.
    #[must_use]
    pub fn of(record: &Record) -> Option<Self> {
        let due = match &record.state {
            State::Processing(holder) | State::Unknown(Some(holder)) => holder.lease.plus(MARGIN),
            State::Unknown(None) => record.updated.plus(interval(record)),
            State::Released { .. } | State::Success(_) | State::Failed(_) => return None,
        };
        Some(Self { record: record.id.clone(), version: record.writer(), due, failures: 0 })
    }

    /// Decides what to do about the result of a consistent read.
    #[must_use]
    pub fn look(&self, found: Option<Record>, now: EpochMs) -> Look {
        let Some(record) = found else { return Look::Over };
        let Some(current) = Self::of(&record) else { return Look::Over };
        if current.version != self.version {
            return Look::Superseded;
        }
        if now < current.due {
            return Look::Early(Self { failures: self.failures, ..current });
        }
        Look::Due(Box::new(record))
    }

    /// The same follow-up after a look that failed. The interval doubles with each failure.
    #[must_use]
    pub fn again(self, now: EpochMs) -> Self {
        let interval = SHORTEST_INTERVAL.saturating_mul(1 << self.failures.min(16)).min(LONGEST_INTERVAL);
        Self { due: now.plus(interval), failures: self.failures.saturating_add(1), ..self }
    }
}

/// The interval that doubles the record's age, between the shortest and the longest interval, minus a jitter of up to a
/// quarter: the records of one outage must not all be looked at together. The jitter follows from the version's random
/// token, so that every process computes the same time.
fn interval(record: &Record) -> Duration {
    let age = record.updated.since(record.created).clamp(SHORTEST_INTERVAL * 4 / 3, LONGEST_INTERVAL);
    let token = record.writer().map_or(0, |OwnerToken([first, ..])| u32::from(first));
    age * (768 + token) / 1024
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::protocol::{EpochS, Holder, Response, Settled};

    fn record(state: State) -> Record {
        let ended_by = (state == State::Unknown(None)).then_some(OwnerToken([9; 16]));
        Record { state, ended_by, created: EpochMs(10_000), updated: EpochMs(17_000), ..Record::sample() }
    }

    fn held(lease: u64) -> Holder {
        Holder { owner: OwnerToken([1; 16]), lease: EpochMs(lease) }
    }

    fn settled() -> Settled {
        Settled { response: Response::Whole(Vec::new()), expiration: EpochS(9) }
    }

    #[test]
    fn only_what_is_open_is_followed_up_and_not_before_its_lease_is_over() {
        for state in [State::Processing(held(20_000)), State::Unknown(Some(held(20_000)))] {
            let record = record(state);
            let follow_up = FollowUp::of(&record).expect("open");
            assert_eq!((follow_up.due, follow_up.version), (EpochMs(21_000), Some(OwnerToken([1; 16]))));
            assert_eq!(follow_up.look(Some(record.clone()), EpochMs(20_999)), Look::Early(follow_up.clone()));
            assert_eq!(follow_up.look(Some(record.clone()), EpochMs(21_000)), Look::Due(Box::new(record)));
        }
        for over in [State::Released { expiration: EpochS(9) }, State::Success(settled()), State::Failed(settled())] {
            assert_eq!(FollowUp::of(&record(over)), None);
        }
    }

    #[test]
    fn a_follow_up_of_an_earlier_version_leaves_the_record_to_that_of_the_later_one() {
        let early = FollowUp::of(&record(State::Processing(held(20_000)))).expect("open");
        let taken_over = Holder { owner: OwnerToken([2; 16]), lease: EpochMs(30_000) };
        for later in [State::Unknown(Some(taken_over.clone())), State::Unknown(None), State::Processing(taken_over)] {
            assert_eq!(early.look(Some(record(later)), EpochMs(99_000)), Look::Superseded);
        }
        for over in [Some(record(State::Success(settled()))), None] {
            assert_eq!(early.look(over, EpochMs(99_000)), Look::Over);
        }
    }

    #[test]
    fn a_failed_look_is_repeated_ever_more_rarely() {
        let mut follow_up = FollowUp::of(&record(State::Processing(held(0)))).expect("open");
        let mut intervals = Vec::new();
        for _ in 0..10 {
            follow_up = follow_up.again(EpochMs(0));
            intervals.push(follow_up.due.0 / 1000);
        }
        assert_eq!(intervals, [15, 30, 60, 120, 240, 480, 960, 1920, 3600, 3600]);
        assert_eq!(follow_up.failures, 10);
    }

    proptest! {
        #[test]
        fn an_unknown_outcome_is_asked_for_after_15_s_to_an_hour_and_ever_more_rarely(
            age_ms in 0_u64..10_000_000_000, token: [u8; 16],
        ) {
            let unknown = Record {
                updated: EpochMs(10_000 + age_ms),
                ended_by: Some(OwnerToken(token)),
                ..record(State::Unknown(None))
            };
            let interval = FollowUp::of(&unknown).expect("open").due.since(unknown.updated);
            prop_assert!((SHORTEST_INTERVAL..=LONGEST_INTERVAL).contains(&interval), "{interval:?}");
            let age = Duration::from_millis(age_ms);
            prop_assert!(interval >= age * 3 / 4 || interval >= LONGEST_INTERVAL * 3 / 4, "{interval:?} after {age:?}");
        }
    }
}
