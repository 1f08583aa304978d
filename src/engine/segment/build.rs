//! Making a segment from a snapshot of the store.

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io::Write;
use std::panic::resume_unwind;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use arrow::array::RecordBatch;
use arrow::datatypes::{DataType, Field, Schema, SchemaRef};
use arrow::ipc::writer::FileWriter;

use super::directions::DirectionsWriter;
use super::manifest::{self, FORMAT, IndexManifest, Manifest, SpaceManifest};
use super::{Progress, akin, rows_path, space_path, sync_folder, unfinished, verify};
use crate::engine::attributes;
use crate::engine::columns::{self, ORDINAL};
use crate::engine::error::EngineError;
use crate::engine::mapped::{HEADER_BYTES, MappedFloats};
use crate::engine::part::BATCH_ROWS;
use crate::index::{IndexError, IvfIndex, IvfSpec};
use crate::pieces::Pieces;
use crate::schema::{CollectionSchema, EmbeddingSpace, Object};
use crate::storage::{ObjectKey, Snapshot};
use crate::vector::{VectorBlock, VectorView};

/// What to build, where.
pub(in crate::engine) struct BuildPlan<'a> {
    /// Folder of the collection's segments.
    pub(in crate::engine) collection_folder: &'a Path,
    /// Schema at the snapshot.
    pub(in crate::engine) schema: &'a CollectionSchema,
    /// Resident columns.
    pub(in crate::engine) arrow_schema: &'a SchemaRef,
    /// What building may take.
    pub(in crate::engine) limits: BuildLimits,
}

/// What building may take of the machine.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::engine) struct BuildLimits {
    /// Threads.
    pub(in crate::engine) threads: usize,
    /// Bytes of memory for an index, beside the vectors.
    pub(in crate::engine) memory_bytes_max: u64,
}

/// Writes a complete segment of everything in the snapshot and returns its folder; leaves nothing behind on failure.
///
/// A build that a crash interrupted after its rows were complete is gone on with: its segment then covers an earlier version,
/// and the writes since are the tail, as they are beside any segment.
pub(in crate::engine) fn build(
    plan: &BuildPlan<'_>,
    snapshot: Snapshot<'_>,
    progress: &mut Progress<'_>,
) -> Result<(PathBuf, Manifest), EngineError> {
    let record = snapshot.record();
    let left = unfinished::find(plan.collection_folder, plan.schema, record.version);
    let unfinished = left.as_ref().map_or_else(
        || unfinished::folder(plan.collection_folder, record.version),
        |(folder, _)| folder.clone(),
    );
    let built = match left {
        Some((_, manifest)) => Ok(manifest),
        None => build_rows(&unfinished, plan, &snapshot, progress),
    };
    // Indices are made of the files: the store need not keep what is overwritten meanwhile.
    drop(snapshot);
    let finished = built.and_then(|manifest| finish(&unfinished, plan, manifest, progress));
    finished.inspect_err(|_| {
        if let Err(error) = fs::remove_dir_all(&unfinished) {
            tracing::warn!(path = %unfinished.display(), %error, "unfinished segment not removed");
        }
    })
}

/// Everything but the indices of the spaces.
fn build_rows(
    unfinished: &Path,
    plan: &BuildPlan<'_>,
    snapshot: &Snapshot<'_>,
    progress: &mut Progress<'_>,
) -> Result<Manifest, EngineError> {
    let record = snapshot.record();
    if unfinished.exists() {
        fs::remove_dir_all(unfinished).map_err(|source| failed("remove", unfinished, source))?;
    }
    fs::create_dir_all(unfinished).map_err(|source| failed("create", unfinished, source))?;
    let mut spaces: Vec<SpaceWriter> = Vec::new();
    for space in plan.schema.vector_spaces() {
        spaces.push(SpaceWriter::create(unfinished, space)?);
    }
    let rows = write_rows(plan, snapshot, unfinished, &mut spaces, progress)?;
    build_attributes(plan, unfinished, rows, progress)?;
    let mut manifests = Vec::new();
    for writer in spaces {
        if let Some(written) = writer.finish(rows)? {
            manifests.push(written);
        }
    }
    let manifest = Manifest {
        format: FORMAT,
        collection: record.id.0,
        version: record.version,
        rows,
        size_bytes: folder_size_bytes(unfinished)?,
        spaces: manifests,
        files: BTreeMap::new(),
    };
    unfinished::note_rows(unfinished, plan.schema, &manifest)?;
    Ok(manifest)
}

