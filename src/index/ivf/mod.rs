//! Inverted lists: rows sorted by their nearest centroid, kept as codes, re-ranked from the full-precision vectors.
//!
//! How many lists a search probes is not guessed. When the index is built, the true neighbours of sampled rows are found
//! by an exact scan, and two things are learned from where they lie:
//! - a [`curve`]: how many of the nearest lists hold the nearest 10, 32, 100, ... rows. A search for `k` rows of which a
//!   share `s` is allowed needs the lists that hold the nearest `k / s`; `s` is measured in the lists already probed, near
//!   the query, since a predicate may thin out one neighbourhood and not another;
//! - a [`reach`]: how near to the query a row may lie whose list's centroid is so far away. Lists that may hold a row
//!   nearer than the hits found are probed next. That adapts to queries unlike the rows (of another modality, say) and to
//!   predicates that exclude everything near, where the curve alone would stop too early.
//!
//! A search whose allowed rows are so few that comparing them all reads less does just that, and is exact.

mod build;
mod curve;
mod file;
mod reach;
mod search;
#[cfg(test)]
mod tests;

use std::path::Path;

use super::IndexError;
use super::faiss::{Comparison, RawIvf, Storage};
use super::recall::Recall;
use crate::vector::{Distance, Metric, RowBitmap, VectorView};
use curve::ProbeCurve;
use reach::Reach;

/// Fewest rows that are indexed: below, an exact scan reads less than an index would.
pub const ROWS_MIN: usize = 1000;

/// Most lists of an index.
pub const LISTS_MAX: usize = 65_536;

/// Fewest training vectors for each list: with fewer, k-means fits noise.
pub const POINTS_PER_LIST_MIN: usize = 39;

/// Neighbours asked for when recall is measured.
const MEASURED_K: usize = 10;

/// Recall that the lower end of the 95 % interval has to reach: above the 0.99 that is promised, because queries come that
/// are not rows of the collection, and because codes lose a little more.
const RECALL_TARGET: f64 = 0.995;

/// Fewest rows that are compared again at full precision.
const CANDIDATES_MIN: usize = 64;

/// How rows are kept in the lists.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Codes {
    /// At full precision, four bytes a component.
    Flat,
    /// One byte a component.
    Sq8,
}

impl std::fmt::Display for Codes {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.write_str(match self {
            Self::Flat => "flat",
            Self::Sq8 => "sq8",
        })
    }
}

/// How to build an index.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct IvfSpec {
    /// Number of lists; about `2 sqrt(rows)` where absent.
    pub lists: Option<usize>,
    /// How rows are kept in the lists.
    pub codes: Codes,
    /// Most vectors that the centroids are trained on.
    pub train_sample_max: usize,
    /// Decides every random choice.
    pub seed: u64,
    /// Threads that building may take.
    pub threads: usize,
}

impl Default for IvfSpec {
    fn default() -> Self {
        Self { lists: None, codes: Codes::Sq8, train_sample_max: 1 << 20, seed: 0, threads: 1 }
    }
}

/// What to look for.
#[derive(Debug, Clone, Copy)]
pub struct IvfSearch<'a> {
    /// Most hits.
    pub k: usize,
    /// Lists to probe; chosen by the measured curve where absent. More are probed while hits are missing.
    pub probes: Option<usize>,
    /// Rows that may be hits; all where absent.
    pub allowed: Option<&'a RowBitmap>,
    /// Greatest distance of a hit, itself included. Leaves out hits among the `k` nearest; never makes the search wider.
    pub bound: Option<Distance>,
}

impl IvfSearch<'_> {
    /// The `k` nearest of all rows.
    pub fn nearest(k: usize) -> Self {
        Self { k, probes: None, allowed: None, bound: None }
    }
}

/// What a search found and what it cost.
#[derive(Debug, Clone, PartialEq)]
pub struct IvfAnswer<K = u32> {
    /// Full-precision distance and key of each hit, nearest first, equal distances in the order of the keys.
    pub hits: Vec<(Distance, K)>,
    /// Rows compared, by their codes or at full precision.
    pub rows_scanned: u64,
    /// Lists visited; 0 when the allowed rows were few enough to compare them all at full precision.
    pub lists_probed: u64,
    /// Bytes of centroids, codes, row numbers and vectors read.
    pub bytes_read: u64,
    /// Whether every allowed row was compared at full precision, so that the answer is the exact one.
    pub exact: bool,
}

/// What an index is made of.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct IvfStats {
    /// Rows indexed.
    pub rows: usize,
    /// Components of each.
    pub dimension: usize,
    /// How vectors are compared.
    pub metric: Metric,
    /// How rows are kept in the lists.
    pub codes: Codes,
    /// Number of lists.
    pub lists: usize,
    /// Lists that an unfiltered search for ten neighbours begins with.
    pub default_probes: usize,
    /// Recall@10 of such searches, measured on sampled rows that were kept out of their own answers.
    pub measured_recall: Recall,
}

