//! A predicate that was taken apart against the same predicate evaluated whole, and against the oracle.

use std::sync::LazyLock;
use std::time::Instant;

use arrow::array::{Array, BooleanArray, RecordBatch};
use arrow::buffer::BooleanBuffer;
use proptest::prelude::*;
use proptest::strategy::ValueTree;
use proptest::test_runner::TestRunner;
use tempfile::TempDir;

use super::oracle::{Row, condition, row};
use super::tests::{batch, on_a_small_stack, one_row, unless_too_large};
use super::{Predicate, PredicateError, Split, WORDS_MAX};
use crate::engine::{CollectionView, Db, DbOptions, Part, Write, WriteMode};
use crate::schema::{CollectionSchema, Column, ColumnType, IdKind, Object, ObjectId, Value};
use crate::sky::{Degrees, Position};
use crate::vector::RowBitmap;

fn split(sql: &str) -> Result<Split, PredicateError> {
    Predicate::split(sql, &batch(&[one_row()]).schema(), usize::MAX)
}

/// The rows for which all conditions and the rest hold.
fn chosen(split: &Split, batch: &RecordBatch) -> Result<Vec<bool>, PredicateError> {
    let mut holds = BooleanBuffer::new_set(batch.num_rows());
    for condition in &split.conditions {
        holds = &holds & &condition.values.mask(batch.column(condition.column).as_ref());
    }
    if let Some(rest) = &split.rest {
        holds = &holds & rest.evaluate(batch)?.values();
    }
    Ok(holds.iter().collect())
}

fn whole(sql: &str, batch: &RecordBatch) -> Result<Vec<bool>, PredicateError> {
    let values: BooleanArray = Predicate::parse(sql, &batch.schema())?.evaluate(batch)?;
    assert_eq!(values.null_count(), 0);
    Ok(values.values().iter().collect())
}

fn literal() -> impl Strategy<Value = String> {
    prop::sample::select(vec![
        "0",
        "-0",
        "1",
        "-1",
        "2",
        "- 3",
        "+1",
        "(2)",
        "0.0",
        "-0.0",
        "0.1",
        "0.25",
        "-0.25",
        "2.5",
        "-2.5",
        "3.0",
        "1e400",
        "-1e400",
        "1e-400",
        "1_0",
        "16777217",
        "16777217.0",
        "0.30000001",
        "9007199254740991",
        "9007199254740992",
        "9007199254740993",
        "9007199254740992.0",
        "1e300",
        "9223372036854775807",
        "-9223372036854775808",
        "9223372036854775808",
        "1e19",
        "18446744073709551616",
        "'GALAXY'",
        "'GAL'",
        "''",
        "'Ωmega'",
        "'O''Neil'",
        "'0'",
        "true",
        "FALSE",
        "NULL",
    ])
    .prop_map(str::to_owned)
}

fn simple() -> impl Strategy<Value = String> {
    let column = || {
        let names = vec![
            "z",
            "mag_g",
            "Count",
            "COUNT",
            "class",
            "flag",
            "ra",
            "object_id",
            "(z)",
            "nope",
            "cutout",
        ];
        let weighted = names.into_iter().flat_map(|name| {
            std::iter::repeat_n(name, if matches!(name, "nope" | "cutout") { 1 } else { 8 })
        });
        prop::sample::select(weighted.collect::<Vec<_>>())
    };
    let operator =
        || prop::sample::select(vec!["=", "==", "<>", "!=", "<", "<=", ">", ">=", "LIKE"]);
    let not = || prop::sample::select(vec!["", "NOT "]);
    prop_oneof![
        6 => (column(), operator(), literal()).prop_map(|(c, op, l)| format!("{c} {op} {l}")),
        2 => (column(), operator(), literal()).prop_map(|(c, op, l)| format!("{l} {op} {c}")),
        3 => (column(), not(), literal(), literal())
            .prop_map(|(c, not, low, high)| format!("{c} {not}BETWEEN {low} AND {high}")),
        3 => (column(), not(), prop::collection::vec(literal(), 1..5))
            .prop_map(|(c, not, list)| format!("{c} {not}IN ({})", list.join(", "))),
        2 => (column(), not()).prop_map(|(c, not)| format!("{c} IS {not}NULL")),
        1 => column().prop_map(str::to_owned),
        1 => (prop::sample::select(vec!["isnan", "ISNAN", "\"isnan\"", "abs"]), column())
            .prop_map(|(f, c)| format!("{f}({c})")),
        1 => Just("z = mag_g".to_owned()),
    ]
}

