//! Calls to a directly invoked function, which has no request or message: its input names the call.

use serde::Serialize;

use super::{Call, Operation};
use crate::protocol::{
    Document, EpochMs, Fingerprinter, InvalidKey, InvalidPrincipal, Key, NotComparable, Pointer, Principal,
};

/// The part of the input that serves as the call's key.
#[derive(Clone, Copy, Debug)]
pub enum InputKey<'a> {
    /// The text or number that the pointer leads to, such as an order's number. The rest of the input may not change:
    /// the same key with another input is [`Outcome::Mismatch`](super::Outcome::Mismatch).
    At(&'a Pointer),
    /// The selection of a JMESPath expression; see [`Expression::key`](crate::protocol::Expression::key).
    #[cfg(feature = "jmespath")]
    Expression(&'a crate::protocol::Expression),
    /// A text that the application obtains elsewhere.
    Text(&'a str),
    /// The whole input, as JSON compared by value. For events without an id: two equal ones are one operation.
    ///
    /// To use the hash of a *part*, pass only that part to [`Call::of_input`] as the input: `&event.order`.
    /// [`At`](Self::At) takes a text or a number, never an object.
    Whole,
}

/// The reason that an input does not name a call.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum InvalidInput {
    /// The input cannot be written as JSON.
    #[error("the input cannot be written as JSON: {0}")]
    NotJson(#[source] serde_json::Error),
    /// The pointer leads to no text or number.
    #[error("the input has no text or number at {0}")]
    NoKey(String),
    /// The text is not a key.
    #[error(transparent)]
    InvalidKey(#[from] InvalidKey),
    /// The operation's [name](Operation::name) is empty.
    #[error(transparent)]
    NoName(#[from] InvalidPrincipal),
    /// The input lacks a value by which the operation [compares](Operation::compare) requests.
    #[error(transparent)]
    NotComparable(#[from] NotComparable),
}

impl Call {
    /// Creates a call to a function that is invoked directly: by Step Functions, EventBridge or another function. Only
    /// the input names the call, not its caller: all callers share the keys of the operation. `deadline` is the
    /// function's (`context.deadline`, in milliseconds).
    ///
    #[cfg_attr(feature = "system", doc = "```")]
    #[cfg_attr(not(feature = "system"), doc = "```ignore")]
    /// use idempotency::engine::InputKey;
    /// use idempotency::protocol::{EpochMs, Pointer};
    /// use idempotency::store::memory::MemoryStore;
    /// use idempotency::{Call, Engine, Operation, Verdict};
    /// use serde_json::{Value, json};
    ///
    /// /// The event's payload, and `context.deadline`.
    /// async fn reserve(
    ///     engine: &Engine<MemoryStore>,
    ///     order: &Value,
    ///     deadline: u64,
    /// ) -> Result<String, Box<dyn std::error::Error>> {
    ///     let (operation, number) = (Operation::new("shop", "reserve"), Pointer::new("/order")?);
    ///     let call = Call::of_input(operation, InputKey::At(&number), order, EpochMs(deadline))?;
    ///     let run = |_| async { Verdict::Success(format!("reserved {}", order["order"])) };
    ///     Ok(engine.run(&call, run).await?.into_result()?)
    /// }
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// # let engine = Engine::builder(MemoryStore::new()).build();
    /// # for _ in 0..2 {
    /// #     let answer = reserve(&engine, &json!({"order": 17}), engine.now().0 + 10_000).await?;
    /// #     assert_eq!(answer, "reserved 17");
    /// # }
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    /// [`InvalidInput`] if the input does not name a call.
    pub fn of_input(
        operation: Operation,
        key: InputKey<'_>,
        input: &impl Serialize,
        deadline: EpochMs,
    ) -> Result<Self, InvalidInput> {
        let json = serde_json::to_vec(input).map_err(InvalidInput::NotJson)?;
        let fingerprint = Fingerprinter::new().json(&json, &operation.compare)?.finish();
        let key = match key {
            InputKey::At(pointer) => {
                let document = Document::parse(&json).ok();
                let text = document.as_ref().and_then(|document| document.text_at(pointer));
                Key::new(text.ok_or_else(|| InvalidInput::NoKey(pointer.to_string()))?)?
            }
            #[cfg(feature = "jmespath")]
            InputKey::Expression(expression) => {
                let document = Document::parse(&json).ok();
                let text = document.and_then(|document| expression.key(&document));
                Key::new(text.ok_or_else(|| InvalidInput::NoKey(expression.to_string()))?)?
            }
            InputKey::Text(text) => Key::new(text)?,
            InputKey::Whole => {
                let whole = Fingerprinter::new().value(&json).finish();
                Key::new(whole.as_bytes().iter().map(|byte| format!("{byte:02x}")).collect::<String>())?
            }
        };
        let principal = Principal::new(operation.name())?;
        Ok(Self::new(operation, principal, key, fingerprint, deadline))
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;
    use crate::protocol::Compare;

    fn call(key: InputKey<'_>, input: &Value) -> Result<Call, InvalidInput> {
        Call::of_input(Operation::new("shop", "reserve"), key, input, EpochMs(1))
    }

    #[test]
    fn the_key_is_what_was_chosen_and_the_rest_of_the_input_is_compared() {
        let order = Pointer::new("/order").unwrap();
        let (first, other) = (json!({"order": 17, "count": 1}), json!({"order": 17, "count": 2}));
        let of = |key, input| call(key, input).unwrap();
        let at = InputKey::At(&order);
        assert_eq!(of(at, &first).record_id(), of(at, &other).record_id());
        assert_ne!(of(at, &first).fingerprint, of(at, &other).fingerprint);
        assert_eq!(of(at, &first).record_id(), of(InputKey::Text("17"), &other).record_id());
        assert_ne!(of(InputKey::Whole, &first).record_id(), of(InputKey::Whole, &other).record_id());
        let reordered = json!({"count": 1, "order": 17});
        assert_eq!(of(InputKey::Whole, &first).record_id(), of(InputKey::Whole, &reordered).record_id());
        let elsewhere = Call::of_input(Operation::new("shop", "ship"), at, &first, EpochMs(1)).unwrap();
        assert_ne!(of(at, &first).record_id(), elsewhere.record_id(), "another operation");
    }

    #[test]
    fn an_input_that_names_no_call_is_an_error_that_says_why() {
        let order = Pointer::new("/order").unwrap();
        for input in [json!({}), json!({"order": null}), json!({"order": ["17"]}), json!("17"), json!(null)] {
            let error = call(InputKey::At(&order), &input).unwrap_err();
            assert_eq!(error.to_string(), "the input has no text or number at /order", "{input}");
        }
        assert!(matches!(call(InputKey::At(&order), &json!({"order": ""})), Err(InvalidInput::InvalidKey(_))));
        assert!(matches!(call(InputKey::Text("undefined"), &json!({})), Err(InvalidInput::InvalidKey(_))));
        let nameless = Call::of_input(Operation::new("shop", ""), InputKey::Whole, &json!({}), EpochMs(1));
        assert!(matches!(nameless, Err(InvalidInput::NoName(_))), "{nameless:?}");
        let unwritable = std::collections::HashMap::from([((1, 2), 3)]);
        let unwritable = Call::of_input(Operation::new("shop", "reserve"), InputKey::Whole, &unwritable, EpochMs(1));
        assert!(matches!(unwritable, Err(InvalidInput::NotJson(_))));
        let compared = crate::protocol::Selection::of(Pointer::new("/amount").unwrap());
        let selects = Operation::new("shop", "reserve").compare(Compare::Selected(compared));
        let lacking = Call::of_input(selects, InputKey::Whole, &json!({}), EpochMs(1));
        assert!(matches!(lacking, Err(InvalidInput::NotComparable(_))));
    }
}
