//! Trains, fills and measures an index.

use std::panic::resume_unwind;
use std::thread;

use super::curve::ProbeCurve;
use super::{
    IvfIndex, IvfSearch, IvfSpec, LISTS_MAX, MEASURED_K, POINTS_PER_LIST_MIN, ProbedLists,
    ROWS_MIN, comparison_of,
};
use crate::index::IndexError;
use crate::index::faiss::{RawIvf, Training};
use crate::index::random::stratified_rows;
use crate::index::recall::{Recall, RecallMeter};
use crate::vector::{Distance, Metric, RowBitmap, TopK, VectorView};

/// Training vectors for each list where there are that many.
const POINTS_PER_LIST: usize = 64;

/// Passes of k-means.
const TRAINING_PASSES: i32 = 10;

/// Rows added in one call, between two reports of progress.
const ADDED_ROWS: usize = 32_768;

/// Sampled rows whose true neighbours are looked up.
const QUERIES: usize = 256;

/// Queries answered between two reports of progress.
const QUERIES_AT_ONCE: usize = 64;

/// Rows that a thread compares with all its queries before it goes on, so that they stay in its cache.
const BLOCK_ROWS: usize = 256;

/// Depths at which the curve is measured.
const DEPTHS: [usize; 5] = [10, 32, 100, 316, 1000];

/// Re-rank factors that are tried until codes cost no recall worth mentioning.
const REFINE_FACTORS: [usize; 4] = [4, 8, 16, 32];

/// Recall that a re-rank factor has to reach.
const RECALL_PROMISED: f64 = 0.99;

/// Sampled rows and their true neighbours, nearest first, themselves left out.
struct Truth {
    queries: Vec<usize>,
    neighbours: Vec<Vec<(Distance, u32)>>,
}

pub(super) fn build(
    spec: &IvfSpec,
    metric: Metric,
    vectors: VectorView<'_>,
    progress: &mut dyn FnMut(&str, u64, u64),
) -> Result<IvfIndex, IndexError> {
    let list_count = check(spec, vectors)?;
    progress("train", 0, 1);
    let mut raw = train(spec, metric, vectors, list_count)?;
    progress("train", 1, 1);
    add(&mut raw, vectors, spec.threads, progress)?;

    let depths: Vec<usize> =
        DEPTHS.into_iter().filter(|&depth| depth <= vectors.count() / 4).collect();
    let deepest = depths.last().copied().unwrap_or(MEASURED_K);
    let truth = true_neighbours(spec, metric, vectors, deepest, progress);
    let ranks = list_ranks(&raw, vectors, &truth)?;
    let curve = ProbeCurve::measured(&ranks, &depths, raw.lists(), raw.rows());
    let mut lists = ProbedLists { raw, metric, curve, refine_factor: REFINE_FACTORS[0] };
    let measured_recall = settle_refine_factor(&mut lists, vectors, &truth)?;
    Ok(IvfIndex { lists, measured_recall, seed: spec.seed })
}

/// Proves that the vectors can be indexed, and decides the number of lists.
fn check(spec: &IvfSpec, vectors: VectorView<'_>) -> Result<usize, IndexError> {
    let (rows, dimension) = (vectors.count(), vectors.dimension());
    if rows < ROWS_MIN {
        return Err(IndexError::TooFew { rows, rows_min: ROWS_MIN });
    }
    let rows_max = u32::MAX as usize;
    if rows > rows_max {
        return Err(IndexError::TooMany { rows, rows_max });
    }
    if let Some(place) = vectors.as_slice().iter().position(|value| !value.is_finite()) {
        let (row, component) = (place / dimension, place % dimension);
        return Err(IndexError::NotFinite { what: "a vector to index", row, component });
    }
    let lists_max = (rows.min(spec.train_sample_max) / POINTS_PER_LIST_MIN).min(LISTS_MAX);
    match spec.lists {
        Some(lists) if lists == 0 || lists > lists_max => {
            Err(IndexError::BadLists { lists, lists_max })
        }
        Some(lists) => Ok(lists),
        None if lists_max == 0 => Err(IndexError::BadLists { lists: 1, lists_max }),
        None => Ok(((2.0 * (rows as f64).sqrt()) as usize).clamp(1, lists_max)),
    }
}

fn train(
    spec: &IvfSpec,
    metric: Metric,
    vectors: VectorView<'_>,
    lists: usize,
) -> Result<RawIvf, IndexError> {
    let training = Training {
        lists,
        comparison: comparison_of(metric),
        storage: spec.codes.into(),
        passes: TRAINING_PASSES,
        seed: spec.seed,
        threads: spec.threads,
    };
    let wanted = (lists * POINTS_PER_LIST).min(spec.train_sample_max);
    if wanted >= vectors.count() {
        return RawIvf::train(&training, vectors);
    }
    let rows = stratified_rows(vectors.count(), wanted, spec.seed);
    let mut sample = Vec::with_capacity(rows.len() * vectors.dimension());
    for vector in rows.into_iter().filter_map(|row| vectors.row(row)) {
        sample.extend_from_slice(vector);
    }
    RawIvf::train(&training, part(vectors.dimension(), &sample)?)
}

