//! Certificates and keys as they lie in files.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::server::WebPkiClientVerifier;
use rustls::{RootCertStore, ServerConfig};
use x509_parser::prelude::{FromDer, X509Certificate};

use super::{ClientCertificates, TlsError, TlsOptions};

const DAY: Duration = Duration::from_hours(24);

/// What connections are made with.
pub(super) struct Material {
    /// For rustls.
    pub(super) config: Arc<ServerConfig>,
    /// When the server's certificate is over.
    pub(super) expires: SystemTime,
}

impl Material {
    /// Reads the files and checks that they can be used now.
    pub(super) fn load(options: &TlsOptions) -> Result<Self, TlsError> {
        let chain = certificates("certificate", &options.certificate)?;
        let expires = expiry(&chain, &options.certificate)?;
        if let Ok(over) = SystemTime::now().duration_since(expires) {
            let days = over.as_secs() / DAY.as_secs();
            return Err(TlsError::Expired { path: options.certificate.clone(), days });
        }
        let key = read("private key", &options.key)?;
        let key = PrivateKeyDer::from_pem_slice(&key)
            .map_err(|error| malformed("private key", &options.key, &error))?;
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let builder = ServerConfig::builder_with_provider(Arc::clone(&provider))
            .with_protocol_versions(&[&rustls::version::TLS13])
            .map_err(|error| TlsError::Unsupported { reason: error.to_string() })?;
        let builder = match &options.client_ca {
            None => builder.with_no_client_auth(),
            Some(path) => {
                let bad = |reason: String| TlsError::BadAuthorities { path: path.clone(), reason };
                let mut roots = RootCertStore::empty();
                for authority in certificates("certificate of an authority", path)? {
                    roots.add(authority).map_err(|error| bad(error.to_string()))?;
                }
                let verifier = WebPkiClientVerifier::builder_with_provider(roots.into(), provider);
                let verifier = match options.client_certificates {
                    ClientCertificates::Optional => verifier.allow_unauthenticated(),
                    ClientCertificates::Required => verifier,
                };
                let verifier = verifier.build().map_err(|error| bad(error.to_string()))?;
                builder.with_client_cert_verifier(verifier)
            }
        };
        let mut config = builder.with_single_cert(chain, key).map_err(|error| {
            let (certificate, key) = (options.certificate.clone(), options.key.clone());
            TlsError::BadPair { certificate, key, reason: error.to_string() }
        })?;
        config.alpn_protocols = vec![b"h2".to_vec()];
        // A resumed session would be that of a client certificate that may be over by now.
        config.send_tls13_tickets = 0;
        Ok(Self { config: Arc::new(config), expires })
    }

    /// Days until the certificate is over, when they are few.
    pub(super) fn ends_soon(&self) -> Option<u64> {
        const SOON: Duration = Duration::from_hours(14 * 24);
        let left = self.expires.duration_since(SystemTime::now()).unwrap_or_default();
        (left < SOON).then(|| left.as_secs() / DAY.as_secs())
    }
}

fn read(what: &'static str, path: &Path) -> Result<Vec<u8>, TlsError> {
    std::fs::read(path).map_err(|source| TlsError::Unreadable { what, path: path.into(), source })
}

fn malformed(what: &'static str, path: &Path, reason: &dyn std::fmt::Display) -> TlsError {
    TlsError::Malformed { what, path: PathBuf::from(path), reason: reason.to_string() }
}

fn certificates(what: &'static str, path: &Path) -> Result<Vec<CertificateDer<'static>>, TlsError> {
    let text = read(what, path)?;
    let found: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(&text).collect();
    let found = found.map_err(|error| malformed(what, path, &error))?;
    if found.is_empty() { Err(malformed(what, path, &"there is none in it")) } else { Ok(found) }
}

/// When the first certificate of a chain, the server's own, is over.
fn expiry(chain: &[CertificateDer<'_>], path: &Path) -> Result<SystemTime, TlsError> {
    let own = chain.first().map(AsRef::as_ref).unwrap_or_default();
    let (_, own) =
        X509Certificate::from_der(own).map_err(|error| malformed("certificate", path, &error))?;
    let seconds = own.validity().not_after.timestamp();
    Ok(UNIX_EPOCH + Duration::from_secs(u64::try_from(seconds).unwrap_or_default()))
}
