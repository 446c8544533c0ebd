//! JMESPath expressions, with the functions that Powertools adds.

use std::fmt;
use std::io::Read;
use std::sync::{Arc, LazyLock};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use flate2::read::GzDecoder;
use jmespath::functions::{ArgumentType, CustomFunction, Signature};
use jmespath::{ErrorReason, JmespathError, Rcvar, Runtime, Variable};
use serde::Deserialize;

use super::Document;

/// A [JMESPath](https://jmespath.org) expression, such as `powertools_json(body).[user, order]`, for selections that
/// come from Powertools. Otherwise a [`Pointer`](super::Pointer) is cheaper: it copies nothing.
///
/// In addition to JMESPath's own functions, it has `powertools_json`, which parses the JSON in a string,
/// `powertools_base64`, which decodes a string, and `powertools_base64_gzip`, which also decompresses it, to at most 12
/// MB.
///
/// Unlike a pointer, an expression reads numbers as serde_json does: integers of more than 64 bits become floats.
///
/// ```
/// use idempotency::protocol::{Document, Expression};
///
/// let expression = Expression::new("powertools_json(body).[user, order]")?;
/// let event = Document::parse(br#"{"body": "{\"order\": 17, \"user\": \"ann\", \"sent\": \"now\"}"}"#)?;
/// assert_eq!(expression.key(&event).as_deref(), Some(r#"["ann",17]"#));
/// # Ok::<_, Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, PartialEq)]
pub struct Expression(Arc<jmespath::Expression<'static>>);

/// The text is not a JMESPath expression.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("not a JMESPath expression: {0}")]
pub struct InvalidExpression(String);

static RUNTIME: LazyLock<Runtime> = LazyLock::new(|| {
    let mut runtime = Runtime::new();
    runtime.register_builtin_functions();
    let mut register = |name: &str, function: fn(&str) -> Option<Variable>| {
        let name_of_error = name.to_owned();
        let evaluate = move |arguments: &[Rcvar], _: &mut jmespath::Context<'_>| {
            let found = arguments.first().and_then(|argument| argument.as_string()).and_then(|text| function(text));
            let reason = || ErrorReason::Parse(format!("{name_of_error} cannot read its argument"));
            found.map(Rcvar::new).ok_or_else(|| JmespathError::new("", 0, reason()))
        };
        let signature = Signature::new(vec![ArgumentType::String], None);
        runtime.register_function(name, Box::new(CustomFunction::new(signature, Box::new(evaluate))));
    };
    register("powertools_json", |text| Variable::from_json(text).ok());
    register("powertools_base64", |text| String::from_utf8(STANDARD.decode(text).ok()?).ok().map(Variable::String));
    register("powertools_base64_gzip", |text| unzipped(&STANDARD.decode(text).ok()?).map(Variable::String));
    runtime
});

/// The longest text that is decompressed: twice Lambda's largest event.
const LONGEST_BYTES: u64 = 12 * 1024 * 1024;

fn unzipped(gzip: &[u8]) -> Option<String> {
    let mut text = String::new();
    GzDecoder::new(gzip).take(LONGEST_BYTES + 1).read_to_string(&mut text).ok()?;
    (text.len() as u64 <= LONGEST_BYTES).then_some(text)
}

impl Expression {
    /// Parses an expression.
    ///
    /// # Errors
    /// [`InvalidExpression`], which shows where the text is wrong.
    pub fn new(text: &str) -> Result<Self, InvalidExpression> {
        match RUNTIME.compile(text) {
            Ok(expression) => Ok(Self(Arc::new(expression))),
            Err(error) => Err(InvalidExpression(error.to_string())),
        }
    }

    /// Evaluates the expression and returns its selection as a key: a string or number unchanged, anything else as
    /// canonical JSON. `None` if the expression selects nothing, selects only nulls, or fails.
    #[must_use]
    pub fn key(&self, document: &Document) -> Option<String> {
        let selected = self.selected(document)?;
        match selected.as_string() {
            Some(text) => Some(text.clone()),
            None => String::from_utf8(canonical(&selected)?).ok(),
        }
    }

