//! Bodies that are cut, too large, too slow, or not read.

use std::time::{Duration, Instant};

use futures::StreamExt;
use sidereus::wire::v1::search_service_client::SearchServiceClient;
use sidereus::wire::v1::{IngestMode, SearchRequest};
use tonic::body::Body;
use tonic::codegen::http::{HeaderMap, Request, Version};
use tonic::codegen::{Bytes, Service};
use tonic::service::AxumBody;
use tonic::transport::Channel;
use tonic::{Code, Status};

use super::{count, filled, from, is_by};
use crate::support::near;

const COUNT: &str = "/sidereus.v1.ObjectService/CountObjects";
const SEARCH: &str = "/sidereus.v1.SearchService/Search";

/// Sends bytes as the body of a call, and returns its status.
async fn send(channel: &Channel, path: &str, body: Body) -> Status {
    let request = Request::post(path)
        .version(Version::HTTP_2)
        .header("content-type", "application/grpc")
        .header("te", "trailers")
        .body(body)
        .expect("a request");
    let mut channel = channel.clone();
    std::future::poll_fn(|context| channel.poll_ready(context)).await.expect("ready");
    let response = channel.call(request).await.expect("an answer");
    let (parts, mut body) = response.into_parts();
    let mut trailers: HeaderMap = parts.headers;
    while let Some(frame) = next(&mut body).await {
        trailers.extend(frame);
    }
    Status::from_header_map(&trailers).expect("a status")
}

/// Trailers of the next frame of a body.
async fn next(body: &mut Body) -> Option<HeaderMap> {
    use tonic::codegen::Body as _;
    std::future::poll_fn(|context| std::pin::Pin::new(&mut *body).poll_frame(context))
        .await
        .and_then(Result::ok)
        .map(|frame| frame.into_trailers().unwrap_or_default())
}

fn whole(bytes: Vec<u8>) -> Body {
    Body::new(AxumBody::from(bytes))
}

#[tokio::test(flavor = "multi_thread")]
async fn cut_and_oversized_messages_are_refused_and_others_are_served() {
    let folder = tempfile::tempdir().expect("a folder");
    let server = filled(folder.path(), 10, |options| {
        options.limits.request_bytes_max = 1_000;
        options.limits.ingest_message_bytes_max = 4_000;
    })
    .await;
    let channel = from(&server, 2).await;
    for cut in [vec![0], vec![0, 0, 0], vec![0, 0, 0, 0, 50], vec![0, 0, 0, 0, 3, 10, 1]] {
        let status = send(&channel, COUNT, whole(cut.clone())).await;
        assert_eq!(status.code(), Code::InvalidArgument, "{cut:?}: {status:?}");
    }
    let mut oversized = vec![0];
    oversized.extend(4_001_u32.to_be_bytes());
    oversized.resize(5 + 4_001, b'x');
    let status = send(&channel, COUNT, whole(oversized.clone())).await;
    assert!(is_by(&status, "limits.ingest_message_mib"), "{status:?}");
    let status = send(&channel, SEARCH, whole(oversized)).await;
    assert!(is_by(&status, "limits.request_mib"), "{status:?}");
    // A length that would be four gigabytes, of which nothing comes.
    let status = send(&channel, SEARCH, whole(vec![0, 255, 255, 255, 255])).await;
    assert!(is_by(&status, "limits.request_mib"), "{status:?}");
    assert_eq!(count(&channel, "galaxies", "").await.expect("the connection lives"), 10);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_sender_that_does_not_go_on_is_given_up() {
    let folder = tempfile::tempdir().expect("a folder");
    let server = filled(folder.path(), 10, |options| {
        options.admission.stall = Duration::from_millis(200);
    })
    .await;
    let channel = from(&server, 2).await;
    let opening = {
        let open = crate::support::open_message("galaxies", IngestMode::default());
        let message = prost::Message::encode_to_vec(&open);
        let mut bytes = vec![0];
        bytes.extend((message.len() as u32).to_be_bytes());
        bytes.extend(message);
        // The second message begins, and does not go on.
        bytes.extend([0, 0, 0, 1]);
        bytes
    };
    let parts = futures::stream::iter([Ok::<_, Status>(Bytes::from(opening))]);
    let body = Body::new(AxumBody::from_stream(parts.chain(futures::stream::pending())));
    let began = Instant::now();
    let status = send(&channel, "/sidereus.v1.ObjectService/Ingest", body).await;
    assert!(is_by(&status, "admission.stall_s"), "{status:?}");
    assert!(began.elapsed() < Duration::from_secs(5));
}

#[tokio::test(flavor = "multi_thread")]
async fn first_messages_under_way_keep_within_the_memory() {
    let folder = tempfile::tempdir().expect("a folder");
    let server = filled(folder.path(), 10, |options| {
        options.admission.memory_bytes = Some(4 << 20);
    })
    .await;
    let channel = from(&server, 2).await;
    // Most of a message of three mebibytes comes, and the rest never does.
    let part = || {
        let mut bytes = vec![0];
        bytes.extend((3_u32 << 20).to_be_bytes());
        bytes.resize(3 << 20, 0);
        let parts = futures::stream::iter([Ok::<_, Status>(Bytes::from(bytes))]);
        Body::new(AxumBody::from_stream(parts.chain(futures::stream::pending())))
    };
    let began = Instant::now();
    let refused = tokio::select! {
        status = send(&channel, COUNT, part()) => status,
        status = send(&channel, COUNT, part()) => status,
    };
    assert!(is_by(&refused, "admission.memory_mib"), "{refused:?}");
    assert!(began.elapsed() < Duration::from_secs(10));
    assert_eq!(count(&channel, "galaxies", "").await.expect("served"), 10);
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_answer_that_nobody_reads_is_given_up_with_what_it_holds() {
    let folder = tempfile::tempdir().expect("a folder");
    let server = filled(folder.path(), 20_000, |options| {
        options.admission.stall = Duration::from_millis(400);
        // Room for one such answer, and not for two.
        options.admission.memory_bytes = Some(12 << 20);
        options.limits.chunk_bytes = 4 << 10;
    })
    .await;
    // What the other side keeps for a reader that does not read is small.
    let address = Channel::from_shared(format!("http://{}", server.address)).expect("an address");
    let small = address.initial_stream_window_size(65_535).initial_connection_window_size(1 << 20);
    let channel = small.connect().await.expect("the server listens");
    let ask = || async {
        let mut client = SearchServiceClient::new(channel.clone());
        let request = near("galaxies", &[1.0, 0.0, 1.0], 10_000);
        client.search(SearchRequest { columns: vec!["z".to_owned()], ..request }).await
    };
    let mut unread = ask().await.expect("found").into_inner();
    let status = ask().await.expect_err("the first holds the memory");
    assert!(is_by(&status, "admission.memory_mib"), "{status:?}");
    let began = Instant::now();
    let mut second = loop {
        match ask().await {
            Ok(answer) => break answer.into_inner(),
            Err(_) => tokio::time::sleep(Duration::from_millis(50)).await,
        }
        assert!(began.elapsed() < Duration::from_secs(5), "the memory is given back");
    };
    let mut hits = 0;
    while let Some(chunk) = second.message().await.expect("it is read as it comes") {
        hits += chunk.hits.len();
    }
    assert_eq!(hits, 10_000);
    let end = loop {
        match unread.message().await {
            Ok(Some(_)) => {}
            Ok(None) => panic!("an answer that was given up has no good end"),
            Err(status) => break status,
        }
    };
    assert!(is_by(&end, "admission.stall_s"), "{end:?}");
}
