//! The columns and vectors of some rows as Arrow arrays.

use std::collections::HashMap;
use std::sync::Arc;

use arrow::array::{
    Array, ArrayRef, BinaryBuilder, FixedSizeListArray, Float32Array, Float64Builder, ListBuilder,
    RecordBatch, new_null_array,
};
use arrow::buffer::NullBuffer;
use arrow::compute::interleave;
use arrow::datatypes::{DataType, Field, Schema, SchemaRef};
use arrow::error::ArrowError;

use super::Export;
use super::walk::Place;
use crate::engine::{
    BATCH_ROWS, CollectionView, DerivedKind, EngineError, LivePart, PartVectors, Still,
};
use crate::files::{
    META_DESCRIPTION, META_PROVENANCE, META_UCD, META_UNIT, VECTOR_PREFIX, arrow_type,
};
use crate::query::bind::find_space;
use crate::query::error::QueryError;
use crate::query::hydrate::{Source, Wanted, wanted_columns};
use crate::query::request::{Query, StopFlag};
use crate::schema::{ColumnType, EmbeddingSpace, Object, Provenance, Value, split_release};
use crate::storage::ObjectKey;
use crate::vector::Metric;

/// Built-in columns that every export has: the id and the position.
const BUILT_IN: usize = 3;

/// Rows of which one is exported, up to which reading past the others is cheaper than fetching the one.
const PASSED_OVER: usize = 16;

/// Objects read from the store at once.
const PAGE_OBJECTS: usize = 256;

/// The columns of an export.
pub(super) struct Layout {
    pub(super) schema: SchemaRef,
    wanted: Vec<Wanted>,
    spaces: Vec<EmbeddingSpace>,
}

impl Layout {
    pub(super) fn of(view: &CollectionView, export: &Export) -> Result<Self, QueryError> {
        let query = Query { columns: export.columns.clone(), ..Query::default() };
        let wanted = wanted_columns(view, &query)?;
        let mut spaces: Vec<EmbeddingSpace> = Vec::with_capacity(export.spaces.len());
        for name in &export.spaces {
            let space = find_space(view, name)?;
            if spaces.iter().all(|other| other.id != space.id) {
                spaces.push(space);
            }
        }
        let schema = schema(view, &wanted, &spaces);
        Ok(Self { schema, wanted, spaces })
    }

    /// Rows that have about so many bytes, as far as that is known before.
    pub(super) fn rows_of(&self, bytes: usize) -> usize {
        let vectors: usize =
            self.spaces.iter().map(|space| space.dimension * size_of::<f32>()).sum();
        bytes / (vectors + 16 * (BUILT_IN + self.wanted.len()))
    }

    /// Whether anything is read from the store.
    fn reads_store(&self) -> bool {
        let is_cosine = |space: &EmbeddingSpace| matches!(space.metric, Metric::Cosine);
        self.reads_values() || self.spaces.iter().any(is_cosine)
    }

    /// Whether values lie in the store alone, where they may be long.
    pub(super) fn reads_values(&self) -> bool {
        self.wanted.iter().any(|wanted| matches!(wanted.source, Source::Stored(_)))
    }
}