    /// The selection of the expression as canonical JSON.
    pub(crate) fn value(&self, document: &Document) -> Option<Vec<u8>> {
        canonical(&*self.selected(document)?)
    }

    /// The selection, if there is one. As in Powertools, a list or an object that contains only nulls counts as none.
    fn selected(&self, document: &Document) -> Option<Rcvar> {
        let data = Variable::deserialize(document).ok()?;
        let selected = self.0.search(data).ok()?;
        let nothing = match &*selected {
            Variable::Null => true,
            Variable::Array(elements) => elements.iter().all(|element| element.is_null()),
            Variable::Object(members) => members.values().all(|member| member.is_null()),
            Variable::Expref(_) => true,
            Variable::String(_) | Variable::Bool(_) | Variable::Number(_) => false,
        };
        (!nothing).then_some(selected)
    }
}

fn canonical(selected: &Variable) -> Option<Vec<u8>> {
    let json = serde_json::to_vec(selected).ok()?;
    Document::parse(&json).ok().map(|document| document.canonical())
}

impl fmt::Display for Expression {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(self.0.as_str())
    }
}

impl fmt::Debug for Expression {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "Expression({self})")
    }
}

/// Like `PartialEq`, by their text.
impl Eq for Expression {}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::protocol::{Compare, Fingerprinter, NotComparable};

    fn key(expression: &str, document: &str) -> Option<String> {
        Expression::new(expression).unwrap().key(&Document::parse(document.as_bytes()).unwrap())
    }

    #[test]
    fn an_expression_selects_as_powertools_does() {
        let event = r#"{"body": "{\"user\":\"ann\",\"order\":17}", "other": null, "coded": "eyJhIjogMX0=",
            "zipped": "H4sIAAAAAAACA6tWSlSyUjCsBQCXjqH7CAAAAA=="}"#;
        for (expression, selected) in [
            ("powertools_json(body).user", Some("ann")),
            ("powertools_json(body).order", Some("17")),
            ("powertools_json(body).[user, order]", Some(r#"["ann",17]"#)),
            ("powertools_json(body).{o: order, u: user}", Some(r#"{"o":17,"u":"ann"}"#)),
            ("powertools_json(powertools_base64(coded)).a", Some("1")),
            ("powertools_json(powertools_base64_gzip(zipped)).a", Some("1")),
            ("powertools_base64_gzip(coded)", None),
            ("other", None),
            ("missing", None),
            ("[other, missing]", None),
            ("{a: other}", None),
            ("powertools_json(coded)", None),
            ("powertools_json(other)", None),
            ("powertools_base64(body)", None),
        ] {
            assert_eq!(key(expression, event).as_deref(), selected, "{expression}");
        }
        assert!(Expression::new("a.[").is_err() && Expression::new("").is_err());
    }

    #[test]
    fn only_what_an_expression_selects_is_compared() {
        let compare = |text| Compare::Expression(Expression::new(text).unwrap());
        let of = |json: &str, compare: &Compare| {
            Fingerprinter::new().json(json.as_bytes(), compare).map(Fingerprinter::finish)
        };
        let amount = compare("powertools_json(body).[account, amount]");
        let (first, later) = (
            r#"{"body":"{\"account\":\"a\",\"amount\":5,\"sent\":1}"}"#,
            r#"{"body":"{\"amount\":5,\"sent\":2,\"account\":\"a\"}"}"#,
        );
        assert_eq!(of(first, &amount), of(later, &amount));
        assert_ne!(of(first, &amount), of(r#"{"body":"{\"account\":\"a\",\"amount\":6}"}"#, &amount));
        assert_ne!(of(first, &amount), of(first, &compare("powertools_json(body).account")));
        assert!(matches!(of("{}", &amount), Err(NotComparable::NothingSelected(_))));
        assert_ne!(of("text", &amount), of("another text", &amount), "what is not JSON, by its bytes");
    }
}
