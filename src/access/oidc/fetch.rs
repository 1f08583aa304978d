//! Getting the issuer's keys: from a file, or from where its discovery document says (OpenID Connect Discovery 1.0).

use std::fs::File;
use std::io::Read;
use std::path::Path;
use std::time::Duration;

use reqwest::redirect::Policy;
use reqwest::{Client, Url};
use serde_json::Value;

/// Most bytes of a document.
const DOCUMENT_BYTES_MAX: u64 = 512 << 10;

/// How long the issuer may take to connect, and to answer.
const CONNECT: Duration = Duration::from_secs(3);
const ANSWER: Duration = Duration::from_secs(5);

/// Asks one issuer.
pub(super) struct Fetcher {
    client: Client,
    issuer: String,
}

/// An address that may be asked: encrypted, or on this machine.
pub(super) fn check_url(url: &str) -> Result<Url, String> {
    let read = Url::parse(url).map_err(|error| format!("`{url}` is not a URL: {error}"))?;
    match read.scheme() {
        "https" => Ok(read),
        "http" if is_loopback(&read) => Ok(read),
        _ => Err(format!(
            "`{url}` is not https: whoever stands between could hand in keys of his own"
        )),
    }
}

fn is_loopback(url: &Url) -> bool {
    let host = url.host_str().unwrap_or_default();
    let address = host.trim_start_matches('[').trim_end_matches(']').parse::<std::net::IpAddr>();
    host == "localhost" || address.is_ok_and(|address| address.is_loopback())
}

impl Fetcher {
    /// A client for an issuer. It follows no redirection: keys come from where the issuer says, or not at all.
    pub(super) fn new(issuer: &str) -> Result<Self, String> {
        let url = check_url(issuer)?;
        let builder = Client::builder()
            .redirect(Policy::none())
            .connect_timeout(CONNECT)
            .timeout(ANSWER)
            .https_only(url.scheme() == "https");
        let builder = if is_loopback(&url) { builder.no_proxy() } else { builder };
        let client = builder.build().map_err(|error| error.to_string())?;
        Ok(Self { client, issuer: issuer.to_owned() })
    }

    /// The text of the issuer's key set.
    pub(super) async fn key_set(&self) -> Result<Vec<u8>, String> {
        let discovery =
            format!("{}/.well-known/openid-configuration", self.issuer.trim_end_matches('/'));
        let document: Value = serde_json::from_slice(&self.get(&discovery).await?)
            .map_err(|error| format!("{discovery} is no discovery document: {error}"))?;
        let told = |name: &str| document.get(name).and_then(Value::as_str);
        if told("issuer") != Some(&self.issuer) {
            return Err(format!("{discovery} is the document of another issuer"));
        }
        let keys = told("jwks_uri").ok_or_else(|| format!("{discovery} names no jwks_uri"))?;
        self.get(keys).await
    }

    async fn get(&self, url: &str) -> Result<Vec<u8>, String> {
        let failed = |error: reqwest::Error| format!("{url}: {}", whole(&error));
        let request = self.client.get(check_url(url)?);
        let mut response = request.send().await.map_err(failed)?;
        if !response.status().is_success() {
            return Err(format!("{url} answered {}", response.status()));
        }
        let too_long = || format!("{url} answered more than {DOCUMENT_BYTES_MAX} bytes");
        if response.content_length().is_some_and(|bytes| bytes > DOCUMENT_BYTES_MAX) {
            return Err(too_long());
        }
        let mut text = Vec::new();
        while let Some(some) = response.chunk().await.map_err(failed)? {
            if (text.len() + some.len()) as u64 > DOCUMENT_BYTES_MAX {
                return Err(too_long());
            }
            text.extend_from_slice(&some);
        }
        Ok(text)
    }
}

/// An error with its causes, which say what the error itself leaves out.
fn whole(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(inner) = cause {
        text = format!("{text}: {inner}");
        cause = inner.source();
    }
    text
}

/// The text of a file of keys.
pub(super) fn read_file(path: &Path) -> Result<Vec<u8>, String> {
    let failed = |error: std::io::Error| format!("{}: {error}", path.display());
    let mut text = Vec::new();
    let file = File::open(path).map_err(failed)?;
    file.take(DOCUMENT_BYTES_MAX + 1).read_to_end(&mut text).map_err(failed)?;
    if text.len() as u64 > DOCUMENT_BYTES_MAX {
        return Err(format!("{} has more than {DOCUMENT_BYTES_MAX} bytes", path.display()));
    }
    Ok(text)
}
