//! Takes a predicate apart: conditions on single columns, which indices of attributes answer, and the rest.
//!
//! A condition is kept as the set of the column's values for which it is true, and what it is for null, where SQL may
//! have it unknown. Literals are compared as DataFusion's coercions would compare them; where that would not be exact,
//! the condition is left to DataFusion, and so is everything that it would refuse, so that its checks speak.

use std::ops::{Bound, ControlFlow};

use arrow::datatypes::{DataType, Field, SchemaRef};
use datafusion::sql::sqlparser::ast::{
    BinaryOperator, Expr as Syntax, Function, FunctionArg, FunctionArgExpr, FunctionArguments,
    Ident, UnaryOperator, visit_expressions,
};

use super::compile::{self, Checked};
use super::literal::{Operand, operands};
use super::{Predicate, PredicateError};
use crate::engine::{Scalar, ValueSet};
use crate::query::day::Day;

/// A predicate as the conjunction of conditions on single columns and what is left of it.
#[derive(Debug, Clone)]
pub struct Split {
    /// At most one for each column, in the order of their first appearance.
    pub conditions: Vec<ColumnCondition>,
    /// What is not a condition on a single column.
    pub rest: Option<Predicate>,
    /// What names columns that are not stored: to be asked of the rows for which everything else holds.
    pub last: Option<Predicate>,
    /// Where there is such a last part, conditions and rest as one, for rows without an index.
    pub stored: Option<Predicate>,
}

/// A condition on one column: true where the value is in a set, false elsewhere.
#[derive(Debug, Clone, PartialEq)]
pub struct ColumnCondition {
    /// Place of the column in the schema.
    pub column: usize,
    /// The values for which it is true.
    pub values: ValueSet,
    /// The condition in SQL.
    pub sql: String,
}

impl Predicate {
    /// Parses a predicate and takes it apart. Its parts together hold for the rows for which the whole does. The first
    /// `stored` columns of the schema may have an index; the others are derived.
    ///
    /// # Errors
    /// Those of [`Predicate::parse`].
    pub fn split(sql: &str, schema: &SchemaRef, stored: usize) -> Result<Split, PredicateError> {
        Self::split_on(sql, schema, stored, None)
    }

    /// The same, where the names of a day mean this one.
    pub(in crate::query) fn split_on(
        sql: &str,
        schema: &SchemaRef,
        stored: usize,
        day: Option<Day>,
    ) -> Result<Split, PredicateError> {
        let Checked { syntax, .. } = compile::checked(sql, schema, day)?;
        let mut conditions: Vec<ColumnCondition> = Vec::new();
        let (mut rest, mut last, mut first) = (None, None, None);
        for conjunct in conjuncts(syntax) {
            if names_derived(&conjunct, schema, stored) {
                last = Some(with(last, conjunct));
                continue;
            }
            first = Some(with(first, conjunct.clone()));
            let Some(Known { column, truth }) = (Reader { schema }).condition(&conjunct) else {
                rest = Some(with(rest, conjunct));
                continue;
            };
            let (values, sql) = (truth.into_values(), conjunct.to_string());
            match conditions.iter_mut().find(|other| other.column == column) {
                Some(same) => {
                    same.values = std::mem::replace(&mut same.values, ValueSet::none()) & values;
                    same.sql = format!("{} AND {sql}", same.sql);
                }
                None => conditions.push(ColumnCondition { column, values, sql }),
            }
        }
        let first = first.filter(|_| last.is_some());
        let compiled =
            |part: Option<Syntax>| part.map(|part| compile::compile_part(part, schema)).transpose();
        let parts = compiled(rest).and_then(|rest| Ok((rest, compiled(last)?, compiled(first)?)));
        let (rest, last, stored) = match parts {
            Ok(parts) => parts,
            // What is wrong is said of the whole, and what is right only as a part of it is taken whole.
            Err(_) => {
                let whole = compile::compile(sql, schema, day)?;
                let place = |name: &String| schema.index_of(name).unwrap_or(0);
                match whole.columns().iter().any(|name| place(name) >= stored) {
                    true => (None, Some(whole), None),
                    false => (Some(whole), None, None),
                }
            }
        };
        Ok(Split { conditions, rest, last, stored })
    }
}

