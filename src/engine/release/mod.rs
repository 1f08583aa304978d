//! Releases: named states of a collection that do not change any more.
//!
//! A release `dr1` of `NAME` is a collection of its own, `NAME@dr1`: objects, vectors, tokens, probes and bridges of one
//! consistent view, with a segment that is built once. It is made in this order: the copy, in one bulk commit; the segment;
//! the hash of the copy's content; and last the record among those of `NAME`, which alone makes it one. Whatever a crash
//! leaves before that is removed at the next start.
//!
//! **Invariants.** REL-1: a release is visible whole or not at all. REL-2: nothing writes into one, whoever asks.

mod diff;
mod hash;
mod record;
#[cfg(test)]
mod tests;
mod under_way;

use std::sync::PoisonError;

pub use diff::{ChangedObjects, DiffSide, ReleaseDiff};
pub use hash::ContentHash;
pub use record::{Release, ReleaseText, SpaceCount, Withdrawal};
pub(super) use under_way::{Dropping, UnderWay};

use super::collection::Collection;
use super::db::{Db, fold};
use super::error::EngineError;
use super::segment::Progress;
use crate::clock::now_ms;
use crate::schema::{CollectionId, CollectionSchema, check_name, release_name, split_release};
use crate::storage::{CollectionRecord, RecordKind, Snapshot, StorageError, Store};
use under_way::Making;

/// Asked between the steps of long work whether somebody still wants it; the work ends when that is no more so.
pub type GoOn<'a> = dyn Fn() -> bool + Sync + 'a;

/// Progress is told so often, in rows.
const TOLD_EVERY: u64 = 16_384;

impl Db {
    /// Makes a release of what a collection holds now; reads and writes go on meanwhile.
    ///
    /// # Errors
    /// [`EngineError::ReleaseExists`], also for a withdrawn one and for one that is being made; [`EngineError::Release`]
    /// for a release of a release; and those of the disk, after which nothing of it is left.
    pub fn create_release(
        &self,
        collection: &str,
        name: &str,
        text: ReleaseText,
        progress: &mut Progress<'_>,
    ) -> Result<Release, EngineError> {
        self.create_release_while(collection, name, text, progress, &|| true)
    }

    /// The same, for as long as somebody wants it. The build of the segment, which is one of the steps, is not stopped.
    ///
    /// # Errors
    /// As [`Db::create_release`], and [`StorageError::Stopped`], after which nothing of it is left either.
    pub fn create_release_while(
        &self,
        collection: &str,
        name: &str,
        text: ReleaseText,
        progress: &mut Progress<'_>,
        go_on: &GoOn<'_>,
    ) -> Result<Release, EngineError> {
        check_name("release", name).map_err(EngineError::Schema)?;
        let source = self.find(collection)?;
        source.check_writable()?;
        let collection = source.record()?.schema.name.clone();
        let internal = release_name(&collection, name);
        let _making = Making::begin(self, &internal)?;
        // The one that had the name may have been dropped just before; the one that has it now stays.
        let source = self.find(&collection)?;
        if self.record(&collection, RecordKind::Release, name)?.is_some() {
            return Err(exists(&collection, name));
        }
        let snapshot = self.store().snapshot(source.id())?;
        let made = self.copy_into(&snapshot, &internal, progress, go_on);
        let finished = made.and_then(|copy| {
            let mut release = Release::new(&collection, name, text);
            release.source_version = snapshot.record().version;
            drop(snapshot);
            self.finish_release(source.id(), release, &copy, (progress, go_on))
        });
        finished.inspect_err(|_| self.remove_release_data(&internal))
    }

