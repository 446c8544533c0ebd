//! The queries that the template saves.

use std::collections::BTreeMap;

use serde_json::Value;

#[derive(Debug)]
pub(crate) struct SavedQuery {
    pub(crate) groups: Vec<String>,
    pub(crate) text: String,
}

/// By name, from the template's resources.
pub(crate) fn of(resources: &BTreeMap<String, Value>) -> BTreeMap<String, SavedQuery> {
    let queries = resources.values().filter(|resource| resource["Type"] == "AWS::Logs::QueryDefinition");
    let query = |resource: &Value| {
        let properties = &resource["Properties"];
        let groups = properties["LogGroupNames"].as_array().map(Vec::as_slice).unwrap_or_default();
        let groups = groups.iter().filter_map(Value::as_str).map(str::to_owned).collect();
        let text = properties["QueryString"].as_str()?.to_owned();
        Some((properties["Name"].as_str()?.to_owned(), SavedQuery { groups, text }))
    };
    queries.filter_map(query).collect()
}

/// The query with this name; the folder before it can be left out.
pub(crate) fn find<'q>(queries: &'q BTreeMap<String, SavedQuery>, name: &str) -> Option<&'q SavedQuery> {
    let is_named = |full: &str| full == name || full.rsplit('/').next() == Some(name);
    queries.iter().find(|(full, _)| is_named(full)).map(|(_, query)| query)
}
