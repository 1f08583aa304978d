//! What a predicate may be made of, beyond what the planner refuses by itself.

use std::ops::ControlFlow;

use arrow::datatypes::{DataType, Field};
use datafusion::common::tree_node::{TreeNode, TreeNodeRecursion, TreeNodeVisitor};
use datafusion::common::{DFSchema, ScalarValue};
use datafusion::error::DataFusionError;
use datafusion::logical_expr::{Expr, ExprSchemable, Operator};
use datafusion::sql::sqlparser::ast::{
    BinaryOperator, Expr as Syntax, Function, Ident, Query, Value, Visit, Visitor,
};

use super::PredicateError;
use super::names::Names;

/// Refuses what is not a condition on one object and returns the columns that are named.
pub(super) fn syntax(
    syntax: &Syntax,
    names: &Names<'_>,
    is_aggregate: impl Fn(&str) -> bool,
) -> Result<Vec<String>, PredicateError> {
    let mut inspection = Inspection { names, is_aggregate, used: Vec::new(), compared: Vec::new() };
    match syntax.visit(&mut inspection) {
        ControlFlow::Continue(()) => Ok(inspection.used),
        ControlFlow::Break(error) => Err(error),
    }
}

struct Inspection<'a, F> {
    names: &'a Names<'a>,
    is_aggregate: F,
    used: Vec<String>,
    /// Names with which something is compared: seldom columns, but texts without quotation marks.
    compared: Vec<String>,
}

impl<F: Fn(&str) -> bool> Inspection<'_, F> {
    fn column(&mut self, parts: &[Ident]) -> ControlFlow<PredicateError> {
        let name = parts.iter().map(|part| part.value.as_str()).collect::<Vec<_>>().join(".");
        let Some(first) = parts.first() else { return ControlFlow::Continue(()) };
        // Names of columns are written as in the schema by now.
        if let Some(field) = self.names.find(&name).filter(|_| parts.len() == 1) {
            if !self.used.contains(field.name()) {
                self.used.push(field.name().clone());
            }
            return ControlFlow::Continue(());
        }
        let near = self.names.near(&name);
        let hint = if let Some(whole) = self.names.longer(&name) {
            format!(", did you mean {whole}?")
        } else if !near.is_empty() {
            format!(", did you mean {}?", near.join(" or "))
        } else if name.starts_with("probe.") {
            " (a name with signs such as - is written in double quotes: \"probe.type.Far-Away\")"
                .to_owned()
        } else if first.quote_style == Some('"') || self.compared.contains(&name) {
            format!(" (a text is written in single quotes: '{name}')")
        } else {
            String::new()
        };
        let (line, column) = (first.span.start.line, first.span.start.column);
        let known = self.names.list();
        ControlFlow::Break(PredicateError::UnknownColumn { name, hint, known, line, column })
    }

    fn call(&self, function: &Function) -> ControlFlow<PredicateError> {
        if function.over.is_some() {
            return refuse("window functions");
        }
        if (self.is_aggregate)(&function.name.to_string().to_lowercase()) {
            return refuse("aggregates such as count or max");
        }
        ControlFlow::Continue(())
    }
}

fn refuse(what: &'static str) -> ControlFlow<PredicateError> {
    ControlFlow::Break(PredicateError::NotAllowed { what })
}

impl<F: Fn(&str) -> bool> Visitor for Inspection<'_, F> {
    type Break = PredicateError;

    fn pre_visit_query(&mut self, _query: &Query) -> ControlFlow<PredicateError> {
        refuse("subqueries")
    }

    fn pre_visit_expr(&mut self, syntax: &Syntax) -> ControlFlow<PredicateError> {
        let compared = match syntax {
            Syntax::BinaryOp { op: BinaryOperator::Eq | BinaryOperator::NotEq, right, .. } => {
                std::slice::from_ref(right.as_ref())
            }
            Syntax::InList { list, .. } => list.as_slice(),
            _ => &[],
        };
        self.compared.extend(compared.iter().filter_map(|operand| match operand {
            Syntax::Identifier(name) => Some(name.value.clone()),
            _ => None,
        }));
        match syntax {
            Syntax::Identifier(name) => self.column(std::slice::from_ref(name)),
            Syntax::CompoundIdentifier(parts) => self.column(parts),
            Syntax::Function(function) => self.call(function),
            Syntax::Value(value) if matches!(value.value, Value::Placeholder(_)) => {
                refuse("parameters")
            }
            Syntax::BinaryOp { op: BinaryOperator::PGOverlap, .. } => refuse("`&&` (write AND)"),
            Syntax::Wildcard(_) | Syntax::QualifiedWildcard(..) => refuse("`*` for all columns"),
            _ => ControlFlow::Continue(()),
        }
    }
}

/// Refuses columns whose values have no comparison.
pub(super) fn usable(field: &Field) -> Result<(), PredicateError> {
    match Kind::of(field.data_type()) {
        Kind::Number | Kind::Text | Kind::Boolean | Kind::Null => Ok(()),
        Kind::Other => {
            let kind = match field.data_type() {
                DataType::Binary | DataType::LargeBinary | DataType::BinaryView => {
                    "binary".to_owned()
                }
                DataType::List(_) | DataType::LargeList(_) | DataType::FixedSizeList(..) => {
                    "list".to_owned()
                }
                other => other.to_string(),
            };
            Err(PredicateError::UnusableColumn { name: field.name().clone(), kind })
        }
    }
}

