//! Texts that are compared with the day of a call: only a date counts as one.
//!
//! Texts compare letter by letter, so that `01/01/2030` comes before every day of this century: a row policy
//! `release_date <= today` would show the row. In policies a text column that is compared with the day is therefore read through
//! [`NAME`], which is null for what is not a date; the comparison is then unknown, and the row hidden.

use std::ops::ControlFlow;
use std::sync::Arc;

use arrow::array::StringArray;
use arrow::datatypes::DataType;
use datafusion::common::cast::as_string_array;
use datafusion::common::utils::take_function_args;
use datafusion::logical_expr::{ColumnarValue, ScalarUDF, Volatility, create_udf};
use datafusion::sql::sqlparser::ast::{
    BinaryOperator, Expr as Syntax, Function, FunctionArg, FunctionArgExpr, FunctionArgumentList,
    FunctionArguments, Ident, ObjectName, Value, visit_expressions_mut,
};

use super::names::Names;
use crate::query::day::Day;

/// The function: its argument where that is a date as ISO 8601 writes it, `YYYY-MM-DD` with or without a time, else null.
pub(super) const NAME: &str = "iso_day";

/// The function, for the planner.
pub(super) fn function() -> ScalarUDF {
    let checked = |arguments: &[ColumnarValue]| {
        let [values] = take_function_args(NAME, ColumnarValue::values_to_arrays(arguments)?)?;
        let texts = as_string_array(&values)?.iter();
        let dates: StringArray = texts.map(|text| text.filter(|text| is_date(text))).collect();
        Ok(ColumnarValue::Array(Arc::new(dates)))
    };
    create_udf(NAME, vec![DataType::Utf8], DataType::Utf8, Volatility::Immutable, Arc::new(checked))
}

/// Whether a text begins with a date, and goes on, if it does, with a time.
fn is_date(text: &str) -> bool {
    let Some((date, rest)) = text.as_bytes().split_at_checked(10) else { return false };
    let number = |digits: &[u8]| {
        digits.iter().try_fold(0_u32, |number, digit| {
            digit.is_ascii_digit().then(|| 10 * number + u32::from(digit - b'0'))
        })
    };
    let [year @ .., b'-', m1, m2, b'-', d1, d2] = date else { return false };
    number(year).is_some()
        && number(&[*m1, *m2]).is_some_and(|month| (1..=12).contains(&month))
        && number(&[*d1, *d2]).is_some_and(|day| (1..=31).contains(&day))
        && matches!(rest.first(), None | Some(b'T' | b't' | b' '))
}

/// Has text columns that are compared with a day be read as dates; the names of these columns.
pub(super) fn read_dates(syntax: &mut Syntax, names: &Names<'_>, day: Day) -> Vec<String> {
    let mut read = Read { names, day: day.to_string(), columns: Vec::new() };
    let walked = visit_expressions_mut(syntax, |node| {
        read.comparison(node);
        ControlFlow::<()>::Continue(())
    });
    debug_assert!(walked.is_continue());
    read.columns
}

struct Read<'a> {
    names: &'a Names<'a>,
    day: String,
    columns: Vec<String>,
}

impl Read<'_> {
    fn comparison(&mut self, node: &mut Syntax) {
        match node {
            Syntax::BinaryOp { left, op, right } if compares(op) => self.sides(left, &mut [right]),
            Syntax::Between { expr, low, high, .. } => self.sides(expr, &mut [low, high]),
            Syntax::InList { expr, list, .. } => {
                let mut others: Vec<&mut Syntax> = list.iter_mut().collect();
                self.all_sides(expr, &mut others);
            }
            _ => {}
        }
    }

    fn sides(&mut self, one: &mut Syntax, others: &mut [&mut Box<Syntax>]) {
        let mut others: Vec<&mut Syntax> = others.iter_mut().map(|other| &mut ***other).collect();
        self.all_sides(one, &mut others);
    }

    fn all_sides(&mut self, one: &mut Syntax, others: &mut [&mut Syntax]) {
        if self.is_day(one) {
            for other in others {
                self.read(other);
            }
        } else if others.iter().any(|other| self.is_day(other)) {
            self.read(one);
        }
    }

    fn is_day(&self, side: &Syntax) -> bool {
        match side {
            Syntax::Nested(inner) => self.is_day(inner),
            Syntax::Value(value) => {
                matches!(&value.value, Value::SingleQuotedString(text) if *text == self.day)
            }
            _ => false,
        }
    }

    /// Has a side be read as a date where it is a column of texts.
    fn read(&mut self, side: &mut Syntax) {
        match side {
            Syntax::Nested(inner) => self.read(inner),
            Syntax::Identifier(name) => {
                let field = self.names.find(&name.value);
                let Some(field) = field.filter(|field| is_text(field.data_type())) else { return };
                if !self.columns.contains(field.name()) {
                    self.columns.push(field.name().clone());
                }
                *side = call(side.clone());
            }
            _ => {}
        }
    }
}

