//! What shows the server who calls, and the caller that it is the server.

use std::error::Error as _;
use std::net::IpAddr;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};
use tonic::codegen::http::Uri;
use tonic::metadata::{Ascii, MetadataValue};
use tonic::service::Interceptor;
use tonic::transport::{Certificate, ClientTlsConfig, Identity};
use tonic::{Request, Status};

/// Environment variable that holds a token. There is no word for it: words of commands are seen by everybody on a machine.
const TOKEN_VARIABLE: &str = "SIDEREUS_TOKEN";

/// Environment variable that names the file of an authority.
const CA_VARIABLE: &str = "SIDEREUS_CA";

/// Longest file of a token, in bytes.
const TOKEN_BYTES_MAX: usize = 8 << 10;

/// Puts a token, if there is one, beside every call.
#[derive(Clone)]
pub(in crate::cli) struct Bearer {
    header: Option<MetadataValue<Ascii>>,
}

impl std::fmt::Debug for Bearer {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        out.write_str(if self.header.is_some() { "Bearer(..)" } else { "Bearer(none)" })
    }
}

impl Bearer {
    /// Reads the token of a file, else of the environment.
    pub(super) fn read(file: Option<&Path>) -> Result<Self> {
        let Some(file) = file else {
            let given = std::env::var(TOKEN_VARIABLE).unwrap_or_default();
            return Self::of(&given).with_context(|| format!("${TOKEN_VARIABLE} holds no token"));
        };
        let text = std::fs::read_to_string(file)
            .with_context(|| format!("cannot read the token in {}", file.display()))?;
        if text.trim().is_empty() {
            bail!("{} holds no token: it is empty", file.display());
        }
        Self::of(&text).with_context(|| format!("{} holds no token", file.display()))
    }

    /// Shows nothing.
    pub(super) fn none() -> Self {
        Self { header: None }
    }

    fn of(text: &str) -> Result<Self> {
        let token = text.trim();
        if token.is_empty() {
            return Ok(Self { header: None });
        }
        if token.len() > TOKEN_BYTES_MAX || !token.bytes().all(|byte| byte.is_ascii_graphic()) {
            bail!("a token is one word of letters, digits and signs");
        }
        let mut header: MetadataValue<Ascii> = format!("Bearer {token}").parse()?;
        // Kept out of logs and of the compression of headers.
        header.set_sensitive(true);
        Ok(Self { header: Some(header) })
    }

    /// Refuses to send a token where others can read it.
    pub(super) fn check_plaintext(&self, server: &Uri) -> Result<()> {
        let host = server.host().unwrap_or_default().trim_matches(['[', ']']);
        let is_here = host.eq_ignore_ascii_case("localhost")
            || host.parse().is_ok_and(|address: IpAddr| address.to_canonical().is_loopback());
        if self.header.is_some() && !is_here {
            bail!(
                "the token would travel to {host} unencrypted, where others can read it: use an address that begins \
                 with https://"
            );
        }
        Ok(())
    }
}

impl Interceptor for Bearer {
    fn call(&mut self, mut request: Request<()>) -> Result<Request<()>, Status> {
        if let Some(header) = &self.header {
            request.metadata_mut().insert("authorization", header.clone());
        }
        Ok(request)
    }
}

/// Files of certificates.
pub(super) struct TlsFiles<'a> {
    pub(super) ca: &'a Option<PathBuf>,
    pub(super) cert: &'a Option<PathBuf>,
    pub(super) key: &'a Option<PathBuf>,
}

impl TlsFiles<'_> {
    /// Reads them.
    pub(super) fn config(&self) -> Result<ClientTlsConfig> {
        let config = ClientTlsConfig::new();
        let config = match authority(self.ca.as_deref()) {
            Some(ca) => config.ca_certificate(Certificate::from_pem(pem("certificate", &ca)?)),
            None => config.with_native_roots(),
        };
        Ok(match (self.cert, self.key) {
            (Some(cert), Some(key)) => config
                .identity(Identity::from_pem(pem("certificate", cert)?, pem("private key", key)?)),
            _ => config,
        })
    }
}

