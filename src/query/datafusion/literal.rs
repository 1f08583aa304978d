//! Literals of conditions, as the values of a column are compared with them.

use arrow::datatypes::{DataType, Field};
use datafusion::sql::sqlparser::ast::{Expr as Syntax, UnaryOperator, Value, ValueWithSpan};

use crate::engine::Scalar;

/// Magnitude below which every integer is a double, and no larger integer rounds to less.
const EXACT: f64 = (1u64 << f64::MANTISSA_DIGITS) as f64;

/// A literal as DataFusion reads it.
#[derive(Debug, Clone, PartialEq)]
enum Literal {
    Truth(bool),
    Integer(i64),
    Real(f64),
    Text(String),
}

/// A literal as a column's values are compared with it.
pub(super) enum Operand {
    Value(Scalar),
    /// Between an integer and the next one, in a column of integers.
    After(i64),
}

/// Literals as a column is compared with them: like DataFusion, with all of one condition in one type.
pub(super) fn operands<'s>(
    field: &Field,
    literals: impl IntoIterator<Item = &'s Syntax>,
) -> Option<Vec<Operand>> {
    let literals: Vec<Literal> = literals.into_iter().map(literal).collect::<Option<_>>()?;
    if literals.is_empty() {
        return None;
    }
    let integers = literals.iter().all(|literal| matches!(literal, Literal::Integer(_)));
    let operand = |literal| match (field.data_type(), literal) {
        (DataType::Boolean, Literal::Truth(value)) => Some(Operand::Value(Scalar::Bool(value))),
        (DataType::Utf8, Literal::Text(text)) => Some(Operand::Value(Scalar::Text(text))),
        (DataType::Float64, Literal::Integer(value)) => {
            Some(Operand::Value(Scalar::Real(value as f64)))
        }
        // Singles and integers meet in singles; with a double among them all meet in doubles.
        (DataType::Float32, Literal::Integer(value)) => {
            let value = if integers { f64::from(value as f32) } else { value as f64 };
            Some(Operand::Value(Scalar::Real(value)))
        }
        (DataType::Float32 | DataType::Float64, Literal::Real(value)) => {
            Some(Operand::Value(Scalar::Real(value)))
        }
        (DataType::Int64, Literal::Integer(value)) if integers => {
            Some(Operand::Value(Scalar::Int(value)))
        }
        // Integers and doubles meet in doubles: the outcome is exact as long as the literal is small enough.
        (DataType::Int64, Literal::Integer(value)) => {
            ((value as f64).abs() < EXACT).then_some(Operand::Value(Scalar::Int(value)))
        }
        (DataType::Int64, Literal::Real(value)) if value.abs() < EXACT => {
            let floor = value.floor();
            let is_whole = floor == value;
            let floor = floor as i64;
            Some(if is_whole { Operand::Value(Scalar::Int(floor)) } else { Operand::After(floor) })
        }
        _ => None,
    };
    literals.into_iter().map(operand).collect()
}

/// A literal: with or without a sign where it is a number.
fn literal(syntax: &Syntax) -> Option<Literal> {
    match syntax {
        Syntax::Nested(inner) => literal(inner),
        Syntax::Value(value) => match &value.value {
            Value::Number(digits, _) => number(digits, false),
            Value::SingleQuotedString(text) => Some(Literal::Text(text.clone())),
            Value::Boolean(value) => Some(Literal::Truth(*value)),
            _ => None,
        },
        Syntax::UnaryOp { op: UnaryOperator::Minus, expr } => match &**expr {
            Syntax::Value(ValueWithSpan { value: Value::Number(digits, _), .. }) => {
                number(digits, true)
            }
            _ => None,
        },
        _ => None,
    }
}

/// An integer where it is one of 64 bits with a sign, else a double.
fn number(digits: &str, negative: bool) -> Option<Literal> {
    let sign = if negative { "-" } else { "" };
    let text = format!("{sign}{}", digits.replace('_', ""));
    if let Ok(value) = text.parse::<i64>() {
        return Some(Literal::Integer(value));
    }
    // DataFusion has a type of its own for these.
    if text.parse::<u64>().is_ok() {
        return None;
    }
    text.parse().ok().map(Literal::Real)
}
