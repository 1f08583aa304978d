//! Restore drills, kills and flipped bits, a few of each; `cargo bench --bench drills` runs many.

#[path = "../harness/mod.rs"]
pub(crate) mod harness;

use std::process::Command;

use harness::{drills, flips, kills};

/// Tells a test that it is the process that is to be killed, and where to work.
const SECOND: &str = "SIDEREUS_TEST_UPKEEP_PROCESS";

#[tokio::test(flavor = "multi_thread")]
async fn restored_databases_are_those_of_their_versions() {
    let folder = tempfile::tempdir().expect("a folder");
    let report = drills::run(folder.path(), 3, 1_000, 100).await;
    assert!(report.restored == 3 && report.version > 130, "{report:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn killed_processes_lose_nothing() {
    if let Some(place) = std::env::var_os(SECOND) {
        kills::work_forever(place.as_ref());
    }
    let folder = tempfile::tempdir().expect("a folder");
    let start = |place: &std::path::Path| {
        let mut command = Command::new(std::env::current_exe().expect("this program"));
        command
            .args(["--exact", "upkeep::killed_processes_lose_nothing", "--nocapture"])
            .env(SECOND, place)
            .stderr(std::process::Stdio::null());
        command
    };
    let report = kills::run(folder.path(), 10, start).await;
    assert!(report.kills == 10 && report.version > 10, "{report:?}");
    assert!(report.phases.len() > 1, "{report:?}");
}

#[test]
fn flipped_bits_never_lead_to_a_wrong_answer() {
    let folder = tempfile::tempdir().expect("a folder");
    let report = flips::run(folder.path(), 200, 7);
    assert!(report.flips == 200 && report.errors > 0 && report.right > 0, "{report:?}");
}