/// File of the authority that is trusted; `None` for those of this machine.
pub(super) fn authority(given: Option<&Path>) -> Option<PathBuf> {
    given.map(Path::to_owned).or_else(|| std::env::var_os(CA_VARIABLE).map(PathBuf::from))
}

fn pem(what: &str, path: &Path) -> Result<Vec<u8>> {
    let text = std::fs::read(path)
        .with_context(|| format!("cannot read the {what} {}", path.display()))?;
    if !text.windows(10).any(|part| part == b"-----BEGIN") {
        bail!("{} holds no {what} in PEM", path.display());
    }
    Ok(text)
}

/// What is wrong with the certificate of the server, when that is why there is no connection.
pub(super) fn distrust(error: &tonic::transport::Error, ca: Option<&Path>) -> Option<String> {
    let mut said = error.to_string();
    let mut cause = error.source();
    while let Some(inner) = cause {
        said.push_str(": ");
        said.push_str(&inner.to_string());
        cause = inner.source();
    }
    reason(&said, ca)
}

fn reason(said: &str, ca: Option<&Path>) -> Option<String> {
    let unsigned = || {
        match ca {
        Some(ca) => format!(
            "its certificate is not signed by {}: name the certificate of its authority with --ca FILE",
            ca.display()
        ),
        None => "nobody that this machine trusts has signed its certificate: name the certificate of its authority with \
                 --ca FILE"
            .to_owned(),
    }
    };
    let reason = if said.contains("UnknownIssuer") || said.contains("BadSignature") {
        return Some(unsigned());
    } else if said.contains("UnsupportedCertVersion") {
        "its certificate is of version 1, and version 3 is needed: the operator must make it anew (openssl: -extensions or \
         -addext, as the README shows)"
    } else if ["BadCertificate", "CertificateUnknown", "UnknownCA", "UnsupportedCertificate"]
        .iter()
        .any(|alert| said.contains(alert))
    {
        "it does not take your certificate: that must be signed by an authority of the server's tls.client_ca, and of version \
         3 (openssl: -extensions or -addext, as the README shows)"
    } else if said.contains("Expired") {
        "its certificate is over: the operator must renew it"
    } else if ["NotValidForName", "not valid for name"].iter().any(|each| said.contains(each)) {
        "its certificate is for another name or address: use one that it was made for"
    } else if said.contains("invalid peer certificate") {
        "its certificate cannot be used: the operator must replace it"
    } else if said.contains("CertificateRequired") {
        "it wants a certificate of yours: name it with --cert FILE and --key FILE"
    } else if said.contains("received corrupt message") || said.contains("InvalidContentType") {
        "it does not speak TLS: use an address that begins with http://"
    } else {
        return None;
    };
    Some(reason.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tokens_are_words_and_are_never_printed() {
        let bearer = Bearer::of(" sid_abc.def\n").expect("a token");
        assert!(!format!("{bearer:?}").contains("abc"));
        assert!(Bearer::of("").expect("none").header.is_none());
        for bad in ["two words", "a\nb", "é"] {
            assert!(Bearer::of(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn tokens_do_not_travel_where_others_can_read_them() {
        let bearer = Bearer::of("sid_abc").expect("a token");
        let check = |uri: &str| bearer.check_plaintext(&uri.parse().expect("a URI"));
        for here in ["http://127.0.0.1:1", "http://localhost:1", "http://[::1]:1"] {
            assert!(check(here).is_ok(), "{here}");
        }
        for far in ["http://10.0.0.7:1", "http://example.org", "http://localhost.example.org"] {
            assert!(check(far).is_err(), "{far}");
        }
        let nobody = Bearer::of("").expect("none");
        assert!(nobody.check_plaintext(&"http://10.0.0.7".parse().expect("a URI")).is_ok());
    }

    #[test]
    fn what_is_wrong_with_a_certificate_is_told() {
        let told = |said| reason(said, Some(Path::new("mine.pem"))).unwrap_or_default();
        assert!(
            told("transport error: invalid peer certificate: UnknownIssuer").contains("mine.pem")
        );
        assert!(told("Other(OtherError(UnsupportedCertVersion))").contains("version 3"));
        assert!(told("invalid peer certificate: Expired").contains("renew"));
        assert_eq!(reason("connection refused", None), None);
    }
}
