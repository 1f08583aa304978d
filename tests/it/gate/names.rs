//! A share of all hostile texts in all fields of all requests; `cargo bench --bench drills -- --names` sends every one.

use std::path::Path;
use std::time::{SystemTime, UNIX_EPOCH};

use tonic::Code;

use super::guarded;
use super::raw::{call, field};
use crate::upkeep::harness::names::{self, Share};

/// One of so many pairs of a field and a payload is tried, another with every run.
const SHARES: usize = 100;

#[tokio::test(flavor = "multi_thread")]
async fn no_name_reaches_a_file_or_another_machine() {
    let folder = tempfile::tempdir().expect("a folder");
    let now = SystemTime::now().duration_since(UNIX_EPOCH).expect("after 1970");
    let share = Share { of: SHARES, turn: now.as_secs() as usize % SHARES };
    println!("{share:?}");
    let program = Path::new(env!("CARGO_BIN_EXE_sidereus"));
    let report = names::run(folder.path(), program, share).await;
    println!("{report}");
    assert!(report.methods >= 60 && report.fields >= 300, "{report}");
    assert!(report.payloads >= 2_000 && report.outside == 0, "{report}");
    let pairs = report.fields * report.payloads / SHARES;
    assert!((report.calls + report.unsayable) as usize + report.fields >= pairs, "{report}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_long_name_that_reflection_repeats_does_not_end_the_connection() {
    let folder = tempfile::tempdir().expect("a folder");
    let (server, tokens) = guarded(folder.path()).await;
    let channel = server.channel().await;
    let token = Some(tokens.stranger.as_str());
    // The name of a file, and of what a file contains.
    for (version, number) in [("v1", 3), ("v1", 4), ("v1alpha", 3), ("v1alpha", 4)] {
        let path = format!("/grpc.reflection.{version}.ServerReflection/ServerReflectionInfo");
        // What is too long to be a name ends the call without an answer.
        for (length, code) in [(2_000, Code::NotFound), (60_000, Code::Ok)] {
            let asked = field(number, "\u{202e}".repeat(length / 3).as_bytes());
            let status = call(&channel, &path, token, &asked).await;
            assert_eq!(status.code(), code, "{path} {number}: {}", status.message().len());
        }
        let listed = call(&channel, &path, token, &field(7, b"")).await;
        assert_eq!(listed.code(), Code::Ok, "{path}: {listed}");
    }
    server.stop().await;
}
