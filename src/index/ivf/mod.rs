//! Two orders of the same codes: along the sky, and in lists around centroids; hits are re-ranked from the full vectors.
//!
//! A vector becomes a short byte code (`coder`), chosen by measurement when the index is built. The codes are kept twice: in
//! the order of the rows, which is the order of the sky, so that a region is a few runs of them; and list by list, where the
//! rows of a list are in sky order again, so that a region is a run inside each list. Those of the lists are without padding.
//!
//! Nothing about a search is guessed. When the index is built, the true neighbours of sampled rows are found by an exact scan,
//! and for each of several recall wishes three things are learned from where they lie ([`Setting`]):
//! - a [`curve`]: how many of the nearest lists hold the nearest 10, 32, 100, ... rows. A search for `k` rows of which a
//!   share `s` is allowed needs the lists that hold the nearest `k / s`; `s` is measured in the lists already probed, near
//!   the query, since a predicate may thin out one neighbourhood and not another;
//! - a [`reach`]: how near to the query a row may lie whose list's centroid is so far away. Lists that may hold a row nearer
//!   than the hits found are probed next, where a predicate thins out the rows or the query is unlike them (of another
//!   modality, say) and the curve alone would stop too early;
//!   Queries like no row, of which some are made up (`strangers`), have a reach and a margin of their own;
//! - a margin, in standard errors of the codes, within which candidates are compared at full precision.
//!
//! The searches that these make are then carried out on the sampled rows, and the recall that they reached is kept.

mod build;
mod certain;
mod coder;
mod collect;
mod curve;
mod encode;
mod file;
mod neighbours;
mod parallel;
mod reach;
mod scan;
mod search;
mod strangers;
#[cfg(test)]
mod tests;
mod tune;
mod visit;

use std::path::Path;
use std::sync::OnceLock;

use super::IndexError;
use super::recall::Recall;
use super::section::Section;
use crate::vector::{Distance, Metric, RowSet, VectorSource, VectorView};
use certain::Extremes;
use coder::Coder;
use tune::Setting;

pub use scan::CodeScan;
pub use search::LISTS_MAX_IN_ALL;
pub use visit::MOST_SHARE;

/// Fewest rows that are indexed: below, an exact scan reads less than an index would.
pub const ROWS_MIN: usize = 1000;

/// Most lists of an index.
pub const LISTS_MAX: usize = 65_536;

/// Fewest training vectors for each list: with fewer, k-means fits noise.
pub const POINTS_PER_LIST_MIN: usize = 39;

/// Recall that a search is tuned for where nothing else is wished.
pub const RECALL_WISH_DEFAULT: f64 = 0.99;

/// Greatest recall that searches are tuned for; whoever wants more gets the exact scan.
pub const RECALL_WISH_MAX: f64 = 0.999;

/// Neighbours asked for when recall is measured.
const MEASURED_K: usize = 10;

/// How to build an index.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct IvfSpec {
    /// Number of lists; about `4 sqrt(rows)` where absent.
    pub lists: Option<usize>,
    /// Bytes of a code, a multiple of 32; chosen by measurement where absent.
    pub code_bytes: Option<usize>,
    /// Most vectors that the axes and centroids are trained on.
    pub train_sample_max: usize,
    /// Decides every random choice.
    pub seed: u64,
    /// Threads that building may take.
    pub threads: usize,
    /// Most bytes that building may hold in memory beside the vectors.
    pub memory_bytes_max: u64,
}

impl Default for IvfSpec {
    fn default() -> Self {
        Self {
            lists: None,
            code_bytes: None,
            train_sample_max: 1 << 20,
            seed: 0,
            threads: 1,
            memory_bytes_max: u64::MAX,
        }
    }
}

/// What to look for.
#[derive(Clone, Copy)]
pub struct IvfSearch<'a> {
    /// Most hits.
    pub k: usize,
    /// Recall to aim at, above 0 and up to 1; 1 compares every allowed row at full precision.
    pub recall: f64,
    /// Lists to probe; chosen by the measured curve where absent. More are probed while hits are missing.
    pub probes: Option<usize>,
    /// Rows that may be hits; all where absent.
    pub allowed: Option<&'a dyn RowSet>,
    /// Share of all rows that are allowed, where the caller knows; ignored where all are.
    pub allowed_share: f64,
    /// As many lists take as long as another way that the caller knows: the search gives up where more are still to be probed, or
    /// would be more than twice as many in all. A predicate that excludes the query's neighbourhood shows itself only on the way.
    pub lists_max: usize,
    /// Greatest distance of a hit, itself included. Leaves out hits among the `k` nearest; never makes the search wider.
    pub bound: Option<Distance>,
}

impl IvfSearch<'_> {
    /// The `k` nearest of all rows.
    pub fn nearest(k: usize) -> Self {
        Self {
            k,
            recall: RECALL_WISH_DEFAULT,
            probes: None,
            allowed: None,
            allowed_share: 1.0,
            lists_max: usize::MAX,
            bound: None,
        }
    }
}