fn add(
    raw: &mut RawIvf,
    vectors: VectorView<'_>,
    threads: usize,
    progress: &mut dyn FnMut(&str, u64, u64),
) -> Result<(), IndexError> {
    let total = vectors.count() as u64;
    progress("add", 0, total);
    for values in vectors.as_slice().chunks(ADDED_ROWS * vectors.dimension()) {
        raw.add(part(vectors.dimension(), values)?, threads)?;
        progress("add", raw.rows() as u64, total);
    }
    Ok(())
}

fn part(dimension: usize, values: &[f32]) -> Result<VectorView<'_>, IndexError> {
    VectorView::new(dimension, values).map_err(|_| IndexError::WrongDimension {
        what: "a part of the vectors",
        expected: dimension,
        given: values.len(),
    })
}

fn true_neighbours(
    spec: &IvfSpec,
    metric: Metric,
    vectors: VectorView<'_>,
    depth: usize,
    progress: &mut dyn FnMut(&str, u64, u64),
) -> Truth {
    // Another seed than the training sample's: rows that shaped the centroids are a little easier to find.
    let queries = stratified_rows(vectors.count(), QUERIES, !spec.seed);
    let total = queries.len() as u64;
    let mut neighbours = Vec::with_capacity(queries.len());
    progress("measure", 0, total);
    for group in queries.chunks(QUERIES_AT_ONCE) {
        let share = group.len().div_ceil(spec.threads.max(1));
        let found: Vec<Vec<(Distance, u32)>> = thread::scope(|scope| {
            let workers: Vec<_> = group
                .chunks(share)
                .map(|queries| scope.spawn(move || nearest_others(metric, vectors, queries, depth)))
                .collect();
            let join = |worker: thread::ScopedJoinHandle<'_, _>| match worker.join() {
                Ok(found) => found,
                Err(panic) => resume_unwind(panic),
            };
            workers.into_iter().flat_map(join).collect()
        });
        neighbours.extend(found);
        progress("measure", neighbours.len() as u64, total);
    }
    Truth { queries, neighbours }
}

/// The nearest rows of each of the given rows, itself left out.
fn nearest_others(
    metric: Metric,
    vectors: VectorView<'_>,
    queries: &[usize],
    depth: usize,
) -> Vec<Vec<(Distance, u32)>> {
    let mut tops: Vec<TopK<u32>> = queries.iter().map(|_| TopK::new(depth)).collect();
    for start in (0..vectors.count()).step_by(BLOCK_ROWS) {
        let block = start..(start + BLOCK_ROWS).min(vectors.count());
        for (top, &query) in tops.iter_mut().zip(queries) {
            let Some(target) = vectors.row(query) else { continue };
            for row in block.clone().filter(|&row| row != query) {
                let Some(vector) = vectors.row(row) else { continue };
                top.offer(metric.distance(target, vector), || row as u32);
            }
        }
    }
    tops.into_iter().map(TopK::into_sorted).collect()
}

/// For each query, the place of the list of each of its neighbours in the order in which lists are probed.
fn list_ranks(
    raw: &RawIvf,
    vectors: VectorView<'_>,
    truth: &Truth,
) -> Result<Vec<Vec<u32>>, IndexError> {
    let mut list_of_row = vec![0u32; raw.rows()];
    for list in 0..raw.lists() {
        raw.for_each_row_of(list, |row| {
            if let Some(place) = list_of_row.get_mut(row) {
                *place = list as u32;
            }
        })?;
    }
    let mut ranks = Vec::with_capacity(truth.queries.len());
    // Lists that have no finite distance come last.
    let mut rank_of_list = vec![raw.lists() as u32; raw.lists()];
    for (&query, neighbours) in truth.queries.iter().zip(&truth.neighbours) {
        let Some(target) = vectors.row(query) else { continue };
        rank_of_list.fill(raw.lists() as u32);
        for (rank, list) in (0u32..).zip(raw.rank_lists(target)?.lists()) {
            rank_of_list[list] = rank;
        }
        ranks.push(
            neighbours
                .iter()
                .map(|(_, row)| rank_of_list[list_of_row[*row as usize] as usize])
                .collect(),
        );
    }
    Ok(ranks)
}

/// Chooses the least re-rank factor that keeps the promise, and measures the recall of searches as they will run.
fn settle_refine_factor(
    lists: &mut ProbedLists,
    vectors: VectorView<'_>,
    truth: &Truth,
) -> Result<Recall, IndexError> {
    let mut measured = None;
    for factor in REFINE_FACTORS {
        lists.refine_factor = factor;
        let recall = measure(lists, vectors, truth)?;
        measured = Some(recall);
        if recall.lower >= RECALL_PROMISED {
            break;
        }
    }
    Ok(measured.unwrap_or(Recall::UNKNOWN))
}

fn measure(
    lists: &ProbedLists,
    vectors: VectorView<'_>,
    truth: &Truth,
) -> Result<Recall, IndexError> {
    let mut meter = RecallMeter::default();
    let mut others = RowBitmap::empty(vectors.count());
    (0..vectors.count()).for_each(|row| others.insert(row));
    for (&query, neighbours) in truth.queries.iter().zip(&truth.neighbours) {
        let Some(target) = vectors.row(query) else { continue };
        others.remove(query);
        let search = IvfSearch { allowed: Some(&others), ..IvfSearch::nearest(MEASURED_K) };
        let answer = lists.search(target, vectors, &search, |row| row)?;
        others.insert(query);
        meter.compare(neighbours, &answer.hits, MEASURED_K);
    }
    Ok(meter.recall().unwrap_or(Recall::UNKNOWN))
}
