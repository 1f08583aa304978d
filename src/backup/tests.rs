//! Snapshots of a database in a directory.

use std::fs;
use std::path::{Path, PathBuf};

use tempfile::TempDir;

use super::*;
use crate::class::Class;
use crate::engine::{Db, DbOptions, ReleaseText, Write, WriteMode};
use crate::schema::{CollectionSchema, Column, ColumnType, IdKind, Object, ObjectId, Value};
use crate::sky::{Degrees, Position};

fn open(path: &Path) -> Db {
    Db::open(DbOptions { auto_index_rows: None, ..DbOptions::new(path) }).expect("opens")
}

fn object(number: i64) -> Write {
    let share = number as f64 / 1_000.0;
    let position = Position::new(Degrees(share * 360.0), Degrees(share * 170.0 - 85.0));
    Write::Put(Object {
        id: ObjectId::Number(number),
        position: position.expect("a position"),
        columns: vec![Value::Float64(share)],
        vectors: Vec::new(),
    })
}

fn write(db: &Db, numbers: std::ops::Range<i64>) {
    db.write("sky", WriteMode::Logged, numbers.map(object).collect()).expect("writes");
}

/// A database with a segment, a tail, and a release.
fn filled(folder: &TempDir) -> Db {
    let db = open(&folder.path().join("data"));
    db.create_collection(CollectionSchema {
        name: "sky".to_owned(),
        id_kind: IdKind::Number,
        columns: vec![Column::new("z", ColumnType::Float64)],
        spaces: Vec::new(),
        description: String::new(),
    })
    .expect("creates");
    write(&db, 0..500);
    db.build_index("sky", &mut |_, _, _| {}).expect("builds");
    write(&db, 500..600);
    db.create_release("sky", "dr1", ReleaseText::default(), &mut |_, _, _| {}).expect("releases");
    db
}

async fn snapshot(db: &Db, place: &Remote) -> SnapshotManifest {
    create(db, place, &mut |_, _, _| {}).await.expect("a snapshot")
}

async fn listed(place: &Remote) -> Vec<SnapshotManifest> {
    let listing = list(place).await.expect("lists");
    assert!(listing.damaged.is_empty(), "{listing:?}");
    listing.snapshots
}

