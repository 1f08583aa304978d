//! The audit log of a real server.

use std::path::{Path, PathBuf};
use std::process::Command;

use sidereus::access::AccessOptions;
use sidereus::audit::{self, Line};
use sidereus::wire::v1::access_service_client::AccessServiceClient;
use sidereus::wire::v1::discovery_service_client::DiscoveryServiceClient;
use sidereus::wire::v1::{
    CreateTokenRequest, FindOutliersRequest, IngestBatch, IngestMode, RevokeTokenRequest,
};
use tokio_stream::StreamExt;
use tonic::Code;

use super::{count, filled, from};
use crate::support::{TestServer, batch_message, galaxy, near, open_message};

fn lines(folder: &Path) -> Vec<Line> {
    let mut lines = Vec::new();
    audit::read(folder, &mut |line| lines.push(line)).expect("readable");
    lines
}

fn command(words: &[&str]) -> (bool, String) {
    let program = env!("CARGO_BIN_EXE_sidereus");
    let output = Command::new(program).arg("audit").args(words).output().expect("it runs");
    let text = [output.stdout, output.stderr].concat();
    (output.status.success(), String::from_utf8(text).expect("text"))
}

/// A server that writes down what is done, and the folder of its log.
async fn audited(data: &Path, asks: bool) -> (TestServer, PathBuf) {
    let folder = data.join("audit");
    let server = TestServer::start_with(data, None, |options| {
        options.authentication = asks.then(AccessOptions::default);
        options.audit = Some(audit::Options::new(folder.clone()));
    })
    .await;
    (server, folder)
}

