use std::error::Error;
use std::time::Duration;

use aws_sdk_secretsmanager::Client;
use idempotency::http::Pseudonyms;

use crate::{Secret, setting};

/// The pause after a secret that could not be read.
const REST: Duration = Duration::from_secs(30);

/// The pseudonyms of the request log, if the stack has retry signals: the environment then names the secret with their
/// key, `PSEUDONYMS_SECRET`, and `SIGNALS` is `true`.
///
/// A key that cannot be read blocks no request: log lines have no pseudonyms until the key was read, and this process
/// tries again.
pub async fn pseudonyms(secrets: Client) -> Option<Pseudonyms> {
    setting("SIGNALS").ok().filter(|signals| signals == "true")?;
    let secret = Secret::new(secrets, setting("PSEUDONYMS_SECRET").ok()?);
    let pseudonyms = Pseudonyms::without_key();
    if !use_key(&secret, &pseudonyms).await {
        let later = pseudonyms.clone();
        tokio::spawn(async move {
            while !use_key(&secret, &later).await {
                tokio::time::sleep(REST).await;
            }
        });
    }
    Some(pseudonyms)
}

/// Whether the key was read.
async fn use_key(secret: &Secret, pseudonyms: &Pseudonyms) -> bool {
    match secret.text("key", |text| Some(text.as_bytes().to_vec())).await {
        Ok((key, _)) => {
            pseudonyms.use_key(&key);
            true
        }
        Err(error) => {
            tracing::warn!(
                error = &error as &dyn Error,
                "the pseudonyms' key could not be read; log lines have no pseudonyms yet"
            );
            false
        }
    }
}