/// Adds the indices that are not there yet, and puts the folder in its place.
fn finish(
    unfinished: &Path,
    plan: &BuildPlan<'_>,
    mut manifest: Manifest,
    progress: &mut Progress<'_>,
) -> Result<(PathBuf, Manifest), EngineError> {
    let counts: Vec<(u32, u64)> =
        manifest.spaces.iter().map(|written| (written.space, written.vectors)).collect();
    for written in &mut manifest.spaces {
        let space = plan.schema.spaces.iter().find(|space| space.id.0 == written.space);
        if let Some(space) = space {
            let like = akin::vectors(unfinished, plan.schema, space, &counts)?;
            match build_index(unfinished, space, written, plan.limits, &like, progress)? {
                Ok(index) => written.index = Some(index),
                Err(reason) => {
                    tracing::warn!(
                        space = space.name,
                        reason,
                        "space not indexed; it is searched exactly"
                    );
                    written.unindexed = Some(reason);
                }
            }
        }
    }
    unfinished::forget_rows(unfinished)?;
    manifest.size_bytes = folder_size_bytes(unfinished)?;
    progress("checksums", 0, 1);
    manifest.files = verify::hash_files(unfinished)?;
    manifest::write(unfinished, &manifest)?;
    let finished = plan.collection_folder.join(format!("{:020}", manifest.version));
    if finished.exists() {
        fs::remove_dir_all(&finished).map_err(|source| failed("remove", &finished, source))?;
    }
    fs::rename(unfinished, &finished).map_err(|source| failed("rename", unfinished, source))?;
    sync_folder(plan.collection_folder)?;
    Ok((finished, manifest))
}

/// Writes the columns and, on a thread beside, the vectors; both walk the store in the order of the keys.
fn write_rows(
    plan: &BuildPlan<'_>,
    snapshot: &Snapshot<'_>,
    folder: &Path,
    spaces: &mut [SpaceWriter],
    progress: &mut Progress<'_>,
) -> Result<u64, EngineError> {
    let keys = std::thread::scope(|scope| {
        let filling = scope.spawn(|| spaces.iter_mut().try_for_each(|space| space.fill(snapshot)));
        let keys = write_columns(plan, snapshot, folder, progress);
        filling.join().unwrap_or_else(|panic| resume_unwind(panic))?;
        keys
    })?;
    for space in spaces {
        space.find_rows(&keys)?;
    }
    Ok(keys.len() as u64)
}

/// Writes everything but the vectors and returns the keys in the order of the rows.
fn write_columns(
    plan: &BuildPlan<'_>,
    snapshot: &Snapshot<'_>,
    folder: &Path,
    progress: &mut Progress<'_>,
) -> Result<Vec<ObjectKey>, EngineError> {
    let total = snapshot.record().object_count;
    let path = rows_path(folder);
    let mut fields: Vec<Arc<Field>> = plan.arrow_schema.fields().iter().cloned().collect();
    fields.push(Arc::new(Field::new(ORDINAL, DataType::UInt32, false)));
    let file_schema = Arc::new(Schema::new(fields));
    let file = File::create(&path).map_err(|source| failed("create", &path, source))?;
    let mut writer = FileWriter::try_new(Pieces::looked_into(file), &file_schema)?;
    let mut directions = DirectionsWriter::create(folder)?;
    let mut block: Vec<(ObjectKey, Object)> = Vec::new();
    let mut keys = Vec::new();
    for row in snapshot.scan(0..u64::MAX, &[])? {
        let (key, object) = row?;
        if u32::try_from(keys.len()).is_err() {
            return Err(EngineError::DamagedSegment {
                path: path.display().to_string(),
                what: "more than 2^32 rows in one segment".to_owned(),
            });
        }
        directions.append(object.position)?;
        keys.push(key);
        block.push((key, object));
        if block.len() == BATCH_ROWS {
            write_block(plan, &file_schema, &mut writer, &block)?;
            block.clear();
            progress("sorting rows", keys.len() as u64, total);
        }
    }
    if !block.is_empty() {
        write_block(plan, &file_schema, &mut writer, &block)?;
    }
    directions.finish()?;
    progress("sorting rows", keys.len() as u64, total.max(keys.len() as u64));
    writer.into_inner()?.finish().map_err(|source| failed("write", &path, source))?;
    Ok(keys)
}

