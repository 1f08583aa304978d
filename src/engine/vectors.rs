//! The vectors of one space in one part: owned in the tail, mapped from a file in a segment.

use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, AtomicU8, Ordering};
use std::sync::{Arc, OnceLock};

use super::error::EngineError;
use super::late::LateFloats;
use super::mapped::MappedFloats;
use super::residency::{Claim, Residency};
use crate::idle;
use crate::index::IvfIndex;
use crate::schema::{EmbeddingSpace, Object, SpaceId};
use crate::vector::{BlockError, Metric, VectorSource, VectorView, prefetch_all};

/// Numbers of a vector block, wherever they live.
#[derive(Debug)]
pub(super) enum Floats {
    /// In memory.
    Owned(Vec<f32>),
    /// In memory from their first use on.
    Late(LateFloats),
    /// In a file.
    Filed(FiledFloats),
}

/// Numbers in a file: lent from its mapping while they fit into the budget, read past it otherwise.
#[derive(Debug)]
pub(super) struct FiledFloats {
    file: MappedFloats,
    residency: Residency,
    /// Made once there is room: what an older segment holds is given back when its last query has ended.
    claim: OnceLock<Claim>,
    /// Set when the disk failed.
    has_failed: AtomicBool,
}

impl FiledFloats {
    pub(super) fn new(file: MappedFloats, residency: Residency) -> Self {
        Self { file, residency, claim: OnceLock::new(), has_failed: AtomicBool::new(false) }
    }

    fn is_hot(&self) -> bool {
        if self.claim.get().is_some() {
            return true;
        }
        let claim = self.residency.claim(self.file.bytes());
        // Of two that were made at once, the second is dropped and so given back.
        claim.is_some_and(|claim| self.claim.set(claim).is_ok()) || self.claim.get().is_some()
    }

    fn read(&self, start: usize, count: usize, buffer: &mut Vec<f32>) -> bool {
        if start + count > self.file.as_slice().len() {
            return false;
        }
        let outcome = self.file.read(start, count, buffer);
        if let Err(error) = &outcome
            && !self.has_failed.swap(true, Ordering::Relaxed)
        {
            tracing::error!(%error, "vectors not readable");
        }
        outcome.is_ok()
    }
}

impl Floats {
    fn len(&self) -> usize {
        match self {
            Self::Owned(values) => values.len(),
            Self::Late(late) => late.count(),
            Self::Filed(filed) => filed.file.as_slice().len(),
        }
    }

    /// All of them, where they are in memory.
    fn in_memory(&self) -> Option<&[f32]> {
        match self {
            Self::Owned(values) => Some(values),
            Self::Late(late) => Some(late.values()),
            Self::Filed(filed) => filed.is_hot().then(|| filed.file.as_slice()),
        }
    }

    fn fetch<'a>(
        &'a self,
        start: usize,
        count: usize,
        buffer: &'a mut Vec<f32>,
    ) -> Option<&'a [f32]> {
        match (self.in_memory(), self) {
            (Some(values), _) => values.get(start..start + count),
            (None, Self::Filed(filed)) => filed.read(start, count, buffer).then_some(buffer),
            (None, Self::Owned(_) | Self::Late(_)) => None,
        }
    }
}

/// The index file was opened, not read to its end.
const UNREAD: u8 = 0;

/// It was read, and has its checksums.
const INTACT: u8 = 1;

/// It does not have them.
const DAMAGED: u8 = 2;

/// Prepared vectors (unit length under cosine) of the rows that have one.
#[derive(Debug)]
pub struct PartVectors {
    space: SpaceId,
    dimension: usize,
    metric: Metric,
    floats: Floats,
    /// Row of each vector, ascending; `None` when every row has one.
    rows: Option<Vec<u32>>,
    index_path: Option<PathBuf>,
    index: OnceLock<Option<Arc<IvfIndex>>>,
    /// What reading the whole index file has told, after it was opened.
    index_health: Arc<AtomicU8>,
}

impl PartVectors {
    /// Takes vectors and the rows they belong to.
    pub(super) fn new(
        space: &EmbeddingSpace,
        floats: Floats,
        rows: Option<Vec<u32>>,
        index_path: Option<PathBuf>,
    ) -> Self {
        Self {
            space: space.id,
            dimension: space.dimension,
            metric: space.metric,
            floats,
            rows,
            index_path,
            index: OnceLock::new(),
            index_health: Arc::new(AtomicU8::new(UNREAD)),
        }
    }

