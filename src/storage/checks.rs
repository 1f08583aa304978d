//! Looking at everything: whether every block has its checksum, and whether the tables agree with each other.

use std::fs::File;
use std::path::Path;

use super::directory::DataDirectory;
use super::engine::{Batch, KvView, Patience};
use super::error::StorageError;
use super::key::{IdKey, Key, KeyRange, MetaKey, ObjectKey, TokenKey, VectorKey};
use super::migrate::NEWEST_FORMAT;
use super::read::{Snapshot, dimension};
use super::record::{Located, decode_row, decode_vector};
use super::store::{CollectionRecord, Store, head};
use super::table::Table;
use crate::schema::{CollectionId, EmbeddingSpace, Object, ObjectId, SpaceId};

/// Keys of one look-up.
const PAGE: usize = 1_024;

/// Findings that are told one by one; more are only counted.
const TOLD_MAX: usize = 1_000;

/// How much was read.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Scrubbed {
    /// Records of all tables.
    pub records: u64,
    /// Bytes of their keys and values.
    pub bytes: u64,
}

/// Something that does not agree with something else.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Inconsistency {
    /// What is wrong, in a sentence.
    pub what: String,
    /// The object that it is about, where that is known.
    pub object: Option<ObjectId>,
    /// Whether the counts of the collection are all that is wrong, which [`Store::recount`] mends.
    pub is_count: bool,
}

impl Inconsistency {
    fn of(object: &ObjectId, what: impl Into<String>) -> Self {
        Self { what: what.into(), object: Some(object.clone()), is_count: false }
    }

    fn plain(what: impl Into<String>) -> Self {
        Self { what: what.into(), object: None, is_count: false }
    }
}

/// What was found; at most [`TOLD_MAX`] are kept.
#[derive(Default)]
struct Findings {
    told: Vec<Inconsistency>,
    more: u64,
}

impl Findings {
    fn add(&mut self, finding: Inconsistency) {
        if self.told.len() < TOLD_MAX {
            self.told.push(finding);
        } else {
            self.more += 1;
        }
    }

    fn finish(mut self) -> Vec<Inconsistency> {
        if self.more > 0 {
            self.told.push(Inconsistency::plain(format!("{} more of such findings", self.more)));
        }
        self.told
    }
}

