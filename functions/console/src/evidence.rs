//! What the evidence says for or against an action, at the moment of its confirmation.

use std::time::Duration;

use idempotency::protocol::Record;
use payments::{Action, Currency, PaymentId, ProviderResolver, Subject};

use crate::error::Refusal;
use crate::format;
use crate::provider_status::Answer;
use crate::state::Console;

/// What an answer of the provider is for an action.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Weight {
    /// Evidence for it.
    For,
    /// Evidence against it, or that it may still turn out against it.
    Against,
    /// Nothing, either way.
    Silent,
}

/// What the provider says of an action that it says nothing against.
#[derive(Clone, Debug)]
pub(crate) struct Word {
    pub(crate) answer: Answer,
    pub(crate) is_evidence: bool,
}

/// How often, and how long apart, a key is taken away that is in use: perhaps by another click that takes it away.
const TRIES: usize = 3;
const MOMENT: Duration = Duration::from_millis(300);

/// How long all of that may take.
const TIMEOUT: Duration = Duration::from_secs(4);

impl Answer {
    pub(crate) fn weight(&self, action: &Action) -> Weight {
        match (action, self) {
            (Action::Succeed { reference, .. }, Self::Charged(_) | Self::Refunded(_)) => {
                if self.reference() == Some(reference.as_str()) { Weight::For } else { Weight::Against }
            }
            (Action::Succeed { .. }, Self::None(_)) => Weight::Silent,
            (
                Action::Succeed { .. },
                Self::Declined(_)
                | Self::Gone
                | Self::Prevented
                | Self::NotPrevented(_)
                | Self::OpenTombstone(_)
                | Self::Open(_)
                | Self::Nothing,
            ) => Weight::Against,
            (Action::Fail { .. } | Action::Release, Self::Charged(_) | Self::Refunded(_) | Self::Open(_)) => {
                Weight::Against
            }
            (Action::Fail { .. } | Action::Release, Self::Declined(_) | Self::Gone | Self::Prevented) => Weight::For,
            (
                Action::Fail { .. } | Action::Release,
                Self::NotPrevented(_) | Self::OpenTombstone(_) | Self::Nothing | Self::None(_),
            ) => Weight::Silent,
        }
    }
}

impl Word {
    /// For the audit.
    pub(crate) fn in_words(&self) -> String {
        let answer = self.answer.in_words();
        if self.is_evidence { answer } else { format!("No evidence. {answer}") }
    }
}

impl Console {
    /// What the provider says of an action now, unless there is evidence against it. Changes nothing.
    pub(crate) async fn hear(&self, record: &Record, action: &Action) -> Result<Word, Refusal> {
        let answer = match action {
            Action::Succeed { reference, .. } => self.ask_for(record, reference).await,
            Action::Fail { .. } | Action::Release => {
                self.unless_recorded(record).await?;
                self.ask(record).await
            }
        };
        unless_against(record, action, answer)
    }

    /// As [`hear`](Self::hear), for what is to be done now. Whether something happened at the provider is one question,
    /// and whether it still can is another: a request that is only frozen may be sent an hour later. So before anything
    /// is settled as failed or released, its key is taken away there.
    pub(crate) async fn weigh(&self, record: &Record, action: &Action) -> Result<Word, Refusal> {
        let word = self.hear(record, action).await?;
        match action {
            Action::Fail { .. } | Action::Release if !word.is_evidence => {
                let answer = match tokio::time::timeout(TIMEOUT, self.take_key_away(record, &word.answer)).await {
                    Ok(answer) => answer,
                    Err(_) => Answer::NotPrevented("it took too long".to_owned()),
                };
                unless_against(record, action, answer)
            }
            Action::Fail { .. } | Action::Release | Action::Succeed { .. } => Ok(word),
        }
    }

    async fn take_key_away(&self, record: &Record, answer: &Answer) -> Answer {
        let transaction = record.transaction.uuid();
        let asked_in = match self.asked_in(record).await {
            Ok(currency) => currency,
            Err(why) => return Answer::NotPrevented(why),
        };
        for _ in 0..TRIES {
            let taken = if let Answer::OpenTombstone(intent) = answer {
                self.provider.cancel(intent, TIMEOUT).await
            } else {
                self.provider.prevent(transaction, asked_in, format::now().0, TIMEOUT).await
            };
            match taken {
                Ok(()) => return Answer::Prevented,
                Err(error) if error.is_key_used() => tokio::time::sleep(MOMENT).await,
                Err(error) => return Answer::NotPrevented(error.to_string()),
            }
        }
        Answer::Open("asked for under its key, though not found yet".to_owned())
    }

    /// The currency of what was asked for, if anything was.
    async fn asked_in(&self, record: &Record) -> Result<Option<Currency>, String> {
        match record.subject.as_ref().and_then(|subject| Subject::parse(subject.as_str())) {
            Some(Subject::Payment { money, .. }) => Ok(Some(money.currency)),
            Some(Subject::Refund { .. }) => {
                Ok(self.refunded_payment(record).await?.map(|payment| payment.money.currency))
            }
            Some(Subject::Invalid) => Ok(None),
            // What others wrote is not ours to take away.
            None => Err("the record does not say what it is about".to_owned()),
        }
    }

    /// The application's own tables are evidence, too: a record may be older than they are, after a backup was restored.
    async fn unless_recorded(&self, record: &Record) -> Result<(), Refusal> {
        let (payment, entries) = self.linked(record).await.map_err(|error| Refusal::unavailable(&error))?;
        let own = payment.filter(|payment| payment.id == PaymentId::of(record.transaction.uuid()));
        match own {
            Some(payment) => Err(Refusal::contradicted(format!("It is recorded as payment {}.", payment.id))),
            None if !entries.is_empty() => Err(Refusal::contradicted("It is posted to the ledger.")),
            None => Ok(()),
        }
    }
}

fn unless_against(record: &Record, action: &Action, answer: Answer) -> Result<Word, Refusal> {
    let against = |words: String| Refusal::contradicted(format!("The provider says: {words}"));
    let is_evidence = match answer.weight(action) {
        Weight::Against => return Err(against(answer.in_words())),
        Weight::For => true,
        Weight::Silent => false,
    };
    if let (Action::Succeed { .. }, Answer::Charged(charged)) = (action, &answer) {
        // A charge of another amount, or for another account, is not what the record is about.
        ProviderResolver::payment_of(record, (**charged).clone()).map_err(|why| against(format!("{why}.")))?;
    }
    Ok(Word { answer, is_evidence })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_is_final_at_the_provider_is_evidence_that_nothing_happens() {
        let fail = Action::Fail { evidence: "The bank says so.".into() };
        for (answer, weight) in [
            (Answer::Declined("no".into()), Weight::For),
            (Answer::Gone, Weight::For),
            (Answer::Prevented, Weight::For),
            (Answer::Open("processing".into()), Weight::Against),
            (Answer::Nothing, Weight::Silent),
            (Answer::None("no answer".into()), Weight::Silent),
            (Answer::NotPrevented("no answer".into()), Weight::Silent),
            (Answer::OpenTombstone("pi_1".into()), Weight::Silent),
        ] {
            for action in [&fail, &Action::Release] {
                assert_eq!(answer.weight(action), weight, "{answer:?}, {action:?}");
            }
            let succeed = Action::Succeed { reference: "pi_1".into(), verified: true };
            let expected = if matches!(answer, Answer::None(_)) { Weight::Silent } else { Weight::Against };
            assert_eq!(answer.weight(&succeed), expected, "{answer:?}");
        }
    }
}
