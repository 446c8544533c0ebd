use serde_json::{Map, Value};

use super::Role;

/// The claims of a token that have its holder's name and role.
#[derive(Clone, Debug)]
pub(crate) struct Roles {
    /// The claim with the name by which the audit knows a person; nobody else may ever have it.
    pub(crate) name_claim: String,
    /// The claim with the role: a string, or a list of strings, such as groups.
    pub(crate) claim: String,
    /// The value of the claim for a viewer.
    pub(crate) viewer: String,
    /// The value of the claim for an operator.
    pub(crate) operator: String,
}

impl Roles {
    pub(super) fn name_claim(&self) -> &str {
        &self.name_claim
    }

    /// The role in these claims; operator if both are present.
    pub(super) fn of(&self, claims: &Map<String, Value>) -> Option<Role> {
        let value = claims.get(&self.claim)?;
        let has = |text: &str| match value {
            Value::String(one) => one == text,
            Value::Array(several) => several.iter().any(|one| one.as_str() == Some(text)),
            Value::Null | Value::Bool(_) | Value::Number(_) | Value::Object(_) => false,
        };
        if has(&self.operator) {
            return Some(Role::Operator);
        }
        has(&self.viewer).then_some(Role::Viewer)
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_role_is_one_text_or_one_of_a_list_and_nothing_else() {
        let roles = Roles {
            name_claim: "sub".to_owned(),
            claim: "groups".to_owned(),
            viewer: "support".to_owned(),
            operator: "payments-operators".to_owned(),
        };
        let of =
            |value: Value| roles.of(json!({ "groups": value, "role": "operator" }).as_object().expect("an object"));
        for (value, role) in [
            (json!("support"), Some(Role::Viewer)),
            (json!("payments-operators"), Some(Role::Operator)),
            (json!(["other", "support"]), Some(Role::Viewer)),
            (json!(["support", "payments-operators"]), Some(Role::Operator)),
            (json!("operator"), None),
            (json!("Support"), None),
            (json!("support payments-operators"), None),
            (json!({ "support": true }), None),
            (json!([]), None),
            (json!([["support"]]), None),
            (json!(true), None),
            (json!(null), None),
        ] {
            assert_eq!(of(value.clone()), role, "{value}");
        }
        assert_eq!(roles.of(&Map::new()), None);
    }
}
