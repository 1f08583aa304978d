//! Predicates against a plain evaluator, and every refusal with its words.

use std::sync::Arc;

use arrow::array::{
    ArrayRef, BinaryArray, BooleanArray, Float32Array, Float64Array, Int64Array, ListArray,
    RecordBatch, StringArray,
};
use arrow::datatypes::Float64Type;
use proptest::prelude::*;

use super::oracle::{Condition, Row, condition, row};
use super::{LENGTH_MAX, NESTING_MAX, Predicate, PredicateError, WORDS_MAX};
use crate::class::Class;

/// The test table; names differ in case from what the conditions write.
pub(super) fn batch(rows: &[Row]) -> RecordBatch {
    let ids: ArrayRef = Arc::new(Int64Array::from_iter_values(0..rows.len() as i64));
    let columns: [(&str, ArrayRef); 10] = [
        ("object_id", ids),
        ("ra", Arc::new(Float64Array::from_iter_values(rows.iter().map(|_| 10.5)))),
        ("z", rows.iter().map(|row| row.z).collect::<Float64Array>().into_ref()),
        ("mag_g", rows.iter().map(|row| row.mag).collect::<Float32Array>().into_ref()),
        ("Count", rows.iter().map(|row| row.count).collect::<Int64Array>().into_ref()),
        ("class", rows.iter().map(|row| row.class.as_deref()).collect::<StringArray>().into_ref()),
        ("flag", rows.iter().map(|row| row.flag).collect::<BooleanArray>().into_ref()),
        ("date", Arc::new(Float64Array::from_iter_values(rows.iter().map(|_| 2.0)))),
        ("flux.g-r", Arc::new(Float64Array::from_iter_values(rows.iter().map(|_| 0.5)))),
        ("cutout", Arc::new(BinaryArray::from_iter_values(rows.iter().map(|_| b"x")))),
    ];
    let spectrum = rows.iter().map(|_| Some([Some(1.0)]));
    let spectrum: ArrayRef =
        Arc::new(ListArray::from_iter_primitive::<Float64Type, _, _>(spectrum));
    let columns = columns.into_iter().chain([("spectrum", spectrum)]);
    RecordBatch::try_from_iter_with_nullable(columns.map(|(name, array)| (name, array, true)))
        .expect("a batch")
}

trait IntoRef {
    fn into_ref(self) -> ArrayRef;
}

impl<A: arrow::array::Array + 'static> IntoRef for A {
    fn into_ref(self) -> ArrayRef {
        Arc::new(self)
    }
}

pub(super) fn one_row() -> Row {
    Row {
        z: Some(0.25),
        mag: Some(18.5),
        count: Some(3),
        class: Some("GALAXY".to_owned()),
        flag: Some(true),
    }
}

fn parse(sql: &str) -> Result<Predicate, PredicateError> {
    Predicate::parse(sql, &batch(&[one_row()]).schema())
}

/// Which of the rows satisfy the condition.
fn chosen(sql: &str, rows: &[Row]) -> Vec<bool> {
    let batch = batch(rows);
    let predicate =
        Predicate::parse(sql, &batch.schema()).unwrap_or_else(|error| panic!("{sql}: {error}"));
    let values = predicate.evaluate(&batch).unwrap_or_else(|error| panic!("{sql}: {error}"));
    assert_eq!((values.len(), arrow::array::Array::null_count(&values)), (rows.len(), 0));
    values.values().iter().collect()
}

