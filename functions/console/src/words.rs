//! How things are said, on pages and in JSON alike.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use aws_sdk_dynamodb::primitives::{DateTime, DateTimeFormat};
use idempotency::protocol::{EpochMs, HistoryEvent, State};
use payments::{Action, AuditEntry, AuditKind, Currency, Shown};
use serde_json::{Value, json};

/// The time of day. The console decides nothing by it that a condition does not decide again.
pub(crate) fn now() -> EpochMs {
    let since_epoch = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    EpochMs(u64::try_from(since_epoch.as_millis()).unwrap_or(u64::MAX))
}

/// An amount of minor units in the currency's own notation: `1999` of EUR is `19.99 EUR`. Digits are moved, nothing is
/// calculated, so that every integer stays exact.
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

/// `2026-11-24T04:20:59Z`; the milliseconds are for the machine-readable attribute of pages, and for scripts.
pub(crate) fn rfc3339(at: EpochMs) -> String {
    let at = i64::try_from(at.0).unwrap_or(i64::MAX);
    DateTime::from_millis(at).fmt(DateTimeFormat::DateTime).unwrap_or_else(|_| format!("{at} ms after 1970"))
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
        State::Processing(_) => {
            "An attempt began and did not end, and its lease is over. Whether it took effect is not known."
        }
        State::Released { .. } => "Nothing was executed. The next call with its key runs.",
        State::Success(_) => "It happened. Every call with its key gets the recorded answer.",
        State::Failed(_) => "It did not happen and will not. Every call with its key gets the recorded answer.",
        State::Unknown(Some(holder)) if holder.lease > now => {
            "Whether it happened is not known. Somebody is looking for evidence right now."
        }
        State::Unknown(_) => "Whether it happened is not known. Nothing runs again without evidence.",
    }
}

pub(crate) fn event(event: HistoryEvent) -> String {
    match event {
        HistoryEvent::Claimed => "claimed: an attempt began to run".into(),
        HistoryEvent::Released => "released: nothing was executed".into(),
        HistoryEvent::Abandoned => "abandoned: it ended without knowing its outcome".into(),
        HistoryEvent::LeaseOver => "the lease was over before it ended".into(),
        HistoryEvent::Reconciling => "reconciling: somebody looks for evidence".into(),
        HistoryEvent::Prevented => "released: it did not happen and cannot happen any more".into(),
        HistoryEvent::Succeeded => "settled as SUCCESS".into(),
        HistoryEvent::Failed => "settled as FAILED".into(),
        HistoryEvent::Unrecognised(byte) => format!("event {byte}, of a newer version"),
    }
}

pub(crate) fn audited(kind: AuditKind) -> &'static str {
    match kind {
        AuditKind::Asked => "asked the provider",
        AuditKind::Requested => "asked for approval",
        AuditKind::Succeeded => "settled as SUCCESS",
        AuditKind::Failed => "settled as FAILED",
        AuditKind::Released => "released for retry",
        AuditKind::LateOwner => "late owner refused",
    }
}

pub(crate) fn shown_json(shown: &Shown) -> Value {
    json!({
        "status": shown.status,
        "attempt": shown.attempt,
        "updated": rfc3339(EpochMs(shown.updated)),
        "version": shown.version,
    })
}

pub(crate) fn entry_json(entry: &AuditEntry) -> Value {
    json!({
        "id": entry.id.to_string(),
        "at": rfc3339(EpochMs(entry.at)),
        "what": entry.kind.as_str(),
        "record": crate::record::short(&entry.record),
        "transaction": entry.transaction.to_string(),
        "attempt": entry.attempt,
        "actor": entry.actor,
        "requested_by": entry.requested_by,
        "request": entry.request,
        "reason": entry.reason,
        "evidence": entry.evidence,
        "provider": entry.provider,
    })
}

/// What an operator wants, before it is done.
pub(crate) fn wanted(action: &Action) -> String {
    match action {
        Action::Succeed { reference, .. } => format!("To settle as succeeded: {reference}"),
        Action::Fail { evidence } => format!("To settle as failed: {evidence}"),
        Action::Release => "To release for retry.".to_owned(),
    }
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
