//! What comes back.

use super::bind::{Bound, Target};
use super::execute::Execution;
use super::filter::PartFilter;
use super::plan::Plan;
use super::request::Query;
use crate::engine::{CollectionView, PartKind};
use crate::learn::discover::Calibration;
use crate::schema::{ObjectId, Value};
use crate::sky::Position;

/// One object of an answer.
#[derive(Debug, Clone, PartialEq)]
pub struct Hit {
    /// Its id.
    pub id: ObjectId,
    /// Where it is.
    pub position: Position,
    /// Smaller is nearer; `None` in a listing, and after a re-rank where the object has no tokens.
    pub distance: Option<f64>,
    /// Larger is better; `None` where there is no distance.
    pub score: Option<f64>,
    /// Columns asked for, by name.
    pub columns: Vec<(String, Value)>,
    /// Vectors by space name, as they were given; only when asked for.
    pub vectors: Vec<(String, Vec<f32>)>,
    /// Objects that are one with the hit, nearest first; only where hits are grouped.
    pub beside: Vec<Beside>,
}

/// An object that lies where a hit does.
#[derive(Debug, Clone, PartialEq)]
pub struct Beside {
    /// Its id.
    pub id: ObjectId,
    /// Where it is.
    pub position: Position,
    /// Its own distance from the query.
    pub distance: f64,
    /// How far it is from the hit on the sky, in degrees.
    pub separation_deg: f64,
}

/// How the distances of a term were made comparable with those of others.
#[derive(Debug, Clone, PartialEq)]
pub struct TermScale {
    /// Name of the space.
    pub space: String,
    /// Mean of the distances of a sample of the space.
    pub mean: f64,
    /// Their standard deviation.
    pub spread: f64,
    /// Vectors in the sample.
    pub sampled: usize,
}

/// How an answer was found. For whoever does not see every row, counts are of those that he sees, and what tells of the work
/// on others is 0: rows in the cover, rows scanned, lists, bytes, and rows left where they were not counted.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct QueryStats {
    /// Name of the plan.
    pub plan: String,
    /// Whether the hits are certainly the nearest.
    pub exact: bool,
    /// recall@10 that the index measured of itself for the recall that was wished; `None` for an exact answer.
    pub estimated_recall: Option<f64>,
    /// Objects of the collection.
    pub rows_total: u64,
    /// Rows in the cells of the region's cover.
    pub rows_in_cover: u64,
    /// Rows that region and predicate leave: counted, or estimated where the plan did not look at all of them.
    pub rows_surviving: u64,
    /// Whether `rows_surviving` was counted.
    pub survivors_are_counted: bool,
    /// Rows whose distance, exact or from a code, was computed.
    pub rows_scanned: u64,
    /// Inverted lists visited.
    pub lists_probed: u64,
    /// Bytes of vectors and codes read.
    pub bytes_read: u64,
    /// Rows after the last index build, searched exactly.
    pub tail_rows: u64,
    /// Time in the database, milliseconds.
    pub elapsed_ms: f64,
    /// Text of the plan; empty unless asked for.
    pub explanation: String,
    /// Commit that the answer shows.
    pub version: u64,
    /// Candidates that a re-rank ordered anew; 0 where none was asked for.
    pub candidates_reranked: u64,
    /// Those of them without tokens, which come last.
    pub candidates_without_tokens: u64,
    /// How the examples of each term were used: example, centroid, rocchio, max-sim or probe; comma-separated. Empty without
    /// a vector term.
    pub method: String,
    /// How several terms became one order; empty for one term.
    pub fusion: String,
    /// One for each term, where distances were calibrated.
    pub scales: Vec<TermScale>,
}

/// Hits, nearest first, and how they were found.
#[derive(Debug, Clone, PartialEq)]
pub struct Answer {
    /// Hits, nearest first, ties by object id.
    pub hits: Vec<Hit>,
    /// How they were found.
    pub stats: QueryStats,
}

pub(super) fn stats(
    view: &CollectionView,
    query: &Query,
    bound: &Bound,
    plan: &Plan,
    filters: &[PartFilter<'_>],
    found: &Execution,
) -> QueryStats {
    let recall = match bound.targets.as_slice() {
        [target] if !found.exact => {
            view.measured_recall(target.space.id, query.recall, found.is_far)
        }
        _ => None,
    };
    let parts = view.parts();
    let tail = parts.iter().filter(|live| live.part().kind() == PartKind::Tail);
    // What would tell of rows that the caller may not see.
    let work = |figure: u64| if view.is_restricted() { 0 } else { figure };
    let in_cover = filters.iter().map(|part| part.rows_in_region() as u64).sum();
    QueryStats {
        plan: found.kind.name().to_owned(),
        exact: found.exact,
        estimated_recall: recall,
        rows_total: view.live_count(),
        rows_in_cover: work(in_cover),
        rows_surviving: found.survivors.unwrap_or(work(plan.survivors.round() as u64)),
        survivors_are_counted: found.survivors.is_some(),
        rows_scanned: work(found.rows_scanned),
        lists_probed: work(found.lists_probed),
        bytes_read: work(found.bytes_read),
        tail_rows: tail.map(|live| live.live_count()).sum(),
        elapsed_ms: 0.0,
        explanation: String::new(),
        version: view.version(),
        candidates_reranked: 0,
        candidates_without_tokens: 0,
        method: bound.targets.iter().map(|target| target.method).collect::<Vec<_>>().join(", "),
        fusion: match bound.targets.len() {
            0 | 1 => String::new(),
            _ => bound.combination.fusion.name().to_owned(),
        },
        scales: scales(bound),
    }
}

fn scales(bound: &Bound) -> Vec<TermScale> {
    let scaled = bound.targets.iter().zip(&bound.combination.calibrations);
    let scale = |(target, calibration): (&Target, &Calibration)| TermScale {
        space: target.space.name.clone(),
        mean: calibration.mean,
        spread: calibration.spread,
        sampled: calibration.count,
    };
    scaled.map(scale).collect()
}
