//! Attributes against testing every row.

mod files;
mod speed;

use std::cmp::Ordering;
use std::ops::Bound;
use std::path::Path;
use std::sync::Arc;

use arrow::array::{ArrayRef, BooleanArray, Float32Array, Float64Array, Int64Array, StringArray};
use proptest::prelude::*;

use super::keys::Kind;
use super::ranks::Ranks;
use super::spans::{Span, Spans};
use super::{Attribute, Scalar, ValueSet, file, rank};

const KINDS: [Kind; 5] = [Kind::Boolean, Kind::Integer, Kind::Single, Kind::Double, Kind::Text];

/// A value of a row; `None` is null.
type Cell = Option<Scalar>;

/// A set as a person would describe it.
#[derive(Debug, Clone)]
enum Wish {
    Between(Bound<Scalar>, Bound<Scalar>),
    Among(Vec<Scalar>),
    Nan,
    Null,
    Everything,
    Not(Box<Wish>),
    And(Box<Wish>, Box<Wish>),
    Or(Box<Wish>, Box<Wish>),
}

/// By IEEE 754 for reals: NaN has no order.
fn compare(left: &Scalar, right: &Scalar) -> Option<Ordering> {
    match (left, right) {
        (Scalar::Bool(left), Scalar::Bool(right)) => left.partial_cmp(right),
        (Scalar::Int(left), Scalar::Int(right)) => left.partial_cmp(right),
        (Scalar::Real(left), Scalar::Real(right)) => left.partial_cmp(right),
        (Scalar::Text(left), Scalar::Text(right)) => left.partial_cmp(right),
        _ => None,
    }
}

impl Wish {
    fn set(&self) -> ValueSet {
        match self {
            Self::Between(low, high) => ValueSet::between(low.clone(), high.clone()),
            Self::Among(values) => ValueSet::among(values.clone()),
            Self::Nan => ValueSet::nan(),
            Self::Null => ValueSet::null(),
            Self::Everything => ValueSet::everything(),
            Self::Not(wish) => !wish.set(),
            Self::And(left, right) => left.set() & right.set(),
            Self::Or(left, right) => left.set() | right.set(),
        }
    }

    fn holds(&self, cell: &Cell) -> bool {
        let is_nan = matches!(cell, Some(Scalar::Real(value)) if value.is_nan());
        match self {
            Self::Between(low, high) => cell.as_ref().is_some_and(|value| {
                let order = |bound| compare(value, bound);
                let above = match low {
                    Bound::Included(bound) => order(bound).is_some_and(Ordering::is_ge),
                    Bound::Excluded(bound) => order(bound).is_some_and(Ordering::is_gt),
                    Bound::Unbounded => !is_nan,
                };
                above
                    && match high {
                        Bound::Included(bound) => order(bound).is_some_and(Ordering::is_le),
                        Bound::Excluded(bound) => order(bound).is_some_and(Ordering::is_lt),
                        Bound::Unbounded => !is_nan,
                    }
            }),
            Self::Among(values) => cell.as_ref().is_some_and(|value| {
                values.iter().any(|other| compare(value, other) == Some(Ordering::Equal))
            }),
            Self::Nan => is_nan,
            Self::Null => cell.is_none(),
            Self::Everything => true,
            Self::Not(wish) => !wish.holds(cell),
            Self::And(left, right) => left.holds(cell) && right.holds(cell),
            Self::Or(left, right) => left.holds(cell) || right.holds(cell),
        }
    }
}

