//! Objects in the order of a column instead of a distance: one that is stored, or one that is derived.
//!
//! Larger or smaller values first, then NaN, then nulls; ties are broken by object id. A stored column with an index is
//! walked in its order where the first survivors are expected early; else every survivor is offered to the `k` best.

use arrow::datatypes::DataType;

use super::bind::Bound;
use super::error::QueryError;
use super::execute::{Execution, Found, found};
use super::filter::{DERIVED_ROWS, PartFilter};
use super::plan::Plan;
use super::request::{OrderBy, Query};
use crate::engine::{Attribute, CollectionView, DerivedKind, Part};
use crate::schema::Value;
use crate::vector::{Distance, RowSet, TopK};

/// Fewest rows that are taken from an index at once.
const WALKED_ROWS_MIN: usize = 1_024;

/// What objects are ordered by.
#[derive(Debug)]
pub(super) struct Order {
    /// Name of the column, as the collection writes it.
    pub(super) name: String,
    /// Whether the largest value is first.
    pub(super) descending: bool,
    pub(super) column: OrderColumn,
}

/// Where the values are.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum OrderColumn {
    /// Place in the resident schema.
    Resident(usize),
    /// Place among the derived columns.
    Derived(usize),
}

/// Kind of a value (number, NaN, null), and where it is among those of its kind.
type Rank = (u8, u64);

const NUMBER: u8 = 0;
const NAN: u8 = 1;
const NULL: u8 = 2;

const SIGN: u64 = 1 << 63;

impl Order {
    pub(super) fn bind(view: &CollectionView, asked: &OrderBy) -> Result<Self, QueryError> {
        let refused = |kind: &str| QueryError::NotOrderable {
            column: asked.column.clone(),
            kind: kind.to_owned(),
        };
        let descending = asked.descending;
        if let Some(place) = view.formulas().place(&asked.column)
            && let Some(column) = view.formulas().column(place)
        {
            return match column.kind {
                DerivedKind::Real => {
                    let (name, column) = (column.name.clone(), OrderColumn::Derived(place));
                    Ok(Self { name, descending, column })
                }
                DerivedKind::Label(_) => Err(refused("labels")),
            };
        }
        let fields = view.arrow_schema().fields();
        let same = fields.iter().position(|field| field.name().eq_ignore_ascii_case(&asked.column));
        let Some((place, field)) = same.and_then(|place| Some((place, fields.get(place)?))) else {
            let stored = view.schema().column_place(&asked.column);
            if let Some(column) = stored.and_then(|place| view.schema().columns.get(place)) {
                return Err(refused(column.kind.name()));
            }
            let fields = fields.iter().map(|field| field.name().as_str());
            let derived = view.formulas().columns().map(|column| column.name.as_str());
            let known = fields.chain(derived).collect::<Vec<_>>().join(", ");
            return Err(QueryError::UnknownColumn { column: asked.column.clone(), known });
        };
        match field.data_type() {
            DataType::Int64 | DataType::Float32 | DataType::Float64 => {
                let (name, column) = (field.name().clone(), OrderColumn::Resident(place));
                Ok(Self { name, descending, column })
            }
            DataType::Boolean => Err(refused("boolean")),
            _ => Err(refused("text")),
        }
    }

    fn rank(&self, value: &Value) -> Rank {
        let (kind, place) = match value {
            Value::Int64(number) => (NUMBER, number.cast_unsigned() ^ SIGN),
            Value::Float32(number) => real(f64::from(*number)),
            Value::Float64(number) => real(*number),
            Value::Null
            | Value::Boolean(_)
            | Value::Text(_)
            | Value::Binary(_)
            | Value::FloatList(_) => (NULL, 0),
        };
        if self.descending && kind == NUMBER { (kind, !place) } else { (kind, place) }
    }
}

/// The rank of a real: both zeros have the same.
fn real(number: f64) -> Rank {
    if number.is_nan() {
        return (NAN, 0);
    }
    let bits = (number + 0.0).to_bits();
    (NUMBER, if bits & SIGN == 0 { bits | SIGN } else { !bits })
}

/// The first objects of all parts in the order asked for.
pub(super) fn execute(
    view: &CollectionView,
    query: &Query,
    bound: &Bound,
    plan: &Plan,
    filters: &[PartFilter<'_>],
) -> Result<Execution, QueryError> {
    let mut touched = Execution::new(plan.kind);
    let (Some(order), Some(zero)) = (&bound.order, Distance::new(0.0)) else { return Ok(touched) };
    let mut run = Run { view, query, order, top: TopK::new(bound.limit), looked_at: 0 };
    for (place, filter) in filters.iter().enumerate() {
        let left = run.part(place, filter, plan.estimates.get(place).copied())?;
        touched.survivors = touched.survivors.zip(left).map(|(sum, left)| sum + left as u64);
    }
    touched.rows_scanned = run.looked_at as u64;
    touched.nearest = run.top.into_sorted().into_iter().map(|(_, found)| (zero, found)).collect();
    Ok(touched)
}

struct Run<'a> {
    view: &'a CollectionView,
    query: &'a Query,
    order: &'a Order,
    top: TopK<Found, Rank>,
    looked_at: usize,
}

