//! The throughput of partitions, which an embedded database does not limit.
//!
//! A partition of DynamoDB serves 1,000 write units and 3,000 read units a second, for all its keys together (AWS,
//! "Best practices for designing and using partition keys effectively"), and refuses what is beyond (AWS, "Key range
//! throughput exceeded"). Here each partition has a token bucket for either, which holds the units of one second. A
//! request is admitted if the buckets of all its items have tokens left, and then pays what it really costs, also if
//! its condition is refused.

use std::collections::HashMap;
use std::hash::{DefaultHasher, Hash, Hasher};

use hyper::{StatusCode, header};
use parking_lot::Mutex;
use serde_json::{Value, json};
use tokio::time::Instant;

use crate::message::{Reply, Request};
use crate::units::Units;

/// The limits of the partitions.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct PartitionLimits {
    /// Over how many partitions the keys of each table are spread by their hash, at least 1.
    pub partitions: u64,
    /// Write units a second of each partition.
    pub write_units: f64,
    /// Read units a second of each partition.
    pub read_units: f64,
}

impl PartitionLimits {
    /// DynamoDB's limits, with all keys of a table in one partition.
    pub const ONE: Self = Self { partitions: 1, write_units: 1000.0, read_units: 3000.0 };

    /// The same limits divided by a factor, for a load that is divided by it.
    #[must_use]
    pub fn scaled_down(self, by: f64) -> Self {
        Self { write_units: self.write_units / by, read_units: self.read_units / by, ..self }
    }
}

/// The partitions of all tables.
#[derive(Debug, Default)]
pub(crate) struct Partitions(Mutex<State>);

#[derive(Debug, Default)]
struct State {
    /// `None`: nothing is limited.
    limits: Option<PartitionLimits>,
    buckets: HashMap<(String, u64), Buckets>,
    refused: u64,
}

/// The tokens that are left; less than none if the last request cost more.
#[derive(Clone, Copy, Debug)]
struct Buckets {
    write: f64,
    read: f64,
    at: Instant,
}

/// The partitions of one admitted request, and what each has paid so far.
#[derive(Debug, Default)]
pub(crate) struct AdmittedRequest {
    places: Vec<(String, u64)>,
    paid: Units,
}

impl Partitions {
    pub(crate) fn limit(&self, limits: PartitionLimits) {
        let limits = PartitionLimits { partitions: limits.partitions.max(1), ..limits };
        *self.0.lock() = State { limits: Some(limits), ..State::default() };
    }

    pub(crate) fn are_limited(&self) -> bool {
        self.0.lock().limits.is_some()
    }

    /// How many requests were refused.
    pub(crate) fn refused(&self) -> u64 {
        self.0.lock().refused
    }

    /// Admits a request, which pays the least that it can cost, or refuses it.
    pub(crate) fn admit(&self, request: &Request) -> Result<AdmittedRequest, Box<Reply>> {
        let mut state = self.0.lock();
        let Some(limits) = state.limits else { return Ok(AdmittedRequest::default()) };
        let body = request.json();
        let items = items(request.operation(), &body);
        let places: Vec<_> = items.iter().map(|(table, key)| (table.clone(), hash(key) % limits.partitions)).collect();
        let least = least(request.operation());
        let now = Instant::now();
        let is_full = |place: &(String, u64), state: &mut State| {
            let buckets = state.refilled(place, limits, now);
            (least.write > 0.0 && buckets.write < 1.0) || (least.read > 0.0 && buckets.read < 0.5)
        };
        let full: Vec<bool> = places.iter().map(|place| is_full(place, &mut state)).collect();
        if full.contains(&true) {
            state.refused += 1;
            return Err(Box::new(refusal(request.operation(), least.write > 0.0, &full, &items)));
        }
        for place in &places {
            state.pay(place, least);
        }
        Ok(AdmittedRequest { places, paid: least })
    }

