//! From text to an expression that can be evaluated: parse, check, plan, compile.

use std::sync::{Arc, LazyLock};

use arrow::array::Float64Array;
use arrow::compute::kernels::arity::binary;
use arrow::datatypes::{DataType, Field, Float64Type, Schema, SchemaRef};
use datafusion::common::DFSchema;
use datafusion::common::cast::as_float64_array;
use datafusion::common::tree_node::{Transformed, TransformedResult, TreeNode, TreeNodeRecursion};
use datafusion::common::utils::take_function_args;
use datafusion::error::DataFusionError;
use datafusion::execution::session_state::{SessionState, SessionStateBuilder};
use datafusion::logical_expr::expr::ScalarFunction;
use datafusion::logical_expr::simplify::{ExprSimplifyResult, SimplifyContext};
use datafusion::logical_expr::{
    ColumnarValue, Expr, ExprSchemable, Operator, ScalarUDF, Volatility, create_udf,
};
use datafusion::physical_expr::PhysicalExpr;
use datafusion::physical_expr::expressions::BinaryExpr;
use datafusion::prelude::SessionConfig;
use datafusion::sql::parser::DFParserBuilder;
use datafusion::sql::sqlparser::ast::{Expr as Syntax, ExprWithAlias};
use datafusion::sql::sqlparser::parser::ParserError;
use datafusion::sql::sqlparser::tokenizer::TokenWithSpan;

use super::ieee::with_ieee_comparisons;
use super::names::Names;
use super::{Predicate, PredicateError, check, dates, lex};
use crate::query::day::Day;

/// Recursions of the parser: a call with an argument in parentheses takes more than one.
const RECURSION_MAX: usize = 3 * lex::NESTING_MAX;

/// Functions whose text can be far longer than their arguments: a few of them, nested, would fill the memory of the
/// server, and no condition on an object needs them.
const GROWING: [&str; 6] = ["concat_ws", "lpad", "regexp_replace", "repeat", "replace", "rpad"];

/// The functions of SQL and the planner; without tables, and with names as they are written.
static PLANNER: LazyLock<SessionState> = LazyLock::new(|| {
    let config =
        SessionConfig::new().set_bool("datafusion.sql_parser.enable_ident_normalization", false);
    let mut builder = SessionStateBuilder::new().with_config(config).with_default_features();
    let mut functions = builder.scalar_functions().clone().unwrap_or_default();
    let own = [square_root(), power(), dates::function()];
    functions.retain(|function| {
        own.iter().all(|own| own.name() != function.name()) && !GROWING.contains(&function.name())
    });
    functions.extend(own.map(Arc::new));
    builder.with_scalar_functions(functions).build()
});

/// The square root of IEEE 754: NaN for negative numbers. DataFusion's own fails on the first of
/// them, of which catalogues are full, while its logarithms give NaN.
fn square_root() -> ScalarUDF {
    let root = |arguments: &[ColumnarValue]| {
        let [values] = take_function_args("sqrt", ColumnarValue::values_to_arrays(arguments)?)?;
        let roots = as_float64_array(&values)?.unary::<_, Float64Type>(f64::sqrt);
        Ok(ColumnarValue::Array(Arc::new(roots)))
    };
    let real = DataType::Float64;
    create_udf("sqrt", vec![real.clone()], real, Volatility::Immutable, Arc::new(root))
}

/// The power of IEEE 754: infinity for zero to a negative power, on which DataFusion's own fails.
fn power() -> ScalarUDF {
    let raise = |arguments: &[ColumnarValue]| {
        let values = ColumnarValue::values_to_arrays(arguments)?;
        let [bases, exponents] = take_function_args("power", values)?;
        let (bases, exponents) = (as_float64_array(&bases)?, as_float64_array(&exponents)?);
        let powers: Float64Array = binary(bases, exponents, f64::powf)?;
        Ok(ColumnarValue::Array(Arc::new(powers)))
    };
    let real = DataType::Float64;
    let arguments = vec![real.clone(), real.clone()];
    create_udf("power", arguments, real, Volatility::Immutable, Arc::new(raise))
        .with_aliases(["pow"])
}

/// A predicate that is parsed, and whose columns are there and can be used.
pub(super) struct Checked {
    pub(super) syntax: Syntax,
    /// The columns that it names, in the order of the schema.
    needed: SchemaRef,
}

