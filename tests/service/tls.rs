//! TLS: who is let in by which certificate, and what happens when they change.

use std::fmt::Write as _;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use headcount::api::RpcStatus;
use headcount::engine::EngineOptions;
use headcount::model::sha256;
use headcount::proto::query_service_client::QueryServiceClient;
use headcount::server::{NewToken, ServerConfig};
use headcount::storage::{Disk, RealDisk};
use rcgen::{
    BasicConstraints, CertificateParams, ExtendedKeyUsagePurpose, IsCa, Issuer, KeyPair,
    KeyUsagePurpose, date_time_ymd,
};
use tempfile::TempDir;
use tokio::io::AsyncReadExt;
use tokio::net::TcpStream;
use tonic::Code;
use tonic::transport::{Certificate, Channel, ClientTlsConfig, Endpoint, Identity};

use crate::harness::{Service, counting, set};

/// Somebody whose signature is trusted.
struct Authority {
    pem: String,
    issuer: Issuer<'static, KeyPair>,
}

/// A certificate and its key.
struct Signed {
    certificate: String,
    key: String,
    sha256: String,
}

impl Authority {
    fn new() -> Self {
        let mut params = CertificateParams::new(Vec::default()).unwrap();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        params.key_usages = vec![KeyUsagePurpose::KeyCertSign];
        let key = KeyPair::generate().unwrap();
        Self {
            pem: params.self_signed(&key).unwrap().pem(),
            issuer: Issuer::new(params, key),
        }
    }

    fn signs(&self, name: &str, purpose: ExtendedKeyUsagePurpose) -> Signed {
        self.signs_until(name, purpose, None)
    }

    fn signs_until(
        &self,
        name: &str,
        purpose: ExtendedKeyUsagePurpose,
        end: Option<i32>,
    ) -> Signed {
        let mut params = CertificateParams::new(vec![name.into()]).unwrap();
        params.extended_key_usages = vec![purpose];
        if let Some(year) = end {
            params.not_after = date_time_ymd(year, 1, 1);
        }
        let key = KeyPair::generate().unwrap();
        let certificate = params.signed_by(&key, &self.issuer).unwrap();
        let hash = sha256(certificate.der());
        Signed {
            certificate: certificate.pem(),
            key: key.serialize_pem(),
            sha256: hash.iter().fold(String::new(), |mut text, byte| {
                let _ = write!(text, "{byte:02x}");
                text
            }),
        }
    }

    fn server(&self) -> Signed {
        self.signs("headcount.test", ExtendedKeyUsagePurpose::ServerAuth)
    }

    /// A certificate that was good until it expired.
    fn expired_client(&self) -> Signed {
        self.signs_until("somebody", ExtendedKeyUsagePurpose::ClientAuth, Some(2021))
    }

    fn client(&self) -> Signed {
        self.signs("somebody", ExtendedKeyUsagePurpose::ClientAuth)
    }
}

#[expect(clippy::disallowed_methods, reason = "files of an operator's")]
fn put(folder: &Path, name: &str, text: &str) {
    std::fs::write(folder.join(name), text).unwrap();
}

fn trusting(authority: &Authority) -> ClientTlsConfig {
    ClientTlsConfig::new()
        .ca_certificate(Certificate::from_pem(&authority.pem))
        .domain_name("headcount.test")
}

fn showing(authority: &Authority, signed: &Signed) -> ClientTlsConfig {
    trusting(authority).identity(Identity::from_pem(&signed.certificate, &signed.key))
}

struct Secured {
    folder: TempDir,
    authority: Authority,
    config: ServerConfig,
}

