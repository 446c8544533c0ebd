//! What a request asks for, in the words in which DynamoDB asks IAM about it.

use std::collections::BTreeMap;

use serde_json::Value;

use crate::template::{Access, Deployment, Table};

/// What is to be known of tables: the attribute that is the partition key, by the table's name.
#[derive(Clone)]
pub(super) struct Names {
    partition_keys: BTreeMap<String, String>,
    deployment: Deployment,
}

impl Names {
    pub(super) fn new<'t>(tables: impl IntoIterator<Item = &'t Table>, deployment: Deployment) -> Self {
        let partition_key = |table: &Table| {
            let mut schema = table.definition["KeySchema"].as_array()?.iter();
            Some(schema.find(|key| key["KeyType"] == "HASH")?["AttributeName"].as_str()?.to_owned())
        };
        let keys = tables.into_iter().filter_map(|table| Some((table.name.clone(), partition_key(table)?)));
        Self { partition_keys: keys.collect(), deployment }
    }

    /// What an operation (`PutItem`) with this request asks for. A transaction asks for each of its items (AWS, "Using
    /// IAM with DynamoDB transactions").
    pub(super) fn accesses(&self, operation: &str, request: &Value) -> Vec<Access> {
        match operation {
            "GetItem" | "UpdateItem" | "DeleteItem" => vec![self.item(operation, request, &request["Key"])],
            "PutItem" => vec![self.item(operation, request, &request["Item"])],
            "Query" => vec![self.query(request)],
            "TransactWriteItems" | "TransactGetItems" => {
                let items = request["TransactItems"].as_array().into_iter().flatten();
                items
                    .filter_map(Value::as_object)
                    .flatten()
                    .map(|(action, item)| self.of_transaction(action, item))
                    .collect()
            }
            "BatchGetItem" | "BatchWriteItem" => self.batch(operation, &request["RequestItems"]),
            // Scans, and whatever is about tables: no items are named.
            _ => vec![self.access(operation, request["TableName"].as_str(), request["IndexName"].as_str(), None)],
        }
    }

    fn of_transaction(&self, action: &str, item: &Value) -> Access {
        match action {
            "Put" => self.item("PutItem", item, &item["Item"]),
            "ConditionCheck" => self.item("ConditionCheckItem", item, &item["Key"]),
            action => self.item(&format!("{action}Item"), item, &item["Key"]),
        }
    }

    fn item(&self, action: &str, request: &Value, key: &Value) -> Access {
        let table = request["TableName"].as_str();
        let keys = self.partition_key(table).and_then(|name| plain(&key[name]));
        self.access(action, table, None, keys.map(|key| vec![key]))
    }

    /// Of an index the key that it is queried by is another one, and is not looked at.
    fn query(&self, request: &Value) -> Access {
        let (table, index) = (request["TableName"].as_str(), request["IndexName"].as_str());
        let key = self.partition_key(table).filter(|_| index.is_none()).and_then(|name| queried(request, name));
        self.access("Query", table, index, key.map(|key| vec![key]))
    }

    fn batch(&self, operation: &str, tables: &Value) -> Vec<Access> {
        let tables = tables.as_object().into_iter().flatten();
        tables
            .map(|(table, requests)| {
                let keys = requests["Keys"].as_array().into_iter().flatten();
                let writes = requests.as_array().into_iter().flatten();
                let written = writes.map(|write| match &write["PutRequest"]["Item"] {
                    Value::Null => &write["DeleteRequest"]["Key"],
                    item => item,
                });
                let name = self.partition_key(Some(table));
                let keys = keys.chain(written).map(|key| name.and_then(|name| plain(&key[name]))).collect();
                self.access(operation, Some(table), None, keys)
            })
            .collect()
    }

    fn partition_key(&self, table: Option<&str>) -> Option<&str> {
        self.partition_keys.get(name(table?)).map(String::as_str)
    }

    fn access(
        &self,
        action: &str,
        table: Option<&str>,
        index: Option<&str>,
        leading_keys: Option<Vec<String>>,
    ) -> Access {
        let resource = match (table.map(name), index) {
            (None, _) => "*".to_owned(),
            (Some(table), None) => self.deployment.arn("dynamodb", &format!("table/{table}")),
            (Some(table), Some(index)) => self.deployment.arn("dynamodb", &format!("table/{table}/index/{index}")),
        };
        Access { action: format!("dynamodb:{action}"), resource, leading_keys }
    }
}

/// A table may be named by its ARN.
fn name(table: &str) -> &str {
    table.rsplit('/').next().unwrap_or(table)
}

