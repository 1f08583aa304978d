//! What a call shows of who makes it.

use tonic::codegen::http::HeaderMap;
use tonic::codegen::http::header::AUTHORIZATION;

use super::refusal::Refusal;
use crate::service::tls::{CertificateName, Peer};

/// Longest token, in bytes; the headers of a request have a limit of their own.
const TOKEN_BYTES_MAX: usize = 8 << 10;

/// What a call shows of who makes it.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(in crate::service) enum Credentials<'a> {
    /// A token: opaque, or a JWT of an issuer.
    Bearer(&'a str),
    /// A name that a client certificate of the operator's authority has.
    Certificate(&'a str),
    /// Nothing.
    Nothing,
}

impl std::fmt::Debug for Credentials<'_> {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Bearer(_) => out.write_str("Bearer(..)"),
            Self::Certificate(name) => write!(out, "Certificate({name:?})"),
            Self::Nothing => out.write_str("Nothing"),
        }
    }
}

impl<'a> Credentials<'a> {
    /// Reads them. A token comes before a certificate: with it, a program of several people tells for whom it calls.
    ///
    /// # Errors
    /// [`Refusal::NoBearer`] for a header that is something else, or there twice: the certificate is not a way out of it;
    /// [`Refusal::CertificateOver`] on a connection that is older than the end of its certificate.
    pub(super) fn read(headers: &'a HeaderMap, peer: Option<&'a Peer>) -> Result<Self, Refusal> {
        if peer.is_some_and(Peer::has_outlived_its_certificate) {
            return Err(Refusal::CertificateOver);
        }
        let mut given = headers.get_all(AUTHORIZATION).iter();
        if let Some(header) = given.next() {
            if given.next().is_some() {
                return Err(Refusal::NoBearer);
            }
            return header
                .to_str()
                .ok()
                .and_then(bearer)
                .map(Self::Bearer)
                .ok_or(Refusal::NoBearer);
        }
        match peer.and_then(|peer| peer.certificate.as_ref()) {
            Some(CertificateName::Name(name)) => Ok(Self::Certificate(name)),
            Some(CertificateName::Nameless) => Err(Refusal::NamelessCertificate),
            None => Ok(Self::Nothing),
        }
    }
}

/// The token of a header. The word before it may be written in any case.
fn bearer(header: &str) -> Option<&str> {
    let (scheme, token) = header.split_once(' ')?;
    let token = token.trim_matches(' ');
    let plain = |byte: u8| byte.is_ascii_graphic();
    let good = scheme.eq_ignore_ascii_case("bearer")
        && !token.is_empty()
        && token.len() <= TOKEN_BYTES_MAX
        && token.bytes().all(plain);
    good.then_some(token)
}

#[cfg(test)]
mod tests {
    use std::time::{Duration, SystemTime};

    use super::*;
    use crate::service::tls::Standing;

    fn headers(values: &[&str]) -> HeaderMap {
        let mut headers = HeaderMap::new();
        for value in values {
            headers.append(AUTHORIZATION, value.parse().expect("a header"));
        }
        headers
    }

    fn peer(name: Option<&str>) -> Peer {
        let certificate = name.map(|name| CertificateName::Name(name.into()));
        Peer {
            address: ([127, 0, 0, 1], 1).into(),
            certificate,
            certificate_ends: None,
            standing: Standing::default(),
        }
    }

    #[test]
    fn a_token_comes_before_a_certificate_and_a_bad_one_is_never_passed_over() {
        let ada = peer(Some("ada"));
        let (none, token) = (headers(&[]), headers(&["Bearer sid_x"]));
        assert_eq!(Credentials::read(&none, Some(&ada)), Ok(Credentials::Certificate("ada")));
        assert_eq!(Credentials::read(&token, Some(&ada)), Ok(Credentials::Bearer("sid_x")));
        assert_eq!(Credentials::read(&none, Some(&peer(None))), Ok(Credentials::Nothing));
        assert_eq!(Credentials::read(&none, None), Ok(Credentials::Nothing));
        for bad in [
            &["Basic YTpi"] as &[_],
            &["Bearer"],
            &["Bearer "],
            &["sid_x"],
            &["Bearer a b"],
            &["Bearer a", "Bearer b"],
            &["Bearer sid_x", "Basic YTpi"],
        ] {
            let given = headers(bad);
            assert_eq!(Credentials::read(&given, Some(&ada)), Err(Refusal::NoBearer), "{bad:?}");
        }
        let nameless = Peer { certificate: Some(CertificateName::Nameless), ..peer(None) };
        assert_eq!(Credentials::read(&none, Some(&nameless)), Err(Refusal::NamelessCertificate));
    }

    #[test]
    fn a_certificate_counts_until_it_is_over_on_old_connections_too() {
        let now = SystemTime::now();
        let with_end = |ends| Peer { certificate_ends: Some(ends), ..peer(Some("ada")) };
        let (none, token) = (headers(&[]), headers(&["Bearer sid_x"]));
        let good = with_end(now + Duration::from_mins(1));
        assert_eq!(Credentials::read(&none, Some(&good)), Ok(Credentials::Certificate("ada")));
        let over = with_end(now - Duration::from_secs(1));
        for headers in [&none, &token] {
            assert_eq!(Credentials::read(headers, Some(&over)), Err(Refusal::CertificateOver));
        }
    }

    #[test]
    fn tokens_are_never_printed() {
        assert!(!format!("{:?}", Credentials::Bearer("sid_secret")).contains("secret"));
    }
}
