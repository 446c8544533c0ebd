//! The threshold: set by an alert budget, from the tenant's own days.

use std::collections::BTreeMap;

use crate::WindowTime;
use crate::codec::{Reader, Unreadable};

const VERSION: u8 = 1;
/// The threshold until enough days were observed.
pub const STARTING_THRESHOLD: f64 = 9.0;
/// Enough days, today not among them.
const ENOUGH_DAYS: usize = 6;
/// Days that are older are left.
const KEPT_DAYS: u32 = 28;
/// So many of the largest scores are kept.
const KEPT_SCORES: usize = 256;
/// What a day with more or fewer false alerts than asked moves the threshold by.
const STEP: f64 = 0.1;
/// How far the labels may move the threshold.
const FARTHEST: f64 = 3.0;

/// An entity, for the calibration: the first eight bytes of its pseudonym, say.
pub type EntityTag = u64;

/// The largest scores of entity-days, and how many entity-days there were. About 4 KB.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Calibration {
    /// By day the number of entities that were scored.
    entities: BTreeMap<u32, u32>,
    /// The largest score of an entity on a day.
    largest: BTreeMap<(u32, EntityTag), f64>,
    /// What the labels moved the threshold by.
    moved: f64,
}

impl Calibration {
    /// Takes in the score of a window. `first_of_day` says that it is the entity's first window of its day. Taking it in
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
        while self.largest.len() > KEPT_SCORES {
            let smallest = self.largest.iter().min_by(|(_, one), (_, other)| one.total_cmp(other));
            if let Some(key) = smallest.map(|(key, _)| *key) {
                self.largest.remove(&key);
            }
        }
    }

    /// Leaves out an entity's day that operators called *abuse* or a *client bug*: it does not show what is usual.
    pub fn forget(&mut self, entity: EntityTag, day: u32) {
        self.largest.remove(&(day, entity));
    }

    /// The threshold for so many alerts a day: the score that so many entities a day exceeded on the days before today.
    /// [`STARTING_THRESHOLD`] until six days were observed.
    #[must_use]
    pub fn threshold(&self, alerts_per_day: f64, at: WindowTime) -> f64 {
        let days = self.entities.range(..at.day()).count();
        if days < ENOUGH_DAYS {
            return STARTING_THRESHOLD + self.moved;
        }
        let mut scores: Vec<_> = self.largest.range(..(at.day(), 0)).map(|(_, score)| *score).collect();
        scores.sort_by(|one, other| other.total_cmp(one));
        let allowed = (alerts_per_day * days as f64).round() as usize;
        let threshold = scores.get(allowed).or(scores.last()).copied().unwrap_or(STARTING_THRESHOLD);
        threshold + self.moved
    }

    /// Moves the threshold after a day with so many alerts that were labelled *fine* or not labelled: up by a tenth if
    /// there were more than asked for, down if there were fewer.
    pub fn follow(&mut self, false_alerts: u32, alerts_per_day: f64) {
        let direction =
            (f64::from(false_alerts) - alerts_per_day).partial_cmp(&0.0).map_or(0.0, |order| order as i8 as f64);
        self.moved = (self.moved + STEP * direction).clamp(-FARTHEST, FARTHEST);
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
        for ((day, entity), score) in &self.largest {
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