/// What was evaluated; `None` where whole numbers are too large for 64 bits, of which not every order of the parts learns.
pub(super) fn unless_too_large<T>(evaluated: Result<T, PredicateError>) -> Option<T> {
    match evaluated {
        Err(error) if error.to_string().contains("Overflow happened") => None,
        other => Some(other.expect("evaluated")),
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(600))]

    #[test]
    fn conditions_hold_where_the_oracle_says(condition in condition(), rows in prop::collection::vec(row(), 1..60)) {
        let expected: Vec<bool> = rows.iter().map(|row| condition.holds(row) == Some(true)).collect();
        prop_assert_eq!(chosen(&condition.sql(), &rows), expected, "{}", condition.sql());
    }

    #[test]
    fn slices_and_whole_batches_agree(condition in condition(), rows in prop::collection::vec(row(), 2..30), cut in 1_usize..20) {
        let whole = batch(&rows);
        let cut = cut.min(rows.len() - 1);
        let predicate = Predicate::parse(&condition.sql(), &whole.schema()).expect("parsed");
        let joined: Vec<bool> = [whole.slice(0, cut), whole.slice(cut, rows.len() - cut)]
            .iter()
            .flat_map(|part| predicate.evaluate(part).expect("evaluated").values().iter().collect::<Vec<_>>())
            .collect();
        let expected: Vec<bool> = predicate.evaluate(&whole).expect("evaluated").values().iter().collect();
        prop_assert_eq!(joined, expected);
    }

    #[test]
    fn no_text_panics(text in "[zZ0-9 ()<>=!'\"a-dANDORNOT,.*+%~|:;\\-\\[\\]{}?$@#\n]{0,40}") {
        let _ = parse(&text);
    }

    #[test]
    fn no_words_panic(words in prop::collection::vec(prop::sample::select(vec![
        "z", "class", "flag", "AND", "OR", "NOT", "IN", "(", ")", ",", "1", "0.3", "'x'", "IS", "NULL", "BETWEEN", "LIKE",
        "CASE", "WHEN", "THEN", "ELSE", "END", "CAST", "AS", "DOUBLE", "abs(", "<", "=", "+", "-", "*", "::", "int", "date",
        "EXISTS", "SELECT", "FROM", "interval", "ARRAY", "[", "]", "ANY", "{", "}", "->", "OVER", "FILTER", "array_agg(", "struct(",
    ]), 0..14)) {
        let _ = parse(&words.join(" "));
    }
}

#[test]
fn names_are_found_in_any_case_and_quoting() {
    let rows = [one_row()];
    for sql in [
        "z > 0.2",
        "Z > 0.2",
        "\"Z\" > 0.2",
        "`z` > 0.2",
        "count = 3",
        "COUNT = 3",
        "\"count\" == 3",
        "Date = 2",
        "date+1 = 3",
        "\"flux.g-r\" = 0.5",
        "\"FLUX.G-R\" = 0.5",
        "Class = 'GALAXY'",
        "ABS(-Z) = 0.25",
        "sqrt(z) = 0.5",
        "z BETWEEN 0.2 AND 0.3 AND class = 'GALAXY'",
        "CAST(count AS DOUBLE) / 2 = 1.5",
        "count::DOUBLE = 3",
        "flag",
        "NOT NOT flag",
        "class LIKE 'GAL%' -- a comment",
        "class ILIKE 'gal%'",
        "class ~ '^G'",
        "lower(class) = 'galaxy'",
        "coalesce(z, 0) > 0",
        "nvl(z, 0) > 0",
        "nullif(z, 1) = 0.25",
        "sqrt(count) > 1",
        "power(count, 2) = 9",
        "pow(0, -1) > 5",
        "CASE WHEN z > 0.2 THEN true ELSE false END",
        "ra = 10.5 AND object_id IN (0, 7)",
        "flag IS TRUE",
        "flag = true",
        "TRUE",
        "1 = 1",
        "z IS NOT NULL",
        "isnan(z) = false",
        "mag_g = 18.5",
        "z + mag_g > 18",
        "class IN ('STAR', 'GALAXY')",
        "z IS DISTINCT FROM NULL",
    ] {
        assert_eq!(chosen(sql, &rows), [true], "{sql}");
    }
}

#[test]
fn dotted_names_are_as_long_as_a_column_has_them() {
    use arrow::datatypes::{DataType, Field, Schema};
    let real = |name: &str| Field::new(name, DataType::Float64, true);
    let fields: Vec<Field> = ["a.b", "a.b.c", "x.y.z.w", "c"].into_iter().map(real).collect();
    let schema = Arc::new(Schema::new(fields));
    for (sql, columns) in [
        ("A.b > 1 AND c < 2", &["a.b", "c"][..]),
        ("a.\"B\".c < 2 OR \"a.b\" > 1", &["a.b", "a.b.c"]),
        ("\"A.B.C\" + x.Y.\"z\".w > c", &["a.b.c", "x.y.z.w", "c"]),
    ] {
        let predicate = Predicate::parse(sql, &schema).unwrap_or_else(|error| panic!("{error}"));
        assert_eq!(predicate.columns(), columns, "{sql}");
    }
    for sql in ["a.b.d > 1", "x.y > 1", "a > 1"] {
        let error = Predicate::parse(sql, &schema).expect_err(sql);
        assert!(
            matches!(
                error,
                PredicateError::UnknownColumn { .. }
                    | PredicateError::Refused { .. }
                    | PredicateError::Syntax { .. }
            ),
            "{error}"
        );
    }
}

