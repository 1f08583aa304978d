//! The only place where an error becomes a gRPC status, and the only author of [`tonic::Status`].
//!
//! What the caller can act on is told in one line. What only the operator can act on is logged, and the caller
//! gets the number under which the log has it.

use std::sync::atomic::{AtomicU64, Ordering};

use prost::Message;
use tonic::metadata::{MetadataMap, MetadataValue};
use tonic::{Code, Status};

use super::ServiceError;
use super::admission::Limited;
use super::gate::Refusal;
use super::telemetry;
use crate::class::Class;

/// Longest message of a status, in bytes: it travels in an HTTP/2 header.
const MESSAGE_BYTES_MAX: usize = 2_000;

static INCIDENTS: AtomicU64 = AtomicU64::new(1);

/// The gRPC code of a class.
pub fn code(class: Class) -> Code {
    match class {
        Class::Invalid => Code::InvalidArgument,
        Class::NotFound => Code::NotFound,
        Class::Conflict => Code::AlreadyExists,
        Class::Unavailable => Code::Unavailable,
        Class::Exhausted => Code::ResourceExhausted,
        Class::Corrupt => Code::DataLoss,
        Class::Internal => Code::Internal,
    }
}

impl From<ServiceError> for Status {
    fn from(error: ServiceError) -> Self {
        let class = error.class();
        match (error, class) {
            (ServiceError::Stream(status), _) => *status,
            (ServiceError::Limited(limited), _) => limited.into(),
            (ServiceError::Denied(denied), _) => {
                tracing::info!(reason = denied.reason(), "a call is let on no more");
                Refusal::Denied(denied).into()
            }
            (error @ (ServiceError::NotGranted { .. } | ServiceError::NotThroughTheGate), _) => {
                tracing::info!(%error, "permission denied");
                Self::new(Code::PermissionDenied, one_line(&error.to_string()))
            }
            (error @ ServiceError::DeadlineExceeded { .. }, _) => {
                tracing::info!(%error, "deadline exceeded");
                Self::new(Code::DeadlineExceeded, one_line(&error.to_string()))
            }
            // Nothing is wrong with a server that is stopped.
            (error @ ServiceError::Stopping, _) => {
                tracing::info!(%error, "request could not be served");
                Self::new(code(class), one_line(&error.to_string()))
            }
            (error @ ServiceError::Unsupported { .. }, _) => {
                Self::new(Code::Unimplemented, one_line(&error.to_string()))
            }
            // Those who may ask for backups are those who look after them: which file is damaged is theirs to know.
            (ServiceError::Backup(error), Class::Corrupt) => {
                tracing::error!(%error, "a backup is damaged");
                Self::new(code(class), one_line(&error.to_string()))
            }
            // Who may see a session may drop it, which is what helps.
            (error @ ServiceError::DamagedSession { .. }, _) => {
                tracing::error!(%error, "a session is damaged");
                Self::new(code(class), one_line(&error.to_string()))
            }
            (error, Class::Corrupt | Class::Internal) => {
                let incident = INCIDENTS.fetch_add(1, Ordering::Relaxed);
                tracing::error!(incident, error = %chain(&error), "request failed");
                let what = if class == Class::Corrupt {
                    "stored data is damaged: restore it from a copy"
                } else {
                    "a fault of the server: report it"
                };
                Self::new(
                    code(class),
                    format!("{what}; its log has the details (incident {incident})"),
                )
            }
            (error, Class::Unavailable | Class::Exhausted) => {
                tracing::warn!(error = %chain(&error), "request could not be served");
                Self::new(code(class), one_line(&error.to_string()))
            }
            (error, Class::Invalid | Class::NotFound | Class::Conflict) => {
                tracing::debug!(%error, "request refused");
                Self::new(code(class), one_line(&error.to_string()))
            }
        }
    }
}

/// Milliseconds until a refused call is worth to be tried again, in the metadata of its status.
pub(super) const RETRY_AFTER: &str = "retry-after-ms";

/// `google.rpc.Status`, as far as a refusal needs it.
#[derive(Clone, PartialEq, Message)]
struct Details {
    #[prost(int32, tag = "1")]
    code: i32,
    #[prost(string, tag = "2")]
    message: String,
    #[prost(message, repeated, tag = "3")]
    details: Vec<Detail>,
}

/// `google.protobuf.Any`.
#[derive(Clone, PartialEq, Message)]
struct Detail {
    #[prost(string, tag = "1")]
    type_url: String,
    #[prost(bytes = "vec", tag = "2")]
    value: Vec<u8>,
}

