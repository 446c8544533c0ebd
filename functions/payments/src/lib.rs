//! The domain logic of the payments application: payments, charges, and postings to the ledger.
//!
//! ```text
//! PaymentRequest ─► Provider::charge ─► Payment ─► Table::created ─┐
//! RefundRequest ──► Provider::refund ─► Refund ──► Table::refunded ┤ writes for one transaction,
//!                                                                  │ with the caller's record
//! the event in it, through the queue ─► Event ─┐
//! a terminal, through queue or stream ─► Sale ─┴► Posting ─► Table::posted, Terminals::post
//! ```
//!
//! Nothing here retries, reads a clock or commits. The caller owns the claim; it passes in the transaction id, the time
//! and the remaining time, receives the writes ([`TransactWriteItem`]s), and commits them in one transaction with its
//! own record. The rules about money are therefore in this crate, and the rules about running once in another. If an
//! outcome is unknown, [`ProviderResolver`] looks it up and returns the same answer ([`reply`]) that the request would
//! have returned.
//!
//! Every identifier derives from the transaction id: a repetition under the same id uses the same key at the provider,
//! creates the same payment, and is refused by the conditions of the first writes.
//!
//! [`TransactWriteItem`]: aws_sdk_dynamodb::types::TransactWriteItem

mod audit;
mod event;
mod failure;
mod fenced_attempts;
mod id;
mod invalid;
mod invocation;
mod ledger;
mod members;
mod message;
mod money;
mod operations;
mod payment;
pub mod problems;
mod provider;
mod pseudonyms;
mod recording;
mod records;
mod refund;
pub mod reply;
mod resolver;
mod sale;
#[cfg(test)]
mod samples;
mod secret;
mod settings;
mod subject;
mod table;
mod telemetry;
mod terminals;
mod text;
mod time;

use mimalloc::MiMalloc;

pub use audit::{
    Action, ActionKind, Approval, AuditCursor, AuditEntry, AuditFilter, AuditKind, AuditPage, Preview, Proposal,
    RecordSnapshot,
};
pub use event::{Event, EventKind};
pub use failure::{Failure, Named, named};
pub use fenced_attempts::FencedAttempts;
pub use id::{PaymentId, RefundId};
pub use invalid::{Invalid, Problem};
pub use invocation::Invocation;
pub(crate) use ledger::Opening;
pub use ledger::{Account, Balance, Clearing, Entry, LedgerEntry, Origin, Posting};
pub use message::Message;
pub use money::{Amount, Currency, Money};
pub use operations::{NAMESPACE, PAY, REFUND, operations};
pub use payment::{Payment, PaymentRequest};
pub use provider::{
    ApiKey, Charge, Charged, Decline, Provider, ProviderError, ProviderRejection, ProviderStatus, Refunded, Reversal,
    SettingsError,
};
pub use pseudonyms::pseudonyms;
pub use recording::{record_payment, record_posting, record_refund};
pub use records::{Records, RecordsError};
pub use refund::{Refund, RefundRequest};
pub use resolver::ProviderResolver;
pub use sale::Sale;
pub use secret::{Secret, SecretError, SecretVersion, secrets_client};
pub use settings::{MissingSetting, ProviderSettingError, provider, setting};
pub use subject::Subject;
pub use table::{Made, Posted, RAN, Refunds, Table, TableError};
pub use telemetry::init_telemetry;
pub use terminals::Terminals;
pub use text::{AccountId, PaymentMethod, Reason, Reference, Statement, TerminalId};
pub use time::rfc3339;

/// For all functions: the SDK's allocations are a fifth of a request's CPU time.
#[global_allocator]
static ALLOCATOR: MiMalloc = MiMalloc;
