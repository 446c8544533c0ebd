//! Markdown tables.

use std::fmt::Write;

/// A table.
#[derive(Clone, Debug, Default)]
pub struct Table(String);

impl Table {
    /// Creates a table with these headings. Columns whose headings begin with `>` are right-aligned.
    #[must_use]
    pub fn new(headings: &[&str]) -> Self {
        let mut table = Self::default();
        let shown: Vec<String> = headings.iter().map(|heading| heading.trim_start_matches('>').to_owned()).collect();
        table.row(&shown);
        let lines = headings.iter().map(|heading| if heading.starts_with('>') { "---:|" } else { "---|" });
        table.0.push('|');
        table.0.extend(lines);
        table.0.push('\n');
        table
    }

    /// Adds a row.
    pub fn row(&mut self, cells: &[String]) {
        // Writing to a string cannot fail.
        let _ = writeln!(self.0, "| {} |", cells.join(" | "));
    }

    /// The table as text.
    #[must_use]
    pub fn text(&self) -> &str {
        &self.0
    }
}

/// A whole number with commas between thousands.
#[must_use]
pub fn whole(number: f64) -> String {
    let digits = format!("{:.0}", number);
    let mut shown = String::new();
    for (place, digit) in digits.chars().enumerate() {
        if place > 0 && (digits.len() - place).is_multiple_of(3) {
            shown.push(',');
        }
        shown.push(digit);
    }
    shown
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn thousands_are_separated() {
        assert_eq!([0.4, 999.6, 123_456.0, 10e9].map(whole), ["0", "1,000", "123,456", "10,000,000,000"]);
    }
}
