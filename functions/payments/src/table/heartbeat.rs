use idempotency::protocol::EpochMs;

use super::{Table, TableError, failed, item::number, key::Key};

/// The attribute of the reconciler's checkpoint with the time at which its last complete run ended, in epoch
/// milliseconds.
pub const RAN: &str = "ran";

impl Table {
    /// When the last complete scheduled run of the reconciler ended; `None` if none has (a consistent read).
    ///
    /// # Errors
    ///
    /// When the table cannot be read, or the time is malformed.
    pub async fn reconciler_ran(&self) -> Result<Option<EpochMs>, TableError> {
        let key = Key::checkpoint();
        let read = self.client.get_item().table_name(&self.name).set_key(Some(key.into())).consistent_read(true);
        let item = read.send().await.map_err(failed)?.item.unwrap_or_default();
        item.contains_key(RAN).then(|| number(&item, RAN).map(EpochMs)).transpose()
    }
}
