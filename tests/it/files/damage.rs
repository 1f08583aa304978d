//! Damaged and truncated files: one clear error, no panic, never more rows than the file has.

use std::path::Path;

use proptest::prelude::*;
use sidereus::class::Class;
use sidereus::files::{FileError, NpyReader, TableReader, open};

use super::support::fixture;

const TABLES: [&str; 4] = ["types.fits", "types.parquet", "types.arrow", "types.arrows"];

/// Opens and reads to the end.
fn read(path: &Path) -> Result<u64, FileError> {
    let mut reader: Box<dyn TableReader> = open(path, None)?;
    let mut rows = 0;
    while let Some(batch) = reader.next_batch()? {
        rows += batch.numbers.len() as u64;
    }
    Ok(rows)
}

fn assert_clear(error: &FileError, what: &str) {
    let text = error.to_string();
    assert!(!text.contains('\n') && text.len() < 700, "{what}: {text}");
    assert!(
        matches!(error.class(), Class::Corrupt | Class::Invalid | Class::NotFound),
        "{what}: {text}"
    );
}

#[test]
fn truncated_tables_are_reported_as_such() {
    let folder = tempfile::tempdir().expect("folder");
    for name in TABLES {
        let bytes = std::fs::read(fixture(name)).expect("fixture");
        let whole = read(&fixture(name)).expect("sound");
        let path = folder.path().join(name);
        let mut truncated = 0;
        for length in (1..bytes.len()).step_by(bytes.len() / 97 + 1) {
            std::fs::write(&path, &bytes[..length]).expect("written");
            match read(&path) {
                // Only a stream may end between two batches, and padding behind a FITS table may be missing.
                Ok(rows) if name == "types.arrows" => assert!(rows <= whole),
                Ok(rows) => assert!(name == "types.fits" && rows == whole, "{name} {length}"),
                Err(error) => {
                    truncated += u32::from(matches!(error, FileError::Truncated { .. }));
                    assert_clear(&error, &format!("{name} cut to {length}"));
                }
            }
        }
        assert!(truncated > 40, "{name}: {truncated} of 97 were called truncated");
    }
}

#[test]
fn a_truncated_fits_table_says_how_many_rows_are_there() {
    let folder = tempfile::tempdir().expect("folder");
    let path = folder.path().join("cut.fits");
    let bytes = std::fs::read(fixture("types.fits")).expect("fixture");
    std::fs::write(&path, &bytes[..bytes.len() - 2_880 + 30]).expect("written");
    let error = open(&path.with_extension("fits[3]"), None).err().expect("refused").to_string();
    assert!(error.contains("declares 3 rows of 26 bytes, 1 are there"), "{error}");
    assert!(error.contains("copy or download it again"), "{error}");
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 400, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn flipped_bytes_never_panic(
        table in 0..TABLES.len(),
        flips in proptest::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..4),
    ) {
        let folder = tempfile::tempdir().expect("folder");
        let mut bytes = std::fs::read(fixture(TABLES[table])).expect("fixture");
        for (place, value) in flips {
            *place.get_mut(&mut bytes) = value;
        }
        let path = folder.path().join(TABLES[table]);
        std::fs::write(&path, &bytes).expect("written");
        if let Err(error) = read(&path) {
            assert_clear(&error, TABLES[table]);
        }
    }

    #[test]
    fn flipped_bytes_in_arrays_never_panic(
        flips in proptest::collection::vec((0..160_usize, any::<u8>()), 1..4),
        length in 0..=248_usize,
    ) {
        let folder = tempfile::tempdir().expect("folder");
        let mut bytes = std::fs::read(fixture("vectors_f4.npy")).expect("fixture");
        for (place, value) in flips {
            bytes[place] = value;
        }
        let path = folder.path().join("a.npy");
        std::fs::write(&path, &bytes[..length]).expect("written");
        match NpyReader::open(&path) {
            Ok(mut reader) => {
                let dimension = reader.dimension();
                let values = reader.next_rows(1_000).expect("checked at the door");
                prop_assert_eq!(values.len() % dimension, 0);
            }
            Err(error) => assert_clear(&error, "npy"),
        }
    }

    #[test]
    fn any_text_is_a_table_or_an_error(text in "[ -~\n\t\"é,;#]{0,300}") {
        let folder = tempfile::tempdir().expect("folder");
        let path = folder.path().join("a.csv");
        std::fs::write(&path, text).expect("written");
        if let Err(error) = read(&path) {
            assert_clear(&error, "csv");
        }
    }
}
