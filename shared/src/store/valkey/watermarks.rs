//! A watermark as a hash, moved in the script of a run's effects.

use std::time::Duration;

use super::script::{Fields, Reply};
use super::{Effect, ValkeyStore, WATERMARK, effect, fields, key, read_hash};
use crate::protocol::watermark::{Watermark, Witness};
use crate::protocol::{EpochMs, Position};
use crate::store::StoreError;
use crate::store::watermarks::names::{NEWEST, POSITION, UPDATED, VERSION, WITNESSES};
use crate::store::watermarks::{Advanced, MAX_EFFECTS, Watermarks};

impl Watermarks for ValkeyStore {
    async fn watermark(&self, id: &str) -> Result<Option<Watermark>, StoreError> {
        let number = self.0.placement.number(id);
        let read = read_hash(&watermark_key(&self.0.placement.tags()[number], id));
        to_watermark(id, fields(self.0.links[number].call(&read).await?)?)
    }

    async fn advance(
        &self,
        id: &str,
        next: &Watermark,
        effects: Vec<Effect>,
        _retry_budget: Duration,
    ) -> Result<Advanced<Vec<u8>>, StoreError> {
        let number = self.0.placement.number(id);
        let tag = &self.0.placement.tags()[number];
        // More would hold up a single-threaded server.
        if effects.len() > MAX_EFFECTS {
            return Err(StoreError::Rejected("a run has too many effects".into()));
        }
        if let Some(problem) = effect::problem(&effects, tag) {
            return Err(StoreError::Rejected(problem.into()));
        }
        let previous = match next.version.saturating_sub(1) {
            0 => String::new(),
            previous => previous.to_string(),
        };
        let (item, expected) = (watermark_key(tag, id), [(VERSION, previous.into_bytes())]);
        match self.run_alone(&self.0.links[number], item, &expected, &effects, &from_watermark(next)).await? {
            Reply::Applied => Ok(Advanced::Applied),
            Reply::Refused(found) => Ok(Advanced::Refused(to_watermark(id, found)?)),
            Reply::EffectRefused(refused) => Ok(Advanced::EffectRefused(refused)),
        }
    }

    fn bytes(effect: &Effect) -> usize {
        effect.bytes()
    }

    fn collide(one: &Effect, other: &Effect) -> bool {
        one.key == other.key
    }
}

fn watermark_key(tag: &str, id: &str) -> String {
    key(tag, &format!("{WATERMARK}{id}"))
}

fn from_watermark(watermark: &Watermark) -> Vec<(&'static str, Vec<u8>)> {
    let witness = |witness: &Witness| format!("{} {:032x}", witness.position, u128::from_be_bytes(witness.digest));
    let witnesses: Vec<String> = watermark.witnesses.iter().map(witness).collect();
    let mut fields = vec![
        (VERSION, watermark.version.to_string()),
        (NEWEST, watermark.newest_ms.to_string()),
        (UPDATED, watermark.updated.0.to_string()),
        (WITNESSES, witnesses.join("\n")),
    ];
    fields.extend(watermark.position.as_ref().map(|position| (POSITION, position.to_string())));
    fields.into_iter().map(|(name, value)| (name, value.into_bytes())).collect()
}

fn to_watermark(id: &str, mut fields: Fields) -> Result<Option<Watermark>, StoreError> {
    if fields.is_empty() {
        return Ok(None);
    }
    let unreadable = |problem| StoreError::Unreadable { digest: id.to_owned(), problem };
    read(&mut fields).map(Some).map_err(unreadable)
}

fn read(fields: &mut Fields) -> Result<Watermark, String> {
    let position = |text: &str| Position::new(text).map_err(|_| format!("`{text}` is not a position"));
    let witnesses = fields.text(WITNESSES)?;
    let witness = |line: &str| {
        let (place, digest) = line.split_once(' ').ok_or_else(|| format!("`{line}` is not a witness"))?;
        let digest = u128::from_str_radix(digest, 16).map_err(|_| format!("`{line}` is not a witness"))?;
        Ok(Witness { position: position(place)?, digest: digest.to_be_bytes() })
    };
    Ok(Watermark {
        version: fields.number(VERSION)?,
        position: fields.optional(POSITION, Fields::text)?.map(|text| position(&text)).transpose()?,
        newest_ms: fields.number(NEWEST)?,
        updated: EpochMs(fields.number(UPDATED)?),
        witnesses: witnesses.lines().map(witness).collect::<Result<_, String>>()?,
    })
}
