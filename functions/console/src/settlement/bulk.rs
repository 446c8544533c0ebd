//! One action for several records of one state. Each record has the same checks, audit entry, result and, if needed,
//! approval as if it were settled alone. Records that were settled or have changed since they were chosen are left out,
//! and nothing is done to them.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use axum::http::StatusCode;
use futures::{StreamExt, stream};
use idempotency::protocol::{EpochMs, Record, State, Status};
use payments::{ActionKind, Invocation, Preview};
use serde::Deserialize;

use crate::auth::Actor;
use crate::error::{ConsoleError, LeftOut};
use crate::format;
use crate::provider_status::ProviderAnswer;
use crate::record::{short, snapshot};
use crate::records::own_operation;
use crate::settlement::confirmable::Confirmable;
use crate::settlement::confirmation::Confirmation;
use crate::settlement::form::SettlementForm;
use crate::settlement::reconciliation::Search;
use crate::state::Console;

/// The most records of one bulk action.
pub(crate) const MAX_CHOSEN: usize = 25;

/// How many records are processed at once; few, because the provider's rate limit is shared with the API.
const AT_ONCE: usize = 5;

/// How long before the invocation's deadline no further record is begun: as long as the slowest settlement may take.
const RESERVE: Duration = Duration::from_secs(13);

/// What can be done with several records.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum BulkAction {
    Ask,
    Reconcile,
    Succeed,
    Fail,
    Release,
}

/// What is done, for what, and why.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(crate) struct BulkForm {
    /// The records, as in URLs.
    pub(crate) records: Vec<String>,
    /// The versions that the operator has seen, by record.
    #[serde(skip)]
    pub(crate) seen: BTreeMap<String, String>,
    /// The name of the bulk action: of an incident, for example. The audit has it in every reason.
    pub(crate) name: String,
    pub(crate) evidence: String,
    pub(crate) reason: String,
    pub(crate) understood: String,
}

/// The result for one record.
#[derive(Debug)]
pub(crate) struct BulkItem<T> {
    /// The record, as in URLs.
    pub(crate) record: String,
    pub(crate) result: Result<T, Hindrance>,
}

/// Why there is no result.
#[derive(Debug)]
pub(crate) enum Hindrance {
    /// The record was left out of the action.
    LeftOut(ConsoleError),
    Problem(ConsoleError),
}

/// What happened to a record without a preview.
#[derive(Debug)]
pub(crate) enum Looked {
    Asked(ProviderAnswer),
    Searched(Search),
}

impl BulkAction {
    pub(crate) const ALL: [Self; 5] = [Self::Reconcile, Self::Ask, Self::Succeed, Self::Fail, Self::Release];

    pub(crate) fn parse(word: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|action| action.as_str() == word)
    }

    pub(crate) const fn as_str(self) -> &'static str {
        match self {
            Self::Ask => "ask",
            Self::Reconcile => "reconcile",
            Self::Succeed => ActionKind::Succeed.as_str(),
            Self::Fail => ActionKind::Fail.as_str(),
            Self::Release => ActionKind::Release.as_str(),
        }
    }

    pub(crate) fn title(self) -> &'static str {
        match (self, self.settlement()) {
            (_, Some(kind)) => format::action_title(kind),
            (Self::Ask, None) => "Ask the provider",
            (_, None) => "Let the reconciler try now",
        }
    }

    /// The settlement that it is, if it needs a preview.
    pub(crate) const fn settlement(self) -> Option<ActionKind> {
        match self {
            Self::Ask | Self::Reconcile => None,
            Self::Succeed => Some(ActionKind::Succeed),
            Self::Fail => Some(ActionKind::Fail),
            Self::Release => Some(ActionKind::Release),
        }
    }
}

impl Looked {
    pub(crate) fn detail(&self) -> String {
        match self {
            Self::Asked(answer) => answer.to_text(),
            Self::Searched(search) => search.detail.clone(),
        }
    }
}