impl Run<'_> {
    /// Offers the rows of a part, and says how many are left where all of them were looked at.
    fn part(
        &mut self,
        place: usize,
        filter: &PartFilter<'_>,
        estimate: Option<f64>,
    ) -> Result<Option<usize>, QueryError> {
        let part = filter.live().part();
        let column = match self.order.column {
            OrderColumn::Derived(column) => {
                let left = filter.rows_left(&self.query.stop)?;
                self.derived(place, filter, column, &left)?;
                return Ok(Some(left.len()));
            }
            OrderColumn::Resident(column) => column,
        };
        if let Some(attribute) = part.attribute(column) {
            let survivors = estimate.unwrap_or(0.0);
            let walked = self.top.capacity() as f64 * part.row_count() as f64 / survivors.max(1.0);
            if walked.max(WALKED_ROWS_MIN as f64) < survivors {
                self.by_index(place, filter, column, attribute)?;
                return Ok(filter.known_count());
            }
        }
        let (mut left, query) = (0, self.query);
        filter.for_each_chunk(filter.cheapest_source(), &query.stop, |rows| {
            left += rows.len();
            self.offer(place, part, column, rows);
            Ok(())
        })?;
        Ok(Some(left))
    }

    fn offer(&mut self, place: usize, part: &Part, column: usize, rows: &[u32]) {
        self.looked_at += rows.len();
        for &row in rows {
            let rank = self.order.rank(&part.value_at(column, row as usize));
            self.top.offer(rank, || found(place, part, row as usize));
        }
    }

    fn derived(
        &mut self,
        place: usize,
        filter: &PartFilter<'_>,
        column: usize,
        left: &[u32],
    ) -> Result<(), QueryError> {
        let stop = &self.query.stop;
        let part = filter.live().part();
        for some in left.chunks(DERIVED_ROWS) {
            self.looked_at += some.len();
            let values = self.view.derive(filter.live(), &[column], some, &|| stop.is_raised())?;
            let values = values.ok_or(QueryError::Stopped)?;
            let Some(values) = values.first() else { continue };
            for (number, &row) in some.iter().enumerate() {
                let value = values.real(number).map_or(Value::Null, Value::Float64);
                self.top.offer(self.order.rank(&value), || found(place, part, row as usize));
            }
        }
        Ok(())
    }

    /// Walks the index of the column until `k` rows were left, and to the end of those that are equal to the last.
    fn by_index(
        &mut self,
        place: usize,
        filter: &PartFilter<'_>,
        column: usize,
        attribute: &Attribute,
    ) -> Result<(), QueryError> {
        let part = filter.live().part();
        let (mut kept, mut keep) = (0, Vec::new());
        for rows in attribute.in_order(self.order.descending, WALKED_ROWS_MIN) {
            self.query.stop.check()?;
            keep.clear();
            filter.select(&rows, &mut keep);
            let left: Vec<u32> =
                keep.iter().filter_map(|&at| rows.get(at as usize).copied()).collect();
            self.offer(place, part, column, &left);
            kept += left.len();
            if kept >= self.top.capacity() {
                return Ok(());
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn order(descending: bool) -> Order {
        Order { name: String::new(), descending, column: OrderColumn::Resident(0) }
    }

    proptest! {
        #[test]
        fn ranks_order_as_numbers(a in any::<f64>(), b in any::<f64>(), i in any::<i64>(), j in any::<i64>()) {
            let (up, down) = (order(false), order(true));
            let (x, y) = (Value::Float64(a), Value::Float64(b));
            if let Some(wanted) = a.partial_cmp(&b) {
                prop_assert_eq!(up.rank(&x).cmp(&up.rank(&y)), wanted);
                prop_assert_eq!(down.rank(&x).cmp(&down.rank(&y)), wanted.reverse());
            }
            let (x, y) = (Value::Int64(i), Value::Int64(j));
            prop_assert_eq!(up.rank(&x).cmp(&up.rank(&y)), i.cmp(&j));
            prop_assert_eq!(down.rank(&x).cmp(&down.rank(&y)), j.cmp(&i));
        }
    }

    #[test]
    fn what_is_no_number_comes_last_in_both_orders() {
        for order in [order(false), order(true)] {
            let rank = |value: f64| order.rank(&Value::Float64(value));
            assert!(
                rank(f64::INFINITY) < rank(f64::NAN) && rank(f64::NEG_INFINITY) < rank(f64::NAN)
            );
            assert!(rank(f64::NAN) < order.rank(&Value::Null));
            assert_eq!(rank(0.0), rank(-0.0));
        }
    }
}