impl std::fmt::Debug for IvfSearch<'_> {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter
            .debug_struct("IvfSearch")
            .field("k", &self.k)
            .field("recall", &self.recall)
            .field("probes", &self.probes)
            .field("is_filtered", &self.allowed.is_some())
            .field("lists_max", &self.lists_max)
            .field("bound", &self.bound)
            .finish()
    }
}

/// What a search found and what it cost.
#[derive(Debug, Clone, PartialEq)]
pub struct IvfAnswer<K = u32> {
    /// Full-precision distance and key of each hit, nearest first, equal distances in the order of the keys.
    pub hits: Vec<(Distance, K)>,
    /// Rows compared, by their codes or at full precision.
    pub rows_scanned: u64,
    /// Rows compared at full precision.
    pub rows_reranked: u64,
    /// Lists visited.
    pub lists_probed: u64,
    /// Bytes of centroids, codes, row numbers and vectors read.
    pub bytes_read: u64,
    /// Whether every allowed row was compared at full precision, so that the answer is the exact one.
    pub exact: bool,
    /// Whether the query lies farther from the rows than nearly all of them do: [`IvfIndex::far_recall`] tells of such searches.
    pub is_far: bool,
    /// Whether the search ended at [`IvfSearch::lists_max`], without hits.
    pub gave_up: bool,
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
    /// Bytes of a row's code along the sky.
    pub code_bytes: usize,
    /// The same in a list.
    pub list_bytes: usize,
    /// Principal axes that a code keeps.
    pub axes: usize,
    /// Number of lists.
    pub lists: usize,
    /// Lists that an unfiltered search for ten neighbours begins with at the default wish.
    pub default_probes: usize,
    /// Recall@10 of such searches, measured on sampled rows that were kept out of their own answers.
    pub measured_recall: Recall,
}

/// What a search for `k` of some allowed rows is expected to touch.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Expected {
    /// Lists probed.
    pub lists: f64,
    /// Rows in them.
    pub rows_listed: f64,
    /// Rows compared at full precision.
    pub reranked: f64,
}

/// An immutable index over the rows of one segment in one embedding space.
#[derive(Debug)]
pub struct IvfIndex {
    coder: Coder,
    /// Codes of the rows in the order of the sky.
    sky_codes: Section<u8>,
    lists: Lists,
    /// What makes answers from codes exact; nothing in files of earlier versions.
    extremes: Option<Extremes>,
    settings: Vec<Setting>,
    seed: u64,
}

/// Rows by their nearest centroid.
#[derive(Debug)]
struct Lists {
    /// Codes of the centroids.
    centroids: Section<u8>,
    /// Root mean square distance of the rows of each list from its centroid.
    radii: Section<f32>,
    /// Where each list begins in `rows`; one more than there are lists.
    starts: Section<u32>,
    /// Row numbers, ascending in each list.
    rows: Section<u32>,
    /// Their codes.
    codes: Section<u8>,
    /// How far nearly all sampled rows lie from their nearest centroid, as `IvfIndex::oddness` has it: a query that is farther is unlike
    /// the rows.
    usual_oddness: f64,
    /// Lengths of the centroids, where they are asked for.
    lengths: OnceLock<Vec<f32>>,
}

impl IvfIndex {
    /// Trains, fills and measures an index over vectors that are [prepared](Metric::prepare) for the metric.
    ///
    /// `like_queries` are vectors that queries will resemble although no row does (of another modality of a shared space,
    /// say); searches are tuned on them beside sampled rows. `progress` is told the stage (`train`, `encode`, `measure`) and
    /// how much of it is done.
    ///
    /// # Errors
    /// [`IndexError::TooFew`] below [`ROWS_MIN`] rows: keep the exact scan. [`IndexError::BadLists`],
    /// [`IndexError::BadCode`], [`IndexError::NotFinite`], [`IndexError::TooLong`], [`IndexError::BudgetTooSmall`],
    /// [`IndexError::OutOfMemory`].
    ///
    /// # Complexity
    /// Filling compares each vector, on its kept axes, with each centroid; measuring compares each with 1024 sampled rows.
    pub fn build(
        spec: &IvfSpec,
        metric: Metric,
        vectors: VectorView<'_>,
        like_queries: Option<VectorView<'_>>,
        progress: &mut dyn FnMut(&str, u64, u64),
    ) -> Result<Self, IndexError> {
        build::build(spec, metric, vectors, like_queries, progress)
    }

    /// Finds the nearest allowed rows through the lists, equal distances in the order of row numbers.
    ///
    /// `vectors` are those that the index was built over. The search runs on the calling thread alone.
    ///
    /// # Errors
    /// [`IndexError::WrongDimension`] and [`IndexError::NotFinite`] for the query; [`IndexError::BadRecall`];
    /// [`IndexError::WrongRows`] when the vectors belong to another set of rows.
    pub fn search(
        &self,
        query: &[f32],
        vectors: &dyn VectorSource,
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
        vectors: &dyn VectorSource,
        search: &IvfSearch<'_>,
        key: impl Fn(u32) -> K,
    ) -> Result<IvfAnswer<K>, IndexError> {
        search::search(self, query, vectors, search, key)
    }