/// Predicates in the words of people, most of them about one column, some of them wrong.
fn sentence() -> impl Strategy<Value = String> {
    simple().prop_recursive(4, 10, 2, |inner| {
        let what = prop::sample::select(vec![
            "NULL",
            "TRUE",
            "FALSE",
            "UNKNOWN",
            "NOT NULL",
            "NOT TRUE",
            "NOT FALSE",
            "NOT UNKNOWN",
        ]);
        let pair = (inner.clone(), inner.clone());
        prop_oneof![
            1 => inner.clone().prop_map(|a| format!("NOT ({a})")),
            1 => inner.clone().prop_map(|a| format!("NOT {a}")),
            1 => inner.clone().prop_map(|a| format!("({a})")),
            1 => (inner, what).prop_map(|(a, what)| format!("({a}) IS {what}")),
            3 => pair.clone().prop_map(|(a, b)| format!("{a} AND {b}")),
            1 => pair.clone().prop_map(|(a, b)| format!("({a}) and ({b})")),
            2 => pair.clone().prop_map(|(a, b)| format!("({a}) OR {b}")),
            1 => pair.prop_map(|(a, b)| format!("{a} OR {b}")),
        ]
    })
}

/// Conditions on one column, so that few of them are left to DataFusion.
fn one_column() -> impl Strategy<Value = String> {
    let columns = [
        ("z", vec!["0", "-1", "0.25", "2.5", "1e400", "9007199254740993", "-0.0"]),
        ("mag_g", vec!["0", "16777217", "16777217.0", "0.1", "0.30000001", "-2.5", "1e300"]),
        ("count", vec!["0", "3", "-2.5", "2.5", "9007199254740991", "9007199254740993", "1e19"]),
        ("class", vec!["'GALAXY'", "'GAL'", "''", "'Ωmega'", "'STAR'"]),
        ("flag", vec!["true", "false"]),
    ];
    prop::sample::select(columns.to_vec()).prop_flat_map(|(column, literals)| {
        let literal = move || prop::sample::select(literals.clone());
        let operator = prop::sample::select(vec!["=", "<>", "<", "<=", ">", ">="]);
        let not = || prop::sample::select(vec!["", "NOT "]);
        let bare = if column == "flag" { "flag" } else { "class IS NULL" };
        let leaf = prop_oneof![
            6 => (operator, literal()).prop_map(move |(op, l)| format!("{column} {op} {l}")),
            2 => (not(), literal(), literal())
                .prop_map(move |(not, low, high)| format!("{column} {not}BETWEEN {low} AND {high}")),
            2 => (not(), prop::collection::vec(literal(), 1..4))
                .prop_map(move |(not, list)| format!("{column} {not}IN ({})", list.join(","))),
            2 => not().prop_map(move |not| format!("{column} IS {not}NULL")),
            1 => Just(bare.to_owned()),
        ];
        leaf.prop_recursive(4, 12, 2, |inner| {
            let pair = (inner.clone(), inner.clone());
            let what = prop::sample::select(vec!["TRUE", "FALSE", "UNKNOWN", "NOT TRUE", "NOT FALSE"]);
            prop_oneof![
                2 => inner.clone().prop_map(|a| format!("NOT ({a})")),
                1 => (inner, what).prop_map(|(a, what)| format!("({a}) IS {what}")),
                2 => pair.clone().prop_map(|(a, b)| format!("(({a}) AND ({b}))")),
                2 => pair.prop_map(|(a, b)| format!("({a} OR {b})")),
            ]
        })
    })
}

/// Rows with the values about which integers, singles and doubles disagree.
fn edge_row() -> impl Strategy<Value = Row> {
    let reals = vec![0.1, 0.3, -2.5, 16_777_216.0, 16_777_217.0, 9_007_199_254_740_993.0, 1e300];
    let singles = vec![0.1_f32, 0.3, -2.5, 16_777_216.0, 16_777_218.0, f32::MAX, f32::MIN_POSITIVE];
    let integers = vec![
        i64::MIN,
        i64::MAX,
        9_007_199_254_740_991,
        9_007_199_254_740_992,
        9_007_199_254_740_993,
        -9_007_199_254_740_993,
        -3,
    ];
    let (reals, singles) = (prop::sample::select(reals), prop::sample::select(singles));
    (row(), reals, singles, prop::sample::select(integers), any::<[bool; 3]>()).prop_map(
        |(mut row, real, single, integer, edge)| {
            if edge[0] {
                row.z = row.z.map(|_| real);
            }
            if edge[1] {
                row.mag = row.mag.map(|_| single);
            }
            if edge[2] {
                row.count = row.count.map(|_| integer);
            }
            row
        },
    )
}

