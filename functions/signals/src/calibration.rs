//! The threshold: set by an alert budget, from the tenant's own days.

use std::collections::BTreeMap;

use crate::WindowTime;
use crate::codec::{Reader, Unreadable};

const VERSION: u8 = 1;
/// The threshold until enough days were observed.
pub const STARTING_THRESHOLD: f64 = 9.0;
/// The number of days that are enough, without today.
const ENOUGH_DAYS: usize = 6;
/// Older days are dropped.
const KEPT_DAYS: u32 = 28;
/// The number of the largest scores that are kept.
const KEPT_SCORES: usize = 256;
/// The scores of these days include attacks and client bugs, not all of which are labelled: about one entity a day is
/// assumed to be raised rightly.
const DESERVED: f64 = 1.0;
/// The change of the threshold after a day with more or fewer false alerts than requested.
const STEP: f64 = 0.1;
/// How far the labels may move the threshold.
const FARTHEST: f64 = 3.0;

/// An entity, for the calibration: the first eight bytes of its pseudonym, say.
pub type EntityTag = u64;

/// The largest scores of entity-days, and how many entity-days there were. About 4 KB.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Calibration {
    /// The number of entities that were scored, by day.
    entities: BTreeMap<u32, u32>,
    /// The largest score of an entity on a day.
    largest: BTreeMap<(u32, EntityTag), f64>,
    /// The threshold's total change by labels.
    moved: f64,
}

impl Calibration {
    /// Adds the score of a window. `first_of_day` means that it is the entity's first window of its day. Adding it
    /// twice would only count the entity-day twice.
    pub fn observe(&mut self, entity: EntityTag, score: f64, first_of_day: bool, at: WindowTime) {
        let day = at.day();
        let entities = self.entities.entry(day).or_insert(0);
        if first_of_day {
            *entities = entities.saturating_add(1);
        }
        if score > 0.0 {
            let largest = self.largest.entry((day, entity)).or_insert(0.0);
            *largest = largest.max(score);
        }
        self.prune(day);
    }

    /// Keeps the largest scores of the last days only.
    fn prune(&mut self, day: u32) {
        let oldest = day.saturating_sub(KEPT_DAYS);
        if self.entities.first_key_value().is_some_and(|(first, _)| *first < oldest) {
            self.entities.retain(|day, _| *day >= oldest);
            self.largest.retain(|(day, _), _| *day >= oldest);
        }
        // Not on each call, because it sorts.
        if self.largest.len() > 2 * KEPT_SCORES {
            let least = self.least_kept();
            self.largest.retain(|_, score| *score >= least);
        }
    }

    /// The smallest of the scores that are kept.
    fn least_kept(&self) -> f64 {
        let mut scores: Vec<_> = self.largest.values().copied().collect();
        scores.sort_by(|one, other| other.total_cmp(one));
        scores.get(KEPT_SCORES - 1).copied().unwrap_or(0.0)
    }

    /// Leaves out an entity's day that operators labelled *abuse* or *client bug*: it is not usual behaviour.
    pub fn forget(&mut self, entity: EntityTag, day: u32) {
        self.largest.remove(&(day, entity));
    }

    /// The threshold for a number of false alerts a day: the score that this number of entities a day, and one more
    /// that is assumed to be raised rightly, exceeded on the days before today. [`STARTING_THRESHOLD`] until six days
    /// were observed.
    #[must_use]
    pub fn threshold(&self, alerts_per_day: f64, at: WindowTime) -> f64 {
        let days = self.entities.range(..at.day()).count();
        if days < ENOUGH_DAYS {
            return STARTING_THRESHOLD + self.moved;
        }
        let mut scores: Vec<_> = self.largest.range(..(at.day(), 0)).map(|(_, score)| *score).collect();
        scores.sort_by(|one, other| other.total_cmp(one));
        let allowed = ((alerts_per_day + DESERVED) * days as f64).round() as usize;
        let threshold = scores.get(allowed).or(scores.last()).copied().unwrap_or(STARTING_THRESHOLD);
        threshold + self.moved
    }

    /// Moves the threshold after a day with this number of alerts that were labelled *fine* or not labelled: up by a
    /// tenth if there were more than requested, down if there were fewer.
    pub fn follow(&mut self, false_alerts: u32, alerts_per_day: f64) {
        let direction =
            (f64::from(false_alerts) - alerts_per_day).partial_cmp(&0.0).map_or(0.0, |order| order as i8 as f64);
        self.moved = (self.moved + STEP * direction).clamp(-FARTHEST, FARTHEST);
    }

    /// The threshold's total change by labels.
    #[must_use]
    pub fn moved(&self) -> f64 {
        self.moved
    }

    /// About the share of entity-days that reach a score.
    #[must_use]
    pub fn share_of_days(&self, score: f64) -> f64 {
        let days: u32 = self.entities.values().fold(0, |sum, entities| sum.saturating_add(*entities));
        let reached = self.largest.values().filter(|largest| **largest >= score).count();
        (1.0 + reached as f64) / (f64::from(days) + 1.0)
    }

