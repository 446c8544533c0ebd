//! The business of the API. Idempotency is the layer's; the handler only takes the transaction id with it, and says
//! what it knows about what happened.

mod answer;
mod reader;

use aws_sdk_dynamodb::types::TransactWriteItem;
use idempotency::http::jwt_subject;
use idempotency::{Attempt, protocol};
use lambda_http::http::Method;
use lambda_http::{Body, Error, Request, RequestExt, Response};
use payments::{
    Account, AccountId, Charge, Owner, Payment, PaymentId, PaymentRequest, Provider, ProviderError, Refund,
    RefundRequest, Reversal, Subject, Table, TableError, reply,
};

use reader::Reader;

/// An error means that the outcome is not known; the layer abandons the claim.
type Answer = Result<Response<Body>, Error>;

/// Answers the routes of the API.
#[derive(Clone, Debug)]
pub(crate) struct Handler {
    provider: Provider,
    table: Table,
    /// The claim of a token that names its holder's accounts; nothing where an account is its first payer's.
    accounts_claim: Option<String>,
}

impl Handler {
    pub(crate) const fn new(provider: Provider, table: Table, accounts_claim: Option<String>) -> Self {
        Self { provider, table, accounts_claim }
    }

    pub(crate) async fn handle(self, request: Request) -> Answer {
        let path = request.raw_http_path().to_owned();
        let segments: Vec<_> = path.trim_matches('/').split('/').collect();
        let Some(asker) = jwt_subject(&request).map(|principal| Owner::of(principal.as_str())) else {
            return Ok(answer::forbidden());
        };
        match (request.method(), segments.as_slice()) {
            (&Method::POST, ["payments"]) => self.create_payment(&request, asker).await,
            (&Method::POST, ["payments", id, "refunds"]) => self.create_refund(&request, asker, id).await,
            (&Method::GET, ["payments", id]) => Ok(self.payment(asker, id).await),
            (&Method::GET, ["accounts", account]) => Ok(self.account(&request, asker, account).await),
            _ => Ok(answer::not_found("There is no such resource.")),
        }
    }

    /// Charges, and records the payment with its event for the ledger in the transaction that settles the request.
    async fn create_payment(&self, request: &Request, owner: Owner) -> Answer {
        let Some(attempt) = attempt(request) else { return Ok(answer::unprotected()) };
        let order = match PaymentRequest::from_json(request.body()) {
            Ok(order) => order,
            Err(invalid) => return Ok(answer::invalid(&invalid)),
        };
        let transaction = attempt.transaction().uuid();
        match self.provider.charge(transaction, &order, attempt.remaining()).await {
            Ok(Charge::Succeeded { id }) => {
                let payment = Payment::new(transaction, owner, &order, id, attempt.now().0);
                attempt.add_effects(self.table.created(&payment, attempt.trace()));
                Ok(reply::payment(&payment))
            }
            Ok(Charge::Declined { code, decline_code, message }) => {
                Ok(reply::declined(decline_code.as_ref().unwrap_or(&code), &message))
            }
            Ok(Charge::Refused(refusal)) => Ok(reply::refused(&refusal)),
            Err(error) => no_answer(error),
        }
    }

    /// Gives money back, and records the refund with its event likewise.
    async fn create_refund(&self, request: &Request, asker: Owner, id: &str) -> Answer {
        let Some(attempt) = attempt(request) else { return Ok(answer::unprotected()) };
        let wish = match RefundRequest::from_json(request.body()) {
            Ok(wish) => wish,
            Err(invalid) => return Ok(answer::invalid(&invalid)),
        };
        let payment = match self.payment_of(&asker, id).await {
            Ok(Some(payment)) => payment,
            Ok(None) => return Ok(answer::not_found(NO_PAYMENT)),
            Err(error) => return Ok(answer::table_unavailable(&error)),
        };
        let amount = match wish.amount_of(&payment) {
            Ok(amount) => amount,
            Err(invalid) => return Ok(answer::invalid(&invalid)),
        };
        let transaction = attempt.transaction().uuid();
        match self.provider.refund(transaction, &payment, amount, wish.reason.as_ref(), attempt.remaining()).await {
            Ok(Reversal::Succeeded { id }) => {
                let refund = Refund::new(transaction, &payment, amount, wish.reason, id, attempt.now().0);
                attempt.add_effects(self.table.refunded(&payment, &refund, attempt.trace()));
                Ok(reply::refund(&payment, &refund))
            }
            Ok(Reversal::Refused(refusal)) => Ok(reply::refused(&refusal)),
            Err(error) => no_answer(error),
        }
    }

    async fn payment(&self, asker: Owner, id: &str) -> Response<Body> {
        match self.payment_of(&asker, id).await {
            Ok(Some(payment)) => answer::found(&payment),
            Ok(None) => answer::not_found(NO_PAYMENT),
            Err(error) => answer::table_unavailable(&error),
        }
    }

    async fn account(&self, request: &Request, asker: Owner, account: &str) -> Response<Body> {
        let reader = Reader::of(request, asker, self.accounts_claim.as_deref());
        match self.account_for(&reader, account).await {
            Ok(Some(account)) => answer::found(&account),
            Ok(None) => answer::not_found("There is no such account."),
            Err(error) => answer::table_unavailable(&error),
        }
    }

    /// The account, if the reader may see it. One that is hidden is not told from one that does not exist.
    async fn account_for(&self, reader: &Reader, account: &str) -> Result<Option<Account>, TableError> {
        let Some(id) = AccountId::parse(account) else { return Ok(None) };
        match reader {
            Reader::All => self.table.account(&id).await,
            Reader::Named(accounts) if accounts.contains(&id) => self.table.account(&id).await,
            Reader::Named(_) => Ok(None),
            Reader::Payer(asker) => self.account_of(asker, &id).await,
        }
    }

    /// The account, if the asker was the first to pay into it. Owner and account are read at once whatever there is, so
    /// that neither says by its time that there is the other.
    async fn account_of(&self, asker: &Owner, id: &AccountId) -> Result<Option<Account>, TableError> {
        let (account, owner) = tokio::try_join!(self.table.account(id), self.table.owner(id))?;
        let Some(account) = account else { return Ok(None) };
        let owner = match owner {
            Some(owner) => Some(owner),
            None => self.table.appoint(&account).await?,
        };
        Ok((owner.as_ref() == Some(asker)).then_some(account))
    }

    /// The payment, if the asker made it. Another's is not told from one that does not exist.
    async fn payment_of(&self, asker: &Owner, id: &str) -> Result<Option<Payment>, TableError> {
        let Some(id) = PaymentId::parse(id) else { return Ok(None) };
        Ok(self.table.payment(id).await?.filter(|payment| payment.owner == *asker))
    }
}

/// What a request is about, for whoever has to find out what became of it.
pub(crate) fn subject(request: &Request) -> Option<protocol::Subject> {
    protocol::Subject::new(Subject::of_request(request.raw_http_path(), request.body())?.to_text())
}

const NO_PAYMENT: &str = "There is no such payment.";

fn attempt(request: &Request) -> Option<Attempt<TransactWriteItem>> {
    request.extensions().get().cloned()
}

/// The provider gave no final answer: either it executed nothing, or nobody knows.
fn no_answer(error: ProviderError) -> Answer {
    match error {
        ProviderError::NotSent(_) | ProviderError::OutOfTime | ProviderError::NotExecuted(_) => {
            Ok(answer::provider_unavailable(&error))
        }
        ProviderError::Unknown { .. } => Err(error.into()),
    }
}
