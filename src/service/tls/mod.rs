//! Connections: TLS 1.3 with the server's certificate, clients' certificates, and how many there may be.
//!
//! A certificate is renewed by writing its files anew: they are looked at every few seconds, and at once on SIGHUP. New
//! connections then use the new pair; a pair that cannot be used is logged, and the old one stays.
//!
//! The name of a client certificate is that of its URI `sidereus:user:NAME`, else its first e-mail address, else its first DNS
//! name, else its common name.
//!
//! - **TLS-1**: a handshake that does not go on, or fails, holds up no other.
//! - **TLS-2**: there is no moment without a certificate that can be used.
//! - **TLS-3**: who has not shown who he is keeps nobody else out: where there are too many connections, the oldest of those
//!   that have sent no call makes room, and then the oldest of other strangers.
//! - **TLS-4**: a client certificate counts until it is over, also on a connection that is older.

mod error;
mod gathered;
mod incoming;
mod material;
mod name;
mod reload;
mod standing;

use std::path::PathBuf;
use std::time::Duration;

pub use error::TlsError;
pub(super) use incoming::{Peer, incoming};
pub(super) use name::CertificateName;
pub(super) use reload::Certificates;
pub(super) use standing::Standing;

/// Certificates of a server, as files of PEM.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TlsOptions {
    /// The server's certificate, and those between it and its authority.
    pub certificate: PathBuf,
    /// Its private key.
    pub key: PathBuf,
    /// Authorities whose certificates tell who a client is; none where clients have no certificates.
    pub client_ca: Option<PathBuf>,
    /// Whether a client must have one.
    pub client_certificates: ClientCertificates,
}

/// Whether a client must have a certificate.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, serde::Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum ClientCertificates {
    /// It may show one, or a token, or nothing where the server asks nobody.
    #[default]
    Optional,
    /// There is no connection without one.
    Required,
}

/// How many connections there may be.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ConnectionLimits {
    /// In all.
    pub total_max: usize,
    /// From one address; IPv6 addresses of one network (/64) count as one, and those of this machine are not counted.
    pub per_address_max: usize,
    /// How long a TLS handshake may take.
    pub handshake_max: Duration,
    /// How long a connection may be open until its first call.
    pub first_call_max: Duration,
    /// How long it may be idle while nobody has shown on it who he is.
    pub stranger_idle_max: Duration,
}

impl Default for ConnectionLimits {
    fn default() -> Self {
        Self {
            total_max: 1_024,
            per_address_max: 64,
            handshake_max: Duration::from_secs(10),
            first_call_max: Duration::from_secs(10),
            stranger_idle_max: Duration::from_mins(1),
        }
    }
}
