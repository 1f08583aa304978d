//! Blocks of new objects: from their columns into the store and into a tail part, without objects in between.

use std::sync::Arc;

use arrow::array::{
    Array, ArrayRef, Float64Array, Int64Array, RecordBatch, UInt32Array, new_null_array,
};
use arrow::compute::interleave;
use arrow::datatypes::SchemaRef;

use super::columns;
use super::error::EngineError;
use super::late::LateFloats;
use super::part::{BATCH_ROWS, Part, PartKind};
use super::vectors::{Floats, PartVectors};
use super::write::Write;
use crate::files::{ObjectBlock, arrow_type};
use crate::schema::{CollectionSchema, EmbeddingSpace, Rows, Value};
use crate::storage::Place;

/// The rows of blocks as writes of objects of so many columns.
pub(super) fn writes_of(blocks: &[Arc<ObjectBlock>], width: usize) -> Vec<Write> {
    let mut writes = Vec::with_capacity(blocks.iter().map(|block| block.count()).sum());
    for block in blocks {
        let object = |row| {
            let mut object = block.object(row);
            // A column that was added since the rows were read.
            if object.columns.len() < width {
                object.columns.resize(width, Value::Null);
            }
            Write::Put(object)
        };
        writes.extend((0..block.count()).map(object));
    }
    writes
}

/// Makes a tail part of the rows of blocks, in the order of their places.
pub(super) fn part_of_blocks(
    schema: &CollectionSchema,
    arrow_schema: &SchemaRef,
    blocks: &[Arc<ObjectBlock>],
    places: &[Place],
) -> Result<Part, EngineError> {
    let ids: Vec<&dyn Array> = blocks.iter().map(|block| block.id_array()).collect();
    let resident = resident_columns(schema, blocks);
    let mut batches = Vec::new();
    let mut ordinals: Vec<ArrayRef> = Vec::new();
    for chunk in places.chunks(BATCH_ROWS) {
        let from: Vec<(usize, usize)> =
            chunk.iter().map(|place| (place.block as usize, place.row as usize)).collect();
        let position = |place: &Place| blocks[place.block as usize].position(place.row as usize);
        let mut arrays: Vec<ArrayRef> = Vec::with_capacity(arrow_schema.fields().len());
        arrays.push(interleave(&ids, &from)?);
        let ra = chunk.iter().map(|place| position(place).ra().0);
        arrays.push(Arc::new(Float64Array::from_iter_values(ra)));
        let dec = chunk.iter().map(|place| position(place).dec().0);
        arrays.push(Arc::new(Float64Array::from_iter_values(dec)));
        let cells = chunk.iter().map(|place| place.key.cell.0 as i64);
        arrays.push(Arc::new(Int64Array::from_iter_values(cells)));
        for of_blocks in &resident {
            let of_blocks: Vec<&dyn Array> = of_blocks.iter().map(AsRef::as_ref).collect();
            arrays.push(interleave(&of_blocks, &from)?);
        }
        batches.push(RecordBatch::try_new(Arc::clone(arrow_schema), arrays)?);
        let keys = chunk.iter().map(|place| place.key.ordinal);
        ordinals.push(Arc::new(UInt32Array::from_iter_values(keys)));
    }
    let spaces = schema.vector_spaces().map(|space| vectors_of_blocks(space, blocks, places));
    Part::new(PartKind::Tail, batches, &ordinals, spaces.collect(), "(tail)")
}

/// For each resident column of the schema its array in every block.
fn resident_columns(schema: &CollectionSchema, blocks: &[Arc<ObjectBlock>]) -> Vec<Vec<ArrayRef>> {
    let resident =
        schema.columns.iter().enumerate().filter(|(_, column)| columns::is_resident(column.kind));
    resident
        .map(|(place, column)| {
            let of_block = |block: &Arc<ObjectBlock>| match block.array(place) {
                Some(array) => array.slice(0, array.len()),
                None => new_null_array(&arrow_type(column.kind), block.count()),
            };
            blocks.iter().map(of_block).collect()
        })
        .collect()
}

/// The vectors of a space, left in their blocks until they are asked for.
fn vectors_of_blocks(
    space: &EmbeddingSpace,
    blocks: &[Arc<ObjectBlock>],
    places: &[Place],
) -> PartVectors {
    let (late, rows) = LateFloats::of_blocks(space, blocks, places);
    PartVectors::new(space, Floats::Late(late), rows, None)
}
