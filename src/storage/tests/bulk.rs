//! Bulk imports interrupted at every step, by a crash and by an error.

use std::fs;
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};

use super::*;
use crate::class::Class;
use crate::storage::engine::{Batch, Patience, Row, SortedRun, StageId};
use crate::storage::key::MetaKey;
use crate::storage::record::{Head, Intent};
use crate::storage::{Operation, Outcome};

/// Copies a directory as a killed process would leave it: the files as they are now.
pub(super) fn copy(from: &Path, to: &Path) {
    fs::create_dir_all(to).expect("makes a folder");
    for entry in fs::read_dir(from).expect("lists") {
        let entry = entry.expect("lists");
        let target = to.join(entry.file_name());
        if entry.file_type().expect("has a type").is_dir() {
            copy(&entry.path(), &target);
        } else {
            fs::copy(entry.path(), target).expect("copies");
        }
    }
}

/// Ten objects before; an import that inserts, overwrites, moves, deletes and sets vectors after.
fn before() -> Vec<Operation> {
    (0..10)
        .map(|id| Operation::Put(with_image(object(id, 10.0 * id as f64, 5.0, 1), 1.0)))
        .collect()
}

fn import() -> Vec<Operation> {
    let mut operations = vec![
        Operation::Delete(ObjectId::Number(0)),
        Operation::Put(object(1, 10.0, 5.0, 2)),
        Operation::Put(with_image(object(2, 200.0, -5.0, 2), 2.0)),
        Operation::SetVectors {
            id: ObjectId::Number(3),
            vectors: vec![(SPECTRUM, vec![1.0, 2.0])],
        },
    ];
    operations
        .extend((10..40).map(|id| {
            Operation::Put(with_image(object(id, 7.0 * id as f64, -30.0, 2), id as f32))
        }));
    operations
}

type Contents = BTreeMap<ObjectKey, Object>;

/// What the collection holds before and after the import, by the logged way.
fn expected() -> (Contents, Contents) {
    let store = in_memory();
    let collection = create(&store, "galaxies");
    store.write(collection, before()).expect("writes");
    let first = contents(&store, collection);
    store.write(collection, import()).expect("writes");
    (first, contents(&store, collection))
}

#[test]
fn a_bulk_import_equals_the_logged_one() {
    let place = tempfile::tempdir().expect("a temporary directory");
    let store = on_disk(place.path());
    let collection = create(&store, "galaxies");
    let (_, after) = expected();
    let first = store.bulk_write(collection, before()).expect("writes");
    let second = store.bulk_write(collection, import()).expect("writes");
    assert_eq!((first.version, second.version), (1, 2));
    assert!(matches!(second.outcomes[0], Outcome::Deleted { .. }));
    assert_eq!(contents(&store, collection), after);
    let left = fs::read_dir(place.path().join("staging")).expect("lists").count();
    assert_eq!(left, 0, "no staging folder stays");
    drop(store);
    assert_eq!(contents(&on_disk(place.path()), collection), after);
}

/// Runs the import and copies the directory at every step.
fn images(place: &Path) -> (CollectionId, Vec<(Step, PathBuf)>) {
    let home = place.join("home");
    let mut store = on_disk(&home);
    let collection = create(&store, "galaxies");
    store.write(collection, before()).expect("writes");
    let images = Arc::new(Mutex::new(Vec::new()));
    let (list, root) = (Arc::clone(&images), place.to_path_buf());
    store.probe = Some(Box::new(move |step| {
        let mut list = list.lock().expect("not poisoned");
        let image = root.join(format!("image-{}", list.len()));
        copy(&home, &image);
        list.push((step, image));
        Ok(())
    }));
    store.bulk_write(collection, import()).expect("writes");
    drop(store);
    let images = images.lock().expect("not poisoned").clone();
    (collection, images)
}

#[test]
fn a_crash_at_any_step_leaves_all_or_nothing() {
    let place = tempfile::tempdir().expect("a temporary directory");
    let (first, after) = expected();
    let (collection, images) = images(place.path());
    let steps: Vec<Step> = images.iter().map(|(step, _)| *step).collect();
    let tables = steps.iter().filter(|step| matches!(step, Step::Ingested(_))).count();
    assert_eq!(tables, 4, "objects, vectors, ids and changes: {steps:?}");
    for step in [Step::Staged, Step::Declared, Step::Committed] {
        assert!(steps.contains(&step), "{step:?} was reached");
    }
    for (step, image) in images {
        let store = on_disk(&image);
        let expected = if step == Step::Staged { &first } else { &after };
        assert_eq!(&contents(&store, collection), expected, "{step:?}");
        assert!(store.engine.staged().expect("lists").is_empty(), "{step:?}");
        // The collection goes on from there.
        let more = vec![Operation::Put(object(99, 1.0, 1.0, 9))];
        store.bulk_write(collection, more).expect("writes");
        let count = contents(&store, collection).len();
        assert_eq!(count, expected.len() + 1, "{step:?}");
    }
}

#[test]
fn files_that_were_taken_in_before_the_crash_may_be_there_still() {
    let place = tempfile::tempdir().expect("a temporary directory");
    let (_, after) = expected();
    let (collection, images) = images(place.path());
    let (_, declared) = &images[1];
    // A crash after the manifest was synced and before the staged name was removed; also one in the middle of
    // finishing the import at the next start.
    for (step, image) in images.iter().filter(|(step, _)| matches!(step, Step::Ingested(_))) {
        copy(&declared.join("staging"), &image.join("staging"));
        assert_eq!(contents(&on_disk(image), collection), after, "{step:?}");
    }
}

