//! Each attack and each false alert with what the model found, for whoever changes the model.

use std::fmt::Write as _;

use signals::Finding;

use crate::figures::{Figures, caller_name};
use crate::run::Tally;
use crate::scorer::ScorerName;
use crate::simulator::Behind;

/// The attacks of the test week that the model misses at 20 false alerts per million windows, what it found of the
/// others, and its false alerts.
#[must_use]
pub fn list(tallies: &[Tally]) -> String {
    let threshold = Figures::of(tallies, ScorerName::Model).threshold;
    let mut lines = Vec::new();
    for tally in tallies {
        let Some(scores) = tally.scorers.get(&ScorerName::Model) else { continue };
        for reached in scores.episodes.values() {
            let Behind::Attack(family) = reached.behind else { continue };
            let is_missed = if reached.largest() > threshold { "found" } else { "missed" };
            lines.push(format!(
                "{is_missed}: {}, tenant {}, {}, {} requests in {:.0} minutes, {:.2}{}",
                family.name(),
                tally.seed,
                caller_name(reached.caller),
                reached.requests,
                reached.lasts_s / 60.0,
                reached.largest(),
                words(reached.found.as_ref()),
            ));
        }
        for honest in scores.honest.values().filter(|honest| honest.score > threshold) {
            lines.push(format!(
                "false: tenant {}, {}, {}, {:.2}{}",
                tally.seed,
                caller_name(honest.caller),
                if honest.in_outage { "in an outage" } else { "no outage" },
                honest.score,
                words(honest.found.as_ref()),
            ));
        }
    }
    lines.sort();
    lines.into_iter().fold(String::new(), |mut text, line| {
        let _ = writeln!(text, "{line}");
        text
    })
}

fn words(finding: Option<&Finding>) -> String {
    finding.map_or_else(String::new, |finding| {
        let Finding { detector, horizon, counted, peers, own, .. } = finding;
        let own = own.map_or_else(|| "none".to_owned(), |own| format!("{own:.4}"));
        format!(
            " by {}, {}: {:.1} of {:.1}; peers {peers:.4}, own {own}",
            detector.name(),
            horizon.name(),
            counted.k,
            counted.n
        )
    })
}
