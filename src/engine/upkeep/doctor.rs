//! Examining the data directory of a stopped server, and repairing what can be made again.

use std::fmt::Write;
use std::fs;
use std::io::ErrorKind;
use std::path::Path;

use arrow::error::ArrowError;

use crate::class::Class;
use crate::engine::db::{Db, DbOptions};
use crate::engine::error::EngineError;
use crate::engine::residency::Residency;
use crate::engine::{columns, segment};
use crate::schema::split_release;
use crate::storage::{CollectionRecord, Store};

/// Something that is not as it should be.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Finding {
    /// The collection, where it is one's.
    pub collection: Option<String>,
    /// Id of the object, where that can be known.
    pub object: Option<String>,
    /// What is wrong, in a sentence.
    pub what: String,
    /// Whether it was repaired: it was derived from what is there.
    pub is_repaired: bool,
}

impl Finding {
    fn of(collection: &str, what: impl Into<String>) -> Self {
        let collection = Some(collection.to_owned());
        Self { collection, object: None, what: what.into(), is_repaired: false }
    }

    fn plain(what: impl Into<String>) -> Self {
        Self { collection: None, object: None, what: what.into(), is_repaired: false }
    }
}

/// Looks at everything in a data directory: every block against its checksum, ids against objects, vectors and counts,
/// segments against their manifests, releases against their hashes. With `repair`, counts are counted anew and damaged
/// segments removed, so that they are built again by the first request; what only a backup has is told, and so is what could not
/// be read.
///
/// # Errors
/// When the directory cannot be opened at all: in use, of a newer format, or its database damaged at the root.
pub fn examine(
    options: DbOptions,
    repair: bool,
    progress: &mut dyn FnMut(&str, u64, u64),
) -> Result<Vec<Finding>, EngineError> {
    let data = options.data.clone();
    let mut findings = examine_store(&options, repair, progress)?;
    // Opening the collections cleans up what crashes left.
    let db = Db::open(DbOptions { auto_index_rows: None, ..options })?;
    for record in db.store().collections()? {
        examine_segments(&data, &record, repair, &mut findings, progress)?;
    }
    for info in db.collections()? {
        examine_releases(&db, &info.schema.name, &mut findings, progress);
    }
    Ok(findings)
}

fn examine_store(
    options: &DbOptions,
    repair: bool,
    progress: &mut dyn FnMut(&str, u64, u64),
) -> Result<Vec<Finding>, EngineError> {
    let mut findings = Vec::new();
    let store = Store::open(&options.data, options.store.clone())?;
    let mut bytes = 0;
    let (_, failures) = store.scrub(&mut |read| {
        bytes += read;
        progress("reading records", bytes, 0);
        true
    });
    let of_table =
        |(table, error)| Finding::plain(format!("table `{table}`: {error}; restore a backup"));
    findings.extend(failures.into_iter().map(of_table));
    for record in store.collections()? {
        let name = record.schema.name.clone();
        let mut done = 0;
        let checked = store.snapshot(record.id)?.check(&mut |objects| {
            done += objects;
            progress("comparing tables", done, 2 * record.object_count);
        });
        let found = match checked {
            Ok(found) => found,
            Err(error) => {
                findings.push(Finding::of(&name, error.to_string()));
                continue;
            }
        };
        let counts_alone = !found.is_empty() && found.iter().all(|each| each.is_count);
        let is_repaired = repair && counts_alone && store.recount(record.id)?;
        findings.extend(found.into_iter().map(|each| Finding {
            object: each.object.map(|id| id.to_string()),
            is_repaired,
            ..Finding::of(&name, each.what)
        }));
    }
    Ok(findings)
}

