//! Values as texts, the same on pages and in JSON.

use std::time::Duration;

use idempotency::protocol::{EpochMs, HistoryEvent, State};
use payments::{Action, ActionKind, AuditKind, Currency};

/// An amount of minor units in the currency's notation: `1999` in EUR is `19.99 EUR`. Only the decimal point is
/// inserted, so every integer stays exact.
pub(crate) fn money(minor_units: &str, currency: &str) -> String {
    let Some(known) = Currency::from_code(currency) else { return format!("{minor_units} minor units of {currency}") };
    let (sign, digits) = minor_units.strip_prefix('-').map_or(("", minor_units), |digits| ("-", digits));
    let decimals = known.minor_digits();
    let digits = format!("{digits:0>width$}", width = decimals + 1);
    let (whole, part) = digits.split_at(digits.len() - decimals);
    let point = if decimals > 0 { "." } else { "" };
    format!("{sign}{}{point}{part} {known}", grouped(whole))
}

/// Groups of three from the right, with narrow no-break spaces between them.
fn grouped(digits: &str) -> String {
    let mut text = String::new();
    for (index, digit) in digits.chars().enumerate() {
        if index > 0 && (digits.len() - index).is_multiple_of(3) {
            text.push('\u{202f}');
        }
        text.push(digit);
    }
    text
}

/// `2026-11-24T04:20:59.25Z`, for scripts and for the machine-readable attribute of pages.
pub(crate) fn rfc3339(at: EpochMs) -> String {
    payments::rfc3339(at.0).unwrap_or_else(|| format!("{} ms after 1970", at.0))
}

/// `2026-11-24 04:20:59 UTC`.
pub(crate) fn time(at: EpochMs) -> String {
    let text = rfc3339(EpochMs(at.0 / 1000 * 1000));
    match text.strip_suffix('Z').and_then(|text| text.split_once('T')) {
        Some((date, time)) => format!("{date} {time} UTC"),
        None => text,
    }
}

/// The two largest units of a duration: `3 d 4 h`, `5 min 12 s`.
pub(crate) fn duration(duration: Duration) -> String {
    let seconds = duration.as_secs();
    let (days, hours, minutes) = (seconds / 86_400, seconds / 3600 % 24, seconds / 60 % 60);
    match (days, hours, minutes) {
        (0, 0, 0) => format!("{seconds} s"),
        (0, 0, minutes) => format!("{minutes} min {} s", seconds % 60),
        (0, hours, minutes) => format!("{hours} h {minutes} min"),
        (days, hours, _) => format!("{days} d {hours} h"),
    }
}

pub(crate) fn state(state: &State, now: EpochMs) -> &'static str {
    match state {
        State::Processing(holder) if holder.lease > now => "An attempt is running.",
        State::Processing(_) => "An attempt started but did not end, and its lease is over. Its outcome is unknown.",
        State::Released { .. } => "Nothing was executed. The next call with its key runs.",
        State::Success(_) => "It happened. Every call with its key gets the recorded answer.",
        State::Failed(_) => "It did not happen and will not. Every call with its key gets the recorded answer.",
        State::Unknown(Some(holder)) if holder.lease > now => {
            "The outcome is unknown. A retry or the reconciler is looking for evidence right now."
        }
        State::Unknown(_) => "The outcome is unknown. Nothing runs again without evidence.",
    }
}

pub(crate) fn event(event: HistoryEvent) -> String {
    match event {
        HistoryEvent::Claimed => "claimed: an attempt started".into(),
        HistoryEvent::Released => "released: nothing was executed".into(),
        HistoryEvent::Abandoned => "abandoned: the attempt ended without a known outcome".into(),
        HistoryEvent::LeaseOver => "the lease ended before the attempt".into(),
        HistoryEvent::Reconciling => "reconciling: looking for evidence".into(),
        HistoryEvent::Prevented => "released: it did not happen and no longer can".into(),
        HistoryEvent::Succeeded => "settled as SUCCESS".into(),
        HistoryEvent::Failed => "settled as FAILED".into(),
        HistoryEvent::Unrecognised(byte) => format!("event {byte}, from a newer version"),
    }
}

/// An audit event, on pages and in the log.
pub(crate) fn audit_event(kind: AuditKind) -> &'static str {
    match kind {
        AuditKind::Asked => "asked the provider",
        AuditKind::Reconciled => "had it reconciled",
        AuditKind::Redriven => "sent the dead letter again",
        AuditKind::Requested => "asked for approval",
        AuditKind::Settled(ActionKind::Succeed) => "settled as SUCCESS",
        AuditKind::Settled(ActionKind::Fail) => "settled as FAILED",
        AuditKind::Settled(ActionKind::Release) => "released for retry",
        AuditKind::Intended(ActionKind::Succeed) => "was about to settle as SUCCESS",
        AuditKind::Intended(ActionKind::Fail) => "was about to settle as FAILED",
        AuditKind::Intended(ActionKind::Release) => "was about to release for retry",
        AuditKind::FencedAttempt => "late owner refused",
    }
}

/// An action as a heading or a button.
pub(crate) fn action_title(kind: ActionKind) -> &'static str {
    match kind {
        ActionKind::Succeed => "Settle as succeeded",
        ActionKind::Fail => "Settle as failed",
        ActionKind::Release => "Release for retry",
    }
}

/// A requested action with its evidence, for the audit.
pub(crate) fn requested_action(action: &Action) -> String {
    let title = action_title(action.kind());
    action.evidence().map_or_else(|| title.to_owned(), |evidence| format!("{title}: {evidence}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn amounts_keep_every_digit() {
        let cases = [
            ("1999", "EUR", "19.99 EUR"),
            ("5", "EUR", "0.05 EUR"),
            ("-5", "EUR", "-0.05 EUR"),
            ("0", "EUR", "0.00 EUR"),
            ("1999", "JPY", "1\u{202f}999 JPY"),
            ("1999", "KWD", "1.999 KWD"),
            ("9007199254740993", "EUR", "90\u{202f}071\u{202f}992\u{202f}547\u{202f}409.93 EUR"),
            ("1999", "<b>", "1999 minor units of <b>"),
        ];
        for (minor_units, currency, expected) in cases {
            assert_eq!(money(minor_units, currency), expected);
        }
    }

    #[test]
    fn times_and_durations_are_short() {
        assert_eq!(time(EpochMs(1_795_494_059_250)), "2026-11-24 04:20:59 UTC");
        assert_eq!(rfc3339(EpochMs(1_795_494_059_250)), "2026-11-24T04:20:59.25Z");
        for (seconds, expected) in
            [(0, "0 s"), (59, "59 s"), (61, "1 min 1 s"), (3661, "1 h 1 min"), (90_000, "1 d 1 h")]
        {
            assert_eq!(duration(Duration::from_secs(seconds)), expected);
        }
    }
}