#[tokio::test(flavor = "multi_thread")]
async fn every_call_is_written_down_and_the_command_checks_it() {
    let data = tempfile::tempdir().expect("a folder");
    let folder = data.path().join("audit");
    let server = filled(data.path(), 50, |options| {
        options.audit = Some(audit::Options::new(folder.clone()));
    })
    .await;
    // What was written is there before its answer: creating, and the batch of objects.
    let written = lines(&folder);
    let verbs: Vec<&str> = written.iter().map(|line| line.verb.as_str()).collect();
    let (create, ingest) =
        ("/sidereus.v1.CollectionService/CreateCollection", "/sidereus.v1.ObjectService/Ingest");
    assert_eq!(
        verbs,
        [create, ingest, ingest],
        "a stream that writes has an entry of its beginning"
    );
    for (line, code) in [(&written[1], "BEGINS"), (&written[2], "OK")] {
        assert_eq!(line.collection.as_deref(), Some("galaxies"));
        assert_eq!((line.role.as_deref(), line.code.as_str()), (Some("ingest"), code));
    }
    server.search(near("galaxies", &[7.0, 0.0, 1.0], 5)).await.expect("found");
    let channel = from(&server, 7).await;
    count(&channel, "galaxies\u{7}", "").await.expect_err("no such collection");
    let summary = audit::verify(&folder).expect("readable while the server runs");
    assert!(summary.is_whole(), "{:?}", summary.faults);
    server.stop().await;
    let all = lines(&folder);
    assert_eq!(all.len(), 5);
    assert_eq!((all[3].rows, all[3].code.as_str()), (5, "OK"));
    assert!(all[3].bytes > 100 && all[3].duration_ms > 0.0, "{:?}", all[3]);
    assert!(all[4].peer.starts_with("127.0.0.7:") && all[4].code != "OK", "{:?}", all[4]);
    assert_eq!(all[4].collection.as_deref(), Some("galaxies\\u{7}"));

    let data_word = data.path().to_str().expect("text");
    let (whole, text) = command(&["verify", "--data", data_word]);
    assert!(whole && text.contains("whole") && text.contains('5'), "{text}");
    let (shown, text) =
        command(&["show", "--data", data_word, "--format", "json", "--since", "1h"]);
    assert!(shown && text.contains("CreateCollection") && !text.contains('\u{7}'), "{text}");
    let (_, text) = command(&["show", "--data", data_word, "--identity", "nobody"]);
    assert!(!text.contains("CreateCollection"), "{text}");
    let path = folder.join("0001.jsonl");
    let log = std::fs::read_to_string(&path).expect("text");
    std::fs::write(&path, log.replacen("\"rows\":5,", "\"rows\":4,", 1)).expect("written");
    let (whole, text) = command(&["verify", "--data", data_word]);
    assert!(!whole && text.contains("0001.jsonl, line 4"), "{text}");
    let (found, text) = command(&["verify", "--data", "/nowhere"]);
    assert!(!found && text.contains("no audit log"), "{text}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_denial_is_on_the_disk_before_its_answer() {
    let data = tempfile::tempdir().expect("a folder");
    let (server, folder) = audited(data.path(), true).await;
    let status = server.count("galaxies", None, "").await.expect_err("nobody");
    assert_eq!(status.code(), Code::Unauthenticated);
    let written = lines(&folder);
    assert_eq!(written.len(), 1);
    assert_eq!(
        (written[0].decision.as_str(), written[0].code.as_str()),
        ("denied", "UNAUTHENTICATED")
    );
    assert!(written[0].reason.as_ref().is_some_and(|reason| !reason.is_empty()));
    let text = std::fs::read_to_string(folder.join("0001.jsonl")).expect("text");
    assert!(!text.to_lowercase().contains("bearer sid"), "{text}");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_stream_acknowledges_is_in_the_log_before_its_end() {
    let data = tempfile::tempdir().expect("a folder");
    let folder = data.path().join("audit");
    let server = filled(data.path(), 0, |options| {
        options.audit = Some(audit::Options::new(folder.clone()));
    })
    .await;
    let (sender, receiver) = tokio::sync::mpsc::channel(4);
    let send = async |message| sender.send(message).await.expect("the stream is open");
    let mut client = server.objects().await;
    send(open_message("galaxies", IngestMode::Unspecified)).await;
    let batch = IngestBatch { objects: vec![galaxy(1, 10.0, 10.0)], ..IngestBatch::default() };
    send(batch_message(batch)).await;
    let messages = tokio_stream::wrappers::ReceiverStream::new(receiver);
    let mut answers = client.ingest(messages).await.expect("begins").into_inner();
    answers.next().await.expect("an answer").expect("acknowledged");
    let written = lines(&folder);
    let last = written.last().expect("a line");
    assert_eq!(last.verb, "/sidereus.v1.ObjectService/Ingest");
    assert_eq!((last.code.as_str(), last.collection.as_deref()), ("BEGINS", Some("galaxies")));
    drop(sender);
    assert!(answers.next().await.is_none());
    assert_eq!(lines(&folder).last().expect("a line").code, "OK");
    // What its first message asks for is what it needs: a column that is written is no reading.
    let request = FindOutliersRequest {
        collection: "galaxies".to_owned(),
        column: "lonely".to_owned(),
        ..FindOutliersRequest::default()
    };
    let mut client = DiscoveryServiceClient::new(server.channel().await);
    // Whatever it says of a collection without vectors, it has been let through.
    if let Ok(answers) = client.find_outliers(request).await {
        drop(answers);
    }
    server.stop().await;
    let roles: Vec<String> = lines(&folder)
        .into_iter()
        .filter(|line| line.verb.ends_with("/FindOutliers"))
        .filter_map(|line| line.role)
        .collect();
    assert!(!roles.is_empty() && roles.iter().all(|role| role == "curate"), "{roles:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_token_that_was_revoked_is_in_the_log_before_the_answer() {
    let data = tempfile::tempdir().expect("a folder");
    let (server, folder) = audited(data.path(), false).await;
    let mut client = AccessServiceClient::new(server.channel().await);
    let made = CreateTokenRequest { owner: "eve".to_owned(), ..CreateTokenRequest::default() };
    let token = client.create_token(made).await.expect("made").into_inner().token.expect("one");
    client.revoke_token(RevokeTokenRequest { id: token.id }).await.expect("revoked");
    // A log that is not waited for would have it a second later.
    let last = lines(&folder).pop().expect("a line");
    assert!(last.verb.ends_with("/RevokeToken") && last.code == "OK", "{last:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn denied_calls_that_come_in_numbers_are_summed_up() {
    let data = tempfile::tempdir().expect("a folder");
    let (server, folder) = audited(data.path(), true).await;
    for _ in 0..70 {
        let status = server.count("galaxies", None, "").await.expect_err("nobody");
        assert_eq!(status.code(), Code::Unauthenticated);
    }
    assert_eq!(lines(&folder).len(), 20);
    server.stop().await;
    let all = lines(&folder);
    let sum = all.last().expect("a line");
    assert_eq!((all.len(), sum.verb.as_str()), (21, "(several)"));
    let reason = sum.reason.as_deref().unwrap_or_default();
    assert!(reason.starts_with("50 more refused calls"), "{reason}");
    assert!(audit::verify(&folder).expect("readable").is_whole());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_does_not_start_on_a_log_that_lost_entries() {
    let data = tempfile::tempdir().expect("a folder");
    let folder = data.path().join("audit");
    let options = || audit::Options::new(folder.clone());
    let server = filled(data.path(), 10, |given| given.audit = Some(options())).await;
    server.stop().await;
    let path = folder.join("0001.jsonl");
    let log = std::fs::read_to_string(&path).expect("text");
    let first = log.lines().next().expect("a line");
    std::fs::write(&path, format!("{first}\n")).expect("written");
    let refused = audit::Log::open(options()).expect_err("it lost an entry");
    assert!(refused.to_string().contains("move it away"), "{refused}");
}
