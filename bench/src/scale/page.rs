//! The tables and plots of the page `docs/scale.md`.

use super::Row;
use super::assumption;
use super::design::Design;
use super::limit;
use super::load::Load;
use super::plot::{Line, Plot};
use super::region::Simulated;
use super::size::Size;
use super::table::{Table, whole};

/// Everything that the command prints.
#[must_use]
pub fn markdown(rows: &[Row]) -> String {
    let mut text = String::new();
    for load in Load::ALL {
        text.push_str(&format!("#### {}\n\n", capitalised(load.name())));
        text.push_str(by_rate(rows.iter().filter(|row| row.load == load)).text());
        text.push('\n');
    }
    text.push_str("![99th percentile of first requests in a retry storm](scale/latency.svg)\n\n");
    text.push_str("![Throttled requests in a retry storm](scale/throttled.svg)\n\n");
    text.push_str("### Abandoned claims\n\n");
    text.push_str(abandoned().text());
    text.push_str("\n### By the number of records\n\n");
    text.push_str(by_size().text());
    text.push_str("\n### Which limit comes first\n\n");
    text.push_str(limits().text());
    text.push_str("\n### From idle\n\n");
    text.push_str(from_idle().text());
    text.push_str("\n### Assumptions\n\n");
    text.push_str(assumptions().text());
    text
}

/// The table by rate, whose lines a test looks for.
#[must_use]
pub fn by_rate<'a>(rows: impl Iterator<Item = &'a Row>) -> Table {
    let mut table = Table::new(&[
        ">requests a second",
        "design",
        ">answered a second",
        ">p50, p99, p99.9 of first requests, ms",
        ">throttled, of a million: at once",
        ">after an hour",
        ">unanswered, of a million: at once",
        ">after an hour",
        ">partitions",
        ">write units, USD per million",
    ]);
    for row in rows {
        let Simulated { latency_ms: [p50, p99, p999], .. } = row.at_once;
        let both = |of: fn(&Simulated) -> f64| [of(&row.at_once), of(&row.after_an_hour)].map(whole);
        let [throttled, throttled_later] = both(|simulated| simulated.throttled_per_million);
        let [failed, failed_later] = both(|simulated| simulated.failed_per_million);
        table.row(&[
            whole(f64::from(row.rate)),
            row.design.name().to_owned(),
            whole(row.at_once.answered_per_s),
            format!("{}, {}, {}", whole(p50), whole(p99), whole(p999)),
            throttled,
            throttled_later,
            failed,
            failed_later,
            format!("{} → {}", row.at_once.partitions, row.after_an_hour.partitions),
            format!("{:.2}", row.at_once.usd_per_million),
        ]);
    }
    table
}

fn abandoned() -> Table {
    let lease = assumption::LEASE_S;
    // A claim arrives at a uniformly distributed time of the window, and waits for the rest of it.
    let wait = |share: f64| (share * assumption::STREAM_WINDOW_S).max(lease) + assumption::FOLLOW_UP_S;
    let mut table = Table::new(&["", "the client repeats the request", "nobody repeats it: median, 99th percentile"]);
    let ours = format!("{:.0} s, {:.0} s", wait(0.5), wait(0.99));
    table.row(&["ours".to_owned(), format!("settled {lease:.0} s after the claim"), format!("settled after {ours}")]);
    table.row(&[
        "Powertools".to_owned(),
        "the effect runs again when the function's time-out is over".to_owned(),
        "never settled; the record expires".to_owned(),
    ]);
    table
}

fn by_size() -> Table {
    let mut table = Table::new(&[
        ">records",
        ">partitions",
        ">storage, USD a month",
        ">one scan, USD",
        ">an hourly scan, USD a month",
    ]);
    for Size { records, partitions, storage_usd, scan_usd } in Size::all() {
        table.row(&[
            whole(records),
            whole(partitions),
            format!("{storage_usd:.2}"),
            format!("{scan_usd:.2}"),
            whole(scan_usd * 730.0),
        ]);
    }
    table
}

fn limits() -> Table {
    let mut table = Table::new(&[">requests a second", "limit", "value", "what an operator does", "source"]);
    for limit in limit::all() {
        let value = match limit.is_quota {
            true => format!("{}, a quota", limit.value),
            false => limit.value.to_owned(),
        };
        table.row(&[whole(limit.rate), limit.name.to_owned(), value, limit.remedy.to_owned(), limit.source.to_owned()]);
    }
    table
}

fn from_idle() -> Table {
    let mut table = Table::new(&[">requests a second", ">until all find a sandbox, s", ">refused until then, %"]);
    for rate in super::RATES {
        let (seconds, refused) = limit::from_idle(f64::from(rate));
        table.row(&[whole(f64::from(rate)), whole(seconds), whole(refused * 100.0)]);
    }
    table
}

fn assumptions() -> Table {
    let mut table = Table::new(&["what", "assumed", "source"]);
    for (what, value, source) in assumption::TABLE {
        table.row(&[what, value, source].map(str::to_owned));
    }
    table
}

/// The plots, by file name.
#[must_use]
pub fn plots(rows: &[Row]) -> Vec<(&'static str, String)> {
    let lines = |of: fn(&Simulated) -> f64| {
        let of_design = |(stroke, design): (usize, Design)| Line {
            name: design.name().to_owned(),
            stroke,
            points: rows
                .iter()
                .filter(|row| row.design == design && row.load == Load::Storm)
                .map(|row| (f64::from(row.rate), of(&row.at_once)))
                .collect(),
        };
        Design::ALL.into_iter().enumerate().map(of_design).collect::<Vec<_>>()
    };
    let plot = |title: &str, y: &str, lines| {
        Plot { title: title.to_owned(), x: "requests a second".to_owned(), y: y.to_owned(), lines }.svg()
    };
    vec![
        (
            "latency.svg",
            plot("First requests in a retry storm", "99th percentile, ms", lines(|simulated| simulated.latency_ms[1])),
        ),
        (
            "throttled.svg",
            // Zero has no logarithm.
            plot(
                "Throttled requests in a retry storm",
                "of a million, at least 1",
                lines(|simulated| simulated.throttled_per_million.max(1.0)),
            ),
        ),
    ]
}

fn capitalised(text: &str) -> String {
    let mut characters = text.chars();
    characters.next().map_or_else(String::new, |first| first.to_uppercase().chain(characters).collect())
}
