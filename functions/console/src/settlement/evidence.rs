//! Whether the evidence allows an action, at the moment of its confirmation.

use std::time::Duration;

use idempotency::protocol::Record;
use payments::{Action, Currency, ProviderResolver, ProviderStatus, Subject};

use crate::error::ConsoleError;
use crate::provider_status::ProviderAnswer;
use crate::state::Console;

/// What the provider's answer means for an action.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Weight {
    Supports,
    /// There is evidence against it, or there may still be.
    Contradicts,
    Inconclusive,
}

/// An answer of the provider that does not contradict an action.
#[derive(Clone, Debug)]
pub(crate) struct ProviderCheck {
    pub(crate) answer: ProviderAnswer,
    /// Whether it supports the action.
    pub(crate) is_evidence: bool,
}

/// How often, and after which pause, a tombstone is tried under a key in use: another click may have placed one there.
const TRIES: usize = 3;
const PAUSE: Duration = Duration::from_millis(300);

/// How long all tries may take.
const TIMEOUT: Duration = Duration::from_secs(4);

impl ProviderAnswer {
    pub(crate) fn weight(&self, action: &Action) -> Weight {
        match action {
            Action::Succeed { reference, .. } => self.weight_for_success(reference),
            Action::Fail { .. } | Action::Release => self.weight_against_success(),
        }
    }

    fn weight_for_success(&self, reference: &str) -> Weight {
        match (self.reference(), self) {
            (Some(found), _) if found == reference => Weight::Supports,
            (None, Self::None(_)) => Weight::Inconclusive,
            (Some(_) | None, Self::Status(_) | Self::Prevented | Self::NotPrevented(_) | Self::None(_)) => {
                Weight::Contradicts
            }
        }
    }

    fn weight_against_success(&self) -> Weight {
        match self {
            Self::Status(
                ProviderStatus::Charged(_)
                | ProviderStatus::Refunded(_)
                | ProviderStatus::Pending(_)
                | ProviderStatus::Waiting { .. },
            ) => Weight::Contradicts,
            Self::Status(ProviderStatus::Declined(_) | ProviderStatus::Cancelled | ProviderStatus::RefundFailed)
            | Self::Prevented => Weight::Supports,
            Self::Status(
                ProviderStatus::OpenTombstone(_) | ProviderStatus::LateTombstone | ProviderStatus::NotFound,
            )
            | Self::NotPrevented(_)
            | Self::None(_) => Weight::Inconclusive,
        }
    }
}

impl ProviderCheck {
    /// The beginning of the text of a check that was not evidence.
    pub(crate) const NO_EVIDENCE: &str = "No evidence.";

    /// For the audit.
    pub(crate) fn to_text(&self) -> String {
        let answer = self.answer.to_text();
        if self.is_evidence { answer } else { format!("{} {answer}", Self::NO_EVIDENCE) }
    }
}

impl Console {
    /// The provider's answer for an action now; an error if there is evidence against it. Changes nothing.
    pub(crate) async fn check(&self, record: &Record, action: &Action) -> Result<ProviderCheck, ConsoleError> {
        let answer = match action {
            Action::Succeed { reference, .. } => {
                self.require_not_recorded_otherwise(record, reference).await?;
                self.ask_for(record, reference).await
            }
            Action::Fail { .. } | Action::Release => {
                self.require_not_recorded(record).await?;
                self.ask(record).await
            }
        };
        not_contradicted(record, action, answer)
    }

    /// Like [`check`](Self::check), for an action that is being confirmed. An operation that did not happen at the
    /// provider may still happen: a frozen request may be sent an hour later. So before a record is settled as failed
    /// or released, a tombstone is placed under the request's idempotency key.
    pub(crate) async fn check_and_prevent(
        &self,
        record: &Record,
        action: &Action,
    ) -> Result<ProviderCheck, ConsoleError> {
        let check = self.check(record, action).await?;
        match action {
            Action::Fail { .. } | Action::Release if !check.is_evidence => {
                let answer = match tokio::time::timeout(TIMEOUT, self.prevent(record, &check.answer)).await {
                    Ok(answer) => answer,
                    Err(_) => ProviderAnswer::NotPrevented("it took too long".to_owned()),
                };
                not_contradicted(record, action, answer)
            }
            Action::Fail { .. } | Action::Release | Action::Succeed { .. } => Ok(check),
        }
    }

    async fn prevent(&self, record: &Record, answer: &ProviderAnswer) -> ProviderAnswer {
        let currency = match self.requested_currency(record).await {
            Ok(currency) => currency,
            Err(why) => return ProviderAnswer::NotPrevented(why),
        };
        for _ in 0..TRIES {
            let prevented = if let ProviderAnswer::Status(ProviderStatus::OpenTombstone(intent)) = answer {
                self.provider.cancel(intent, TIMEOUT).await
            } else {
                self.provider.tombstone_key(record.transaction, currency, self.now().0, TIMEOUT).await
            };
            match prevented {
                Ok(()) => return ProviderAnswer::Prevented,
                Err(error) if error.is_key_used() => tokio::time::sleep(PAUSE).await,
                Err(error) => return ProviderAnswer::NotPrevented(error.to_string()),
            }
        }
        ProviderAnswer::Status(ProviderStatus::Pending("requested, but not found yet".to_owned()))
    }

