//! The stable serde form of a record, for stores that keep documents.
//!
//! The form is one flat object with the names of the DynamoDB item's attributes, and bytes in base64. Later versions
//! may add fields; none is renamed, and a reader ignores unknown fields.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde::de::Error as _;
use serde::{Deserialize, Deserializer, Serialize, Serializer};

use super::history;
use crate::protocol::{
    EpochMs, EpochS, Fingerprint, History, Holder, OwnerToken, PrincipalDigest, Record, RecordId, Response, Settled,
    State, Status, Subject, Trace, TransactionId,
};

#[derive(Serialize, Deserialize)]
#[serde(rename = "Record")]
struct Form {
    id: String,
    status: String,
    operation: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    principal: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    subject: Option<String>,
    fingerprint: String,
    transaction: String,
    attempt: u64,
    created: u64,
    updated: u64,
    #[serde(skip_serializing_if = "Option::is_none")]
    trace: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    owner: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    lease: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    ended_by: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    expiration: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    response: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    parts: Option<u32>,
    story: String,
}

impl Serialize for Record {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        Form::of(self).serialize(serializer)
    }
}

impl<'de> Deserialize<'de> for Record {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let problem = |member| D::Error::custom(format!("a record's `{member}` is missing or has another form"));
        Form::deserialize(deserializer)?.record().map_err(problem)
    }
}

impl Form {
    fn of(record: &Record) -> Self {
        let response = record.settled().map(|(_, settled)| &settled.response);
        Self {
            id: record.id.as_str().to_owned(),
            status: record.state.status().as_str().to_owned(),
            operation: (*record.operation).to_owned(),
            principal: record.principal.map(|digest| STANDARD.encode(digest.0)),
            subject: record.subject.as_ref().map(|subject| subject.as_str().to_owned()),
            fingerprint: STANDARD.encode(record.fingerprint.as_bytes()),
            transaction: record.transaction.to_string(),
            attempt: record.attempt,
            created: record.created.0,
            updated: record.updated.0,
            trace: record.trace.map(|trace| STANDARD.encode(trace.to_bytes())),
            owner: record.holder().map(|holder| STANDARD.encode(holder.owner.0)),
            lease: record.holder().map(|holder| holder.lease.0),
            ended_by: record.ended_by.map(|token| STANDARD.encode(token.0)),
            expiration: record.expiration().map(|expiration| expiration.0),
            response: match response {
                Some(Response::Whole(bytes)) => Some(STANDARD.encode(bytes)),
                Some(Response::Parts(_)) | None => None,
            },
            parts: match response {
                Some(Response::Parts(parts)) => Some(*parts),
                Some(Response::Whole(_)) | None => None,
            },
            story: STANDARD.encode(history::to_bytes(&record.history)),
        }
    }

    /// The record, or the name of the invalid member.
    fn record(self) -> Result<Record, &'static str> {
        let state = self.state()?;
        let transaction: uuid::Uuid = self.transaction.parse().map_err(|_| "transaction")?;
        let history =
            STANDARD.decode(&self.story).map_or_else(|_| History::default(), |bytes| history::from_bytes(&bytes));
        Ok(Record {
            state,
            id: RecordId::from_stored(self.id),
            operation: self.operation.into(),
            principal: self.principal.map(|text| array(&text, "principal").map(PrincipalDigest)).transpose()?,
            subject: self.subject.and_then(Subject::new),
            fingerprint: Fingerprint::from_bytes(array(&self.fingerprint, "fingerprint")?),
            transaction: TransactionId::from_bytes(transaction.into_bytes()),
            attempt: self.attempt,
            created: EpochMs(self.created),
            updated: EpochMs(self.updated),
            // The trace is for people only, like the history.
            trace: self.trace.and_then(|text| array(&text, "trace").ok()).and_then(Trace::from_bytes),
            ended_by: self.ended_by.map(|text| array(&text, "ended_by").map(OwnerToken)).transpose()?,
            history,
        })
    }

    fn state(&self) -> Result<State, &'static str> {
        match Status::from_stored(&self.status).ok_or("status")? {
            Status::Processing => match self.holder()? {
                Some(holder) => Ok(State::Processing(holder)),
                None => Ok(State::Released { expiration: self.expires()? }),
            },
            Status::Success => Ok(State::Success(self.settled()?)),
            Status::Failed => Ok(State::Failed(self.settled()?)),
            Status::Unknown => Ok(State::Unknown(self.holder()?)),
        }
    }

    fn holder(&self) -> Result<Option<Holder>, &'static str> {
        let Some(owner) = &self.owner else { return Ok(None) };
        let lease = self.lease.ok_or("lease")?;
        Ok(Some(Holder { owner: OwnerToken(array(owner, "owner")?), lease: EpochMs(lease) }))
    }

    fn settled(&self) -> Result<Settled, &'static str> {
        let response = match (self.parts, &self.response) {
            (Some(parts), _) => Response::Parts(parts),
            (None, Some(bytes)) => Response::Whole(STANDARD.decode(bytes).map_err(|_| "response")?),
            (None, None) => return Err("response"),
        };
        Ok(Settled { response, expiration: self.expires()? })
    }

    fn expires(&self) -> Result<EpochS, &'static str> {
        self.expiration.map(EpochS).ok_or("expiration")
    }
}

fn array<const N: usize>(text: &str, member: &'static str) -> Result<[u8; N], &'static str> {
    STANDARD.decode(text).ok().and_then(|bytes| bytes.try_into().ok()).ok_or(member)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

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
        ] {
            let mut other = form.clone();
            other[member] = value;
            let error = serde_json::from_value::<Record>(other).unwrap_err().to_string();
            assert!(error.contains(&format!("`{member}`")), "{error}");
        }
        let mut newer = form;
        newer["added"] = json!("later");
        assert!(serde_json::from_value::<Record>(newer).is_ok(), "a later version may add members");
    }
}
