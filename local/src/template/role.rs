//! The permissions of a role at DynamoDB, Kinesis, SQS and Secrets Manager (AWS, "IAM JSON policy elements reference").
//!
//! Read strictly: an element or a condition that is not known here is an error, never an allowance.

use anyhow::{Context, Result, bail, ensure};
use serde_json::Value;

use super::{intrinsics::Resolver, yaml::members};
use crate::wildcard::is_like;

/// A role and its statements about DynamoDB, Kinesis, SQS and Secrets Manager. What it may do elsewhere has no part
/// here.
#[derive(Debug, Clone, PartialEq)]
pub struct Role {
    pub name: String,
    statements: Vec<Statement>,
    /// Whether it has a policy that is not in the template, so that it may allow more than is known here.
    has_others: bool,
}

/// One action on one resource, as the service checks it before the action.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Access {
    /// `dynamodb:PutItem`.
    pub action: String,
    /// An ARN.
    pub resource: String,
    /// The partition keys of the items that are named; `None` where a request names none.
    pub leading_keys: Option<Vec<String>>,
}

#[derive(Debug, Clone, PartialEq)]
struct Statement {
    denies: bool,
    actions: Vec<String>,
    resources: Vec<String>,
    conditions: Vec<Condition>,
}

/// About `dynamodb:LeadingKeys`.
#[derive(Debug, Clone, PartialEq)]
enum Condition {
    /// Every key matches one of these, which may have wildcards. Holds also where there is none.
    AllLike(Vec<String>),
    /// Every key is one of these. Holds also where there is none.
    AllEqual(Vec<String>),
    /// Whether there is to be none.
    Absent(bool),
}

impl Role {
    /// The role that a property names, with the managed policies of the template; nothing if it is not in the template.
    /// AWS's own managed policies are not known here: none that the template attaches is about these services.
    pub(super) fn named(property: &Value, resources: &Value, resolver: &Resolver<'_>) -> Result<Option<Self>> {
        let Some(name) = property["Fn::GetAtt"][0].as_str() else { return Ok(None) };
        let role = &resources[name];
        ensure!(role["Type"] == "AWS::IAM::Role", "the role {name} is not a role of the template");
        let read = || -> Result<Self> {
            let properties = resolver.resolve(&role["Properties"])?;
            let mut documents: Vec<Value> =
                list(&properties["Policies"]).map(|policy| policy["PolicyDocument"].clone()).collect();
            let mut has_others = members(resources).any(|(_, resource)| attaches_elsewhere(resource));
            for managed in list(&properties["ManagedPolicyArns"]).filter_map(Value::as_str) {
                let policy = &resources[managed];
                match policy["Type"] == "AWS::IAM::ManagedPolicy" {
                    true => documents.push(resolver.resolve(&policy["Properties"]["PolicyDocument"])?),
                    false => has_others = true,
                }
            }
            let statements = documents.iter().flat_map(|document| list(&document["Statement"]));
            let statements = statements.filter(|statement| is_enforced(statement)).map(Statement::read);
            Ok(Self { name: name.to_owned(), statements: statements.collect::<Result<_>>()?, has_others })
        };
        read().map(Some).with_context(|| format!("in the role {name}"))
    }

    /// Fails unless all of these actions are allowed, without a key of an item, as far as that is known here.
    pub(super) fn expect(&self, actions: &[&str], resource: &str) -> Result<()> {
        if self.has_others {
            return Ok(());
        }
        for action in actions {
            let access = Access { action: (*action).to_owned(), resource: resource.to_owned(), leading_keys: None };
            ensure!(self.allows(&access), "the role {} does not allow {action} on {resource}", self.name);
        }
        Ok(())
    }

    /// Whether a statement allows it and none denies it.
    pub fn allows(&self, access: &Access) -> bool {
        let mut matching = self.statements.iter().filter(|statement| statement.matches(access)).peekable();
        matching.peek().is_some() && matching.all(|statement| !statement.denies)
    }
}