/// The same rows, or the same words of refusal.
fn agree(sql: &str, rows: &[Row]) -> Result<(), TestCaseError> {
    let batch = batch(rows);
    let expected = whole(sql, &batch).map_err(|error| error.to_string());
    let taken_apart = Predicate::split(sql, &batch.schema(), usize::MAX)
        .and_then(|split| chosen(&split, &batch))
        .map_err(|error| error.to_string());
    // What another condition has decided already is not evaluated by the whole. Taken apart it is, and a literal beyond every
    // number, which cannot be cast, is told.
    if expected.is_ok() && taken_apart.as_ref().is_err_and(|error| error.contains("Cast error")) {
        return Ok(());
    }
    prop_assert_eq!(taken_apart, expected, "{}", sql);
    Ok(())
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(3000))]

    #[test]
    fn what_is_taken_apart_holds_where_the_whole_does(condition in condition(), rows in prop::collection::vec(row(), 1..40)) {
        let sql = condition.sql();
        agree(&sql, &rows)?;
        let expected: Vec<bool> = rows.iter().map(|row| condition.holds(row) == Some(true)).collect();
        let split = split(&sql).expect("parsed");
        prop_assert_eq!(chosen(&split, &batch(&rows)).expect("evaluated"), expected, "{}", sql);
    }

    #[test]
    fn sentences_are_read_as_datafusion_reads_them(sql in sentence(), rows in prop::collection::vec(edge_row(), 1..20)) {
        agree(&sql, &rows)?;
    }

    #[test]
    fn conditions_on_one_column_are_read_as_datafusion_reads_them(sql in one_column(), rows in prop::collection::vec(edge_row(), 1..20)) {
        agree(&sql, &rows)?;
    }

    #[test]
    fn no_text_panics(text in "[zZ0-9 ()<>=!'\"a-dANDORNOT,.*+%~|:;\\-\\[\\]{}?$@#\n]{0,40}") {
        let _ = split(&text);
    }
}

#[test]
fn conditions_on_single_columns_leave_no_rest() {
    for (sql, columns) in [
        ("z > 0.3", vec!["z"]),
        ("0.3 < Z", vec!["z"]),
        ("z BETWEEN 0.1 AND 0.2 AND class = 'GALAXY'", vec!["z", "class"]),
        ("(z > 0.1 AND (flag AND z < 0.2))", vec!["z", "flag"]),
        ("class IN ('STAR', 'QSO') AND count NOT IN (1, -2)", vec!["class", "Count"]),
        ("NOT (z > 0.1 OR z IS NULL)", vec!["z"]),
        ("mag_g > 18 OR mag_g < 2 OR isnan(mag_g)", vec!["mag_g"]),
        ("count > 2.5 AND flag = true AND NOT flag", vec!["Count", "flag"]),
        ("(class = 'STAR') IS NOT TRUE", vec!["class"]),
        ("\"flux.g-r\" > -0.5", vec!["flux.g-r"]),
    ] {
        let schema = batch(&[one_row()]).schema();
        let split = Predicate::split(sql, &schema, usize::MAX)
            .unwrap_or_else(|error| panic!("{sql}: {error}"));
        let found: Vec<&str> = split
            .conditions
            .iter()
            .map(|condition| schema.field(condition.column).name().as_str())
            .collect();
        assert_eq!(found, columns, "{sql}");
        assert!(split.rest.is_none(), "{sql}");
    }
}

#[test]
fn what_is_not_on_one_column_is_the_rest() {
    for (sql, conditions, rest) in [
        ("z > 0.3 AND z < mag_g", 1, vec!["z", "mag_g"]),
        ("z > 0.3 OR flag", 0, vec!["z", "flag"]),
        ("class LIKE 'G%' AND flag", 1, vec!["class"]),
        ("z + 1 > 2 AND sqrt(z) < 3 AND count = 1", 1, vec!["z"]),
        ("TRUE AND flag", 1, vec![]),
        ("count > 9007199254740992.0", 0, vec!["Count"]),
        // What is not a predicate by itself is compiled with the whole.
        ("NULL AND flag", 1, vec!["flag"]),
    ] {
        let split = split(sql).unwrap_or_else(|error| panic!("{sql}: {error}"));
        assert_eq!(split.conditions.len(), conditions, "{sql}");
        assert_eq!(split.rest.expect("a rest").columns(), rest, "{sql}");
    }
}

