//! Checks that `docs/scale.md` contains the output of `bench scale`.

use std::fs;
use std::path::Path;

use bench::scale::design::Design;
use bench::scale::{RATES, SMALL_RATES, page, rows};

/// Only the rows of the small rates are simulated again; the rest of the page would take minutes without optimisation.
#[test]
fn the_page_on_scale_has_the_figures_of_the_simulation() {
    let page = fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs/scale.md")).expect("readable");
    let simulated = rows(&SMALL_RATES);
    let printed = page::markdown(&simulated);
    let (mut figures, mut compared) = (0, 0);
    for line in printed.lines().filter(|line| line.starts_with('|')) {
        // Two small tables are also by rate, but do not depend on the simulation.
        assert!(page.contains(line), "docs/scale.md lacks this line; `bench scale` writes it:\n{line}");
        compared += 1;
        let second = line.split(" | ").nth(1);
        figures += usize::from(Design::ALL.iter().any(|design| second == Some(design.name())));
    }
    assert_eq!(figures, 2 * 3 * SMALL_RATES.len(), "a row for each load, design and rate");
    assert!(compared > figures + RATES.len());
}
