//! Restore drills: a snapshot is taken while others write, restored, and must be the database of one version.

use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};

use sidereus::backup::{self, BackupError, Remote};
use sidereus::engine::ReleaseText;

use super::world::{NAME, answers, create, difference, mixed, model_at, open, write, wrong_answer};

/// What the drills did.
#[derive(Debug, Default)]
pub(crate) struct Report {
    /// Snapshots restored and compared.
    pub(crate) restored: u64,
    /// Version of the collection at the end.
    pub(crate) version: u64,
    /// Altered backups that were refused.
    pub(crate) refused: u64,
}

/// Runs drills in a folder; every snapshot is compared by `queries` queries. `later` versions are written after a release,
/// whose answers must stay what they were through all of it, a build, and a restore.
pub(crate) async fn run(folder: &Path, drills: u64, queries: u64, later: u64) -> Report {
    let db = open(&folder.join("data"));
    create(&db);
    (1..=20).for_each(|version| write(&db, version));
    db.build_index(NAME, &mut |_, _, _| {}).expect("builds");
    let text = ReleaseText::default();
    let release = db.create_release(NAME, "dr1", text, &mut |_, _, _| {}).expect("releases");
    let pinned = db.released(NAME, "dr1").expect("is there");
    let before = answers(&db, &pinned, queries, false).expect("answers");
    let place = Remote::open(&folder.join("kept").display().to_string()).expect("opens");

    let is_over = AtomicBool::new(false);
    let mut report = Report::default();
    let mut last = String::new();
    let runtime = tokio::runtime::Handle::current();
    std::thread::scope(|scope| {
        let writer = scope.spawn(|| {
            let mut version = 20;
            while !is_over.load(Ordering::Relaxed) {
                version += 1;
                write(&db, version);
                if version.is_multiple_of(50) {
                    db.build_index(NAME, &mut |_, _, _| {}).expect("builds");
                }
            }
            version
        });
        for drill in 0..drills {
            let into = folder.join(format!("restored-{drill}"));
            let made = tokio::task::block_in_place(|| {
                runtime.block_on(async {
                    let made = backup::create(&db, &place, &mut |_, _, _| {}).await;
                    let made = made.expect("a snapshot");
                    let restored =
                        backup::restore(&place, &made.name, &into, &mut |_, _, _| {}).await;
                    restored.expect("restores")
                })
            });
            let version = made.collections.iter().find(|each| each.name == NAME);
            let version = version.expect("is in it").version;
            let restored = open(&into);
            let model = model_at(version);
            assert_eq!(difference(&restored, NAME, &model), None, "drill {drill} of {version}");
            let found = answers(&restored, NAME, queries, true).expect("answers");
            assert_eq!(found.len() as u64, queries);
            assert_eq!(wrong_answer(&model, &found), None, "drill {drill} of {version}");
            let (_, hash) =
                restored.verify_release(NAME, "dr1", &mut |_, _, _| {}).expect("verifies");
            assert_eq!(hash.to_string(), release.content_hash);
            assert_eq!(answers(&restored, &pinned, queries, false).expect("answers"), before);
            drop(restored);
            std::fs::remove_dir_all(&into).expect("removes");
            last = made.name;
            report.restored += 1;
        }
        is_over.store(true, Ordering::Relaxed);
        report.version = writer.join().expect("writes");
    });
    for version in report.version + 1..=report.version + later {
        write(&db, version);
    }
    report.version += later;
    db.build_index(NAME, &mut |_, _, _| {}).expect("builds");
    assert_eq!(answers(&db, &pinned, queries, false).expect("answers"), before, "later writes");
    report.refused = alter(folder, &place, &last).await;
    report
}

/// Alters objects of a backup one after the other: each is refused by name, and nothing is left.
async fn alter(folder: &Path, place: &Remote, name: &str) -> u64 {
    let into = folder.join("altered");
    let entries = std::fs::read_dir(folder.join("kept/objects")).expect("lists");
    let mut needed = 0;
    for (number, entry) in entries.flatten().enumerate() {
        let bytes = std::fs::read(entry.path()).expect("reads");
        let mut flipped = bytes.clone();
        match mixed(number as u64) as usize % bytes.len().max(1) {
            at if at < flipped.len() => flipped[at] ^= 1 << (number % 8),
            _ => flipped.push(0),
        }
        std::fs::write(entry.path(), flipped).expect("writes");
        match backup::restore(place, name, &into, &mut |_, _, _| {}).await {
            // Another snapshot's.
            Ok(_) => std::fs::remove_dir_all(&into).expect("removes"),
            Err(BackupError::Damaged { name, .. }) => {
                assert!(name.contains(&*entry.file_name().to_string_lossy()), "{name}");
                needed += 1;
            }
            Err(error) => panic!("{error}"),
        }
        assert!(!into.exists(), "nothing is left");
        std::fs::write(entry.path(), bytes).expect("writes");
    }
    assert!(needed > 5, "{needed} objects were needed");
    needed
}
