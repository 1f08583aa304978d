//! Settings of who may connect, and of who is asked who he is.

use std::path::PathBuf;
use std::time::Duration;

use serde::Deserialize;

use super::ConfigError;
use crate::access::{AccessOptions, OidcOptions};
use crate::service::{ClientCertificates, ConnectionLimits, TlsOptions};

/// Connections.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ConnectionSettings {
    /// In all.
    pub total: usize,
    /// From one address.
    pub per_address: usize,
    /// Seconds for a TLS handshake.
    pub handshake_s: u64,
    /// Seconds until the first call.
    pub first_call_s: u64,
    /// Seconds without a call while nobody has shown who he is.
    pub stranger_idle_s: u64,
}

impl ConnectionSettings {
    pub(super) fn limits(&self) -> ConnectionLimits {
        ConnectionLimits {
            total_max: self.total,
            per_address_max: self.per_address,
            handshake_max: Duration::from_secs(self.handshake_s),
            first_call_max: Duration::from_secs(self.first_call_s),
            stranger_idle_max: Duration::from_secs(self.stranger_idle_s),
        }
    }
}

/// Certificates.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct TlsSettings {
    /// The server's certificate, in PEM.
    pub certificate: Option<PathBuf>,
    /// Its private key, in PEM.
    pub key: Option<PathBuf>,
    /// Authorities of client certificates, in PEM.
    pub client_ca: Option<PathBuf>,
    /// Whether clients must have one.
    pub client_certificates: ClientCertificates,
}

impl TlsSettings {
    /// Certificates, where they are named.
    ///
    /// # Errors
    /// [`ConfigError::BadValue`] where something is named and the rest is missing.
    pub(super) fn options(&self) -> Result<Option<TlsOptions>, ConfigError> {
        let missing = |key, wanted: &str| {
            Err(ConfigError::BadValue {
                key,
                value: "missing".to_owned(),
                wanted: wanted.to_owned(),
            })
        };
        let (certificate, key) = match (&self.certificate, &self.key) {
            (Some(certificate), Some(key)) => (certificate.clone(), key.clone()),
            (Some(_), None) => return missing("tls.key", "name the key of `tls.certificate`"),
            (None, Some(_)) => {
                return missing("tls.certificate", "name the certificate of `tls.key`");
            }
            (None, None) if self.client_ca.is_some() => {
                let wanted = "clients show certificates to servers that have one themselves";
                return missing("tls.certificate", wanted);
            }
            (None, None) => return Ok(None),
        };
        if self.client_ca.is_none() && self.client_certificates == ClientCertificates::Required {
            let wanted = "name the authority whose client certificates are required";
            return missing("tls.client_ca", wanted);
        }
        let (client_ca, client_certificates) = (self.client_ca.clone(), self.client_certificates);
        Ok(Some(TlsOptions { certificate, key, client_ca, client_certificates }))
    }
}

/// Whether everybody is asked who he is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum AuthMode {
    /// Nobody is: everybody may do everything.
    Off,
    /// Everybody is, and may do what he was given.
    On,
}

/// Who is asked who he is, and how he may show it.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct AuthSettings {
    /// Whether everybody is asked.
    pub mode: AuthMode,
    /// Days that a token lasts when nobody says how long.
    pub token_days: u64,
    /// Most days that a token may last.
    pub token_days_max: u64,
    /// The single sign-on, if there is one.
    pub oidc: Option<OidcOptions>,
}

impl AuthSettings {
    /// What is asked, where it is on.
    pub(super) fn options(&self) -> Option<AccessOptions> {
        let (token_days, token_days_max) = (self.token_days, self.token_days_max);
        let options = AccessOptions { token_days, token_days_max, oidc: self.oidc.clone() };
        (self.mode == AuthMode::On).then_some(options)
    }
}

#[cfg(test)]
mod tests {
    use crate::config::Settings;
    use crate::service::ClientCertificates;

    fn parse(text: &str) -> Result<Settings, String> {
        Settings::parse(&format!("version = 1\n{text}\n"), "my.toml")
            .map_err(|error| error.to_string())
    }

    #[test]
    fn certificates_and_authentication_are_off_until_they_are_named() {
        let options = parse("").expect("valid").service_options(false).expect("options");
        assert!(options.tls.is_none() && options.authentication.is_none());
        let text = "[tls]\ncertificate = 'a.pem'\nkey = 'b.pem'\nclient_ca = 'c.pem'\n\
                    client_certificates = 'required'\n[auth]\nmode = 'on'\n[auth.oidc]\n\
                    issuer = 'https://sso.example'\naudiences = ['sidereus']";
        let options = parse(text).expect("valid").service_options(false).expect("options");
        let tls = options.tls.expect("certificates");
        assert_eq!(tls.client_certificates, ClientCertificates::Required);
        let access = options.authentication.expect("authentication");
        assert_eq!(access.token_days, 90);
        assert_eq!(access.oidc.expect("single sign-on").audiences, ["sidereus"]);
    }

    #[test]
    fn half_of_a_pair_is_refused_by_the_name_of_the_other() {
        let refused = |text| parse(text).expect_err("refused");
        assert!(refused("[tls]\ncertificate = 'a.pem'").contains("`tls.key`"));
        assert!(refused("[tls]\nkey = 'a.pem'").contains("`tls.certificate`"));
        assert!(refused("[tls]\nclient_ca = 'a.pem'").contains("`tls.certificate`"));
        let text = "[tls]\ncertificate = 'a'\nkey = 'b'\nclient_certificates = 'required'";
        assert!(refused(text).contains("`tls.client_ca`"));
        assert!(refused("[auth]\nmode = 'maybe'").contains("mode"));
        assert!(refused("[auth.oidc]\nissuer = 'https://x'").contains("audiences"));
        assert!(refused("[auth]\ntoken_days = 0").contains("auth.token_days"));
        assert!(refused("[auth]\ntoken_days = 400").contains("auth.token_days"));
        assert!(refused("[connections]\ntotal = 0").contains("connections.total"));
    }
}