impl BulkForm {
    /// The bulk action's name, if it is valid.
    fn name(&self) -> Result<&str, ConsoleError> {
        let name = self.name.trim();
        let is_name = (3..=60).contains(&name.chars().count()) && !name.chars().any(char::is_control);
        let problem = || ConsoleError::invalid_fields(vec![("name", "must have 3 to 60 characters".to_owned())]);
        is_name.then_some(name).ok_or_else(problem)
    }

    /// The form for each record; its reason begins with the bulk action's name.
    fn of_each(&self) -> Result<SettlementForm, ConsoleError> {
        let (name, reason) = (self.name()?, self.reason.trim());
        // The minimum length applies to the operator's text, without the name.
        let reason = if reason.chars().count() < 10 { reason.to_owned() } else { format!("{name}: {reason}") };
        let (evidence, understood) = (self.evidence.clone(), self.understood.clone());
        Ok(SettlementForm { reference: String::new(), evidence, reason, understood })
    }

    /// The records that are chosen, each once.
    fn chosen(&self) -> Result<Vec<String>, ConsoleError> {
        let mut seen = BTreeSet::new();
        let chosen: Vec<_> = self.records.iter().filter(|record| seen.insert(record.as_str())).cloned().collect();
        match chosen.len() {
            0 => Err(ConsoleError::invalid("Choose at least one record.")),
            1..=MAX_CHOSEN => Ok(chosen),
            more => Err(ConsoleError::invalid(format!("{more} records are chosen; the maximum is {MAX_CHOSEN}."))),
        }
    }
}

impl<T> BulkItem<T> {
    /// Applies an action to the item's record, if it has one.
    async fn and_then<U>(self, action: impl AsyncFnOnce(T) -> Result<U, ConsoleError>) -> BulkItem<U> {
        let result = match self.result {
            Ok(record) => action(record).await.map_err(Hindrance::Problem),
            Err(hindrance) => Err(hindrance),
        };
        BulkItem { record: self.record, result }
    }
}

impl Hindrance {
    pub(crate) const fn error(&self) -> &ConsoleError {
        match self {
            Self::LeftOut(error) | Self::Problem(error) => error,
        }
    }
}

impl Console {
    /// The chosen records that are still open and in the version that the operator saw; for each other one, why it is
    /// left out.
    ///
    /// # Errors
    /// When none is left.
    pub(crate) async fn chosen(&self, form: &BulkForm) -> Result<Vec<BulkItem<Record>>, ConsoleError> {
        let records = stream::iter(form.chosen()?).map(async |record| {
            let seen = form.seen.get(&record).map(String::as_str);
            let result = self.chosen_one(&record, seen).await;
            result.map(|result| BulkItem { record, result })
        });
        let items: Vec<Result<_, ConsoleError>> = records.buffered(AT_ONCE).collect().await;
        let items = of_one_state(items.into_iter().collect::<Result<_, _>>()?);
        if items.iter().any(|item| item.result.is_ok()) {
            return Ok(items);
        }
        let left_out = items.iter().filter_map(|item| {
            let error = item.result.as_ref().err()?.error();
            Some(LeftOut { record: item.record.clone(), code: error.code, detail: error.detail.clone() })
        });
        Err(ConsoleError::none_left(left_out.collect()))
    }

