//! The addresses and credentials of a server, and the connection to it.

use std::fmt;
use std::io;
use std::sync::Arc;
use std::time::Duration;

use futures::future::BoxFuture;
use redis::aio::MultiplexedConnection;
use redis::{
    AsyncConnectionConfig, Client, ConnectionAddr, ErrorKind, IntoConnectionInfo, RedisConnectionInfo, RedisError,
    TlsCertificates, Value, cmd,
};

use crate::store::BoxError;

/// A server or the nodes of a cluster: their addresses, TLS, and how to authenticate.
///
/// A cluster needs no other setting: a node that does not own the records' slot names the one that does.
#[derive(Clone)]
pub struct Server {
    addresses: Vec<Address>,
    tls: Option<TlsCertificates>,
    credentials: Option<Arc<dyn Credentials>>,
}

/// The user name and password of one connection.
#[derive(Clone, PartialEq, Eq)]
pub struct Login {
    /// The name of the user; without one, the server's default user.
    pub user: Option<String>,
    /// The password, or a token in its place.
    pub password: String,
}

/// Shows only the user.
impl fmt::Debug for Login {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_struct("Login").field("user", &self.user).finish_non_exhaustive()
    }
}

/// Provides the login of each connection.
///
/// It is called when a connection is opened, not by a background task, because a frozen sandbox runs no tasks. A token
/// therefore needs to be valid only until the connection is open.
pub trait Credentials: Send + Sync + 'static {
    /// Returns the login for a connection that is being opened.
    fn login(&self) -> BoxFuture<'_, Result<Login, BoxError>>;
}

impl Credentials for Login {
    fn login(&self) -> BoxFuture<'_, Result<Login, BoxError>> {
        Box::pin(std::future::ready(Ok(self.clone())))
    }
}

/// A host and a port.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Address {
    pub(super) host: String,
    pub(super) port: u16,
}

impl Address {
    /// Parses `host:port`. A node that does not know its own host omits it.
    pub(super) fn parse(text: &str, default_host: &str) -> Option<Self> {
        let (host, port) = text.rsplit_once(':')?;
        let host = if host.is_empty() { default_host } else { host.trim_start_matches('[').trim_end_matches(']') };
        Some(Self { host: host.to_owned(), port: port.parse().ok()? })
    }
}

/// The time limit for opening a connection: with TLS, many at once keep a single-threaded server busy for a while.
const CONNECTING: Duration = Duration::from_millis(1000);

impl Server {
    /// Creates a server at this address, without TLS or authentication.
    pub fn new(host: impl Into<String>, port: u16) -> Self {
        Self { addresses: vec![Address { host: host.into(), port }], tls: None, credentials: None }
    }

    /// Adds the address of another node of the same cluster, which is used if the others cannot be reached.
    #[must_use]
    pub fn or(mut self, host: impl Into<String>, port: u16) -> Self {
        self.addresses.push(Address { host: host.into(), port });
        self
    }

    /// Connects only with TLS, and accepts the certificates that the system trusts.
    #[must_use]
    pub fn tls(mut self) -> Self {
        self.tls = Some(TlsCertificates { client_tls: None, root_cert: None });
        self
    }

    /// Connects only with TLS, and accepts only the certificates of this authority (PEM).
    #[must_use]
    pub fn tls_trusting(mut self, authority_pem: impl Into<Vec<u8>>) -> Self {
        self.tls = Some(TlsCertificates { client_tls: None, root_cert: Some(authority_pem.into()) });
        self
    }

    /// Authenticates with a user and a password.
    #[must_use]
    pub fn login(self, user: impl Into<String>, password: impl Into<String>) -> Self {
        self.credentials(Login { user: Some(user.into()), password: password.into() })
    }

    /// Authenticates each connection with its own login.
    #[must_use]
    pub fn credentials(mut self, credentials: impl Credentials) -> Self {
        self.credentials = Some(Arc::new(credentials));
        self
    }

    /// The address to try at this turn.
    pub(super) fn address(&self, turn: usize) -> &Address {
        &self.addresses[turn % self.addresses.len()]
    }

    pub(super) async fn connect(&self, address: &Address) -> Result<MultiplexedConnection, RedisError> {
        let mut settings = RedisConnectionInfo::default().set_skip_set_lib_name();
        if let Some(credentials) = &self.credentials {
            let login = credentials.login().await.map_err(|error| {
                let kind = ErrorKind::AuthenticationFailed;
                RedisError::from((kind, "the credentials provided no login", error.to_string()))
            })?;
            settings = settings.set_password(login.password);
            if let Some(user) = login.user {
                settings = settings.set_username(user);
            }
        }
        // The link has a time-out for each attempt.
        let config = AsyncConnectionConfig::new().set_connection_timeout(Some(CONNECTING)).set_response_timeout(None);
        let mut connection =
            self.client(address, settings)?.get_multiplexed_async_connection_with_config(&config).await?;
        answers(&mut connection).await?;
        Ok(connection)
    }

    fn client(&self, address: &Address, settings: RedisConnectionInfo) -> Result<Client, RedisError> {
        let Address { host, port } = address.clone();
        match &self.tls {
            Some(certificates) => {
                let address = ConnectionAddr::TcpTls { host, port, insecure: false, tls_params: None };
                let info = address.into_connection_info()?.set_redis_settings(settings);
                Client::build_with_tls(info, certificates.clone())
            }
            None => {
                let address = ConnectionAddr::Tcp(host, port);
                Client::open(address.into_connection_info()?.set_redis_settings(settings))
            }
        }
    }
}

/// Checks that the server answers. A frozen server accepts connections, and a write sent to it would have an uncertain
/// outcome.
async fn answers(connection: &mut MultiplexedConnection) -> Result<(), RedisError> {
    let command = cmd("PING");
    let ping = command.query_async::<Value>(connection);
    match tokio::time::timeout(CONNECTING, ping).await {
        Err(_) => Err(io::Error::from(io::ErrorKind::TimedOut).into()),
        Ok(Err(error)) if error.code().is_none_or(|code| code == "NOAUTH") => Err(error),
        // Any reply is sufficient: this user may lack the permission for the command.
        Ok(_) => Ok(()),
    }
}

impl fmt::Debug for Server {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter
            .debug_struct("Server")
            .field("addresses", &self.addresses)
            .field("tls", &self.tls.is_some())
            .field("credentials", &self.credentials.is_some())
            .finish()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_node_that_does_not_know_its_host_is_at_the_one_that_was_asked() {
        let address = |host: &str, port| Some(Address { host: host.to_owned(), port });
        assert_eq!(Address::parse(":6380", "cache"), address("cache", 6380));
        assert_eq!(Address::parse("10.0.0.7:6381", "cache"), address("10.0.0.7", 6381));
        assert_eq!(Address::parse("[::1]:6381", "cache"), address("::1", 6381));
        assert_eq!(Address::parse("nonsense", "cache"), None);
    }

    #[test]
    fn no_password_is_shown() {
        let server = Server::new("cache", 6379).login("app", "secret-word");
        let login = Login { user: None, password: "secret-word".into() };
        let shown = format!("{server:?} {login:?}");
        assert!(!shown.contains("secret-word"), "{shown}");
    }
}
