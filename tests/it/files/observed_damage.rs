//! Damaged files of observations: an error or an observation, never a panic, and never more memory than a limit.

use std::path::Path;

use proptest::prelude::*;
use sidereus::class::Class;
use sidereus::files::{
    FileError, Observation, ObservationOptions, Observed, VALUES_MAX, read_observations,
};

use super::observations::observed;
use crate::support::npy;

const FILES: [&str; 9] = [
    "shorts.fits",
    "cube.fits",
    "extensions.fits",
    "coadd.fits",
    "spec.fits",
    "parts.parquet",
    "bands.parquet",
    "objects.h5",
    "shared.h5",
];

/// Most observations that are read of a damaged file.
const ROWS_MAX: usize = 20;

fn check(read: Result<Observation, FileError>, what: &str) {
    match read {
        Ok(observation) => {
            let Observed::Arrays(arrays) = observation.content else { return };
            for array in arrays {
                assert_eq!(array.values.len(), array.shape.iter().product::<usize>(), "{what}");
                assert!(array.values.len() <= VALUES_MAX, "{what}");
                assert!(array.bands.is_empty() || array.bands.len() == array.shape[0], "{what}");
            }
        }
        Err(error) => {
            let text = error.to_string();
            assert!(!text.contains('\n') && text.len() < 1_200, "{what}: {text}");
            let class = error.class();
            assert!(matches!(class, Class::Corrupt | Class::Invalid | Class::NotFound), "{text}");
        }
    }
}

fn read(path: &Path, options: &ObservationOptions, what: &str) {
    match read_observations(path, options) {
        Ok(rows) => rows.take(ROWS_MAX).for_each(|(_, read)| check(read, what)),
        Err(error) => check(Err(error), what),
    }
}

#[test]
fn truncated_files_are_errors_or_what_is_there() {
    let folder = tempfile::tempdir().expect("a folder");
    for name in FILES {
        let bytes = std::fs::read(observed(name)).expect("fixture");
        let path = folder.path().join(name);
        for length in (1..bytes.len()).step_by(bytes.len() / 61 + 1) {
            std::fs::write(&path, &bytes[..length]).expect("written");
            read(&path, &ObservationOptions::default(), &format!("{name} cut to {length}"));
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 600, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn flipped_bytes_never_panic(
        file in 0..FILES.len(),
        flips in proptest::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..5),
        near_the_beginning in any::<bool>(),
        size in proptest::option::of(1..9_usize),
    ) {
        let folder = tempfile::tempdir().expect("a folder");
        let mut bytes = std::fs::read(observed(FILES[file])).expect("fixture");
        // Headers are where lengths are.
        let end = if near_the_beginning { bytes.len().min(3_000) } else { bytes.len() };
        for (place, value) in flips {
            *place.get_mut(&mut bytes[..end]) = value;
        }
        let path = folder.path().join(FILES[file]);
        std::fs::write(&path, &bytes).expect("written");
        read(&path, &ObservationOptions { size, ..ObservationOptions::default() }, FILES[file]);
    }

    #[test]
    fn digits_of_fits_headers_never_panic(
        file in 0..5_usize,
        places in proptest::collection::vec((any::<prop::sample::Index>(), b'0'..=b'9'), 1..4),
    ) {
        let folder = tempfile::tempdir().expect("a folder");
        let mut bytes = std::fs::read(observed(FILES[file])).expect("fixture");
        let digits: Vec<usize> = (0..bytes.len())
            .filter(|place| bytes[*place].is_ascii_digit() && place % 80 >= 8)
            .collect();
        for (place, value) in places {
            bytes[*place.get(&digits)] = value;
        }
        let path = folder.path().join(FILES[file]);
        std::fs::write(&path, &bytes).expect("written");
        read(&path, &ObservationOptions::default(), FILES[file]);
    }

    #[test]
    fn any_shape_of_a_numpy_file_is_read_or_refused(
        shape in proptest::collection::vec(prop_oneof![0..6_u64, any::<u64>()], 0..6),
        count in 0..200_usize,
    ) {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("a.npy");
        let text = shape.iter().fold(String::new(), |text, length| format!("{text}{length},"));
        std::fs::write(&path, npy(&text, &vec![1.0; count])).expect("written");
        read(&path, &ObservationOptions::default(), &text);
    }

    #[test]
    fn any_bytes_behind_a_magic_are_read_or_refused(
        magic in 0..6_usize,
        rest in proptest::collection::vec(any::<u8>(), 0..400),
    ) {
        let magics: [&[u8]; 6] = [
            b"\x93NUMPY\x01\x00", b"\x89HDF\r\n\x1a\n", b"SIMPLE  =", b"PAR1", b"ARROW1", b"\xff\xff\xff\xff",
        ];
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("a.bin");
        std::fs::write(&path, [magics[magic], &rest].concat()).expect("written");
        read(&path, &ObservationOptions::default(), "any bytes");
    }
}