impl Store {
    /// Reads every record of every table, so that every block is compared with its checksum. `told` hears of the bytes as
    /// they are read and stops the walk by saying false. What cannot be read is told by table; the walk then goes on with
    /// the next one.
    pub fn scrub(
        &self,
        told: &mut dyn FnMut(u64) -> bool,
    ) -> (Scrubbed, Vec<(&'static str, StorageError)>) {
        let (mut all, mut failures) = (Scrubbed::default(), Vec::new());
        for table in Table::ALL {
            match self.scrub_table(table, &mut all, told) {
                Ok(true) => {}
                Ok(false) => break,
                Err(error) => failures.push((table.name(), error)),
            }
        }
        (all, failures)
    }

    fn scrub_table(
        &self,
        table: Table,
        all: &mut Scrubbed,
        told: &mut dyn FnMut(u64) -> bool,
    ) -> Result<bool, StorageError> {
        /// Bytes between two tellings.
        const TOLD_EVERY: u64 = 1 << 20;
        let view = self.engine.view();
        let mut cursor = view.cursor(KeyRange::table(table))?;
        let mut untold = 0;
        while let Some((key, value)) = cursor.advance()? {
            let bytes = (key.len() + value.len()) as u64;
            all.records += 1;
            all.bytes += bytes;
            untold += bytes;
            if untold >= TOLD_EVERY {
                if !told(untold) {
                    return Ok(false);
                }
                untold = 0;
            }
        }
        Ok(told(untold))
    }

    /// Writes what is there into a folder, as a database of its own, while nobody commits; files are linked where they can
    /// be. `alongside` is done in the same moment. Returns the collections as they are in the checkpoint.
    ///
    /// # Errors
    /// Those of the disk and of `alongside`; the folder may then hold a part.
    pub fn checkpoint<T, E: From<StorageError>>(
        &self,
        folder: &Path,
        alongside: impl FnOnce(&[CollectionRecord]) -> Result<T, E>,
    ) -> Result<(Vec<CollectionRecord>, T), E> {
        let _catalogue = self.lock_catalogue();
        let slots = self.slots();
        let _turns: Vec<_> = slots.iter().map(|slot| slot.turn()).collect();
        let mut records = Vec::with_capacity(slots.len());
        for slot in &slots {
            // A bulk import that is half taken in would be without its staged files.
            self.make_whole(slot, Patience::Short)?;
            let view = self.engine.view();
            records.push(super::store::record(&slot.meta()?, &head(&*view, slot.id)?));
        }
        let made = alongside(&records)?;
        self.engine.checkpoint(folder)?;
        DataDirectory::mark(folder, NEWEST_FORMAT)?;
        File::open(folder)
            .and_then(|opened| opened.sync_all())
            .map_err(|error| StorageError::file("syncing", folder, error))?;
        Ok((records, made))
    }

    /// Counts objects and vectors anew and writes the counts, where they are wrong.
    ///
    /// # Errors
    /// [`StorageError::UnknownCollection`] and those of the disk.
    pub fn recount(&self, collection: CollectionId) -> Result<bool, StorageError> {
        let slot = self.slot(collection)?;
        let _turn = slot.turn();
        self.make_whole(&slot, Patience::Short)?;
        let meta = slot.meta()?;
        let view = self.engine.view();
        let mut found = head(&*view, collection)?;
        let before = found.clone();
        found.object_count = count(&*view, KeyRange::collection(Table::Objects, collection))?;
        found.vector_counts.clear();
        for space in &meta.schema.spaces {
            let counted = count(&*view, space_range(collection, space))?;
            if counted > 0 {
                found.vector_counts.insert(space.id, counted);
            }
        }
        if found == before {
            return Ok(false);
        }
        let mut batch = Batch::default();
        batch.put(&MetaKey::Head(collection), found.encode());
        self.engine.commit(&batch, Patience::Long)?;
        Ok(true)
    }
}

fn space_range(collection: CollectionId, space: &EmbeddingSpace) -> KeyRange {
    let range = KeyRange::vectors(collection, space.id, &(0..u64::MAX));
    let table = if space.holds_vectors() { Table::Vectors } else { Table::Tokens };
    KeyRange { table, ..range }
}

fn count(view: &dyn KvView, range: KeyRange) -> Result<u64, StorageError> {
    let mut cursor = view.cursor(range)?;
    let mut rows = 0;
    while cursor.advance()?.is_some() {
        rows += 1;
    }
    Ok(rows)
}

impl Snapshot<'_> {
    /// Compares ids with rows, rows with vectors and tokens, and all of them with the counts. `told` hears of the objects
    /// as they are looked at.
    ///
    /// # Errors
    /// [`StorageError::Corrupt`] and those of the disk, where a table cannot be walked.
    pub fn check(&self, told: &mut dyn FnMut(u64)) -> Result<Vec<Inconsistency>, StorageError> {
        let mut findings = Findings::default();
        self.check_ids(&mut findings, told)?;
        self.check_rows(&mut findings, told)?;
        for space in &self.record.schema.spaces {
            self.check_space(space, &mut findings)?;
        }
        Ok(findings.finish())
    }

    /// Every id leads to a row of its own, and to something in each space that it says it has.
    fn check_ids(
        &self,
        findings: &mut Findings,
        told: &mut dyn FnMut(u64),
    ) -> Result<(), StorageError> {
        let mut cursor = self.view.cursor(KeyRange::collection(Table::Ids, self.record.id))?;
        let mut page: Vec<(ObjectId, Located)> = Vec::with_capacity(PAGE);
        let mut ids = 0_u64;
        loop {
            let entry = match cursor.advance()? {
                Some((key, value)) => {
                    let id = IdKey::decode(key)?.id;
                    Some((id, Located::decode(self.record.id, value)?))
                }
                None => None,
            };
            let is_end = entry.is_none();
            page.extend(entry);
            if page.len() == PAGE || is_end {
                self.check_page(&page, findings)?;
                ids += page.len() as u64;
                told(page.len() as u64);
                page.clear();
            }
            if is_end {
                break;
            }
        }
        Self::compare("ids", ids, self.record.object_count, findings);
        Ok(())
    }

    fn check_page(
        &self,
        page: &[(ObjectId, Located)],
        findings: &mut Findings,
    ) -> Result<(), StorageError> {
        let keys: Vec<_> = page.iter().map(|(_, located)| located.key.encode()).collect();
        let columns = self.record.schema.columns.len();
        for ((id, located), row) in page.iter().zip(self.view.get_many(Table::Objects, &keys)?) {
            match row.map(|row| decode_row(&row, columns)) {
                None => findings.add(Inconsistency::of(id, "has an id and no row")),
                Some(Err(error)) => findings.add(Inconsistency::of(id, error.to_string())),
                Some(Ok(object)) if object.id != *id => {
                    let what = format!("its id leads to the row of `{}`", object.id);
                    findings.add(Inconsistency::of(id, what));
                }
                Some(Ok(object)) if object.position.cell29() != located.key.cell => {
                    findings.add(Inconsistency::of(id, "is not kept where it is on the sky"));
                }
                Some(Ok(_)) => {}
            }
        }
        let schema = &self.record.schema;
        for space in &schema.spaces {
            let having: Vec<&(ObjectId, Located)> = page
                .iter()
                .filter(|(_, located)| located.spaces.binary_search(&space.id).is_ok())
                .collect();
            let keys: Vec<_> =
                having.iter().map(|(_, located)| key_in(space, &located.key)).collect();
            let table = if space.holds_vectors() { Table::Vectors } else { Table::Tokens };
            for ((id, _), found) in having.into_iter().zip(self.view.get_many(table, &keys)?) {
                if found.is_none() {
                    let what =
                        format!("lacks its {} in space `{}`", space.form.plural(), space.name);
                    findings.add(Inconsistency::of(id, what));
                }
            }
        }
        Ok(())
    }