fn scalar(kind: Kind) -> BoxedStrategy<Scalar> {
    let special = prop::sample::select(vec![
        f64::NAN,
        -f64::NAN,
        f64::INFINITY,
        f64::NEG_INFINITY,
        0.0,
        -0.0,
        f64::MIN_POSITIVE,
        f64::MAX,
        f64::MIN,
    ]);
    let real = prop_oneof![4 => (-6_i32..=6).prop_map(|step| f64::from(step) * 0.3), 1 => special];
    let ends = prop::sample::select(vec![i64::MIN, i64::MIN + 1, i64::MAX - 1, i64::MAX]);
    let texts = prop::sample::select(vec!["", "GAL", "GALAXY", "QSO", "STAR", "star", "Ωmega"]);
    match kind {
        Kind::Boolean => any::<bool>().prop_map(Scalar::Bool).boxed(),
        Kind::Integer => prop_oneof![4 => -5_i64..=5, 1 => ends].prop_map(Scalar::Int).boxed(),
        Kind::Single => real.prop_map(|value| Scalar::Real(f64::from(value as f32))).boxed(),
        Kind::Double => real.prop_map(Scalar::Real).boxed(),
        Kind::Text => texts.prop_map(|text| Scalar::Text(text.to_owned())).boxed(),
    }
}

fn wish(kind: Kind) -> BoxedStrategy<Wish> {
    let bound = prop_oneof![
        2 => scalar(kind).prop_map(Bound::Included),
        2 => scalar(kind).prop_map(Bound::Excluded),
        1 => Just(Bound::Unbounded),
    ];
    let leaf = prop_oneof![
        4 => (bound.clone(), bound).prop_map(|(low, high)| Wish::Between(low, high)),
        2 => prop::collection::vec(scalar(kind), 0..12).prop_map(Wish::Among),
        1 => Just(Wish::Nan),
        1 => Just(Wish::Null),
        1 => Just(Wish::Everything),
    ];
    leaf.prop_recursive(4, 16, 2, |inner| {
        let pair = (inner.clone(), inner.clone());
        prop_oneof![
            inner.prop_map(|wish| Wish::Not(Box::new(wish))),
            pair.clone().prop_map(|(a, b)| Wish::And(Box::new(a), Box::new(b))),
            pair.prop_map(|(a, b)| Wish::Or(Box::new(a), Box::new(b))),
        ]
    })
    .boxed()
}

fn column() -> impl Strategy<Value = (Kind, Vec<Cell>, Wish)> {
    prop::sample::select(KINDS.to_vec()).prop_flat_map(|kind| {
        let cell = prop::option::weighted(0.85, scalar(kind));
        (Just(kind), prop::collection::vec(cell, 0..300), wish(kind))
    })
}

fn array(kind: Kind, cells: &[Cell]) -> ArrayRef {
    let real = |cell: &Cell| if let Some(Scalar::Real(value)) = cell { Some(*value) } else { None };
    match kind {
        Kind::Boolean => {
            let cell = |cell: &Cell| {
                if let Some(Scalar::Bool(value)) = cell { Some(*value) } else { None }
            };
            Arc::new(cells.iter().map(cell).collect::<BooleanArray>())
        }
        Kind::Integer => {
            let cell =
                |cell: &Cell| if let Some(Scalar::Int(value)) = cell { Some(*value) } else { None };
            Arc::new(cells.iter().map(cell).collect::<Int64Array>())
        }
        Kind::Single => {
            let cell = |cell: &Cell| real(cell).map(|value| value as f32);
            Arc::new(cells.iter().map(cell).collect::<Float32Array>())
        }
        Kind::Double => Arc::new(cells.iter().map(real).collect::<Float64Array>()),
        Kind::Text => {
            let texts = cells.iter().map(|cell| {
                if let Some(Scalar::Text(text)) = cell { Some(text.as_str()) } else { None }
            });
            Arc::new(texts.collect::<StringArray>())
        }
    }
}

/// Ranks the arrays, writes them to the file and maps it again.
fn attribute(path: &Path, kind: Kind, arrays: &[ArrayRef]) -> Attribute {
    let ranked = rank::rank(kind, arrays).expect("few enough texts");
    file::write(path, kind, &ranked).expect("written");
    let rows = arrays.iter().map(|array| array.len()).sum();
    file::open(path, kind, rows).expect("sound").expect("there")
}

