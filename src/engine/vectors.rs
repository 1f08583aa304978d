//! The vectors of one space in one part: owned in the tail, mapped from a file in a segment.

use std::path::PathBuf;
use std::sync::{Arc, OnceLock};

use super::error::EngineError;
use super::mapped::MappedFloats;
use crate::index::IvfIndex;
use crate::schema::{EmbeddingSpace, Object, SpaceId};
use crate::vector::{BlockError, Metric, VectorView};

/// Numbers of a vector block, wherever they live.
#[derive(Debug)]
pub(super) enum Floats {
    /// In memory.
    Owned(Vec<f32>),
    /// In a file.
    Mapped(MappedFloats),
}

impl Floats {
    fn as_slice(&self) -> &[f32] {
        match self {
            Self::Owned(values) => values,
            Self::Mapped(file) => file.as_slice(),
        }
    }
}

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
        self.floats.as_slice().len() / self.dimension
    }

    /// Bytes of the vectors.
    pub(super) fn size_bytes(&self) -> usize {
        size_of_val(self.floats.as_slice())
    }

    /// The vectors, in row order.
    pub fn view(&self) -> Result<VectorView<'_>, BlockError> {
        VectorView::new(self.dimension, self.floats.as_slice())
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

    /// The prepared vector of a row.
    pub fn of_row(&self, row: usize) -> Option<&[f32]> {
        let vector = self.vector_of(row)?;
        self.floats.as_slice().get(vector * self.dimension..(vector + 1) * self.dimension)
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
                Ok(index) => Some(Arc::new(index)),
                Err(error) => {
                    tracing::error!(path = %path.display(), %error, "index not readable; scanning instead");
                    None
                }
            })
            .as_ref()
    }
}

fn check_length(space: &EmbeddingSpace, vector: &[f32]) -> Result<(), BlockError> {
    if vector.len() == space.dimension {
        return Ok(());
    }
    Err(BlockError::Ragged { len: vector.len(), dimension: space.dimension })
}
