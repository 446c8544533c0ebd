use aws_sdk_dynamodb::primitives::{DateTime, DateTimeFormat};
use serde::{Serializer, ser::Error};

/// Epoch milliseconds as RFC 3339 in UTC, for example `2026-11-24T04:20:59.25Z`; `None` after the year 9999.
pub fn rfc3339(epoch_ms: u64) -> Option<String> {
    DateTime::from_millis(i64::try_from(epoch_ms).ok()?).fmt(DateTimeFormat::DateTime).ok()
}

/// Serialises epoch milliseconds as [`rfc3339`] writes them. Fails after the year 9999.
pub(crate) fn as_rfc3339<S: Serializer>(epoch_ms: &u64, serializer: S) -> Result<S::Ok, S::Error> {
    let text = rfc3339(*epoch_ms).ok_or_else(|| Error::custom("a time after the year 9999"))?;
    serializer.serialize_str(&text)
}

#[cfg(test)]
mod tests {
    fn written(epoch_ms: u64) -> Option<String> {
        super::as_rfc3339(&epoch_ms, serde_json::value::Serializer).ok().map(|text| text.as_str().unwrap().to_owned())
    }

    #[test]
    fn times_are_rfc_3339_in_utc() {
        assert_eq!(written(0).unwrap(), "1970-01-01T00:00:00Z");
        assert_eq!(written(951_782_400_250).unwrap(), "2000-02-29T00:00:00.25Z");
        assert_eq!(written(253_402_300_799_999).unwrap(), "9999-12-31T23:59:59.999Z");
        assert_eq!(written(253_402_300_800_000), None);
        assert_eq!(written(u64::MAX), None);
    }
}