#[test]
fn conditions_are_said_in_sql() {
    let split = split("z > 0.3 AND class = 'STAR' AND Z < 0.5").expect("parsed");
    let said: Vec<&str> = split.conditions.iter().map(|condition| condition.sql.as_str()).collect();
    assert_eq!(said, ["\"z\" > 0.3 AND \"z\" < 0.5", "\"class\" = 'STAR'"]);
}

#[test]
fn refusals_are_those_of_the_whole() {
    for sql in [
        "z >",
        "z > 1 AND clas = 'x'",
        "z > 1 AND cutout IS NULL",
        "z > 1 AND class > 5",
        "flag AND z",
        "z AND flag",
        "NOT z AND flag",
        "flag AND z IN (SELECT 1)",
        "flag AND count(z) > 1",
        "flag AND random() < 0.5",
        "flag AND nosuch(z)",
        "flag AND NULL + 'x'",
        "",
    ] {
        let schema = batch(&[one_row()]).schema();
        let whole = Predicate::parse(sql, &schema).map(|_| ()).expect_err(sql).to_string();
        assert_eq!(split(sql).map(|_| ()).expect_err(sql).to_string(), whole);
    }
}

#[test]
fn the_longest_chains_are_taken_apart_on_a_small_stack() {
    on_a_small_stack(|| {
        let rows = [one_row(), Row { z: Some(0.75), count: Some(77), ..one_row() }];
        let chain = |joint: &str, term: &dyn Fn(usize) -> String| {
            (0..WORDS_MAX / 4 - 1).map(term).collect::<Vec<_>>().join(joint)
        };
        let list: Vec<String> = (0..10_000).map(|value| format!("-{value}")).collect();
        for sql in [
            chain(" OR ", &|place| format!("z = {}", place as f64 / 4.0)),
            chain(" AND ", &|place| format!("z <> {}", place as f64 / 4.0)),
            chain(" OR ", &|place| format!("class = '{place}'")),
            format!("NOT ({})", chain(" OR ", &|place| format!("count = {place}"))),
            format!("count NOT IN ({})", list.join(",")),
            format!("{}flag", "NOT ".repeat(100)),
        ] {
            let batch = batch(&rows);
            let started = Instant::now();
            let split = Predicate::split(&sql, &batch.schema(), usize::MAX).expect("parsed");
            println!("{} bytes: {:.2} ms", sql.len(), started.elapsed().as_secs_f64() * 1e3);
            assert!(split.rest.is_none());
            assert_eq!(
                chosen(&split, &batch).expect("evaluated"),
                whole(&sql, &batch).expect("evaluated")
            );
        }
    });
}

#[test]
fn taking_apart_is_quick() {
    let schema = batch(&[one_row()]).schema();
    for sql in [
        "z > 0.3",
        "z BETWEEN 0.1 AND 0.2 AND class = 'GALAXY'",
        "class IN ('STAR', 'QSO') AND mag_g < 18 AND NOT flag AND count >= 3",
        "z > 0.3 AND z < mag_g",
    ] {
        let best = |work: &dyn Fn()| {
            let times = (0..200).map(|_| {
                let started = Instant::now();
                work();
                started.elapsed().as_secs_f64() * 1e6
            });
            times.fold(f64::INFINITY, f64::min)
        };
        let apart = best(&|| drop(Predicate::split(sql, &schema, usize::MAX)));
        let whole = best(&|| drop(Predicate::parse(sql, &schema)));
        println!("{apart:7.1} us apart, {whole:7.1} us whole: {sql}");
    }
}

struct Fixture {
    view: CollectionView,
    _folder: TempDir,
}

