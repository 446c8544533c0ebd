//! IAM tokens instead of a password, for ElastiCache and MemoryDB.
//!
//! A token is a signed URL that is valid for 15 minutes; each connection gets its own. Both services require TLS for
//! tokens and end a connection after twelve hours. The tokens were checked against the form that AWS documents, not
//! against AWS itself.

use std::time::{Duration, SystemTime};

use aws_credential_types::provider::{ProvideCredentials, SharedCredentialsProvider};
use aws_sigv4::http_request::{SignableBody, SignableRequest, SignatureLocation, SigningSettings, sign};
use aws_sigv4::sign::v4;
use derive_where::derive_where;
use futures::future::BoxFuture;

use super::server::{Credentials, Login};
use crate::store::BoxError;

/// The service that a token is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Service {
    /// ElastiCache with nodes (not serverless).
    ElastiCache,
    /// MemoryDB.
    MemoryDb,
}

impl Service {
    const fn name(self) -> &'static str {
        match self {
            Self::ElastiCache => "elasticache",
            Self::MemoryDb => "memorydb",
        }
    }
}

/// Logs in to a cache with tokens that the function's role signs.
#[derive(Clone)]
#[derive_where(Debug)]
pub struct IamTokens {
    service: Service,
    cache: String,
    user: String,
    region: String,
    #[derive_where(skip)]
    credentials: SharedCredentialsProvider,
}

impl IamTokens {
    /// Creates tokens for this cache (the name of its replication group or cluster) and user.
    pub fn new(
        service: Service,
        cache: impl Into<String>,
        user: impl Into<String>,
        region: impl Into<String>,
        credentials: SharedCredentialsProvider,
    ) -> Self {
        Self { service, cache: cache.into(), user: user.into(), region: region.into(), credentials }
    }

    async fn token(&self, now: SystemTime) -> Result<String, BoxError> {
        let identity = self.credentials.provide_credentials().await?.into();
        let mut settings = SigningSettings::default();
        settings.signature_location = SignatureLocation::QueryParams;
        settings.expires_in = Some(Duration::from_secs(15 * 60));
        let parameters = v4::SigningParams::builder()
            .identity(&identity)
            .region(&self.region)
            .name(self.service.name())
            .time(now)
            .settings(settings)
            .build()?
            .into();
        let url = format!("http://{}/?Action=connect&User={}", self.cache, self.user);
        let request = SignableRequest::new("GET", &url, std::iter::empty(), SignableBody::Bytes(&[]))?;
        let (instructions, _) = sign(request, &parameters)?.into_parts();
        let signed = instructions.params().iter().map(|(name, value)| format!("&{name}={}", encoded(value)));
        let token: String = std::iter::once(url).chain(signed).collect();
        Ok(token.trim_start_matches("http://").to_owned())
    }
}

impl Credentials for IamTokens {
    fn login(&self) -> BoxFuture<'_, Result<Login, BoxError>> {
        Box::pin(async { Ok(Login { user: Some(self.user.clone()), password: self.token(SystemTime::now()).await? }) })
    }
}

/// Percent-encodes all except unreserved characters (RFC 3986), as in a query.
fn encoded(value: &str) -> String {
    let byte = |byte: u8| match byte {
        b'A'..=b'Z' | b'a'..=b'z' | b'0'..=b'9' | b'-' | b'.' | b'_' | b'~' => char::from(byte).to_string(),
        _ => format!("%{byte:02X}"),
    };
    value.bytes().map(byte).collect()
}

#[cfg(test)]
mod tests {
    use aws_credential_types::Credentials as Keys;

    use super::*;

    #[tokio::test]
    async fn a_token_is_a_signed_address_without_its_scheme_and_a_new_one_for_each_time() {
        let keys = Keys::new("AKID", "secret", Some("session/+".into()), None, "test");
        let tokens =
            IamTokens::new(Service::MemoryDb, "payments", "app", "eu-central-1", SharedCredentialsProvider::new(keys));
        let at = |seconds| SystemTime::UNIX_EPOCH + Duration::from_secs(seconds);
        let token = tokens.token(at(1_795_494_059)).await.unwrap();
        assert!(token.starts_with("payments/?Action=connect&User=app&"), "{token}");
        for part in [
            "X-Amz-Algorithm=AWS4-HMAC-SHA256",
            "X-Amz-Credential=AKID%2F20261124%2Feu-central-1%2Fmemorydb%2Faws4_request",
            "X-Amz-Date=20261124T042059Z",
            "X-Amz-Expires=900",
            "X-Amz-SignedHeaders=host",
            "X-Amz-Security-Token=session%2F%2B",
            "X-Amz-Signature=",
        ] {
            assert!(token.contains(part), "{part} in {token}");
        }
        assert_eq!(tokens.token(at(1_795_494_059)).await.unwrap(), token);
        assert_ne!(tokens.token(at(1_795_494_060)).await.unwrap(), token);
        assert!(!format!("{tokens:?}").contains("secret"));
    }
}
