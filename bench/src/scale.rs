//! `bench scale`: a simulation of a Region, and its results as `docs/scale.md` and its plots.
//!
//! It is deterministic: a figure depends only on its seed, rate, design and load. Therefore a test can repeat the small
//! rates and compare them with the page.

pub mod assumption;
pub mod bucket;
pub mod design;
pub mod latency;
pub mod limit;
pub mod load;
pub mod page;
pub mod plot;
pub mod region;
pub mod size;
pub mod table;

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};

use design::Design;
use load::Load;
use region::Simulated;

/// Requests a second.
pub const RATES: [u32; 7] = [100, 300, 1_000, 3_000, 10_000, 30_000, 100_000];

/// The rates that a test repeats, which must not take long without optimisation.
pub const SMALL_RATES: [u32; 3] = [100, 300, 1_000];

/// The command writes the part of the page between these lines; people write the rest.
const BEGIN: &str = "<!-- The rest of this section is the output of `bench scale`. -->";
const END: &str = "<!-- Here it ends. -->";

/// One row: a design at a rate under a load.
#[derive(Clone, Debug)]
pub struct Row {
    /// The load.
    pub load: Load,
    /// The rate.
    pub rate: u32,
    /// The design.
    pub design: Design,
    /// The result with the partitions that the table has when the load begins.
    pub at_once: Simulated,
    /// The result after DynamoDB has split the hot partitions for an hour.
    pub after_an_hour: Simulated,
}

/// Simulates all designs and loads at these rates.
#[must_use]
pub fn rows(rates: &[u32]) -> Vec<Row> {
    let mut rows = Vec::new();
    for load in Load::ALL {
        for rate in rates {
            for design in Design::ALL {
                let (at_once, after_an_hour) = region::simulate(design, load, *rate);
                rows.push(Row { load, rate: *rate, design, at_once, after_an_hour });
            }
        }
    }
    rows
}

/// Simulates all rates and writes the results into the folder `docs` of the workspace.
///
/// # Errors
/// When a file cannot be written, or the page lacks the lines between which the output goes.
pub fn run(docs: &Path) -> Result<()> {
    let rows = rows(&RATES);
    let file = docs.join("scale.md");
    let page = fs::read_to_string(&file).with_context(|| format!("cannot read {}", file.display()))?;
    let before = page.split_once(BEGIN).with_context(|| format!("{} lacks: {BEGIN}", file.display()))?.0;
    let after = page.split_once(END).with_context(|| format!("{} lacks: {END}", file.display()))?.1;
    let output = page::markdown(&rows);
    fs::write(&file, format!("{before}{BEGIN}\n\n{output}\n{END}{after}"))?;
    let folder: PathBuf = docs.join("scale");
    fs::create_dir_all(&folder)?;
    for (name, svg) in page::plots(&rows) {
        fs::write(folder.join(name), svg)?;
    }
    println!("{output}");
    Ok(())
}
