//! Payment methods that misbehave, so that every bad day can be had on purpose.
//!
//! | payment method | what the first request under its idempotency key meets |
//! |---|---|
//! | `pm_timeout_before_charge` | never an answer, nothing charged; a repeat is executed |
//! | `pm_timeout_after_charge` | never an answer, but charged; a repeat gets the stored answer |
//! | `pm_timeout_after_decline` | never an answer, but declined; a repeat gets the stored answer |
//! | `pm_kill_before_charge` | the calling sandbox is killed, nothing charged; a repeat is executed |
//! | `pm_kill_after_charge` | charged, then the calling sandbox is killed; a repeat gets the stored answer |
//! | `pm_slow_MS` | charged and answered that much later, even if the caller has gone; until then the key is in use |
//!
//! A payment by one of these is charged as by any card, and its refunds misbehave, likewise on the first request under
//! their key: `pm_timeout_before_refund`, `pm_timeout_after_refund`, `pm_kill_before_refund`, `pm_kill_after_refund`,
//! `pm_slow_refund_MS`.
//!
//! Where the key of such a first request was taken by a tombstone, the same request under its next key behaves: one bad
//! day for each operation.
//!
//! A request that was not executed is held, as if it were still on its way from a frozen sandbox, and arrives when
//! `POST /_local/provider/deliver` says so.

use std::time::Duration;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Misbehaviour {
    Timeout(Moment),
    Kill(Moment),
    Slow(Duration),
}

/// Before or after the charge or refund.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Moment {
    Before,
    After,
}

impl Misbehaviour {
    pub(super) fn of_charge(payment_method: &str) -> Option<Self> {
        match payment_method {
            "pm_timeout_before_charge" => Some(Self::Timeout(Moment::Before)),
            "pm_timeout_after_charge" | "pm_timeout_after_decline" => Some(Self::Timeout(Moment::After)),
            "pm_kill_before_charge" => Some(Self::Kill(Moment::Before)),
            "pm_kill_after_charge" => Some(Self::Kill(Moment::After)),
            slow => Self::slow(slow, "pm_slow_"),
        }
    }

    /// Of a refund of what was paid by this.
    pub(super) fn of_refund(payment_method: &str) -> Option<Self> {
        match payment_method {
            "pm_timeout_before_refund" => Some(Self::Timeout(Moment::Before)),
            "pm_timeout_after_refund" => Some(Self::Timeout(Moment::After)),
            "pm_kill_before_refund" => Some(Self::Kill(Moment::Before)),
            "pm_kill_after_refund" => Some(Self::Kill(Moment::After)),
            slow => Self::slow(slow, "pm_slow_refund_"),
        }
    }

    pub(super) fn is_known(payment_method: &str) -> bool {
        Self::of_charge(payment_method).or_else(|| Self::of_refund(payment_method)).is_some()
    }

    fn slow(payment_method: &str, prefix: &str) -> Option<Self> {
        Some(Self::Slow(Duration::from_millis(payment_method.strip_prefix(prefix)?.parse().ok()?)))
    }
}

/// What a request asks for, whichever transaction asks for it. A fingerprint has a line for each parameter.
pub(super) fn without_transaction(fingerprint: &str) -> String {
    fingerprint.lines().filter(|line| !line.starts_with("\"metadata[transaction]\"")).collect::<Vec<_>>().join("\n")
}
