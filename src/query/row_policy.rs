//! Row policies: predicates that say which rows somebody may see.
//!
//! A row is admitted where at least one predicate is true of it; where none is, be it that they are false, unknown because of a
//! null, or cannot be computed, the row is hidden. Predicates name stored columns only: what a probe says must not open rows.
//!
//! The rows of a part are found once, by the indices of its columns where they answer a condition, and remembered with the part
//! ([`RowPolicy`]); a query then meets them as it meets deletes, and pays nothing more.

use std::sync::Arc;

use arrow::array::{Array, BooleanArray, RecordBatch};
use arrow::datatypes::SchemaRef;
use roaring::RoaringBitmap;

use super::datafusion::{Predicate, PredicateError, Split, may_name_day};
use super::day::Day;
use super::error::QueryError;
use super::filter::evaluate;
use super::{StopFlag, count};
use crate::engine::{
    self, Attribute, BATCH_ROWS, CollectionView, Part, PolicyKey, RowPolicy, Spans,
};
use crate::schema::CollectionSchema;

/// Rows that are tested at once.
const BLOCK_ROWS: usize = 8_192;

/// Share of the rows of a part below which they are found by a column's index instead of by testing all.
const FEW_SHARE: usize = 4;

/// The policy of somebody who sees the rows for which any of some predicates holds, on a day. A predicate that does not fit the
/// schema, which may have changed since it was written, admits no row, and the log says so.
pub fn row_policy(
    schema: &CollectionSchema,
    predicates: &[String],
    today: Day,
) -> Arc<dyn RowPolicy> {
    let resident = engine::resident_schema(schema);
    let clause = |predicate: &String| match Clause::new(predicate, &resident, today) {
        Ok(clause) => Some(clause),
        Err(error) => {
            let collection = &schema.name;
            tracing::error!(collection, predicate, %error, "a row policy admits no row");
            None
        }
    };
    let clauses = predicates.iter().filter_map(clause).collect();
    let mut hash = blake3::Hasher::new();
    for predicate in predicates {
        // Their lengths tell two predicates from one.
        hash.update(&(predicate.len() as u64).to_le_bytes()).update(predicate.as_bytes());
    }
    if predicates.iter().any(|predicate| may_name_day(predicate)) {
        hash.update(&today.mjd().to_le_bytes());
    }
    let key = PolicyKey(*hash.finalize().as_bytes());
    Arc::new(Policy { key, predicates: predicates.to_vec(), today, clauses })
}

/// Checks a predicate of a row policy against the schema that it is written for.
///
/// # Errors
/// [`QueryError::Predicate`]: what is no condition on the stored columns of one object, names an unknown column (which is told),
/// asks the clock, or names a column `today` or `mjd_today` without double quotes.
pub fn check_policy(schema: &CollectionSchema, predicate: &str) -> Result<(), QueryError> {
    Clause::new(predicate, &engine::resident_schema(schema), Day::today())?;
    Ok(())
}

/// Rows of a view that a policy hides because they have something else than a date, `YYYY-MM-DD`, in a text column which it
/// compares with `today`.
///
/// # Errors
/// Those of [`check_policy`], and those of [`count`].
pub fn undated_rows(view: &CollectionView, predicate: &str) -> Result<u64, QueryError> {
    let resident = engine::resident_schema(view.schema());
    match Predicate::undated(predicate, &resident, Day::today())? {
        Some(undated) => count(view, None, Some(&undated), &StopFlag::default()),
        None => Ok(0),
    }
}

#[derive(Debug)]
struct Policy {
    key: PolicyKey,
    predicates: Vec<String>,
    today: Day,
    /// Those that fit the schema.
    clauses: Vec<Clause>,
}

/// One predicate: whole, and taken apart.
#[derive(Debug)]
struct Clause {
    whole: Predicate,
    split: Split,
}

impl RowPolicy for Policy {
    fn key(&self) -> PolicyKey {
        self.key
    }

    fn predicates(&self) -> &[String] {
        &self.predicates
    }

    fn admits(&self, batch: &RecordBatch) -> BooleanArray {
        let mut admitted = vec![false; batch.num_rows()];
        for clause in &self.clauses {
            for (admitted, passes) in admitted.iter_mut().zip(clause.admits(batch)) {
                *admitted |= passes;
            }
        }
        BooleanArray::from(admitted)
    }

