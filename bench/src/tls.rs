//! TLS in front of the store, as in production: a terminator with a certificate of a private authority.

use std::fs;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::Arc;

use anyhow::{Context, Result, ensure};
use tokio::io::copy_bidirectional;
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinHandle;
use tokio_rustls::TlsAcceptor;
use tokio_rustls::rustls::ServerConfig;
use tokio_rustls::rustls::crypto::aws_lc_rs;
use tokio_rustls::rustls::pki_types::pem::PemObject;
use tokio_rustls::rustls::pki_types::{CertificateDer, PrivateKeyDer};

/// The files in which a system may have all its certificates, as Lambda does.
pub(crate) const SYSTEMS_BUNDLES: [&str; 2] =
    ["/etc/pki/tls/certs/ca-bundle.crt", "/etc/ssl/certs/ca-certificates.crt"];

/// An authority and a certificate for this machine, in files. Dropping it removes them.
#[derive(Debug)]
pub struct Certificates {
    folder: PathBuf,
}

impl Certificates {
    /// Creates them with OpenSSL. The key is an RSA key of 2,048 bits, like DynamoDB's.
    ///
    /// # Errors
    /// When OpenSSL is not installed, or the folder cannot be written.
    pub fn make(folder: &Path) -> Result<Self> {
        fs::create_dir_all(folder)?;
        fs::write(folder.join("names"), "subjectAltName=IP:127.0.0.1\n")?;
        for arguments in [
            "req -x509 -newkey rsa:2048 -nodes -days 2 -subj /CN=authority -keyout authority.key -out authority.pem",
            "req -newkey rsa:2048 -nodes -subj /CN=localhost -keyout server.key -out server.csr",
            "x509 -req -days 2 -in server.csr -CA authority.pem -CAkey authority.key -CAcreateserial -extfile names \
             -out server.pem",
        ] {
            let mut command = Command::new("openssl");
            command.args(arguments.split_whitespace()).current_dir(folder).stdout(Stdio::null()).stderr(Stdio::null());
            ensure!(command.status().context("cannot run openssl")?.success(), "openssl {arguments}");
        }
        let certificates = Self { folder: folder.to_owned() };
        // A client in production also reads all authorities of its system.
        let mut bundle = SYSTEMS_BUNDLES.iter().find_map(|file| fs::read(file).ok()).unwrap_or_default();
        bundle.extend(fs::read(certificates.authority())?);
        fs::write(certificates.bundle(), bundle)?;
        Ok(certificates)
    }

    /// The file with the authority alone.
    #[must_use]
    pub fn authority(&self) -> PathBuf {
        self.folder.join("authority.pem")
    }

    /// The file with the system's authorities and this one.
    #[must_use]
    pub fn bundle(&self) -> PathBuf {
        self.folder.join("bundle.pem")
    }

    fn acceptor(&self) -> Result<TlsAcceptor> {
        let certificate = CertificateDer::from_pem_file(self.folder.join("server.pem"))?;
        let key = PrivateKeyDer::from_pem_file(self.folder.join("server.key"))?;
        let provider = Arc::new(aws_lc_rs::default_provider());
        let config = ServerConfig::builder_with_provider(provider).with_safe_default_protocol_versions()?;
        let config = config.with_no_client_auth().with_single_cert(vec![certificate], key)?;
        Ok(TlsAcceptor::from(Arc::new(config)))
    }
}

impl Drop for Certificates {
    fn drop(&mut self) {
        // If this fails, the files are gone with the machine, and no other program trusts them.
        let _ = fs::remove_dir_all(&self.folder);
    }
}

/// A terminator. Dropping it closes it.
#[derive(Debug)]
pub struct Terminator {
    address: SocketAddr,
    /// The certificates of the terminator.
    pub certificates: Arc<Certificates>,
    accepts: JoinHandle<()>,
}

impl Terminator {
    /// Starts a terminator that passes decrypted traffic on to this address.
    ///
    /// # Errors
    /// When there is no free port, or a certificate cannot be read.
    pub async fn start(certificates: Arc<Certificates>, to: SocketAddr) -> Result<Self> {
        let (listener, acceptor) = (TcpListener::bind("127.0.0.1:0").await?, certificates.acceptor()?);
        let address = listener.local_addr()?;
        let accepts = tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                // The client handles a broken connection.
                tokio::spawn(pass_on(acceptor.clone(), stream, to));
            }
        });
        Ok(Self { address, certificates, accepts })
    }

    /// The URL on which the terminator listens.
    #[must_use]
    pub fn url(&self) -> String {
        format!("https://{}", self.address)
    }
}

impl Drop for Terminator {
    fn drop(&mut self) {
        self.accepts.abort();
    }
}

async fn pass_on(acceptor: TlsAcceptor, stream: TcpStream, to: SocketAddr) -> Result<()> {
    stream.set_nodelay(true)?;
    let mut plain = TcpStream::connect(to).await?;
    plain.set_nodelay(true)?;
    copy_bidirectional(&mut acceptor.accept(stream).await?, &mut plain).await?;
    Ok(())
}