#[test]
fn an_error_at_any_step_hides_the_import_until_it_is_finished() {
    let (first, after) = expected();
    for failing in 0..7 {
        let place = tempfile::tempdir().expect("a temporary directory");
        let mut store = on_disk(place.path());
        let collection = create(&store, "galaxies");
        store.write(collection, before()).expect("writes");
        let broken = Arc::new(AtomicBool::new(true));
        let reached = Mutex::new(0);
        let switch = Arc::clone(&broken);
        store.probe = Some(Box::new(move |_| {
            let mut reached = reached.lock().expect("not poisoned");
            let fails = *reached >= failing && switch.load(Ordering::SeqCst);
            *reached += 1;
            let doing = "testing";
            if fails {
                Err(StorageError::DiskFull { doing, detail: "injected".to_owned() })
            } else {
                Ok(())
            }
        }));
        let error = store.bulk_write(collection, import()).expect_err("fails");
        assert_eq!(error.class(), Class::Exhausted, "{error}");
        if failing == 0 {
            broken.store(false, Ordering::SeqCst);
            assert_eq!(contents(&store, collection), first, "nothing was declared");
        } else if failing == 6 {
            broken.store(false, Ordering::SeqCst);
            assert_eq!(contents(&store, collection), after, "all was written");
        } else {
            let error = store.snapshot(collection).expect_err("is closed");
            assert!(matches!(error, StorageError::Unfinished { .. }), "{error}");
            store.write(collection, before()).expect_err("is closed");
            broken.store(false, Ordering::SeqCst);
            assert_eq!(contents(&store, collection), after, "step {failing}");
        }
        drop(store);
        let expected = if failing == 0 { &first } else { &after };
        assert_eq!(&contents(&on_disk(place.path()), collection), expected);
    }
}

#[test]
fn a_folder_without_an_intent_is_removed() {
    let place = tempfile::tempdir().expect("a temporary directory");
    let store = on_disk(place.path());
    let collection = create(&store, "galaxies");
    store.write(collection, before()).expect("writes");
    let rows = vec![Row::put(&MetaKey::NextCollection, vec![0; 4])];
    let runs = SortedRun::from_rows(rows).expect("sorts");
    store.engine.stage(StageId(77), &SortedRun::sources(&runs)).expect("stages");
    drop(store);
    let store = on_disk(place.path());
    assert!(store.engine.staged().expect("lists").is_empty());
    assert!(create(&store, "stars") > collection);
}

#[test]
fn an_intent_that_later_commits_overtook_is_forgotten() {
    let place = tempfile::tempdir().expect("a temporary directory");
    let store = on_disk(place.path());
    let collection = create(&store, "galaxies");
    store.write(collection, before()).expect("writes");
    let all = contents(&store, collection);
    let (key, _) = all.first_key_value().expect("objects");
    let runs = SortedRun::from_rows(vec![Row::delete(key)]).expect("sorts");
    let files = store.engine.stage(StageId(77), &SortedRun::sources(&runs)).expect("stages");
    let intent = Intent { collection, base_version: 0, head: Head::default(), files };
    let mut batch = Batch::default();
    batch.put(&MetaKey::Intent(77), intent.encode());
    store.engine.commit(&batch, Patience::Long).expect("commits");
    drop(store);
    let store = on_disk(place.path());
    assert_eq!(contents(&store, collection), all);
    assert!(store.engine.staged().expect("lists").is_empty());
    assert_eq!(store.engine.view().fetch(&MetaKey::Intent(77)).expect("reads"), None);
}

#[test]
fn readers_never_see_half_of_an_import() {
    let place = tempfile::tempdir().expect("a temporary directory");
    let store = on_disk(place.path());
    let collection = create(&store, "galaxies");
    let done = AtomicBool::new(false);
    let looks = std::thread::scope(|scope| {
        let reader = scope.spawn(|| {
            let mut looks = 0_usize;
            while !done.load(Ordering::SeqCst) {
                let snapshot = store.snapshot(collection).expect("a snapshot");
                let scan = snapshot.scan(WHOLE_SKY, &[IMAGE]).expect("scans");
                let found: Vec<_> = scan.map(|found| found.expect("readable").1).collect();
                assert_eq!(found.len() as u64, snapshot.record().object_count);
                assert_eq!(found.len() as u64, 50 * snapshot.record().version);
                assert!(found.iter().all(|object| object.vectors.len() == 1));
                let ids: Vec<_> = found.into_iter().map(|object| object.id).collect();
                let again = snapshot.get(&ids, true).expect("reads");
                assert!(again.iter().all(Option::is_some));
                looks += 1;
            }
            looks
        });
        for batch in 0..20 {
            let rows = (0..50).map(|place| {
                let id = 50 * batch + place;
                Operation::Put(with_image(object(id, 0.3 * id as f64, 1.0, 1), 1.0))
            });
            store.bulk_write(collection, rows.collect()).expect("writes");
        }
        done.store(true, Ordering::SeqCst);
        reader.join().expect("the reader is content")
    });
    assert!(looks > 0, "the reader looked");
}