fn count(folder: &Path) -> usize {
    fs::read_dir(folder).map_or(0, Iterator::count)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_restored_database_is_the_one_of_the_moment() {
    let folder = tempfile::tempdir().expect("a folder");
    let db = filled(&folder);
    let kept = folder.path().join("kept");
    let place = Remote::open(&kept.display().to_string()).expect("opens");
    let first = snapshot(&db, &place).await;
    let hash = db.content_hash("sky").expect("hashes");
    let objects = count(&kept.join("objects"));
    write(&db, 600..700);
    let second = snapshot(&db, &place).await;
    let new = count(&kept.join("objects")) - objects;
    assert!(new > 0 && new < objects / 2, "incremental: {new} beside {objects}");
    assert_eq!(listed(&place).await, [first.clone(), second.clone()]);
    assert_eq!(first.collections.iter().map(|each| each.objects).collect::<Vec<_>>(), [600, 600]);
    for (manifest, objects) in [(&first, 600), (&second, 700)] {
        verify(&place, &manifest.name, &mut |_, _, _| {}).await.expect("is whole");
        let into = folder.path().join(format!("restored-{objects}"));
        restore(&place, &manifest.name, &into, &mut |_, _, _| {}).await.expect("restores");
        let restored = open(&into);
        let info = restored.collection("sky").expect("is there");
        assert_eq!(info.object_count, objects);
        assert_eq!(restored.content_hash("sky").expect("hashes") == hash, objects == 600);
        let status = restored.index_status("sky").expect("has a segment");
        assert_eq!((status.indexed_version, status.tail_rows), (1, objects - 500));
        let (release, found) =
            restored.verify_release("sky", "dr1", &mut |_, _, _| {}).expect("verifies");
        assert_eq!(release.content_hash, found.to_string());
        write(&restored, 900..901);
    }
    let error = restore(&place, &first.name, &kept, &mut |_, _, _| {}).await.expect_err("refused");
    assert!(matches!(error, BackupError::NotEmpty { .. }));
    let left = fs::read_dir(folder.path().join("data")).expect("lists").flatten();
    let is_frozen = |name: std::ffi::OsString| name.to_string_lossy().starts_with(".frozen");
    assert!(!left.map(|entry| entry.file_name()).any(is_frozen), "no frozen copy is left");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_missing_or_altered_is_refused_by_name() {
    let folder = tempfile::tempdir().expect("a folder");
    let db = filled(&folder);
    let kept = folder.path().join("kept");
    let place = Remote::open(&kept.display().to_string()).expect("opens");
    let made = snapshot(&db, &place).await;
    let into = folder.path().join("restored");
    let mut hashes: Vec<PathBuf> = fs::read_dir(kept.join("objects"))
        .expect("lists")
        .flatten()
        .map(|entry| entry.path())
        .collect();
    hashes.push(kept.join("snapshots").join(&made.name));
    for path in hashes {
        let bytes = fs::read(&path).expect("reads");
        let name = path.file_name().expect("has a name").to_string_lossy().into_owned();
        let mut flipped = bytes.clone();
        if let Some(middle) = flipped.get_mut(bytes.len() / 2) {
            *middle ^= 0x10;
        }
        let shorter = bytes[..bytes.len().saturating_sub(1)].to_vec();
        for altered in [None, Some(flipped), Some(shorter)] {
            if altered.as_ref() == Some(&bytes) {
                continue;
            }
            match &altered {
                Some(altered) => fs::write(&path, altered).expect("writes"),
                None => fs::remove_file(&path).expect("removes"),
            }
            for error in [
                verify(&place, &made.name, &mut |_, _, _| {}).await.expect_err("is told"),
                restore(&place, &made.name, &into, &mut |_, _, _| {}).await.expect_err("is told"),
            ] {
                assert!(error.to_string().contains(&name), "{error}");
                assert!(matches!(error.class(), Class::Corrupt | Class::NotFound), "{error}");
            }
            assert!(!into.exists() && count(folder.path()) == 2, "nothing is left");
        }
        fs::write(&path, bytes).expect("writes");
    }
    restore(&place, &made.name, &into, &mut |_, _, _| {}).await.expect("is whole again");
}

#[tokio::test(flavor = "multi_thread")]
async fn pruning_leaves_what_others_need() {
    let folder = tempfile::tempdir().expect("a folder");
    let db = filled(&folder);
    let kept = folder.path().join("kept");
    let place = Remote::open(&kept.display().to_string()).expect("opens");
    let first = snapshot(&db, &place).await;
    write(&db, 600..700);
    let second = snapshot(&db, &place).await;
    let busy =
        under_way::UnderWay::begin(&place, under_way::Doing::Made, "x").await.expect("begins");
    let error = drop_snapshot(&place, &first.name).await.expect_err("a snapshot is being made");
    assert!(matches!(error, BackupError::Busy { doing: "made", .. }), "{error}");
    busy.end().await.expect("ends");
    let busy =
        under_way::UnderWay::begin(&place, under_way::Doing::Pruned, "x").await.expect("one");
    let error = create(&db, &place, &mut |_, _, _| {}).await.expect_err("objects are pruned");
    assert!(matches!(error, BackupError::Busy { doing: "pruned", .. }), "{error}");
    busy.end().await.expect("ends");
    let pruned = drop_snapshot(&place, &first.name).await.expect("drops");
    assert!(pruned.objects > 0);
    verify(&place, &second.name, &mut |_, _, _| {}).await.expect("is whole");
    let error = drop_snapshot(&place, &first.name).await.expect_err("is gone");
    assert_eq!(error.class(), Class::NotFound);
    drop_snapshot(&place, &second.name).await.expect("drops");
    assert_eq!(count(&kept.join("objects")), 0);
    for name in ["../x", "", "a/b"] {
        assert!(drop_snapshot(&place, name).await.is_err());
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_was_found_to_be_damaged_is_sent_anew() {
    let folder = tempfile::tempdir().expect("a folder");
    let db = filled(&folder);
    let kept = folder.path().join("kept");
    let place = Remote::open(&kept.display().to_string()).expect("opens");
    let first = snapshot(&db, &place).await;
    let objects = fs::read_dir(kept.join("objects")).expect("lists").flatten();
    let victims: Vec<PathBuf> = objects.map(|entry| entry.path()).collect();
    // Of a segment that the database still has: files of records may be others by now.
    let of_segment = |file: &&manifest::SnapshotFile| file.path.ends_with("rows.arrow");
    let file = first.files.iter().find(of_segment).expect("has a segment");
    let victim = kept.join("objects").join(&file.blake3);
    assert!(victims.contains(&victim));
    let mut bytes = fs::read(&victim).expect("reads");
    bytes[7] ^= 1;
    fs::write(&victim, bytes).expect("writes");
    let error = verify(&place, &first.name, &mut |_, _, _| {}).await.expect_err("is damaged");
    assert!(error.to_string().contains("sends it anew"), "{error}");
    assert_eq!(count(&kept.join("damaged")), 1);
    let second = snapshot(&db, &place).await;
    for name in [&first.name, &second.name] {
        verify(&place, name, &mut |_, _, _| {}).await.expect("is whole again");
    }
    assert_eq!(count(&kept.join("damaged")), 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_damaged_manifest_is_told_with_the_others() {
    let folder = tempfile::tempdir().expect("a folder");
    let db = filled(&folder);
    let kept = folder.path().join("kept");
    let place = Remote::open(&kept.display().to_string()).expect("opens");
    let mut made = Vec::new();
    for _ in 0..3 {
        made.push(snapshot(&db, &place).await);
        tokio::time::sleep(std::time::Duration::from_millis(2)).await;
    }
    let path = kept.join("snapshots").join(&made[1].name);
    let text = fs::read_to_string(&path).expect("reads");
    fs::write(&path, text.replacen("sky", "skY", 1)).expect("writes");
    let listing = list(&place).await.expect("lists");
    assert_eq!(listing.snapshots, [made[0].clone(), made[2].clone()]);
    let [(name, error)] = &listing.damaged[..] else { panic!("{listing:?}") };
    assert!(*name == made[1].name && error.to_string().contains("checksum"), "{name}: {error}");
    // Nobody knows what it needs: nothing is removed until it is dropped as well.
    let objects = count(&kept.join("objects"));
    let error = drop_snapshot(&place, &made[0].name).await.expect_err("is told");
    assert!(error.to_string().contains(&made[1].name), "{error}");
    assert_eq!(count(&kept.join("objects")), objects);
    drop_snapshot(&place, &made[1].name).await.expect("drops");
    assert_eq!(listed(&place).await, [made[2].clone()]);
    verify(&place, &made[2].name, &mut |_, _, _| {}).await.expect("is whole");
}

#[test]
fn what_is_no_place_is_refused() {
    for url in ["", "ftp://host/x", "s3://", "s3:///x"] {
        assert_eq!(Remote::open(url).expect_err("refused").class(), Class::Invalid, "{url}");
    }
}
