//! Settling a record by hand: a form becomes a preview.

use idempotency::protocol::Record;
use payments::{Action, Preview, Statement};
use serde::Deserialize;
use uuid::Uuid;

use crate::auth::Actor;
use crate::error::Refusal;
use crate::evidence::Weight;
use crate::format;
use crate::record::{Standing, ours, shown};
use crate::state::Console;

/// What an operator can do with a record that is open; the last part of a URL.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Verb {
    Succeed,
    Fail,
    Release,
}

/// What a form or a script asks for. Which fields count depends on the verb.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(crate) struct Wish {
    /// The provider's id of what happened.
    pub(crate) reference: String,
    /// What shows that it did not happen.
    pub(crate) evidence: String,
    /// Why it is done by hand.
    pub(crate) reason: String,
    /// Whether the danger of a release is understood; any text says yes.
    pub(crate) understood: String,
    /// Of forms only.
    pub(crate) csrf: String,
}

/// Why there is no preview.
#[derive(Debug)]
pub(crate) enum NotPreviewed {
    /// Fields and what is wrong with them.
    Invalid(Vec<(&'static str, String)>),
    Refused(Refusal),
}

impl Verb {
    pub(crate) const ALL: [Self; 3] = [Self::Succeed, Self::Fail, Self::Release];

    pub(crate) fn as_str(self) -> &'static str {
        match self {
            Self::Succeed => "succeed",
            Self::Fail => "fail",
            Self::Release => "release",
        }
    }

    pub(crate) fn title(self) -> &'static str {
        match self {
            Self::Succeed => "Settle as succeeded",
            Self::Fail => "Settle as failed",
            Self::Release => "Release for retry",
        }
    }
}

impl From<Refusal> for NotPreviewed {
    fn from(refusal: Refusal) -> Self {
        Self::Refused(refusal)
    }
}

impl Console {
    /// Checks what an operator wants, and stores it as a preview.
    pub(crate) async fn preview(
        &self,
        actor: &Actor,
        record: &str,
        verb: Verb,
        wish: &Wish,
    ) -> Result<(Preview, Box<Record>), NotPreviewed> {
        actor.may_act()?;
        let record = self.record(record).await?;
        ours(&record)?;
        is_open(&record)?;
        let (action, reason) = self.checked(&record, verb, wish).await?;
        if verb != Verb::Succeed {
            self.hear(&record, &action).await?;
        }
        let preview = Preview {
            token: token()?,
            actor: actor.name.clone(),
            record: record.id.as_str().to_owned(),
            shown: shown(&record),
            action,
            reason,
            created: format::now().0,
            used: None,
            approval: None,
        };
        self.table.store_preview(&preview).await.map_err(|error| Refusal::unavailable(&error))?;
        Ok((preview, Box::new(record)))
    }

    /// The action and the reason, or all that is wrong with the fields.
    async fn checked(&self, record: &Record, verb: Verb, wish: &Wish) -> Result<(Action, String), NotPreviewed> {
        const STATEMENT: &str = "must have 10 to 500 characters";
        let mut problems = Vec::new();
        let reason = Statement::parse(&wish.reason);
        if reason.is_none() {
            problems.push(("reason", STATEMENT.to_owned()));
        }
        let action = match verb {
            Verb::Succeed => match self.verified(record, wish.reference.trim()).await {
                Ok(verified) => Some(Action::Succeed { reference: wish.reference.trim().to_owned(), verified }),
                Err(problem) => {
                    problems.push(("reference", problem));
                    None
                }
            },
            Verb::Fail => {
                let evidence = Statement::parse(&wish.evidence);
                if evidence.is_none() {
                    problems.push(("evidence", STATEMENT.to_owned()));
                }
                evidence.map(|evidence| Action::Fail { evidence: evidence.to_string() })
            }
            Verb::Release if wish.understood.is_empty() => {
                problems.push(("understood", "must be confirmed: the next call with this key runs again".to_owned()));
                None
            }
            Verb::Release => Some(Action::Release),
        };
        match (action, reason) {
            (Some(action), Some(reason)) if problems.is_empty() => Ok((action, reason.to_string())),
            _ => Err(NotPreviewed::Invalid(problems)),
        }
    }

    /// Whether the provider confirms that this is what came of the record. Where it contradicts, nothing is previewed;
    /// where it does not answer, the preview says so.
    async fn verified(&self, record: &Record, reference: &str) -> Result<bool, String> {
        let valid = (4..=255).contains(&reference.len())
            && reference.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'_');
        if !valid {
            return Err("must be the provider's id, for example pi_3Nabc or re_3Nabc".to_owned());
        }
        let answer = self.ask_for(record, reference).await;
        let wanted = Action::Succeed { reference: reference.to_owned(), verified: true };
        match (answer.weight(&wanted), answer.reference()) {
            (Weight::For, _) => Ok(true),
            (Weight::Silent, _) => Ok(false),
            (Weight::Against, Some(found)) => {
                Err(format!("is not what the provider has of this transaction, which is {found}"))
            }
            (Weight::Against, None) => Err(format!("is not confirmed by the provider. {}", answer.in_words())),
        }
    }
}

pub(crate) fn is_open(record: &Record) -> Result<(), Refusal> {
    match Standing::of(record, format::now()) {
        Standing::Open => Ok(()),
        Standing::Held(until) => {
            Err(Refusal::not_open(format!("Somebody holds it until {}. Look again then.", format::time(until))))
        }
        Standing::Closed => Err(Refusal::not_open("Its outcome is known already. Look at the record.")),
    }
}

fn token() -> Result<Uuid, Refusal> {
    let mut bytes = [0; 16];
    getrandom::fill(&mut bytes).map_err(|error| Refusal::unavailable(&error))?;
    Ok(Uuid::from_bytes(bytes))
}
