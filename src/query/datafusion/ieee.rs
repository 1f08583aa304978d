//! Comparisons of reals by IEEE 754, where DataFusion has a total order with NaN on top.

use std::fmt;
use std::hash::Hash;
use std::sync::Arc;

use arrow::array::{Array, ArrowPrimitiveType, AsArray, BooleanArray, PrimitiveArray, RecordBatch};
use arrow::buffer::{BooleanBuffer, NullBuffer};
use arrow::datatypes::{DataType, Float32Type, Float64Type, Schema};
use datafusion::common::tree_node::{Transformed, TransformedResult, TreeNode};
use datafusion::common::{Result, ScalarValue, internal_err};
use datafusion::logical_expr::{ColumnarValue, Operator};
use datafusion::physical_expr::PhysicalExpr;
use datafusion::physical_expr::expressions::{BinaryExpr, InListExpr, Literal, in_list};

/// Replaces the comparisons of reals in a compiled expression.
pub(super) fn with_ieee_comparisons(
    expression: Arc<dyn PhysicalExpr>,
    schema: &Schema,
) -> Result<Arc<dyn PhysicalExpr>> {
    let replace = |node: Arc<dyn PhysicalExpr>| {
        if let Some(binary) = node.downcast_ref::<BinaryExpr>()
            && let Some(comparison) = Comparison::of(*binary.op())
            && is_real(&binary.left().data_type(schema)?)
        {
            let (left, right) = (Arc::clone(binary.left()), Arc::clone(binary.right()));
            return Ok(Transformed::yes(Arc::new(Compared { left, right, comparison }) as _));
        }
        if let Some(list) = node.downcast_ref::<InListExpr>() {
            let kind = list.expr().data_type(schema)?;
            if is_real(&kind) {
                return Ok(Transformed::yes(with_one_zero(list, &kind, schema)?));
            }
        }
        Ok(Transformed::no(node))
    };
    expression.transform_up(replace).data()
}

fn is_real(kind: &DataType) -> bool {
    matches!(kind, DataType::Float32 | DataType::Float64)
}

/// A list is searched by bits: adding 0 turns -0 into 0 on both sides. NaN is in no list of numbers.
fn with_one_zero(
    list: &InListExpr,
    kind: &DataType,
    schema: &Schema,
) -> Result<Arc<dyn PhysicalExpr>> {
    let zero = ScalarValue::new_zero(kind)?;
    let plus_zero = |side: &Arc<dyn PhysicalExpr>| -> Arc<dyn PhysicalExpr> {
        let literal = side.downcast_ref::<Literal>().map(Literal::value);
        match literal {
            Some(ScalarValue::Float64(Some(value))) => {
                Arc::new(Literal::new(ScalarValue::Float64(Some(value + 0.0))))
            }
            Some(ScalarValue::Float32(Some(value))) => {
                Arc::new(Literal::new(ScalarValue::Float32(Some(value + 0.0))))
            }
            Some(_) => Arc::clone(side),
            None => {
                let zero = Arc::new(Literal::new(zero.clone()));
                Arc::new(BinaryExpr::new(Arc::clone(side), Operator::Plus, zero))
            }
        }
    };
    let values = list.list().iter().map(plus_zero).collect();
    in_list(plus_zero(list.expr()), values, &list.negated(), schema)
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
enum Comparison {
    Equal,
    NotEqual,
    Less,
    LessOrEqual,
    Greater,
    GreaterOrEqual,
}

impl Comparison {
    fn of(operator: Operator) -> Option<Self> {
        match operator {
            Operator::Eq => Some(Self::Equal),
            Operator::NotEq => Some(Self::NotEqual),
            Operator::Lt => Some(Self::Less),
            Operator::LtEq => Some(Self::LessOrEqual),
            Operator::Gt => Some(Self::Greater),
            Operator::GtEq => Some(Self::GreaterOrEqual),
            _ => None,
        }
    }

    fn symbol(self) -> &'static str {
        match self {
            Self::Equal => "=",
            Self::NotEqual => "<>",
            Self::Less => "<",
            Self::LessOrEqual => "<=",
            Self::Greater => ">",
            Self::GreaterOrEqual => ">=",
        }
    }
}

/// Two reals of one type, compared as the processor does.
#[expect(clippy::derived_hash_with_manual_eq, reason = "both are of all the fields")]
#[derive(Debug, Eq, Hash)]
struct Compared {
    left: Arc<dyn PhysicalExpr>,
    right: Arc<dyn PhysicalExpr>,
    comparison: Comparison,
}

// Derived equality would move the operands out of their `Arc`s.
impl PartialEq for Compared {
    fn eq(&self, other: &Self) -> bool {
        self.comparison == other.comparison
            && self.left.eq(&other.left)
            && self.right.eq(&other.right)
    }
}

impl fmt::Display for Compared {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{} {} {}", self.left, self.comparison.symbol(), self.right)
    }
}