/// Asks an attribute in every way for the rows of a set.
fn check(attribute: &Attribute, values: &ValueSet, expected: &[bool]) {
    let spans = attribute.spans(values);
    let wanted: Vec<u32> =
        (0..expected.len() as u32).filter(|&row| expected[row as usize]).collect();
    let mut rows: Vec<u32> = attribute.rows(&spans).collect();
    rows.sort_unstable();
    assert_eq!(rows, wanted);
    assert_eq!(attribute.count(&spans), wanted.len());
    for (row, &expected) in expected.iter().enumerate() {
        assert_eq!(attribute.holds(row, &spans), expected, "row {row}");
    }
    assert!(!attribute.holds(expected.len(), &spans));
    // Every third row, backwards, one of them twice, and one that does not exist.
    let mut some: Vec<u32> = (0..expected.len() as u32).rev().step_by(3).collect();
    some.extend(some.first().copied());
    some.push(expected.len() as u32);
    let mut keep = vec![7];
    attribute.select(&some, &spans, &mut keep);
    let selected = (0..some.len() as u32)
        .filter(|&place| expected.get(some[place as usize] as usize) == Some(&true));
    assert_eq!(keep, std::iter::once(7).chain(selected).collect::<Vec<_>>());
    let len = expected.len();
    let words = len.div_ceil(64);
    for range in [0..words, words / 3..words / 2 + 1, words..words + 2] {
        // Every seventh row is out already, and bits stand for rows that do not exist.
        let bit = |row: usize| u64::from(!row.is_multiple_of(7));
        let word = |place: usize| (0..64).fold(0, |word, row| word | bit(64 * place + row) << row);
        let mut narrowed: Vec<u64> = range.clone().map(word).collect();
        attribute.narrow(range.start, &mut narrowed, &spans);
        for (row, place) in (64 * range.start..64 * range.end).zip(0..) {
            let stays = row % 7 != 0 && expected.get(row) == Some(&true);
            assert_eq!(
                narrowed[place / 64] >> (place % 64) & 1 == 1,
                stays,
                "row {row} of {range:?}"
            );
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(1500))]

    #[test]
    fn conditions_leave_the_rows_that_satisfy_them((kind, cells, wish) in column(), cut in 0_usize..300) {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let cut = cut.min(cells.len());
        let arrays = [array(kind, &cells[..cut]), array(kind, &cells[cut..])];
        let values = wish.set();
        let expected: Vec<bool> = cells.iter().map(|cell| wish.holds(cell)).collect();
        check(&attribute(&folder.path().join("a"), kind, &arrays), &values, &expected);
        let masks = arrays.iter().flat_map(|array| values.mask(array.as_ref()).iter().collect::<Vec<_>>());
        prop_assert_eq!(masks.collect::<Vec<bool>>(), expected);
    }

    #[test]
    fn sets_are_sets((kind, cells, wish) in column()) {
        let set = wish.set();
        prop_assert_eq!(!!set.clone(), set.clone());
        prop_assert_eq!((!set.clone()) | set.clone(), ValueSet::everything());
        prop_assert!(((!set.clone()) & set.clone()).is_empty());
        prop_assert_eq!(set.clone() & set.clone(), set.clone());
        // The values of the column, as a set, leave all of the column but NaN and null.
        let values: Vec<Scalar> = cells.iter().flatten().cloned().collect();
        let all = ValueSet::among(values);
        let cells = array(kind, &cells);
        let rest = ((!all.clone()) & set.clone()).mask(cells.as_ref()).count_set_bits();
        let nan_null = (ValueSet::nan() | ValueSet::null()) & set.clone();
        prop_assert_eq!(rest, nan_null.mask(cells.as_ref()).count_set_bits());
    }
}

/// Integers in a scrambled order, each about equally often, then nulls.
fn scrambled(rows: usize, distinct: usize) -> Vec<Cell> {
    (0..rows)
        .map(|row| (row < 69_000).then(|| Scalar::Int((row * 7919 % distinct) as i64 * 2)))
        .collect()
}