    /// The record, or why it is left out; an error if it cannot be read.
    async fn chosen_one(&self, id: &str, seen: Option<&str>) -> Result<Result<Record, Hindrance>, ConsoleError> {
        let left_out = |error| Ok(Err(Hindrance::LeftOut(error)));
        let record = match self.record(id).await {
            Ok(record) => record,
            Err(error) if error.status == StatusCode::NOT_FOUND => return left_out(error),
            Err(error) => return Err(error),
        };
        if let Err(error) = own_operation(&record) {
            return left_out(error);
        }
        let at = format::time(record.updated);
        let settled =
            |as_what: &str| left_out(ConsoleError::not_open(format!("It was settled as {as_what}, at {at}.")));
        match &record.state {
            State::Success(_) => settled("SUCCESS"),
            State::Failed(_) => settled("FAILED"),
            State::Released { .. } => left_out(ConsoleError::not_open(format!(
                "It was released, at {at}: nothing was executed, and the client's next request runs."
            ))),
            State::Processing(_) | State::Unknown(_) if seen.is_some_and(|seen| seen != snapshot(&record).version) => {
                left_out(ConsoleError::ran_again(&at))
            }
            State::Processing(_) | State::Unknown(_) => Ok(Ok(record)),
        }
    }

    /// Looks up each record at the provider, or searches for evidence as the reconciler does.
    pub(crate) async fn look(
        &self,
        actor: &Actor,
        invocation: &Invocation,
        action: BulkAction,
        form: &BulkForm,
    ) -> Result<Vec<BulkItem<Looked>>, ConsoleError> {
        actor.require_operator()?;
        let name = form.name()?;
        let items = self.chosen(form).await?;
        let each = stream::iter(items).map(async |item| {
            let look = async |record: Record| {
                self.require_time(invocation)?;
                let record = short(record.id.as_str());
                if action == BulkAction::Ask {
                    let (_, answer) = self.ask_for_audit(actor, invocation, record, Some(name)).await?;
                    return Ok(Looked::Asked(answer));
                }
                let (_, search) = self.reconcile_now(actor, invocation, record, Some(name)).await?;
                Ok(Looked::Searched(search))
            };
            item.and_then(look).await
        });
        Ok(each.buffered(AT_ONCE).collect().await)
    }

    /// Makes a preview of each record's settlement. For success, the reference is the one that the provider has.
    pub(crate) async fn previews(
        &self,
        actor: &Actor,
        invocation: &Invocation,
        kind: ActionKind,
        form: &BulkForm,
    ) -> Result<Vec<BulkItem<(Record, Preview)>>, ConsoleError> {
        actor.require_operator()?;
        let of_each = form.of_each()?;
        let items = self.chosen(form).await?;
        let each = stream::iter(items).map(async |item| {
            let preview = async |record: Record| {
                self.require_time(invocation)?;
                let preview = self.preview_of_several(actor, &record, kind, &of_each).await?;
                // The record was read again for the preview.
                match preview.proposal.shown.version == snapshot(&record).version {
                    true => Ok((record, preview)),
                    false => Err(ConsoleError::ran_again(&format::time(EpochMs(preview.proposal.shown.updated)))),
                }
            };
            item.and_then(preview).await
        });
        let items: Vec<_> = each.buffered(AT_ONCE).collect().await;
        // An invalid field is invalid for all records.
        let wrong = items.iter().filter_map(|item| item.result.as_ref().err().map(Hindrance::error));
        let mut wrong = wrong.filter(|error| error.fields.iter().any(|(field, _)| *field != "reference"));
        match wrong.next().cloned() {
            Some(error) => Err(error),
            None => Ok(items),
        }
    }

    async fn preview_of_several(
        &self,
        actor: &Actor,
        record: &Record,
        kind: ActionKind,
        form: &SettlementForm,
    ) -> Result<Preview, ConsoleError> {
        let mut form = form.clone();
        if kind == ActionKind::Succeed {
            let answer = self.ask(record).await;
            let reference = answer.reference().map(str::to_owned);
            form.reference = reference.ok_or_else(|| match answer {
                ProviderAnswer::None(_) => {
                    let text = "The provider gave no answer, so no reference is known. Settle it alone, with one.";
                    ConsoleError::invalid(text.to_owned())
                }
                answer => ConsoleError::contradicted(answer.to_text()),
            })?;
        }
        let (preview, _) = self.preview(actor, short(record.id.as_str()), kind, &form).await?;
        Ok(preview)
    }