impl Secured {
    fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let authority = Authority::new();
        let signed = authority.server();
        put(folder.path(), "server.pem", &signed.certificate);
        put(folder.path(), "server.key", &signed.key);
        let mut config = ServerConfig::default();
        config.security.certificate = Some(folder.path().join("server.pem"));
        config.security.key = Some(folder.path().join("server.key"));
        config.security.reload_interval = Duration::from_millis(50);
        Self {
            folder,
            authority,
            config,
        }
    }

    fn asking_for_certificates_of(mut self, authority: &Authority) -> Self {
        put(self.folder.path(), "clients.pem", &authority.pem);
        self.config.security.client_ca = Some(self.folder.path().join("clients.pem"));
        self
    }

    async fn start(&self, tls: ClientTlsConfig) -> Service {
        let disk: Arc<dyn Disk> = Arc::new(RealDisk);
        let options = EngineOptions::new(self.folder.path().join("data"));
        Service::start_connected(&disk, options, self.config.clone(), |address| {
            endpoint(&format!("https://{address}"), Some(tls))
        })
        .await
    }
}

fn endpoint(address: &str, tls: Option<ClientTlsConfig>) -> Endpoint {
    let endpoint = Channel::from_shared(address.to_owned()).unwrap();
    match tls {
        Some(tls) => endpoint.tls_config(tls).unwrap(),
        None => endpoint,
    }
}

/// Connects and asks; what went wrong, if anything did.
async fn ask(service: &Service, tls: Option<ClientTlsConfig>) -> Result<u64, String> {
    let scheme = if tls.is_some() { "https" } else { "http" };
    let endpoint = endpoint(&format!("{scheme}://{}", service.address), tls);
    let asked = tokio::time::timeout(Duration::from_secs(20), async {
        let channel = endpoint.connect().await.map_err(|e| format!("{e:?}"))?;
        let answer = QueryServiceClient::new(channel)
            .count(counting("TRUE"))
            .await;
        answer
            .map(|answer| answer.into_inner().count)
            .map_err(|status: RpcStatus| format!("{status:?}"))
    });
    asked.await.expect("an end")
}

#[tokio::test]
async fn only_those_who_trust_the_certificate_get_an_answer() {
    let secured = Secured::new();
    let service = secured.start(trusting(&secured.authority)).await;
    service.write(vec![set("u1", &[])]).await;
    assert_eq!(
        ask(&service, Some(trusting(&secured.authority))).await,
        Ok(1)
    );
    let error = ask(&service, Some(trusting(&Authority::new())))
        .await
        .unwrap_err();
    assert!(error.contains("InvalidCertificate"), "{error}");
    let other_name = trusting(&secured.authority).domain_name("other.test");
    let error = ask(&service, Some(other_name)).await.unwrap_err();
    assert!(error.contains("NotValidForName"), "{error}");
    assert!(ask(&service, None).await.is_err());
    service.stop().await;
}

#[tokio::test]
async fn a_service_that_asks_for_certificates_lets_nobody_in_without() {
    let clients = Authority::new();
    let secured = Secured::new().asking_for_certificates_of(&clients);
    let known = || showing(&secured.authority, &clients.client());
    let service = secured.start(known()).await;
    service.write(vec![set("u1", &[])]).await;
    assert_eq!(ask(&service, Some(known())).await, Ok(1));
    assert!(
        ask(&service, Some(trusting(&secured.authority)))
            .await
            .is_err()
    );
    let strange = showing(&secured.authority, &Authority::new().client());
    assert!(ask(&service, Some(strange)).await.is_err());
    let expired = showing(&secured.authority, &clients.expired_client());
    let error = ask(&service, Some(expired)).await.unwrap_err();
    assert!(error.contains("CertificateExpired"), "{error}");
    // A certificate of a server is none of a client.
    let server = showing(&secured.authority, &clients.server());
    assert!(ask(&service, Some(server)).await.is_err());
    assert!(ask(&service, None).await.is_err());
    service.stop().await;
}

