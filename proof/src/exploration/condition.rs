//! Evaluates conditions as DynamoDB does, in the forms that the library uses.

use std::cmp::Ordering;

/// Whether a condition holds. `compare` compares the item's attribute, given by its name placeholder, with a value
/// placeholder; without one it returns whether the attribute exists.
///
/// # Panics
/// If the library writes a new form of condition. In that case extend this function.
pub(super) fn holds(condition: Option<&str>, compare: impl Fn(&str, Option<&str>) -> Option<Ordering>) -> bool {
    let Some(condition) = condition else { return true };
    let holds = |term: &str| {
        if let Some(name) = term.strip_prefix("attribute_not_exists(").and_then(|rest| rest.strip_suffix(')')) {
            return compare(name, None).is_none();
        }
        match term.split(' ').collect::<Vec<_>>()[..] {
            [name, "=", value] => compare(name, Some(value)) == Some(Ordering::Equal),
            // A missing attribute is unequal to every value.
            [name, "<>", value] => compare(name, Some(value)) != Some(Ordering::Equal),
            [name, "<", value] => compare(name, Some(value)) == Some(Ordering::Less),
            [name, "<=", value] => compare(name, Some(value)).is_some_and(Ordering::is_le),
            _ => panic!("not a condition that is known here: {condition}"),
        }
    };
    condition.split(" OR ").any(|terms| terms.split(" AND ").all(holds))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_condition_is_that_of_dynamodb() {
        let compare = |mark: Option<u64>| {
            move |_: &str, value: Option<&str>| {
                let value = value.map(|value| value.trim_start_matches(':').parse().expect("a number"));
                mark.map(|mark| value.map_or(Ordering::Equal, |value| mark.cmp(&value)))
            }
        };
        for (condition, none, two, three) in [
            ("attribute_not_exists(#mark)", true, false, false),
            ("#mark = :2", false, true, false),
            ("#mark < :3", false, true, false),
            ("#mark <= :2", false, true, false),
            ("#mark <> :2", true, false, true),
            ("#mark <= :3 AND #mark <> :2", false, false, true),
            ("attribute_not_exists(#mark) OR #mark <= :3 AND #mark = :3", true, false, true),
            ("attribute_not_exists(#mark) OR #mark < :3", true, true, false),
        ] {
            let held = [None, Some(2), Some(3)].map(|mark| holds(Some(condition), compare(mark)));
            assert_eq!(held, [none, two, three], "{condition}");
        }
        assert!(holds(None, compare(None)));
    }
}