    fn copy_into(
        &self,
        snapshot: &Snapshot<'_>,
        internal: &str,
        progress: &mut Progress<'_>,
        go_on: &GoOn<'_>,
    ) -> Result<CollectionRecord, EngineError> {
        let mut schema = CollectionSchema::clone(&snapshot.record().schema);
        internal.clone_into(&mut schema.name);
        // Nothing is encoded into a release.
        schema.spaces.iter_mut().for_each(|space| space.at_ingest = None);
        let total = Store::copied_rows(snapshot.record());
        let (tell, told) = std::sync::mpsc::channel::<u64>();
        std::thread::scope(|scope| {
            let copying = scope.spawn(move || {
                let tell = std::sync::Mutex::new(tell);
                let told = |rows: u64| {
                    // Whoever listens may have gone; the work goes on.
                    let _ = tell.lock().unwrap_or_else(PoisonError::into_inner).send(rows);
                    go_on()
                };
                self.store().copy_collection(snapshot, schema, &told)
            });
            let mut done = 0;
            for rows in told {
                done += rows;
                progress("copying", done.min(total), total);
            }
            copying.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic))
        })
        .map_err(EngineError::Storage)
    }

    fn finish_release(
        &self,
        source: CollectionId,
        mut release: Release,
        copy: &CollectionRecord,
        (progress, go_on): (&mut Progress<'_>, &GoOn<'_>),
    ) -> Result<Release, EngineError> {
        let made = self.prepare(copy);
        made.build_first(progress)?;
        check(go_on)?;
        let snapshot = self.store().snapshot(copy.id)?;
        let named = self.named_of(copy)?;
        release.content_hash = hash_of(&snapshot, &named, progress, go_on)?.to_string();
        release.objects = copy.object_count;
        [release.probes, release.bridges] = [0, 1].map(|kind| named[kind].len() as u64);
        release.spaces = space_counts(copy);
        release.created_ms = now_ms();
        let bytes = release.encode()?;
        // Under the number, not the name: whatever has the name by now, the release is one of what was copied.
        self.store().put_record(source, RecordKind::Release, &release.name, &bytes)?;
        self.enter(made);
        tracing::info!(
            collection = release.collection,
            release = release.name,
            objects = release.objects,
            hash = release.content_hash,
            "released"
        );
        Ok(release)
    }

    /// Probes and bridges, as the content hash takes them.
    fn named_of(
        &self,
        record: &CollectionRecord,
    ) -> Result<[Vec<(String, Vec<u8>)>; 2], EngineError> {
        let of = |kind| self.store().records(record.id, kind);
        Ok([of(RecordKind::Probe)?, of(RecordKind::Bridge)?])
    }

    /// The releases of a collection, withdrawn ones among them, oldest first.
    ///
    /// # Errors
    /// [`EngineError::NoCollection`]; [`EngineError::DamagedRelease`]; those of the disk.
    pub fn releases(&self, collection: &str) -> Result<Vec<Release>, EngineError> {
        let records = self.records(collection, RecordKind::Release)?;
        let decoded = records.iter().map(|(name, bytes)| Release::decode(name, bytes));
        let mut releases = decoded.collect::<Result<Vec<_>, _>>()?;
        releases.sort_by_key(|release| release.created_ms);
        Ok(releases)
    }

    /// A release of a collection, also a withdrawn one.
    ///
    /// # Errors
    /// [`EngineError::NoRelease`], and as [`Db::releases`].
    pub fn release(&self, collection: &str, name: &str) -> Result<Release, EngineError> {
        match self.record(collection, RecordKind::Release, name)? {
            Some(bytes) => Release::decode(name, &bytes),
            None => Err(EngineError::NoRelease {
                collection: collection.to_owned(),
                release: name.to_owned(),
            }),
        }
    }

    /// Name of the collection that holds a release, for queries.
    ///
    /// # Errors
    /// [`EngineError::Withdrawn`] with the reason, [`EngineError::NoRelease`], and as [`Db::releases`].
    pub fn released(&self, collection: &str, name: &str) -> Result<String, EngineError> {
        let internal = release_name(collection, name);
        // One that is open is known to be there and not withdrawn.
        if self.find(&internal).is_ok() {
            return Ok(internal);
        }
        let release = self.release(collection, name)?;
        match release.withdrawn {
            Some(withdrawal) => Err(EngineError::Withdrawn {
                collection: release.collection,
                release: release.name,
                reason: withdrawal.reason,
            }),
            None => Err(EngineError::DamagedRelease {
                name: release.name,
                what: "its data are missing; restore a backup".to_owned(),
            }),
        }
    }

    /// Names of the collections that hold releases which can be queried.
    pub fn released_collections(&self) -> Vec<String> {
        self.open_collections()
            .iter()
            .filter(|collection| collection.is_release())
            .filter_map(|collection| Some(collection.record().ok()?.schema.name.clone()))
            .collect()
    }

    /// Hashes the content of a release again, also of a withdrawn one whose data were kept.
    ///
    /// # Errors
    /// [`EngineError::Withdrawn`] when the data are gone, and as [`Db::released`].
    pub fn verify_release(
        &self,
        collection: &str,
        name: &str,
        progress: &mut Progress<'_>,
    ) -> Result<(Release, ContentHash), EngineError> {
        self.verify_release_while(collection, name, progress, &|| true)
    }

    /// The same, for as long as somebody wants it.
    ///
    /// # Errors
    /// As [`Db::verify_release`], and [`StorageError::Stopped`].
    pub fn verify_release_while(
        &self,
        collection: &str,
        name: &str,
        progress: &mut Progress<'_>,
        go_on: &GoOn<'_>,
    ) -> Result<(Release, ContentHash), EngineError> {
        let release = self.release(collection, name)?;
        let internal = release_name(&release.collection, &release.name);
        let records = self.store().collections()?;
        let Some(record) = records.iter().find(|record| record.schema.name == internal) else {
            self.released(collection, name)?;
            return Err(EngineError::NoCollection { name: internal });
        };
        let snapshot = self.store().snapshot(record.id)?;
        let hash = hash_of(&snapshot, &self.named_of(record)?, progress, go_on)?;
        Ok((release, hash))
    }

    /// Hashes what a collection holds now, by the rules of releases: equal contents have equal hashes.
    ///
    /// # Errors
    /// [`EngineError::NoCollection`] and those of the disk.
    pub fn content_hash(&self, collection: &str) -> Result<ContentHash, EngineError> {
        let record = self.find(collection)?.record()?;
        let snapshot = self.store().snapshot(record.id)?;
        hash_of(&snapshot, &self.named_of(&record)?, &mut |_, _, _| {}, &|| true)
    }

    /// Withdraws a release: its record stays and says why, its name stays taken, and nothing of it is answered any more.
    /// With `keep_data` it can still be verified.
    ///
    /// # Errors
    /// [`EngineError::Withdrawn`] when it was withdrawn before, but for data that were kept then and shall go now; and as
    /// [`Db::release`].
    pub fn withdraw_release(
        &self,
        collection: &str,
        name: &str,
        reason: &str,
        keep_data: bool,
    ) -> Result<Release, EngineError> {
        let found = self.release(collection, name)?;
        let internal = release_name(&found.collection, &found.name);
        let _making = Making::begin(self, &internal)?;
        // Read again now that nobody else changes it.
        let (source, mut release) = (self.find(collection)?.id(), self.release(collection, name)?);
        release.withdrawn = Some(match release.withdrawn {
            None => Withdrawal { reason: reason.to_owned(), at_ms: now_ms(), data_kept: keep_data },
            // What was kept may go later; why and when it was withdrawn stay.
            Some(before) if before.data_kept && !keep_data => {
                Withdrawal { data_kept: false, ..before }
            }
            Some(before) => {
                return Err(EngineError::Withdrawn {
                    collection: release.collection,
                    release: release.name,
                    reason: before.reason,
                });
            }
        });
        let bytes = release.encode()?;
        self.store().put_record(source, RecordKind::Release, &release.name, &bytes)?;
        self.leave(&internal);
        if !keep_data {
            self.remove_release_data(&internal);
        }
        Ok(release)
    }

    /// Removes the collection of a release that is not one (any more). What cannot be removed now is at the next start.
    fn remove_release_data(&self, internal: &str) {
        let removed = self.store().collections().and_then(|records| {
            match records.iter().find(|record| record.schema.name == internal) {
                Some(record) => self.store().drop_collection(record.id).map(|()| Some(record.id)),
                None => Ok(None),
            }
        });
        match removed {
            Ok(Some(id)) => self.remove_segments(id),
            Ok(None) => {}
            Err(error) => {
                tracing::warn!(collection = internal, %error, "a release is not removed yet");
            }
        }
    }

    /// At open: which collections of releases are to be known, and removal of those that are none.
    pub(super) fn sort_releases(
        &self,
        records: &[CollectionRecord],
    ) -> Result<Vec<CollectionRecord>, EngineError> {
        let mut kept = Vec::with_capacity(records.len());
        for record in records {
            let Some((collection, name)) = split_release(&record.schema.name) else {
                kept.push(record.clone());
                continue;
            };
            let of = |other: &&CollectionRecord| fold(&other.schema.name) == fold(collection);
            let bytes = match records.iter().find(of) {
                Some(source) => self.store().record(source.id, RecordKind::Release, name)?,
                None => None,
            };
            match bytes.map(|bytes| Release::decode(name, &bytes)) {
                Some(Ok(release)) if release.withdrawn.is_none() => kept.push(record.clone()),
                Some(Ok(release)) if release.has_data() => {}
                Some(Err(error)) => {
                    tracing::error!(collection = record.schema.name, %error, "release not served");
                }
                Some(Ok(_)) | None => {
                    tracing::warn!(
                        collection = record.schema.name,
                        "removing an unfinished release"
                    );
                    self.store().drop_collection(record.id)?;
                    self.remove_segments(record.id);
                }
            }
        }
        Ok(kept)
    }

    /// Refuses to drop a collection that has releases.
    pub(super) fn check_no_releases(&self, collection: &Collection) -> Result<(), EngineError> {
        let records = self.store().records(collection.id(), RecordKind::Release)?;
        if records.is_empty() {
            return Ok(());
        }
        let names: Vec<String> = records.into_iter().map(|(name, _)| name).collect();
        Err(EngineError::HasReleases {
            collection: collection.record()?.schema.name.clone(),
            releases: names.join(", "),
        })
    }

    /// Removes what were the releases of a collection that was dropped. What cannot be removed now is at the next start.
    pub(super) fn remove_releases(&self, collection: &str) {
        let is_one =
            |name: &String| split_release(name).is_some_and(|(of, _)| fold(of) == fold(collection));
        for name in self.released_collections().iter().filter(|name| is_one(name)) {
            self.leave(name);
        }
        match self.store().collections() {
            Ok(records) => {
                let names = records.iter().map(|record| &record.schema.name);
                names.filter(|name| is_one(name)).for_each(|name| self.remove_release_data(name));
            }
            Err(error) => tracing::warn!(collection, %error, "releases are not removed yet"),
        }
    }
}