pub(super) fn compile(
    sql: &str,
    schema: &SchemaRef,
    day: Option<Day>,
) -> Result<Predicate, PredicateError> {
    compiled(checked(sql, schema, day)?)
}

/// Refuses functions that may give another value for the same row at another time, the clock's above all.
pub(super) fn check_fixed(sql: &str, schema: &SchemaRef, day: Day) -> Result<(), PredicateError> {
    let Checked { syntax, needed } = checked(sql, schema, Some(day))?;
    let (planned, _) = logical(syntax, &needed)?;
    let mut is_fixed = true;
    let walked = planned.apply(|node| {
        if let Expr::ScalarFunction(call) = node {
            is_fixed &= call.func.signature().volatility == Volatility::Immutable;
        }
        Ok(TreeNodeRecursion::Continue)
    });
    walked.map_err(|error| PredicateError::refused(&error))?;
    if is_fixed {
        return Ok(());
    }
    let what = "functions of the clock (write `today`, or `mjd_today`)";
    Err(PredicateError::NotAllowed { what })
}

/// Compiles a part of what [`checked`] gave.
pub(super) fn compile_part(
    syntax: Syntax,
    schema: &SchemaRef,
) -> Result<Predicate, PredicateError> {
    compiled(with_columns_checked(syntax, schema)?)
}

pub(super) fn checked(
    sql: &str,
    schema: &SchemaRef,
    day: Option<Day>,
) -> Result<Checked, PredicateError> {
    let (syntax, _) = parsed(sql, schema, day)?;
    with_columns_checked(syntax, schema)
}

/// The columns of texts that a predicate compares with the day; what is no date in them is not compared.
pub(super) fn dated_columns(
    sql: &str,
    schema: &SchemaRef,
    day: Day,
) -> Result<Vec<String>, PredicateError> {
    Ok(parsed(sql, schema, Some(day))?.1)
}

/// The syntax of a predicate, and the columns that are read as dates in it.
fn parsed(
    sql: &str,
    schema: &SchemaRef,
    day: Option<Day>,
) -> Result<(Syntax, Vec<String>), PredicateError> {
    let names = Names::new(schema);
    let mut syntax = parse(lex::words(sql, &names, day)?, sql)?;
    let dated = day.map(|day| dates::read_dates(&mut syntax, &names, day)).unwrap_or_default();
    Ok((syntax, dated))
}

fn with_columns_checked(syntax: Syntax, schema: &SchemaRef) -> Result<Checked, PredicateError> {
    let is_aggregate = |name: &str| PLANNER.aggregate_functions().contains_key(name);
    let used = check::syntax(&syntax, &Names::new(schema), is_aggregate)?;
    let needed = needed_columns(schema, &used)?;
    Ok(Checked { syntax, needed })
}

fn compiled(checked: Checked) -> Result<Predicate, PredicateError> {
    let Checked { syntax, needed } = checked;
    let columns = needed.fields().iter().map(|field| field.name().clone()).collect();
    let condition = planned(syntax, &needed)?;
    Ok(Predicate { columns, schema: needed, condition })
}

fn parse(words: Vec<TokenWithSpan>, sql: &str) -> Result<Syntax, PredicateError> {
    let parsed = DFParserBuilder::new(words)
        .with_recursion_limit(RECURSION_MAX)
        .build()
        .and_then(|mut parser| parser.parse_into_expr());
    match parsed {
        Ok(ExprWithAlias { expr, alias: None }) => Ok(expr),
        Ok(ExprWithAlias { alias: Some(alias), .. }) => {
            let (line, column) = (alias.span.start.line, alias.span.start.column);
            let message = format!("`{}` is not expected after the condition", alias.value);
            Err(PredicateError::Syntax { message, line, column })
        }
        Err(error) => Err(syntax_error(&error, sql)),
    }
}

