//! The API's business logic. The layer does everything for idempotency; the handler passes on the transaction id and
//! reports what it knows about the outcome.

mod answer;
mod order;
mod pages;
mod reader;

use aws_sdk_dynamodb::types::TransactWriteItem;
use idempotency::Attempt;
use idempotency::http::{Facts, Received, jwt_subject};
use idempotency::protocol::PrincipalDigest;
use lambda_http::http::Method;
use lambda_http::{Body, Error, Request, RequestExt, Response};
use payments::{
    Account, AccountId, Charge, Invalid, Payment, PaymentId, PaymentRequest, Provider, ProviderError, Refund,
    RefundRequest, Reversal, Table, TableError, record_payment, record_refund, reply,
};

pub(crate) use order::{facts, read, subject};

use order::Order;
use reader::Reader;

/// An error means that the outcome is not known; the layer then abandons the claim.
type Answer = Result<Response<Body>, Error>;

/// The attempt, which collects the effects for the transaction that settles the request.
type PaymentAttempt = Attempt<TransactWriteItem>;

/// Handles the routes of the API.
#[derive(Clone, Debug)]
pub(crate) struct Handler {
    provider: Provider,
    table: Table,
    /// The claim of a token that lists its holder's accounts; `None` if an account belongs to its first payer.
    accounts_claim: Option<String>,
}

impl Handler {
    pub(crate) const fn new(provider: Provider, table: Table, accounts_claim: Option<String>) -> Self {
        Self { provider, table, accounts_claim }
    }

    pub(crate) async fn handle(self, request: Request) -> Answer {
        match *request.method() {
            Method::POST => self.write(&request).await,
            Method::GET => Ok(self.read(&request).await),
            _ => Ok(answer::not_found(NO_RESOURCE)),
        }
    }

    /// Handles the protected routes, using what the layer has parsed from the request.
    async fn write(&self, request: &Request) -> Answer {
        let (attempt, received) = (Attempt::from_request(request)?, Received::from_request(request)?);
        let asker = received.principal();
        match request.extensions().get() {
            Some(Order::Payment(order)) => self.create_payment(attempt, asker, order.as_ref()).await,
            Some(Order::Refund { payment, order }) => {
                self.create_refund(attempt, asker, *payment, order.as_ref()).await
            }
            None => Ok(answer::not_found(NO_RESOURCE)),
        }
    }

    async fn read(&self, request: &Request) -> Response<Body> {
        match request.raw_http_path().trim_matches('/').split('/').collect::<Vec<_>>().as_slice() {
            ["problems"] => pages::index(),
            ["problems", code] => pages::of(code).unwrap_or_else(|| answer::not_found(NO_RESOURCE)),
            path => self.read_own(request, path).await,
        }
    }

    /// Reads a payment or an account of a caller.
    async fn read_own(&self, request: &Request, path: &[&str]) -> Response<Body> {
        let Some(asker) = jwt_subject(request).map(|principal| principal.digest()) else {
            return answer::forbidden();
        };
        match path {
            ["payments", id] => self.payment(asker, id).await,
            ["accounts", account] => self.account(request, asker, account).await,
            _ => answer::not_found(NO_RESOURCE),
        }
    }

    /// Charges, and records the payment with its event for the ledger in the transaction that settles the request.
    async fn create_payment(
        &self,
        attempt: PaymentAttempt,
        owner: PrincipalDigest,
        order: Result<&PaymentRequest, &Invalid>,
    ) -> Answer {
        let order = match order {
            Ok(order) => order,
            Err(invalid) => return Ok(answer::invalid(invalid)),
        };
        let transaction = attempt.transaction();
        match self.provider.charge(transaction, order, attempt.remaining()).await {
            Ok(Charge::Succeeded { id }) => {
                let payment = Payment::new(transaction, owner, order, id, attempt.now().0);
                Ok(record_payment(&self.table, &payment, &attempt))
            }
            Ok(Charge::Declined(decline)) => Ok(because(decline.reason(), reply::declined(&decline))),
            Ok(Charge::Refused(refusal)) => Ok(because(refusal.code(), reply::refused(&refusal))),
            Err(error) => no_answer(error),
        }
    }

    /// Refunds, and records the refund with its event in the transaction that settles the request.
    async fn create_refund(
        &self,
        attempt: PaymentAttempt,
        asker: PrincipalDigest,
        payment: Option<PaymentId>,
        order: Result<&RefundRequest, &Invalid>,
    ) -> Answer {
        let order = match order {
            Ok(order) => order,
            Err(invalid) => return Ok(answer::invalid(invalid)),
        };
        let payment = match self.payment_of(&asker, payment).await {
            Ok(Some(payment)) => payment,
            Ok(None) => return Ok(answer::not_found(NO_PAYMENT)),
            Err(error) => return Ok(answer::table_unavailable(&error)),
        };
        let about = Some(payment.account.to_string());
        let mut answer = self.refund(attempt, &payment, order).await?;
        add_facts(&mut answer, Facts { about, ..Facts::default() });
        Ok(answer)
    }