/// An immutable index over the rows of one segment in one embedding space.
#[derive(Debug)]
pub struct IvfIndex {
    lists: ProbedLists,
    measured_recall: Recall,
    seed: u64,
}

/// Lists with what was learned about probing them.
#[derive(Debug)]
struct ProbedLists {
    raw: RawIvf,
    metric: Metric,
    curve: ProbeCurve,
    reach: Reach,
    /// Candidates re-ranked for each hit asked for.
    refine_factor: usize,
}

impl IvfIndex {
    /// Trains, fills and measures an index over vectors that are [prepared](Metric::prepare) for the metric.
    ///
    /// `progress` is told the stage (`train`, `add`, `measure`) and how much of it is done.
    ///
    /// # Errors
    /// [`IndexError::TooFew`] below [`ROWS_MIN`] rows: keep the exact scan. [`IndexError::BadLists`],
    /// [`IndexError::NotFinite`], [`IndexError::TooLong`], [`IndexError::OutOfMemory`].
    ///
    /// # Complexity
    /// Training and filling compare each vector with each centroid; measuring compares each with 256 sampled rows.
    pub fn build(
        spec: &IvfSpec,
        metric: Metric,
        vectors: VectorView<'_>,
        progress: &mut dyn FnMut(&str, u64, u64),
    ) -> Result<Self, IndexError> {
        build::build(spec, metric, vectors, progress)
    }

    /// Finds the nearest allowed rows, equal distances in the order of row numbers.
    ///
    /// `vectors` are those that the index was built over. The search runs on the calling thread alone.
    ///
    /// # Errors
    /// [`IndexError::WrongDimension`] and [`IndexError::NotFinite`] for the query; [`IndexError::WrongRows`] when the
    /// vectors or the bitmap belong to another set of rows.
    pub fn search(
        &self,
        query: &[f32],
        vectors: VectorView<'_>,
        search: &IvfSearch<'_>,
    ) -> Result<IvfAnswer, IndexError> {
        self.search_by(query, vectors, search, |row| row)
    }

    /// As [`IvfIndex::search`], with equal distances in the order of the caller's keys. `key` is asked only for rows that
    /// can enter the answer.
    ///
    /// # Errors
    /// Those of [`IvfIndex::search`].
    pub fn search_by<K: Ord>(
        &self,
        query: &[f32],
        vectors: VectorView<'_>,
        search: &IvfSearch<'_>,
        key: impl Fn(u32) -> K,
    ) -> Result<IvfAnswer<K>, IndexError> {
        self.lists.search(query, vectors, search, key)
    }

    /// What the index is made of.
    pub fn stats(&self) -> IvfStats {
        let raw = &self.lists.raw;
        IvfStats {
            rows: raw.rows(),
            dimension: raw.dimension(),
            metric: self.lists.metric,
            codes: Codes::from(raw.storage()),
            lists: raw.lists(),
            default_probes: self.lists.curve.probes(MEASURED_K as f64),
            measured_recall: self.measured_recall,
        }
    }

    /// Writes the index to a file, replacing it whole or not at all.
    ///
    /// # Errors
    /// [`IndexError::Io`], [`IndexError::OutOfMemory`].
    pub fn save(&self, path: &Path) -> Result<(), IndexError> {
        file::save(self, path)
    }

    /// Reads what [`IvfIndex::save`] wrote, for a space of the given dimension and metric.
    ///
    /// # Errors
    /// [`IndexError::Io`]; [`IndexError::NotAnIndex`], [`IndexError::NewerFormat`] and [`IndexError::Damaged`] before
    /// anything of the file is interpreted; [`IndexError::OtherDimension`], [`IndexError::OtherMetric`].
    pub fn load(path: &Path, dimension: usize, metric: Metric) -> Result<Self, IndexError> {
        file::load(path, dimension, metric)
    }
}

impl From<Storage> for Codes {
    fn from(storage: Storage) -> Self {
        match storage {
            Storage::Flat => Self::Flat,
            Storage::Sq8 => Self::Sq8,
        }
    }
}

impl From<Codes> for Storage {
    fn from(codes: Codes) -> Self {
        match codes {
            Codes::Flat => Self::Flat,
            Codes::Sq8 => Self::Sq8,
        }
    }
}

/// Unit vectors are ordered alike by cosine and by inner product.
fn comparison_of(metric: Metric) -> Comparison {
    match metric {
        Metric::L2 => Comparison::L2,
        Metric::Cosine | Metric::Ip => Comparison::InnerProduct,
    }
}
