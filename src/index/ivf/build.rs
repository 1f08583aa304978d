//! Trains, fills and measures an index.

use std::panic::resume_unwind;
use std::thread;

use super::curve::ProbeCurve;
use super::reach::{Gap, QueryScale, Reach};
use super::{
    IvfIndex, IvfSearch, IvfSpec, LISTS_MAX, MEASURED_K, POINTS_PER_LIST_MIN, ProbedLists,
    ROWS_MIN, comparison_of,
};
use crate::index::IndexError;
use crate::index::faiss::{RawIvf, Training};
use crate::index::random::stratified_rows;
use crate::index::recall::{Recall, RecallMeter};
use crate::vector::{Distance, Metric, RowBitmap, TopK, VectorView, l2_squared, norm};

/// Training vectors for each list where there are that many.
const POINTS_PER_LIST: usize = 64;

/// Passes of k-means.
const TRAINING_PASSES: i32 = 10;

/// Greatest norm whose squared distances, four times its square, are finite in single precision.
const NORM_MAX: f64 = 1e18;

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
    let places = Places::of(&raw, metric, vectors, &truth)?;
    let curve = ProbeCurve::measured(&places.ranks, &depths, raw.lists(), raw.rows());
    let reach = Reach::measured(places.radii, &places.gaps, &depths);
    let mut lists = ProbedLists { raw, metric, curve, reach, refine_factor: REFINE_FACTORS[0] };
    let measured_recall = settle_refine_factor(&mut lists, vectors, &truth)?;
    Ok(IvfIndex { lists, measured_recall, seed: spec.seed })
}

/// Proves that the vectors can be indexed, and decides the number of lists.
fn check(spec: &IvfSpec, vectors: VectorView<'_>) -> Result<usize, IndexError> {
    let rows = vectors.count();
    if rows < ROWS_MIN {
        return Err(IndexError::TooFew { rows, rows_min: ROWS_MIN });
    }
    let rows_max = u32::MAX as usize;
    if rows > rows_max {
        return Err(IndexError::TooMany { rows, rows_max });
    }
    check_norms(vectors)?;
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

/// Refuses what FAISS cannot work with: its k-means never ends when no distance is finite.
fn check_norms(vectors: VectorView<'_>) -> Result<(), IndexError> {
    for (row, vector) in vectors.as_slice().chunks_exact(vectors.dimension()).enumerate() {
        if norm(vector) <= NORM_MAX {
            continue;
        }
        return Err(match vector.iter().position(|value| !value.is_finite()) {
            Some(component) => IndexError::NotFinite { what: "a vector to index", row, component },
            None => IndexError::TooLong { row, norm: norm(vector), norm_max: NORM_MAX },
        });
    }
    Ok(())
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

/// Where the true neighbours of the queries lie.
struct Places {
    /// For each query, the place of the list of each of its neighbours in the order in which lists are probed.
    ranks: Vec<Vec<u32>>,
    /// For each query, how far away each neighbour is, and what its list looks like from the query.
    gaps: Vec<Vec<Gap>>,
    /// Root mean square distance of the rows of each list from its centroid.
    radii: Vec<f32>,
}

impl Places {
    fn of(
        raw: &RawIvf,
        metric: Metric,
        vectors: VectorView<'_>,
        truth: &Truth,
    ) -> Result<Self, IndexError> {
        let (list_of_row, radii) = lists_and_radii(raw, vectors)?;
        let (mut ranks, mut gaps) = (Vec::new(), Vec::new());
        for (&query, neighbours) in truth.queries.iter().zip(&truth.neighbours) {
            let Some(target) = vectors.row(query) else { continue };
            let scale = QueryScale::new(metric, target);
            // Lists that have no finite distance come last.
            let mut view = vec![(raw.lists() as u32, f64::INFINITY); raw.lists()];
            for (rank, ranked) in (0u32..).zip(raw.rank_lists(target)?) {
                view[ranked.list] = (rank, scale.gap(ranked.closeness));
            }
            let list_of = |row: u32| list_of_row[row as usize] as usize;
            ranks.push(neighbours.iter().map(|&(_, row)| view[list_of(row)].0).collect());
            gaps.push(
                neighbours
                    .iter()
                    .map(|&(distance, row)| {
                        let list = list_of(row);
                        Gap {
                            neighbour: scale.limit(distance),
                            centroid: view[list].1,
                            radius: radii[list].into(),
                        }
                    })
                    .collect(),
            );
        }
        Ok(Self { ranks, gaps, radii })
    }
}

/// The list of each row, and the radius of each list.
fn lists_and_radii(
    raw: &RawIvf,
    vectors: VectorView<'_>,
) -> Result<(Vec<u32>, Vec<f32>), IndexError> {
    let mut list_of_row = vec![0u32; raw.rows()];
    let mut radii = Vec::with_capacity(raw.lists());
    for (list, centroid) in raw.centroids()?.chunks_exact(raw.dimension()).enumerate() {
        let (mut sum, mut count) = (0.0f64, 0u64);
        raw.for_each_row_of(list, |row| {
            if let (Some(place), Some(vector)) = (list_of_row.get_mut(row), vectors.row(row)) {
                *place = list as u32;
                sum += f64::from(l2_squared(vector, centroid));
                count += 1;
            }
        })?;
        radii.push((sum / count.max(1) as f64).sqrt() as f32);
    }
    Ok((list_of_row, radii))
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
