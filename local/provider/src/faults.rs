//! Payment methods that cause faults.
//!
//! | payment method | fault of the first request under its idempotency key |
//! |---|---|
//! | `pm_timeout_before_charge` | no answer, nothing charged; a repeat is executed |
//! | `pm_timeout_after_charge` | no answer, but charged; a repeat gets the stored answer |
//! | `pm_timeout_after_decline` | no answer, but declined; a repeat gets the stored answer |
//! | `pm_kill_before_charge` | the calling sandbox is killed, nothing charged; a repeat is executed |
//! | `pm_kill_after_charge` | charged, then the calling sandbox is killed; a repeat gets the stored answer |
//! | `pm_slow_MS` | charged and answered after that time, even if the caller has gone; until then the key is in use |
//!
//! A payment by one of these is charged as by any card, and its refunds meet the fault, likewise on the first request
//! under their key: `pm_timeout_before_refund`, `pm_timeout_after_refund`, `pm_kill_before_refund`, `pm_kill_after_refund`,
//! `pm_slow_refund_MS`.
//!
//! If a tombstone has taken the key of such a first request, the same request under its next key meets no fault: one
//! fault per operation.
//!
//! A request that was not executed is held, as if it were still on its way from a frozen sandbox, and arrives when
//! `POST /_local/provider/deliver` says so.

use std::time::Duration;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fault {
    Timeout(Moment),
    Kill(Moment),
    Slow(Duration),
}

/// Before or after the charge or refund.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Moment {
    Before,
    After,
}

impl Fault {
    pub(crate) fn of_charge(payment_method: &str) -> Option<Self> {
        match payment_method {
            "pm_timeout_before_charge" => Some(Self::Timeout(Moment::Before)),
            "pm_timeout_after_charge" | "pm_timeout_after_decline" => Some(Self::Timeout(Moment::After)),
            "pm_kill_before_charge" => Some(Self::Kill(Moment::Before)),
            "pm_kill_after_charge" => Some(Self::Kill(Moment::After)),
            slow => Self::slow(slow, "pm_slow_"),
        }
    }

    /// Of a refund of a charge by this payment method.
    pub(crate) fn of_refund(payment_method: &str) -> Option<Self> {
        match payment_method {
            "pm_timeout_before_refund" => Some(Self::Timeout(Moment::Before)),
            "pm_timeout_after_refund" => Some(Self::Timeout(Moment::After)),
            "pm_kill_before_refund" => Some(Self::Kill(Moment::Before)),
            "pm_kill_after_refund" => Some(Self::Kill(Moment::After)),
            slow => Self::slow(slow, "pm_slow_refund_"),
        }
    }

    pub(crate) fn is_known(payment_method: &str) -> bool {
        Self::of_charge(payment_method).or_else(|| Self::of_refund(payment_method)).is_some()
    }

    fn slow(payment_method: &str, prefix: &str) -> Option<Self> {
        Some(Self::Slow(Duration::from_millis(payment_method.strip_prefix(prefix)?.parse().ok()?)))
    }
}

/// The request without its transaction id. Its text has one line per parameter.
pub(crate) fn without_transaction(request: &str) -> String {
    request.lines().filter(|line| !line.starts_with("\"metadata[transaction]\"")).collect::<Vec<_>>().join("\n")
}
