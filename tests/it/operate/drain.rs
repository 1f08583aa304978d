//! The end of a server, by signals to a real process.

use std::os::unix::net::UnixDatagram;
use std::time::{Duration, Instant};

use sidereus::wire::v1::{
    CountObjectsRequest, IngestBatch, IngestMode, IngestRequest, IngestResponse,
};
use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;
use tonic::{Code, Streaming};

use super::Process;
use super::process::PATIENCE;
use crate::support::{batch_message, galaxy, open_message};

fn count() -> CountObjectsRequest {
    CountObjectsRequest { collection: "galaxies".to_owned(), ..CountObjectsRequest::default() }
}

fn batch(id: i64) -> IngestRequest {
    let objects = vec![galaxy(id, 10.0, 0.0)];
    batch_message(IngestBatch { sequence: id as u64, objects, ..IngestBatch::default() })
}

/// An ingest stream that is open, one batch of which is written.
async fn stream(server: &Process) -> (mpsc::Sender<IngestRequest>, Streaming<IngestResponse>) {
    let (sender, receiver) = mpsc::channel(4);
    sender.send(open_message("galaxies", IngestMode::Unspecified)).await.expect("open");
    sender.send(batch(1)).await.expect("open");
    let mut client = server.objects().await;
    let mut answers =
        client.ingest(ReceiverStream::new(receiver)).await.expect("opens").into_inner();
    assert_eq!(answers.message().await.expect("written").expect("an answer").inserted, 1);
    (sender, answers)
}

async fn until(what: &str, mut is_so: impl AsyncFnMut() -> bool) {
    let began = Instant::now();
    while !is_so().await {
        assert!(began.elapsed() < PATIENCE, "{what}");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_that_is_told_to_stop_finishes_what_it_has_begun() {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("notify");
    let supervisor = UnixDatagram::bind(&path).expect("a socket");
    supervisor.set_read_timeout(Some(PATIENCE)).expect("a socket");
    let heard = || {
        let mut bytes = [0; 64];
        let length = supervisor.recv(&mut bytes).expect("the supervisor is told");
        String::from_utf8_lossy(&bytes[..length]).into_owned()
    };
    let variables = [
        ("SIDEREUS_SERVER__DRAIN_S", "2"),
        ("SIDEREUS_SERVER__SHUTDOWN_GRACE_S", "60"),
        ("NOTIFY_SOCKET", path.to_str().expect("text")),
    ];
    let server = Process::start(&folder.path().join("data"), &[], &variables);
    assert_eq!(heard(), "READY=1\n");
    server.create("galaxies").await;
    let (sender, mut answers) = stream(&server).await;
    let mut client = server.objects().await;
    client.count_objects(count()).await.expect("serving");

    server.signal("TERM");
    assert_eq!(heard(), "STOPPING=1\n");
    let began = Instant::now();
    until("it is not ready", async || server.get("/readyz").0 == 503).await;
    assert!(server.get("/readyz").1.contains("draining"));
    assert_eq!(server.get("/healthz").0, 200);
    assert!(began.elapsed() < Duration::from_secs(1), "readiness goes at once");
    // Calls that were on their way while others heard of it are answered.
    client.count_objects(count()).await.expect("still taken");
    until("new calls are refused", async || match client.count_objects(count()).await {
        Ok(_) => false,
        // It met the goodbye on its way; the next one finds nobody.
        Err(status) if status.message() == "h2 protocol error: http2 error" => false,
        Err(status) => {
            assert_eq!(status.code(), Code::Unavailable, "{status}");
            true
        }
    })
    .await;
    assert!(began.elapsed() >= Duration::from_millis(1_900), "not before the drain is over");
    // The stream goes on to its own end.
    sender.send(batch(2)).await.expect("open");
    assert_eq!(answers.message().await.expect("written").expect("an answer").inserted, 1);
    drop(sender);
    assert!(answers.message().await.expect("its end").is_none());
    drop(client);
    let (status, log) = server.ended();
    assert!(status.success(), "{status}: {log}");
    assert!(log.contains("stopped serving"), "{log}");

    let server = Process::start(&folder.path().join("data"), &[], &[]);
    let counted = server.objects().await.count_objects(count()).await.expect("counted");
    assert_eq!(counted.into_inner().count, 2);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_hangup_does_not_end_a_server_that_has_nothing_to_read_again() {
    let folder = tempfile::tempdir().expect("a folder");
    let server = Process::start(folder.path(), &[], &[]);
    server.signal("HUP");
    until("it says so", async || server.log().contains("SIGHUP")).await;
    assert_eq!(server.get("/healthz").0, 200);
    server.signal("TERM");
    let (status, log) = server.ended();
    assert!(status.success(), "{status}: {log}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stream_that_does_not_end_is_ended_and_what_it_sent_is_kept() {
    let folder = tempfile::tempdir().expect("a folder");
    let grace = [("SIDEREUS_SERVER__SHUTDOWN_GRACE_S", "2")];
    let server = Process::start(folder.path(), &[], &grace);
    server.create("galaxies").await;
    let (sender, mut answers) = stream(&server).await;
    server.signal("INT");
    sender.send(batch(2)).await.expect("open");
    assert_eq!(answers.message().await.expect("written").expect("an answer").inserted, 1);
    let told = answers.message().await.expect_err("the server stops");
    assert_eq!(told.code(), Code::Unavailable);
    let (status, log) = server.ended();
    assert!(status.success(), "{status}: {log}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_second_signal_ends_at_once_and_loses_nothing() {
    let folder = tempfile::tempdir().expect("a folder");
    let variables =
        [("SIDEREUS_SERVER__DRAIN_S", "600"), ("SIDEREUS_SERVER__SHUTDOWN_GRACE_S", "600")];
    let server = Process::start(folder.path(), &[], &variables);
    server.create("galaxies").await;
    let (_sender, _answers) = stream(&server).await;
    server.signal("TERM");
    until("it drains", async || server.get("/readyz").0 == 503).await;
    let began = Instant::now();
    server.signal("TERM");
    let (status, log) = server.ended();
    assert!(began.elapsed() < Duration::from_secs(5), "{log}");
    assert_eq!(status.code(), Some(130), "{log}");
    let server = Process::start(folder.path(), &[], &[]);
    let counted = server.objects().await.count_objects(count()).await.expect("counted");
    assert_eq!(counted.into_inner().count, 1);
}