/// `google.rpc.RetryInfo`.
#[derive(Clone, PartialEq, Message)]
struct RetryInfo {
    #[prost(message, optional, tag = "1")]
    retry_delay: Option<Delay>,
}

/// `google.protobuf.Duration`.
#[derive(Clone, PartialEq, Message)]
struct Delay {
    #[prost(int64, tag = "1")]
    seconds: i64,
    #[prost(int32, tag = "2")]
    nanos: i32,
}

impl From<Limited> for Status {
    fn from(limited: Limited) -> Self {
        telemetry::rejected(limited.name);
        // Not a warning: under overload there are thousands of them, and the figures tell how many.
        tracing::debug!(limit = limited.name, %limited, "call refused");
        let code = Code::ResourceExhausted;
        let message = one_line(&limited.to_string());
        // Who is told a time comes back then.
        let Some(after) = limited.retry_after else { return Self::new(code, message) };
        let delay = Delay { seconds: after.as_secs() as i64, nanos: after.subsec_nanos() as i32 };
        let info = RetryInfo { retry_delay: Some(delay) };
        let detail = Detail {
            type_url: "type.googleapis.com/google.rpc.RetryInfo".to_owned(),
            value: info.encode_to_vec(),
        };
        let details =
            Details { code: code.into(), message: message.clone(), details: vec![detail] };
        let mut metadata = MetadataMap::new();
        // Rounded up: who comes back a moment too early is refused again.
        let millis = after.as_millis().saturating_add(1) as u64;
        metadata.insert(RETRY_AFTER, MetadataValue::from(millis));
        Self::with_details_and_metadata(code, message, details.encode_to_vec().into(), metadata)
    }
}

impl From<Refusal> for Status {
    fn from(refusal: Refusal) -> Self {
        if let Refusal::Limited(limited) = refusal {
            return limited.into();
        }
        Self::new(refusal.code(), one_line(&refusal.to_string()))
    }
}

/// The message and those of its causes.
fn chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(inner) = cause {
        let message = inner.to_string();
        if !text.contains(&message) {
            text.push_str(": ");
            text.push_str(&message);
        }
        cause = inner.source();
    }
    text
}

/// Joins the lines of a message and cuts it at a length that fits a header.
pub(super) fn one_line(message: &str) -> String {
    let mut line = message.split_whitespace().collect::<Vec<_>>().join(" ");
    if line.len() > MESSAGE_BYTES_MAX {
        line.truncate(line.floor_char_boundary(MESSAGE_BYTES_MAX));
        line.push_str(" ...");
    }
    line
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::backup::BackupError;
    use crate::service::RequestError;

    #[test]
    fn messages_are_one_line_and_fit_a_header() {
        assert_eq!(one_line("a\n  b\tc "), "a b c");
        let long = one_line(&"é".repeat(3_000));
        assert!(long.len() <= MESSAGE_BYTES_MAX + 4 && long.ends_with(" ..."));
    }

    #[test]
    fn whom_no_wait_helps_is_told_no_time() {
        let refused = |retry_after| {
            let (name, what) = ("a.limit", "too much".to_owned());
            Status::from(Limited { name, retry_after, what })
        };
        let later = refused(Some(std::time::Duration::from_millis(20)));
        let never = refused(None);
        assert_eq!([later.code(), never.code()], [Code::ResourceExhausted; 2]);
        assert!(later.metadata().contains_key(RETRY_AFTER) && !later.details().is_empty());
        assert!(!never.metadata().contains_key(RETRY_AFTER) && never.details().is_empty());
    }

    #[test]
    fn callers_see_their_faults_and_not_ours() {
        let status = Status::from(ServiceError::from(RequestError::NoHitsWanted));
        assert_eq!(status.code(), Code::InvalidArgument);
        assert!(status.message().contains("k is 0"));
        let status =
            Status::from(ServiceError::Task { reason: "panicked at /secret/path".to_owned() });
        assert_eq!(status.code(), Code::Internal);
        assert!(!status.message().contains("secret") && status.message().contains("incident"));
        let missing = BackupError::Missing { name: "rows.arrow".to_owned() };
        let status = Status::from(ServiceError::from(missing));
        assert_eq!(status.code(), Code::DataLoss);
        assert!(status.message().contains("rows.arrow"), "{status}");
        let status = Status::from(ServiceError::DeadlineExceeded { seconds: 1.0 });
        assert_eq!(status.code(), Code::DeadlineExceeded);
    }
}