    /// Confirms previews, each as if it were alone.
    pub(crate) async fn confirm_several(
        &self,
        actor: &Actor,
        invocation: &Invocation,
        tokens: Vec<String>,
    ) -> Result<Vec<BulkItem<Confirmation<Preview>>>, ConsoleError> {
        actor.require_operator()?;
        if tokens.is_empty() || tokens.len() > MAX_CHOSEN {
            return Err(ConsoleError::invalid(format!("Confirm 1 to {MAX_CHOSEN} previews.")));
        }
        let each = stream::iter(tokens).map(async |token| {
            let result = match self.require_time(invocation) {
                Ok(()) => self.confirm::<Preview>(actor, invocation, &token).await,
                Err(error) => Err(error),
            };
            let record = match &result {
                Ok(confirmation) => short(&confirmation.confirmed.proposal.record).to_owned(),
                Err(_) => self.record_of_preview(actor, &token).await,
            };
            BulkItem { record, result: result.map_err(Hindrance::Problem) }
        });
        Ok(each.buffered(AT_ONCE).collect().await)
    }

    /// The record of an operator's preview; empty if there is no such preview.
    async fn record_of_preview(&self, actor: &Actor, token: &str) -> String {
        let preview = Preview::read(self, actor, token).await;
        preview.map(|preview| short(&preview.proposal.record).to_owned()).unwrap_or_default()
    }

    fn require_time(&self, invocation: &Invocation) -> Result<(), ConsoleError> {
        match self.now() < EpochMs(invocation.deadline.0).minus(RESERVE) {
            true => Ok(()),
            false => Err(ConsoleError::not_begun()),
        }
    }
}

/// Leaves out records with a different state: the action's state is UNKNOWN if any record has it, otherwise that of the
/// first.
fn of_one_state(mut items: Vec<BulkItem<Record>>) -> Vec<BulkItem<Record>> {
    let status = |record: &Record| record.state.status();
    let mut present = items.iter().filter_map(|item| item.result.as_ref().ok().map(status));
    let first = present.next();
    let wanted = if present.any(|status| status == Status::Unknown) { Some(Status::Unknown) } else { first };
    for item in &mut items {
        if let (Ok(record), Some(wanted)) = (&item.result, wanted)
            && status(record) != wanted
        {
            let (own, others) = (status(record).as_str(), wanted.as_str());
            item.result = Err(Hindrance::LeftOut(ConsoleError::other_state(own, others)));
        }
    }
    items
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_bulk_action_has_a_name_which_begins_every_reason() {
        let form = |name: &str, reason: &str| {
            let (name, reason) = (name.to_owned(), reason.to_owned());
            BulkForm { name, reason, ..BulkForm::default() }.of_each()
        };
        let reason = form(" Incident 4711 ", "The bank confirmed it.").unwrap().reason;
        assert_eq!(reason, "Incident 4711: The bank confirmed it.");
        assert_eq!(form("Incident 4711", "short").unwrap().reason, "short", "the name is no reason");
        for name in ["", "ab", &"x".repeat(61), "a\nbc"] {
            assert_eq!(form(name, "The bank confirmed it.").unwrap_err().fields[0].0, "name", "{name:?}");
        }
    }

    #[test]
    fn one_to_twenty_five_records_are_chosen_each_once() {
        let chosen = |records: &[&str]| {
            let records = records.iter().map(|record| (*record).to_owned()).collect();
            BulkForm { records, ..BulkForm::default() }.chosen().map_err(|error| error.code)
        };
        assert_eq!(chosen(&["a", "b", "a"]), Ok(vec!["a".to_owned(), "b".to_owned()]));
        assert_eq!(chosen(&[]), Err("invalid"));
        let many: Vec<String> = (0..26).map(|number| number.to_string()).collect();
        let many: Vec<&str> = many.iter().map(String::as_str).collect();
        assert!(chosen(&many[..25]).is_ok());
        assert_eq!(chosen(&many), Err("invalid"));
    }
}