    /// What the index is made of.
    pub fn stats(&self) -> IvfStats {
        let setting = self.setting(RECALL_WISH_DEFAULT);
        IvfStats {
            rows: self.row_count(),
            dimension: self.coder.dimension,
            metric: self.coder.metric,
            code_bytes: self.coder.code_bytes,
            list_bytes: self.coder.list_bytes,
            axes: self.coder.kept,
            lists: self.list_count(),
            default_probes: setting.probes_expected(MEASURED_K as f64).round() as usize,
            measured_recall: setting.recall,
        }
    }

    /// The wish that a search is tuned for when another is given: the least one measured that is not below it.
    pub fn tuned_for(&self, wish: f64) -> f64 {
        self.setting(wish).wish
    }

    /// Recall@10 that unfiltered searches with a wish reached when they were measured.
    pub fn measured_recall(&self, wish: f64) -> Recall {
        self.setting(wish).recall
    }

    /// Recall@10 that searches with a wish reached for queries that are like no row; `None` in files of earlier versions.
    pub fn far_recall(&self, wish: f64) -> Option<Recall> {
        let recall = self.setting(wish).far.recall;
        (recall.queries > 0).then_some(recall)
    }

    /// Whether a scan of the codes can give the exact answer.
    pub fn is_certain(&self) -> bool {
        self.extremes.is_some()
    }

    /// Rows that an exact scan of the codes of so many rows, for `k` of them, is expected to compare in full.
    pub fn expected_certain(&self, k: usize, rows: f64) -> f64 {
        let extremes = self.extremes.as_ref();
        let share = extremes.map_or(1.0, |extremes| extremes.compared_share);
        // Among the sampled rows these are those beyond the hits themselves; of others, as many more hits, as many more rows.
        let hits = (k as f64 / MEASURED_K as f64).max(1.0);
        let odd = extremes.map_or(0.0, |extremes| extremes.odd.as_slice().len() as f64);
        let odd = odd / self.row_count().max(1) as f64;
        ((share * hits.sqrt() + odd) * rows + k as f64).min(rows)
    }

    /// What a search for `k` rows is expected to touch when `allowed_count` of the rows are allowed, if those are spread
    /// over the neighbourhoods like all rows.
    pub fn expected(&self, k: usize, wish: f64, allowed_count: f64) -> Expected {
        let rows = self.row_count() as f64;
        let share = (allowed_count / rows).clamp(1.0 / rows, 1.0);
        let setting = self.setting(wish);
        let lists = setting.probes_expected(k as f64 / share);
        Expected {
            lists,
            rows_listed: lists * rows / self.list_count() as f64,
            reranked: setting.reranked * (k as f64 / MEASURED_K as f64).max(1.0),
        }
    }

    /// The measured setting whose wish is the least that is not below the given one.
    fn setting(&self, wish: f64) -> &Setting {
        let fits = self.settings.iter().find(|setting| setting.wish >= wish);
        // `file` and `build` see to it that there is at least one.
        fits.unwrap_or_else(|| &self.settings[self.settings.len() - 1])
    }

    fn row_count(&self) -> usize {
        self.lists.rows.as_slice().len()
    }

    fn list_count(&self) -> usize {
        self.lists.radii.as_slice().len()
    }

    /// Writes the index to a file, replacing it whole or not at all.
    ///
    /// # Errors
    /// [`IndexError::Io`].
    pub fn save(&self, path: &Path) -> Result<(), IndexError> {
        file::save(self, path)
    }

    /// Maps what [`IvfIndex::save`] wrote, for a space of the given dimension and metric. The description is read and
    /// verified; codes and lists are not, so that opening does not depend on their size: see [`IvfIndex::verify`].
    ///
    /// # Errors
    /// [`IndexError::Io`]; [`IndexError::NotAnIndex`], [`IndexError::NewerFormat`] and [`IndexError::Damaged`] before
    /// anything of the file is interpreted; [`IndexError::OtherDimension`], [`IndexError::OtherMetric`].
    pub fn load(path: &Path, dimension: usize, metric: Metric) -> Result<Self, IndexError> {
        file::load(path, dimension, metric)
    }

    /// Reads the whole file of an index against its checksums.
    ///
    /// Damaged codes and row numbers can hide a row from an approximate answer, or show one twice; but every distance comes from
    /// the full vectors and every row number is checked, so that an index may be searched while this runs.
    ///
    /// # Errors
    /// [`IndexError::Io`], [`IndexError::Damaged`].
    pub fn verify(path: &Path) -> Result<(), IndexError> {
        file::verify(path)
    }
}

impl Lists {
    /// Where a list begins and ends among the row numbers; empty where the file says nonsense.
    fn span(&self, list: usize) -> std::ops::Range<usize> {
        let starts = self.starts.as_slice();
        match (starts.get(list), starts.get(list + 1)) {
            (Some(&start), Some(&end))
                if start <= end && end as usize <= self.rows.as_slice().len() =>
            {
                start as usize..end as usize
            }
            _ => 0..0,
        }
    }
}
