//! The stable serde form of a record, for stores that keep documents.
//!
//! The form is one flat object with the names of the DynamoDB item's attributes, and bytes in base64. Later versions
//! may add fields; none is renamed, and a reader ignores unknown fields.

use std::collections::HashMap;
use std::fmt;
use std::sync::LazyLock;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde::de::{Error as _, IgnoredAny, MapAccess, Visitor};
use serde::{Deserialize, Deserializer, Serialize, Serializer};

use super::fields::{self, Stored, Value};
use super::names::AttributeNames;
use crate::protocol::{Record, RecordId};

static NAMES: LazyLock<AttributeNames> = LazyLock::new(AttributeNames::default);

impl Serialize for Record {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let id = (NAMES.id.as_str(), Value::from(self.id.as_str()));
        serializer.collect_map(std::iter::once(id).chain(fields::of(self, &NAMES)))
    }
}

impl Serialize for Value {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self {
            Self::Text(text) => serializer.serialize_str(text),
            Self::Number(number) => serializer.serialize_u64(*number),
            Self::Bytes(bytes) => serializer.serialize_str(&STANDARD.encode(bytes)),
        }
    }
}

impl<'de> Deserialize<'de> for Record {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let mut form = Form::deserialize(deserializer)?;
        let record = || {
            let id = form.take_text(&NAMES.id)?.ok_or_else(|| format!("`{}` is missing", NAMES.id))?;
            fields::read(RecordId::from_stored(id), form, &NAMES)
        };
        record().map_err(|problem: String| D::Error::custom(format!("a record's {problem}")))
    }
}

/// The members by name; an absent one may also be null.
#[derive(Default)]
struct Form(HashMap<String, Option<Member>>);

#[derive(Deserialize)]
#[serde(untagged)]
enum Member {
    Text(String),
    Number(u64),
    Other(IgnoredAny),
}

impl<'de> Deserialize<'de> for Form {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_map(Members)
    }
}

/// Collects the members of an object, none of which may occur twice.
struct Members;

impl<'de> Visitor<'de> for Members {
    type Value = Form;

    fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("a record")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut members: A) -> Result<Form, A::Error> {
        let mut form = Form::default();
        while let Some(name) = members.next_key::<String>()? {
            let member = members.next_value()?;
            if form.0.insert(name.clone(), member).is_some() {
                return Err(A::Error::custom(format!("a record has two members `{name}`")));
            }
        }
        Ok(form)
    }
}

impl Stored for Form {
    fn take_text(&mut self, name: &str) -> Result<Option<String>, String> {
        match self.0.remove(name).flatten() {
            Some(Member::Text(text)) => Ok(Some(text)),
            Some(Member::Number(_) | Member::Other(_)) => Err(format!("`{name}` is not text")),
            None => Ok(None),
        }
    }

    fn take_number(&mut self, name: &str) -> Result<Option<u64>, String> {
        match self.0.remove(name).flatten() {
            Some(Member::Number(number)) => Ok(Some(number)),
            Some(Member::Text(_) | Member::Other(_)) => Err(format!("`{name}` is not a number")),
            None => Ok(None),
        }
    }

    fn take_bytes(&mut self, name: &str) -> Result<Option<Vec<u8>>, String> {
        let bytes = self.take_text(name)?.map(|text| STANDARD.decode(text));
        bytes.transpose().map_err(|_| format!("`{name}` is not in base64"))
    }

    /// It is always present, but is for people only: text that is not in base64 must not make a record unreadable.
    fn take_history(&mut self, name: &str) -> Result<Option<Vec<u8>>, String> {
        let text = self.take_text(name)?.ok_or_else(|| format!("`{name}` is missing"))?;
        Ok(STANDARD.decode(text).ok())
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::protocol::{
        EpochMs, EpochS, Holder, OwnerToken, PrincipalDigest, Response, Settled, State, Subject, Trace,
    };

    fn states() -> [State; 7] {
        let holder = Holder { owner: OwnerToken([1; 16]), lease: EpochMs(5) };
        let settled = |response| Settled { response, expiration: EpochS(9) };
        [
            State::Processing(holder.clone()),
            State::Released { expiration: EpochS(9) },
            State::Success(settled(Response::Whole(b"paid".to_vec()))),
            State::Success(settled(Response::Parts(3))),
            State::Failed(settled(Response::Whole(Vec::new()))),
            State::Unknown(Some(holder)),
            State::Unknown(None),
        ]
    }

    #[test]
    fn a_record_in_any_state_is_read_back_as_it_was_written() {
        for state in states() {
            let record = Record {
                state,
                principal: Some(PrincipalDigest([4; 32])),
                subject: Subject::new("a payment"),
                trace: Trace::new([1; 16], [2; 8], true),
                ended_by: Some(OwnerToken([6; 16])),
                ..Record::sample()
            };
            let text = serde_json::to_string(&record).unwrap();
            assert_eq!(serde_json::from_str::<Record>(&text).unwrap(), record, "{text}");
        }
    }

    /// Records outlive deployments: these names and forms may not change.
    #[test]
    fn the_form_of_a_record_is_stable() {
        let state = State::Success(Settled { response: Response::Whole(b"paid".to_vec()), expiration: EpochS(9) });
        let record = Record { state, ..Record::sample() };
        let mut form = serde_json::to_value(&record).unwrap();
        let (id, fingerprint) = (form["id"].take(), form["fingerprint"].take());
        assert_eq!(id, record.id.as_str());
        assert_eq!(fingerprint, STANDARD.encode(record.fingerprint.as_bytes()));
        let expected = json!({
            "id": null, "status": "SUCCESS", "operation": "POST /payments", "fingerprint": null,
            "transaction": record.transaction.to_string(), "attempt": 1, "created": 1, "updated": 2,
            "expiration": 9, "response": "cGFpZA==", "story": "",
        });
        assert_eq!(form, expected);
    }

    #[test]
    fn a_form_that_is_no_record_is_refused_and_names_what_is_wrong() {
        let form = serde_json::to_value(Record { state: states()[0].clone(), ..Record::sample() }).unwrap();
        for (member, value) in [
            ("status", json!("DONE")),
            ("lease", json!(null)),
            ("owner", json!("AA==")),
            ("transaction", json!("t")),
            ("fingerprint", json!("")),
            ("story", json!(null)),
        ] {
            let mut other = form.clone();
            other[member] = value;
            let error = serde_json::from_value::<Record>(other).unwrap_err().to_string();
            assert!(error.contains(&format!("`{member}`")), "{error}");
        }
        let twice = format!("{{\"attempt\":1,{}", &form.to_string()[1..]);
        assert!(serde_json::from_str::<Record>(&twice).unwrap_err().to_string().contains("`attempt`"));
        let mut newer = form;
        newer["added"] = json!("later");
        assert!(serde_json::from_value::<Record>(newer).is_ok(), "a later version may add members");
    }
}
