//! The library's public API is the recorded one, so that no change of it is overlooked.
//!
//! `.ci/public-api` makes rustdoc describe the API and runs this test. `.ci/public-api --record` writes the record
//! anew: do that when the change is meant, and describe it in the changelog.

use std::path::PathBuf;

use public_api::{Builder, PublicApi};

/// Where the record is.
const RECORDED: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/public-api.txt");

#[test]
#[ignore = "needs rustdoc's description of the library, which .ci/public-api makes"]
fn the_public_api_is_the_recorded_one() {
    let described = std::env::var("PUBLIC_API_JSON").map(PathBuf::from).expect("PUBLIC_API_JSON names the description");
    let api = Builder::from_rustdoc_json(described)
        .omit_blanket_impls(true)
        .omit_auto_trait_impls(true)
        .omit_auto_derived_impls(true)
        .build()
        .expect("a description in the format of the compiler that rust-toolchain.toml names");
    let items = items(&api);
    assert!(items.len() > 500, "{} items: the description is not of the whole library", items.len());
    if std::env::var_os("PUBLIC_API_RECORD").is_some() {
        std::fs::write(RECORDED, items.join("\n") + "\n").expect("the record is written");
        return;
    }
    let recorded = std::fs::read_to_string(RECORDED).expect("a record");
    let recorded: Vec<&str> = recorded.lines().collect();
    let absent = |from: &[&str], item: &&str| !from.contains(item);
    let items: Vec<&str> = items.iter().map(String::as_str).collect();
    let removed: Vec<&str> = recorded.iter().copied().filter(|item| absent(&items, item)).collect();
    let added: Vec<&str> = items.iter().copied().filter(|item| absent(&recorded, item)).collect();
    assert!(
        removed.is_empty() && added.is_empty(),
        "the public API has changed.\nRemoved:\n  {}\nAdded:\n  {}\nIf that is meant: .ci/public-api --record, and a line in the changelog",
        removed.join("\n  "),
        added.join("\n  ")
    );
}

fn items(api: &PublicApi) -> Vec<String> {
    api.items().map(|item| item.to_string()).collect()
}
