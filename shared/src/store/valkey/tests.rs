use super::*;
use crate::protocol::{Holder, OwnerToken, Settled};

/// Records outlive deployments: under other names or in other places they would not be found.
#[test]
fn a_record_is_stored_under_these_keys_and_fields() {
    let record = Record {
        state: State::Processing(Holder { owner: OwnerToken([1; 16]), lease: crate::protocol::EpochMs(7) }),
        ..Record::sample()
    };
    let write = Write { record, condition: Condition::Owned { owner: OwnerToken([1; 16]) } };
    let (keys, arguments) = record_script("t", &write, &[], None);
    let id = write.record.id.as_str();
    let item = format!("{{t}}{id}");
    assert_eq!(keys, [item.as_str(), "{t}idempotency#unknown", "{t}idempotency#claims", item.as_str()]);
    let names: Vec<_> = hash::from_record(&write.record).into_iter().map(|(name, _)| name).collect();
    let expected = "status transaction attempt operation fingerprint created updated history owner lease";
    assert_eq!(names.join(" "), expected);
    assert_eq!(arguments.0[..4], [b"equal".to_vec(), b"1".to_vec(), b"owner".to_vec(), vec![1; 16]]);
}

#[test]
fn a_record_is_deleted_an_hour_after_it_expired_and_never_at_a_time_that_the_server_refuses() {
    assert_eq!(deletion(None), "");
    assert_eq!(deletion(Some(EpochS(1_800_000_000))), "1800003600");
    assert_eq!(deletion(Some(EpochS(u64::MAX))), "253402300799");
    let settled = Settled { response: vec![].into(), expiration: EpochS(5) };
    let record = Record { state: State::Success(settled), ..Record::sample() };
    assert_eq!(deletion(record.expiration()), "3605");
}
