//! What TLS is told: the certificate of the service, its key, and whose certificates clients must
//! show.

use std::sync::Arc;

use tokio_rustls::rustls::crypto::ring;
use tokio_rustls::rustls::pki_types::pem::PemObject;
use tokio_rustls::rustls::pki_types::{CertificateDer, PrivateKeyDer};
use tokio_rustls::rustls::server::{NoServerSessionStorage, WebPkiClientVerifier};
use tokio_rustls::rustls::{RootCertStore, ServerConfig};

use super::watched::Content;

/// Reads the files with the certificate, its key and, if clients are to show theirs, with the
/// certificates that may have signed them.
pub(super) fn config(files: &[Content]) -> Result<ServerConfig, String> {
    let (certificate, key, client_ca) = match files {
        [certificate, key] => (certificate, key, None),
        [certificate, key, client_ca] => (certificate, key, Some(client_ca)),
        _ => return Err("a certificate and its key are needed".into()),
    };
    let provider = Arc::new(ring::default_provider());
    let builder = ServerConfig::builder_with_provider(Arc::clone(&provider))
        .with_safe_default_protocol_versions()
        .map_err(|error| error.to_string())?;
    let builder = match client_ca {
        None => builder.with_no_client_auth(),
        Some(file) => {
            let mut roots = RootCertStore::empty();
            for root in certificates(file)? {
                roots.add(root).map_err(|error| file.fault(error))?;
            }
            let verifier =
                WebPkiClientVerifier::builder_with_provider(Arc::new(roots), provider).build();
            builder.with_client_cert_verifier(verifier.map_err(|error| file.fault(error))?)
        }
    };
    let asks_for_certificates = client_ca.is_some();
    let chain = certificates(certificate)?;
    // The error shows nothing of the key.
    let private = PrivateKeyDer::from_pem_slice(&key.bytes)
        .map_err(|_| key.fault("there is no private key in it, as PEM"))?;
    let mut config = builder.with_single_cert(chain, private).map_err(|error| {
        let path = certificate.path.display();
        key.fault(format!(
            "is not the key of the certificate in {path}: {error}"
        ))
    })?;
    config.alpn_protocols = vec![b"h2".to_vec()];
    if asks_for_certificates {
        // A session that is taken up again is not asked for its certificate, which may have expired.
        config.session_storage = Arc::new(NoServerSessionStorage {});
        config.send_tls13_tickets = 0;
    }
    Ok(config)
}

fn certificates(file: &Content) -> Result<Vec<CertificateDer<'static>>, String> {
    let read: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(&file.bytes).collect();
    let certificates = read.map_err(|error| file.fault(error))?;
    if certificates.is_empty() {
        return Err(file.fault("there is no certificate in it, as PEM"));
    }
    Ok(certificates)
}