/// Whether a condition names a column that is not stored.
fn names_derived(condition: &Syntax, schema: &SchemaRef, stored: usize) -> bool {
    let found = visit_expressions(condition, |part| {
        let derived = match part {
            Syntax::Identifier(name) => schema.column_with_name(&name.value),
            _ => None,
        };
        match derived {
            Some((place, _)) if place >= stored => ControlFlow::Break(()),
            Some(_) | None => ControlFlow::Continue(()),
        }
    });
    found.is_break()
}

fn with(left: Option<Syntax>, right: Syntax) -> Syntax {
    match left {
        Some(left) => and(left, right),
        None => right,
    }
}

/// The operands of the outermost ANDs, in the order of the text.
fn conjuncts(syntax: Syntax) -> Vec<Syntax> {
    let mut found = Vec::new();
    let mut open = vec![syntax];
    while let Some(next) = open.pop() {
        match next {
            Syntax::BinaryOp { left, op: BinaryOperator::And, right } => {
                open.push(*right);
                open.push(*left);
            }
            Syntax::Nested(inner) if is_and(&inner) => open.push(*inner),
            other => found.push(other),
        }
    }
    found
}

/// Whether a conjunction stands in parentheses.
fn is_and(syntax: &Syntax) -> bool {
    match syntax {
        Syntax::Nested(inner) => is_and(inner),
        Syntax::BinaryOp { op, .. } => *op == BinaryOperator::And,
        _ => false,
    }
}

fn and(left: Syntax, right: Syntax) -> Syntax {
    // An operand may bind less than AND does, in the text that is made of it for messages.
    let nested = |operand| match operand {
        or @ Syntax::BinaryOp { op: BinaryOperator::Or, .. } => Syntax::Nested(Box::new(or)),
        other => other,
    };
    Syntax::BinaryOp {
        left: Box::new(nested(left)),
        op: BinaryOperator::And,
        right: Box::new(nested(right)),
    }
}

/// What a condition on one column is for each of its values.
///
/// No comparison of a value, NaN among them, with a literal is unknown: only that of null is.
struct Truth {
    /// The values for which it is true, without null.
    values: ValueSet,
    /// What it is for null; `None` is unknown.
    null: Option<bool>,
}

impl Truth {
    /// Unknown for null.
    fn of(values: ValueSet) -> Self {
        Self { values, null: None }
    }

    fn not(self) -> Self {
        Self { values: (!self.values).with_null(false), null: self.null.map(|null| !null) }
    }

    fn not_if(self, negated: bool) -> Self {
        if negated { self.not() } else { self }
    }

    fn and(self, other: Self) -> Self {
        let null = match (self.null, other.null) {
            (Some(false), _) | (_, Some(false)) => Some(false),
            (Some(true), Some(true)) => Some(true),
            _ => None,
        };
        Self { values: self.values & other.values, null }
    }

    fn or(self, other: Self) -> Self {
        let null = match (self.null, other.null) {
            (Some(true), _) | (_, Some(true)) => Some(true),
            (Some(false), Some(false)) => Some(false),
            _ => None,
        };
        Self { values: self.values | other.values, null }
    }

    /// False where it was unknown.
    #[expect(clippy::wrong_self_convention, reason = "the words of SQL")]
    fn is_true(self) -> Self {
        Self { null: Some(self.null == Some(true)), ..self }
    }

    #[expect(clippy::wrong_self_convention, reason = "the words of SQL")]
    fn is_unknown(self) -> Self {
        Self { values: ValueSet::none(), null: Some(self.null.is_none()) }
    }

    /// All for which it is true.
    fn into_values(self) -> ValueSet {
        self.values.with_null(self.null == Some(true))
    }
}

/// A condition on one column.
struct Known {
    column: usize,
    truth: Truth,
}

