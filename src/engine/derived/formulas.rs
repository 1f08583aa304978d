//! The formulas of a collection, the columns that they give, and values of these.

use std::ops::Range;
use std::sync::{Arc, PoisonError, RwLock};

use arrow::array::{Array, ArrayRef, Float64Array, StringArray};
use arrow::datatypes::{DataType, Field, Schema, SchemaRef};

use super::{DerivedColumn, DerivedKind, Formula};
use crate::engine::columns;
use crate::engine::error::EngineError;
use crate::schema::{CollectionSchema, EmbeddingSpace, Value, check_name};

/// The formulas of a collection at a moment. Columns keep their places as long as the set is the same.
#[derive(Debug, Default)]
pub struct Formulas {
    formulas: Vec<Arc<dyn Formula>>,
    columns: Vec<Output>,
}

#[derive(Debug)]
struct Output {
    column: DerivedColumn,
    formula: usize,
    place: usize,
}

impl Formulas {
    /// Takes formulas that fit a collection.
    ///
    /// # Errors
    /// [`EngineError::Formula`] when a formula needs a space or a column that is not there, or gives a column whose name is
    /// none or taken.
    pub(in crate::engine) fn new(
        schema: &CollectionSchema,
        formulas: Vec<Arc<dyn Formula>>,
    ) -> Result<Self, EngineError> {
        let mut set = Self { formulas: Vec::new(), columns: Vec::new() };
        let arrow_schema = columns::resident_schema(schema);
        for (number, formula) in formulas.iter().enumerate() {
            let refused = |what: String| {
                let names = formula.outputs().iter().map(|output| output.name.as_str());
                let names = names.collect::<Vec<_>>().join(", ");
                EngineError::Formula { collection: schema.name.clone(), names, what }
            };
            for space in formula.spaces() {
                if !schema.space_by_id(*space).is_some_and(EmbeddingSpace::holds_vectors) {
                    return Err(refused(format!(
                        "there is no space number {} of vectors",
                        space.0
                    )));
                }
            }
            for column in formula.columns() {
                if number_column(&arrow_schema, column).is_none() {
                    return Err(refused(format!("there is no column `{column}` of numbers")));
                }
            }
            for (place, output) in formula.outputs().iter().enumerate() {
                check_name("derived column", &output.name)
                    .map_err(|error| refused(error.to_string()))?;
                let same = |field: &&Arc<Field>| field.name().eq_ignore_ascii_case(&output.name);
                if arrow_schema.fields().iter().any(|field| same(&field))
                    || schema.column_place(&output.name).is_some()
                    || set.place(&output.name).is_some()
                {
                    return Err(refused(format!("the name `{}` is taken", output.name)));
                }
                set.columns.push(Output { column: output.clone(), formula: number, place });
            }
        }
        set.formulas = formulas;
        Ok(set)
    }

    /// The derived columns, in the order of their places.
    pub fn columns(&self) -> impl Iterator<Item = &DerivedColumn> {
        self.columns.iter().map(|output| &output.column)
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.columns.is_empty()
    }

    /// Place of a derived column by name, compared without regard to case.
    pub fn place(&self, name: &str) -> Option<usize> {
        self.columns.iter().position(|output| output.column.name.eq_ignore_ascii_case(name))
    }

    /// The derived column at a place.
    pub fn column(&self, place: usize) -> Option<&DerivedColumn> {
        self.columns.get(place).map(|output| &output.column)
    }

    /// The formula behind a column, and which of its outputs the column is.
    pub(super) fn behind(&self, column: usize) -> Option<(&Arc<dyn Formula>, usize)> {
        let output = self.columns.get(column)?;
        Some((self.formulas.get(output.formula)?, output.place))
    }

    /// The columns of a schema, and the derived ones behind them.
    pub(in crate::engine) fn extended(&self, arrow_schema: &SchemaRef) -> SchemaRef {
        if self.is_empty() {
            return Arc::clone(arrow_schema);
        }
        let own = arrow_schema.fields().iter().cloned();
        let derived = self.columns().map(|column| {
            let kind = match column.kind {
                DerivedKind::Real => DataType::Float64,
                DerivedKind::Label(_) => DataType::Utf8,
            };
            Arc::new(Field::new(&column.name, kind, true))
        });
        Arc::new(Schema::new(own.chain(derived).collect::<Vec<_>>()))
    }
}

/// Place in a resident schema of a column whose values are numbers, or flags, by name.
pub(super) fn number_column(arrow_schema: &SchemaRef, name: &str) -> Option<usize> {
    let same = |field: &Arc<Field>| field.name().eq_ignore_ascii_case(name);
    let place = arrow_schema.fields().iter().position(same)?;
    matches!(
        arrow_schema.field(place).data_type(),
        DataType::Boolean | DataType::Int64 | DataType::Float32 | DataType::Float64
    )
    .then_some(place)
}

/// The formulas that a collection has now.
#[derive(Debug, Default)]
pub(in crate::engine) struct FormulaSlot(RwLock<Arc<Formulas>>);

impl FormulaSlot {
    pub(in crate::engine) fn get(&self) -> Arc<Formulas> {
        Arc::clone(&self.0.read().unwrap_or_else(PoisonError::into_inner))
    }

    pub(in crate::engine) fn set(&self, formulas: Formulas) {
        *self.0.write().unwrap_or_else(PoisonError::into_inner) = Arc::new(formulas);
    }
}

/// Values of a derived column for some rows.
#[derive(Debug, Clone)]
pub struct DerivedValues {
    kind: DerivedKind,
    /// A number, or the place of a label.
    numbers: Float64Array,
}

impl DerivedValues {
    pub(super) fn new(kind: DerivedKind, numbers: Float64Array) -> Self {
        Self { kind, numbers }
    }

    /// The values of a run of the rows as Arrow has them: numbers, or texts.
    pub fn to_arrow(&self, places: Range<usize>) -> ArrayRef {
        match &self.kind {
            DerivedKind::Real => Arc::new(self.numbers.slice(places.start, places.len())),
            DerivedKind::Label(labels) => {
                let texts = places.map(|place| self.label(labels, place));
                Arc::new(texts.collect::<StringArray>())
            }
        }
    }

    /// The number of one of the rows; `None` for null and for labels.
    pub fn real(&self, place: usize) -> Option<f64> {
        match self.kind {
            DerivedKind::Real => self.number(place),
            DerivedKind::Label(_) => None,
        }
    }

    /// The value of one of the rows.
    pub fn value(&self, place: usize) -> Value {
        match &self.kind {
            DerivedKind::Real => self.number(place).map_or(Value::Null, Value::Float64),
            DerivedKind::Label(labels) => {
                self.label(labels, place).map_or(Value::Null, |label| Value::Text(label.to_owned()))
            }
        }
    }

    fn number(&self, place: usize) -> Option<f64> {
        let is_there = place < self.numbers.len() && self.numbers.is_valid(place);
        is_there.then(|| self.numbers.value(place))
    }

    fn label<'a>(&self, labels: &'a [String], place: usize) -> Option<&'a str> {
        let number = self.number(place).filter(|number| *number >= 0.0)?;
        labels.get(number as usize).map(String::as_str)
    }
}
