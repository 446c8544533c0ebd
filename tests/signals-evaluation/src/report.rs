//! The figures as tables.

use std::collections::HashMap;
use std::fmt::Write as _;

use signals::Detector;

use crate::figures::{Figures, Interval, caller_name};
use crate::in_time::{AtLeast, DAYS, InTime};
use crate::plot;
use crate::run::Tally;
use crate::scorer::ScorerName;
use crate::simulator::Family;

/// The tables of docs/signals.md.
#[must_use]
pub fn markdown(tallies: &[Tally]) -> String {
    let all = compared(tallies);
    let mut text = String::new();
    scorers(&mut text, &all);
    if let [(_, model), ..] = &all[..]
        && let Some((_, rules)) = all.iter().find(|(name, _)| *name == ScorerName::LearnedRules)
    {
        families(&mut text, model, rules);
        rest(&mut text, tallies, model, rules);
    }
    left_out(&mut text, tallies);
    in_time(&mut text, tallies);
    text
}

/// The figures of all scorers that were run.
fn compared(tallies: &[Tally]) -> Vec<(ScorerName, Figures)> {
    let scored = |name: &ScorerName| tallies.iter().all(|tally| tally.scorers.contains_key(name));
    ScorerName::ALL.into_iter().filter(scored).map(|name| (name, Figures::of(tallies, name))).collect()
}

/// The plots, with the names of their files. The model and the learned rules must be in the tallies.
#[must_use]
pub fn plots(tallies: &[Tally]) -> [(&'static str, String); 3] {
    let all = compared(tallies);
    let (model, rules) = (Figures::of(tallies, ScorerName::Model), Figures::of(tallies, ScorerName::LearnedRules));
    [
        ("precision-recall.svg", plot::curves(&all)),
        ("recall-by-family.svg", plot::families(&model, &rules)),
        ("false-alerts.svg", plot::false_alerts(&model)),
    ]
}

fn scorers(text: &mut String, all: &[(ScorerName, Figures)]) {
    text.push_str("| scorer | PR-AUC | 5/M | 20/M | 100/M | 1 a day | 3 a day | 5 a day | in outages |\n");
    text.push_str("|---|---|---|---|---|---|---|---|---|\n");
    for (name, figures) in all {
        let _ = write!(text, "| {} | {:.3}", name.name(), figures.pr_auc);
        for recall in figures.recall_at.iter().chain(&figures.recall_at_budget) {
            let _ = write!(text, " | {recall:.2}");
        }
        let (raised, in_outages) = figures.false_alerts;
        let _ = writeln!(text, " | {in_outages} of {raised} |");
    }
}

/// What is found without each detector, where that was measured.
fn left_out(text: &mut String, tallies: &[Tally]) {
    let names = Detector::ALL.map(ScorerName::Without);
    let scored = |name: &ScorerName| tallies.iter().all(|tally| tally.scorers.contains_key(name));
    let names: Vec<_> = names.into_iter().filter(scored).collect();
    if names.is_empty() {
        return;
    }
    let heads = Family::ALL.map(Family::name).join(" | ");
    let _ = writeln!(text, "\n| left out | mean | {heads} |\n|---|---|{}", "---|".repeat(Family::ALL.len()));
    for name in names {
        let figures = Figures::of(tallies, name);
        let _ = write!(text, "| `{}` | {:.2}", name.name(), figures.recall_at[1]);
        for family in Family::ALL {
            let _ = write!(text, " | {:.2}", figures.by_family[&family]);
        }
        text.push_str(" |\n");
    }
}

/// What there is of a slow card test within 45 minutes.
fn in_time(text: &mut String, tallies: &[Tally]) {
    text.push_str("\n| within 45 minutes | slow card tests | honest callers a day |\n|---|---|---|\n");
    let all: usize = tallies.iter().map(|tally| tally.in_time.slow_card_tests).sum();
    for at_least in AtLeast::ALL {
        let sum = |of: fn(&InTime) -> &HashMap<AtLeast, usize>| {
            tallies.iter().filter_map(|tally| of(&tally.in_time).get(&at_least)).sum::<usize>() as f64
        };
        let shown = sum(|in_time| &in_time.shown) / all.max(1) as f64;
        let honest = sum(|in_time| &in_time.honest) / (DAYS * tallies.len().max(1) as f64);
        let _ = writeln!(text, "| at least {} | {shown:.2} | {honest:.1} |", at_least.name());
    }
}

fn families(text: &mut String, model: &Figures, rules: &Figures) {
    text.push_str(
        "\n| family | at 20/M | at 3 a day | learned rules at 20/M | minutes to the alert |\n|---|---|---|---|---|\n",
    );
    for family in Family::ALL {
        let minutes = model.minutes[&family];
        let minutes = if minutes.is_finite() { format!("{minutes:.0}") } else { "not found".to_owned() };
        let _ = writeln!(
            text,
            "| {} | {:.2} | {:.2} | {:.2} | {minutes} |",
            family.name(),
            model.by_family[&family],
            model.by_family_at_budget[&family],
            rules.by_family[&family],
        );
    }
}

fn rest(text: &mut String, tallies: &[Tally], model: &Figures, rules: &Figures) {
    text.push_str("\n| requested | false alerts a day, mean | least | most | recall |\n|---|---|---|---|---|\n");
    for (asked, ((mean, least, most), recall)) in
        ["1 a day", "3 a day", "5 a day"].into_iter().zip(model.false_a_day.into_iter().zip(model.recall_at_budget))
    {
        let _ = writeln!(text, "| {asked} | {mean:.1} | {least:.1} | {most:.1} | {recall:.2} |");
    }
    let (recall, (mean, least, most)) = model.followed;
    let _ = writeln!(text, "| 3 a day, following the labels | {mean:.1} | {least:.1} | {most:.1} | {recall:.2} |");
    text.push_str("\n| false alerts at 20/M, by what the entity was | |\n|---|---|\n");
    for (caller, number) in &model.by_caller {
        let _ = writeln!(text, "| {} | {number} |", caller_name(*caller));
    }
    text.push_str("\n| false alerts at 20/M, by what was found | |\n|---|---|\n");
    for ((detector, horizon), number) in &model.by_detector {
        let _ = writeln!(text, "| {}, {} | {number} |", detector.name(), horizon.name());
    }
    let Interval { mean, low, high } = Interval::of_difference(model, rules);
    let windows: usize = tallies.iter().map(|tally| tally.windows).sum();
    let _ = writeln!(text, "\n{} tenants, {windows} test windows.", tallies.len());
    let _ = writeln!(text, "Recall at 20/M above the learned rules: {mean:+.3} [{low:+.3}, {high:+.3}].");
    let _ = writeln!(text, "Threshold at 20/M: {:.2}. Bugs raised at it: {:.2}.", model.threshold, model.bugs);
    let memory = tallies.iter().map(|tally| tally.largest_memory).max().unwrap_or(0);
    let bytes = tallies.iter().map(|tally| tally.model.len()).max().unwrap_or(0);
    let [median, most] =
        [0, 1].map(|place| f64::from(tallies.iter().map(|tally| tally.times_ns[place]).max().unwrap_or(0)) / 1000.0);
    let _ = writeln!(
        text,
        "A window that shows anything takes {median:.1} µs in the median, 99 % take at most {most:.1} µs."
    );
    let _ = writeln!(text, "Memory {memory} bytes, model {bytes} bytes.");
}