    /// Refunds a payment of the caller.
    async fn refund(&self, attempt: PaymentAttempt, payment: &Payment, order: &RefundRequest) -> Answer {
        let amount = match order.amount_of(payment) {
            Ok(amount) => amount,
            Err(invalid) => return Ok(answer::invalid(&invalid)),
        };
        let transaction = attempt.transaction();
        match self.provider.refund(transaction, payment, amount, order.reason.as_ref(), attempt.remaining()).await {
            Ok(Reversal::Succeeded { id }) => {
                let refund = Refund::new(transaction, payment, amount, order.reason.clone(), id, attempt.now().0);
                Ok(record_refund(&self.table, payment, &refund, &attempt))
            }
            Ok(Reversal::Refused(refusal)) => Ok(because(refusal.code(), reply::refused(&refusal))),
            Err(error) => no_answer(error),
        }
    }

    async fn payment(&self, asker: PrincipalDigest, id: &str) -> Response<Body> {
        match self.payment_of(&asker, PaymentId::parse(id)).await {
            Ok(Some(payment)) => answer::found(&payment),
            Ok(None) => answer::not_found(NO_PAYMENT),
            Err(error) => answer::table_unavailable(&error),
        }
    }

    async fn account(&self, request: &Request, asker: PrincipalDigest, account: &str) -> Response<Body> {
        let reader = Reader::of(request, asker, self.accounts_claim.as_deref());
        match self.account_for(&reader, account).await {
            Ok(Some(account)) => answer::found(&account),
            Ok(None) => answer::not_found("There is no such account."),
            Err(error) => answer::table_unavailable(&error),
        }
    }

    /// The account, if the reader may see it. A hidden account looks like one that does not exist.
    async fn account_for(&self, reader: &Reader, account: &str) -> Result<Option<Account>, TableError> {
        let Some(id) = AccountId::parse(account) else { return Ok(None) };
        match reader {
            Reader::All => self.table.account(&id).await,
            Reader::Named(accounts) if accounts.contains(&id) => self.table.account(&id).await,
            Reader::Named(_) => Ok(None),
            Reader::Payer(asker) => self.account_of(asker, &id).await,
        }
    }

    /// The account, if the caller was the first to pay into it. Owner and account are read concurrently in every case,
    /// so that the response time does not show whether either exists.
    async fn account_of(&self, asker: &PrincipalDigest, id: &AccountId) -> Result<Option<Account>, TableError> {
        let (account, owner) = tokio::try_join!(self.table.account(id), self.table.owner(id))?;
        let Some(account) = account else { return Ok(None) };
        let owner = match owner {
            Some(owner) => Some(owner),
            None => self.table.appoint(&account).await?,
        };
        Ok((owner.as_ref() == Some(asker)).then_some(account))
    }

    /// The payment, if the caller made it. The payment of another caller looks like one that does not exist.
    async fn payment_of(&self, asker: &PrincipalDigest, id: Option<PaymentId>) -> Result<Option<Payment>, TableError> {
        let Some(id) = id else { return Ok(None) };
        Ok(self.table.payment(id).await?.filter(|payment| payment.owner == *asker))
    }
}

/// The answer, with the reason of the refusal for its line in the log.
fn because(code: &str, mut answer: Response<Body>) -> Response<Body> {
    add_facts(&mut answer, Facts { code: Some(code.to_owned()), ..Facts::default() });
    answer
}

/// Adds the facts of a run to those that are already in the answer.
fn add_facts(answer: &mut Response<Body>, learned: Facts) {
    let known = answer.extensions_mut().remove::<Facts>().unwrap_or_default();
    answer.extensions_mut().insert(known.or(learned));
}

const NO_RESOURCE: &str = "There is no such resource.";

const NO_PAYMENT: &str = "There is no such payment.";

/// The response if the provider gave no final answer: it executed nothing, or the outcome is unknown.
fn no_answer(error: ProviderError) -> Answer {
    match error {
        ProviderError::NotSent(_)
        | ProviderError::NoApiKey(_)
        | ProviderError::OutOfTime
        | ProviderError::NotExecuted(_) => Ok(answer::provider_unavailable(&error)),
        ProviderError::Unknown { .. } => Err(error.into()),
    }
}
