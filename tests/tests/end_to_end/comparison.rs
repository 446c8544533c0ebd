//! The comparison with peers: what it says of this library is tested.

use std::path::Path;

use tests::workspace;

/// The functions that are tests, in all sources below a folder.
fn tests_below(folder: &Path, found: &mut Vec<String>) {
    for entry in std::fs::read_dir(folder).expect("a folder") {
        let path = entry.expect("readable").path();
        if path.is_dir() {
            tests_below(&path, found);
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            let source = std::fs::read_to_string(&path).expect("a source");
            let names = source.split("fn ").skip(1).filter_map(|rest| rest.split(['(', '<']).next());
            found.extend(names.map(str::to_owned));
        }
    }
}

#[test]
fn every_yes_of_the_comparison_names_a_test_that_exists_and_nothing_is_missing() {
    let page = std::fs::read_to_string(workspace().join("docs/comparison.md")).expect("the page");
    let table =
        page.split("## Row by row, with our tests").nth(1).and_then(|rest| rest.split("**The crates.**").next());
    let rows: Vec<&str> = table.expect("the table").lines().filter(|line| line.starts_with("| ")).skip(1).collect();
    assert!(rows.len() > 20, "{rows:?}");
    let mut tests = Vec::new();
    for folder in ["shared", "tests/tests"] {
        tests_below(&workspace().join(folder), &mut tests);
    }
    let examples = std::fs::read_to_string(workspace().join("tests/tests/end_to_end/examples.rs")).expect("a source");
    for row in rows {
        let ours = row.trim_end_matches('|').rsplit('|').next().expect("a cell").trim();
        assert!(ours.starts_with("yes"), "{row}");
        let named =
            ours.split('`').skip(1).step_by(2).filter(|name| name.matches('_').count() > 2 || name.contains("::"));
        let mut count = 0;
        for name in named.filter(|name| !name.contains(' ') && !name.starts_with("powertools_base64")) {
            count += 1;
            let exists = match name.strip_prefix("runs::") {
                Some(example) => examples.contains(&format!("    {example} \"")),
                None => tests.iter().any(|test| test == name),
            };
            assert!(exists, "no test {name}: {row}");
        }
        assert!(count > 0 || ours.contains("guarantees.md"), "no test is named: {row}");
    }
}
