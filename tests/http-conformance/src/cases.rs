//! Loads the cases of this package, or those of a folder.

use std::path::Path;

use anyhow::{Context, Result, ensure};
use serde::Deserialize;

use crate::vector::{Case, Tier};

/// The contents of `vectors/`, so that the program needs no files. `aws.json` is not included, because its cases are
/// API Gateway events, which cannot be sent over HTTP; nor is `operation.json`, whose cases need an
/// [`Operation`](crate::Operation).
const FILES: [(&str, &str); 6] = [
    ("draft.json", include_str!("../vectors/draft.json")),
    ("profile-fingerprint.json", include_str!("../vectors/profile-fingerprint.json")),
    ("profile-keys.json", include_str!("../vectors/profile-keys.json")),
    ("profile-outcomes.json", include_str!("../vectors/profile-outcomes.json")),
    ("profile-replay.json", include_str!("../vectors/profile-replay.json")),
    ("profile-requests.json", include_str!("../vectors/profile-requests.json")),
];

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct File {
    tier: Tier,
    cases: Vec<Case>,
}

/// All cases of this package.
///
/// # Errors
/// A file is not valid, or two cases have the same name.
pub fn cases() -> Result<Vec<Case>> {
    read(FILES.into_iter().map(|(name, text)| Ok((name.to_owned(), text.to_owned()))))
}

/// All cases of the JSON files in a folder, in the order of the files' names.
///
/// # Errors
/// A file cannot be read or is not valid, or two cases have the same name.
pub fn load(folder: &Path) -> Result<Vec<Case>> {
    let entries = std::fs::read_dir(folder).with_context(|| format!("cannot read {}", folder.display()))?;
    let mut paths: Vec<_> = entries.map(|entry| entry.map(|entry| entry.path())).collect::<Result<_, _>>()?;
    paths.retain(|path| path.extension().is_some_and(|ending| ending == "json"));
    paths.sort();
    ensure!(!paths.is_empty(), "no JSON files in {}", folder.display());
    read(paths.into_iter().map(|path| {
        let name = path.display().to_string();
        let text = std::fs::read_to_string(&path).with_context(|| format!("cannot read {name}"))?;
        Ok((name, text))
    }))
}

pub(crate) fn read(files: impl Iterator<Item = Result<(String, String)>>) -> Result<Vec<Case>> {
    let mut cases: Vec<Case> = Vec::new();
    for file in files {
        let (file, text) = file?;
        let File { tier, cases: more } = serde_json::from_str(&text).with_context(|| format!("in {file}"))?;
        for case in more {
            let name = &case.name;
            ensure!(cases.iter().all(|other| other.name != *name), "two cases have the name {name}");
            cases.push(Case { tier, ..case });
        }
    }
    Ok(cases)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_file_of_the_folder_is_part_of_the_program() {
        let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("vectors");
        let files = std::fs::read_dir(folder).expect("readable").map(|entry| entry.expect("readable").file_name());
        let mut files: Vec<String> = files.map(|name| name.into_string().expect("UTF-8")).collect();
        files.retain(|name| name != "aws.json" && name != "operation.json");
        files.sort();
        assert_eq!(files, FILES.map(|(name, _)| name));
        assert!(cases().expect("valid").len() >= 163, "cases were lost");
    }
}
