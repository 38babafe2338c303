//! A connection to the service.

use std::io::Read;
use std::net::IpAddr;
use std::path::{Path, PathBuf};
use std::str::FromStr;
use std::time::Duration;

use clap::Args;
use tonic::Request;
use tonic::metadata::{Ascii, MetadataValue};
use tonic::service::Interceptor;
use tonic::service::interceptor::InterceptedService;
use tonic::transport::{Certificate, ClientTlsConfig, Endpoint, Identity};

use super::Global;
use super::error::CliError;
use super::output;
use crate::proto::admin_service_client::AdminServiceClient;
use crate::proto::ingest_service_client::IngestServiceClient;
use crate::proto::query_service_client::QueryServiceClient;
use crate::proto::schema_service_client::SchemaServiceClient;
use crate::proto::segment_service_client::SegmentServiceClient;
use crate::proto::user_service_client::UserServiceClient;

const CONNECT: Duration = Duration::from_secs(5);
/// A page of 10,000 user ids at their limit fits.
const ANSWER_BYTES: usize = 16 << 20;

/// The largest file of a token or of certificates that is read.
const FILE_BYTES: u64 = 1 << 20;

/// Who asks, and whom it trusts.
#[derive(Clone, Debug, Default, Args)]
pub(super) struct Access {
    /// The token to show to the service. Others on this machine can see what is on a command line:
    /// a file or the environment variable are better places.
    #[arg(long, global = true, env = "HEADCOUNT_TOKEN", hide_env_values = true)]
    token: Option<Secret>,
    /// A file with the token to show.
    #[arg(long, global = true, env = "HEADCOUNT_TOKEN_FILE", value_name = "FILE")]
    token_file: Option<PathBuf>,
    /// Certificates, as PEM, one of which signed that of the service: for https:// addresses.
    #[arg(long, global = true, env = "HEADCOUNT_CA", value_name = "FILE")]
    ca: Option<PathBuf>,
    /// The certificate to show to a service that asks for one, as PEM.
    #[arg(
        long,
        global = true,
        env = "HEADCOUNT_CLIENT_CERTIFICATE",
        value_name = "FILE"
    )]
    client_certificate: Option<PathBuf>,
    /// The private key of that certificate, as PEM.
    #[arg(long, global = true, env = "HEADCOUNT_CLIENT_KEY", value_name = "FILE")]
    client_key: Option<PathBuf>,
}

impl Access {
    fn bearer(&self) -> Result<Bearer, CliError> {
        let token = match (&self.token, &self.token_file) {
            (None, None) => return Ok(Bearer(None)),
            (Some(Secret(token)), None) => token.clone(),
            (None, Some(path)) => String::from_utf8(read(path)?).map_err(|_| {
                CliError::Input(format!("{}: there is no token in it", path.display()))
            })?,
            (Some(_), Some(_)) => {
                return Err(CliError::Input(
                    "give --token (or HEADCOUNT_TOKEN) or --token-file (or HEADCOUNT_TOKEN_FILE), not both".into(),
                ));
            }
        };
        let token = token.trim();
        // What is wrong is not shown: it may be almost a token.
        let value =
            (!token.is_empty()).then(|| MetadataValue::from_str(&format!("Bearer {token}")));
        let Some(Ok(mut value)) = value else {
            return Err(CliError::Input(
                "the token is empty or has characters that no token has".into(),
            ));
        };
        value.set_sensitive(true);
        Ok(Bearer(Some(value)))
    }

    /// What TLS is told, for an address that wants it.
    fn tls(&self) -> Result<ClientTlsConfig, CliError> {
        let Some(ca) = &self.ca else {
            return Err(CliError::Input(
                "for an https:// address give with --ca the certificate that signed that of the service".into(),
            ));
        };
        let roots = read(ca)?;
        let mark = b"-----BEGIN CERTIFICATE-----";
        if !roots.windows(mark.len()).any(|bytes| bytes == mark) {
            // Nothing would be trusted, which is told of as if the service were at fault.
            return Err(CliError::Input(format!(
                "{}: there is no certificate in it, as PEM",
                ca.display()
            )));
        }
        let tls = ClientTlsConfig::new().ca_certificate(Certificate::from_pem(roots));
        match (&self.client_certificate, &self.client_key) {
            (None, None) => Ok(tls),
            (Some(certificate), Some(key)) => {
                Ok(tls.identity(Identity::from_pem(read(certificate)?, read(key)?)))
            }
            (Some(_), None) | (None, Some(_)) => Err(CliError::Input(
                "--client-certificate and --client-key go together".into(),
            )),
        }
    }

    /// Whether something is said that only TLS can do.
    fn wants_tls(&self) -> bool {
        self.ca.is_some() || self.client_certificate.is_some() || self.client_key.is_some()
    }
}

