mod answer;
mod api_key;
mod error;
mod lookup;
mod outcome;

pub use api_key::ApiKey;
pub use error::{ProviderError, SettingsError};
pub use lookup::{Charged, ProviderStatus, Refunded};
pub use outcome::{Charge, Decline, ProviderRejection, Reversal};

use std::time::{Duration, Instant};

use idempotency::protocol::TransactionId;
use reqwest::{
    Client, RequestBuilder, Response, StatusCode, Url,
    header::{AUTHORIZATION, HeaderMap, HeaderName, HeaderValue},
    redirect, retry,
};

use crate::{Amount, Money, Payment, PaymentRequest, Reason};
use answer::{Answer, Reply};

/// A client of Stripe's payment intents and refunds. It sends each request once and reports exactly what it learned.
///
/// Every request for money carries the transaction id as `Idempotency-Key`, so that the provider executes it once
/// however often it is repeated under that id, and in the metadata, so that it can be found there. Stripe forgets a key
/// after a day at the earliest; a repeat later than that is not covered. Until then it repeats the first result under
/// the key, even a 500. So only requests that must not take effect twice have a key, and the callers decide what a
/// saved error means.
///
/// It never retries, with one exception: only the caller knows whether another attempt is allowed. For the same reason
/// it follows no redirects and takes no proxy from the environment. The exception is a 401, which comes before a
/// request is examined: if the [API key](ApiKey) has been rotated meanwhile, the request is sent again with the new
/// one.
#[derive(Clone, Debug)]
pub struct Provider {
    http: Client,
    api_key: ApiKey,
    payment_intents: Url,
    search: Url,
    refunds: Url,
    tombstones_within: Duration,
}

impl Provider {
    /// The version of the API whose answers this client understands; without it, the account's setting would determine
    /// the version.
    const VERSION: HeaderValue = HeaderValue::from_static("2024-06-20");

    /// The default of [`Provider::tombstones_within`].
    pub const TOMBSTONES_WITHIN: Duration = Duration::from_secs(23 * 60 * 60);

    /// Makes the client, once per process. `base_url` is `https://api.stripe.com`, or plain `http` for a simulator.
    /// `connect_timeout` should be well under the timeout of a request: while connecting, a failure is harmless
    /// ([`ProviderError::NotSent`]); after that it is not.
    ///
    /// # Errors
    ///
    /// When the URL cannot be used, or TLS cannot be set up on this machine.
    pub fn new(base_url: &str, api_key: ApiKey, connect_timeout: Duration) -> Result<Self, SettingsError> {
        let version = HeaderName::from_static("stripe-version");
        let http = Client::builder()
            .default_headers(HeaderMap::from_iter([(version, Self::VERSION)]))
            .connect_timeout(connect_timeout)
            // A sandbox may be frozen for minutes between two requests. A connection that is kept over that time is
            // often dead without notice, and a request that is lost on it is an unknown outcome: worse than another
            // handshake.
            .pool_max_idle_per_host(0)
            .redirect(redirect::Policy::none())
            .retry(retry::never())
            .no_proxy()
            .build()
            .map_err(SettingsError::Client)?;
        let base = Url::parse(base_url).ok().filter(|url| matches!(url.scheme(), "https" | "http"));
        let base = base.ok_or(SettingsError::Url)?;
        let url = |path| {
            Url::parse(&format!("{}{path}", base.as_str().trim_end_matches('/'))).map_err(|_| SettingsError::Url)
        };
        Ok(Self {
            http,
            api_key,
            payment_intents: url("/v1/payment_intents")?,
            search: url("/v1/payment_intents/search")?,
            refunds: url("/v1/refunds")?,
            tombstones_within: Self::TOMBSTONES_WITHIN,
        })
    }

    /// Reads the API key, so that the first request need not. If that fails, it only logs why: the first request tries
    /// again, and fails if it must.
    pub async fn warm(&self) {
        if let Err(error) = self.api_key.current().await {
            tracing::error!(error = &error as &dyn std::error::Error, "the provider's API key is not available yet");
        }
    }

    /// How old a transaction id may be for a tombstone under it to be evidence ([`Provider::tombstone_key`]). Default:
    /// 23 hours, for a provider that keeps idempotency keys for 24. It must be shorter than that by more than clock
    /// skew and network delay.
    #[must_use]
    pub fn tombstones_within(self, within: Duration) -> Self {
        Self { tombstones_within: within, ..self }
    }