#[test]
fn ranks_of_every_width_and_many_spans_are_found() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    for (distinct, width) in [(1, 1), (254, 1), (255, 2), (5_000, 2), (65_537, 4)] {
        let cells = scrambled(70_000, distinct);
        let arrays = [array(Kind::Integer, &cells)];
        let attribute = attribute(&folder.path().join("a"), Kind::Integer, &arrays);
        assert_eq!((attribute.layout.width, attribute.distinct()), (width, distinct));
        let points = |step: i64| (0..distinct as i64).map(move |value| Scalar::Int(value * step));
        let few = ValueSet::among([Scalar::Int(2), Scalar::Int(3), Scalar::Int(100)]);
        let wishes = [
            Wish::Among(points(3).collect()),
            Wish::Among(points(7).collect()),
            Wish::Between(Bound::Included(Scalar::Int(5)), Bound::Excluded(Scalar::Int(400))),
            Wish::Everything,
        ];
        let sets = wishes.iter().map(Wish::set).chain([!few.clone(), few]);
        for values in sets {
            let mask = values.mask(arrays[0].as_ref());
            check(&attribute, &values, &mask.iter().collect::<Vec<_>>());
        }
    }
}

#[test]
fn many_spans_over_too_many_ranks_for_a_table_are_searched() {
    let ranks: Vec<u32> = (0..4_000).map(|row| row * 7919 % 2_100_000).collect();
    let ascending = (0..700).map(|place| Span { start: place * 3000, end: place * 3000 + 1000 });
    let spans = Spans::new(ascending, 2_100_000);
    let expected = |row: &u32| ranks[*row as usize] % 3000 < 1000;
    let rows: Vec<u32> = (0..4_000).collect();
    let mut keep = Vec::new();
    Ranks::Words(&ranks).select(&rows, &spans, &mut keep);
    assert_eq!(keep, rows.iter().copied().filter(expected).collect::<Vec<_>>());
    assert!(rows.iter().all(|row| spans.holds(ranks[*row as usize]) == expected(row)));
}

#[test]
fn spans_that_touch_are_one() {
    let span = |start, end| Span { start, end };
    let joined = Spans::new([span(0, 2), span(2, 2), span(2, 5), span(7, 7), span(8, 9)], 10);
    assert_eq!(joined.as_slice(), [span(0, 5), span(8, 9)]);
    assert!(Spans::new([span(3, 3)], 10).is_empty());
}

#[test]
fn bounds_of_another_kind_bound_nothing() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    for kind in KINDS {
        for other in KINDS {
            let is_real = |kind| matches!(kind, Kind::Single | Kind::Double);
            if kind == other || (is_real(kind) && is_real(other)) {
                continue;
            }
            let value = |kind| match kind {
                Kind::Boolean => Scalar::Bool(false),
                Kind::Integer => Scalar::Int(0),
                Kind::Single | Kind::Double => Scalar::Real(0.0),
                Kind::Text => Scalar::Text(String::new()),
            };
            let arrays = [array(kind, &[Some(value(kind)), None])];
            let attribute = attribute(&folder.path().join("a"), kind, &arrays);
            let values =
                ValueSet::between(Bound::Included(value(other)), Bound::Included(value(other)));
            check(&attribute, &values, &[false, false]);
            assert_eq!(values.mask(arrays[0].as_ref()).count_set_bits(), 0);
        }
    }
}

#[test]
fn texts_that_are_names_are_not_ranked() {
    let names = |count: usize| -> ArrayRef {
        Arc::new(StringArray::from_iter_values((0..count).map(|row| format!("J{row:06}"))))
    };
    assert!(rank::rank(Kind::Text, &[names(65_537)]).is_none());
    let folder = tempfile::tempdir().expect("a temporary folder");
    let attribute = attribute(&folder.path().join("a"), Kind::Text, &[names(65_536)]);
    let one = ValueSet::among([Scalar::Text("J001234".to_owned())]);
    assert_eq!(attribute.rows(&attribute.spans(&one)).collect::<Vec<_>>(), [1234]);
}