impl PhysicalExpr for Compared {
    fn data_type(&self, _schema: &Schema) -> Result<DataType> {
        Ok(DataType::Boolean)
    }

    fn nullable(&self, schema: &Schema) -> Result<bool> {
        Ok(self.left.nullable(schema)? || self.right.nullable(schema)?)
    }

    fn evaluate(&self, batch: &RecordBatch) -> Result<ColumnarValue> {
        let (left, right) = (self.left.evaluate(batch)?, self.right.evaluate(batch)?);
        let row_count = batch.num_rows();
        let kinds = (left.data_type(), right.data_type());
        let compared = match kinds {
            (DataType::Float64, DataType::Float64) => {
                compare::<Float64Type>(self.comparison, &left, &right, row_count)?
            }
            (DataType::Float32, DataType::Float32) => {
                compare::<Float32Type>(self.comparison, &left, &right, row_count)?
            }
            (left, right) => {
                return internal_err!("reals of types {left} and {right} are compared");
            }
        };
        Ok(ColumnarValue::Array(Arc::new(compared)))
    }

    fn children(&self) -> Vec<&Arc<dyn PhysicalExpr>> {
        vec![&self.left, &self.right]
    }

    fn with_new_children(
        self: Arc<Self>,
        children: Vec<Arc<dyn PhysicalExpr>>,
    ) -> Result<Arc<dyn PhysicalExpr>> {
        match <[_; 2]>::try_from(children) {
            Ok([left, right]) => Ok(Arc::new(Self { left, right, comparison: self.comparison })),
            Err(children) => internal_err!("a comparison has two operands, not {}", children.len()),
        }
    }

    fn fmt_sql(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.left.fmt_sql(formatter)?;
        write!(formatter, " {} ", self.comparison.symbol())?;
        self.right.fmt_sql(formatter)
    }
}

/// One operand: a value for each row, or one for all; none is a null.
enum Operand<T: ArrowPrimitiveType> {
    Rows(PrimitiveArray<T>),
    Same(Option<T::Native>),
}

impl<T: ArrowPrimitiveType> Operand<T> {
    fn new(value: &ColumnarValue) -> Result<Self> {
        Ok(match value {
            ColumnarValue::Array(array) => Self::Rows(array.as_primitive::<T>().clone()),
            ColumnarValue::Scalar(scalar) => {
                let single = scalar.to_array()?;
                let single = single.as_primitive::<T>();
                Self::Same(single.iter().next().flatten())
            }
        })
    }
}

fn compare<T: ArrowPrimitiveType>(
    comparison: Comparison,
    left: &ColumnarValue,
    right: &ColumnarValue,
    row_count: usize,
) -> Result<BooleanArray>
where
    T::Native: PartialOrd,
{
    let (left, right) = (Operand::<T>::new(left)?, Operand::<T>::new(right)?);
    Ok(match comparison {
        Comparison::Equal => each_row(&left, &right, row_count, |a, b| a == b),
        Comparison::NotEqual => each_row(&left, &right, row_count, |a, b| a != b),
        Comparison::Less => each_row(&left, &right, row_count, |a, b| a < b),
        Comparison::LessOrEqual => each_row(&left, &right, row_count, |a, b| a <= b),
        Comparison::Greater => each_row(&left, &right, row_count, |a, b| a > b),
        Comparison::GreaterOrEqual => each_row(&left, &right, row_count, |a, b| a >= b),
    })
}

fn each_row<T: ArrowPrimitiveType>(
    left: &Operand<T>,
    right: &Operand<T>,
    row_count: usize,
    test: impl Fn(T::Native, T::Native) -> bool,
) -> BooleanArray {
    match (left, right) {
        (Operand::Rows(left), Operand::Rows(right)) => {
            let (a, b) = (left.values(), right.values());
            let values =
                BooleanBuffer::collect_bool(a.len().min(b.len()), |row| test(a[row], b[row]));
            BooleanArray::new(values, NullBuffer::union(left.nulls(), right.nulls()))
        }
        (Operand::Rows(left), Operand::Same(Some(right))) => {
            let a = left.values();
            let values = BooleanBuffer::collect_bool(a.len(), |row| test(a[row], *right));
            BooleanArray::new(values, left.nulls().cloned())
        }
        (Operand::Same(Some(left)), Operand::Rows(right)) => {
            let b = right.values();
            let values = BooleanBuffer::collect_bool(b.len(), |row| test(*left, b[row]));
            BooleanArray::new(values, right.nulls().cloned())
        }
        (Operand::Same(Some(left)), Operand::Same(Some(right))) => {
            let value = test(*left, *right);
            BooleanArray::new(BooleanBuffer::collect_bool(row_count, |_| value), None)
        }
        (Operand::Same(None), _) | (_, Operand::Same(None)) => BooleanArray::new_null(row_count),
    }
}
