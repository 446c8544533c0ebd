//! Retry signals: the list, a signal with its counts, and its label.

use std::collections::BTreeMap;

use aws_sdk_dynamodb::Client;
use aws_sdk_dynamodb::primitives::{DateTime, DateTimeFormat};
use futures::future::try_join_all;
use idempotency::protocol::{EpochMs, InvocationId};
use lambda_http::Error;
use payments::setting;
use retry_signals::{Label, Labelling, Signal, Signals, TableError};
use serde::{Deserialize, Serialize};
use signals::{Counts, Detector, Kind, WindowTime};
use std::time::Duration;

use crate::auth::Actor;
use crate::error::ConsoleError;
use crate::format;
use crate::state::Console;

/// The days that the list shows.
const DAYS: u32 = 7;

/// The seconds of a day.
const DAY_S: u64 = 24 * 60 * 60;

/// Windows of a strip: a day of five minutes each.
const STRIP: u64 = 288;

/// Keys of one read.
const BATCH: usize = 100;

/// The table of the retry signals, if the environment names one.
pub(crate) fn of_environment(client: &Client) -> Result<Option<Signals>, Error> {
    let Ok(table) = setting("SIGNALS_TABLE") else { return Ok(None) };
    let window = Duration::from_secs(setting("SIGNAL_WINDOW_S")?.parse()?);
    Ok(Some(Signals::new(client.clone(), table, window)))
}

/// The filter of the list, as in the URL. An empty field is not a condition.
#[derive(Clone, Debug, Default, Deserialize, Serialize)]
#[serde(default)]
pub(crate) struct Filter {
    #[serde(skip_serializing_if = "String::is_empty")]
    pub(crate) day: String,
    #[serde(skip_serializing_if = "String::is_empty")]
    pub(crate) kind: String,
    #[serde(skip_serializing_if = "String::is_empty")]
    pub(crate) detector: String,
    /// A label's name, or `none`.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub(crate) label: String,
}

impl Filter {
    pub(crate) fn is_empty(&self) -> bool {
        [&self.day, &self.kind, &self.detector, &self.label].iter().all(|text| text.is_empty())
    }

    fn passes(&self, signal: &Signal) -> bool {
        let is = |wanted: &str, found: &str| wanted.is_empty() || wanted == found;
        is(&self.kind, signal.kind.name())
            && is(&self.detector, signal.detector.name())
            && is(&self.label, signal.label().map_or("none", Label::name))
    }

    fn days(&self, today: u32) -> Result<Vec<u32>, ConsoleError> {
        if self.day.is_empty() {
            return Ok((today.saturating_sub(DAYS - 1)..=today).rev().collect());
        }
        let day = day_of(&self.day).ok_or_else(|| ConsoleError::invalid("day must be a date such as 2026-11-29"))?;
        Ok(vec![day])
    }
}

/// The day of `2026-11-29`, counted from the Unix epoch.
fn day_of(date: &str) -> Option<u32> {
    let at = DateTime::from_str(&format!("{date}T00:00:00Z"), DateTimeFormat::DateTime).ok()?;
    u32::try_from(u64::try_from(at.secs()).ok()? / DAY_S).ok()
}

/// `2026-11-29`.
pub(crate) fn date(day: u32) -> String {
    format::rfc3339(EpochMs(u64::from(day) * DAY_S * 1000)).chars().take(10).collect()
}

/// The place of a signal, as in the URL.
#[derive(Clone, Debug, Deserialize)]
pub(crate) struct Place {
    day: String,
    kind: String,
    entity: String,
}

/// The address of a signal's page.
pub(crate) fn address(signal: &Signal) -> String {
    format!("/console/signals/{}/{}/{}", date(signal.day), signal.kind.name(), signal.entity)
}

/// A signal with the windows of the 24 hours up to its last one.
pub(crate) struct SignalDetails {
    pub(crate) signal: Signal,
    /// From the oldest on; windows without a request have no counts.
    pub(crate) strip: Vec<(WindowTime, Option<Counts>)>,
}

