//! Exact search: compares every row it is given. The oracle of every index, and the plan for few rows.

use super::IndexError;
use crate::vector::{Distance, Metric, TopK, VectorSource};

/// What to keep of the rows compared.
#[derive(Debug, Clone, Copy)]
pub struct FlatSearch {
    /// How vectors are compared.
    pub metric: Metric,
    /// Most hits to keep; all where absent.
    pub k: Option<usize>,
    /// Greatest distance of a hit, itself included; any where absent.
    pub bound: Option<Distance>,
}

/// The nearest of the rows compared.
#[derive(Debug, Clone, PartialEq)]
pub struct FlatAnswer<K> {
    /// Distance and key of each hit, nearest first, equal distances in the order of the keys.
    pub hits: Vec<(Distance, K)>,
    /// Rows compared.
    pub rows_scanned: u64,
    /// Bytes of vectors read.
    pub bytes_read: u64,
}

enum Kept<K> {
    Nearest(TopK<K>),
    All(Vec<(Distance, K)>),
}

/// Compares the query with the vectors of the given rows, both [prepared](Metric::prepare) for the metric.
///
/// `rows` may be a range, ranges flattened, a bitmap's [`iter`](crate::vector::RowBitmap::iter), in any order; a row given
/// twice is found twice. `key` tells what breaks ties of a row, and is asked only when the row can enter the answer.
///
/// # Errors
/// [`IndexError::WrongDimension`], [`IndexError::NotFinite`] for the query, [`IndexError::NoSuchRow`].
///
/// # Example
/// ```
/// use sidereus::index::flat::{self, FlatSearch};
/// use sidereus::vector::{Metric, VectorView};
///
/// let vectors = VectorView::new(2, &[0.0, 0.0, 3.0, 4.0, 0.0, 1.0])?;
/// let search = FlatSearch { metric: Metric::L2, k: Some(2), bound: None };
/// let answer = flat::search(&[0.0, 0.0], &vectors, 0..3, &search, |row| row)?;
/// let rows: Vec<usize> = answer.hits.iter().map(|(_, row)| *row).collect();
/// assert_eq!(rows, [0, 2]);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub fn search<K: Ord>(
    query: &[f32],
    vectors: &dyn VectorSource,
    rows: impl IntoIterator<Item = usize>,
    search: &FlatSearch,
    mut key: impl FnMut(usize) -> K,
) -> Result<FlatAnswer<K>, IndexError> {
    check_query(query, vectors.dimension())?;
    let mut kept = match search.k {
        Some(k) => Kept::Nearest(TopK::new(k)),
        None => Kept::All(Vec::new()),
    };
    let mut rows_scanned = 0u64;
    let mut buffer = Vec::new();
    for row in rows {
        let rows = vectors.count();
        let vector = vectors.fetch(row, &mut buffer).ok_or(IndexError::NoSuchRow { row, rows })?;
        rows_scanned += 1;
        let distance = search.metric.distance(query, vector);
        if search.bound.is_some_and(|bound| distance > bound) {
            continue;
        }
        match &mut kept {
            Kept::Nearest(top) => top.offer(distance, || key(row)),
            Kept::All(hits) => hits.push((distance, key(row))),
        }
    }
    let hits = match kept {
        Kept::Nearest(top) => top.into_sorted(),
        Kept::All(mut hits) => {
            hits.sort_unstable();
            hits
        }
    };
    let bytes_read = rows_scanned * size_of_val(query) as u64;
    Ok(FlatAnswer { hits, rows_scanned, bytes_read })
}