/// A text that is not shown, not even by mistake.
#[derive(Clone)]
struct Secret(String);

impl std::fmt::Debug for Secret {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Secret")
    }
}

impl FromStr for Secret {
    type Err = std::convert::Infallible;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        Ok(Self(text.into()))
    }
}

/// Shows a token with every call, if there is one.
#[derive(Clone, Debug)]
pub(super) struct Bearer(Option<MetadataValue<Ascii>>);

impl Interceptor for Bearer {
    #[expect(
        clippy::disallowed_types,
        reason = "what is intercepted could be refused"
    )]
    fn call(&mut self, mut request: Request<()>) -> Result<Request<()>, tonic::Status> {
        if let Some(token) = &self.0 {
            request
                .metadata_mut()
                .insert("authorization", token.clone());
        }
        Ok(request)
    }
}

/// A connection on which every call shows who asks.
pub(super) type Channel = InterceptedService<tonic::transport::Channel, Bearer>;

#[expect(
    clippy::disallowed_methods,
    reason = "a file of whoever asks, not of the data folder"
)]
fn read(path: &Path) -> Result<Vec<u8>, CliError> {
    let fault = |error: std::io::Error| CliError::Input(format!("{}: {error}", path.display()));
    let mut bytes = Vec::new();
    let file = std::fs::File::open(path).map_err(fault)?;
    file.take(FILE_BYTES)
        .read_to_end(&mut bytes)
        .map_err(fault)?;
    Ok(bytes)
}

/// A connection, and the population to ask about.
#[derive(Clone, Debug)]
pub(super) struct Client {
    pub(super) channel: Channel,
    pub(super) population: String,
}

impl Client {
    pub(super) async fn connect(global: &Global) -> Result<Self, CliError> {
        let access = &global.access;
        let server = if global.server.contains("://") {
            global.server.clone()
        } else if access.wants_tls() {
            format!("https://{}", global.server)
        } else {
            format!("http://{}", global.server)
        };
        let bearer = access.bearer()?;
        let mut endpoint = Endpoint::from_shared(server.clone())
            .map_err(|error| {
                CliError::Input(format!("--server {server:?} is no address: {error}"))
            })?
            .connect_timeout(CONNECT)
            .tcp_nodelay(true);
        if endpoint.uri().scheme_str() == Some("https") {
            endpoint = endpoint
                .tls_config(access.tls()?)
                .map_err(|error| CliError::Input(unusable(&error)))?;
        } else if access.wants_tls() {
            return Err(CliError::Input(format!(
                "--ca, --client-certificate and --client-key are for an address that begins with https://, not for {server:?}"
            )));
        } else if bearer.0.is_some() && !endpoint.uri().host().is_some_and(is_own) {
            output::note(&format!(
                "warning: the token is sent in the clear to {server}, where whoever is on the way can take it"
            ));
        }
        let channel = endpoint
            .connect()
            .await
            .map_err(|error| CliError::Unreachable {
                server,
                cause: innermost(&error),
            })?;
        Ok(Self {
            channel: InterceptedService::new(channel, bearer),
            population: global.population.clone(),
        })
    }

    pub(super) fn query(&self) -> QueryServiceClient<Channel> {
        QueryServiceClient::new(self.channel.clone()).max_decoding_message_size(ANSWER_BYTES)
    }

    pub(super) fn ingest(&self) -> IngestServiceClient<Channel> {
        IngestServiceClient::new(self.channel.clone())
    }

    pub(super) fn users(&self) -> UserServiceClient<Channel> {
        UserServiceClient::new(self.channel.clone())
    }

    pub(super) fn schema(&self) -> SchemaServiceClient<Channel> {
        SchemaServiceClient::new(self.channel.clone()).max_decoding_message_size(ANSWER_BYTES)
    }

    pub(super) fn segments(&self) -> SegmentServiceClient<Channel> {
        SegmentServiceClient::new(self.channel.clone()).max_decoding_message_size(ANSWER_BYTES)
    }

    pub(super) fn admin(&self) -> AdminServiceClient<Channel> {
        AdminServiceClient::new(self.channel.clone())
    }
}

fn unusable(error: &tonic::transport::Error) -> String {
    format!(
        "the files of --ca, --client-certificate and --client-key can't be used: {}",
        innermost(error)
    )
}

/// Whether a host is this machine.
fn is_own(host: &str) -> bool {
    let address = host.trim_start_matches('[').trim_end_matches(']');
    host == "localhost" || address.parse().is_ok_and(|ip: IpAddr| ip.is_loopback())
}

/// The first cause of an error: "connection refused" rather than "transport error".
pub(super) fn innermost(error: &dyn std::error::Error) -> String {
    let mut cause = error;
    while let Some(source) = cause.source() {
        cause = source;
    }
    cause.to_string()
}