fn examine_segments(
    data: &Path,
    record: &CollectionRecord,
    repair: bool,
    findings: &mut Vec<Finding>,
    progress: &mut dyn FnMut(&str, u64, u64),
) -> Result<(), EngineError> {
    let folder = data.join("segments").join(format!("{:08}", record.id.0));
    let entries = match fs::read_dir(&folder) {
        Ok(entries) => entries,
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(()),
        Err(error) => {
            let what = format!("its segments in `{}` cannot be listed: {error}", folder.display());
            findings.push(Finding::of(&record.schema.name, what));
            return Ok(());
        }
    };
    for entry in entries.flatten() {
        let path = entry.path();
        if entry.file_name().to_string_lossy().starts_with('.') {
            continue;
        }
        let Err(error) = examine_segment(&path, record, progress) else { continue };
        let mut finding = Finding::of(&record.schema.name, error.to_string());
        if !is_damage(&error) {
            // Whatever kept it from being read says nothing about it: it may be whole, and that of a release is not made again.
            let entry = path.display();
            write!(finding.what, "; `{entry}` is left as it is: mend that, and examine it again")
                .ok();
            findings.push(finding);
            continue;
        }
        // That of a release is kept for its answers' sake: another one may estimate otherwise.
        if split_release(&record.schema.name).is_some() {
            finding.what.push_str("; a backup has the index that the release was published with");
        }
        if repair {
            fs::remove_dir_all(&path).map_err(|source| EngineError::SegmentFile {
                action: "remove",
                path: path.display().to_string(),
                source,
            })?;
            finding.is_repaired = true;
        }
        findings.push(finding);
    }
    Ok(())
}

/// Whether an error says that what a segment holds is not what was written, and not that it could not be read just now: too
/// many open files, no permission, a disk that gives errors.
pub(super) fn is_damage(error: &EngineError) -> bool {
    match error {
        // A file that is missing or too short, or is no text where it should be, will not be otherwise the next time.
        EngineError::SegmentFile { source, .. }
        | EngineError::Arrow(ArrowError::IoError(_, source)) => is_lasting(source.kind()),
        EngineError::DamagedSegment { .. } | EngineError::Vectors(_) | EngineError::Arrow(_) => {
            true
        }
        EngineError::Index(error) => error.class() == Class::Corrupt,
        _ => false,
    }
}

fn is_lasting(kind: ErrorKind) -> bool {
    matches!(kind, ErrorKind::NotFound | ErrorKind::UnexpectedEof | ErrorKind::InvalidData)
}

fn examine_segment(
    folder: &Path,
    record: &CollectionRecord,
    progress: &mut dyn FnMut(&str, u64, u64),
) -> Result<(), EngineError> {
    let manifest = segment::read_manifest(folder)?;
    let mut bytes = 0;
    segment::check_all(folder, &manifest, &mut |read| {
        bytes += read;
        progress("reading segments", bytes, manifest.size_bytes);
        true
    })?;
    if manifest.version > record.version {
        let what = format!("it is of version {} of {}", manifest.version, record.version);
        let path = folder.display().to_string();
        return Err(EngineError::DamagedSegment { path, what });
    }
    let arrow_schema = columns::resident_schema(&record.schema);
    let residency = Residency::new(0);
    segment::open(folder, &manifest, &record.schema, &arrow_schema, &residency).map(drop)
}

fn examine_releases(
    db: &Db,
    collection: &str,
    findings: &mut Vec<Finding>,
    progress: &mut dyn FnMut(&str, u64, u64),
) {
    let releases = match db.releases(collection) {
        Ok(releases) => releases,
        Err(error) => return findings.push(Finding::of(collection, error.to_string())),
    };
    for release in releases.iter().filter(|release| release.has_data()) {
        match db.verify_release(collection, &release.name, progress) {
            Ok((_, hash)) if hash.to_string() == release.content_hash => {}
            Ok((_, hash)) => {
                let (name, was) = (&release.name, &release.content_hash);
                let what =
                    format!("release `{name}` has the hash {hash}, not {was}; restore a backup");
                findings.push(Finding::of(collection, what));
            }
            Err(error) => findings.push(Finding::of(collection, error.to_string())),
        }
    }
}