    fn admitted_rows(&self, part: &Part) -> RoaringBitmap {
        self.clauses.iter().fold(RoaringBitmap::new(), |all, clause| all | clause.rows(part))
    }

    fn on(&self, schema: &CollectionSchema) -> Arc<dyn RowPolicy> {
        row_policy(schema, &self.predicates, self.today)
    }
}

impl Clause {
    fn new(predicate: &str, schema: &SchemaRef, today: Day) -> Result<Self, PredicateError> {
        let whole = Predicate::parse_on(predicate, schema, today)?;
        let split = Predicate::split_on(predicate, schema, schema.fields().len(), Some(today))?;
        Ok(Self { whole, split })
    }

    fn admits(&self, batch: &RecordBatch) -> Vec<bool> {
        let one_by_one = |error: PredicateError| {
            tracing::warn!(%error, "a row policy cannot be computed of every row: such rows are hidden");
            let of_row = |row: usize| match self.whole.evaluate(&batch.slice(row, 1)) {
                Ok(passes) => holds(&passes, 0),
                Err(_) => false,
            };
            (0..batch.num_rows()).map(of_row).collect()
        };
        match self.whole.evaluate(batch) {
            Ok(passes) => (0..batch.num_rows()).map(|row| holds(&passes, row)).collect(),
            Err(error) => one_by_one(error),
        }
    }

    /// The rows of a part for which the predicate holds.
    fn rows(&self, part: &Part) -> RoaringBitmap {
        let conditions = self.split.conditions.iter().map(|condition| {
            let attribute = part.attribute(condition.column)?;
            let spans = attribute.spans(&condition.values);
            Some((attribute, spans))
        });
        let conditions: Option<Vec<(&Attribute, Spans)>> = conditions.collect();
        let (conditions, rest) = match conditions {
            Some(conditions) => (conditions, self.split.rest.as_ref()),
            None => (Vec::new(), Some(&self.whole)),
        };
        let counts = conditions.iter().map(|(attribute, spans)| attribute.count(spans));
        let narrowest = counts.enumerate().min_by_key(|(_, count)| *count);
        let mut admitted = RoaringBitmap::new();
        let mut test = |rows: Vec<u32>| admitted.extend(passing(part, &conditions, rest, rows));
        match narrowest {
            Some((place, count)) if count * FEW_SHARE < part.row_count() => {
                let (attribute, spans) = &conditions[place];
                let mut rows: Vec<u32> = attribute.rows(spans).collect();
                rows.sort_unstable();
                rows.chunks(BLOCK_ROWS).for_each(|rows| test(rows.to_vec()));
            }
            _ => {
                let all = part.row_count() as u32;
                let starts = (0..all).step_by(BLOCK_ROWS);
                starts
                    .for_each(|start| test((start..all.min(start + BLOCK_ROWS as u32)).collect()));
            }
        }
        admitted
    }
}

/// Those of some rows, which ascend, that satisfy conditions and what is left of a predicate beside them.
fn passing(
    part: &Part,
    conditions: &[(&Attribute, Spans)],
    rest: Option<&Predicate>,
    mut rows: Vec<u32>,
) -> Vec<u32> {
    for (attribute, spans) in conditions {
        let mut keep = Vec::with_capacity(rows.len());
        attribute.select(&rows, spans, &mut keep);
        rows = keep.iter().filter_map(|&place| rows.get(place as usize).copied()).collect();
    }
    let Some(rest) = rest else { return rows };
    let mut passed = Vec::with_capacity(rows.len());
    // A batch is a table of its own.
    for rows in rows.chunk_by(|left, right| batch_of(*left) == batch_of(*right)) {
        match evaluate(part, rest, rows, &[]) {
            Ok(passes) => {
                let kept = rows.iter().enumerate().filter(|(place, _)| holds(&passes, *place));
                passed.extend(kept.map(|(_, row)| *row));
            }
            Err(error) => {
                tracing::warn!(%error, "a row policy cannot be computed of every row: such rows are hidden");
                let of_row = |row: &u32| {
                    evaluate(part, rest, &[*row], &[]).is_ok_and(|passes| holds(&passes, 0))
                };
                passed.extend(rows.iter().copied().filter(of_row));
            }
        }
    }
    passed
}

fn batch_of(row: u32) -> usize {
    row as usize / BATCH_ROWS
}

fn holds(passes: &BooleanArray, row: usize) -> bool {
    row < passes.len() && passes.is_valid(row) && passes.value(row)
}
