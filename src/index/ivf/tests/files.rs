//! Saved, loaded, damaged and misplaced index files.

use std::fs;

use super::*;
use crate::class::Class;

#[test]
fn a_saved_index_answers_as_before() {
    let folder = tempfile::tempdir().expect("a folder");
    for metric in METRICS {
        for codes in [Codes::Flat, Codes::Sq8] {
            let (block, index) = small(metric, codes);
            let path = folder.path().join("space.ivf");
            index.save(&path).expect("saved");
            let read = IvfIndex::load(&path, 16, metric).expect("intact");
            assert_eq!(read.stats(), index.stats());
            assert_eq!(read.seed, index.seed);
            for row in (0..block.count()).step_by(211) {
                let query = block.row(row).expect("a row");
                let search = IvfSearch::nearest(10);
                assert_eq!(
                    read.search(query, block.view(), &search).expect("valid"),
                    index.search(query, block.view(), &search).expect("valid"),
                );
            }
        }
    }
    let names: Vec<_> = fs::read_dir(folder.path()).expect("a folder").collect();
    assert_eq!(names.len(), 1, "no partial file is left");
}

#[test]
fn idx_3_a_damaged_file_is_refused_before_faiss_sees_it() {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("space.ivf");
    let (_, index) = small(Metric::L2, Codes::Sq8);
    index.save(&path).expect("saved");
    let intact = fs::read(&path).expect("readable");
    let load_bytes = |bytes: &[u8]| {
        fs::write(&path, bytes).expect("writable");
        IvfIndex::load(&path, 16, Metric::L2)
    };
    assert!(load_bytes(&intact).is_ok());
    let places = (0..200).chain((200..intact.len()).step_by(997)).chain([intact.len() - 1]);
    for place in places {
        let mut bytes = intact.clone();
        bytes[place] ^= 0x10;
        let refused = load_bytes(&bytes).expect_err("one bit differs");
        assert!(!matches!(refused, IndexError::Faiss { .. }), "byte {place}: {refused}");
        assert_eq!(refused.class(), Class::Corrupt);
    }
    for len in [0, 7, 8, 12, 20, 51, 52, 53, 111, intact.len() / 2, intact.len() - 1] {
        let refused = load_bytes(&intact[..len]).expect_err("cut off");
        assert!(
            matches!(refused, IndexError::NotAnIndex { .. } | IndexError::Damaged { .. }),
            "{refused}"
        );
    }
    let longer = [&intact[..], &[0]].concat();
    assert!(matches!(load_bytes(&longer), Err(IndexError::Damaged { .. })));
    let newer = [&intact[..8], &2u32.to_le_bytes(), &intact[12..]].concat();
    assert!(matches!(load_bytes(&newer), Err(IndexError::NewerFormat { version: 2, .. })));
}

#[test]
fn an_index_of_another_space_is_refused() {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("space.ivf");
    small(Metric::L2, Codes::Sq8).1.save(&path).expect("saved");
    let refused = IvfIndex::load(&path, 17, Metric::L2).expect_err("dimension");
    assert!(
        matches!(refused, IndexError::OtherDimension { expected: 17, given: 16, .. }),
        "{refused}"
    );
    let refused = IvfIndex::load(&path, 16, Metric::Ip).expect_err("metric");
    assert!(matches!(refused, IndexError::OtherMetric { given: Metric::L2, .. }), "{refused}");
    let refused = IvfIndex::load(&folder.path().join("none"), 16, Metric::L2).expect_err("absent");
    assert_eq!(refused.class(), Class::NotFound);
    let refused = small(Metric::L2, Codes::Sq8).1.save(&folder.path().join("no/such/folder"));
    assert!(matches!(refused, Err(IndexError::Io { .. })));
}