impl Console {
    fn signals(&self) -> Result<&Signals, ConsoleError> {
        self.signals.as_ref().ok_or_else(ConsoleError::no_page)
    }

    /// The signals that match, newest day first, and within a day the strongest first.
    pub(crate) async fn signal_list(&self, filter: &Filter) -> Result<Vec<Signal>, ConsoleError> {
        let table = self.signals()?;
        let today = u32::try_from(self.now().0 / 1000 / DAY_S).unwrap_or(u32::MAX);
        let days = filter.days(today)?;
        let days = try_join_all(days.into_iter().map(|day| table.signals(day))).await.map_err(unavailable)?;
        Ok(days.into_iter().flatten().filter(|signal| filter.passes(signal)).collect())
    }

    pub(crate) async fn signal(&self, place: &Place) -> Result<Signal, ConsoleError> {
        let table = self.signals()?;
        let (Some(day), Some(kind)) = (day_of(&place.day), Kind::named(&place.kind)) else {
            return Err(ConsoleError::no_signal());
        };
        let signal = table.signal(day, kind, &place.entity).await.map_err(unavailable)?;
        signal.ok_or_else(ConsoleError::no_signal)
    }

    pub(crate) async fn signal_details(&self, place: &Place) -> Result<SignalDetails, ConsoleError> {
        let signal = self.signal(place).await?;
        let last = signal.last_window();
        let length_s = u64::from(last.length_s);
        let windows: Vec<WindowTime> = (0..STRIP)
            .rev()
            .map(|back| WindowTime { start_s: last.start_s.saturating_sub(back * length_s), ..last })
            .collect();
        let table = self.signals()?;
        let reads = windows.chunks(BATCH).map(|part| table.history(signal.kind, &signal.entity, part));
        let found: BTreeMap<WindowTime, Counts> =
            try_join_all(reads).await.map_err(unavailable)?.into_iter().flatten().collect();
        let strip = windows.into_iter().map(|at| (at, found.get(&at).cloned())).collect();
        Ok(SignalDetails { signal, strip })
    }

    /// Labels a signal, or takes its label back.
    pub(crate) async fn label_signal(
        &self,
        actor: &Actor,
        request: Option<InvocationId>,
        place: &Place,
        label: Option<Label>,
    ) -> Result<Signal, ConsoleError> {
        actor.require_operator()?;
        let signal = self.signal(place).await?;
        if signal.label() == label {
            return Ok(signal);
        }
        let request = request.map_or_else(|| "-".to_owned(), |id| id.to_string());
        let labelling = Labelling { label, at_ms: self.now().0, request, by: actor.name.clone() };
        match self.signals()?.label(&signal, labelling).await {
            Ok(()) => Ok(signal),
            Err(TableError::Changed(_)) => Err(ConsoleError::signal_changed()),
            Err(error) => Err(ConsoleError::uncertain(&error)),
        }
    }
}

fn unavailable(error: TableError) -> ConsoleError {
    ConsoleError::unavailable(&error)
}

/// The label with this name; `None` for `none`.
pub(crate) fn label_named(name: &str) -> Result<Option<Label>, ConsoleError> {
    match name {
        "none" => Ok(None),
        name => Label::named(name).map(Some).ok_or_else(|| ConsoleError::invalid("there is no such label")),
    }
}

/// A label in words, for buttons and lists.
pub(crate) const fn label_title(label: Label) -> &'static str {
    match label {
        Label::Abuse => "Abuse",
        Label::ClientBug => "Client bug",
        Label::Fine => "Fine",
    }
}

/// All detectors, for the filter.
pub(crate) const DETECTORS: [Detector; 12] = Detector::ALL;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_date_is_read_back_as_its_day_and_nothing_else_is_one() {
        assert_eq!((day_of("1970-01-02"), day_of(&date(20_786))), (Some(1), Some(20_786)));
        for wrong in ["", "today", "2026-13-01", "1969-12-31", "2026-11-29T00"] {
            assert_eq!(day_of(wrong), None, "{wrong}");
        }
    }
}
