//! What a server must be for the guarantees to hold, as far as it tells.

use redis::{FromRedisValue, cmd};

use super::link::Request;
use super::{CLAIMS, ValkeyStore, key};
use crate::store::StoreError;

/// Why a server cannot be used.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Unfit {
    /// It could not be reached, does not let this user in or lets it not run the script, or its memory is full.
    #[error("the server cannot be used: {0}")]
    Unavailable(#[source] StoreError),
    /// It does not know scripts that are refused as a whole.
    #[error("the server has version {0}, and 7.0 is needed")]
    TooOld(String),
    /// It evicts keys when its memory is full: those of records, so that their operations would run again.
    #[error("the server evicts keys (maxmemory-policy is {0}), and must have noeviction")]
    Evicts(String),
    /// It is a replica, which refuses writes, and whose reads may be old.
    #[error("the server is a replica")]
    Replica,
    /// It does not say what it is.
    #[error("the server does not say its {0}")]
    Silent(&'static str),
}

impl ValkeyStore {
    /// Checks that the server is reached, lets this user run the script, and neither evicts keys, nor is a replica, nor
    /// is older than 7.0. In a cluster, the node that owns each tag's slot is asked.
    ///
    /// Call it in the init phase of a function, where it also opens the connections. It writes nothing.
    ///
    /// # Errors
    /// [`Unfit`] says what is wrong. Do not serve then: later requests would fail closed, but evicted records would not
    /// be noticed.
    pub async fn check(&self) -> Result<(), Unfit> {
        for (tag, link) in self.0.placement.tags().iter().zip(&self.0.links) {
            // A node of a cluster that does not own the slot names the one that does.
            let mut exists = cmd("EXISTS");
            exists.arg(key(tag, CLAIMS));
            link.call(&Request::Read(exists)).await.map_err(Unfit::Unavailable)?;
            let info = link.call(&Request::Read(cmd("INFO"))).await.map_err(Unfit::Unavailable)?;
            let info = String::from_redis_value(info).map_err(|_| Unfit::Silent("properties"))?;
            fit(&info)?;
            // Its condition never holds, so it shows only that it may run.
            let item = key(tag, "idempotency#check");
            let never = [("never", b"true".to_vec())];
            self.run_alone(link, item, &never, &[], &[]).await.map_err(Unfit::Unavailable)?;
        }
        tracing::info!(keeps = ?self.0.keeps, "the server is fit for records");
        Ok(())
    }
}

fn fit(info: &str) -> Result<(), Unfit> {
    let value = |name: &'static str| {
        let line = info.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(':'));
        line.map(str::trim).ok_or(Unfit::Silent(name))
    };
    // Valkey gives the version of Redis that it is compatible with, too.
    let version = value("redis_version")?;
    let major: u32 = version.split('.').next().and_then(|major| major.parse().ok()).ok_or(Unfit::Silent("version"))?;
    if major < 7 {
        return Err(Unfit::TooOld(version.to_owned()));
    }
    if value("role")? != "master" {
        return Err(Unfit::Replica);
    }
    match value("maxmemory_policy")? {
        "noeviction" => Ok(()),
        other => Err(Unfit::Evicts(other.to_owned())),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const GOOD: &str = "# Server\r\nredis_version:7.0.15\r\nrole:master\r\nmaxmemory_policy:noeviction\r\n";

    #[test]
    fn only_a_server_that_keeps_all_keys_and_takes_writes_is_fit() {
        assert!(fit(GOOD).is_ok());
        let unlike = |from: &str, to: &str| fit(&GOOD.replace(from, to)).unwrap_err();
        assert!(matches!(unlike("7.0.15", "6.2.14"), Unfit::TooOld(version) if version == "6.2.14"));
        assert!(matches!(unlike("master", "slave"), Unfit::Replica));
        for policy in ["volatile-lru", "allkeys-lru", "volatile-ttl"] {
            assert!(matches!(unlike("noeviction", policy), Unfit::Evicts(found) if found == policy));
        }
        assert!(matches!(unlike("maxmemory_policy", "policy"), Unfit::Silent("maxmemory_policy")));
        assert!(matches!(unlike("redis_version", "version"), Unfit::Silent("redis_version")));
    }
}
