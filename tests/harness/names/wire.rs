//! Calls as no client of ours makes them: any bytes at any path with any header, and what came of it.

use std::future::poll_fn;
use std::pin::Pin;
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tonic::body::Body;
use tonic::codegen::Body as _;
use tonic::codegen::http::{HeaderName, HeaderValue, Request, Uri, Version};
use tonic::service::AxumBody;
use tonic::transport::Channel;
use tonic::{Code, Status};
use tower::ServiceExt;

/// Longer than any call should take, the first of a server among them, which measures the machine.
const PATIENCE: Duration = Duration::from_mins(2);

/// A header longer than this is not taken by any server, and the connection may end with it.
const HEADER_BYTES_MAX: usize = 8 << 10;

/// Header that says who calls.
const WHO: &str = "authorization";

/// A call that is ready to be sent.
pub(super) struct Call {
    path: String,
    headers: Vec<(HeaderName, HeaderValue)>,
    bytes: Vec<u8>,
}

impl Call {
    /// Messages to a path, by somebody with a token.
    pub(super) fn new(path: &str, token: &str, messages: &[Vec<u8>]) -> Self {
        let mut bytes = Vec::new();
        for message in messages {
            bytes.push(0);
            bytes.extend((message.len() as u32).to_be_bytes());
            bytes.extend(message);
        }
        let who = HeaderValue::from_str(&format!("Bearer {token}")).expect("a token");
        Self { path: path.to_owned(), headers: vec![(HeaderName::from_static(WHO), who)], bytes }
    }

    /// The call with another header beside, or instead of the one that says who calls; `None` where HTTP has no such header.
    pub(super) fn with_header(mut self, name: &'static str, value: &[u8]) -> Option<Self> {
        let is_short = value.len() <= HEADER_BYTES_MAX;
        let value = HeaderValue::from_bytes(value).ok().filter(|_| is_short)?;
        self.headers.retain(|(known, _)| known.as_str() != name);
        self.headers.push((HeaderName::from_static(name), value));
        Some(self)
    }

    /// The call to another path; `None` where HTTP has no such path.
    pub(super) fn with_path(mut self, path: &[u8]) -> Option<Self> {
        let path = std::str::from_utf8(path).ok().filter(|path| path.len() <= HEADER_BYTES_MAX)?;
        let is_path =
            path.starts_with('/') && path.parse::<Uri>().is_ok_and(|uri| uri.host().is_none());
        self.path = is_path.then(|| path.to_owned())?;
        Some(self)
    }

    /// Sends it and gives the status that it ends with.
    pub(super) async fn send(self, channel: &Channel) -> Status {
        let mut request = Request::builder()
            .method("POST")
            .uri(self.path)
            .version(Version::HTTP_2)
            .header("te", "trailers")
            .header("content-type", "application/grpc");
        for (name, value) in self.headers {
            request = request.header(name, value);
        }
        let request = request.body(Body::new(AxumBody::from(self.bytes))).expect("a request");
        let answer = async {
            let response = match channel.clone().oneshot(request).await {
                Ok(response) => response,
                Err(error) => return Status::unavailable(format!("no answer: {error:?}")),
            };
            if let Some(status) = Status::from_header_map(response.headers()) {
                return status;
            }
            let mut body = response.into_body();
            while let Some(frame) = poll_fn(|context| Pin::new(&mut body).poll_frame(context)).await
            {
                match frame.map(|frame| frame.trailers_ref().and_then(Status::from_header_map)) {
                    Ok(None) => {}
                    Ok(Some(status)) | Err(status) => return status,
                }
            }
            Status::new(Code::Unknown, "the answer ended without a status")
        };
        tokio::time::timeout(PATIENCE, answer).await.expect("an answer in time")
    }
}

/// Asks for a path over plain HTTP, whatever bytes it has, and gives the first line of the answer; empty where there is none.
pub(super) async fn get(address: &str, path: &[u8]) -> String {
    let answer = async {
        let mut stream = TcpStream::connect(address).await?;
        let request =
            [b"GET ", path, b" HTTP/1.1\r\nhost: here\r\nconnection: close\r\n\r\n"].concat();
        stream.write_all(&request).await?;
        let mut bytes = Vec::new();
        stream.read_to_end(&mut bytes).await?;
        std::io::Result::Ok(bytes)
    };
    let bytes = tokio::time::timeout(PATIENCE, answer).await.expect("an answer in time");
    let bytes = bytes.unwrap_or_default();
    String::from_utf8_lossy(&bytes).lines().next().unwrap_or_default().to_owned()
}