fn schema(view: &CollectionView, wanted: &[Wanted], spaces: &[EmbeddingSpace]) -> SchemaRef {
    let known = view.arrow_schema();
    let mut fields: Vec<Field> = Vec::with_capacity(BUILT_IN + wanted.len() + spaces.len());
    let about = [
        ("", "meta.id;meta.main"),
        ("deg", "pos.eq.ra;meta.main"),
        ("deg", "pos.eq.dec;meta.main"),
    ];
    for (field, (unit, ucd)) in known.fields().iter().zip(about) {
        fields.push(field.as_ref().clone().with_metadata(metadata(unit, ucd, "")));
    }
    for column in wanted {
        let data_type = match column.source {
            Source::Resident(place) => known.field(place).data_type().clone(),
            Source::Stored(place) => {
                let kind = view.schema().columns.get(place).map(|column| column.kind);
                arrow_type(kind.unwrap_or(ColumnType::Binary))
            }
            Source::Derived(place) => match view.formulas().column(place).map(|own| &own.kind) {
                Some(DerivedKind::Label(_)) => DataType::Utf8,
                Some(DerivedKind::Real) | None => DataType::Float64,
            },
        };
        let field = Field::new(&column.name, data_type, true);
        let own = view.schema().columns.iter().find(|own| own.name == column.name);
        fields.push(match own {
            Some(own) => field.with_metadata(metadata(&own.unit, &own.ucd, &own.description)),
            None => field,
        });
    }
    for space in spaces {
        let mut about = metadata("", "", "");
        about.insert("metric".to_owned(), space.metric.to_string());
        about.insert("modality".to_owned(), space.modality.0.clone());
        about.insert("provenance".to_owned(), space.provenance.to_string());
        // The sentence is for people and shortens the hash; with these the vectors can come back as what they are.
        let Provenance { encoder, weights_hash, preprocessing, pooling } = &space.provenance;
        let whole = [encoder, weights_hash, preprocessing, pooling];
        let whole = META_PROVENANCE.into_iter().zip(whole).filter(|(_, text)| !text.is_empty());
        about.extend(whole.map(|(key, text)| (key.to_owned(), text.clone())));
        let name = format!("{VECTOR_PREFIX}{}", space.name);
        fields.push(Field::new(name, vector_type(space), true).with_metadata(about));
    }
    let own = view.schema();
    let mut about = HashMap::new();
    let (name, release) = split_release(&own.name).unwrap_or((&own.name, ""));
    about.insert("collection".to_owned(), name.to_owned());
    if !release.is_empty() {
        about.insert("release".to_owned(), release.to_owned());
    }
    about.insert("version".to_owned(), view.version().to_string());
    if !own.description.is_empty() {
        about.insert(META_DESCRIPTION.to_owned(), own.description.clone());
    }
    Arc::new(Schema::new(fields).with_metadata(about))
}

fn metadata(unit: &str, ucd: &str, description: &str) -> HashMap<String, String> {
    let all = [(META_UNIT, unit), (META_UCD, ucd), (META_DESCRIPTION, description)];
    let known = all.into_iter().filter(|(_, text)| !text.is_empty());
    known.map(|(key, text)| (key.to_owned(), text.to_owned())).collect()
}

fn component() -> Arc<Field> {
    Arc::new(Field::new("item", DataType::Float32, true))
}

fn vector_type(space: &EmbeddingSpace) -> DataType {
    DataType::FixedSizeList(component(), space.dimension as i32)
}

/// Makes the batches of an export.
pub(super) struct Arrays<'a> {
    view: &'a CollectionView,
    layout: &'a Layout,
    stop: &'a StopFlag,
    parts: Vec<&'a LivePart>,
    /// Number of the first batch of each part among those of all parts.
    first_batch: Vec<usize>,
    /// Where something is read from the store.
    still: Option<Still<'a>>,
}

impl<'a> Arrays<'a> {
    pub(super) fn new(
        view: &'a CollectionView,
        layout: &'a Layout,
        stop: &'a StopFlag,
    ) -> Result<Self, QueryError> {
        let parts = view.parts();
        let mut first_batch = Vec::with_capacity(parts.len());
        let mut batches = 0;
        for live in &parts {
            first_batch.push(batches);
            batches += live.part().batches().len();
        }
        let still = layout.reads_store().then(|| view.still()).transpose()?;
        Ok(Self { view, layout, stop, parts, first_batch, still })
    }

