//! The only place where an error becomes a gRPC status, and the only author of [`tonic::Status`].
//!
//! What the caller can act on is told in one line. What only the operator can act on is logged, and the caller
//! gets the number under which the log has it.

use std::sync::atomic::{AtomicU64, Ordering};

use tonic::{Code, Status};

use super::ServiceError;
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
            (error @ ServiceError::DeadlineExceeded { .. }, _) => {
                tracing::info!(%error, "deadline exceeded");
                Self::new(Code::DeadlineExceeded, one_line(&error.to_string()))
            }
            (error @ ServiceError::Unsupported { .. }, _) => {
                Self::new(Code::Unimplemented, one_line(&error.to_string()))
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
    use crate::service::RequestError;

    #[test]
    fn messages_are_one_line_and_fit_a_header() {
        assert_eq!(one_line("a\n  b\tc "), "a b c");
        let long = one_line(&"é".repeat(3_000));
        assert!(long.len() <= MESSAGE_BYTES_MAX + 4 && long.ends_with(" ..."));
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
        let status = Status::from(ServiceError::DeadlineExceeded { seconds: 1.0 });
        assert_eq!(status.code(), Code::DeadlineExceeded);
    }
}