#[test]
fn columns_are_those_that_are_named() {
    let columns = |sql| parse(sql).expect("parsed").columns().to_vec();
    assert_eq!(columns("CLASS = 'x' OR Z > 1 AND z < 2"), ["z", "class"]);
    assert!(columns("1 < 2").is_empty());
}

#[test]
fn nan_is_compared_as_ieee_says() {
    let not_measured = Row { z: Some(f64::NAN), mag: Some(-f32::NAN), ..one_row() };
    let zero = Row { z: Some(-0.0), mag: Some(0.0), ..one_row() };
    let unknown = Row { z: None, ..one_row() };
    let rows = [one_row(), not_measured, zero, unknown];
    for (sql, expected) in [
        ("z > 0.1", [true, false, false, false]),
        ("z < 0.1", [false, false, true, false]),
        ("z = z", [true, false, true, false]),
        ("z <> z", [false, true, false, false]),
        ("NOT (z > 0.1)", [false, true, true, false]),
        ("z BETWEEN -1 AND 9", [true, false, true, false]),
        ("z = 0", [false, false, true, false]),
        ("z IN (0, 0.25)", [true, false, true, false]),
        ("z NOT IN (0, 0.25)", [false, true, false, false]),
        ("isnan(z)", [false, true, false, false]),
        ("mag_g < 0 OR mag_g >= 0", [true, false, true, true]),
        ("z IS NULL", [false, false, false, true]),
        ("sqrt(z - 1) > 0", [false, false, false, false]),
    ] {
        assert_eq!(chosen(sql, &rows), expected, "{sql}");
    }
}

/// The refusal of a predicate, whose class must be that of a request to mend.
fn refusal(sql: &str) -> String {
    let error = parse(sql).map(|_| ()).expect_err(sql);
    assert_eq!(error.class(), Class::Invalid);
    let message = error.to_string();
    assert!(!message.contains('\n'), "{message}");
    message
}

#[test]
fn syntax_errors_say_where() {
    let cases = [
        ("z >", "predicate, line 1, column 4: expected"),
        ("z > > 3", "predicate, line 1, column 5: expected"),
        ("z BETWEEN 1 OR 2", "predicate, line 1, column 13: expected"),
        ("z > 1 z", "predicate, line 1, column 7:"),
        ("z > 1\n AND (flag", "predicate, line 2, column 11: expected"),
        ("class = 'GAL", "predicate, line 1, column 9: Unterminated string literal"),
        ("", "predicate, line 1, column 1: the predicate is empty"),
        (" -- nothing", "predicate, line 1, column 1: the predicate is empty"),
        ("z > 1; flag", "predicate, line 1, column 6:"),
        ("z > 1 AS x", "predicate, line 1, column"),
        ("SELECT z", "predicate, line 1, column"),
    ];
    for (sql, beginning) in cases {
        let message = refusal(sql);
        assert!(message.starts_with(beginning), "{sql}: {message}");
    }
}

#[test]
fn unknown_columns_get_suggestions() {
    assert_eq!(
        refusal("z > 1 AND clas = 'x'"),
        "predicate, line 1, column 11: no column `clas`, did you mean class?; the columns are object_id, ra, z, mag_g, Count, class, flag, date, flux.g-r, cutout, spectrum"
    );
    assert!(refusal("mag_r > 1").contains("no column `mag_r`, did you mean mag_g?"));
    assert!(
        refusal("class = \"STAR\"")
            .contains("no column `STAR` (a text is written in single quotes: 'STAR')")
    );
    for bare in ["class = STAR", "class != STAR AND z > 1", "class IN ('QSO', STAR)"] {
        assert!(refusal(bare).contains("(a text is written in single quotes: 'STAR')"), "{bare}");
    }
    assert!(!refusal("zspec > 1").contains("single quotes"), "it is compared with no text");
    assert!(refusal("t.z > 1").contains("no column `t.z`"));
    let quoted = refusal("flux.g > 1");
    assert!(quoted.contains("no column `flux.g`, did you mean \"flux.g-r\" (a name"), "{quoted}");
    assert!(refusal("xyzzy > 1").contains("no column `xyzzy`; the columns are"));
    assert!(refusal("nosuch(z) > 1").contains("nosuch"));
}