    /// An admitted request pays the rest of its units, in equal parts for each of its items.
    pub(crate) fn settle(&self, admitted: &AdmittedRequest, units: Units) {
        let mut state = self.0.lock();
        let parts = u32::try_from(admitted.places.len()).map_or(1.0, |count| f64::from(count.max(1)));
        let rest = Units {
            write: (units.write / parts - admitted.paid.write).max(0.0),
            read: (units.read / parts - admitted.paid.read).max(0.0),
        };
        for place in &admitted.places {
            state.pay(place, rest);
        }
    }
}

impl State {
    fn refilled(&mut self, place: &(String, u64), limits: PartitionLimits, now: Instant) -> Buckets {
        let full = Buckets { write: limits.write_units, read: limits.read_units, at: now };
        let buckets = self.buckets.entry(place.clone()).or_insert(full);
        let passed = now.saturating_duration_since(buckets.at).as_secs_f64();
        buckets.write = (buckets.write + passed * limits.write_units).min(limits.write_units);
        buckets.read = (buckets.read + passed * limits.read_units).min(limits.read_units);
        buckets.at = now;
        *buckets
    }

    fn pay(&mut self, place: &(String, u64), units: Units) {
        if let Some(buckets) = self.buckets.get_mut(place) {
            buckets.write -= units.write;
            buckets.read -= units.read;
        }
    }
}

/// The least that a request costs each of its partitions.
fn least(operation: &str) -> Units {
    match operation {
        "GetItem" => Units { read: 0.5, write: 0.0 },
        "PutItem" | "UpdateItem" | "DeleteItem" => Units { write: 1.0, read: 0.0 },
        "TransactWriteItems" => Units { write: 2.0, read: 0.0 },
        _ => Units::default(),
    }
}

/// The table and the partition key of each item that a request names. Queries and scans are not limited.
fn items(operation: &str, body: &Value) -> Vec<(String, String)> {
    let of = |request: &Value| {
        let item = if request["Key"].is_object() { &request["Key"] } else { &request["Item"] };
        let key = ["id", "pk"].iter().find_map(|name| item.get(*name)).unwrap_or(&Value::Null);
        (request["TableName"].as_str().unwrap_or_default().to_owned(), key.to_string())
    };
    match operation {
        "GetItem" | "PutItem" | "UpdateItem" | "DeleteItem" => vec![of(body)],
        "TransactWriteItems" => {
            let actions = body["TransactItems"].as_array().map(Vec::as_slice).unwrap_or_default();
            actions.iter().filter_map(|action| action.as_object()?.values().next().map(of)).collect()
        }
        _ => Vec::new(),
    }
}

fn hash(key: &str) -> u64 {
    let mut hasher = DefaultHasher::new();
    key.hash(&mut hasher);
    hasher.finish()
}

