//! Why the gate does not let a call through.

use thiserror::Error;
use tonic::Code;

use super::scan::Malformed;
use crate::access::Denied;
use crate::service::admission::Limited;

/// How somebody gets and gives what shows who he is.
const HOW: &str = "give an API token (--token-file, SIDEREUS_TOKEN, or token= in Python; an administrator makes one with \
                   `sidereus access token create`), or a client certificate (--cert and --key)";

/// Why the gate does not let a call through.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub(in crate::service) enum Refusal {
    /// Nothing shows who calls.
    #[error("this server asks who you are, and the call does not say: {how}", how = HOW)]
    Nobody,
    /// What should show who calls cannot be read.
    #[error("`authorization` must be `Bearer` and a token, once: {how}", how = HOW)]
    NoBearer,
    /// The authority's own decision.
    #[error("{0}")]
    Denied(Denied),
    /// The identity that was taken from a certificate cannot be told.
    #[error(
        "the client certificate names nobody: it needs the URI sidereus:user:NAME, an e-mail address, a DNS name or a \
         common name"
    )]
    NamelessCertificate,
    /// A certificate that has ended since the connection was made.
    #[error("the client certificate of this connection is over: renew it, and connect again")]
    CertificateOver,
    /// A path without a rule.
    #[error("there is no method {path}")]
    NoMethod {
        /// The path, cut.
        path: String,
    },
    /// A collection that is not named.
    #[error("the request names no collection; name the one that it is about")]
    NoCollection,
    /// A message that cannot be read.
    #[error("the request cannot be read: {0}")]
    Malformed(Malformed),
    /// A message that is compressed.
    #[error("the request is compressed, and this server takes none that are: send it as it is")]
    Compressed,
    /// A message with a flag that means nothing.
    #[error("a message begins with the flag {flag}, which means nothing")]
    BadFlag {
        /// The flag.
        flag: u8,
    },
    /// A message that is larger than is taken.
    #[error(
        "a message of {bytes} bytes is larger than the limit of {limit} (`limits.request_mib`, of objects `limits.ingest_message_mib`); \
         send less at once"
    )]
    TooLarge {
        /// Its length.
        bytes: usize,
        /// The limit.
        limit: usize,
    },
    /// A request that ends in the middle of its first message.
    #[error("the request ends after {bytes} bytes, in the middle of a message")]
    EndsEarly {
        /// Bytes that came.
        bytes: usize,
    },
    /// A request that does not go on.
    #[error("the first message did not come within {seconds} s")]
    TooSlow {
        /// How long was waited.
        seconds: u64,
    },
    /// A request whose connection broke.
    #[error("the request broke off")]
    Broken,
    /// A quota or the memory is used up for now.
    #[error(transparent)]
    Limited(Limited),
    /// A watch of the server, such as a quota or the audit log, that does not let it begin.
    #[error("{message}")]
    Watch {
        /// The gRPC code.
        code: Code,
        /// What the caller is told.
        message: String,
    },
}

impl Refusal {
    /// The gRPC code of it.
    pub(in crate::service) fn code(&self) -> Code {
        use crate::access::DeniedKind;
        match self {
            Self::Nobody | Self::NoBearer | Self::NamelessCertificate | Self::CertificateOver => {
                Code::Unauthenticated
            }
            Self::Denied(denied) => match denied.kind() {
                DeniedKind::Unauthenticated => Code::Unauthenticated,
                DeniedKind::Forbidden => Code::PermissionDenied,
                DeniedKind::Unavailable => Code::Unavailable,
            },
            Self::NoMethod { .. } | Self::Compressed => Code::Unimplemented,
            Self::NoCollection
            | Self::Malformed(_)
            | Self::BadFlag { .. }
            | Self::EndsEarly { .. } => Code::InvalidArgument,
            Self::TooLarge { .. } | Self::Limited(_) => Code::ResourceExhausted,
            Self::TooSlow { .. } => Code::DeadlineExceeded,
            Self::Broken => Code::Cancelled,
            Self::Watch { code, .. } => *code,
        }
    }

    /// What the audit log is told: more than the caller where he may not know all.
    pub(in crate::service) fn reason(&self) -> String {
        match self {
            Self::Denied(denied) => denied.reason().to_owned(),
            other => other.to_string(),
        }
    }
}