    /// Every row has its id.
    fn check_rows(
        &self,
        findings: &mut Findings,
        told: &mut dyn FnMut(u64),
    ) -> Result<(), StorageError> {
        let mut page: Vec<(ObjectKey, Object)> = Vec::with_capacity(PAGE);
        let mut rows = 0_u64;
        let mut scan = self.scan(0..u64::MAX, &[])?;
        loop {
            let next = scan.next().transpose()?;
            let is_end = next.is_none();
            page.extend(next);
            if page.len() == PAGE || is_end {
                let ids: Vec<ObjectId> = page.iter().map(|(_, object)| object.id.clone()).collect();
                for ((key, object), located) in page.iter().zip(self.located(&ids)?) {
                    if located.is_none_or(|located| located.key != *key) {
                        findings.add(Inconsistency::of(
                            &object.id,
                            "has a row that its id does not lead to",
                        ));
                    }
                }
                rows += page.len() as u64;
                told(page.len() as u64);
                page.clear();
            }
            if is_end {
                break;
            }
        }
        Self::compare("objects", rows, self.record.object_count, findings);
        Ok(())
    }

    /// Every vector is one of its space, and belongs to an object.
    fn check_space(
        &self,
        space: &EmbeddingSpace,
        findings: &mut Findings,
    ) -> Result<(), StorageError> {
        let mut cursor = self.view.cursor(space_range(self.record.id, space))?;
        let mut page: Vec<ObjectKey> = Vec::with_capacity(PAGE);
        let mut found = 0_u64;
        loop {
            let key = match cursor.advance()? {
                Some((key, value)) => {
                    let key = VectorKey::decode(key)?.object();
                    if let Err(error) = self.check_vector(space, value) {
                        let what = format!("in space `{}`: {error}", space.name);
                        findings.add(Inconsistency {
                            object: self.id_at(key)?,
                            ..Inconsistency::plain(what)
                        });
                    }
                    Some(key)
                }
                None => None,
            };
            let is_end = key.is_none();
            page.extend(key);
            if page.len() == PAGE || is_end {
                let keys: Vec<_> = page.iter().map(Key::encode).collect();
                for (key, row) in page.iter().zip(self.view.get_many(Table::Objects, &keys)?) {
                    if row.is_none() {
                        let (cell, form) = (key.cell.0, space.form.plural());
                        findings.add(Inconsistency::plain(format!(
                            "{form} of space `{}` in cell {cell} belong to no object",
                            space.name
                        )));
                    }
                }
                found += page.len() as u64;
                page.clear();
            }
            if is_end {
                break;
            }
        }
        let counts = self.record.vector_counts.iter();
        let counted = counts.clone().find(|(id, _)| *id == space.id).map_or(0, |(_, count)| *count);
        Self::compare(
            &format!("{} of space `{}`", space.form.plural(), space.name),
            found,
            counted,
            findings,
        );
        Ok(())
    }

    fn check_vector(&self, space: &EmbeddingSpace, value: &[u8]) -> Result<(), StorageError> {
        if !space.holds_vectors() {
            return super::record::decode_tokens(space, value).map(drop);
        }
        let vector = decode_vector(value, dimension(&self.record.schema, space.id)?)?;
        Ok(self.record.schema.check_vector(space.id, &vector)?)
    }

    fn id_at(&self, key: ObjectKey) -> Result<Option<ObjectId>, StorageError> {
        let found = self.get_keys(&[key], false)?.into_iter().flatten().next();
        Ok(found.map(|(_, object)| object.id))
    }

    fn compare(what: &str, found: u64, counted: u64, findings: &mut Findings) {
        if found != counted {
            let what = format!("{found} {what} are there, {counted} are counted");
            findings.add(Inconsistency { is_count: true, ..Inconsistency::plain(what) });
        }
    }
}

fn key_in(space: &EmbeddingSpace, object: &ObjectKey) -> Vec<u8> {
    let id: SpaceId = space.id;
    if space.holds_vectors() {
        VectorKey::new(object, id).encode()
    } else {
        TokenKey::new(object, id).encode()
    }
}