fn compares(operator: &BinaryOperator) -> bool {
    use BinaryOperator::{Eq, Gt, GtEq, Lt, LtEq, NotEq};
    matches!(operator, Eq | NotEq | Lt | LtEq | Gt | GtEq)
}

fn is_text(kind: &DataType) -> bool {
    match kind {
        DataType::Utf8 | DataType::LargeUtf8 | DataType::Utf8View => true,
        DataType::Dictionary(_, values) => is_text(values),
        _ => false,
    }
}

fn call(argument: Syntax) -> Syntax {
    let arguments = FunctionArgumentList {
        duplicate_treatment: None,
        args: vec![FunctionArg::Unnamed(FunctionArgExpr::Expr(argument))],
        clauses: Vec::new(),
    };
    Syntax::Function(Function {
        name: ObjectName::from(vec![Ident::new(NAME)]),
        uses_odbc_syntax: false,
        parameters: FunctionArguments::None,
        args: FunctionArguments::List(arguments),
        filter: None,
        null_treatment: None,
        over: None,
        within_group: Vec::new(),
    })
}

#[cfg(test)]
mod tests {
    use arrow::array::{ArrayRef, Int64Array, RecordBatch};
    use arrow::datatypes::{Field, Schema, SchemaRef};

    use super::super::{Predicate, compile};
    use super::*;

    #[test]
    fn dates_are_told_from_other_texts() {
        let good = ["2030-01-01", "2030-12-31T23:59:59Z", "0001-01-01", "2030-01-01 12:00"];
        assert!(good.iter().all(|text| is_date(text)));
        let bad = [
            "",
            "2030",
            "01/01/2030",
            "2030-1-1",
            "2030-13-01",
            "2030-00-01",
            "2030-01-32",
            "2030-01-0x",
            "2030-01-011",
            "2030/01/01",
            " 2030-01-01",
            "20300101",
            "+203-01-01",
            "2030-01-01x",
            "２０３0-01",
        ];
        for text in bad {
            assert!(!is_date(text), "{text}");
        }
    }

    fn table() -> (SchemaRef, RecordBatch) {
        let fields = vec![
            Field::new("release_date", DataType::Utf8, true),
            Field::new("open", DataType::Int64, true),
        ];
        let schema = Arc::new(Schema::new(fields));
        let dates = StringArray::from(vec![
            Some("2020-01-01"),
            Some("01/01/2030"),
            Some("2030-01-01"),
            None,
            Some("2020-01-01T00:00:00"),
        ]);
        let open = Int64Array::from(vec![0, 1, 0, 0, 0]);
        let columns: Vec<ArrayRef> = vec![Arc::new(dates), Arc::new(open)];
        let batch = RecordBatch::try_new(Arc::clone(&schema), columns).expect("a table");
        (schema, batch)
    }

    #[test]
    fn what_is_no_date_is_never_released_whichever_way_it_is_asked() {
        let (schema, batch) = table();
        let released = [0, 4];
        for sql in [
            "release_date <= today",
            "today >= release_date",
            "(release_date) <= (today)",
            "NOT (release_date > today)",
            "NOT (today < release_date)",
            "release_date BETWEEN '0000-01-01' AND today",
            "NOT (release_date <> today) OR release_date < today",
            "CASE WHEN release_date <= today THEN true ELSE false END",
        ] {
            let predicate = Predicate::parse_on(sql, &schema, Day::today()).expect(sql);
            let passes = predicate.evaluate(&batch).expect(sql);
            let found: Vec<usize> = (0..5).filter(|row| passes.value(*row)).collect();
            assert_eq!(found, released, "{sql}");
            let split = Predicate::split_on(sql, &schema, 2, Some(Day::today())).expect(sql);
            assert!(split.conditions.is_empty(), "{sql}: an index knows nothing of dates");
        }
        // Another way in is another way in.
        let sql = "release_date <= today OR open = 1";
        let predicate = Predicate::parse_on(sql, &schema, Day::today()).expect("parses");
        assert!(predicate.evaluate(&batch).expect("evaluates").value(1));
    }

    #[test]
    fn the_columns_that_must_hold_dates_are_told() {
        let (schema, _) = table();
        let told = |sql: &str| compile::dated_columns(sql, &schema, Day::today()).expect("parses");
        assert_eq!(told("Release_Date <= today OR release_date = today"), ["release_date"]);
        assert!(told("release_date = 'x' AND open = 1").is_empty());
        assert!(told("open <= mjd_today").is_empty());
    }
}