#[tokio::test]
async fn a_certificate_can_stand_in_the_place_of_a_token() {
    let clients = Authority::new();
    let mut secured = Secured::new().asking_for_certificates_of(&clients);
    let (reader, writer, stranger) = (clients.client(), clients.client(), clients.client());
    let token = NewToken::make().unwrap();
    let text = format!(
        "[[caller]]\nname = \"reader\"\ncertificate_sha256 = \"{}\"\nread = [\"*\"]\n\
         [[caller]]\nname = \"writer\"\ncertificate_sha256 = \"{}\"\nwrite = [\"*\"]\n\
         [[caller]]\nname = \"bearer\"\ntoken_sha256 = \"{}\"\nread = [\"*\"]\n",
        reader.sha256, writer.sha256, token.sha256
    );
    put(secured.folder.path(), "tokens.toml", &text);
    secured.config.security.tokens = Some(secured.folder.path().join("tokens.toml"));
    let service = secured.start(showing(&secured.authority, &writer)).await;
    service.write(vec![set("u1", &[])]).await;
    let counted = service.try_count("TRUE").await.unwrap_err();
    assert_eq!(counted.code(), Code::PermissionDenied);
    let as_reader = showing(&secured.authority, &reader);
    assert_eq!(ask(&service, Some(as_reader)).await, Ok(1));
    let as_stranger = showing(&secured.authority, &stranger);
    let error = ask(&service, Some(as_stranger)).await.unwrap_err();
    assert!(error.contains("Unauthenticated"), "{error}");
    // A token goes before the certificate, for better and for worse.
    for (token, expected) in [
        (token.token.as_str(), Code::Ok),
        ("x", Code::Unauthenticated),
    ] {
        let mut request = tonic::Request::new(counting("TRUE"));
        let value = format!("Bearer {token}").parse().unwrap();
        request.metadata_mut().insert("authorization", value);
        let outcome = service.query().count(request).await;
        let code = outcome.map_or_else(|status| status.code(), |_| Code::Ok);
        assert_eq!(code, expected);
    }
    service.stop().await;
}

/// Waits until a new connection with some trust gets an answer.
async fn until_trusted(service: &Service, tls: &ClientTlsConfig) {
    let waited = tokio::time::timeout(Duration::from_secs(20), async {
        while ask(service, Some(tls.clone())).await.is_err() {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    });
    waited.await.expect("the files are read again");
}

#[tokio::test]
async fn certificates_are_replaced_without_dropping_connections() {
    let secured = Secured::new();
    let folder = secured.folder.path();
    let service = secured.start(trusting(&secured.authority)).await;
    service.write(vec![set("u1", &[])]).await;
    let next = Authority::new();
    let signed = next.server();
    // Half of a pair, or no certificate at all, changes nothing.
    put(folder, "server.pem", &signed.certificate);
    tokio::time::sleep(Duration::from_millis(300)).await;
    assert_eq!(
        ask(&service, Some(trusting(&secured.authority))).await,
        Ok(1)
    );
    put(folder, "server.pem", "-----BEGIN CERTIFICATE-----\n");
    tokio::time::sleep(Duration::from_millis(300)).await;
    assert_eq!(
        ask(&service, Some(trusting(&secured.authority))).await,
        Ok(1)
    );
    put(folder, "server.pem", &signed.certificate);
    put(folder, "server.key", &signed.key);
    until_trusted(&service, &trusting(&next)).await;
    let old = ask(&service, Some(trusting(&secured.authority))).await;
    assert!(old.unwrap_err().contains("InvalidCertificate"));
    // The connection of before is the same: a new one would not trust the service.
    assert_eq!(service.count("TRUE").await, 1);
    service.stop().await;
}

#[tokio::test]
async fn a_handshake_that_is_not_finished_holds_up_nobody_and_ends() {
    let secured = Secured::new();
    let service = secured.start(trusting(&secured.authority)).await;
    service.write(vec![set("u1", &[])]).await;
    let mut idle = Vec::new();
    for _ in 0..200 {
        idle.push(TcpStream::connect(service.address).await.unwrap());
    }
    let asked = ask(&service, Some(trusting(&secured.authority)));
    let asked = tokio::time::timeout(Duration::from_secs(5), asked).await;
    assert_eq!(asked.expect("others are served"), Ok(1));
    let ended = tokio::time::timeout(Duration::from_secs(30), async {
        for stream in &mut idle {
            assert!(matches!(stream.read(&mut [0; 64]).await, Ok(0) | Err(_)));
        }
    });
    ended.await.expect("they are given up");
    service.stop().await;
}