    /// Collects the prepared vectors of one space from objects in row order.
    pub(super) fn gather<'a>(
        space: &EmbeddingSpace,
        objects: impl Iterator<Item = &'a Object>,
    ) -> Result<Self, EngineError> {
        let mut values = Vec::new();
        let mut rows = Vec::new();
        let mut row_count = 0u32;
        for object in objects {
            if let Some((_, given)) = object.vectors.iter().find(|(id, _)| *id == space.id) {
                check_length(space, given)?;
                if space.metric.prepare_into(given, &mut values) {
                    rows.push(row_count);
                }
            }
            row_count += 1;
        }
        let complete = rows.len() == row_count as usize;
        Ok(Self::new(space, Floats::Owned(values), (!complete).then_some(rows), None))
    }

    /// Collects already prepared vectors, one entry for each row.
    pub(super) fn collect<'a>(
        space: &EmbeddingSpace,
        vectors: impl Iterator<Item = Option<&'a [f32]>>,
    ) -> Result<Self, EngineError> {
        let mut values = Vec::new();
        let mut rows = Vec::new();
        let mut row_count = 0u32;
        for vector in vectors {
            if let Some(vector) = vector {
                check_length(space, vector)?;
                values.extend_from_slice(vector);
                rows.push(row_count);
            }
            row_count += 1;
        }
        let complete = rows.len() == row_count as usize;
        Ok(Self::new(space, Floats::Owned(values), (!complete).then_some(rows), None))
    }

    pub(super) fn fits(&self, row_count: usize) -> bool {
        match &self.rows {
            None => self.count() == row_count,
            Some(rows) => {
                rows.len() == self.count()
                    && rows.is_sorted_by(|left, right| left < right)
                    && rows.last().is_none_or(|&last| (last as usize) < row_count)
            }
        }
    }

    /// The space.
    pub fn space(&self) -> SpaceId {
        self.space
    }

    /// How vectors of the space are compared.
    pub fn metric(&self) -> Metric {
        self.metric
    }

    /// Components of each vector.
    pub fn dimension(&self) -> usize {
        self.dimension
    }

    /// Number of vectors.
    pub fn count(&self) -> usize {
        self.floats.len() / self.dimension
    }

    /// Bytes of the vectors.
    pub(super) fn size_bytes(&self) -> usize {
        self.floats.len() * size_of::<f32>()
    }

    /// Whether every row of the part has a vector, so that row numbers are vector numbers.
    pub fn is_complete(&self) -> bool {
        self.rows.is_none()
    }

    /// Row of a vector.
    pub fn row_of(&self, vector: usize) -> usize {
        match &self.rows {
            None => vector,
            Some(rows) => rows.get(vector).map_or(usize::MAX, |&row| row as usize),
        }
    }

    /// Number of the vector of a row.
    pub fn vector_of(&self, row: usize) -> Option<usize> {
        match &self.rows {
            None => Some(row),
            Some(rows) => rows.binary_search(&u32::try_from(row).ok()?).ok(),
        }
    }

    /// Numbers of the vectors of a run of rows, which are a run as well.
    pub fn vectors_in(&self, rows: std::ops::Range<usize>) -> std::ops::Range<usize> {
        match &self.rows {
            None => rows,
            Some(with_vector) => {
                let before =
                    |row: usize| with_vector.partition_point(|&other| (other as usize) < row);
                before(rows.start)..before(rows.end)
            }
        }
    }

    /// The prepared vector of a row; `buffer` is for vectors that are not in memory.
    pub fn of_row<'a>(&'a self, row: usize, buffer: &'a mut Vec<f32>) -> Option<&'a [f32]> {
        self.fetch(self.vector_of(row)?, buffer)
    }

    /// All vectors, one after the other, where they are in memory.
    pub fn in_order(&self) -> Option<VectorView<'_>> {
        VectorView::new(self.dimension, self.floats.in_memory()?).ok()
    }

    /// Whether nothing is left until somebody asks for a vector.
    pub(super) fn is_ready(&self) -> bool {
        !matches!(&self.floats, Floats::Late(late) if !late.is_made())
    }

    /// Makes ready what is left until somebody asks for a vector.
    pub(super) fn make_ready(&self) {
        if let Floats::Late(late) = &self.floats {
            late.values();
        }
    }

    /// Whether the vectors are in memory, so that going to one costs no call of the system.
    pub fn is_in_memory(&self) -> bool {
        match &self.floats {
            Floats::Owned(_) | Floats::Late(_) => true,
            Floats::Filed(filed) => filed.is_hot(),
        }
    }

    /// Whether the disk failed to give a vector: answers since may lack objects.
    pub fn has_failed(&self) -> bool {
        match &self.floats {
            Floats::Owned(_) | Floats::Late(_) => false,
            Floats::Filed(filed) => filed.has_failed.load(Ordering::Relaxed),
        }
    }

    /// The prepared vector of a row of a tail, which is in memory.
    pub(super) fn in_memory(&self, row: usize) -> Option<&[f32]> {
        let start = self.vector_of(row)? * self.dimension;
        match &self.floats {
            Floats::Owned(values) => values.get(start..start + self.dimension),
            Floats::Late(late) => late.values().get(start..start + self.dimension),
            Floats::Filed(filed) => filed.file.as_slice().get(start..start + self.dimension),
        }
    }

    /// Rows that have a vector, ascending, beside their vectors' numbers.
    pub fn rows(&self) -> impl Iterator<Item = (usize, usize)> + '_ {
        (0..self.count()).map(|vector| (self.row_of(vector), vector))
    }

    /// The index over these vectors, read on first use; `None` when there is none.
    ///
    /// A damaged index file is reported and passed over: the exact scan needs none.
    pub fn index(&self) -> Option<&Arc<IvfIndex>> {
        let path = self.index_path.as_ref()?;
        self.index
            .get_or_init(|| match IvfIndex::load(path, self.dimension, self.metric) {
                Ok(index) => {
                    self.verify_beside(path);
                    Some(Arc::new(index))
                }
                Err(error) => {
                    tracing::error!(path = %path.display(), %error, "index not readable; scanning instead");
                    None
                }
            })
            .as_ref()
            .filter(|_| self.index_health.load(Ordering::Relaxed) != DAMAGED)
    }

    /// Whether the whole index file was found to be what was written: from then on its codes may decide what an exact answer
    /// leaves out.
    pub fn is_index_intact(&self) -> bool {
        self.index_health.load(Ordering::Relaxed) == INTACT
    }

    /// Reads the index file against its checksums on a thread that gives way to everything else; the index is not used any
    /// more once it was found damaged.
    fn verify_beside(&self, path: &Path) {
        let (path, health) = (path.to_owned(), Arc::clone(&self.index_health));
        let verify = move || {
            idle::give_way();
            match IvfIndex::verify(&path) {
                Ok(()) => health.store(INTACT, Ordering::Relaxed),
                // A file that has gone belongs to a segment that was replaced meanwhile.
                Err(error) if path.exists() => {
                    tracing::error!(path = %path.display(), %error, "index damaged; scanning instead");
                    health.store(DAMAGED, Ordering::Relaxed);
                }
                Err(_) => {}
            }
        };
        let started = std::thread::Builder::new().name("index-verify".to_owned()).spawn(verify);
        if let Err(error) = started {
            tracing::warn!(%error, "no thread to verify an index; it is used unverified");
        }
    }
}

impl VectorSource for PartVectors {
    fn dimension(&self) -> usize {
        self.dimension
    }

    fn count(&self) -> usize {
        Self::count(self)
    }

    fn fetch<'a>(&'a self, vector: usize, buffer: &'a mut Vec<f32>) -> Option<&'a [f32]> {
        self.floats.fetch(vector.checked_mul(self.dimension)?, self.dimension, buffer)
    }

    fn prefetch(&self, vector: usize) {
        let Some(start) = vector.checked_mul(self.dimension) else { return };
        let Some(values) = self.floats.in_memory() else { return };
        prefetch_all(values.get(start..start + self.dimension).unwrap_or_default());
    }
}

fn check_length(space: &EmbeddingSpace, vector: &[f32]) -> Result<(), BlockError> {
    if vector.len() == space.dimension {
        return Ok(());
    }
    Err(BlockError::Ragged { len: vector.len(), dimension: space.dimension })
}
