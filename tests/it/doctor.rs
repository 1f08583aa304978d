//! `sidereus doctor` on directories that are whole, damaged, and no directories of ours.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use crate::support::{TestServer, galaxy, schema};

fn doctor(data: &Path, more: &[&str]) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_sidereus"));
    command.args(["doctor", "--data"]).arg(data).args(more).output().expect("the program runs")
}

fn text(output: &Output) -> String {
    let both = [&output.stdout[..], &output.stderr[..]].concat();
    String::from_utf8_lossy(&both).into_owned()
}

fn only(folder: &Path) -> PathBuf {
    let mut entries = fs::read_dir(folder).expect("lists").flatten();
    entries.next().expect("an entry").path()
}

#[tokio::test(flavor = "multi_thread")]
async fn the_doctor_finds_and_repairs_what_is_derived() {
    let folder = tempfile::tempdir().expect("a folder");
    let data = folder.path().join("data");
    let server = TestServer::start(&data).await;
    server.create(schema("sky")).await.expect("creates");
    server.write("sky", (0..400).map(|id| galaxy(id, id as f64 / 9.0, 5.0)).collect()).await;
    let db = server.db.clone();
    tokio::task::spawn_blocking(move || db.build_index("sky", &mut |_, _, _| {}))
        .await
        .expect("ends")
        .expect("builds");
    let in_use = doctor(&data, &[]);
    assert!(!in_use.status.success() && text(&in_use).contains("in use"), "{}", text(&in_use));
    server.stop().await;
    let whole = doctor(&data, &[]);
    assert!(
        whole.status.success() && text(&whole).contains("nothing is wrong"),
        "{}",
        text(&whole)
    );
    let rows = only(&only(&data.join("segments"))).join("rows.arrow");
    let mut bytes = fs::read(&rows).expect("reads");
    let middle = bytes.len() / 2;
    bytes[middle] ^= 1;
    fs::write(&rows, bytes).expect("writes");
    let found = doctor(&data, &["--format", "json"]);
    assert!(!found.status.success() && text(&found).contains("rows.arrow"), "{}", text(&found));
    assert!(text(&found).contains("1 finding; --repair"), "{}", text(&found));
    let repaired = doctor(&data, &["--repair"]);
    assert!(repaired.status.success(), "{}", text(&repaired));
    assert!(text(&repaired).contains("1 finding, all repaired"), "{}", text(&repaired));
    assert!(doctor(&data, &[]).status.success());
    let server = TestServer::start(&data).await;
    assert_eq!(server.count("sky", None, "").await.expect("counts"), 400);
    server.stop().await;
    let stranger = doctor(folder.path(), &[]);
    assert!(!stranger.status.success() && text(&stranger).contains("no data directory"));
}