impl Known {
    fn map(self, change: impl FnOnce(Truth) -> Truth) -> Self {
        Self { column: self.column, truth: change(self.truth) }
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Comparison {
    Equal,
    NotEqual,
    Less,
    LessOrEqual,
    Greater,
    GreaterOrEqual,
}

impl Comparison {
    fn of(operator: &BinaryOperator) -> Option<Self> {
        match operator {
            BinaryOperator::Eq => Some(Self::Equal),
            BinaryOperator::NotEq => Some(Self::NotEqual),
            BinaryOperator::Lt => Some(Self::Less),
            BinaryOperator::LtEq => Some(Self::LessOrEqual),
            BinaryOperator::Gt => Some(Self::Greater),
            BinaryOperator::GtEq => Some(Self::GreaterOrEqual),
            _ => None,
        }
    }

    /// The same with its operands exchanged.
    fn exchanged(self) -> Self {
        match self {
            Self::Equal | Self::NotEqual => self,
            Self::Less => Self::Greater,
            Self::LessOrEqual => Self::GreaterOrEqual,
            Self::Greater => Self::Less,
            Self::GreaterOrEqual => Self::LessOrEqual,
        }
    }

    fn with(self, value: Scalar) -> Truth {
        let (low, high) = match self {
            Self::Equal | Self::NotEqual => {
                return Truth::of(ValueSet::among([value])).not_if(self == Self::NotEqual);
            }
            Self::Less => (Bound::Unbounded, Bound::Excluded(value)),
            Self::LessOrEqual => (Bound::Unbounded, Bound::Included(value)),
            Self::Greater => (Bound::Excluded(value), Bound::Unbounded),
            Self::GreaterOrEqual => (Bound::Included(value), Bound::Unbounded),
        };
        Truth::of(ValueSet::between(low, high))
    }
}

impl Operand {
    fn compared(self, comparison: Comparison) -> Truth {
        let before = match self {
            Self::Value(value) => return comparison.with(value),
            Self::After(before) => Scalar::Int(before),
        };
        match comparison {
            Comparison::Equal => Truth::of(ValueSet::none()),
            Comparison::NotEqual => Truth::of(ValueSet::none()).not(),
            Comparison::Less | Comparison::LessOrEqual => Comparison::LessOrEqual.with(before),
            Comparison::Greater | Comparison::GreaterOrEqual => Comparison::Greater.with(before),
        }
    }
}

/// Reads conditions on the columns of a schema; `None` is left to DataFusion.
#[derive(Clone, Copy)]
struct Reader<'a> {
    schema: &'a SchemaRef,
}

impl<'a> Reader<'a> {
    fn condition(self, syntax: &Syntax) -> Option<Known> {
        match syntax {
            Syntax::Nested(inner) => self.condition(inner),
            Syntax::UnaryOp { op: UnaryOperator::Not, expr } => {
                Some(self.condition(expr)?.map(Truth::not))
            }
            Syntax::BinaryOp { op: op @ (BinaryOperator::And | BinaryOperator::Or), .. } => {
                self.chain(op, syntax)
            }
            Syntax::BinaryOp { left, op, right } => {
                self.comparison(left, Comparison::of(op)?, right)
            }
            Syntax::Between { expr, negated, low, high } => {
                let (column, field) = self.column(expr)?;
                let mut bounds = operands(field, [&**low, &**high])?.into_iter();
                let above = bounds.next()?.compared(Comparison::GreaterOrEqual);
                let below = bounds.next()?.compared(Comparison::LessOrEqual);
                let truth = above.and(below).not_if(*negated);
                Some(Known { column, truth })
            }
            Syntax::InList { expr, list, negated } => {
                let (column, field) = self.column(expr)?;
                let values =
                    operands(field, list)?.into_iter().filter_map(|operand| match operand {
                        Operand::Value(value) => Some(value),
                        Operand::After(_) => None,
                    });
                let truth = Truth::of(ValueSet::among(values)).not_if(*negated);
                Some(Known { column, truth })
            }
            Syntax::IsNull(expr) => self.is_null(expr, false),
            Syntax::IsNotNull(expr) => self.is_null(expr, true),
            Syntax::IsTrue(inner) => Some(self.condition(inner)?.map(Truth::is_true)),
            Syntax::IsNotTrue(inner) => {
                Some(self.condition(inner)?.map(|truth| truth.is_true().not()))
            }
            Syntax::IsFalse(inner) => {
                Some(self.condition(inner)?.map(|truth| truth.not().is_true()))
            }
            Syntax::IsNotFalse(inner) => {
                Some(self.condition(inner)?.map(|truth| truth.not().is_true().not()))
            }
            Syntax::IsUnknown(inner) => Some(self.condition(inner)?.map(Truth::is_unknown)),
            Syntax::IsNotUnknown(inner) => {
                Some(self.condition(inner)?.map(|truth| truth.is_unknown().not()))
            }
            Syntax::Identifier(_) => {
                let (column, field) = self.column(syntax)?;
                (*field.data_type() == DataType::Boolean)
                    .then(|| Known { column, truth: Comparison::Equal.with(Scalar::Bool(true)) })
            }
            Syntax::Function(function) => self.is_nan(function),
            _ => None,
        }
    }