    /// The currency of the request, if it was valid.
    async fn requested_currency(&self, record: &Record) -> Result<Option<Currency>, String> {
        match record.subject.as_ref().and_then(|subject| Subject::parse(subject.as_str())) {
            Some(Subject::Payment { money, .. }) => Ok(Some(money.currency)),
            Some(Subject::Refund { .. }) => {
                Ok(self.refunded_payment(record).await?.map(|payment| payment.money.currency))
            }
            Some(Subject::Invalid) => Ok(None),
            // Another application's key must not be touched.
            None => Err("the record has no subject of this application".to_owned()),
        }
    }

    /// The application's own tables are evidence, too: a record may be older than they are, after a backup was
    /// restored.
    async fn require_not_recorded(&self, record: &Record) -> Result<(), ConsoleError> {
        let (recorded, (_, entries)) = tokio::try_join!(self.recorded(record), self.linked(record))
            .map_err(|error| ConsoleError::unavailable(&error))?;
        match recorded {
            Some(recorded) => Err(ConsoleError::contradicted(format!("It is recorded as {recorded}."))),
            None if !entries.is_empty() => Err(ConsoleError::contradicted("It is posted to the ledger.")),
            None => Ok(()),
        }
    }

    /// Refuses another reference than that of a payment or refund that is recorded already.
    async fn require_not_recorded_otherwise(&self, record: &Record, reference: &str) -> Result<(), ConsoleError> {
        match self.recorded(record).await.map_err(|error| ConsoleError::unavailable(&error))? {
            Some(recorded) if recorded.reference() != reference => {
                Err(ConsoleError::contradicted(format!("It is recorded as {recorded}.")))
            }
            Some(_) | None => Ok(()),
        }
    }
}

fn not_contradicted(record: &Record, action: &Action, answer: ProviderAnswer) -> Result<ProviderCheck, ConsoleError> {
    let is_evidence = match answer.weight(action) {
        Weight::Contradicts => return Err(ConsoleError::contradicted(answer.to_text())),
        Weight::Supports => true,
        Weight::Inconclusive => false,
    };
    if let (Action::Succeed { .. }, ProviderAnswer::Status(ProviderStatus::Charged(charged))) = (action, &answer) {
        // A charge of another amount or for another account does not belong to the record.
        ProviderResolver::payment_of(record, (**charged).clone())
            .map_err(|why| ConsoleError::contradicted(format!("At the provider, {why}.")))?;
    }
    Ok(ProviderCheck { answer, is_evidence })
}

#[cfg(test)]
mod tests {
    use payments::Decline;

    use super::*;

    #[test]
    fn only_what_is_final_at_the_provider_is_evidence_that_nothing_happens() {
        let decline = Decline { code: "card_declined".into(), decline_code: None, message: "no".into() };
        let waiting = ProviderStatus::Waiting { intent: "pi_1".into(), state: "requires_action".into() };
        let fail = Action::Fail { evidence: "The bank says so.".into() };
        for (answer, weight) in [
            (ProviderAnswer::Status(ProviderStatus::Declined(decline)), Weight::Supports),
            (ProviderAnswer::Status(ProviderStatus::Cancelled), Weight::Supports),
            (ProviderAnswer::Status(ProviderStatus::RefundFailed), Weight::Supports),
            (ProviderAnswer::Prevented, Weight::Supports),
            (ProviderAnswer::Status(ProviderStatus::Pending("processing".into())), Weight::Contradicts),
            (ProviderAnswer::Status(waiting), Weight::Contradicts),
            (ProviderAnswer::Status(ProviderStatus::NotFound), Weight::Inconclusive),
            (ProviderAnswer::Status(ProviderStatus::LateTombstone), Weight::Inconclusive),
            (ProviderAnswer::None("no answer".into()), Weight::Inconclusive),
            (ProviderAnswer::NotPrevented("no answer".into()), Weight::Inconclusive),
            (ProviderAnswer::Status(ProviderStatus::OpenTombstone("pi_1".into())), Weight::Inconclusive),
        ] {
            for action in [&fail, &Action::Release] {
                assert_eq!(answer.weight(action), weight, "{answer:?}, {action:?}");
            }
            let succeed = Action::Succeed { reference: "pi_1".into(), verified: true };
            let is_silent = matches!(answer, ProviderAnswer::None(_));
            let expected = if is_silent { Weight::Inconclusive } else { Weight::Contradicts };
            assert_eq!(answer.weight(&succeed), expected, "{answer:?}");
        }
    }
}
