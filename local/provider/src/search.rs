//! The search query language (Stripe, "Search"), as far as intents are searched: `metadata['name']:'value'` and
//! `status:'value'`, joined by `AND`.
//!
//! Stripe's index lags behind by up to a minute; this one does not. Nothing may rely on that: not found is no evidence.

use crate::{error::ApiError, intent::Intent};

#[derive(Debug)]
pub struct Query(Vec<Clause>);

#[derive(Debug, PartialEq, Eq)]
enum Clause {
    Metadata { name: String, value: String },
    Status(String),
}

impl Query {
    pub fn parse(text: &str) -> Result<Self, ApiError> {
        let mut clauses = Vec::new();
        let mut rest = text.trim();
        loop {
            let (clause, after) = clause(rest).ok_or_else(|| {
                ApiError::invalid(&format!("We were unable to parse your search query: {text}")).with_parameter("query")
            })?;
            clauses.push(clause);
            rest = match after.trim_start() {
                "" => return Ok(Self(clauses)),
                more => more.strip_prefix("AND ").or_else(|| more.strip_prefix("and ")).unwrap_or(more).trim_start(),
            };
        }
    }

    pub fn matches(&self, intent: &Intent) -> bool {
        self.0.iter().all(|clause| match clause {
            Clause::Metadata { name, value } => intent.metadata.get(name) == Some(value),
            Clause::Status(status) => intent.status.as_str() == status,
        })
    }
}

fn clause(text: &str) -> Option<(Clause, &str)> {
    if let Some(rest) = text.strip_prefix("metadata[") {
        let (name, rest) = quoted(rest)?;
        let (value, rest) = quoted(rest.strip_prefix("]:")?)?;
        return Some((Clause::Metadata { name, value }, rest));
    }
    let (value, rest) = quoted(text.strip_prefix("status:")?)?;
    Some((Clause::Status(value), rest))
}

/// A string in single or double quotes, with `\` before a quote that belongs to it.
fn quoted(text: &str) -> Option<(String, &str)> {
    let mut characters = text.char_indices();
    let (_, quote) = characters.next().filter(|(_, first)| matches!(first, '\'' | '"'))?;
    let mut value = String::new();
    while let Some((index, character)) = characters.next() {
        match character {
            '\\' => value.push(characters.next()?.1),
            end if end == quote => return Some((value, &text[index + quote.len_utf8()..])),
            other => value.push(other),
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn clauses_are_read_with_either_quote_and_escapes() {
        let query = Query::parse(r#"metadata['transaction']:'it\'s' AND status:"succeeded""#).expect("a query");
        assert_eq!(
            query.0,
            [
                Clause::Metadata { name: "transaction".to_owned(), value: "it's".to_owned() },
                Clause::Status("succeeded".to_owned())
            ]
        );
        for wrong in ["", "metadata[transaction]:'x'", "amount>1", "status:'open"] {
            assert!(Query::parse(wrong).is_err(), "{wrong}");
        }
    }
}