#[test]
fn operands_of_different_kinds_are_refused() {
    for (sql, message) in [
        (
            "class > 5",
            "`>` cannot join `class` (a text) and 5 (a number); write numbers without quotes and texts in single quotes",
        ),
        (
            "z = '0.3'",
            "`=` cannot join `z` (a number) and '0.3' (a text); write numbers without quotes and texts in single quotes",
        ),
        (
            "z IN (1, 'a')",
            "`IN` cannot join `z` (a number) and 'a' (a text); write numbers without quotes and texts in single quotes",
        ),
        (
            "class BETWEEN 1 AND 2",
            "`BETWEEN` cannot join `class` (a text) and 1 (a number); write numbers without quotes and texts in single quotes",
        ),
        ("flag = 1", "`=` cannot join `flag` (true or false) and 1 (a number)"),
        ("class + 1 > 2", "`+` cannot join `class` (a text) and 1 (a number)"),
        ("class + class = 'x'", "`+` cannot join `class` (a text) and `class` (a text)"),
        ("z LIKE 'a%'", "`LIKE` cannot join `z` (a number) and 'a%' (a text)"),
        (
            "z",
            "the predicate must be true or false but is a number; write a comparison such as `z > 0.3`",
        ),
        (
            "class",
            "the predicate must be true or false but is a text; write a comparison such as `z > 0.3`",
        ),
        (
            "NULL",
            "the predicate must be true or false but is null; write a comparison such as `z > 0.3`",
        ),
        (
            "flag AND z",
            "`z` beside AND must be true or false but is a number; write a comparison such as `z > 0.3`",
        ),
        ("NOT z", "predicate: Unary operator 'NOT' requires a boolean expression, got Float64"),
        ("cutout IS NULL", "column `cutout` holds binary values, which predicates cannot use"),
        ("spectrum = 1", "column `spectrum` holds list values, which predicates cannot use"),
    ] {
        assert_eq!(refusal(sql), message);
    }
}

#[test]
fn only_conditions_on_one_object_are_taken() {
    for (sql, what) in [
        ("z > 1 && flag", "`&&` (write AND)"),
        ("z > (SELECT 1)", "subqueries"),
        ("z IN (SELECT z FROM t)", "subqueries"),
        ("EXISTS (SELECT 1)", "subqueries"),
        ("count(z) > 1", "aggregates such as count or max"),
        ("z = MAX(z)", "aggregates such as count or max"),
        ("row_number() OVER (ORDER BY z) = 1", "window functions"),
        ("random() < 0.5", "random values"),
        ("z > $1", "parameters"),
        ("z > ?", "parameters"),
    ] {
        assert_eq!(
            refusal(sql),
            format!(
                "a predicate cannot have {what}: it is a condition on the columns of one object"
            )
        );
    }
}

/// Threads of the server have two mebibytes of stack.
pub(super) fn on_a_small_stack(work: impl FnOnce() + Send + 'static) {
    let thread = std::thread::Builder::new().stack_size(2 << 20).spawn(work).expect("a thread");
    thread.join().expect("no overflow and no failure");
}

#[test]
fn hostile_texts_are_refused_on_a_small_stack() {
    on_a_small_stack(|| {
        let nested = |depth: usize| format!("{}z > 1{}", "(".repeat(depth), ")".repeat(depth));
        assert!(matches!(
            parse(&nested(100_000)),
            Err(PredicateError::TooLong { length: 200_005 })
        ));
        assert!(matches!(parse(&"(".repeat(LENGTH_MAX)), Err(PredicateError::TooDeep)));
        assert!(matches!(parse(&nested(NESTING_MAX + 1)), Err(PredicateError::TooDeep)));
        assert!(parse(&nested(NESTING_MAX)).is_ok());
        let padded = format!("z > 1{}", " ".repeat(LENGTH_MAX));
        assert!(matches!(parse(&padded), Err(PredicateError::TooLong { .. })));
        assert!(parse(&padded[..LENGTH_MAX]).is_ok());
        let many = |repeated: &str| {
            let text = repeated.repeat(LENGTH_MAX / repeated.len() - 10);
            parse(&format!("{text} z > 1")).map(|_| ())
        };
        for repeated in [
            "NOT ",
            "- ",
            "+ ",
            "~ ",
            "z > 1 AND ",
            "z + ",
            "CASE WHEN ",
            "abs(",
            "[",
            "z[",
            "CAST(",
            "{",
            "x -> ",
            "z::",
        ] {
            assert!(many(repeated).is_err(), "{repeated}");
        }
        for repeated in [" IS NULL", "::DOUBLE", " AND flag", " OR z > 1", " + 1"] {
            let text = format!("z > 1{}", repeated.repeat(LENGTH_MAX / repeated.len() - 10));
            assert!(matches!(parse(&text), Err(PredicateError::TooManyWords { .. })), "{repeated}");
        }
    });
}

