//! Calls by path, with bytes.

use std::future::poll_fn;
use std::pin::Pin;
use std::time::Duration;

use tonic::body::Body;
use tonic::codegen::Body as _;
use tonic::codegen::http::{Request, Version};
use tonic::service::AxumBody;
use tonic::transport::Channel;
use tonic::{Code, Status};
use tower::ServiceExt;

pub(super) use crate::upkeep::harness::names::message::{field, varint};

/// Longer than any call should take, the first of a server among them, which measures the machine.
const PATIENCE: Duration = Duration::from_mins(2);

/// A text in messages within each other, the outermost number first.
pub(super) fn nested(path: &[u32], text: &[u8]) -> Vec<u8> {
    path.iter().rev().fold(text.to_vec(), |inner, number| field(*number, &inner))
}

/// A message as it travels.
pub(super) fn framed(message: &[u8]) -> Vec<u8> {
    let mut frame = vec![0];
    frame.extend((message.len() as u32).to_be_bytes());
    frame.extend(message);
    frame
}

/// Calls a method with one message and gives the status that it ends with.
pub(super) async fn call(
    channel: &Channel,
    path: &str,
    token: Option<&str>,
    message: &[u8],
) -> Status {
    let token = token.map(|token| format!("Bearer {token}"));
    let headers: Vec<_> = token.iter().map(|token| ("authorization", token.as_str())).collect();
    send(channel, path, &headers, framed(message)).await
}

/// Sends bytes to a path and gives the status that the call ends with.
pub(super) async fn send(
    channel: &Channel,
    path: &str,
    headers: &[(&str, &str)],
    bytes: Vec<u8>,
) -> Status {
    let mut request = Request::builder()
        .method("POST")
        .uri(path)
        .version(Version::HTTP_2)
        .header("te", "trailers")
        .header("content-type", "application/grpc");
    for (name, value) in headers {
        request = request.header(*name, *value);
    }
    let request = request.body(Body::new(AxumBody::from(bytes))).expect("a request");
    let answer = async {
        let response = match channel.clone().oneshot(request).await {
            Ok(response) => response,
            // The connection is gone.
            Err(error) => return Status::new(Code::Unavailable, error.to_string()),
        };
        if let Some(status) = Status::from_header_map(response.headers()) {
            return status;
        }
        let mut body = response.into_body();
        while let Some(frame) = poll_fn(|context| Pin::new(&mut body).poll_frame(context)).await {
            match frame {
                Ok(frame) => {
                    if let Some(trailers) = frame.trailers_ref() {
                        return Status::from_header_map(trailers).expect("a status at the end");
                    }
                }
                Err(status) => return status,
            }
        }
        Status::new(Code::Unknown, "the answer ended without a status")
    };
    tokio::time::timeout(PATIENCE, answer).await.expect("an answer in time")
}