    /// Charges a card: creates a payment intent and confirms it in the same request. `timeout` bounds all of it, from
    /// connecting to the last byte of the answer.
    ///
    /// A card that requires its holder's authentication is declined (`authentication_required`): no holder is present
    /// to authenticate, and the outcome of a waiting intent would never be known.
    ///
    /// # Errors
    ///
    /// No final answer; [`ProviderError`] says whether something may have happened.
    pub async fn charge(
        &self,
        transaction: TransactionId,
        request: &PaymentRequest,
        timeout: Duration,
    ) -> Result<Charge, ProviderError> {
        let PaymentRequest { account, money, payment_method, reference } = request;
        let mut form = vec![
            ("amount", money.amount.to_string()),
            ("currency", money.currency.code().to_ascii_lowercase()),
            ("payment_method", payment_method.to_string()),
            ("payment_method_types[]", "card".to_owned()),
            ("confirm", "true".to_owned()),
            ("error_on_requires_action", "true".to_owned()),
            ("metadata[transaction]", transaction.to_string()),
            ("metadata[account]", account.to_string()),
            ("metadata[payment_method]", payment_method.to_string()),
        ];
        form.extend(reference.as_ref().map(|reference| ("metadata[reference]", reference.to_string())));
        Answer::of(self.post(&self.payment_intents, Some(&transaction.to_string()), &form, timeout).await?)?
            .charge(*money)
    }

    /// Refunds part or all of a payment. `timeout` as for [`Provider::charge`].
    ///
    /// # Errors
    ///
    /// No final answer; [`ProviderError`] says whether something may have happened.
    pub async fn refund(
        &self,
        transaction: TransactionId,
        payment: &Payment,
        amount: Amount,
        reason: Option<&Reason>,
        timeout: Duration,
    ) -> Result<Reversal, ProviderError> {
        let mut form = vec![
            ("payment_intent", payment.intent.clone()),
            ("amount", amount.to_string()),
            ("metadata[transaction]", transaction.to_string()),
            ("metadata[account]", payment.account.to_string()),
        ];
        form.extend(reason.map(|reason| ("metadata[reason]", reason.to_string())));
        let money = Money { amount, currency: payment.money.currency };
        Answer::of(self.post(&self.refunds, Some(&transaction.to_string()), &form, timeout).await?)?.reversal(money)
    }

    async fn post(
        &self,
        url: &Url,
        key: Option<&str>,
        form: &[(&str, String)],
        timeout: Duration,
    ) -> Result<Reply, ProviderError> {
        let request = || {
            let request = self.http.post(url.clone()).form(form);
            if let Some(key) = key { request.header("idempotency-key", key) } else { request }
        };
        let response = self.send(request, timeout).await?;
        let (status, is_replayed) = (response.status(), response.headers().contains_key("idempotent-replayed"));
        let body = response.bytes().await.map_err(ProviderError::reading)?.into();
        Ok(Reply { status, is_replayed, body })
    }

    /// Sends a request with our API key; a second time if the provider refuses the key and there is a newer one.
    /// `timeout` bounds both together, and what comes before them.
    async fn send(&self, request: impl Fn() -> RequestBuilder, timeout: Duration) -> Result<Response, ProviderError> {
        let end = Instant::now() + timeout;
        let key = self.api_key.current().await.map_err(ProviderError::NoApiKey)?;
        let response = Self::send_with(&key.authorization, &request, end).await?;
        if response.status() != StatusCode::UNAUTHORIZED {
            return Ok(response);
        }
        match self.api_key.other_than(&key).await {
            Ok(Some(newer)) => {
                tracing::info!("the provider refused its API key; there is a newer one");
                Self::send_with(&newer.authorization, &request, end).await
            }
            Ok(None) => Ok(response),
            Err(error) => {
                tracing::error!(error = &error as &dyn std::error::Error, "no newer API key of the provider");
                Ok(response)
            }
        }
    }

    async fn send_with(
        authorization: &HeaderValue,
        request: impl Fn() -> RequestBuilder,
        end: Instant,
    ) -> Result<Response, ProviderError> {
        let rest = end.saturating_duration_since(Instant::now());
        if rest.is_zero() {
            // The sandbox was frozen past its deadline and continues here: no caller waits for this request.
            return Err(ProviderError::OutOfTime);
        }
        let request = request().header(AUTHORIZATION, authorization.clone()).timeout(rest);
        request.send().await.map_err(ProviderError::sending)
    }
}

#[cfg(test)]
mod tests;
