//! The template's alarms and the first row of its dashboard.

use std::collections::BTreeMap;

use parking_lot::Mutex;
use serde_json::Value;

use crate::{
    alarms::{self, Alarms},
    metrics::Metrics,
    now,
};
use tiles::Tile;

pub(crate) mod tiles;

pub(crate) struct Monitoring {
    alarms: Mutex<Alarms>,
    tiles: Mutex<Vec<Tile>>,
}

impl Monitoring {
    /// Of expanded resources.
    pub(crate) fn new(resources: &BTreeMap<String, Value>) -> Self {
        let (alarms, notes) = Alarms::of(resources, now::seconds());
        warn(&notes);
        Self { alarms: Mutex::new(alarms), tiles: Mutex::new(Tile::first_row(resources)) }
    }

    /// The same resources with other properties.
    pub(crate) fn change(&self, resources: &BTreeMap<String, Value>) {
        warn(&self.alarms.lock().change(resources));
        *self.tiles.lock() = Tile::first_row(resources);
    }

    pub(crate) fn alarms(&self, metrics: &Metrics) -> Vec<alarms::Seen> {
        self.alarms.lock().evaluate(metrics, now::seconds())
    }

    /// `waiting` is how many messages of a queue are visible now.
    pub(crate) fn tiles(&self, metrics: &Metrics, waiting: impl Fn(&str) -> Option<usize>) -> Vec<tiles::Seen> {
        self.tiles.lock().iter().map(|tile| tile.seen(metrics, &waiting)).collect()
    }
}

fn warn(notes: &[String]) {
    notes.iter().for_each(|note| tracing::warn!("an alarm is not evaluated here: {note}"));
}
