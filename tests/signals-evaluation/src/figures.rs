//! Figures over several tenants.

use std::collections::BTreeMap;

use signals::{Calibration, Detector, Horizon, Kind};

use crate::run::{BUDGETS, Honest, Scores, Tally};
use crate::scorer::ScorerName;
use crate::simulator::{Behind, Caller, Family};

/// The figures of a scorer.
#[derive(Clone, Debug)]
pub struct Figures {
    /// The area under the curve of precision over recall.
    pub pr_auc: f64,
    /// The recall, the mean of families, at 5, 20 and 100 false alerts per million windows.
    pub recall_at: [f64; 3],
    /// The recall at each tenant's threshold for 1, 3 and 5 alerts a day.
    pub recall_at_budget: [f64; 3],
    /// The false alerts a day that it raised then: the mean of tenants, the least and the most.
    pub false_a_day: [(f64, f64, f64); 3],
    /// With a threshold for 3 a day that follows the labels: recall, and the false alerts a day likewise.
    pub followed: (f64, (f64, f64, f64)),
    /// The recall of each family at 20 per million.
    pub by_family: BTreeMap<Family, f64>,
    /// Its recall at three alerts a day.
    pub by_family_at_budget: BTreeMap<Family, f64>,
    /// The minutes until half of the episodes of a family are found; infinite if fewer are.
    pub minutes: BTreeMap<Family, f64>,
    /// False alerts at 20 per million, and how many of them in outages.
    pub false_alerts: (usize, usize),
    /// By what the entity was; accounts are `None`.
    pub(crate) by_caller: BTreeMap<Option<Caller>, usize>,
    /// By detector and horizon.
    pub(crate) by_detector: BTreeMap<(Detector, Horizon), usize>,
    /// The share of bugs raised.
    pub bugs: f64,
    /// The threshold at 20 per million.
    pub threshold: f64,
    /// The recall of each tenant at that threshold.
    pub by_tenant: Vec<f64>,
    /// The points of the curve: recall and precision.
    pub curve: Vec<(f64, f64)>,
}

/// An interval of 95 %.
#[derive(Clone, Copy, Debug)]
pub struct Interval {
    /// The mean.
    pub mean: f64,
    /// The lower end.
    pub low: f64,
    /// The upper end.
    pub high: f64,
}

impl Figures {
    /// The figures of a scorer over tenants.
    #[must_use]
    pub fn of(tallies: &[Tally], name: ScorerName) -> Self {
        let scores: Vec<&Scores> = tallies.iter().filter_map(|tally| tally.scorers.get(&name)).collect();
        let windows: usize = tallies.iter().map(|tally| tally.windows).sum();
        let mut honest: Vec<&Honest> = scores.iter().flat_map(|scores| scores.honest.values()).collect();
        honest.sort_by(|one, other| other.score.total_cmp(&one.score));
        let threshold_at = |per_million: f64| {
            let allowed = (per_million * windows as f64 / 1e6).round() as usize;
            honest.get(allowed).map_or(0.0, |honest| honest.score)
        };
        let thresholds = [5.0, 20.0, 100.0].map(threshold_at);
        let threshold = thresholds[1];
        let raised: Vec<&&Honest> = honest.iter().filter(|honest| honest.score > threshold).collect();
        let mut by_caller = BTreeMap::new();
        for honest in &raised {
            *by_caller.entry(honest.caller).or_insert(0) += 1;
        }
        let mut by_detector = BTreeMap::new();
        for found in raised.iter().filter_map(|honest| honest.found) {
            *by_detector.entry((found.detector, found.horizon)).or_insert(0) += 1;
        }
        let (pr_auc, curve) = curve(&scores, &honest);
        Self {
            pr_auc,
            recall_at: thresholds.map(|threshold| mean(&family_recall(&scores, |_| threshold))),
            recall_at_budget: [0, 1, 2].map(|budget| mean(&family_recall(&scores, |scores| scores.thresholds[budget]))),
            false_a_day: [0, 1, 2].map(|budget| {
                spread(scores.iter().map(|scores| {
                    let threshold = scores.thresholds[budget];
                    scores.honest.values().filter(|honest| honest.score > threshold).count() as f64 / 7.0
                }))
            }),
            followed: followed(&scores),
            by_family: family_recall(&scores, |_| threshold),
            by_family_at_budget: family_recall(&scores, |scores| scores.thresholds[1]),
            minutes: minutes(&scores, threshold),
            false_alerts: (raised.len(), raised.iter().filter(|honest| honest.in_outage).count()),
            by_caller,
            by_detector,
            bugs: share(
                scores
                    .iter()
                    .flat_map(|scores| scores.episodes.values())
                    .filter(|reached| reached.behind == Behind::Bug)
                    .map(|reached| reached.largest() > threshold),
            ),
            threshold,
            by_tenant: scores.iter().map(|scores| mean(&family_recall(&[*scores], |_| threshold))).collect(),
            curve,
        }
    }
}

/// The share of each family's attacks that are found.
fn family_recall(scores: &[&Scores], threshold: impl Fn(&Scores) -> f64) -> BTreeMap<Family, f64> {
    Family::ALL
        .into_iter()
        .map(|family| {
            let found = scores.iter().flat_map(|scores| {
                let threshold = threshold(scores);
                attacks(scores, family).map(move |reached| reached.largest() > threshold)
            });
            (family, share(found))
        })
        .collect()
}