/// Refuses operands that do not go together, and functions whose value is not fixed.
pub(super) fn plan(planned: &Expr, schema: &DFSchema) -> Result<(), PredicateError> {
    if planned.is_volatile() {
        return Err(PredicateError::NotAllowed { what: "random values" });
    }
    let mut operands = Operands { schema, refused: None };
    let walked = planned.visit(&mut operands);
    match operands.refused {
        Some(error) => Err(error),
        None => walked.map(|_| ()).map_err(|error| PredicateError::refused(&error)),
    }
}

/// Refuses what is not true or false.
pub(super) fn is_condition(what: &str, kind: &DataType) -> Result<(), PredicateError> {
    let kind = match Kind::of(kind) {
        Kind::Boolean => return Ok(()),
        Kind::Null => "null",
        Kind::Number => "a number",
        Kind::Text => "a text",
        Kind::Other => "something else",
    };
    Err(PredicateError::NotBoolean { what: what.to_owned(), kind })
}

/// What values can be compared with one another.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    Number,
    Text,
    Boolean,
    Null,
    Other,
}

impl Kind {
    fn of(data_type: &DataType) -> Self {
        match data_type {
            number if number.is_numeric() => Self::Number,
            DataType::Utf8 | DataType::LargeUtf8 | DataType::Utf8View => Self::Text,
            DataType::Boolean => Self::Boolean,
            DataType::Null => Self::Null,
            _ => Self::Other,
        }
    }

    fn goes_with(self, other: Self) -> bool {
        self == other || self == Self::Null || other == Self::Null
    }

    fn name(self) -> &'static str {
        match self {
            Self::Number => "a number",
            Self::Text => "a text",
            Self::Boolean => "true or false",
            Self::Null => "null",
            Self::Other => "something else",
        }
    }
}

/// Visits operands before the operators above them, so that a type is only asked of checked parts.
struct Operands<'a> {
    schema: &'a DFSchema,
    refused: Option<PredicateError>,
}

impl Operands<'_> {
    fn kind(&self, operand: &Expr) -> Result<Kind, PredicateError> {
        let kind =
            operand.get_type(self.schema).map_err(|error| PredicateError::refused(&error))?;
        Ok(Kind::of(&kind))
    }

    fn pair(
        &self,
        operator: &str,
        left: &Expr,
        right: &Expr,
        only: Option<Kind>,
    ) -> Result<(), PredicateError> {
        let kinds = (self.kind(left)?, self.kind(right)?);
        let fits = |kind: Kind| only.is_none_or(|only| kind.goes_with(only));
        if kinds.0.goes_with(kinds.1) && fits(kinds.0) && fits(kinds.1) {
            return Ok(());
        }
        let hint = match kinds {
            (Kind::Text, Kind::Number) | (Kind::Number, Kind::Text) if only.is_none() => {
                "; write numbers without quotes and texts in single quotes"
            }
            _ => "",
        };
        let side = |operand, kind: Kind| format!("{} ({})", label(operand), kind.name());
        let (left, right) = (side(left, kinds.0), side(right, kinds.1));
        Err(PredicateError::TypeMismatch { operator: operator.to_owned(), left, right, hint })
    }

    fn condition(&self, what: &str, operand: &Expr) -> Result<(), PredicateError> {
        match self.kind(operand)? {
            Kind::Boolean | Kind::Null => Ok(()),
            kind => Err(PredicateError::NotBoolean {
                what: format!("{} {what}", label(operand)),
                kind: kind.name(),
            }),
        }
    }

    fn check(&self, node: &Expr) -> Result<(), PredicateError> {
        match node {
            Expr::BinaryExpr(binary) => {
                let operator = binary.op.to_string();
                match binary.op {
                    Operator::And | Operator::Or => {
                        self.condition(&format!("beside {operator}"), &binary.left)?;
                        self.condition(&format!("beside {operator}"), &binary.right)
                    }
                    Operator::Plus
                    | Operator::Minus
                    | Operator::Multiply
                    | Operator::Divide
                    | Operator::Modulo => {
                        self.pair(&operator, &binary.left, &binary.right, Some(Kind::Number))
                    }
                    Operator::StringConcat => Ok(()),
                    _ => self.pair(&operator, &binary.left, &binary.right, None),
                }
            }
            Expr::Not(operand) => self.condition("after NOT", operand),
            Expr::Between(between) => {
                self.pair("BETWEEN", &between.expr, &between.low, None)?;
                self.pair("BETWEEN", &between.expr, &between.high, None)
            }
            Expr::InList(list) => {
                list.list.iter().try_for_each(|value| self.pair("IN", &list.expr, value, None))
            }
            Expr::Like(like) | Expr::SimilarTo(like) => {
                self.pair("LIKE", &like.expr, &like.pattern, Some(Kind::Text))
            }
            Expr::AggregateFunction(_) => Err(PredicateError::NotAllowed { what: "aggregates" }),
            Expr::WindowFunction(_) => Err(PredicateError::NotAllowed { what: "window functions" }),
            _ => Ok(()),
        }
    }
}

impl<'n> TreeNodeVisitor<'n> for Operands<'_> {
    type Node = Expr;

    fn f_up(&mut self, node: &'n Expr) -> Result<TreeNodeRecursion, DataFusionError> {
        match self.check(node) {
            Ok(()) => Ok(TreeNodeRecursion::Continue),
            Err(error) => {
                self.refused = Some(error);
                Ok(TreeNodeRecursion::Stop)
            }
        }
    }
}

/// An operand as a person would write it.
fn label(operand: &Expr) -> String {
    match operand {
        Expr::Column(column) => format!("`{}`", column.name),
        Expr::Literal(ScalarValue::Utf8(Some(text)), _) => format!("'{text}'"),
        Expr::Literal(value, _) => value.to_string(),
        Expr::ScalarFunction(call) => format!("{}(...)", call.name()),
        _ => "an expression".to_owned(),
    }
}
