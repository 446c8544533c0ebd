//! Looks up the charge or refund under a transaction id at the provider, and makes sure that nothing more happens under
//! it.

use idempotency::protocol::TransactionId;
use reqwest::{StatusCode, Url};
use serde::Deserialize;
use serde_json::Value;
use uuid::Uuid;

use super::{Decline, Provider, ProviderError, answer::Answer};
use crate::{AccountId, Amount, Currency, Money, PaymentMethod, Reason, Reference};
use std::time::Duration;

/// What the provider has under a transaction id: a charge, a refund, or neither.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ProviderStatus {
    /// The charge succeeded.
    Charged(Box<Charged>),
    /// The refund succeeded.
    Refunded(Box<Refunded>),
    /// The card was declined, which is final: the cardholder gets no chance to use another card.
    Declined(Decline),
    /// The refund failed, which is final; nothing was refunded.
    RefundFailed,
    /// The charge was cancelled without taking money, and its key is used up: it can no longer happen.
    Cancelled,
    /// Our own [tombstone](Provider::tombstone_key), which was not cancelled in time; has its payment intent.
    OpenTombstone(String),
    /// A tombstone that was placed when the provider may have forgotten earlier requests under the key: not evidence.
    LateTombstone,
    /// No money was taken, and the charge waits for an action that never comes: for the cardholder to authenticate it,
    /// or for us to confirm or capture it. [`Provider::cancel`] ends it, unless it has ended otherwise.
    Waiting {
        /// The payment intent (`pi_…`).
        intent: String,
        /// Its state: `requires_action`, `requires_confirmation`, …
        state: String,
    },
    /// In this state it may still succeed or fail.
    Pending(String),
    /// Nothing was found. That is not evidence: the search lags behind, and a request may still be on its way.
    NotFound,
}

/// A charge, as the provider has it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Charged {
    /// The payment intent (`pi_…`).
    pub intent: String,
    /// The transaction id that we sent with it; `None` if it is not ours.
    pub transaction: Option<TransactionId>,
    /// The account that we sent with it.
    pub account: AccountId,
    /// The amount charged.
    pub money: Money,
    /// The payment method that we sent with it.
    pub payment_method: PaymentMethod,
    /// The client's words.
    pub reference: Option<Reference>,
    /// The provider's time, in epoch milliseconds of whole seconds.
    pub created: u64,
}

/// A refund, as the provider has it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Refunded {
    /// The provider's refund (`re_…`).
    pub reversal: String,
    /// The amount refunded.
    pub amount: Amount,
    /// The client's words.
    pub reason: Option<Reason>,
    /// The provider's time, in epoch milliseconds of whole seconds.
    pub created: u64,
}

impl Provider {
    /// Looks for the charge of a transaction.
    ///
    /// # Errors
    ///
    /// When the provider gives no answer, or an invalid one: nothing is known then.
    pub async fn find_charge(
        &self,
        transaction: TransactionId,
        timeout: Duration,
    ) -> Result<ProviderStatus, ProviderError> {
        let url = with_query(&self.search, [("query", format!("metadata['transaction']:'{transaction}'"))]);
        match self.get::<List<Intent>>(url, timeout).await?.data.as_slice() {
            [] => Ok(ProviderStatus::NotFound),
            [intent] => self.charge_status(intent),
            several => Err(ProviderError::unknown(format!("{} payment intents of one transaction", several.len()))),
        }
    }

    /// Looks up the charge with this payment intent.
    ///
    /// # Errors
    ///
    /// As [`Provider::find_charge`].
    pub async fn get_charge(&self, intent: &str, timeout: Duration) -> Result<ProviderStatus, ProviderError> {
        self.charge_status(&self.get::<Intent>(self.intent_url(intent)?, timeout).await?)
    }

    /// The transaction id that we sent with this payment intent, whatever its state; `None` if the intent is not ours.
    ///
    /// # Errors
    ///
    /// As [`Provider::find_charge`]; also if there is no such payment intent.
    pub async fn transaction_of(
        &self,
        intent: &str,
        timeout: Duration,
    ) -> Result<Option<TransactionId>, ProviderError> {
        Ok(self.get::<Intent>(self.intent_url(intent)?, timeout).await?.transaction())
    }