/// Proves the length and finiteness of a query.
pub(super) fn check_query(query: &[f32], expected: usize) -> Result<(), IndexError> {
    if query.len() != expected {
        return Err(IndexError::WrongDimension { what: "the query", expected, given: query.len() });
    }
    match query.iter().position(|value| !value.is_finite()) {
        Some(component) => Err(IndexError::NotFinite { what: "the query", row: 0, component }),
        None => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use std::cmp::Reverse;

    use proptest::prelude::*;

    use super::*;
    use crate::vector::{RowBitmap, VectorBlock};

    const METRICS: [Metric; 3] = [Metric::L2, Metric::Ip, Metric::Cosine];

    fn all_sorted(query: &[f32], block: &VectorBlock, metric: Metric) -> Vec<(Distance, usize)> {
        let mut all: Vec<(Distance, usize)> = block
            .rows()
            .enumerate()
            .map(|(row, vector)| (metric.distance(query, vector), row))
            .collect();
        all.sort_unstable();
        all
    }

    proptest! {
        // Small integers make many ties.
        #[test]
        fn equals_sorting_every_distance(
            values in prop::collection::vec(-2i8..3, 3..180),
            allowed in prop::collection::vec(any::<bool>(), 60),
            k in prop::option::of(0usize..25),
            bound in prop::option::of(-3.0f64..4.0),
            metric in prop::sample::select(METRICS.to_vec()),
        ) {
            let count = values.len() / 3;
            let values: Vec<f32> = values[..count * 3].iter().map(|&value| f32::from(value)).collect();
            let query = values[..3].to_vec();
            let block = VectorBlock::new(3, values).expect("finite");
            let bound = bound.and_then(Distance::new);
            let mut bitmap = RowBitmap::empty(count);
            (0..count).filter(|&row| allowed[row]).for_each(|row| bitmap.insert(row));

            let mut expected = all_sorted(&query, &block, metric);
            expected.retain(|(distance, row)| bitmap.contains(*row) && bound.is_none_or(|bound| *distance <= bound));
            expected.truncate(k.unwrap_or(usize::MAX));
            let wish = FlatSearch { metric, k, bound };
            let answer = search(&query, &block.view(), bitmap.iter(), &wish, |row| row).expect("valid");
            prop_assert_eq!(answer.hits, expected);
            prop_assert_eq!(answer.rows_scanned, bitmap.count() as u64);
        }
    }

    #[test]
    fn the_callers_key_breaks_ties() {
        let block = VectorBlock::new(2, [1.0, 0.0].repeat(6)).expect("finite");
        let wish = FlatSearch { metric: Metric::Cosine, k: Some(3), bound: None };
        let answer = search(&[1.0, 0.0], &block.view(), 0..6, &wish, Reverse).expect("valid");
        let rows: Vec<usize> = answer.hits.iter().map(|(_, Reverse(row))| *row).collect();
        assert_eq!(rows, [5, 4, 3]);
    }

    #[test]
    fn row_ranges_are_one_search() {
        let block = VectorBlock::new(1, (0u8..20).map(f32::from).collect()).expect("finite");
        let ranges = [2..5, 9..9, 11..14];
        let wish = FlatSearch { metric: Metric::L2, k: Some(4), bound: None };
        let rows = ranges.iter().cloned().flatten();
        let answer = search(&[10.0], &block.view(), rows, &wish, |row| row).expect("valid");
        let rows: Vec<usize> = answer.hits.iter().map(|(_, row)| *row).collect();
        assert_eq!(rows, [11, 12, 13, 4]);
        assert_eq!((answer.rows_scanned, answer.bytes_read), (6, 24));
    }

    #[test]
    fn bad_queries_and_rows_are_refused() {
        let block = VectorBlock::new(2, vec![1.0, 0.0]).expect("finite");
        let wish = FlatSearch { metric: Metric::L2, k: Some(1), bound: None };
        let look = |query: &[f32], rows| search(query, &block.view(), rows, &wish, |row| row);
        assert!(matches!(
            look(&[1.0], 0..1),
            Err(IndexError::WrongDimension { expected: 2, given: 1, .. })
        ));
        assert!(matches!(
            look(&[1.0, f32::NAN], 0..1),
            Err(IndexError::NotFinite { component: 1, .. })
        ));
        assert!(matches!(look(&[1.0, 0.0], 0..2), Err(IndexError::NoSuchRow { row: 1, rows: 1 })));
    }
}
