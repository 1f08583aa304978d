//! Saved, loaded, damaged and misplaced index files.

#![expect(clippy::single_range_in_vec_init, reason = "a scan takes runs of rows, here one")]

use std::fs;

use super::*;
use crate::class::Class;

#[test]
fn a_saved_index_answers_as_before() {
    let folder = tempfile::tempdir().expect("a folder");
    for metric in METRICS {
        for code_bytes in CODES {
            let (block, index) = small(metric, code_bytes);
            let path = folder.path().join("space.ivf");
            index.save(&path).expect("saved");
            let read = IvfIndex::load(&path, 48, metric).expect("intact");
            assert_eq!(read.stats(), index.stats());
            assert_eq!(read.seed, index.seed);
            for row in (0..block.count()).step_by(211) {
                let query = block.row(row).expect("a row");
                let search = IvfSearch::nearest(10);
                assert_eq!(
                    read.search(query, &block.view(), &search).expect("valid"),
                    index.search(query, &block.view(), &search).expect("valid"),
                );
                let runs = [0..block.count()];
                let scan = scan_of(10, 1.0, &runs, &[]);
                assert_eq!(
                    read.scan_by(query, &block.view(), &scan, |row| row).expect("valid"),
                    index.scan_by(query, &block.view(), &scan, |row| row).expect("valid"),
                );
            }
        }
    }
    let names: Vec<_> = fs::read_dir(folder.path()).expect("a folder").collect();
    assert_eq!(names.len(), 1, "no partial file is left");
}

#[test]
fn idx_3_a_damaged_description_is_refused_before_it_is_read() {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("space.ivf");
    let (_, index) = small(Metric::L2, CODES[0]);
    index.save(&path).expect("saved");
    let intact = fs::read(&path).expect("readable");
    let load_bytes = |bytes: &[u8]| {
        fs::write(&path, bytes).expect("writable");
        IvfIndex::load(&path, 48, Metric::L2)
    };
    assert!(load_bytes(&intact).is_ok());
    let described =
        48 + u32::from_le_bytes(*intact[12..].first_chunk().expect("a length")) as usize;
    for place in (0..48).chain((48..described).step_by(7)) {
        let mut bytes = intact.clone();
        bytes[place] ^= 0x10;
        let refused = load_bytes(&bytes).expect_err("one bit differs");
        assert_eq!(refused.class(), Class::Corrupt, "byte {place}: {refused}");
    }
    for len in [0, 7, 8, 12, 20, 51, described, described + 70, intact.len() - 1] {
        let refused = load_bytes(&intact[..len]).map(|_| ());
        assert!(
            matches!(
                refused,
                Err(IndexError::NotAnIndex { .. }
                    | IndexError::Damaged { .. }
                    | IndexError::Io { .. })
            ),
            "{len}: {refused:?}"
        );
    }
    let newer = [&intact[..8], &6u32.to_le_bytes(), &intact[12..]].concat();
    assert!(matches!(load_bytes(&newer), Err(IndexError::NewerFormat { version: 6, .. })));
}

#[test]
fn damaged_sections_are_told_and_never_make_a_wrong_distance() {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("space.ivf");
    let (block, index) = small(Metric::L2, CODES[0]);
    index.save(&path).expect("saved");
    IvfIndex::verify(&path).expect("intact");
    let intact = fs::read(&path).expect("readable");
    let described =
        48 + u32::from_le_bytes(*intact[12..].first_chunk().expect("a length")) as usize;
    let start = described.next_multiple_of(64);
    for place in (start..intact.len()).step_by(2_003) {
        let mut bytes = intact.clone();
        // A whole stretch, so that list starts and row numbers turn into nonsense.
        bytes[place..(place + 400).min(intact.len())].fill(0xff);
        fs::write(&path, &bytes).expect("writable");
        assert!(matches!(IvfIndex::verify(&path), Err(IndexError::Damaged { .. })), "byte {place}");
        let read = IvfIndex::load(&path, 48, Metric::L2).expect("the description is intact");
        let query = block.row(5).expect("a row");
        match read.search(query, &block.view(), &IvfSearch::nearest(10)) {
            Ok(answer) => {
                assert_eq!(answer.hits.len(), 10);
                for (distance, row) in answer.hits {
                    let stored = block.row(row as usize).expect("a row");
                    assert_eq!(distance, Metric::L2.distance(query, stored));
                }
            }
            Err(error) => panic!("{error}"),
        }
    }
}

#[test]
fn an_index_of_another_space_is_refused() {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("space.ivf");
    small(Metric::L2, CODES[0]).1.save(&path).expect("saved");
    let refused = IvfIndex::load(&path, 49, Metric::L2).expect_err("dimension");
    assert!(
        matches!(refused, IndexError::OtherDimension { expected: 49, given: 48, .. }),
        "{refused}"
    );
    let refused = IvfIndex::load(&path, 48, Metric::Ip).expect_err("metric");
    assert!(matches!(refused, IndexError::OtherMetric { given: Metric::L2, .. }), "{refused}");
    let refused = IvfIndex::load(&folder.path().join("none"), 48, Metric::L2).expect_err("absent");
    assert_eq!(refused.class(), Class::NotFound);
    let refused = small(Metric::L2, CODES[0]).1.save(&folder.path().join("no/such/folder"));
    assert!(matches!(refused, Err(IndexError::Io { .. })));
}
