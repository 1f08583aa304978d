//! The audit log of a real server.

use std::path::Path;
use std::process::Command;

use sidereus::access::AccessOptions;
use sidereus::audit::{self, Line};
use tonic::Code;

use super::{count, filled, from};
use crate::support::{TestServer, near};

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
    assert_eq!(verbs, [create, ingest]);
    assert_eq!(written[1].collection.as_deref(), Some("galaxies"));
    assert_eq!((written[1].role.as_deref(), written[1].code.as_str()), (Some("ingest"), "OK"));
    server.search(near("galaxies", &[7.0, 0.0, 1.0], 5)).await.expect("found");
    let channel = from(&server, 7).await;
    count(&channel, "galaxies\u{7}", "").await.expect_err("no such collection");
    let summary = audit::verify(&folder).expect("readable while the server runs");
    assert!(summary.is_whole(), "{:?}", summary.faults);
    server.stop().await;
    let all = lines(&folder);
    assert_eq!(all.len(), 4);
    assert_eq!((all[2].rows, all[2].code.as_str()), (5, "OK"));
    assert!(all[2].bytes > 100 && all[2].duration_ms > 0.0, "{:?}", all[2]);
    assert!(all[3].peer.starts_with("127.0.0.7:") && all[3].code != "OK", "{:?}", all[3]);
    assert_eq!(all[3].collection.as_deref(), Some("galaxies\\u{7}"));

    let data_word = data.path().to_str().expect("text");
    let (whole, text) = command(&["verify", "--data", data_word]);
    assert!(whole && text.contains("whole") && text.contains('4'), "{text}");
    let (shown, text) =
        command(&["show", "--data", data_word, "--format", "json", "--since", "1h"]);
    assert!(shown && text.contains("CreateCollection") && !text.contains('\u{7}'), "{text}");
    let (_, text) = command(&["show", "--data", data_word, "--identity", "nobody"]);
    assert!(!text.contains("CreateCollection"), "{text}");
    let path = folder.join("0001.jsonl");
    let log = std::fs::read_to_string(&path).expect("text");
    std::fs::write(&path, log.replacen("\"rows\":5,", "\"rows\":4,", 1)).expect("written");
    let (whole, text) = command(&["verify", "--data", data_word]);
    assert!(!whole && text.contains("0001.jsonl, line 3"), "{text}");
    let (found, text) = command(&["verify", "--data", "/nowhere"]);
    assert!(!found && text.contains("no audit log"), "{text}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_denial_is_on_the_disk_before_its_answer() {
    let data = tempfile::tempdir().expect("a folder");
    let folder = data.path().join("audit");
    let server = TestServer::start_with(data.path(), None, |options| {
        options.authentication = Some(AccessOptions::default());
        options.audit = Some(audit::Options::new(folder.clone()));
    })
    .await;
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
