//! Restore drills, kills and flipped bits, a few of each; `cargo bench --bench drills` runs many.

#[path = "../harness/mod.rs"]
pub(crate) mod harness;

use harness::{drills, flips, kills};

#[tokio::test(flavor = "multi_thread")]
async fn restored_databases_are_those_of_their_versions() {
    let folder = tempfile::tempdir().expect("a folder");
    let report = drills::run(folder.path(), 3, 1_000, 100).await;
    assert!(report.restored == 3 && report.version > 130, "{report:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn killed_servers_lose_nothing() {
    let report = kills::run(4).await;
    assert!(report.kills == 4 && !report.acknowledged.is_empty(), "{report:?}");
    assert!(report.phases.len() > 1, "{report:?}");
}

#[test]
fn flipped_bits_never_lead_to_a_wrong_answer() {
    let folder = tempfile::tempdir().expect("a folder");
    let report = flips::run(folder.path(), 200, 7);
    assert!(report.flips == 200 && report.errors > 0 && report.right > 0, "{report:?}");
}