fn write_block(
    plan: &BuildPlan<'_>,
    file_schema: &SchemaRef,
    writer: &mut FileWriter<Pieces>,
    block: &[(ObjectKey, Object)],
) -> Result<(), EngineError> {
    let (batch, ordinals) = columns::to_batch(plan.schema, plan.arrow_schema, block)?;
    let mut arrays = batch.columns().to_vec();
    arrays.push(ordinals);
    writer.write(&RecordBatch::try_new(Arc::clone(file_schema), arrays)?)?;
    Ok(())
}

/// Streams the prepared vectors of one space to their files.
struct SpaceWriter {
    space: EmbeddingSpace,
    folder: PathBuf,
    file: Pieces,
    keys: Vec<ObjectKey>,
    rows: Vec<u32>,
}

impl SpaceWriter {
    fn create(folder: &Path, space: &EmbeddingSpace) -> Result<Self, EngineError> {
        let path = space_path(folder, space.id, "vectors");
        let file = File::create(&path).map_err(|source| failed("create", &path, source))?;
        let mut file = Pieces::scanned(file);
        let mut header = [0u8; HEADER_BYTES];
        header[..8].copy_from_slice(b"SIDVEC01");
        header[8..12].copy_from_slice(&(space.dimension as u32).to_le_bytes());
        file.write_all(&header).map_err(|source| failed("write", &path, source))?;
        let (space, folder) = (space.clone(), folder.to_owned());
        Ok(Self { space, folder, file, keys: Vec::new(), rows: Vec::new() })
    }

    /// Writes every vector of the space that the snapshot has, and notes the keys.
    fn fill(&mut self, snapshot: &Snapshot<'_>) -> Result<(), EngineError> {
        let path = space_path(&self.folder, self.space.id, "vectors");
        let Self { space, file, keys, .. } = self;
        let (mut prepared, mut bytes) = (Vec::new(), Vec::new());
        snapshot.visit_vectors(space.id, &mut |key, given| {
            prepared.clear();
            if !space.metric.prepare_into(given, &mut prepared) {
                return Ok(());
            }
            bytes.resize(size_of_val(prepared.as_slice()), 0);
            for (place, value) in bytes.as_chunks_mut::<4>().0.iter_mut().zip(&prepared) {
                *place = value.to_le_bytes();
            }
            keys.push(key);
            file.write_all(&bytes).map_err(|source| failed("write", &path, source))
        })
    }

    /// Finds the row of each vector among the keys of all rows.
    fn find_rows(&mut self, rows: &[ObjectKey]) -> Result<(), EngineError> {
        let mut row = 0;
        for key in std::mem::take(&mut self.keys) {
            row += rows[row..].iter().take_while(|other| **other < key).count();
            if rows.get(row) != Some(&key) {
                let path = space_path(&self.folder, self.space.id, "vectors");
                return Err(EngineError::DamagedSegment {
                    path: path.display().to_string(),
                    what: "a vector belongs to no object".to_owned(),
                });
            }
            self.rows.push(row as u32);
        }
        Ok(())
    }