    /// One path segment, whatever an operator has typed.
    fn intent_url(&self, intent: &str) -> Result<Url, ProviderError> {
        let mut url = self.payment_intents.clone();
        url.path_segments_mut().map_err(|()| ProviderError::unknown("the base URL has no path"))?.push(intent);
        Ok(url)
    }

    fn charge_status(&self, intent: &Intent) -> Result<ProviderStatus, ProviderError> {
        let is_late = intent.transaction().is_none_or(|id| !self.remembers(id, intent.created.saturating_mul(1000)));
        let is_closed =
            |status: &ProviderStatus| matches!(status, ProviderStatus::Cancelled | ProviderStatus::OpenTombstone(_));
        match intent.status()? {
            status if is_closed(&status) && intent.is_tombstone() && is_late => Ok(ProviderStatus::LateTombstone),
            status => Ok(status),
        }
    }

    /// Looks for the refund of a transaction among those of a payment.
    ///
    /// # Errors
    ///
    /// As [`Provider::find_charge`].
    pub async fn find_refund(
        &self,
        transaction: TransactionId,
        intent: &str,
        timeout: Duration,
    ) -> Result<ProviderStatus, ProviderError> {
        let url = with_query(&self.refunds, [("payment_intent", intent.to_owned()), ("limit", "100".to_owned())]);
        let list: List<Reversal> = self.get(url, timeout).await?;
        let own = |refund: &&Reversal| refund.metadata.transaction.as_deref() == Some(&transaction.to_string());
        match list.data.iter().find(own) {
            Some(refund) => refund.status(),
            None if list.has_more => Err(ProviderError::unknown("the payment has more refunds than were looked at")),
            None => Ok(ProviderStatus::NotFound),
        }
    }

    /// Makes sure that the charge or refund of a transaction can no longer happen: places a tombstone under its
    /// idempotency key, an unconfirmed payment intent that is cancelled at once. A late request uses the same key with
    /// other parameters, and is refused.
    ///
    /// That is evidence only while the provider remembers requests under the key: once it has forgotten them, the key
    /// of an executed request is as free as an unused one. So a transaction id older than
    /// [`Provider::tombstones_within`] gets no tombstone; `now` is in epoch milliseconds. Its age counts from its
    /// creation, which is never after its first use. The tombstone itself is effective for as long as the provider
    /// remembers it, at Stripe for 24 hours: much longer than any sandbox lives that could still send the request.
    ///
    /// `currency` is the currency of the request: an account need not accept any other. Without one, nothing was sent,
    /// and any currency works.
    ///
    /// # Errors
    ///
    /// When it is not certain: because it is too late, or because the key was used before. In that case a request was
    /// made under it, and a search will find it ([`Provider::find_charge`]).
    pub async fn tombstone_key(
        &self,
        transaction: TransactionId,
        currency: Option<Currency>,
        now: u64,
        timeout: Duration,
    ) -> Result<(), ProviderError> {
        if !self.remembers(transaction, now) {
            return Err(ProviderError::unknown(
                "the provider may have forgotten what was done under the key, so that a tombstone proves nothing",
            ));
        }
        // An account may not accept the currency. Then it would not have accepted the request either, but the key is
        // still free: a refused parameter is not saved under it.
        let other = Currency::from_code("EUR").filter(|other| Some(*other) != currency);
        for currency in [currency, other].into_iter().flatten() {
            if self.put_tombstone(transaction, currency, timeout).await? {
                return Ok(());
            }
        }
        Err(ProviderError::unknown("the tombstone was refused"))
    }