    /// ANDs, or ORs, of conditions on one column. They are as deep as they are long, on the left side.
    fn chain(self, operator: &BinaryOperator, syntax: &Syntax) -> Option<Known> {
        let mut operands = Vec::new();
        let mut next = syntax;
        while let Syntax::BinaryOp { left, op, right } = next
            && op == operator
        {
            operands.push(right.as_ref());
            next = left.as_ref();
        }
        let Known { column, mut truth } = self.condition(next)?;
        for operand in operands.into_iter().rev() {
            let other = self.condition(operand).filter(|other| other.column == column)?.truth;
            truth = match operator {
                BinaryOperator::And => truth.and(other),
                _ => truth.or(other),
            };
        }
        Some(Known { column, truth })
    }

    fn comparison(self, left: &Syntax, comparison: Comparison, right: &Syntax) -> Option<Known> {
        let (column, field, other, comparison) = match self.column(left) {
            Some((column, field)) => (column, field, right, comparison),
            None => {
                let (column, field) = self.column(right)?;
                (column, field, left, comparison.exchanged())
            }
        };
        let truth = operands(field, [other])?.pop()?.compared(comparison);
        Some(Known { column, truth })
    }

    fn is_null(self, operand: &Syntax, negated: bool) -> Option<Known> {
        let (column, _) = self.column(operand)?;
        Some(Known {
            column,
            truth: Truth { values: ValueSet::none(), null: Some(true) }.not_if(negated),
        })
    }

    /// `isnan(column)`, and no other call.
    fn is_nan(self, function: &Function) -> Option<Known> {
        let FunctionArguments::List(list) = &function.args else { return None };
        let [FunctionArg::Unnamed(FunctionArgExpr::Expr(argument))] = list.args.as_slice() else {
            return None;
        };
        // Whatever else a call can have would be written out.
        let written = function.to_string();
        let argument_only = written.len() == "isnan()".len() + argument.to_string().len();
        let name = written.get(.."isnan(".len())?;
        if !argument_only || !name.eq_ignore_ascii_case("isnan(") {
            return None;
        }
        let (column, field) = self.column(argument)?;
        let nan = match field.data_type() {
            DataType::Float32 | DataType::Float64 => ValueSet::nan(),
            DataType::Int64 => ValueSet::none(),
            _ => return None,
        };
        Some(Known { column, truth: Truth::of(nan) })
    }

    /// A column's place, where the operand is a column whose values have an order.
    fn column(self, syntax: &Syntax) -> Option<(usize, &'a Field)> {
        let name: &Ident = match syntax {
            Syntax::Nested(inner) => return self.column(inner),
            Syntax::Identifier(name) => name,
            _ => return None,
        };
        let (place, field) = self.schema.column_with_name(&name.value)?;
        matches!(
            field.data_type(),
            DataType::Boolean
                | DataType::Int64
                | DataType::Float32
                | DataType::Float64
                | DataType::Utf8
        )
        .then_some((place, field))
    }
}
