//! Vectors of an import that wait in the blocks in which they came until somebody asks for one.
//!
//! Bringing them into the order of the sky, and to unit length, is a fifth of the work of a large import; whoever builds the
//! index next reads them from the store and never needs it.

use std::sync::{Arc, Mutex, OnceLock, PoisonError};
use std::thread;

use crate::files::ObjectBlock;
use crate::schema::{EmbeddingSpace, Rows};
use crate::storage::Place;
use crate::vector::Metric;

/// Bytes of vectors for which a thread is worth it.
const THREAD_BYTES: usize = 16 << 20;

/// The vectors of one space of some rows, prepared at the first use.
#[derive(Debug)]
pub(super) struct LateFloats {
    count: usize,
    /// Gone once they are made.
    source: Mutex<Option<Source>>,
    made: OnceLock<Vec<f32>>,
}

#[derive(Debug)]
struct Source {
    blocks: Vec<Arc<ObjectBlock>>,
    /// For each vector its block, its row there, and the place of the space in the block.
    from: Vec<(u32, u32, u32)>,
    dimension: usize,
    metric: Metric,
}

impl LateFloats {
    /// The vectors that rows of blocks have, in the order of the places, and the rows that have one; `None` when all have. Blocks
    /// hold only vectors of the right length that have a direction.
    pub(super) fn of_blocks(
        space: &EmbeddingSpace,
        blocks: &[Arc<ObjectBlock>],
        places: &[Place],
    ) -> (Self, Option<Vec<u32>>) {
        let in_blocks: Vec<_> = blocks.iter().map(|block| block.place_of(space.id)).collect();
        let mut from = Vec::with_capacity(places.len());
        let mut rows = Vec::new();
        for (number, place) in (0_u32..).zip(places) {
            let Some(in_block) = in_blocks[place.block as usize] else { continue };
            if blocks[place.block as usize].vector(in_block, place.row as usize).is_some() {
                from.push((place.block, place.row, in_block as u32));
                rows.push(number);
            }
        }
        let is_complete = rows.len() == places.len();
        // Blocks of which nothing is needed need not be kept.
        let blocks = if from.is_empty() { Vec::new() } else { blocks.to_vec() };
        let count = from.len() * space.dimension;
        let source = Source { blocks, from, dimension: space.dimension, metric: space.metric };
        let late = Self { count, source: Mutex::new(Some(source)), made: OnceLock::new() };
        (late, (!is_complete).then_some(rows))
    }

    /// Numbers that they are, without making them.
    pub(super) fn count(&self) -> usize {
        self.count
    }

    /// Whether somebody has asked for one.
    pub(super) fn is_made(&self) -> bool {
        self.made.get().is_some()
    }

    /// The prepared vectors, one after the other.
    pub(super) fn values(&self) -> &[f32] {
        self.made.get_or_init(|| {
            // After a panic the source is as it was: it is only read until the vectors are made.
            let mut source = self.source.lock().unwrap_or_else(PoisonError::into_inner);
            let made = source.as_ref().map(Source::make).unwrap_or_default();
            *source = None;
            made
        })
    }
}

impl Source {
    fn make(&self) -> Vec<f32> {
        let mut values = vec![0.0; self.from.len() * self.dimension];
        let processors = thread::available_parallelism().map_or(1, usize::from);
        let threads = processors.min(1 + size_of_val(&*values) / THREAD_BYTES);
        let share = self.from.len().div_ceil(threads).max(1);
        thread::scope(|scope| {
            let mut shares = values.chunks_mut(share * self.dimension).zip(self.from.chunks(share));
            let own = shares.next();
            for (values, from) in shares {
                scope.spawn(move || self.fill(values, from));
            }
            if let Some((values, from)) = own {
                self.fill(values, from);
            }
        });
        values
    }

    fn fill(&self, values: &mut [f32], from: &[(u32, u32, u32)]) {
        for (values, (block, row, space)) in values.chunks_exact_mut(self.dimension).zip(from) {
            let given = self.blocks[*block as usize].vector(*space as usize, *row as usize);
            if let Some(given) = given.filter(|given| given.len() == values.len()) {
                values.copy_from_slice(given);
                self.metric.prepare_in_place(values);
            }
        }
    }
}

#[cfg(test)]
pub(super) mod tests {
    use arrow::array::{
        ArrayRef, FixedSizeListArray, Float32Array, Float64Array, Int64Array, RecordBatch,
    };
    use arrow::buffer::NullBuffer;
    use arrow::datatypes::{DataType, Field};
    use proptest::prelude::*;

    use super::*;
    use crate::files::decode_block;
    use crate::schema::{
        CollectionId, CollectionSchema, IdKind, Modality, Provenance, SpaceForm, SpaceId,
    };
    use crate::storage::ObjectKey;

    const DIMENSION: usize = 3;

    pub(in crate::engine) fn schema(metric: Metric, dimension: usize) -> CollectionSchema {
        let space = EmbeddingSpace {
            id: SpaceId(4),
            name: "image".to_owned(),
            modality: Modality("image".to_owned()),
            form: SpaceForm::default(),
            dimension,
            metric,
            provenance: Provenance::external(),
            shared: None,
            at_ingest: None,
        };
        CollectionSchema {
            name: "demo".to_owned(),
            description: String::new(),
            id_kind: IdKind::Number,
            columns: Vec::new(),
            spaces: vec![space],
        }
    }