    /// Whether a tombstone holds the key; `false` if the provider does not accept the currency.
    async fn put_tombstone(
        &self,
        transaction: TransactionId,
        currency: Currency,
        timeout: Duration,
    ) -> Result<bool, ProviderError> {
        let form = [
            // An amount that is never charged, but must be accepted: it is within the limits of every currency,
            // including those whose last digits must be 0.
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
            // Stripe saves every result under a key, even a 500, for a day, and refuses the key with other parameters.
            // So a replayed result is that of an earlier tombstone, which occupies the key, whether it was created or
            // not.
            Ok(Answer::Declined(_) | Answer::Refused(_)) | Err(_) if is_replayed => Ok(true),
            Ok(Answer::Refused(error)) if error.is_about("currency") => Ok(false),
            Ok(Answer::Declined(_) | Answer::Refused(_)) => Err(ProviderError::unknown("the tombstone was refused")),
            Err(error) => Err(error),
        }
    }

    /// Cancels a tombstone, or a charge that [waits](ProviderStatus::Waiting). It uses no key: cancelling twice is
    /// harmless, while under a key a failure of the provider would be saved for a day.
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
            // It was cancelled before: the reply was lost, or the search does not show it yet.
            Answer::Refused(error) if error.intent_status() == Some("canceled") => Ok(()),
            Answer::Declined(_) | Answer::Refused(_) => Err(ProviderError::unknown("the tombstone was not cancelled")),
        }
    }

    /// Whether the provider still remembers all requests under the key of a transaction; `now` is in epoch
    /// milliseconds.
    fn remembers(&self, transaction: TransactionId, now: u64) -> bool {
        transaction.made().is_some_and(|made| now < made.plus(self.tombstones_within).0)
    }

    async fn get<T: for<'de> Deserialize<'de>>(&self, url: Url, timeout: Duration) -> Result<T, ProviderError> {
        let response = self.send(|| self.http.get(url.clone()), timeout).await?;
        let status = response.status();
        let body = response.bytes().await.map_err(ProviderError::reading)?;
        if status != StatusCode::OK {
            return Err(ProviderError::unknown(format!("a lookup was answered with status {status}")));
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

/// Our metadata, from which the payment can be rebuilt without the request.
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
    fn transaction(&self) -> Option<TransactionId> {
        self.metadata
            .transaction
            .as_deref()
            .and_then(|text| Uuid::try_parse(text).ok())
            .map(|uuid| TransactionId::from_bytes(uuid.into_bytes()))
    }

    const fn is_tombstone(&self) -> bool {
        self.metadata.tombstone.is_some()
    }

    /// States: Stripe, "How intents work". An intent that waits for a payment method was declined, or never confirmed.
    fn status(&self) -> Result<ProviderStatus, ProviderError> {
        match (self.status.as_str(), &self.last_payment_error) {
            ("succeeded", _) => self.charged().map(|charged| ProviderStatus::Charged(Box::new(charged))),
            ("canceled", _) => Ok(ProviderStatus::Cancelled),
            _ if self.is_tombstone() => Ok(ProviderStatus::OpenTombstone(self.id.clone())),
            ("requires_payment_method", Some(error)) => {
                let word = |name: &str| error[name].as_str().map(str::to_owned);
                Ok(ProviderStatus::Declined(Decline::new(word("code"), word("decline_code"), word("message"))))
            }
            // What can be cancelled: Stripe, "Cancel a PaymentIntent".
            ("requires_payment_method" | "requires_confirmation" | "requires_action" | "requires_capture", _) => {
                Ok(ProviderStatus::Waiting { intent: self.id.clone(), state: self.status.clone() })
            }
            (state, _) => Ok(ProviderStatus::Pending(state.to_owned())),
        }
    }

    fn charged(&self) -> Result<Charged, ProviderError> {
        let missing = |what: &str| ProviderError::unknown(format!("{} has no valid {what}", self.id));
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
    fn status(&self) -> Result<ProviderStatus, ProviderError> {
        match self.status.as_str() {
            "succeeded" => Ok(ProviderStatus::Refunded(Box::new(Refunded {
                reversal: self.id.clone(),
                amount: Amount::new(self.amount).ok_or_else(|| ProviderError::unknown("a refund of nothing"))?,
                reason: self.metadata.reason.as_deref().and_then(Reason::parse),
                created: self.created.saturating_mul(1000),
            }))),
            "failed" | "canceled" => Ok(ProviderStatus::RefundFailed),
            state => Ok(ProviderStatus::Pending(state.to_owned())),
        }
    }
}