impl Statement {
    fn read(statement: &Value) -> Result<Self> {
        for (element, _) in members(statement) {
            ensure!(
                ["Sid", "Effect", "Action", "Resource", "Condition"].contains(&element.as_str()),
                "the local stack does not know the element {element} of a statement"
            );
        }
        let conditions = members(&statement["Condition"]).flat_map(|(operator, keys)| {
            members(keys).map(move |(key, values)| Condition::read(operator, key, values))
        });
        Ok(Self {
            denies: match statement["Effect"].as_str() {
                Some("Allow") => false,
                Some("Deny") => true,
                _ => bail!("the Effect of a statement must be Allow or Deny"),
            },
            actions: texts(&statement["Action"]),
            resources: texts(&statement["Resource"]),
            conditions: conditions.collect::<Result<_>>()?,
        })
    }

    fn matches(&self, access: &Access) -> bool {
        let action = access.action.to_ascii_lowercase();
        self.actions.iter().any(|pattern| is_like(&action, &pattern.to_ascii_lowercase()))
            && self.resources.iter().any(|pattern| is_like(&access.resource, pattern))
            && self.conditions.iter().all(|condition| condition.holds(access.leading_keys.as_deref()))
    }
}

impl Condition {
    fn read(operator: &str, key: &str, values: &Value) -> Result<Self> {
        match (operator, key) {
            ("ForAllValues:StringLike", "dynamodb:LeadingKeys") => Ok(Self::AllLike(texts(values))),
            ("ForAllValues:StringEquals", "dynamodb:LeadingKeys") => Ok(Self::AllEqual(texts(values))),
            ("Null", "dynamodb:LeadingKeys") => match texts(values).as_slice() {
                [one] if one == "true" || one == "false" => Ok(Self::Absent(one == "true")),
                _ => bail!("Null takes true or false"),
            },
            _ => bail!("the local stack does not know the condition {operator} of {key}"),
        }
    }

    /// A set operator holds where there is nothing to compare (AWS, "Multivalued context keys"); only `Null` tells.
    fn holds(&self, leading_keys: Option<&[String]>) -> bool {
        let keys = leading_keys.unwrap_or_default();
        match self {
            Self::AllLike(patterns) => keys.iter().all(|key| patterns.iter().any(|pattern| is_like(key, pattern))),
            Self::AllEqual(values) => keys.iter().all(|key| values.contains(key)),
            Self::Absent(absent) => keys.is_empty() == *absent,
        }
    }
}

/// Whether it is a policy that names its roles, instead of being named by them.
fn attaches_elsewhere(resource: &Value) -> bool {
    matches!(resource["Type"].as_str(), Some("AWS::IAM::Policy" | "AWS::IAM::RolePolicy"))
        || resource["Type"] == "AWS::IAM::ManagedPolicy" && !resource["Properties"]["Roles"].is_null()
}

/// A statement with `NotAction` or `NotResource` is read as well, and refused.
fn is_enforced(statement: &Value) -> bool {
    let actions = texts(&statement["Action"]);
    actions.is_empty()
        || actions.iter().any(|action| {
            let action = action.to_ascii_lowercase();
            let service = action.split_once(':').map_or("*", |(service, _)| service);
            ["dynamodb", "kinesis", "secretsmanager", "sqs"].contains(&service) || service.contains('*')
        })
}

fn list(value: &Value) -> impl Iterator<Item = &Value> {
    match value {
        Value::Array(items) => items.as_slice(),
        Value::Null => &[],
        one => std::slice::from_ref(one),
    }
    .iter()
}