#[test]
fn the_longest_allowed_chains_work_on_a_small_stack() {
    on_a_small_stack(|| {
        let rows = [one_row()];
        assert_eq!(
            chosen(&format!("flag{}", " AND flag".repeat((WORDS_MAX - 1) / 2)), &rows),
            [true]
        );
        assert_eq!(chosen(&format!("z{} > 0", " + z".repeat((WORDS_MAX - 2) / 2)), &rows), [true]);
        assert_eq!(
            chosen(&format!("flag{}", " IS NOT NULL".repeat((WORDS_MAX - 1) / 3)), &rows),
            [true]
        );
        assert_eq!(chosen(&format!("{} flag", "NOT ".repeat(100)), &rows), [true]);
        let list: Vec<String> = (0..10_000).map(|value| value.to_string()).collect();
        assert_eq!(chosen(&format!("count IN ({})", list.join(",")), &rows), [true]);
        let longer = format!("count IN ({},1)", list.join(","));
        assert!(matches!(parse(&longer), Err(PredicateError::TooManyValues { count: 10_001 })));
        let signed: Vec<String> = (1..10_000).map(|value| format!("-{value}")).collect();
        assert_eq!(chosen(&format!("count IN ({})", signed.join(",")), &rows), [false]);
    });
}

#[test]
fn what_cannot_be_evaluated_is_said() {
    let batch = batch(&[one_row()]);
    let evaluate = |sql| {
        let predicate = Predicate::parse(sql, &batch.schema()).expect("parsed");
        predicate.evaluate(&batch).map(|_| ()).expect_err(sql)
    };
    assert_eq!(
        evaluate("count / 0 > 1").to_string(),
        "the predicate cannot be evaluated: Divide by zero error"
    );
    for sum in [
        "count + 9223372036854775807 > 0",
        "count * 9223372036854775807 > 0",
        "count - -9223372036854775807 > 0",
    ] {
        let told = evaluate(sum).to_string();
        assert!(told.contains("verflow"), "{told}");
    }
    let error = evaluate("CAST(class AS INT) = 1");
    assert!(error.to_string().contains("Cannot cast string 'GALAXY'"), "{error}");
    assert_eq!(error.class(), Class::Invalid);
    let other = batch.project(&[0, 1]).expect("two columns");
    let error = parse("z > 1").expect("parsed").evaluate(&other).expect_err("no z");
    assert_eq!(error.to_string(), "the batch has no column `z`, for which the predicate was made");
    assert_eq!(error.class(), Class::Internal);
}

#[test]
fn what_a_condition_leaves_out_need_not_be_computed_in_another() {
    let rows = [0, 4, 20].map(|count| Row { count: Some(count), ..one_row() });
    for sql in [
        "count <> 0 AND 10 / count > 1",
        "10 / count > 1 AND count <> 0",
        "10 / count > 1 AND count <> 0 AND 10 % count = 2 AND count < 10",
        "(10 / count > 1 AND 20 / count > 3) AND NOT count = 0",
    ] {
        assert_eq!(chosen(sql, &rows), [false, true, false], "{sql}");
    }
    let batch = batch(&rows);
    for sql in ["10 / count > 1 AND count <> 4", "10 / count > 1 OR count = 0"] {
        let predicate = Predicate::parse(sql, &batch.schema()).expect("parsed");
        let error = predicate.evaluate(&batch).expect_err(sql);
        assert!(error.to_string().contains("Divide by zero"), "{error}");
    }
}

#[test]
fn conditions_that_wait_for_one_another_are_tried_a_few_times() {
    // Each cannot be computed for one row, which only the next one leaves out.
    let evaluate = |rows: i64| {
        let batch =
            batch(&(0..rows).map(|n| Row { count: Some(n), ..one_row() }).collect::<Vec<_>>());
        let chain: Vec<String> =
            (0..=rows).map(|step| format!("1 / (count - {step}) >= 0")).collect();
        let predicate = Predicate::parse(&chain.join(" AND "), &batch.schema()).expect("parsed");
        predicate.evaluate(&batch).map(|values| values.true_count())
    };
    assert_eq!(evaluate(3).expect("four times are enough"), 0);
    let error = evaluate(10).expect_err("they are not");
    assert!(error.to_string().contains("Divide by zero"), "{error}");
}

#[test]
fn an_empty_batch_has_no_rows() {
    assert!(chosen("z > 1 OR TRUE", &[]).is_empty());
    assert_eq!(chosen("TRUE", &[one_row(), one_row()]), [true, true]);
    assert!(Condition::Flag.holds(&one_row()).expect("known"));
}
