//! The list as a file: CSV for people with a spreadsheet, JSON Lines for programs.

use axum::http::{HeaderValue, header};
use axum::response::{IntoResponse, Response};

use crate::document;
use crate::format;
use crate::lists::unknown::{Item, Window};

/// The format of a file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Export {
    Csv,
    JsonLines,
}

const COLUMNS: [&str; 13] = [
    "record",
    "operation",
    "status",
    "transaction",
    "attempt",
    "created",
    "updated",
    "principal",
    "account",
    "payment",
    "amount_minor_units",
    "currency",
    "amount",
];

impl Export {
    /// The file with these records. Its name says if there may be more.
    pub(crate) fn response(self, Window { items, more }: &Window) -> Response {
        let (kind, ending, body) = match self {
            Self::Csv => ("text/csv; charset=utf-8; header=present", "csv", csv(items)),
            Self::JsonLines => ("text/plain; charset=utf-8", "jsonl", json_lines(items)),
        };
        let name = format!("unresolved{}.{ending}", if *more { "-incomplete" } else { "" });
        let mut response = body.into_response();
        let headers = response.headers_mut();
        headers.insert(header::CONTENT_TYPE, HeaderValue::from_static(kind));
        if let Ok(disposition) = HeaderValue::from_str(&format!("attachment; filename=\"{name}\"")) {
            headers.insert(header::CONTENT_DISPOSITION, disposition);
        }
        response
    }
}

fn json_lines(items: &[Item]) -> String {
    items.iter().map(|item| format!("{}\n", document::row(&item.record, item.subject.as_ref()))).collect()
}

/// RFC 4180.
fn csv(items: &[Item]) -> String {
    let head = COLUMNS.map(str::to_owned).to_vec();
    let lines = [head].into_iter().chain(items.iter().map(cells));
    lines.map(|cells| format!("{}\r\n", cells.iter().map(|text| cell(text)).collect::<Vec<_>>().join(","))).collect()
}

fn cells(Item { record, subject }: &Item) -> Vec<String> {
    let subject = subject.clone().unwrap_or_default();
    let money = subject.money().unwrap_or_default().replace('\u{202f}', "");
    vec![
        // The complete id, because its last part may begin with a hyphen.
        record.id.as_str().to_owned(),
        record.operation.to_string(),
        record.state.status().as_str().to_owned(),
        record.transaction.to_string(),
        record.attempt.to_string(),
        format::rfc3339(record.created),
        format::rfc3339(record.updated),
        record.principal.map(|digest| digest.to_string()).unwrap_or_default(),
        subject.account.unwrap_or_default(),
        subject.payment.unwrap_or_default(),
        subject.amount.map(|amount| amount.to_string()).unwrap_or_default(),
        subject.currency.unwrap_or_default(),
        money,
    ]
}

/// A quoted cell. Spreadsheets treat a cell as a formula if it begins with one of these characters, and callers choose
/// the content of some cells; an apostrophe makes it a text (OWASP, "CSV Injection").
fn cell(text: &str) -> String {
    let formula =
        text.starts_with(['=', '+', '-', '@', '\t', '\r', '\n', '\u{ff1d}', '\u{ff0b}', '\u{ff0d}', '\u{ff20}']);
    let apostrophe = if formula { "'" } else { "" };
    format!("\"{apostrophe}{}\"", text.replace('"', "\"\""))
}

#[cfg(test)]
mod tests {
    use idempotency::protocol::{Record, Subject};

    use super::*;
    use crate::record::subject::SubjectSummary;

    fn item(account: &str) -> Item {
        let subject = serde_json::json!({ "account": account, "amount": 9_007_199_254_740_993_u64, "currency": "EUR" });
        let record = Record { subject: Subject::new(subject.to_string()), ..Record::sample() };
        Item { subject: SubjectSummary::of(&record), record }
    }

    #[test]
    fn a_spreadsheet_takes_no_cell_for_a_formula_and_no_cell_leaves_its_column() {
        for (text, expected) in [
            ("acct-1", "\"acct-1\""),
            ("=HYPERLINK(\"http://evil.example\",\"x\")", "\"'=HYPERLINK(\"\"http://evil.example\"\",\"\"x\"\")\""),
            ("+1", "\"'+1\""),
            ("-1+cmd|' /C calc'!A0", "\"'-1+cmd|' /C calc'!A0\""),
            ("@SUM(A1)", "\"'@SUM(A1)\""),
            ("\t=1", "\"'\t=1\""),
            ("a\",\"b\r\nc", "\"a\"\",\"\"b\r\nc\""),
        ] {
            assert_eq!(cell(text), expected);
        }
        let file = csv(&[item("=1+1"), item("acct-1")]);
        assert!(file.starts_with("\"record\",\"operation\","), "{file}");
        assert!(file.contains(",\"'=1+1\",\"\",\"9007199254740993\",\"EUR\",\"90071992547409.93 EUR\"\r\n"), "{file}");
        assert_eq!(file.lines().count(), 3);
    }

    #[test]
    fn a_line_of_json_is_a_row_of_the_api_with_every_digit() {
        let lines = json_lines(&[item("a\nb"), item("acct-1")]);
        let rows: Vec<serde_json::Value> = lines.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
        assert_eq!(rows.len(), 2);
        assert_eq!((&rows[0]["account"], &rows[1]["amount"]), (&"a\nb".into(), &"9007199254740993".into()));
    }
}
