//! Backups of a running server into places that its operator has named, and restores by the program.

use std::path::Path;
use std::process::{Command, Output};
use std::time::Duration;

use sidereus::access::{Registry, system_clock};
use sidereus::engine::{Db, DbOptions};
use sidereus::wire::v1::backup_service_client::BackupServiceClient;
use sidereus::wire::v1::maintenance_service_client::MaintenanceServiceClient;
use sidereus::wire::v1::{
    CreateSnapshotRequest, DropSnapshotRequest, GetScrubRequest, ListSnapshotsRequest, Snapshot,
    StartScrubRequest,
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
    assert_eq!(listed.snapshots, std::slice::from_ref(&made));
    // Whoever asks for one to be dropped and goes away leaves nothing that keeps the next one from being made.
    let doomed = snapshot(&server, "disk").await.expect("another");
    let request = DropSnapshotRequest { destination: "disk".to_owned(), name: doomed.name };
    let hurried = tokio::time::timeout(Duration::from_millis(1), client.drop_snapshot(request));
    drop(hurried.await);
    for _ in 0..600 {
        match snapshot(&server, "disk").await {
            Ok(_) => break,
            // Until the drop that goes on has ended.
            Err(status) => assert!(status.message().contains("being pruned"), "{status}"),
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    let marks = std::fs::read_dir(folder.path().join("kept/under-way")).expect("lists");
    assert_eq!(marks.count(), 0, "nobody is under way");
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
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    panic!("the scrub does not end");
}

#[test]
fn a_restore_says_whom_it_lets_in_and_revokes_tokens_where_that_is_wanted() {
    let folder = tempfile::tempdir().expect("a folder");
    let at = |name: &str| folder.path().join(name).display().to_string();
    let (data, kept) = (at("data"), at("kept"));
    succeeds(&["access", "bootstrap", "--data", &data, "--name", "root"]);
    succeeds(&["snapshot", "create", "--data", &data, "--to", &kept]);
    let listed = succeeds(&["snapshot", "list", "--at", &kept, "--format", "csv"]);
    let name = listed.lines().nth(1).and_then(|line| line.split(',').next()).expect("a snapshot");
    for (into, words, is_open) in
        [("as-it-was", None, true), ("safe", Some("--revoke-tokens"), false)]
    {
        let into = at(into);
        let mut command = vec!["snapshot", "restore", name, "--at", &kept, "--into", &into];
        command.extend(words);
        let output = sidereus(&command);
        let told = String::from_utf8_lossy(&output.stderr).into_owned();
        assert!(output.status.success() && told.contains("as it was then"), "{told}");
        assert_eq!(told.contains("1 tokens are revoked"), !is_open, "{told}");
        let db = Db::open(DbOptions::new(&into)).expect("opens");
        let registry = Registry::open(db, system_clock()).expect("reads");
        let tokens = registry.tokens(None);
        assert!(tokens.len() == 1 && tokens[0].revoked.is_none() == is_open, "{tokens:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_place_and_a_destination_are_not_taken_for_each_other() {
    let folder = tempfile::tempdir().expect("a folder");
    let server = started(folder.path()).await;
    let url = format!("http://{}", server.address);
    let fails = |words: &[&str]| {
        let output = sidereus(words);
        assert!(!output.status.success(), "{words:?}");
        String::from_utf8_lossy(&output.stderr).into_owned()
    };
    for place in ["/backups", "backups/sidereus", "s3://bucket/prefix"] {
        let create = ["snapshot", "create", "--to", place, "--server", &url];
        let list = ["snapshot", "list", "--destination", place, "--server", &url];
        for words in [create, list] {
            let told = fails(&words);
            assert!(told.contains(place) && told.contains("there are: disk"), "{told}");
            assert!(told.contains("--at") && told.contains("--data DIR"), "{told}");
        }
    }
    server.stop().await;
    let told = fails(&["snapshot", "create", "--to", "/backups", "--server", &url]);
    assert!(told.contains("--data DIR is the directory of a stopped one"), "{told}");
    let told = fails(&["snapshot", "restore", "a", "--destination", "nightly", "--into", "new"]);
    assert!(told.contains("[backup.nightly]") && told.contains("--at PLACE"), "{told}");
    let told = fails(&["snapshot", "restore", "a", "--into", "new"]);
    assert!(told.contains("--at <PLACE>") && !told.contains("--destination"), "{told}");
    let typo = folder.path().join("typo").display().to_string();
    let kept = folder.path().join("kept").display().to_string();
    let told = fails(&["snapshot", "create", "--data", &typo, "--to", &kept]);
    assert!(told.contains("no data directory") && !Path::new(&typo).exists(), "{told}");
}
