//! What the provider has under a transaction id, and how to make sure that it never will.

use idempotency::protocol::TransactionId;
use reqwest::{StatusCode, Url};
use serde::Deserialize;
use serde_json::Value;
use uuid::Uuid;

use super::{Charge, Provider, ProviderError, answer::Answer};
use crate::{AccountId, Amount, Currency, Money, PaymentMethod, Reason, Reference};
use std::time::Duration;

/// What a search for a charge found.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum FoundCharge {
    /// The money was taken.
    Succeeded(Box<Charged>),
    /// The card was declined, which is final: nobody asks its holder for another. Always a [`Charge::Declined`].
    Declined(Charge),
    /// It was cancelled without taking money, and its key is used up: it cannot happen any more.
    Cancelled,
    /// Our own [tombstone](Provider::prevent), which its maker had no time to cancel.
    OpenTombstone(String),
    /// A tombstone that was made when the provider may have forgotten what was done under the key: it proves nothing.
    LateTombstone,
    /// No money was taken, and it waits for somebody: for the card's holder to authenticate it, or for us to confirm or
    /// capture it. Nobody will, so it would wait for ever; [`Provider::cancel`] ends it, unless it has ended otherwise.
    Waiting {
        /// The payment intent (`pi_…`).
        intent: String,
        /// Its state: `requires_action`, `requires_confirmation`, …
        state: String,
    },
    /// It may still go either way; this is its state.
    Open(String),
    /// Nothing. That is no evidence: the search lags behind, and a request may still be on its way.
    Nothing,
}

/// A charge as the provider remembers it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Charged {
    /// The payment intent (`pi_…`).
    pub intent: String,
    /// The transaction it was charged for, as we told the provider; nothing if it is not ours.
    pub transaction: Option<Uuid>,
    /// Whose balance it goes to, as we told the provider.
    pub account: AccountId,
    /// What was taken.
    pub money: Money,
    /// What was charged by, as the client named it.
    pub payment_method: PaymentMethod,
    /// The client's words.
    pub reference: Option<Reference>,
    /// When, in epoch milliseconds; the provider counts whole seconds.
    pub created: u64,
}

/// What a search for a refund found.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum FoundRefund {
    /// The money goes back.
    Succeeded(Box<Refunded>),
    /// It failed for good; nothing was given back.
    Failed,
    /// It may still go either way; this is its state.
    Open(String),
    /// Nothing, which is no evidence.
    Nothing,
}

/// A refund as the provider remembers it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Refunded {
    /// The provider's refund (`re_…`).
    pub reversal: String,
    /// What was given back.
    pub amount: Amount,
    /// The client's words.
    pub reason: Option<Reason>,
    /// When, in epoch milliseconds; the provider counts whole seconds.
    pub created: u64,
}

impl Provider {
    /// Looks for the charge of a transaction.
    ///
    /// # Errors
    ///
    /// When the provider gives no answer, or one that makes no sense: nothing is known then.
    pub async fn find_charge(&self, transaction: Uuid, timeout: Duration) -> Result<FoundCharge, ProviderError> {
        let url = with_query(&self.search, [("query", format!("metadata['transaction']:'{transaction}'"))]);
        match self.get::<List<Intent>>(url, timeout).await?.data.as_slice() {
            [] => Ok(FoundCharge::Nothing),
            [intent] => self.found(intent),
            several => Err(ProviderError::unknown(format!("{} payment intents of one transaction", several.len()))),
        }
    }

    /// The payment intent with this id, as a charge.
    ///
    /// # Errors
    ///
    /// As [`Provider::find_charge`].
    pub async fn charge_of(&self, intent: &str, timeout: Duration) -> Result<FoundCharge, ProviderError> {
        let mut url = self.payment_intents.clone();
        // The id is a path segment of its own, whatever an operator has typed.
        url.path_segments_mut().map_err(|()| ProviderError::unknown("the base URL has no path"))?.push(intent);
        self.found(&self.get::<Intent>(url, timeout).await?)
    }

    fn found(&self, intent: &Intent) -> Result<FoundCharge, ProviderError> {
        let is_late = intent.transaction().is_none_or(|id| !self.remembers(id, intent.created.saturating_mul(1000)));
        match intent.found()? {
            FoundCharge::Cancelled | FoundCharge::OpenTombstone(_) if intent.is_tombstone() && is_late => {
                Ok(FoundCharge::LateTombstone)
            }
            found @ (FoundCharge::Succeeded(_)
            | FoundCharge::Declined(_)
            | FoundCharge::Cancelled
            | FoundCharge::OpenTombstone(_)
            | FoundCharge::LateTombstone
            | FoundCharge::Waiting { .. }
            | FoundCharge::Open(_)
            | FoundCharge::Nothing) => Ok(found),
        }
    }

