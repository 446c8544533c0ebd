//! The conversion between a record and a DynamoDB item.

use std::collections::HashSet;

use aws_sdk_dynamodb::primitives::Blob;
use aws_sdk_dynamodb::types::AttributeValue;

use super::{AttributeNames, Item};
use crate::protocol::{Record, RecordId, State};
use crate::store::fields::{self, Stored, Value};
use crate::store::{StoreError, watermarks};

/// Attribute names that a table cannot have. Nothing was written under them.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum InvalidNames {
    /// Two attributes have the same name: one would overwrite the other.
    #[error("two attributes have the name `{0}`")]
    Twice(String),
    /// DynamoDB's names have 1 to 255 bytes.
    #[error("`{0}` is not a valid attribute name, which has 1 to 255 bytes")]
    Length(String),
    /// A key attribute has the name of an attribute of watermarks, which are in the same table.
    #[error("the key attribute `{0}` has the name of an attribute of watermarks")]
    OfWatermarks(String),
}

/// The value of the sort key.
const SORT: &str = "idempotency";

impl AttributeNames {
    /// Checks whether a table can have these names.
    ///
    /// # Errors
    /// [`InvalidNames`], with the first name that it cannot have.
    pub fn check(&self) -> Result<(), InvalidNames> {
        let attributes = [&self.response, &self.parts, &self.unresolved].map(String::as_str);
        let all = self.of_record().into_iter().chain(attributes).chain(self.sort.as_deref());
        let mut seen = HashSet::new();
        for name in all {
            if name.is_empty() || name.len() > 255 {
                return Err(InvalidNames::Length(name.to_owned()));
            }
            if !seen.insert(name) {
                return Err(InvalidNames::Twice(name.to_owned()));
            }
        }
        let mut key = std::iter::once(&self.id).chain(&self.sort);
        match key.find(|name| watermarks::names::ALL.contains(&name.as_str())) {
            Some(name) => Err(InvalidNames::OfWatermarks(name.clone())),
            None => Ok(()),
        }
    }

    /// The key of one of our items.
    pub(super) fn key(&self, id: &str) -> Item {
        let sort = self.sort.as_ref().map(|name| (name.clone(), string(SORT)));
        let id = (self.id.clone(), string(format!("{}{id}", self.id_prefix)));
        Item::from_iter(std::iter::once(id).chain(sort))
    }

    /// The id of a record, as it is in the table.
    pub(crate) fn record_id(&self, stored: &str) -> RecordId {
        RecordId::from_stored(stored.strip_prefix(&self.id_prefix).unwrap_or(stored).to_owned())
    }

    /// All attributes of a record except its answer, for reads that answer no caller.
    pub(super) fn of_record(&self) -> [&str; 16] {
        [
            &self.id,
            &self.expiration,
            &self.status,
            &self.owner,
            &self.lease,
            &self.ended_by,
            &self.attempt,
            &self.transaction,
            &self.fingerprint,
            &self.operation,
            &self.principal,
            &self.subject,
            &self.history,
            &self.created,
            &self.updated,
            &self.trace,
        ]
    }
}

/// The whole item of a record.
pub(super) fn from_record(record: &Record, names: &AttributeNames) -> Item {
    let mut item = names.key(record.id.as_str());
    item.reserve(16);
    item.extend(fields::of(record, names).map(|(name, value)| (name.to_owned(), attribute(value))));
    match record.state {
        State::Unknown(_) => {
            item.insert(names.unresolved.clone(), string(unresolved_partition(partition_of(&record.id))));
        }
        State::Processing(_) | State::Released { .. } | State::Success(_) | State::Failed(_) => {}
    }
    item
}

fn attribute(value: Value) -> AttributeValue {
    match value {
        Value::Text(text) => string(text),
        Value::Number(value) => number(value),
        Value::Bytes(bytes) => binary(bytes),
    }
}

pub(super) fn string(text: impl Into<String>) -> AttributeValue {
    AttributeValue::S(text.into())
}

pub(super) fn number(number: u64) -> AttributeValue {
    AttributeValue::N(number.to_string())
}

pub(super) fn binary(bytes: impl Into<Vec<u8>>) -> AttributeValue {
    AttributeValue::B(Blob::new(bytes))
}

/// Reads the record from an item.
///
/// # Errors
/// [`StoreError::Unreadable`] names the attribute that is missing or has another type.
pub(super) fn to_record(mut item: Item, names: &AttributeNames) -> Result<Record, StoreError> {
    let id = match item.remove(&names.id) {
        Some(AttributeValue::S(id)) => names.record_id(&id),
        _ => RecordId::from_stored(String::new()),
    };
    fields::read(id.clone(), item, names)
        .map_err(|problem| StoreError::Unreadable { digest: id.digest().to_owned(), problem })
}