    fn still(&self) -> Result<&Still<'a>, QueryError> {
        self.still.as_ref().ok_or_else(|| lost("what the store has"))
    }

    /// The batch of some rows, which are in the order of their keys.
    pub(super) fn batch(&self, places: &[Place]) -> Result<RecordBatch, QueryError> {
        let mut arrays = Vec::with_capacity(self.layout.schema.fields().len());
        for place in 0..BUILT_IN {
            arrays.push(self.resident(place, places)?);
        }
        let objects = if self.layout.reads_values() { self.objects(places)? } else { Vec::new() };
        let mut derived = self.derived(places)?.into_iter();
        for column in &self.layout.wanted {
            arrays.push(match column.source {
                Source::Resident(place) => self.resident(place, places)?,
                Source::Stored(place) => self.stored(place, &objects),
                Source::Derived(_) => derived.next().ok_or_else(|| lost("a derived column"))?,
            });
        }
        for space in &self.layout.spaces {
            arrays.push(self.vectors(space, places)?);
        }
        Ok(RecordBatch::try_new(Arc::clone(&self.layout.schema), arrays).map_err(arrow_failed)?)
    }

    fn resident(&self, column: usize, places: &[Place]) -> Result<ArrayRef, QueryError> {
        let batches = self.parts.iter().flat_map(|live| live.part().batches());
        let sources: Vec<&dyn Array> = batches.map(|batch| batch.column(column).as_ref()).collect();
        let rows: Vec<(usize, usize)> = places
            .iter()
            .map(|place| {
                let first = self.first_batch.get(place.part).copied().unwrap_or_default();
                let row = place.row as usize;
                (first + row / BATCH_ROWS, row % BATCH_ROWS)
            })
            .collect();
        Ok(interleave(&sources, &rows).map_err(arrow_failed)?)
    }

    /// The objects of the rows as the store has them, without vectors.
    fn objects(&self, places: &[Place]) -> Result<Vec<Option<Object>>, QueryError> {
        let keys: Vec<ObjectKey> = places.iter().map(|place| place.key).collect();
        let mut objects = Vec::with_capacity(keys.len());
        for page in keys.chunks(PAGE_OBJECTS) {
            self.stop.check()?;
            let found = self.still()?.fetch(page)?;
            objects.extend(found.into_iter().map(|found| found.map(|(_, object)| object)));
        }
        Ok(objects)
    }

    /// A column that only the store has.
    fn stored(&self, column: usize, objects: &[Option<Object>]) -> ArrayRef {
        let values = || objects.iter().map(|object| object.as_ref()?.columns.get(column));
        match self.view.schema().columns.get(column).map(|column| column.kind) {
            Some(ColumnType::FloatList) => {
                let mut builder = ListBuilder::new(Float64Builder::new());
                for value in values() {
                    match value {
                        Some(Value::FloatList(numbers)) => {
                            builder.values().append_slice(numbers);
                            builder.append(true);
                        }
                        _ => builder.append(false),
                    }
                }
                Arc::new(builder.finish())
            }
            _ => {
                let mut builder = BinaryBuilder::new();
                for value in values() {
                    builder.append_option(match value {
                        Some(Value::Binary(bytes)) => Some(bytes),
                        _ => None,
                    });
                }
                Arc::new(builder.finish())
            }
        }
    }

    /// The derived columns, in their order.
    fn derived(&self, places: &[Place]) -> Result<Vec<ArrayRef>, QueryError> {
        let columns: Vec<usize> = self
            .layout
            .wanted
            .iter()
            .filter_map(|wanted| match wanted.source {
                Source::Derived(place) => Some(place),
                Source::Resident(_) | Source::Stored(_) => None,
            })
            .collect();
        if columns.is_empty() {
            return Ok(Vec::new());
        }
        let mut rows: Vec<Vec<u32>> = vec![Vec::new(); self.parts.len()];
        let mut order = Vec::with_capacity(places.len());
        for place in places {
            if let Some(own) = rows.get_mut(place.part) {
                order.push((place.part, own.len()));
                own.push(place.row);
            }
        }
        // Parts without a row among these have nothing to compute.
        let mut used = Vec::with_capacity(rows.len());
        let mut computed: Vec<Vec<ArrayRef>> = vec![Vec::new(); columns.len()];
        for (part, (live, rows)) in self.parts.iter().zip(&rows).enumerate() {
            if rows.is_empty() {
                continue;
            }
            used.push(part);
            let stopped = || self.stop.check().is_err();
            let values = self.view.derive(live, &columns, rows, &stopped)?;
            let values = values.ok_or(QueryError::Stopped)?;
            for (column, values) in computed.iter_mut().zip(values) {
                column.push(values.to_arrow(0..rows.len()));
            }
        }
        for (part, _) in &mut order {
            *part = used.binary_search(part).map_err(|_| lost("a derived column"))?;
        }
        let join = |parts: &Vec<ArrayRef>| {
            let sources: Vec<&dyn Array> = parts.iter().map(AsRef::as_ref).collect();
            Ok(interleave(&sources, &order).map_err(arrow_failed)?)
        };
        computed.iter().map(join).collect()
    }

    /// The vectors of a space as they were given.
    fn vectors(&self, space: &EmbeddingSpace, places: &[Place]) -> Result<ArrayRef, QueryError> {
        let mut values: Vec<f32> = Vec::with_capacity(places.len() * space.dimension);
        let mut known: Vec<bool> = Vec::with_capacity(places.len());
        let mut take = |vector: Option<&[f32]>| {
            match vector {
                Some(vector) => values.extend_from_slice(vector),
                None => values.resize(values.len() + space.dimension, 0.0),
            }
            known.push(vector.is_some());
        };
        match space.metric {
            Metric::L2 | Metric::Ip => self.kept(space, places, &mut take)?,
            Metric::Cosine => self.given(space, places, &mut take)?,
        }
        if known.iter().all(|known| !known) {
            return Ok(new_null_array(&vector_type(space), places.len()));
        }
        let nulls = NullBuffer::from(known);
        let nulls = (nulls.null_count() > 0).then_some(nulls);
        let values = Arc::new(Float32Array::from(values));
        let size = space.dimension as i32;
        let array = FixedSizeListArray::try_new(component(), size, values, nulls);
        Ok(Arc::new(array.map_err(arrow_failed)?))
    }

    /// Vectors as the parts keep them.
    fn kept(
        &self,
        space: &EmbeddingSpace,
        places: &[Place],
        take: &mut dyn FnMut(Option<&[f32]>),
    ) -> Result<(), QueryError> {
        let of_parts: Vec<Option<&PartVectors>> =
            self.parts.iter().map(|live| live.part().vectors(space.id)).collect();
        let mut buffer = Vec::new();
        for place in places {
            let vectors = of_parts.get(place.part).copied().flatten();
            take(vectors.and_then(|vectors| vectors.of_row(place.row as usize, &mut buffer)));
        }
        if of_parts.into_iter().flatten().any(PartVectors::has_failed) {
            let space = space.name.clone();
            return Err(EngineError::UnreadableVectors { space }.into());
        }
        Ok(())
    }

    /// Vectors as the store has them: along the sky where most rows on the way are wanted, one by one where few are.
    fn given(
        &self,
        space: &EmbeddingSpace,
        places: &[Place],
        take: &mut dyn FnMut(Option<&[f32]>),
    ) -> Result<(), QueryError> {
        let keys: Vec<ObjectKey> = places.iter().map(|place| place.key).collect();
        if self.passed(places) <= PASSED_OVER * places.len() {
            return Ok(self.still()?.vectors_along(space.id, &keys, take)?);
        }
        for page in keys.chunks(PAGE_OBJECTS) {
            self.stop.check()?;
            let found = self.still()?.vectors_at(space.id, page)?;
            found.iter().for_each(|vector| take(vector.as_deref()));
        }
        Ok(())
    }

    /// Rows from the first to the last in every part.
    fn passed(&self, places: &[Place]) -> usize {
        let mut ends: Vec<Option<(u32, u32)>> = vec![None; self.parts.len()];
        for place in places {
            if let Some(ends) = ends.get_mut(place.part) {
                *ends = Some((ends.map_or(place.row, |(first, _)| first), place.row));
            }
        }
        ends.iter().flatten().map(|(first, last)| (last - first) as usize + 1).sum()
    }
}

fn arrow_failed(error: ArrowError) -> EngineError {
    EngineError::from(error)
}

fn lost(what: &str) -> QueryError {
    EngineError::DamagedSegment {
        path: "(export)".to_owned(),
        what: format!("{what} cannot be read"),
    }
    .into()
}