fn texts(value: &Value) -> Vec<String> {
    list(value).map(|item| item.as_str().map_or_else(|| item.to_string(), str::to_owned)).collect()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn role(statements: Value) -> Role {
        let statements = list(&statements).map(Statement::read).collect::<Result<_>>().expect("readable");
        Role { name: "R".to_owned(), statements, has_others: false }
    }

    fn access(action: &str, resource: &str, keys: Option<&[&str]>) -> Access {
        let leading_keys = keys.map(|keys| keys.iter().map(|key| (*key).to_owned()).collect());
        Access { action: format!("dynamodb:{action}"), resource: resource.to_owned(), leading_keys }
    }

    #[test]
    fn an_action_is_allowed_on_the_resource_and_the_kinds_of_keys_that_a_statement_names() {
        let role = role(json!([
            { "Effect": "Allow", "Action": ["dynamodb:PutItem", "dynamodb:GetItem"], "Resource": "t", "Condition": {
                "ForAllValues:StringLike": { "dynamodb:LeadingKeys": ["payment#*", "audit"] },
                "Null": { "dynamodb:LeadingKeys": "false" } } },
            { "Effect": "Allow", "Action": "dynamodb:Scan", "Resource": ["t", "t/index/*"] },
        ]));
        for allowed in [
            access("PutItem", "t", Some(&["payment#1"])),
            access("putitem", "t", Some(&["payment#1", "audit"])),
            access("Scan", "t", None),
            access("Scan", "t/index/unresolved", None),
        ] {
            assert!(role.allows(&allowed), "{allowed:?}");
        }
        for refused in [
            access("PutItem", "t", Some(&["account#1"])),
            access("PutItem", "t", Some(&["payment#1", "account#1"])),
            access("PutItem", "t", Some(&["audit#"])),
            access("PutItem", "t", Some(&[])),
            access("PutItem", "t", None),
            access("PutItem", "u", Some(&["audit"])),
            access("DeleteItem", "t", Some(&["audit"])),
            access("Scan", "tt", None),
        ] {
            assert!(!role.allows(&refused), "{refused:?}");
        }
    }

    #[test]
    fn without_a_null_check_a_request_that_names_no_key_passes_a_set_operator() {
        let condition = json!({ "ForAllValues:StringLike": { "dynamodb:LeadingKeys": ["payment#*"] } });
        let statement = json!({ "Effect": "Allow", "Action": "dynamodb:*", "Resource": "*", "Condition": condition });
        assert!(role(statement.clone()).allows(&access("Scan", "t", None)), "as IAM has it");
        let mut checked = statement;
        checked["Condition"]["Null"] = json!({ "dynamodb:LeadingKeys": "false" });
        assert!(!role(checked).allows(&access("Scan", "t", None)));
    }

    #[test]
    fn what_is_denied_is_not_allowed() {
        let role = role(json!([
            { "Effect": "Allow", "Action": "dynamodb:*", "Resource": "*" },
            { "Effect": "Deny", "Action": "dynamodb:Delete*", "Resource": "t" },
        ]));
        assert!(role.allows(&access("PutItem", "t", None)) && role.allows(&access("DeleteItem", "u", None)));
        assert!(!role.allows(&access("DeleteItem", "t", Some(&["audit"]))));
    }

    #[test]
    fn what_is_not_known_of_a_statement_is_an_error() {
        let base = json!({ "Effect": "Allow", "Action": "dynamodb:PutItem", "Resource": "t" });
        assert!(Statement::read(&base).is_ok());
        for (element, value) in [
            ("NotAction", json!("dynamodb:Scan")),
            ("Effect", json!("Perhaps")),
            ("Condition", json!({ "StringLike": { "dynamodb:LeadingKeys": "a*" } })),
            ("Condition", json!({ "ForAnyValue:StringLike": { "dynamodb:LeadingKeys": "a*" } })),
            ("Condition", json!({ "ForAllValues:StringLike": { "dynamodb:Attributes": "a*" } })),
            ("Condition", json!({ "Null": { "dynamodb:LeadingKeys": "no" } })),
        ] {
            let mut statement = base.clone();
            statement[element] = value;
            assert!(Statement::read(&statement).is_err(), "{statement}");
        }
    }
}