fn exists(collection: &str, release: &str) -> EngineError {
    EngineError::ReleaseExists { collection: collection.to_owned(), release: release.to_owned() }
}

fn hash_of(
    snapshot: &Snapshot<'_>,
    named: &[Vec<(String, Vec<u8>)>; 2],
    progress: &mut Progress<'_>,
    go_on: &GoOn<'_>,
) -> Result<ContentHash, EngineError> {
    let total = snapshot.record().object_count;
    let (mut done, mut told) = (0, 0);
    hash::content_hash(snapshot, [&named[0], &named[1]], &mut |objects| {
        done += objects;
        if done - told >= TOLD_EVERY {
            told = done;
            progress("hashing", done, total);
        }
        go_on()
    })
}

/// Refuses to work for nobody.
fn check(go_on: &GoOn<'_>) -> Result<(), EngineError> {
    if go_on() { Ok(()) } else { Err(StorageError::Stopped.into()) }
}

fn space_counts(record: &CollectionRecord) -> Vec<SpaceCount> {
    let counts = record.schema.spaces.iter().zip(&record.vector_counts);
    let count = |(space, (_, count)): (&crate::schema::EmbeddingSpace, &(_, u64))| SpaceCount {
        space: space.name.clone(),
        count: *count,
        provenance: space.provenance.to_string(),
    };
    counts.map(count).collect()
}

/// The error of a write into a release.
pub(super) fn refused(name: &str) -> EngineError {
    let collection = split_release(name).map_or(name, |(collection, _)| collection);
    EngineError::Release { name: name.to_owned(), collection: collection.to_owned() }
}
