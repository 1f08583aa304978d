//! Whom a client certificate names.

use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use x509_parser::extensions::GeneralName;
use x509_parser::prelude::{FromDer, X509Certificate};

/// How the URI of a certificate begins that was made for this server.
const URI: &str = "sidereus:user:";

/// Whom the certificate of a connection names. The handshake has shown that it is genuine.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(in crate::service) enum CertificateName {
    /// Somebody.
    Name(Arc<str>),
    /// Nobody: nothing in it is a name.
    Nameless,
}

impl CertificateName {
    /// Reads the name of a certificate.
    pub(super) fn of(der: &[u8]) -> Self {
        let Ok((_, certificate)) = X509Certificate::from_der(der) else { return Self::Nameless };
        name(&certificate).map_or(Self::Nameless, |name| Self::Name(name.into()))
    }
}

/// When a certificate is over; `None` where it cannot be read.
pub(super) fn end_of(der: &[u8]) -> Option<SystemTime> {
    let (_, certificate) = X509Certificate::from_der(der).ok()?;
    let seconds = certificate.validity().not_after.timestamp();
    // One that ended before 1970 is over.
    UNIX_EPOCH.checked_add(Duration::from_secs(u64::try_from(seconds).unwrap_or_default()))
}

/// The first of the names that there is, the most specific kind first. Two URIs for this server are none: nobody is two people.
fn name(certificate: &X509Certificate<'_>) -> Option<String> {
    let alternative = certificate.subject_alternative_name().ok().flatten();
    let names = alternative.map(|names| names.value.general_names.as_slice()).unwrap_or_default();
    let ours: Vec<&str> = names
        .iter()
        .filter_map(|name| match name {
            GeneralName::URI(uri) => uri.strip_prefix(URI),
            _ => None,
        })
        .collect();
    match ours[..] {
        [] => {}
        [ours] => return usable(ours),
        _ => return None,
    }
    let email = names.iter().find_map(|name| match name {
        GeneralName::RFC822Name(email) => Some(*email),
        _ => None,
    });
    let host = names.iter().find_map(|name| match name {
        GeneralName::DNSName(host) => Some(*host),
        _ => None,
    });
    let common = certificate.subject().iter_common_name().next();
    let common = common.and_then(|name| name.as_str().ok());
    email.or(host).or(common).and_then(usable)
}

/// A name that people can read in a log.
fn usable(name: &str) -> Option<String> {
    let good = !name.is_empty() && name.trim() == name && !name.chars().any(char::is_control);
    good.then(|| name.to_owned())
}

#[cfg(test)]
mod tests {
    use rcgen::{CertificateParams, DnType, KeyPair, SanType};

    use super::*;

    fn name_of(common: &str, alternative: Vec<SanType>) -> Option<String> {
        let mut parameters = CertificateParams::default();
        parameters.distinguished_name.push(DnType::CommonName, common);
        parameters.subject_alt_names = alternative;
        let key = KeyPair::generate().expect("a key");
        let certificate = parameters.self_signed(&key).expect("a certificate");
        match CertificateName::of(certificate.der()) {
            CertificateName::Name(name) => Some(name.to_string()),
            CertificateName::Nameless => None,
        }
    }

    #[test]
    fn the_most_specific_name_counts() {
        let uri = |text: &str| SanType::URI(text.try_into().expect("text"));
        let host = || SanType::DnsName("host.example".try_into().expect("text"));
        let email = || SanType::Rfc822Name("ada@example.org".try_into().expect("text"));
        let named = |name: &str| Some(name.to_owned());
        let all = || vec![host(), email(), uri("sidereus:user:ada")];
        assert_eq!(name_of("common", all()), named("ada"));
        assert_eq!(name_of("common", vec![host(), email()]), named("ada@example.org"));
        assert_eq!(name_of("common", vec![host(), uri("https://x")]), named("host.example"));
        assert_eq!(name_of("common", Vec::new()), named("common"));
        assert_eq!(name_of("common", vec![uri("sidereus:user:")]), None);
        let two = vec![uri("sidereus:user:ada"), uri("sidereus:user:root")];
        assert_eq!(name_of("common", two), None);
        assert_eq!(name_of("a\nb", Vec::new()), None);
        assert_eq!(CertificateName::of(b"no certificate"), CertificateName::Nameless);
    }
}