/// The text of a key, whatever its type.
fn plain(value: &Value) -> Option<String> {
    value.as_object()?.values().next()?.as_str().map(str::to_owned)
}

/// What a key condition compares the partition key with. Its other half, if any, stands behind `AND`.
fn queried(request: &Value, partition_key: &str) -> Option<String> {
    let expression = request["KeyConditionExpression"].as_str()?;
    let parts = expression.split(" AND ").flat_map(|part| part.split(" and "));
    let mut comparisons = parts.filter_map(|part| part.trim_matches([' ', '(', ')']).split_once('='));
    let value = comparisons.find_map(|(name, value)| {
        let name = name.trim();
        let name = request["ExpressionAttributeNames"][name].as_str().unwrap_or(name);
        (name == partition_key).then(|| value.trim())
    })?;
    plain(&request["ExpressionAttributeValues"][value])
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn accesses(operation: &str, request: &Value) -> Vec<String> {
        let table = Table {
            name: "T".to_owned(),
            definition: json!({ "KeySchema": [
                { "AttributeName": "sk", "KeyType": "RANGE" }, { "AttributeName": "pk", "KeyType": "HASH" } ] }),
            time_to_live: None,
        };
        let names = Names::new([&table], Deployment::default());
        let shown = |access: Access| {
            let resource = access.resource.rsplit_once(":table/").map_or("*", |(_, resource)| resource).to_owned();
            format!("{} {resource} {:?}", access.action.trim_start_matches("dynamodb:"), access.leading_keys)
        };
        names.accesses(operation, request).into_iter().map(shown).collect()
    }

    #[test]
    fn each_operation_asks_for_the_keys_that_it_names() {
        let (key, item) = (json!({ "pk": { "S": "a" }, "sk": { "S": "b" } }), json!({ "pk": { "N": "7" } }));
        let arn = "arn:aws:dynamodb:us-east-1:000000000000:table/T";
        let of = |action: &str| format!("{action} T Some([\"a\"])");
        let queried = |expression: &str| {
            json!({ "TableName": "T", "KeyConditionExpression": expression,
                "ExpressionAttributeNames": { "#p": "pk" }, "ExpressionAttributeValues": { ":p": { "S": "a" } } })
        };
        for (operation, request, expected) in [
            ("GetItem", json!({ "TableName": "T", "Key": key }), vec![of("GetItem")]),
            ("UpdateItem", json!({ "TableName": arn, "Key": key }), vec![of("UpdateItem")]),
            ("PutItem", json!({ "TableName": "T", "Item": item }), vec!["PutItem T Some([\"7\"])".to_owned()]),
            ("PutItem", json!({ "TableName": "U", "Item": item }), vec!["PutItem U None".to_owned()]),
            ("Query", queried("#p = :p AND begins_with(sk, :s)"), vec![of("Query")]),
            ("Query", queried("(sk < :s) and (pk=:p)"), vec![of("Query")]),
            ("Query", queried("sk = :p"), vec!["Query T None".to_owned()]),
            (
                "Query",
                json!({ "TableName": "T", "IndexName": "I", "KeyConditionExpression": "pk = :p" }),
                vec!["Query T/index/I None".to_owned()],
            ),
            ("Scan", json!({ "TableName": "T" }), vec!["Scan T None".to_owned()]),
            ("ListTables", json!({}), vec!["ListTables * None".to_owned()]),
            (
                "TransactWriteItems",
                json!({ "TransactItems": [
                    { "Put": { "TableName": "T", "Item": item } }, { "Update": { "TableName": "T", "Key": key } },
                    { "Delete": { "TableName": "T", "Key": key } }, { "ConditionCheck": { "TableName": "T", "Key": key } },
                ] }),
                vec![
                    "PutItem T Some([\"7\"])".to_owned(),
                    of("UpdateItem"),
                    of("DeleteItem"),
                    of("ConditionCheckItem"),
                ],
            ),
            (
                "TransactGetItems",
                json!({ "TransactItems": [{ "Get": { "TableName": "T", "Key": key } }] }),
                vec![of("GetItem")],
            ),
            (
                "BatchWriteItem",
                json!({ "RequestItems": { "T": [
                    { "PutRequest": { "Item": item } }, { "DeleteRequest": { "Key": key } } ] } }),
                vec!["BatchWriteItem T Some([\"7\", \"a\"])".to_owned()],
            ),
            (
                "BatchGetItem",
                json!({ "RequestItems": { "T": { "Keys": [key, item] } } }),
                vec!["BatchGetItem T Some([\"a\", \"7\"])".to_owned()],
            ),
        ] {
            assert_eq!(accesses(operation, &request), expected, "{operation} {request}");
        }
    }
}