    /// Looks for the refund of a transaction among those of a payment.
    ///
    /// # Errors
    ///
    /// As [`Provider::find_charge`].
    pub async fn find_refund(
        &self,
        transaction: Uuid,
        intent: &str,
        timeout: Duration,
    ) -> Result<FoundRefund, ProviderError> {
        let url = with_query(&self.refunds, [("payment_intent", intent.to_owned()), ("limit", "100".to_owned())]);
        let list: List<Reversal> = self.get(url, timeout).await?;
        let own = |refund: &&Reversal| refund.metadata.transaction.as_deref() == Some(&transaction.to_string());
        match list.data.iter().find(own) {
            Some(refund) => refund.found(),
            None if list.has_more => Err(ProviderError::unknown("the payment has more refunds than were looked at")),
            None => Ok(FoundRefund::Nothing),
        }
    }

    /// Makes sure that what was asked for under a transaction id, a charge or a refund, cannot happen any more: puts a
    /// tombstone under its idempotency key, an unconfirmed payment intent that is cancelled at once. A request that
    /// comes late meets the key with other parameters, and is refused.
    ///
    /// That proves something only while the provider remembers what was done under the key: once it has forgotten,
    /// the key of a request that it executed is as free as that of one that never came. So a transaction id that is
    /// older than [`Provider::tombstones_within`] gets no tombstone; `now` is in epoch milliseconds. Its age counts from
    /// the moment at which it was made, which is never after its first use. A tombstone in its turn holds for as long
    /// as the provider remembers it, at Stripe for 24 hours: much longer than a sandbox lives that could still send the
    /// request.
    ///
    /// `currency` is the one that was asked for: an account need not accept any other. Where none was asked for, nothing was
    /// sent either, and one is as good as another.
    ///
    /// # Errors
    ///
    /// When it is not certain: because it is too late, or because the key was used already. Then something was asked for
    /// under it, and a search will show it ([`Provider::find_charge`]).
    pub async fn prevent(
        &self,
        transaction: Uuid,
        currency: Option<Currency>,
        now: u64,
        timeout: Duration,
    ) -> Result<(), ProviderError> {
        if !self.remembers(transaction, now) {
            return Err(ProviderError::unknown(
                "the provider may have forgotten what was done under the key, so that a tombstone proves nothing",
            ));
        }
        // An account may not take the currency. Then it would not have taken what was asked for either, but the key is
        // still free: a refusal of a parameter is not kept.
        let other = Currency::from_code("EUR").filter(|other| Some(*other) != currency);
        for currency in [currency, other].into_iter().flatten() {
            if self.take_key(transaction, currency, timeout).await? {
                return Ok(());
            }
        }
        Err(ProviderError::unknown("the tombstone was refused"))
    }

    /// Whether a tombstone has the key; not, if the provider does not take the currency.
    async fn take_key(&self, transaction: Uuid, currency: Currency, timeout: Duration) -> Result<bool, ProviderError> {
        let form = [
            // Never charged; but a tombstone must not be refused either. No currency's smallest amount is above this,
            // and no largest one below; where the last digits must be 0, they are.
            ("amount", "10000000".to_owned()),
            ("currency", currency.code().to_ascii_lowercase()),
            ("payment_method_types[]", "card".to_owned()),
            ("description", "Tombstone of a request whose outcome was not known. Never charged.".to_owned()),
            ("metadata[transaction]", transaction.to_string()),
            ("metadata[tombstone]", "true".to_owned()),
        ];
        let reply = self.post(&self.payment_intents, Some(&transaction.to_string()), &form, timeout).await?;
        let is_replayed = reply.is_replayed;
        match Answer::of(reply) {
            Ok(Answer::Done(tombstone)) => self.cancel(tombstone.id(), timeout).await.map(|()| true),
            // Results are kept whatever they are, a 500 for a day. Under other parameters the key would be refused; so
            // what is replayed is the result of an earlier tombstone, which holds the key, made or not.
            Ok(Answer::Declined(_) | Answer::Refused(_)) | Err(_) if is_replayed => Ok(true),
            Ok(Answer::Refused(fault)) if fault.is_about("currency") => Ok(false),
            Ok(Answer::Declined(_) | Answer::Refused(_)) => Err(ProviderError::unknown("the tombstone was refused")),
            Err(error) => Err(error),
        }
    }

    /// Cancels a tombstone, or a charge that [waits](FoundCharge::Waiting). Without a key: cancelling twice does no harm, and
    /// under a key a failure of the provider would be its answer for a day.
    ///
    /// # Errors
    ///
    /// When it is not certain that it is cancelled.
    pub async fn cancel(&self, intent: &str, timeout: Duration) -> Result<(), ProviderError> {
        let mut url = self.payment_intents.clone();
        url.path_segments_mut()
            .map_err(|()| ProviderError::unknown("the base URL has no path"))?
            .extend([intent, "cancel"]);
        match Answer::of(self.post(&url, None, &[], timeout).await?)? {
            Answer::Done(object) if object.status() == "canceled" => Ok(()),
            Answer::Done(object) => Err(ProviderError::unknown(format!("the tombstone is {}", object.status()))),
            // Cancelled before: the reply was lost, or the search has not noticed yet.
            Answer::Refused(fault) if fault.intent_status() == Some("canceled") => Ok(()),
            Answer::Declined(_) | Answer::Refused(_) => Err(ProviderError::unknown("the tombstone was not cancelled")),
        }
    }