/// The number of partitions of the sparse index.
///
/// One partition takes 1,000 writes per second. An outage of an external system can make more records UNKNOWN than
/// that, and a throttled index throttles its table.
pub(super) const UNRESOLVED_PARTITIONS: u8 = 16;

/// The key of a partition: a hexadecimal digit.
pub(super) fn unresolved_partition(number: u8) -> String {
    format!("{number:x}")
}

fn partition_of(id: &RecordId) -> u8 {
    id.digest().bytes().fold(0_u8, u8::wrapping_add) % UNRESOLVED_PARTITIONS
}

impl Stored for Item {
    fn take_text(&mut self, name: &str) -> Result<Option<String>, String> {
        match self.remove(name) {
            Some(AttributeValue::S(text)) => Ok(Some(text)),
            Some(_) => Err(format!("`{name}` is not a string")),
            None => Ok(None),
        }
    }

    fn take_number(&mut self, name: &str) -> Result<Option<u64>, String> {
        match self.remove(name) {
            Some(AttributeValue::N(text)) => text.parse().map(Some).map_err(|_| format!("`{name}` is {text}")),
            Some(_) => Err(format!("`{name}` is not a number")),
            None => Ok(None),
        }
    }

    fn take_bytes(&mut self, name: &str) -> Result<Option<Vec<u8>>, String> {
        match self.remove(name) {
            Some(AttributeValue::B(bytes)) => Ok(Some(bytes.into_inner())),
            Some(_) => Err(format!("`{name}` is not binary")),
            None => Ok(None),
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::protocol::{EpochMs, EpochS, Fingerprinter, History, HistoryEntry, HistoryEvent, Holder, InvocationId};
    use crate::protocol::{
        Key, OwnerToken, Principal, PrincipalDigest, Response, Settled, Subject, Trace, TransactionId,
    };

    fn any_story() -> impl Strategy<Value = History> {
        let step = (any::<u8>(), 0..1_u64 << 48, any::<u32>(), prop::option::of(1..u128::MAX));
        prop::collection::vec(step, 0..=History::MAX_ENTRIES).prop_map(|steps| {
            let step = |(event, at, attempt, request): (u8, u64, u32, Option<u128>)| HistoryEntry {
                event: HistoryEvent::from_byte(event),
                at: EpochMs(at),
                attempt: attempt.into(),
                request: request.map(|request| InvocationId::from_bytes(request.to_be_bytes())),
            };
            History::from_entries(steps.into_iter().map(step).collect())
        })
    }

    fn any_holder() -> impl Strategy<Value = Holder> {
        (any::<[u8; 16]>(), any::<u64>())
            .prop_map(|(owner, lease)| Holder { owner: OwnerToken(owner), lease: EpochMs(lease) })
    }

    fn any_settled() -> impl Strategy<Value = Settled> {
        let response = prop_oneof![
            prop::collection::vec(any::<u8>(), 0..64).prop_map(Response::Whole),
            any::<u32>().prop_map(Response::Parts),
        ];
        (response, any::<u64>()).prop_map(|(response, at)| Settled { response, expiration: EpochS(at) })
    }

    fn any_record() -> impl Strategy<Value = Record> {
        let state = prop_oneof![
            any_holder().prop_map(State::Processing),
            any::<u64>().prop_map(|at| State::Released { expiration: EpochS(at) }),
            any_settled().prop_map(State::Success),
            any_settled().prop_map(State::Failed),
            prop::option::of(any_holder()).prop_map(State::Unknown),
        ];
        let about = (any::<Option<[u8; 32]>>(), prop::option::of(".{1,64}"), any_story(), any::<Option<[u8; 16]>>());
        (state, "[!-~]{1,255}", any::<u64>(), any::<[u8; 10]>(), about).prop_map(
            |(state, key, attempt, random, about)| Record {
                id: RecordId::new("n", &Principal::new("p").unwrap(), &Key::new(key).unwrap()),
                fingerprint: Fingerprinter::new().bytes(&random).finish(),
                transaction: TransactionId::new(EpochMs(1_700_000_000_000), random),
                attempt,
                trace: Trace::new([7; 16], [7; 8], attempt % 2 == 1).filter(|_| attempt % 3 > 0),
                state,
                ended_by: about.3.map(OwnerToken),
                principal: about.0.map(PrincipalDigest),
                subject: about.1.and_then(Subject::new),
                history: about.2,
                ..Record::sample()
            },
        )
    }

    proptest! {
        #[test]
        fn a_record_is_read_back_as_it_was_written(record in any_record()) {
            let names = AttributeNames::default();
            prop_assert_eq!(to_record(from_record(&record, &names), &names).unwrap(), record);
        }

        #[test]
        fn what_a_scan_reads_is_the_whole_record_but_its_answer(record in any_record()) {
            let names = AttributeNames { unresolved: "index".into(), ..AttributeNames::default() };
            let read = names.of_record();
            let left_out = |name: &str| name == names.response || name == names.parts || name == names.unresolved;
            for name in from_record(&record, &names).keys() {
                prop_assert!(read.contains(&name.as_str()) != left_out(name), "{}", name);
            }
        }

        #[test]
        fn only_settled_and_released_records_expire_and_only_unknown_ones_are_indexed(record in any_record()) {
            let item = from_record(&record, &AttributeNames::default());
            let ends = matches!(record.state, State::Released { .. } | State::Success(_) | State::Failed(_));
            prop_assert_eq!(item.contains_key("expiration"), ends);
            prop_assert_eq!(item.contains_key("unresolved"), matches!(record.state, State::Unknown(_)));
        }
    }

    #[test]
    fn an_item_that_this_version_cannot_read_is_an_error_that_names_the_attribute() {
        let names = AttributeNames::default();
        let item = Item::from([("id".to_owned(), string("idempotency:x")), ("status".to_owned(), string("COMPLETED"))]);
        let error = to_record(item, &names).unwrap_err().to_string();
        assert!(error.contains("`status` is `COMPLETED`"), "{error}");
        let error = to_record(Item::new(), &names).unwrap_err().to_string();
        assert!(error.contains("`status` is missing"), "{error}");
    }

    /// Records outlive deployments: items of the first version must stay readable.
    #[test]
    fn an_item_of_the_first_version_is_still_read() {
        let id = "idempotency:U6AiWsvy5-YSFD7t7C6hIoT8K0-G2LUZ_fegZk8y-DM";
        let item = Item::from([
            ("id".to_owned(), string(id)),
            ("status".to_owned(), string("SUCCESS")),
            ("operation".to_owned(), string("POST /payments")),
            ("fingerprint".to_owned(), binary([1; 33])),
            ("transaction".to_owned(), string("018bcfe5-6800-7000-8000-000000000000")),
            ("attempt".to_owned(), number(1)),
            ("created".to_owned(), number(1_700_000_000_000)),
            ("updated".to_owned(), number(1_700_000_000_500)),
            ("expiration".to_owned(), number(1_700_086_400)),
            ("response".to_owned(), binary(*b"\x02\x01\x00\xc9\x00\x00\x00\x00hello")),
        ]);
        let record = to_record(item, &AttributeNames::default()).unwrap();
        assert_eq!((record.id.as_str(), record.attempt, &*record.operation), (id, 1, "POST /payments"));
        let (response, expiration) = (b"\x02\x01\x00\xc9\x00\x00\x00\x00hello".to_vec().into(), EpochS(1_700_086_400));
        assert_eq!(record.state, State::Success(Settled { response, expiration }));
    }

    #[test]
    fn a_record_of_an_older_version_is_read() {
        let names = AttributeNames::default();
        let record = Record::sample();
        let mut item = from_record(&record, &names);
        item.remove(&names.history);
        assert_eq!(to_record(item, &names).unwrap(), record);
    }

    #[test]
    fn a_settled_record_with_a_small_answer_fits_one_write_unit() {
        let names = AttributeNames::default();
        let request = Some(InvocationId::from_bytes([1; 16]));
        let entry = |event| HistoryEntry { event, at: EpochMs(1_700_000_000_000), attempt: 1, request };
        let record = Record {
            operation: "POST /payments/{id}/refunds".into(),
            created: EpochMs(1_700_000_000_000),
            updated: EpochMs(1_700_000_000_000),
            trace: Trace::new([1; 16], [1; 8], true),
            state: State::Success(Settled { response: vec![0; 400].into(), expiration: EpochS(1_700_000_000) }),
            ended_by: Some(OwnerToken([1; 16])),
            principal: Some(Principal::new("p").unwrap().digest()),
            subject: Subject::new(r#"{"account":"acct-1","amount":1999,"currency":"EUR"}"#),
            history: History::from_entries([HistoryEvent::Claimed, HistoryEvent::Succeeded].map(entry).into()),
            ..Record::sample()
        };
        assert!(super::super::parts::item_bytes(&from_record(&record, &names)) <= 1024);
    }
}