/// The parser writes places into its messages; the end of the text has none.
fn syntax_error(error: &DataFusionError, sql: &str) -> PredicateError {
    let DataFusionError::SQL(parser, _) = error.find_root() else {
        return PredicateError::refused(error);
    };
    let text = match parser.as_ref() {
        ParserError::RecursionLimitExceeded => return PredicateError::TooDeep,
        ParserError::ParserError(text) | ParserError::TokenizerError(text) => text,
    };
    let placed = text.rsplit_once(" at Line: ").and_then(|(message, place)| {
        let (line, column) = place.split_once(", Column: ")?;
        Some((message, line.parse().ok()?, column.trim().parse().ok()?))
    });
    let (message, line, column) = placed.unwrap_or_else(|| {
        let line = sql.lines().count().max(1) as u64;
        let column = sql.lines().last().map_or(0, |last| last.chars().count()) as u64 + 1;
        (text, line, column)
    });
    let message = message
        .replace("Expected:", "expected")
        .replace("found:", "found")
        .replace("EOF", "the end");
    PredicateError::Syntax { message, line, column }
}

/// The columns that a condition names, in the order of the schema.
fn needed_columns(schema: &SchemaRef, used: &[String]) -> Result<SchemaRef, PredicateError> {
    let mut needed = Vec::new();
    for field in schema.fields().iter().filter(|field| used.contains(field.name())) {
        check::usable(field)?;
        needed.push(Field::new(field.name(), field.data_type().clone(), true));
    }
    Ok(Arc::new(Schema::new(needed)))
}

/// What a condition means, in terms of the fields of a schema.
fn logical(syntax: Syntax, schema: &SchemaRef) -> Result<(Expr, DFSchema), PredicateError> {
    let refused = |error: DataFusionError| PredicateError::refused(&error);
    let fields = DFSchema::try_from(Arc::clone(schema)).map_err(refused)?;
    let syntax = ExprWithAlias { expr: syntax, alias: None };
    let planned = PLANNER.create_logical_expr_from_sql_expr(syntax, &fields).map_err(refused)?;
    check::plan(&planned, &fields)?;
    Ok((planned, fields))
}

fn planned(syntax: Syntax, schema: &SchemaRef) -> Result<Arc<dyn PhysicalExpr>, PredicateError> {
    let refused = |error: DataFusionError| PredicateError::refused(&error);
    let (planned, fields) = logical(syntax, schema)?;
    let kind = |planned: &Expr| planned.get_type(&fields).map_err(refused);
    check::is_condition("the predicate", &kind(&planned)?)?;
    let expanded = with_functions_expanded(planned, &fields).map_err(refused)?;
    let compiled = PLANNER.create_physical_expr(expanded, &fields).map_err(refused)?;
    let compared = with_ieee_comparisons(compiled, schema).map_err(refused)?;
    with_checked_arithmetic(compared).map_err(refused)
}

/// Sums, differences and products of whole numbers fail where they leave 64 bits: wrapped around, they would choose other objects.
fn with_checked_arithmetic(
    expression: Arc<dyn PhysicalExpr>,
) -> Result<Arc<dyn PhysicalExpr>, DataFusionError> {
    let check = |node: Arc<dyn PhysicalExpr>| {
        let arithmetic = node.downcast_ref::<BinaryExpr>().filter(|binary| {
            matches!(binary.op(), Operator::Plus | Operator::Minus | Operator::Multiply)
        });
        let Some(binary) = arithmetic else { return Ok(Transformed::no(node)) };
        let (left, right) = (Arc::clone(binary.left()), Arc::clone(binary.right()));
        let checked = BinaryExpr::new(left, *binary.op(), right).with_fail_on_overflow(true);
        Ok(Transformed::yes(Arc::new(checked) as _))
    };
    expression.transform_up(check).data()
}

/// Writes out the functions that are short for something else, as `coalesce` is for `CASE`; such
/// functions cannot be evaluated themselves.
fn with_functions_expanded(planned: Expr, fields: &DFSchema) -> Result<Expr, DataFusionError> {
    let context = SimplifyContext::builder().with_schema(Arc::new(fields.clone())).build();
    let expand = |node: Expr| match node {
        Expr::ScalarFunction(ScalarFunction { func, args }) => {
            Ok(match func.simplify(args, &context)? {
                ExprSimplifyResult::Simplified(node) => Transformed::yes(node),
                ExprSimplifyResult::Original(args) => {
                    Transformed::no(Expr::ScalarFunction(ScalarFunction { func, args }))
                }
            })
        }
        node => Ok(Transformed::no(node)),
    };
    planned.transform_up(expand).data()
}
