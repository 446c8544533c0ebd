//! The domain of the payments application: what a payment is, how it is charged, and how it reaches the ledger.
//!
//! ```text
//! PaymentRequest ─► Provider::charge ─► Payment ─► Table::created ─┐
//! RefundRequest ──► Provider::refund ─► Refund ──► Table::refunded ┤ writes for one transaction,
//!                                                                  │ beside the caller's record
//! the event in it, through the queue ─► Event ─┐
//! a terminal, through queue or stream ─► Sale ─┴► Posting ─► Table::posted, Terminals::post
//! ```
//!
//! Nothing here retries, reads a clock or commits. Whoever calls owns the claim and passes in the transaction id, the
//! time and the time that is left; it takes back the writes ([`TransactWriteItem`]s) and commits them in one
//! transaction with its own record. So the rules about money stand in this crate, and the rules about running once in
//! another, and neither repeats the other. Where nobody knows what happened, [`ProviderResolver`] finds it out, and
//! says it in the words ([`reply`]) of the one who did not come to it.
//!
//! Every identifier derives from the transaction id: a repeat under the same id asks the provider under the same key,
//! makes the same payment, and meets the conditions of the first one's writes.
//!
//! [`TransactWriteItem`]: aws_sdk_dynamodb::types::TransactWriteItem

mod audit;
mod event;
mod id;
mod invalid;
mod late_owner;
mod ledger;
mod members;
mod message;
mod money;
mod operations;
mod owner;
mod payment;
mod provider;
mod refund;
pub mod reply;
mod resolver;
mod sale;
mod settings;
mod subject;
mod table;
mod terminals;
mod text;
mod time;
mod watch;

use mimalloc::MiMalloc;

pub use audit::{Action, Approval, AuditCursor, AuditEntry, AuditFilter, AuditKind, AuditPage, Preview, Shown};
pub use event::{Event, EventKind};
pub use id::{PaymentId, RefundId};
pub use invalid::{Invalid, Problem};
pub use late_owner::LateOwners;
pub(crate) use ledger::Opening;
pub use ledger::{Account, Balance, Clearing, Entry, LedgerEntry, Origin, Posting};
pub use message::Message;
pub use money::{Amount, Currency, Money};
pub use operations::{NAMESPACE, PAY, REFUND, operations};
pub use owner::Owner;
pub use payment::{Payment, PaymentRequest};
pub use provider::{
    Charge, Charged, FoundCharge, FoundRefund, Provider, ProviderError, Refunded, Refusal, Reversal, SettingsError,
};
pub use refund::{Refund, RefundRequest};
pub use resolver::ProviderResolver;
pub use sale::Sale;
pub use settings::{MissingSetting, ProviderSettingError, provider, setting};
pub use subject::Subject;
pub use table::{Table, TableError};
pub use terminals::Terminals;
pub use text::{AccountId, PaymentMethod, Reason, Reference, Statement, TerminalId};
pub use watch::watch;

/// Of all functions: a fifth of what a request costs the processor is memory that the SDK takes and gives back.
#[global_allocator]
static ALLOCATOR: MiMalloc = MiMalloc;