    /// Objects with ids from `first` on, which have a vector or none.
    pub(in crate::engine) fn block(
        schema: &CollectionSchema,
        first: i64,
        vectors: &[Option<Vec<f32>>],
    ) -> Arc<ObjectBlock> {
        let (count, dimension) = (vectors.len(), schema.spaces[0].dimension);
        let nothing = vec![0.0; dimension];
        let numbers = vectors.iter().flat_map(|vector| vector.as_ref().unwrap_or(&nothing));
        let numbers = Float32Array::from_iter_values(numbers.copied());
        let item = Arc::new(Field::new("item", DataType::Float32, true));
        let nulls: NullBuffer = vectors.iter().map(Option::is_some).collect::<Vec<_>>().into();
        let lists = FixedSizeListArray::new(item, dimension as i32, Arc::new(numbers), Some(nulls));
        let places = || (0..count).map(|row| (row % 90) as f64);
        let columns: Vec<(&str, ArrayRef)> = vec![
            ("object_id", Arc::new(Int64Array::from_iter_values(first..first + count as i64))),
            ("ra", Arc::new(Float64Array::from_iter_values(places()))),
            ("dec", Arc::new(Float64Array::from_iter_values(places()))),
            ("vector.image", Arc::new(lists)),
        ];
        let batch = RecordBatch::try_from_iter(columns).expect("sound");
        let decoded = decode_block(&batch, &Arc::new(schema.clone())).expect("decodes");
        assert!(decoded.refused.is_empty());
        Arc::new(decoded.block)
    }

    fn places(rows: impl Iterator<Item = (usize, usize)>) -> Vec<Place> {
        let key =
            ObjectKey { collection: CollectionId(1), cell: crate::sky::Cell29(0), ordinal: 0 };
        rows.map(|(block, row)| Place { key, block: block as u32, row: row as u32 }).collect()
    }

    fn vectors() -> impl Strategy<Value = Vec<Option<Vec<f32>>>> {
        let vector = prop::collection::vec(-9.0_f32..9.0, DIMENSION);
        let vector = vector.prop_filter("a direction", |vector| vector.iter().any(|x| *x != 0.0));
        prop::collection::vec(prop::option::of(vector), 1..40)
    }

    proptest! {
        #[test]
        fn they_are_what_preparing_each_gives_in_the_order_of_the_places(
            metric in prop::sample::select(vec![Metric::Cosine, Metric::L2, Metric::Ip]),
            given in prop::collection::vec(vectors(), 1..4),
            turn in any::<prop::sample::Index>(),
        ) {
            let schema = schema(metric, DIMENSION);
            let blocks: Vec<_> = given.iter().map(|vectors| block(&schema, 0, vectors)).collect();
            let all = given.iter().enumerate();
            let mut order: Vec<_> =
                all.flat_map(|(block, rows)| (0..rows.len()).map(move |row| (block, row))).collect();
            let by = turn.index(order.len());
            order.rotate_left(by);
            let places = places(order.iter().copied());
            let (late, rows) = LateFloats::of_blocks(&schema.spaces[0], &blocks, &places);

            let wanted = order.iter().enumerate().filter_map(|(number, (block, row))| {
                Some((number as u32, metric.prepare(given[*block][*row].clone()?)?))
            });
            let (wanted_rows, wanted): (Vec<u32>, Vec<Vec<f32>>) = wanted.unzip();
            prop_assert_eq!(rows.unwrap_or_else(|| (0..places.len() as u32).collect()), wanted_rows);
            prop_assert_eq!(late.count(), wanted.len() * DIMENSION);
            prop_assert!(!late.is_made());
            prop_assert_eq!(late.values(), wanted.concat());
            prop_assert_eq!(late.values().len(), late.count());
        }
    }

    #[test]
    fn blocks_go_once_the_vectors_are_made_by_several_threads() {
        let schema = schema(Metric::L2, DIMENSION);
        let count = 3 * THREAD_BYTES / size_of::<f32>() / DIMENSION;
        let given: Vec<_> = (0..count).map(|row| Some(vec![row as f32, 1.0, 2.0])).collect();
        let block = block(&schema, 0, &given);
        let places = places((0..count).rev().map(|row| (0, row)));
        let (late, rows) = LateFloats::of_blocks(&schema.spaces[0], &[Arc::clone(&block)], &places);
        assert!(rows.is_none());
        assert_eq!(Arc::strong_count(&block), 2);
        let asked: Vec<_> = thread::scope(|scope| {
            let askers: Vec<_> =
                (0..4).map(|_| scope.spawn(|| late.values().as_ptr() as usize)).collect();
            askers.into_iter().map(|asker| asker.join().expect("no panic")).collect()
        });
        assert!(asked.iter().all(|values| *values == late.values().as_ptr() as usize));
        assert_eq!(Arc::strong_count(&block), 1);
        let wanted = (0..count).rev().flat_map(|row| [row as f32, 1.0, 2.0]);
        assert!(late.values().iter().copied().eq(wanted));
    }
}
