//! The corpus of the fuzz targets, and random mutations of it.

use std::path::Path;

use proof::fuzz::TARGETS;

/// How many random mutations of each file are tested.
const CHANGES: usize = 300;

#[test]
fn every_input_of_the_corpus_is_survived_and_what_chance_makes_of_it() {
    let seed = std::env::var("PROOF_SEED").ok().and_then(|seed| seed.parse().ok()).unwrap_or_else(|| fastrand::u64(..));
    println!("PROOF_SEED={seed}");
    let mut rng = fastrand::Rng::with_seed(seed);
    for (name, target) in TARGETS {
        let corpus = Path::new(env!("CARGO_MANIFEST_DIR")).join("../fuzz/corpus").join(name);
        let mut files: Vec<_> =
            std::fs::read_dir(corpus).expect("a corpus").map(|file| file.expect("a file")).collect();
        files.sort_by_key(std::fs::DirEntry::path);
        assert!(!files.is_empty(), "{name}");
        for file in files {
            let bytes = std::fs::read(file.path()).expect("readable");
            println!("{}", file.path().display());
            target(&bytes);
            for _ in 0..CHANGES {
                let changed = change(bytes.clone(), &mut rng);
                println!("  {:?}", String::from_utf8_lossy(&changed));
                target(&changed);
            }
        }
    }
}

/// Removes, adds or changes a few bytes.
fn change(mut bytes: Vec<u8>, rng: &mut fastrand::Rng) -> Vec<u8> {
    for _ in 0..=rng.usize(0..4) {
        let at = rng.usize(0..=bytes.len());
        match rng.u8(0..5) {
            0 => bytes.insert(at, rng.u8(..)),
            1 => bytes.insert(at, *rng.choice(b"\"{}[]:,0\\ntfe-.").expect("not empty")),
            2 if at < bytes.len() => bytes[at] = rng.u8(..),
            3 if at < bytes.len() => drop(bytes.remove(at)),
            _ => bytes.truncate(bytes.len().max(at)),
        }
    }
    bytes
}
