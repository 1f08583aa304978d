//! Damaged files: what opens holds the state after some commit, whole; everything else is an error.

use std::fs;
use std::path::PathBuf;

use super::bulk::copy;
use super::*;
use crate::storage::Operation;

type Contents = BTreeMap<ObjectKey, Object>;

/// A store of a few commits, some of them bulk imports, and what it held after each.
fn history(place: &Path) -> (CollectionId, Vec<Contents>) {
    let store = on_disk(place);
    let collection = create(&store, "galaxies");
    let mut states = vec![contents(&store, collection)];
    for version in 1..=15_u32 {
        let batch = (0..8).map(|row| {
            let number = i64::from(version * 37 + row * 11) % 40;
            if number % 9 == 0 {
                return Operation::Delete(ObjectId::Number(number));
            }
            let ra = f64::from(version * 13 + row);
            Operation::Put(with_image(object(number, ra, 5.0, version), version as f32))
        });
        let written = if version % 4 == 0 {
            store.bulk_write(collection, batch.collect())
        } else {
            store.write(collection, batch.collect())
        };
        assert_eq!(written.expect("writes").version, u64::from(version));
        states.push(contents(&store, collection));
    }
    (collection, states)
}

/// Reads a store in every way; the version that it shows, or the error.
fn read(place: &Path, collection: CollectionId) -> Result<(u64, Contents), StorageError> {
    let store = Store::open(place, small())?;
    let snapshot = store.snapshot(collection)?;
    let mut found = BTreeMap::new();
    for item in snapshot.scan(WHOLE_SKY, &[IMAGE, SPECTRUM])? {
        let (key, object) = item?;
        found.insert(key, object);
    }
    let ids: Vec<ObjectId> = found.values().map(|object| object.id.clone()).collect();
    for (object, again) in found.values().zip(snapshot.get(&ids, true)?) {
        assert_eq!(again.map(|(_, again)| again).as_ref(), Some(object));
    }
    store.changes_since(collection, 0)?;
    Ok((snapshot.record().version, found))
}

fn files(place: &Path) -> Vec<PathBuf> {
    let mut list: Vec<PathBuf> = fs::read_dir(place.join("records"))
        .expect("lists")
        .map(|entry| entry.expect("lists").path())
        .filter(|path| {
            let name = path.file_name().unwrap_or_default().to_string_lossy();
            path.metadata().is_ok_and(|metadata| metadata.len() > 0)
                && !name.starts_with("LOG")
                && !name.starts_with("OPTIONS")
        })
        .collect();
    list.sort();
    list
}

#[test]
fn a_torn_log_leaves_the_state_after_a_commit() {
    let place = tempfile::tempdir().expect("a temporary directory");
    let home = place.path().join("home");
    let (collection, states) = history(&home);
    let logs: Vec<PathBuf> = files(&home)
        .into_iter()
        .filter(|path| path.extension().is_some_and(|end| end == "log"))
        .collect();
    let log = logs.last().expect("a log");
    let name = log.file_name().expect("has a name");
    let size = log.metadata().expect("is there").len();
    let mut versions = BTreeSet::new();
    for step in 0..=30 {
        let image = place.path().join(format!("image-{step}"));
        copy(&home, &image);
        // Logs are torn by a crash, after which there is no seal.
        fs::remove_file(image.join("SEAL")).expect("was sealed");
        let torn = fs::OpenOptions::new().write(true).open(image.join("records").join(name));
        torn.and_then(|file| file.set_len(size * step / 30)).expect("cuts");
        // A log that a later file of a table relies on cannot be cut in reality: it was synced before.
        if let Ok((version, found)) = read(&image, collection) {
            assert_eq!(found, states[version as usize], "version {version}");
            versions.insert(version);
        }
    }
    assert!(versions.contains(&15), "the whole log gives the last state: {versions:?}");
    assert!(versions.len() > 2, "a cut log gives earlier ones: {versions:?}");
}

#[test]
fn a_flipped_bit_is_an_error_or_harmless() {
    let place = tempfile::tempdir().expect("a temporary directory");
    let home = place.path().join("home");
    let (collection, states) = history(&home);
    let mut refused = 0;
    let list = files(&home);
    for (turn, file) in list.iter().cycle().take(5 * list.len()).enumerate() {
        let image = place.path().join(format!("image-{turn}"));
        copy(&home, &image);
        let target = image.join("records").join(file.file_name().expect("has a name"));
        let mut bytes = fs::read(&target).expect("reads");
        let at = (turn * 7_919 + 13) % bytes.len();
        bytes[at] ^= 1 << (turn % 8);
        fs::write(&target, bytes).expect("writes");
        match read(&image, collection) {
            Ok((version, found)) => {
                assert_eq!(found, states[version as usize], "{} byte {at}", target.display());
            }
            Err(_) => refused += 1,
        }
        fs::remove_dir_all(&image).expect("removes");
    }
    assert!(refused > 0, "some damage was noticed");
}
