//! Backups of a running server into places that its operator has named, and restores by the program.

use std::path::Path;
use std::process::{Command, Output};

use sidereus::wire::v1::backup_service_client::BackupServiceClient;
use sidereus::wire::v1::maintenance_service_client::MaintenanceServiceClient;
use sidereus::wire::v1::{
    CreateSnapshotRequest, GetScrubRequest, ListSnapshotsRequest, Snapshot, StartScrubRequest,
};
use tokio_stream::StreamExt;
use tonic::{Code, Status};

use crate::support::{TestServer, galaxy, schema};

fn sidereus(words: &[&str]) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_sidereus"));
    command.args(words).output().expect("the program runs")
}

fn succeeds(words: &[&str]) -> String {
    let output = sidereus(words);
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8_lossy(&output.stdout).into_owned()
}

async fn started(folder: &Path) -> TestServer {
    let place = folder.join("kept").display().to_string();
    TestServer::start_with(&folder.join("data"), None, |options| {
        options.upkeep.destinations.insert("disk".to_owned(), place);
    })
    .await
}

async fn snapshot(server: &TestServer, destination: &str) -> Result<Snapshot, Status> {
    let mut client = BackupServiceClient::new(server.channel().await);
    let request = CreateSnapshotRequest { destination: destination.to_owned() };
    let mut stream = client.create_snapshot(request).await?.into_inner();
    let mut made = None;
    while let Some(message) = stream.next().await {
        made = message?.snapshot.or(made);
    }
    Ok(made.expect("the last message has it"))
}

#[tokio::test(flavor = "multi_thread")]
async fn a_running_server_is_backed_up_and_restored() {
    let folder = tempfile::tempdir().expect("a folder");
    let server = started(folder.path()).await;
    server.create(schema("sky")).await.expect("creates");
    let objects =
        |from: i64| (from..from + 200).map(|id| galaxy(id, id as f64 / 9.0, 5.0)).collect();
    server.write("sky", objects(0)).await;
    let made = snapshot(&server, "disk").await.expect("a snapshot");
    assert_eq!(made.collections[0].objects, 200);
    server.write("sky", objects(200)).await;
    for stranger in ["", "nightly", "../x", "/tmp/x", "s3://bucket/x"] {
        let refused = snapshot(&server, stranger).await.expect_err("is not configured");
        assert_eq!(refused.code(), Code::NotFound, "{stranger}: {refused}");
    }
    let mut client = BackupServiceClient::new(server.channel().await);
    let request = ListSnapshotsRequest { destination: "disk".to_owned() };
    let listed = client.list_snapshots(request).await.expect("lists").into_inner();
    assert_eq!(listed.snapshots, [made.clone()]);
    server.stop().await;
    let kept = folder.path().join("kept").display().to_string();
    let into = folder.path().join("restored").display().to_string();
    assert!(succeeds(&["snapshot", "list", "--at", &kept]).contains(&made.name));
    succeeds(&["snapshot", "verify", &made.name, "--at", &kept]);
    succeeds(&["snapshot", "restore", &made.name, "--at", &kept, "--into", &into]);
    assert!(succeeds(&["doctor", "--data", &into]).contains("nothing is wrong"));
    let refused = sidereus(&["snapshot", "restore", &made.name, "--at", &kept, "--into", &into]);
    assert!(!refused.status.success(), "the directory is not empty");
    let restored = TestServer::start(Path::new(&into)).await;
    assert_eq!(restored.count("sky", None, "").await.expect("counts"), 200);
    restored.stop().await;
    succeeds(&["snapshot", "create", "--data", &into, "--to", &kept]);
    succeeds(&["snapshot", "drop", &made.name, "--at", &kept]);
    assert!(!succeeds(&["snapshot", "list", "--at", &kept]).contains(&made.name));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_scrub_tells_what_it_found() {
    let folder = tempfile::tempdir().expect("a folder");
    let server = started(folder.path()).await;
    server.create(schema("sky")).await.expect("creates");
    server.write("sky", (0..50).map(|id| galaxy(id, id as f64, 5.0)).collect()).await;
    let mut client = MaintenanceServiceClient::new(server.channel().await);
    client.start_scrub(StartScrubRequest {}).await.expect("starts");
    for _ in 0..200 {
        let state = client.get_scrub(GetScrubRequest {}).await.expect("is told").into_inner();
        if let Some(last) = state.last {
            assert!(last.complete && last.problems.is_empty() && last.bytes > 0, "{last:?}");
            server.stop().await;
            return;
        }
        tokio::time::sleep(std::time::Duration::from_millis(50)).await;
    }
    panic!("the scrub does not end");
}
