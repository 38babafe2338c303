//! How the service is protected: what its files say, and whether that is enough for where it listens.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::mpsc::SyncSender;
use std::time::Duration;

use arc_swap::ArcSwap;
use tokio_rustls::rustls;

use super::tls;
use super::tokens::Tokens;
use super::watched::{Content, Look, Watched, keep_current};
use crate::model::Timestamp;

/// Where what protects the service is read from.
#[derive(Clone, Debug)]
pub struct SecurityConfig {
    /// The file of tokens; without it, nobody is asked who they are.
    pub tokens: Option<PathBuf>,
    /// The certificate of the service, and what stands between it and a root, as PEM.
    pub certificate: Option<PathBuf>,
    /// Its private key, as PEM.
    pub key: Option<PathBuf>,
    /// Certificates, as PEM, one of which must have signed that of a client.
    pub client_ca: Option<PathBuf>,
    /// Whether to listen in the clear where others can listen in.
    pub insecure: bool,
    /// How often the files are looked at.
    pub reload_interval: Duration,
}

impl Default for SecurityConfig {
    fn default() -> Self {
        Self {
            tokens: None,
            certificate: None,
            key: None,
            client_ca: None,
            insecure: false,
            reload_interval: Duration::from_secs(5),
        }
    }
}

/// What protects the service, as it is in force.
pub(super) struct Security {
    pub(super) tokens: Option<Arc<ArcSwap<Tokens>>>,
    pub(super) tls: Option<Arc<ArcSwap<rustls::ServerConfig>>>,
    has_client_ca: bool,
    watched: Vec<Box<dyn Look>>,
}

impl Security {
    /// Reads the files, and judges whether an address may be listened on so.
    pub(super) fn open(config: &SecurityConfig, address: SocketAddr) -> Result<Self, String> {
        let mut watched: Vec<Box<dyn Look>> = Vec::new();
        let tls = match (&config.certificate, &config.key) {
            (Some(certificate), Some(key)) => {
                let mut paths = vec![certificate.clone(), key.clone()];
                paths.extend(config.client_ca.clone());
                Some(Watched::open("the certificates", paths, tls::config)?)
            }
            (None, None) if config.client_ca.is_none() => None,
            (None, _) => {
                return Err(
                    "tls.certificate is missing, which the other settings of [tls] need".into(),
                );
            }
            (Some(_), None) => return Err("tls.key is missing, which tls.certificate needs".into()),
        };
        let tokens = match &config.tokens {
            Some(path) => Some(Watched::open("the tokens", vec![path.clone()], tokens)?),
            None => None,
        };
        if tls.is_none() && !config.insecure && !is_own(address) {
            return Err(format!(
                "others than this machine can reach {address}, and without TLS whoever is on the way can read and change what is sent: give --tls-certificate and --tls-key, or --insecure if something else protects the connections"
            ));
        }
        let security = Self {
            tokens: tokens.as_ref().map(Watched::current),
            tls: tls.as_ref().map(Watched::current),
            has_client_ca: config.client_ca.is_some(),
            watched: {
                watched.extend(tls.map(|tls| Box::new(tls) as Box<dyn Look>));
                watched.extend(tokens.map(|tokens| Box::new(tokens) as Box<dyn Look>));
                watched
            },
        };
        Ok(security)
    }

    /// Tells the operator what is weak about it.
    pub(super) fn tell(&self, address: SocketAddr, now: Timestamp) {
        match &self.tokens {
            Some(tokens) => {
                let tokens = tokens.load();
                if tokens.len() == 0 {
                    tracing::warn!("the file of tokens has no entries, so that nobody may call");
                }
                for name in tokens.expired(now) {
                    tracing::warn!("the token {name} has expired");
                }
                if self.tls.is_none() && !is_own(address) {
                    tracing::warn!(
                        "tokens are sent in the clear, so that whoever is on the way to {address} can take them: use TLS, or make sure that nobody is"
                    );
                }
            }
            None if !self.has_client_ca && !is_own(address) => {
                tracing::warn!(
                    "whoever reaches {address} may do everything: nobody is asked for a token or a certificate"
                );
            }
            None => {}
        }
    }

    /// Reads the files again when they change, for as long as what is returned is kept, and at once
    /// when something is sent there. Nothing is returned where there are no files.
    pub(super) fn follow(self, every: Duration) -> std::io::Result<Option<SyncSender<()>>> {
        if self.watched.is_empty() {
            return Ok(None);
        }
        let (tell, told) = std::sync::mpsc::sync_channel(1);
        std::thread::Builder::new()
            .name("reload".into())
            .spawn(move || keep_current(self.watched, every, &told))?;
        Ok(Some(tell))
    }
}

fn tokens(files: &[Content]) -> Result<Tokens, String> {
    let [file] = files else {
        return Err("a file of tokens is needed".into());
    };
    let text = std::str::from_utf8(&file.bytes).map_err(|_| file.fault("is no UTF-8 text"))?;
    Tokens::parse(text).map_err(|error| format!("{}:{error}", file.path.display()))
}

/// Whether only this machine can reach an address.
fn is_own(address: SocketAddr) -> bool {
    address.ip().to_canonical().is_loopback()
}
