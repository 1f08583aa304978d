//! Queries and their true neighbours, found by an exact scan: what an index is measured on.

use super::encode;
use super::tune::Truth;
use super::{IvfSpec, MEASURED_K};
use crate::index::IndexError;
use crate::index::faiss::{self, Comparison};
use crate::index::random::stratified_rows;
use crate::vector::{Distance, Metric, VectorView};

/// Greatest norm whose squared distances, four times its square, are finite in single precision.
pub(super) const NORM_MAX: f64 = 1e18;

/// Queries that a thread answers between two reports of progress: a product of so many is near the best of its speed, and
/// reads the vectors once.
const QUERIES_AT_ONCE: usize = 256;

/// Rows for one of the sample in which far neighbours are looked up, as a predicate would leave them that excludes all that
/// is near; and the least size of that sample.
const FAR_STEP: usize = 32;
const FAR_ROWS_MIN: usize = 1000;

/// Depths at which the curve is measured.
const DEPTHS: [usize; 5] = [10, 32, 100, 316, 1000];

/// The depths that some rows have, beginning with the one that is judged alone.
pub(super) fn depths(metric: Metric, rows: usize) -> Vec<usize> {
    let alone = judged(metric).iter().copied().filter(|&depth| depth < MEASURED_K);
    alone.chain(DEPTHS.into_iter().filter(|&depth| depth <= rows / 4)).collect()
}

/// How many of the nearest are asked for when recall is judged. Under the inner product a query's own row is the best of its hits,
/// and could be missed though nine of ten are found: it is judged alone, too.
pub(super) fn judged(metric: Metric) -> &'static [usize] {
    match metric {
        Metric::Cosine | Metric::L2 => &[MEASURED_K],
        Metric::Ip => &[MEASURED_K, 1],
    }
}

/// Some rows as queries. Their own rows are none of their neighbours: at no distance, they are found without skill. Under the inner
/// product they are as hard to find as others, or harder.
pub(super) fn asked(metric: Metric, vectors: VectorView<'_>, rows: &[usize]) -> Truth {
    let mut truth = Truth::default();
    for &row in rows {
        truth.queries.extend_from_slice(vectors.row(row).unwrap_or_default());
        truth.own_rows.push(Some(row as u32).filter(|_| metric != Metric::Ip));
    }
    truth
}

/// The same queries with the neighbours that they have in a thin sample of the rows.
pub(super) fn far_neighbours(
    spec: &IvfSpec,
    metric: Metric,
    vectors: VectorView<'_>,
    truths: &[Truth],
) -> Result<Vec<Truth>, IndexError> {
    let wanted = (vectors.count() / FAR_STEP).max(FAR_ROWS_MIN).min(vectors.count());
    let rows = stratified_rows(vectors.count(), wanted, spec.seed ^ 2);
    let sample = encode::sampled(vectors, wanted, spec.seed ^ 2);
    let view = encode::part(vectors.dimension(), &sample)?;
    let depth = DEPTHS.into_iter().filter(|&depth| depth <= wanted / 4).max().unwrap_or(MEASURED_K);
    let mut found = Vec::with_capacity(truths.len());
    for truth in truths {
        let queries = truth.queries.clone();
        let own_rows = vec![None; truth.own_rows.len()];
        let mut far = Truth { queries, own_rows, neighbours: Vec::new() };
        find_neighbours(spec, metric, view, &mut far, depth, &mut |_, _, _| {})?;
        for (neighbours, own) in far.neighbours.iter_mut().zip(&truth.own_rows) {
            for neighbour in neighbours.iter_mut() {
                neighbour.1 = rows[neighbour.1 as usize] as u32;
            }
            neighbours.retain(|&(_, row)| Some(row) != *own);
        }
        found.push(far);
    }
    Ok(found)
}

/// Looks up the `depth` nearest rows of every query.
pub(super) fn find_neighbours(
    spec: &IvfSpec,
    metric: Metric,
    vectors: VectorView<'_>,
    truth: &mut Truth,
    depth: usize,
    progress: &mut dyn FnMut(&str, u64, u64),
) -> Result<(), IndexError> {
    let comparison = match metric {
        Metric::L2 => Comparison::L2,
        Metric::Cosine | Metric::Ip => Comparison::InnerProduct,
    };
    let total = truth.own_rows.len() as u64;
    progress("measure", 0, total);
    let at_once = QUERIES_AT_ONCE * spec.threads.max(1);
    for start in (0..truth.own_rows.len()).step_by(at_once) {
        let end = (start + at_once).min(truth.own_rows.len());
        let dimension = vectors.dimension();
        let queries = encode::part(dimension, &truth.queries[start * dimension..end * dimension])?;
        let found = faiss::nearest(queries, vectors, comparison, depth + 1, spec.threads)?;
        for (query, rows) in (start..end).zip(found) {
            // FAISS rounds its distances; the order is that of ours.
            let target = truth.query(query, dimension);
            let mut near: Vec<(Distance, u32)> = rows
                .into_iter()
                .filter(|&row| truth.own_rows[query] != Some(row))
                .filter_map(|row| Some((metric.distance(target, vectors.row(row as usize)?), row)))
                .collect();
            near.sort_unstable();
            near.truncate(depth);
            truth.neighbours.push(near);
        }
        progress("measure", truth.len() as u64, total);
    }
    Ok(())
}