    /// Whether the provider is certain to remember what was done under the key of a transaction, in epoch milliseconds.
    fn remembers(&self, transaction: Uuid, now: u64) -> bool {
        let made = TransactionId::from_bytes(transaction.into_bytes()).made();
        made.is_some_and(|made| now < made.plus(self.tombstones_within).0)
    }

    async fn get<T: for<'de> Deserialize<'de>>(&self, url: Url, timeout: Duration) -> Result<T, ProviderError> {
        let response = self.http.get(url).timeout(timeout).send().await.map_err(ProviderError::sending)?;
        let status = response.status();
        let body = response.bytes().await.map_err(ProviderError::reading)?;
        if status != StatusCode::OK {
            return Err(ProviderError::unknown(format!("a question was answered with status {status}")));
        }
        serde_json::from_slice(&body).map_err(|error| ProviderError::unknown(format!("an unreadable answer: {error}")))
    }
}

fn with_query<const N: usize>(url: &Url, pairs: [(&str, String); N]) -> Url {
    let mut url = url.clone();
    url.query_pairs_mut().extend_pairs(pairs);
    url
}

#[derive(Deserialize)]
struct List<T> {
    data: Vec<T>,
    #[serde(default)]
    has_more: bool,
}

#[derive(Deserialize)]
struct Intent {
    id: String,
    status: String,
    amount: u64,
    #[serde(default)]
    amount_received: u64,
    currency: String,
    created: u64,
    last_payment_error: Option<Value>,
    #[serde(default)]
    metadata: Metadata,
}

#[derive(Deserialize)]
struct Reversal {
    id: String,
    status: String,
    amount: u64,
    created: u64,
    #[serde(default)]
    metadata: Metadata,
}

/// What we wrote beside the request, so that it can be told without it.
#[derive(Default, Deserialize)]
#[serde(default)]
struct Metadata {
    transaction: Option<String>,
    account: Option<String>,
    payment_method: Option<String>,
    reference: Option<String>,
    reason: Option<String>,
    tombstone: Option<String>,
}

impl Intent {
    fn transaction(&self) -> Option<Uuid> {
        self.metadata.transaction.as_deref().and_then(|text| Uuid::try_parse(text).ok())
    }

    const fn is_tombstone(&self) -> bool {
        self.metadata.tombstone.is_some()
    }

    /// States: Stripe, "How intents work". One that waits for a payment method has seen a decline, or nothing at all.
    fn found(&self) -> Result<FoundCharge, ProviderError> {
        match (self.status.as_str(), &self.last_payment_error) {
            ("succeeded", _) => self.charged().map(|charged| FoundCharge::Succeeded(Box::new(charged))),
            ("canceled", _) => Ok(FoundCharge::Cancelled),
            _ if self.is_tombstone() => Ok(FoundCharge::OpenTombstone(self.id.clone())),
            ("requires_payment_method", Some(error)) => {
                let word = |name: &str| error[name].as_str().map(str::to_owned);
                Ok(FoundCharge::Declined(Charge::declined(word("code"), word("decline_code"), word("message"))))
            }
            // What can be cancelled: Stripe, "Cancel a PaymentIntent".
            ("requires_payment_method" | "requires_confirmation" | "requires_action" | "requires_capture", _) => {
                Ok(FoundCharge::Waiting { intent: self.id.clone(), state: self.status.clone() })
            }
            (state, _) => Ok(FoundCharge::Open(state.to_owned())),
        }
    }

    fn charged(&self) -> Result<Charged, ProviderError> {
        let missing = |what: &str| ProviderError::unknown(format!("{} does not say its {what}", self.id));
        let text = |text: &Option<String>| text.clone().unwrap_or_default();
        let amount = Amount::new(self.amount).filter(|_| self.amount_received == self.amount);
        let currency = Currency::from_code(&self.currency.to_ascii_uppercase());
        Ok(Charged {
            intent: self.id.clone(),
            transaction: self.transaction(),
            account: AccountId::parse(&text(&self.metadata.account)).ok_or_else(|| missing("account"))?,
            money: Money {
                amount: amount.ok_or_else(|| missing("amount"))?,
                currency: currency.ok_or_else(|| missing("currency"))?,
            },
            payment_method: PaymentMethod::parse(&text(&self.metadata.payment_method))
                .ok_or_else(|| missing("payment method"))?,
            reference: self.metadata.reference.as_deref().and_then(Reference::parse),
            created: self.created.saturating_mul(1000),
        })
    }
}

impl Reversal {
    /// States: Stripe, "The Refund object".
    fn found(&self) -> Result<FoundRefund, ProviderError> {
        match self.status.as_str() {
            "succeeded" => Ok(FoundRefund::Succeeded(Box::new(Refunded {
                reversal: self.id.clone(),
                amount: Amount::new(self.amount).ok_or_else(|| ProviderError::unknown("a refund of nothing"))?,
                reason: self.metadata.reason.as_deref().and_then(Reason::parse),
                created: self.created.saturating_mul(1000),
            }))),
            "failed" | "canceled" => Ok(FoundRefund::Failed),
            state => Ok(FoundRefund::Open(state.to_owned())),
        }
    }
}
