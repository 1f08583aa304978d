//! Predicates: SQL conditions on the columns of objects. The only importer of DataFusion.
//!
//! A predicate is parsed, checked and compiled once and then evaluated over record batches. What SQL
//! calls unknown (a comparison with a null) is false at the end. Reals compare by IEEE 754: with
//! NaN, the catalogue's "not measured", nothing is equal, less or greater, so that only `<>` and
//! `NOT` over a comparison find it, and -0 equals 0. (DataFusion itself puts NaN above every number,
//! so that `z > 0.3` would find what was never measured.) Use `isnan(z)` to find it.
//!
//! Expressions are not simplified (`z = z` would become `z IS NOT NULL`, wrong for NaN): what is
//! written is what is computed. `sqrt` and `power` give NaN and
//! infinity as IEEE 754 has it instead of failing on one row's value.

mod check;
mod compile;
mod dates;
mod error;
mod ieee;
mod lex;
mod literal;
mod names;
mod split;

#[cfg(test)]
mod oracle;
#[cfg(test)]
mod split_tests;
#[cfg(test)]
mod tests;

use std::sync::Arc;

use arrow::array::{Array, BooleanArray, RecordBatch, RecordBatchOptions};
use arrow::compute::{and, prep_null_mask_filter};
use arrow::datatypes::SchemaRef;
use datafusion::common::DataFusionError;
use datafusion::common::cast::as_boolean_array;
use datafusion::logical_expr::ColumnarValue;
use datafusion::physical_expr::{PhysicalExpr, split_conjunction};

use super::day::Day;

pub use error::PredicateError;
pub(in crate::query) use lex::may_name_day;
pub use lex::{LENGTH_MAX, NESTING_MAX, VALUES_MAX, WORDS_MAX};
pub use split::{ColumnCondition, Split};

/// How often the conditions that could not be computed are tried again: each time may cost as much as the whole, and a guard helps in
/// the first or the second.
const ROUNDS_MAX: usize = 4;

/// A condition on the columns of objects.
#[derive(Debug, Clone)]
pub struct Predicate {
    /// The columns that it needs, in the order of the schema.
    columns: Vec<String>,
    /// Those columns alone.
    schema: SchemaRef,
    condition: Arc<dyn PhysicalExpr>,
}

impl Predicate {
    /// Parses a SQL boolean expression on the columns of `schema`.
    ///
    /// Column names are found without regard to case, in double quotes or not; text values stand
    /// in single quotes.
    ///
    /// # Errors
    /// [`PredicateError`] for a text that is too long or too nested, a syntax error, an unknown or
    /// unusable column, numbers compared with text, a result that is not true or false, and what a
    /// condition on single objects cannot have: subqueries, aggregates, windows, random numbers.
    pub fn parse(sql: &str, schema: &SchemaRef) -> Result<Self, PredicateError> {
        compile::compile(sql, schema, None)
    }

    /// Parses a condition that says for ever the same of a row on one day: `today` is its date as a text, and `mjd_today` its
    /// Modified Julian Date. A text that is compared with `today` and is no date is neither before nor after it.
    ///
    /// # Errors
    /// Those of [`Predicate::parse`]; [`PredicateError::NotAllowed`] for functions of the clock, and
    /// [`PredicateError::AmbiguousDay`] for a column of such a name that is not quoted.
    pub(in crate::query) fn parse_on(
        sql: &str,
        schema: &SchemaRef,
        day: Day,
    ) -> Result<Self, PredicateError> {
        compile::check_fixed(sql, schema, day)?;
        compile::compile(sql, schema, Some(day))
    }

    /// The condition for rows that have something else than a date in a text column which a predicate compares with the day: such
    /// a comparison is never true of them. `None` where it compares no text with the day.
    ///
    /// # Errors
    /// Those of [`Predicate::parse`] that the text itself causes.
    pub(in crate::query) fn undated(
        sql: &str,
        schema: &SchemaRef,
        day: Day,
    ) -> Result<Option<String>, PredicateError> {
        let columns = compile::dated_columns(sql, schema, day)?;
        let undated = columns.iter().map(|column| {
            let column = column.replace('"', "\"\"");
            format!("(\"{column}\" IS NOT NULL AND {}(\"{column}\") IS NULL)", dates::NAME)
        });
        let undated: Vec<String> = undated.collect();
        Ok((!undated.is_empty()).then(|| undated.join(" OR ")))
    }

    /// The names of the columns that are needed, as the schema writes them and in its order.
    pub fn columns(&self) -> &[String] {
        &self.columns
    }

    /// True for each row that satisfies the condition, false for every other; never null.
    ///
    /// The batch may have any other columns beside the ones that are needed. Where the whole cannot be computed, conditions that are
    /// joined by `AND` are, one after the other, each for the rows that those before it leave in this batch: `n <> 0 AND 10 / n > 1`
    /// is answered, in this order and the other.
    ///
    /// # Errors
    /// [`PredicateError::MissingColumn`] for a batch of another schema;
    /// [`PredicateError::Evaluation`] where a value cannot be computed, such as a division of an
    /// integer by zero or a text that is cast and is not a number.
    pub fn evaluate(&self, batch: &RecordBatch) -> Result<BooleanArray, PredicateError> {
        let missing = |name: &String| PredicateError::MissingColumn { name: name.clone() };
        let column =
            |name: &String| batch.column_by_name(name).cloned().ok_or_else(|| missing(name));
        let columns = self.columns.iter().map(column).collect::<Result<_, _>>()?;
        let row_count = batch.num_rows();
        let options = RecordBatchOptions::new().with_row_count(Some(row_count));
        let needed = RecordBatch::try_new_with_options(Arc::clone(&self.schema), columns, &options)
            .map_err(|source| PredicateError::Evaluation { source: source.into() })?;
        truths(self.condition.evaluate(&needed), row_count)
            // Rarely: rows that cannot be computed may be rows that are left out.
            .or_else(|error| self.one_by_one(&needed, error))
            .map_err(|source| PredicateError::Evaluation { source })
    }

    /// The same, condition by condition, each for the rows that those before it leave. One that cannot be computed is tried again when
    /// the others have left out more; `error` is what the whole came to.
    fn one_by_one(
        &self,
        needed: &RecordBatch,
        error: DataFusionError,
    ) -> Result<BooleanArray, DataFusionError> {
        let mut pending = split_conjunction(&self.condition);
        let mut left = BooleanArray::from(vec![true; needed.num_rows()]);
        let mut last = error;
        for _ in 0..ROUNDS_MAX {
            let before = pending.len();
            let mut failing = Vec::new();
            for condition in pending {
                let values = condition.evaluate_selection(needed, &left);
                match truths(values, needed.num_rows()) {
                    Ok(values) => left = and(&left, &values)?,
                    Err(error) => {
                        last = error;
                        failing.push(condition);
                    }
                }
            }
            if failing.is_empty() {
                return Ok(left);
            }
            if failing.len() == before {
                break;
            }
            pending = failing;
        }
        Err(last)
    }
}

/// What was computed for so many rows, with false for what is unknown.
fn truths(
    evaluated: Result<ColumnarValue, DataFusionError>,
    row_count: usize,
) -> Result<BooleanArray, DataFusionError> {
    let values = evaluated?.into_array(row_count)?;
    let values = as_boolean_array(&values)?;
    Ok(if values.null_count() > 0 { prep_null_mask_filter(values) } else { values.clone() })
}
