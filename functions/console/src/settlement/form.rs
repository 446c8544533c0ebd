//! Settling a record by hand: a form becomes a preview.

use idempotency::protocol::Record;
use payments::{Action, ActionKind, Preview, Proposal, Statement};
use serde::Deserialize;
use uuid::Uuid;

use crate::auth::Actor;
use crate::error::{ConsoleError, FieldProblem};
use crate::record::snapshot;
use crate::records::own_operation;
use crate::settlement::evidence::Weight;
use crate::state::Console;

/// The input of a person or a script. The action determines which fields are used.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(crate) struct SettlementForm {
    /// The provider's id of the charge or refund.
    pub(crate) reference: String,
    /// The evidence that it did not happen.
    pub(crate) evidence: String,
    /// Why the record is settled by hand.
    pub(crate) reason: String,
    /// Whether the danger of a release is understood; any text means yes.
    pub(crate) understood: String,
}

impl SettlementForm {
    /// The input that led to a proposal.
    pub(crate) fn of(proposal: &Proposal) -> Self {
        let form = Self { reason: proposal.reason.clone(), ..Self::default() };
        match &proposal.action {
            Action::Succeed { reference, .. } => Self { reference: reference.clone(), ..form },
            Action::Fail { evidence } => Self { evidence: evidence.clone(), ..form },
            // The operator must confirm the danger again.
            Action::Release => form,
        }
    }
}

impl Console {
    /// Validates the input, and stores it as a preview.
    pub(crate) async fn preview(
        &self,
        actor: &Actor,
        record: &str,
        kind: ActionKind,
        form: &SettlementForm,
    ) -> Result<(Preview, Box<Record>), ConsoleError> {
        actor.require_operator()?;
        let record = self.record(record).await?;
        own_operation(&record)?;
        self.require_open(&record)?;
        let (action, reason) = self.validate(&record, kind, form).await?;
        if kind != ActionKind::Succeed {
            self.check(&record, &action).await?;
        }
        let proposal = Proposal { record: record.id.as_str().to_owned(), shown: snapshot(&record), action, reason };
        let (token, actor, created) = (random_token()?, actor.name.clone(), self.now().0);
        let preview = Preview { token, actor, proposal, created, used: None, approval: None };
        self.table.store_preview(&preview).await.map_err(|error| ConsoleError::unavailable(&error))?;
        Ok((preview, Box::new(record)))
    }

    /// The action and the reason, or all problems of the fields.
    async fn validate(
        &self,
        record: &Record,
        kind: ActionKind,
        form: &SettlementForm,
    ) -> Result<(Action, String), ConsoleError> {
        let mut problems = Vec::new();
        let reason = statement("reason", &form.reason).map_err(|problem| problems.push(problem));
        let action = match kind {
            ActionKind::Succeed => {
                let reference = form.reference.trim();
                match self.verify(record, reference).await {
                    Ok(verified) => Ok(Action::Succeed { reference: reference.to_owned(), verified }),
                    Err(problem) => Err(("reference", problem)),
                }
            }
            ActionKind::Fail => statement("evidence", &form.evidence).map(|evidence| Action::Fail { evidence }),
            ActionKind::Release if form.understood.is_empty() => {
                Err(("understood", "must be confirmed: the next call with this key runs again".to_owned()))
            }
            ActionKind::Release => Ok(Action::Release),
        };
        match (action.map_err(|problem| problems.push(problem)), reason) {
            (Ok(action), Ok(reason)) => Ok((action, reason)),
            (Err(()), _) | (_, Err(())) => Err(ConsoleError::invalid_fields(problems)),
        }
    }

    /// Whether the provider confirms this reference for the record. A contradiction is an error of the field; without
    /// an answer, the preview states that the reference is not verified.
    async fn verify(&self, record: &Record, reference: &str) -> Result<bool, String> {
        let valid = (4..=255).contains(&reference.len())
            && reference.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'_');
        if reference.starts_with("ch_") {
            return Err("is a charge's id; enter that of its payment intent, pi_…".to_owned());
        }
        if !valid {
            return Err("must be the provider's id, for example pi_3Nabc or re_3Nabc".to_owned());
        }
        let answer = self.ask_for(record, reference).await;
        let action = Action::Succeed { reference: reference.to_owned(), verified: true };
        match (answer.weight(&action), answer.reference()) {
            (Weight::Supports, _) => Ok(true),
            (Weight::Inconclusive, _) => Ok(false),
            (Weight::Contradicts, Some(found)) => {
                Err(format!("is not the provider's reference for this transaction, which is {found}"))
            }
            (Weight::Contradicts, None) => Err(format!("is not confirmed by the provider. {}", answer.to_text())),
        }
    }
}

fn statement(field: &'static str, text: &str) -> Result<String, FieldProblem> {
    let statement = Statement::parse(text).ok_or_else(|| (field, "must have 10 to 500 characters".to_owned()))?;
    Ok(statement.to_string())
}

fn random_token() -> Result<Uuid, ConsoleError> {
    let mut bytes = [0; 16];
    getrandom::fill(&mut bytes).map_err(|error| ConsoleError::unavailable(&error))?;
    Ok(Uuid::from_bytes(bytes))
}
