//! The conditions of the protocol as DynamoDB expressions.

use std::collections::HashMap;

use aws_sdk_dynamodb::error::BuildError;
use aws_sdk_dynamodb::types::{AttributeValue, Put, ReturnValuesOnConditionCheckFailure};

use super::{AttributeNames, item};
use crate::protocol::{Condition, RecordVersion};

/// A request's condition, with the names and values that it refers to.
pub(super) struct Expression<'a> {
    attributes: &'a AttributeNames,
    pub(super) condition: String,
    pub(super) names: Option<HashMap<String, String>>,
    pub(super) values: Option<HashMap<String, AttributeValue>>,
}

impl<'a> Expression<'a> {
    /// The expression for this condition.
    pub(super) fn of(condition: &Condition, attributes: &'a AttributeNames) -> Self {
        let mut expression = Self { attributes, condition: String::new(), names: None, values: None };
        expression.condition = match condition {
            Condition::Vacant { now } => {
                let id = expression.name("#id", &attributes.id);
                let expiration = expression.name("#expiration", &attributes.expiration);
                let now = expression.value(":now", item::number(now.0));
                format!("attribute_not_exists({id}) OR {expiration} <= {now}")
            }
            Condition::Unchanged(seen) => expression.unchanged(seen),
            Condition::Owned { owner } => {
                let name = expression.name("#owner", &attributes.owner);
                let value = expression.value(":owner", item::binary(owner.0));
                format!("{name} = {value}")
            }
        };
        expression
    }

    fn unchanged(&mut self, seen: &RecordVersion) -> String {
        let attributes = self.attributes;
        let transaction = Some(item::string(seen.transaction.to_string()));
        let expected = [
            ("#status", ":seen_status", &attributes.status, Some(item::string(seen.status.as_str()))),
            ("#transaction", ":seen_transaction", &attributes.transaction, transaction),
            ("#attempt", ":seen_attempt", &attributes.attempt, Some(item::number(seen.attempt))),
            ("#owner", ":seen_owner", &attributes.owner, seen.owner.map(|owner| item::binary(owner.0))),
            ("#lease", ":seen_lease", &attributes.lease, seen.lease.map(|lease| item::number(lease.0))),
        ];
        let terms = expected.map(|(name_placeholder, value_placeholder, attribute, value)| {
            let name = self.name(name_placeholder, attribute);
            match value {
                Some(value) => format!("{name} = {}", self.value(value_placeholder, value)),
                None => format!("attribute_not_exists({name})"),
            }
        });
        terms.join(" AND ")
    }

    pub(super) fn into_put(self, table: &str, item: HashMap<String, AttributeValue>) -> Result<Put, BuildError> {
        Put::builder()
            .table_name(table)
            .set_item(Some(item))
            .condition_expression(self.condition)
            .set_expression_attribute_names(self.names)
            .set_expression_attribute_values(self.values)
            .return_values_on_condition_check_failure(ReturnValuesOnConditionCheckFailure::AllOld)
            .build()
    }

    /// The text that stands for an attribute in the condition: its name or a placeholder.
    fn name(&mut self, placeholder: &'static str, attribute: &'a str) -> &'a str {
        if UNRESERVED.contains(&attribute) {
            return attribute;
        }
        self.names.get_or_insert_default().insert(placeholder.to_owned(), attribute.to_owned());
        placeholder
    }

    fn value(&mut self, placeholder: &'static str, value: AttributeValue) -> &'static str {
        self.values.get_or_insert_default().insert(placeholder.to_owned(), value);
        placeholder
    }
}

/// The names in the most frequent condition that are not [reserved words][words]. Any other name may be reserved, as
/// `status` is, and gets a placeholder.
///
/// [words]: https://docs.aws.amazon.com/amazondynamodb/latest/developerguide/ReservedWords.html
const UNRESERVED: [&str; 2] = ["id", "expiration"];

#[cfg(test)]
mod tests {
    use super::*;
    use crate::protocol::{EpochMs, EpochS, OwnerToken, Status, TransactionId};

    #[test]
    fn the_conditions_read_as_the_protocol_states_them() {
        let names = AttributeNames::default();
        let text = |condition| Expression::of(&condition, &names).condition;
        assert_eq!(text(Condition::Vacant { now: EpochS(1) }), "attribute_not_exists(id) OR expiration <= :now");
        assert_eq!(text(Condition::Owned { owner: OwnerToken([0; 16]) }), "#owner = :owner");
        let seen = RecordVersion {
            status: Status::Unknown,
            transaction: TransactionId::new(EpochMs(1), [0; 10]),
            attempt: 2,
            owner: None,
            lease: None,
        };
        assert_eq!(
            text(Condition::Unchanged(seen)),
            "#status = :seen_status AND #transaction = :seen_transaction AND #attempt = :seen_attempt \
             AND attribute_not_exists(#owner) AND attribute_not_exists(#lease)"
        );
    }

    #[test]
    fn a_name_that_may_be_a_reserved_word_gets_a_placeholder() {
        let names = AttributeNames { id: "key".into(), expiration: "ttl".into(), ..AttributeNames::default() };
        let expression = Expression::of(&Condition::Vacant { now: EpochS(1) }, &names);
        assert_eq!(expression.condition, "attribute_not_exists(#id) OR #expiration <= :now");
        let placeholders = [("#id", "key"), ("#expiration", "ttl")].map(|(a, b)| (a.to_owned(), b.to_owned()));
        assert_eq!(expression.names, Some(HashMap::from(placeholders)));
    }
}