fn attacks(scores: &Scores, family: Family) -> impl Iterator<Item = &crate::run::Reached> {
    scores.episodes.values().filter(move |reached| reached.behind == Behind::Attack(family))
}

fn minutes(scores: &[&Scores], threshold: f64) -> BTreeMap<Family, f64> {
    Family::ALL
        .into_iter()
        .map(|family| {
            let mut times: Vec<f64> = scores
                .iter()
                .flat_map(|scores| attacks(scores, family))
                .map(|reached| {
                    let first = reached.rises.iter().find(|(_, score)| *score > threshold);
                    first.map_or(f64::INFINITY, |(after_s, _)| after_s / 60.0)
                })
                .collect();
            times.sort_by(f64::total_cmp);
            (family, times.get(times.len() / 2).copied().unwrap_or(f64::INFINITY))
        })
        .collect()
}

/// Precision over recall, of all attacks, and the area under it.
fn curve(scores: &[&Scores], honest: &[&Honest]) -> (f64, Vec<(f64, f64)>) {
    let mut attacks: Vec<f64> = scores
        .iter()
        .flat_map(|scores| scores.episodes.values())
        .filter(|reached| matches!(reached.behind, Behind::Attack(_)))
        .map(crate::run::Reached::largest)
        .collect();
    attacks.sort_by(|one, other| other.total_cmp(one));
    let (mut area, mut points) = (0.0, Vec::new());
    for (index, score) in attacks.iter().enumerate().filter(|(_, score)| **score > 0.0) {
        let found = (index + 1) as f64;
        let wrong = honest.partition_point(|honest| honest.score >= *score) as f64;
        let precision = found / (found + wrong);
        area += precision / attacks.len() as f64;
        points.push((found / attacks.len() as f64, precision));
    }
    (area, points)
}

/// A threshold that moves by a tenth each day: up after more false alerts than three, down after fewer.
fn followed(scores: &[&Scores]) -> (f64, (f64, f64, f64)) {
    let mut found: BTreeMap<Family, Vec<bool>> = BTreeMap::new();
    let mut false_a_day = Vec::new();
    for scores in scores {
        let mut thresholds = [scores.thresholds[1]; 7];
        let (mut calibration, mut wrong) = (Calibration::default(), 0);
        for day in 0..7_usize {
            let raised = scores
                .honest
                .iter()
                .filter(|((_, _, of), honest)| *of as usize == day + 7 && honest.score > thresholds[day])
                .count();
            wrong += raised;
            if let Some(next) = thresholds.get_mut(day + 1) {
                calibration.follow(u32::try_from(raised).unwrap_or(u32::MAX), BUDGETS[1]);
                *next = scores.thresholds[1] + calibration.moved();
            }
        }
        false_a_day.push(f64::from(u32::try_from(wrong).unwrap_or(u32::MAX)) / 7.0);
        for reached in scores.episodes.values() {
            if let Behind::Attack(family) = reached.behind {
                let is_found = reached.by_day.iter().zip(thresholds).any(|(score, threshold)| *score > threshold);
                found.entry(family).or_default().push(is_found);
            }
        }
    }
    let recall = found.into_iter().map(|(family, found)| (family, share(found))).collect();
    (mean(&recall), spread(false_a_day))
}

fn spread(values: impl IntoIterator<Item = f64>) -> (f64, f64, f64) {
    let values: Vec<f64> = values.into_iter().collect();
    let mean = values.iter().sum::<f64>() / values.len().max(1) as f64;
    (mean, values.iter().copied().fold(f64::INFINITY, f64::min), values.iter().copied().fold(0.0, f64::max))
}

fn share(found: impl IntoIterator<Item = bool>) -> f64 {
    let found: Vec<bool> = found.into_iter().collect();
    found.iter().filter(|found| **found).count() as f64 / found.len().max(1) as f64
}

fn mean(recall: &BTreeMap<Family, f64>) -> f64 {
    recall.values().sum::<f64>() / recall.len().max(1) as f64
}

impl Interval {
    /// The difference of two scorers' recall at 20 per million, by a bootstrap over tenants.
    #[must_use]
    pub fn of_difference(one: &Figures, other: &Figures) -> Self {
        let differences: Vec<f64> =
            one.by_tenant.iter().zip(&other.by_tenant).map(|(one, other)| one - other).collect();
        let number = differences.len().max(1);
        // The same draws each time.
        let mut state = 0x9e37_79b9_7f4a_7c15_u64;
        let mut draw = || {
            state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            differences[(state >> 33) as usize % number]
        };
        let mut means: Vec<f64> =
            (0..10_000).map(|_| (0..number).map(|_| draw()).sum::<f64>() / number as f64).collect();
        means.sort_by(f64::total_cmp);
        Self { mean: differences.iter().sum::<f64>() / number as f64, low: means[250], high: means[9_750] }
    }
}

/// The name of what was raised wrongly.
pub(crate) fn caller_name(caller: Option<Caller>) -> &'static str {
    match caller {
        None => Kind::Account.name(),
        Some(Caller::Shopper) => "shopper",
        Some(Caller::Mobile) => "mobile shopper",
        Some(Caller::Steady) => "steady integration",
        Some(Caller::NightlyBatch) => "nightly batch",
        Some(Caller::Dunning) => "dunning run",
        Some(Caller::Donations) => "donation site",
        Some(Caller::CallCentre) => "call centre",
        Some(Caller::LoadTest) => "load test",
        Some(Caller::QueueWorker) => "queue worker",
        Some(Caller::Attacker) => "attacker",
    }
}
