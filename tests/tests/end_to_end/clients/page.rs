//! The page of the clients: its code runs, and its results are compared.

use tests::workspace;

/// The beginning of the table of the results.
const RESULTS: &str = "| client | rules |";

pub(crate) struct Page(String);

impl Page {
    pub(crate) fn read() -> Self {
        Self(std::fs::read_to_string(workspace().join("docs/clients.md")).expect("readable"))
    }

    pub(crate) fn contains(&self, text: &str) -> bool {
        self.0.contains(text)
    }

    /// The code below a heading.
    pub(crate) fn code(&self, heading: &str) -> &str {
        let (_, section) = self.0.split_once(&format!("\n{heading}\n")).unwrap_or_else(|| panic!("no {heading}"));
        let code = section.split("```").nth(1).and_then(|block| block.split_once('\n'));
        code.unwrap_or_else(|| panic!("no code below {heading}")).1
    }

    /// The table of the results.
    pub(crate) fn results(&self) -> String {
        let table = self.0.find(RESULTS).map_or("", |start| &self.0[start..]);
        table.lines().take_while(|line| line.starts_with('|')).map(|line| format!("{line}\n")).collect()
    }
}
