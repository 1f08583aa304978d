//! Single bits of a closed data directory are flipped: an error or the right answer, never a wrong one.

use std::fs;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};

use sidereus::engine::{Db, RecordKind, ReleaseText, ServerRecordKind};

use super::progress::Progress;
use super::world::{
    Model, NAME, answers, create, mixed, model_at, open, options, try_difference, write,
};

/// Queries after each flip.
const QUERIES: u64 = 8;

/// Versions written before.
const VERSIONS: u64 = 30;

/// What the flips led to.
#[derive(Debug, Default)]
pub(crate) struct Report {
    /// Bits flipped.
    pub(crate) flips: u64,
    /// Answers that were right all the same.
    pub(crate) right: u64,
    /// Errors.
    pub(crate) errors: u64,
    /// Files that were hit, by the beginnings of their names.
    pub(crate) files: std::collections::BTreeMap<String, u64>,
}

struct Expected {
    model: Model,
    answers: Vec<String>,
    pinned: Vec<String>,
    hash: String,
}

/// Flips so many bits, one at a time, each in a copy of its own.
#[expect(clippy::match_wild_err_arm, reason = "a panic has told of itself")]
pub(crate) fn run(folder: &Path, flips: u64, seed: u64) -> Report {
    let whole = folder.join("whole");
    let expected = make(&whole);
    let files = files_below(&whole);
    let total: u64 = files.iter().map(|(_, bytes)| bytes).sum();
    let mut report = Report::default();
    let mut progress = Progress::new("flips", flips);
    for flip in 0..flips {
        let number = mixed(seed ^ flip.wrapping_mul(0x5851_f42d));
        // Half of the flips go by bytes, and half by files: small ones matter as much.
        let (path, bytes) = if flip.is_multiple_of(2) {
            let mut left = number % total;
            let found = files.iter().find(|(_, bytes)| {
                let is_here = left < *bytes;
                left = left.saturating_sub(*bytes);
                is_here
            });
            found.expect("a file")
        } else {
            &files[(number % files.len() as u64) as usize]
        };
        let bit = mixed(number) % (bytes * 8);
        let place = folder.join("flipped");
        copy(&whole, &place);
        let target = place.join(path);
        let mut contents = fs::read(&target).expect("reads");
        contents[(bit / 8) as usize] ^= 1 << (bit % 8);
        fs::write(&target, contents).expect("writes");
        let what = format!("bit {bit} of {} (flip {flip})", path.display());
        match catch_unwind(AssertUnwindSafe(|| examine(&place, &expected))) {
            Ok(Ok(())) => report.right += 1,
            Ok(Err(Failure::Error(_))) => report.errors += 1,
            Ok(Err(Failure::Wrong(wrong))) => panic!("{what}: a wrong answer: {wrong}"),
            Err(_) => panic!("{what}: a panic"),
        }
        let name = path.file_name().unwrap_or_default().to_string_lossy();
        let kind: String = name.chars().filter(|each| !each.is_ascii_digit()).collect();
        *report.files.entry(kind).or_default() += 1;
        report.flips += 1;
        progress.step();
        fs::remove_dir_all(&place).expect("removes");
    }
    report
}

enum Failure {
    Error(#[expect(dead_code, reason = "for people who debug")] String),
    Wrong(String),
}

impl<E: std::error::Error> From<E> for Failure {
    fn from(error: E) -> Self {
        Self::Error(error.to_string())
    }
}

/// A database with everything: a segment, a tail, dead rows, records of all kinds, a release.
fn make(path: &Path) -> Expected {
    let db = open(path);
    create(&db);
    (1..=VERSIONS - 10).for_each(|version| write(&db, version));
    db.build_index(NAME, &mut |_, _, _| {}).expect("builds");
    let text = ReleaseText { title: "a title".to_owned(), ..ReleaseText::default() };
    db.put_record(NAME, RecordKind::Session, "labels", b"of somebody").expect("keeps");
    let release = db.create_release(NAME, "dr1", text, &mut |_, _, _| {}).expect("releases");
    (VERSIONS - 9..=VERSIONS).for_each(|version| write(&db, version));
    db.put_server_record(ServerRecordKind::Grant, "alice", b"may read").expect("keeps");
    let pinned = db.released(NAME, "dr1").expect("is there");
    Expected {
        model: model_at(VERSIONS),
        answers: answers(&db, NAME, QUERIES, true).expect("answers"),
        pinned: answers(&db, &pinned, QUERIES, true).expect("answers"),
        hash: release.content_hash,
    }
}

fn examine(path: &Path, expected: &Expected) -> Result<(), Failure> {
    let wrong = |what: &str| Err(Failure::Wrong(what.to_owned()));
    let db = Db::open(options(path))?;
    if let Some(difference) = try_difference(&db, NAME, &expected.model)? {
        return Err(Failure::Wrong(difference));
    }
    let found = answers(&db, NAME, QUERIES, true).map_err(Failure::Error)?;
    if found != expected.answers {
        return wrong("other hits");
    }
    if db.server_records(ServerRecordKind::Grant)? != [("alice".to_owned(), b"may read".to_vec())] {
        return wrong("another grant");
    }
    if db.record(NAME, RecordKind::Session, "labels")?.as_deref() != Some(&b"of somebody"[..]) {
        return wrong("another session");
    }
    let pinned = db.released(NAME, "dr1")?;
    if answers(&db, &pinned, QUERIES, true).map_err(Failure::Error)? != expected.pinned {
        return wrong("other hits in the release");
    }
    let (release, hash) = db.verify_release(NAME, "dr1", &mut |_, _, _| {})?;
    if release.text.title != "a title" || release.content_hash != expected.hash {
        return wrong("another record of the release");
    }
    if hash.to_string() != expected.hash {
        return wrong("another content of the release");
    }
    Ok(())
}

fn files_below(folder: &Path) -> Vec<(PathBuf, u64)> {
    let mut found = Vec::new();
    let mut folders = vec![PathBuf::new()];
    while let Some(below) = folders.pop() {
        for entry in fs::read_dir(folder.join(&below)).expect("lists").flatten() {
            let path = below.join(entry.file_name());
            let metadata = entry.metadata().expect("is there");
            if metadata.is_dir() {
                folders.push(path);
            } else if metadata.len() > 0 {
                found.push((path, metadata.len()));
            }
        }
    }
    found.sort();
    found
}

fn copy(from: &Path, to: &Path) {
    fs::create_dir_all(to).expect("makes a folder");
    for entry in fs::read_dir(from).expect("lists").flatten() {
        let target = to.join(entry.file_name());
        if entry.path().is_dir() {
            copy(&entry.path(), &target);
        } else {
            fs::copy(entry.path(), target).expect("copies");
        }
    }
}
