//! Values with optimistic locking on Valkey, like the items of [`crate::versioned`] on DynamoDB.
//!
//! A key holds the version, the stamps of the last stores, and the value. Each store replaces exactly the loaded
//! content. Because each store has a random stamp, a value that was changed and changed back counts as changed.

use backon::BackoffBuilder;
use redis::{FromRedisValue, cmd};

use super::link::Request;
use super::script::Reply;
use super::{Effect, ValkeyStore, effect};
use crate::backoff::backoff;
use crate::engine::{Entropy, NoEntropy, SystemEntropy};
use crate::store::StoreError;

/// The length of a stamp: random bytes, different for each store.
const STAMP_BYTES: usize = 16;

/// How many stamps a value keeps: more than the number of stores that others can make while a request is repeated.
const KEPT_STAMPS: usize = 8;

/// The length of the version (8 bytes, big-endian) and the stamps, which are zero if there were fewer stores.
const HEAD_BYTES: usize = 8 + KEPT_STAMPS * STAMP_BYTES;

/// The versioned values of one store.
#[derive(Clone, Debug)]
pub struct VersionedKeys {
    store: ValkeyStore,
    attempts: usize,
}

/// A value as it was loaded, to be modified and stored.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Versioned {
    /// The value; empty if there is none yet.
    pub value: Vec<u8>,
    key: String,
    /// The content of the key as it was loaded; `None` if the key did not exist.
    stored: Option<Vec<u8>>,
}

/// The reason that a value could not be loaded or stored.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum VersionedError {
    /// In every attempt another writer stored the value between our load and our store. Nothing was written.
    #[error("others changed the value {attempts} times in a row; nothing was written")]
    Contended {
        /// The number of attempts.
        attempts: usize,
    },
    /// The server did not accept the request. After [`StoreError::Uncertain`] it is unknown whether the value was
    /// stored.
    #[error("the server did not store the value")]
    Store(#[from] StoreError),
    /// The key holds something other than a versioned value.
    #[error("the key does not hold a versioned value")]
    NotVersioned,
    /// There were no random bytes for a stamp. Nothing was written.
    #[error(transparent)]
    NoEntropy(#[from] NoEntropy),
}

impl VersionedKeys {
    /// Creates a handle for the versioned values of this store, under keys that begin with one of its tags.
    #[must_use]
    pub const fn new(store: ValkeyStore) -> Self {
        Self { store, attempts: 10 }
    }

    /// Loads the current value.
    ///
    /// # Errors
    /// [`VersionedError::Store`] or [`VersionedError::NotVersioned`].
    pub async fn load(&self, key: &str) -> Result<Versioned, VersionedError> {
        let (_, number) = self.place(key)?;
        let mut get = cmd("GET");
        get.arg(key);
        let found = self.store.0.links[number].call(&Request::Read(get)).await?;
        let stored = Option::<Vec<u8>>::from_redis_value(found).map_err(|_| VersionedError::NotVersioned)?;
        Versioned::read(key, stored)
    }

    /// Returns the store of a value as an effect for a commit. The commit is refused if another writer has stored the
    /// value since it was loaded; in that case load it again.
    ///
    /// # Errors
    /// [`VersionedError::NoEntropy`] if there are no random bytes for a stamp.
    pub fn effect(&self, versioned: &Versioned) -> Result<Effect, VersionedError> {
        let next = versioned.next()?;
        Ok(versioned.replaced_by(next))
    }

    /// Loads, modifies and stores a value, and returns it as stored. If another writer was faster, this is repeated
    /// after a short delay, up to ten times.
    ///
    /// `modify` may run several times, each time on the newly loaded value.
    ///
    /// # Errors
    /// Any [`VersionedError`].
    pub async fn update(&self, key: &str, modify: impl Fn(&mut Vec<u8>)) -> Result<Versioned, VersionedError> {
        let mut delays = backoff(5, 200).build();
        let mut loaded = self.load(key).await?;
        for _ in 0..self.attempts {
            modify(&mut loaded.value);
            match self.store(&loaded).await? {
                Ok(stored) => return Ok(stored),
                Err(found) => loaded = found,
            }
            tokio::time::sleep(delays.next().unwrap_or_default()).await;
        }
        Err(VersionedError::Contended { attempts: self.attempts })
    }

    /// Stores the value, or returns the value that another writer stored.
    async fn store(&self, versioned: &Versioned) -> Result<Result<Versioned, Versioned>, VersionedError> {
        let (tag, number) = self.place(&versioned.key)?;
        let next = versioned.next()?;
        let effects = [versioned.replaced_by(next.clone())];
        if let Some(problem) = effect::problem(&effects, tag) {
            return Err(StoreError::Rejected(problem.into()).into());
        }
        // An effect without a record: there is no item whose condition could fail, and none is written.
        let (link, item) = (&self.store.0.links[number], versioned.key.clone());
        match self.store.run_alone(link, item, &[], &effects, &[]).await? {
            Reply::Applied => Ok(Ok(Versioned::read(&versioned.key, Some(next))?)),
            Reply::EffectRefused(refused) => {
                let found = Versioned::read(&versioned.key, refused.found.map(|found| *found))?;
                // Our own write, whose reply was lost.
                Ok(if found.has_stamp_of(&next) { Ok(found) } else { Err(found) })
            }
            Reply::Refused(_) => Err(VersionedError::NotVersioned),
        }
    }

    fn place(&self, key: &str) -> Result<(&str, usize), VersionedError> {
        let tags = self.store.0.placement.tags();
        let number = tags.iter().position(|tag| key.starts_with(&format!("{{{tag}}}")));
        let number =
            number.ok_or_else(|| StoreError::Rejected("the key begins with none of the store's tags".into()))?;
        Ok((&tags[number], number))
    }
}

impl Versioned {
    /// The number of times the value has been stored.
    #[must_use]
    pub fn version(&self) -> u64 {
        self.stored.as_ref().map_or(0, |stored| version(stored))
    }

    fn read(key: &str, stored: Option<Vec<u8>>) -> Result<Self, VersionedError> {
        let value = match &stored {
            Some(stored) => stored.get(HEAD_BYTES..).ok_or(VersionedError::NotVersioned)?.to_vec(),
            None => Vec::new(),
        };
        Ok(Self { value, key: key.to_owned(), stored })
    }

    /// The content of the key after the store.
    fn next(&self) -> Result<Vec<u8>, VersionedError> {
        let mut next = (self.version() + 1).to_be_bytes().to_vec();
        let mut stamp = [0; STAMP_BYTES];
        SystemEntropy.fill(&mut stamp)?;
        next.extend(stamp);
        match &self.stored {
            Some(stored) => next.extend(&stored[8..HEAD_BYTES - STAMP_BYTES]),
            None => next.extend([0; (KEPT_STAMPS - 1) * STAMP_BYTES]),
        }
        next.extend(&self.value);
        Ok(next)
    }

    fn replaced_by(&self, next: Vec<u8>) -> Effect {
        match &self.stored {
            Some(stored) => Effect::replace(&self.key, stored.clone(), next),
            None => Effect::insert(&self.key, next),
        }
    }

    fn has_stamp_of(&self, next: &[u8]) -> bool {
        let stamp = &next[8..8 + STAMP_BYTES];
        self.stored
            .as_ref()
            .is_some_and(|stored| stored[8..HEAD_BYTES].chunks_exact(STAMP_BYTES).any(|one| one == stamp))
    }
}

fn version(stored: &[u8]) -> u64 {
    let mut bytes = [0; 8];
    bytes.copy_from_slice(&stored[..8]);
    u64::from_be_bytes(bytes)
}