/// A segment of random rows with attributes.
static FIXTURE: LazyLock<Fixture> = LazyLock::new(|| {
    let mut runner = TestRunner::deterministic();
    let object = |id: i64| {
        let Row { z, mag, count, class, flag } =
            edge_row().new_tree(&mut runner).expect("a row").current();
        let position = Position::new(Degrees((id * 77 % 360) as f64), Degrees((id % 90) as f64));
        let columns = vec![
            z.map_or(Value::Null, Value::Float64),
            mag.map_or(Value::Null, Value::Float32),
            count.map_or(Value::Null, Value::Int64),
            class.map_or(Value::Null, Value::Text),
            flag.map_or(Value::Null, Value::Boolean),
        ];
        let position = position.expect("on the sphere");
        Write::Put(Object { id: ObjectId::Number(id), position, columns, vectors: Vec::new() })
    };
    let writes = (0..2_000).map(object).collect();
    let columns = [
        ("z", ColumnType::Float64),
        ("mag_g", ColumnType::Float32),
        ("Count", ColumnType::Int64),
        ("class", ColumnType::Text),
        ("flag", ColumnType::Boolean),
    ];
    let schema = CollectionSchema {
        name: "rows".to_owned(),
        id_kind: IdKind::Number,
        columns: columns.map(|(name, kind)| Column::new(name, kind)).into(),
        spaces: Vec::new(),
        description: String::new(),
    };
    let folder = tempfile::tempdir().expect("a temporary folder");
    let options = DbOptions { auto_index_rows: None, ..DbOptions::new(folder.path()) };
    let db = Db::open(options).expect("opened");
    db.create_collection(schema).expect("created");
    db.write("rows", WriteMode::Bulk, writes).expect("written");
    db.build_index("rows", &mut |_, _, _| {}).expect("built");
    Fixture { view: db.view("rows").expect("a view"), _folder: folder }
});

/// The rows that attributes leave, beginning with those of the first condition; `None` where a number is too large.
fn chosen_by_attributes(split: &Split, part: &Part) -> Option<Vec<bool>> {
    let mut conditions = split.conditions.iter().map(|condition| {
        let attribute = part.attribute(condition.column).expect("every column has one");
        (attribute, attribute.spans(&condition.values))
    });
    let mut first = RowBitmap::empty(part.row_count());
    match conditions.next() {
        Some((condition, spans)) => {
            condition.rows(&spans).for_each(|row| first.insert(row as usize));
        }
        None => (0..part.row_count()).for_each(|row| first.insert(row)),
    }
    let mut words = first.words().to_vec();
    conditions.for_each(|(other, spans)| other.narrow(0, &mut words, &spans));
    let mut left = RowBitmap::empty(part.row_count());
    words.iter().enumerate().for_each(|(place, &word)| left.insert_word(place, word));
    if let Some(rest) = &split.rest {
        let passes = unless_too_large(rest.evaluate(&part.batches()[0]))?;
        (0..part.row_count()).filter(|row| !passes.value(*row)).for_each(|row| left.remove(row));
    }
    Some((0..part.row_count()).map(|row| left.contains(row)).collect())
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(500))]

    #[test]
    fn attributes_leave_the_rows_of_the_whole(a in one_column(), b in one_column(), condition in condition(), with in 0..3) {
        let sql = match with {
            0 => a,
            1 => format!("{a} AND {b}"),
            _ => format!("({}) AND ({b})", condition.sql()),
        };
        let part = FIXTURE.view.parts()[0].part();
        let batch = &part.batches()[0];
        let split = Predicate::split(&sql, FIXTURE.view.arrow_schema(), usize::MAX).expect("parsed");
        let pair = chosen_by_attributes(&split, part).zip(unless_too_large(whole(&sql, batch)));
        prop_assert!(pair.is_none_or(|(left, whole)| left == whole), "{}", sql);
    }
}

#[test]
fn what_names_derived_columns_comes_last() {
    let schema = batch(&[one_row()]).schema();
    let date = schema.index_of("date").expect("a column");
    let split = |sql: &str| Predicate::split(sql, &schema, date).expect("parsed");
    let columns = |part: &Option<Predicate>| part.as_ref().map(|part| part.columns().join(" "));
    let all = split("z > 0.1 AND date > 1 AND z < Count AND (date < 3 OR flag) AND z < 0.5");
    assert_eq!(all.conditions.len(), 1);
    assert_eq!(all.conditions[0].sql, "\"z\" > 0.1 AND \"z\" < 0.5");
    assert_eq!(columns(&all.rest).as_deref(), Some("z Count"));
    assert_eq!(columns(&all.last).as_deref(), Some("flag date"));
    assert_eq!(columns(&all.stored).as_deref(), Some("z Count"));
    let last = split("date IS NOT NULL");
    assert!(last.conditions.is_empty() && last.rest.is_none() && last.stored.is_none());
    assert_eq!(columns(&last.last).as_deref(), Some("date"));
    let none = split("z > 0.1 AND flag");
    assert!(none.last.is_none() && none.stored.is_none());
    Predicate::split("date > 'a' AND z > 1", &schema, date).expect_err("a number and a text");
}