    /// Closes the files; `None` (and no files) when the space has no vector.
    fn finish(self, row_count: u64) -> Result<Option<SpaceManifest>, EngineError> {
        let path = space_path(&self.folder, self.space.id, "vectors");
        self.file.finish().map_err(|source| failed("write", &path, source))?;
        if self.rows.is_empty() {
            fs::remove_file(&path).map_err(|source| failed("remove", &path, source))?;
            return Ok(None);
        }
        let complete = self.rows.len() as u64 == row_count;
        if !complete {
            let rows_path = space_path(&self.folder, self.space.id, "rows");
            let bytes: Vec<u8> = self.rows.iter().flat_map(|row| row.to_le_bytes()).collect();
            let mut rows_file =
                File::create(&rows_path).map_err(|source| failed("create", &rows_path, source))?;
            rows_file
                .write_all(&bytes)
                .and_then(|()| rows_file.sync_all())
                .map_err(|source| failed("write", &rows_path, source))?;
        }
        Ok(Some(SpaceManifest {
            space: self.space.id.0,
            dimension: self.space.dimension,
            vectors: self.rows.len() as u64,
            complete,
            index: None,
            unindexed: None,
        }))
    }
}

fn build_attributes(
    plan: &BuildPlan<'_>,
    folder: &Path,
    rows: u64,
    progress: &mut Progress<'_>,
) -> Result<(), EngineError> {
    let BuildPlan { arrow_schema, limits, .. } = *plan;
    let threads = limits.threads;
    let rows_path = &rows_path(folder);
    let attributes = attributes::BuildPlan { folder, rows_path, rows, arrow_schema, threads };
    attributes::build(&attributes, progress)
}

fn build_index(
    folder: &Path,
    space: &EmbeddingSpace,
    written: &SpaceManifest,
    limits: BuildLimits,
    like: &VectorBlock,
    progress: &mut Progress<'_>,
) -> Result<Result<IndexManifest, String>, EngineError> {
    let vectors_path = space_path(folder, space.id, "vectors");
    let count = written.vectors as usize * space.dimension;
    let floats = MappedFloats::open(&vectors_path, count)?;
    let view = VectorView::new(space.dimension, floats.as_slice())?;
    let path = space_path(folder, space.id, "ivf");
    if let Ok(index) = IvfIndex::load(&path, space.dimension, space.metric)
        && index.stats().rows as u64 == written.vectors
        && IvfIndex::verify(&path).is_ok()
    {
        // Made before a crash.
        return Ok(Ok(described(&index)));
    }
    let BuildLimits { threads, memory_bytes_max } = limits;
    let spec = IvfSpec { threads, memory_bytes_max, ..IvfSpec::default() };
    let mut staged = |stage: &str, done: u64, total: u64| {
        progress(&format!("{}: {stage}", space.name), done, total);
    };
    let index = match IvfIndex::build(&spec, space.metric, view, Some(like.view()), &mut staged) {
        Ok(index) => index,
        // Too few vectors to train on, of lengths that single precision cannot square, or too many for the memory that may
        // be taken: the exact scan serves them.
        Err(
            error @ (IndexError::TooFew { .. }
            | IndexError::TooLong { .. }
            | IndexError::BudgetTooSmall { .. }
            | IndexError::OutOfMemory { .. }),
        ) => return Ok(Err(error.to_string())),
        Err(error) => return Err(error.into()),
    };
    index.save(&path)?;
    Ok(Ok(described(&index)))
}

fn described(index: &IvfIndex) -> IndexManifest {
    let stats = index.stats();
    IndexManifest {
        kind: format!("{} axes in {} bytes", stats.axes, stats.code_bytes),
        lists: stats.lists as u64,
        default_probes: stats.default_probes as u64,
        measured_recall: stats.measured_recall.mean,
    }
}

fn folder_size_bytes(folder: &Path) -> Result<u64, EngineError> {
    let entries = fs::read_dir(folder).map_err(|source| failed("list", folder, source))?;
    Ok(entries
        .flatten()
        .filter_map(|entry| entry.metadata().ok())
        .map(|metadata| metadata.len())
        .sum())
}

fn failed(action: &'static str, path: &Path, source: std::io::Error) -> EngineError {
    EngineError::SegmentFile { action, path: path.display().to_string(), source }
}