/// What DynamoDB answers for a table in on-demand mode.
fn refusal(operation: &str, is_write: bool, full: &[bool], items: &[(String, String)]) -> Reply {
    let message = "Throughput exceeds the current capacity for one or more partitions of the table.";
    let body = if operation == "TransactWriteItems" {
        let reason = |full: &bool| match full {
            true => json!({ "Code": "ThrottlingError", "Message": message }),
            false => json!({ "Code": "None" }),
        };
        json!({
            "__type": "com.amazonaws.dynamodb.v20120810#TransactionCanceledException",
            "Message": "Transaction cancelled, please refer cancellation reasons for specific reasons",
            "CancellationReasons": full.iter().map(reason).collect::<Vec<_>>(),
        })
    } else {
        let table = items.first().map_or("", |(table, _)| table);
        json!({
            "__type": "com.amazonaws.dynamodb.v20120810#ThrottlingException",
            "message": message,
            "throttlingReasons": [{
                "reason": format!("Table{}KeyRangeThroughputExceeded", if is_write { "Write" } else { "Read" }),
                "resource": format!("arn:aws:dynamodb:eu-central-1:123456789012:table/{table}"),
            }],
        })
    };
    let mut reply = Reply::new(StatusCode::BAD_REQUEST, body.to_string());
    reply.set_header(header::CONTENT_TYPE, "application/x-amz-json-1.0");
    reply
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    fn request(operation: &str, body: &Value) -> Request {
        Request::of_dynamodb(operation, body)
    }

    fn put(id: &str) -> Request {
        request("PutItem", &json!({ "TableName": "Records", "Item": { "id": { "S": id } } }))
    }

    fn limited(partitions: u64) -> Partitions {
        let limited = Partitions::default();
        limited.limit(PartitionLimits { partitions, write_units: 10.0, read_units: 30.0 });
        limited
    }

    fn body(reply: &Reply) -> Value {
        serde_json::from_slice(reply.body()).expect("JSON")
    }

    /// Admits requests until one is refused, and returns how many were admitted, and the refusal.
    fn admitted(partitions: &Partitions, request: &Request) -> (usize, Box<Reply>) {
        for count in 0..1000 {
            if let Err(refusal) = partitions.admit(request) {
                return (count, refusal);
            }
        }
        panic!("nothing is refused");
    }

    #[tokio::test(start_paused = true)]
    async fn a_partition_serves_its_units_of_a_second_and_refuses_the_rest_as_dynamodb_does() {
        let partitions = limited(1);
        let (count, refusal) = admitted(&partitions, &put("a"));
        assert_eq!((count, refusal.status(), partitions.refused()), (10, 400, 1));
        let body = body(&refusal);
        assert_eq!(body["__type"], "com.amazonaws.dynamodb.v20120810#ThrottlingException");
        assert_eq!(body["throttlingReasons"][0]["reason"], "TableWriteKeyRangeThroughputExceeded");
        assert!(partitions.admit(&put("b")).is_err(), "another key of the same partition");
        let get = request("GetItem", &json!({ "TableName": "Records", "Key": { "id": { "S": "a" } } }));
        assert_eq!(admitted(&partitions, &get).0, 60, "reads have a bucket of their own, half a unit each");
        tokio::time::advance(Duration::from_millis(500)).await;
        assert_eq!(admitted(&partitions, &put("a")).0, 5, "half a second later");
        tokio::time::advance(Duration::from_secs(60)).await;
        assert_eq!(admitted(&partitions, &put("a")).0, 10, "no more than a second's units are saved");
    }

    #[tokio::test(start_paused = true)]
    async fn what_a_request_really_costs_is_paid_afterwards() {
        let partitions = limited(1);
        let large = partitions.admit(&put("a")).expect("admitted");
        partitions.settle(&large, Units { write: 15.0, read: 0.0 });
        assert!(partitions.admit(&put("a")).is_err(), "five units are owed");
        tokio::time::advance(Duration::from_millis(550)).await;
        assert!(partitions.admit(&put("a")).is_err(), "half a unit is left");
        tokio::time::advance(Duration::from_millis(50)).await;
        assert!(partitions.admit(&put("a")).is_ok());
    }

    #[tokio::test(start_paused = true)]
    async fn a_transaction_is_cancelled_for_its_full_partitions() {
        let partitions = limited(u64::MAX);
        while partitions.admit(&put("full")).is_ok() {}
        let action = |id: &str| json!({ "Put": { "TableName": "Records", "Item": { "id": { "S": id } } } });
        let transaction = json!({ "TransactItems": [action("other"), action("full")] });
        let refusal = partitions.admit(&request("TransactWriteItems", &transaction)).expect_err("one is full");
        let codes = &body(&refusal)["CancellationReasons"];
        assert_eq!((&codes[0]["Code"], &codes[1]["Code"]), (&json!("None"), &json!("ThrottlingError")));
        assert!(partitions.admit(&put("other")).is_ok(), "other partitions have their own units");
    }

    #[tokio::test]
    async fn without_limits_nothing_is_refused() {
        let partitions = Partitions::default();
        assert!(!partitions.are_limited());
        assert!((0..2000).all(|_| partitions.admit(&put("a")).is_ok()));
    }
}