    /// Its bytes.
    #[must_use]
    pub fn to_bytes(&self) -> Vec<u8> {
        let mut bytes = vec![VERSION];
        // It is between -3 and 3.
        bytes.extend(((self.moved + FARTHEST) as f32).to_be_bytes());
        // At most 29.
        bytes.push(self.entities.len() as u8);
        for (day, entities) in &self.entities {
            bytes.extend(day.to_be_bytes());
            bytes.extend(entities.to_be_bytes());
        }
        let least = self.least_kept();
        for ((day, entity), score) in self.largest.iter().filter(|(_, score)| **score >= least) {
            bytes.extend(day.to_be_bytes());
            bytes.extend(entity.to_be_bytes());
            bytes.extend((*score as f32).to_be_bytes());
        }
        bytes
    }

    /// From its bytes.
    ///
    /// # Errors
    ///
    /// If they are of another version, or damaged.
    pub fn from_bytes(bytes: &[u8]) -> Result<Self, Unreadable> {
        let mut reader = Reader::versioned(bytes, VERSION)?;
        let mut calibration = Self { moved: f64::from(reader.f32()?) - FARTHEST, ..Self::default() };
        for _ in 0..reader.u8()? {
            calibration.entities.insert(reader.u32()?, reader.u32()?);
        }
        while !reader.is_empty() {
            calibration.largest.insert((reader.u32()?, reader.u64()?), f64::from(reader.f32()?));
        }
        Ok(calibration)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::window::DAY_S;

    fn on(day: u64) -> WindowTime {
        WindowTime { start_s: (20_000 + day) * DAY_S, length_s: 300 }
    }

    /// So many days with a thousand entities each, of which ten have scores from 1 to 10 and a tenth of the day.
    fn after(days: u64) -> Calibration {
        let mut calibration = Calibration::default();
        for day in 0..days {
            for entity in 0..1_000 {
                let score = if entity < 10 { 1.0 + entity as f64 + 0.1 * day as f64 } else { 0.0 };
                calibration.observe(entity, score, true, on(day));
            }
        }
        calibration
    }

    #[test]
    fn the_threshold_lets_the_budget_pass() {
        let calibration = after(7);
        let threshold = calibration.threshold(3.0, on(7));
        let above = calibration.largest.values().filter(|score| **score > threshold).count();
        assert_eq!(above, 28);
        assert!(calibration.threshold(1.0, on(7)) > threshold);
    }

    #[test]
    fn a_threshold_is_not_learned_from_few_days_nor_from_today() {
        assert_eq!(after(5).threshold(3.0, on(5)), STARTING_THRESHOLD);
        let mut calibration = after(7);
        let before = calibration.threshold(3.0, on(7));
        for entity in 0..100 {
            calibration.observe(entity, 11.0, true, on(7));
        }
        assert_eq!(calibration.threshold(3.0, on(7)), before);
    }

    #[test]
    fn a_window_that_is_observed_again_leaves_the_threshold() {
        let (once, mut twice) = (after(7), after(7));
        twice.observe(3, 4.0, false, on(6));
        assert_eq!(once.threshold(3.0, on(7)), twice.threshold(3.0, on(7)));
    }

    #[test]
    fn what_is_labelled_abuse_leaves_the_calibration() {
        let mut calibration = after(7);
        let before = calibration.threshold(3.0, on(7));
        for day in 0..7 {
            calibration.forget(9, 20_000 + day);
        }
        assert!(calibration.threshold(3.0, on(7)) < before);
    }

    #[test]
    fn the_threshold_follows_the_labels_within_bounds() {
        let mut calibration = after(7);
        let before = calibration.threshold(3.0, on(7));
        calibration.follow(5, 3.0);
        assert!((calibration.threshold(3.0, on(7)) - before - STEP).abs() < 1e-9);
        calibration.follow(1, 3.0);
        calibration.follow(3, 3.0);
        assert!((calibration.threshold(3.0, on(7)) - before).abs() < 1e-9);
        for _ in 0..100 {
            calibration.follow(0, 3.0);
        }
        assert!((calibration.threshold(3.0, on(7)) - before + FARTHEST).abs() < 1e-9);
    }

    #[test]
    fn old_days_and_small_scores_are_left_and_the_bytes_stay_few() {
        let calibration = after(60);
        let bytes = calibration.to_bytes();
        assert!(bytes.len() < 5_000, "{} bytes", bytes.len());
        let read = Calibration::from_bytes(&bytes).unwrap();
        assert!((read.threshold(3.0, on(60)) - calibration.threshold(3.0, on(60))).abs() < 1e-5);
        assert_eq!(read.to_bytes(), bytes);
        assert_eq!(Calibration::from_bytes(&bytes[..bytes.len() - 1]), Err(Unreadable));
        assert!((0.0..0.01).contains(&calibration.share_of_days(12.0)));
    }
}
